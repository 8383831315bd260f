//! Fetches the keys of the identity provider over HTTPS.

use std::sync::OnceLock;
use std::time::Duration;

use fanout_identity::jwks::MAX_JWKS_BYTES;
use fanout_identity::{FetchError, FetchKeys};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use reqwest::Client;
use reqwest::redirect::Policy;

/// The timeout for a new connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The provider, over one client that is built at its first use.
#[derive(Debug, Default)]
pub struct Provider(OnceLock<Client>);

impl Provider {
    fn client(&self) -> Result<&Client, FetchError> {
        if let Some(client) = self.0.get() {
            return Ok(client);
        }
        // A redirect could lead to keys of someone else.
        let client = Client::builder().redirect(Policy::none()).connect_timeout(CONNECT_TIMEOUT).build();
        let client = client.map_err(|error| failed(&error))?;
        Ok(self.0.get_or_init(|| client))
    }

    async fn get(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        let mut response = self.client()?.get(url).send().await.map_err(|error| failed(&error))?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(FetchError(format!("the status is {}; expected 200", response.status().as_u16())));
        }
        let mut document = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| failed(&error))? {
            if document.len() + chunk.len() > MAX_JWKS_BYTES {
                return Err(FetchError(format!("the document has more than {MAX_JWKS_BYTES} bytes")));
            }
            document.extend_from_slice(&chunk);
        }
        Ok(document)
    }
}

impl FetchKeys for Provider {
    fn fetch<'f>(&'f self, url: &'f str) -> BoxFuture<'f, Result<Vec<u8>, FetchError>> {
        self.get(url).boxed()
    }
}

fn failed(error: &reqwest::Error) -> FetchError {
    FetchError(fanout_core::reason::with_sources(error))
}
