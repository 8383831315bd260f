//! The command `fanout`: what it takes to write, try out and look into a function that is fed by topics.
//!
//! `fanout dev` is the whole way of a message in one process: local Momento, the function, and the
//! delivery of one topic as signed webhooks to it. The other commands are the parts of that by hand:
//! `fanout send` and `fanout sign` make signed webhooks, `fanout topic` publishes and subscribes.
//!
//! | module | what it is for |
//! | --- | --- |
//! | [`cli`] | the commands and flags, errors and exit codes |
//! | `commands` | one module for each command |
//! | [`deliver`] | one event to one URL, signed, tried again while that can help |
//! | [`post`] | one `POST`, and what came of it |
//! | [`signer`] | the headers that prove a webhook genuine |
//! | [`service`] | Momento itself: credentials, endpoints, clients |
//! | [`output`] | what is printed, and how texts and times look |
//!
//! [`deliver`] does not know the commands.

pub mod args;
pub mod cli;
mod commands;
pub mod deliver;
pub mod error;
mod event;
mod input;
pub mod output;
pub mod post;
pub mod service;
pub mod signer;
mod translations;

pub use cli::main;
