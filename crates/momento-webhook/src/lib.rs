//! Momento's webhook: the event and its signatures.
//!
//! A webhook is a `POST` of one topic message as JSON, signed over the raw bytes of its body. This
//! crate has the type of that body and two signature schemes. It does no I/O: the function that receives
//! webhooks and the command line that sends them share it.
//!
//! | module | purpose |
//! | --- | --- |
//! | [`event`] | [`Event`], the content of a body; its parser and writer |
//! | [`momento`] | Momento's own signature: lower-case hex of HMAC-SHA3-256 |
//! | [`standard`] | the signature of [Standard Webhooks](https://www.standardwebhooks.com): HMAC-SHA256 |
//! | [`received`] | the signature of a received request, by each scheme that the receiver accepts |
//! | [`freshness`] | the accepted age of an event, against replays |
//! | [`verified`] | [`Verified`], the type of data with a valid signature |
//! | [`visible`] | invisible characters at the ends of a secret, or inside |
//!
//! The order is always: verify the raw bytes, parse them, check their age.
//!
//! ```
//! use std::time::Duration;
//! use momento_webhook::{Event, SigningSecret, freshness, momento};
//!
//! let secret = SigningSecret::new("a secret")?;
//! let body = br#"{"cache":"chat","topic":"room-281","event_timestamp":1704296470564,
//!     "publish_timestamp":1704296470565,"topic_sequence_number":1,
//!     "token_id":"mo-the-squirrel","text":"Here I am!!"}"#;
//! let signature = momento::sign(&secret, body);
//!
//! // All values of the header `momento-signature`: a request with two of them is rejected.
//! let signatures = [signature.as_bytes()];
//! let verified = momento::verify(&[secret], body, signatures)?;
//! let event = verified.event()?;
//! assert_eq!(event.token_id.as_deref(), Some("mo-the-squirrel"));
//!
//! let now = 1_704_296_471_000; // milliseconds since the Unix epoch
//! let age = freshness::Window::new(Duration::from_secs(60)).check(event.publish_timestamp, now)?;
//! assert_eq!(age, Duration::from_millis(435));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod event;
pub mod freshness;
pub mod momento;
pub mod received;
pub mod standard;
pub mod verified;
pub mod visible;

pub use event::{Event, EventError, Millis};
pub use momento::{SigningSecret, SigningSecretError};
pub use received::{ReceivedError, ReceiverSecret, SignatureHeaders, SignaturePolicy};
pub use verified::Verified;
