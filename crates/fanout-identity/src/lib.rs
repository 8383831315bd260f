//! Who asks, and what that person's token may do.
//!
//! A [`Claims`] exists only for a person who has proven who they are. [`Profiles`] turn claims into a [`Grant`]: the
//! permissions, the id and the lifetime of a token. Every default denies.
//!
//! | module | contents |
//! | --- | --- |
//! | [`claims`] | what is proven about a person |
//! | [`jwt`] | a JWT of an OIDC provider as the proof |
//! | [`jwks`] | the provider's keys, which rotate |
//! | [`gateway`] | the context of API Gateway's authorizers as the proof |
//! | [`template`] | texts with placeholders for claims |
//! | [`profile`] | profiles: from claims to a grant |
//! | [`history`] | the lists with the last messages of topics |
//! | [`file`](mod@file) | `tokens.toml` |
//! | `schema` | the JSON Schema of `tokens.toml`, with the feature of this name |

pub mod claims;
pub mod file;
pub mod gateway;
pub mod history;
pub mod jwks;
pub mod jwt;
pub mod profile;
#[cfg(feature = "schema")]
pub mod schema;
pub mod template;
#[cfg(test)]
mod testing;

pub use claims::{Claims, NotProven};
pub use file::{Proof, TokensFile};
pub use gateway::{Authorizer, GatewayContext};
pub use history::HistoryRule;
pub use jwks::{FetchError, FetchKeys, Jwks};
pub use jwt::{JwtSettings, JwtVerifier};
pub use profile::{ClaimError, Denied, Grant, Profile, Profiles};
pub use template::ClaimTemplate;
