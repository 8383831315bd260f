//! Momento as this project uses it.
//!
//! | module | content |
//! | --- | --- |
//! | [`credentials`] | an API key, the endpoint that it reaches, and connections to it |

pub mod credentials;

pub use credentials::{Credentials, CredentialsError, Endpoint, EndpointError};
