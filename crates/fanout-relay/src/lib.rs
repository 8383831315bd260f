//! Delivers the messages of Momento topics as signed webhooks, at least once.
//!
//! A reader per topic subscribes and writes each message to the [`spool`], together with the cursor. A scheduler per
//! subscription takes messages from the spool and delivers them. A message leaves the spool with an outcome: delivered,
//! dead or expired. What Momento itself lost is recorded as a gap.

pub mod spool;
