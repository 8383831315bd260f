//! A module for each command, with its flags.

pub(crate) mod check;
pub(crate) mod dev;
pub(crate) mod documents;
pub(crate) mod moderate;
pub(crate) mod relay;
pub(crate) mod schema;
pub(crate) mod send;
pub(crate) mod sign;
pub(crate) mod topic;
