//! The command `fanout`: runs, tests and inspects a function that topics feed.
//!
//! `fanout dev` takes a message the whole way in one process: local Momento, the function, and the delivery of one
//! topic to it as signed webhooks. The other commands do one part of that: `fanout check` inspects routes, `fanout send` and
//! `fanout sign` make signed webhooks, `fanout topic` publishes and subscribes.
//!
//! Imports go one way, from the top of this table to its end:
//!
//! | module | purpose |
//! | --- | --- |
//! | [`cli`] | reads the command line, runs a command, and reports its error |
//! | `commands` | one module for each command |
//! | [`args`] | flags that several commands have |
//! | [`service`] | reaches Momento: credentials, clients, caches |
//! | `aws` | the clients of AWS, which a build may lack |
//! | `translations` | selects the translator of `translate` |
//! | `event` | makes events on this machine |
//! | `input` | reads files and standard input |
//! | [`output`] | prints, and formats texts and times |
//! | [`error`] | the error of all commands, and its exit codes |

pub mod args;
mod aws;
pub mod cli;
mod commands;
pub mod error;
mod event;
mod input;
pub mod output;
pub mod service;
mod translations;

pub use cli::{Ended, main, main_with, run_in_test};
