//! A set in a cache, which is read as a whole.

use std::fmt;
use std::time::Duration;

use fanout_core::reason::Failure;
use momento::cache::SetFetchResponse;
use momento::cache::configurations::Laptop;
use momento::{CacheClient, MomentoError};

use crate::credentials::Credentials;
use crate::status::reason;

/// The time to live of items. The SDK's client needs one, and stores nothing here.
const ITEM_TTL: Duration = Duration::from_mins(1);

/// A set of texts in a cache.
pub struct CacheSet {
    client: CacheClient,
    cache: String,
    set: String,
}

impl CacheSet {
    /// Returns the set with this name. Needs a Tokio runtime.
    ///
    /// # Errors
    /// If the client cannot be built.
    pub fn new(credentials: &Credentials, cache: &str, set: &str) -> Result<Self, Box<MomentoError>> {
        let client = CacheClient::builder()
            .default_ttl(ITEM_TTL)
            .configuration(Laptop::latest())
            .credential_provider(credentials.provider().clone())
            .build()?;
        Ok(Self { client, cache: cache.to_owned(), set: set.to_owned() })
    }

    /// Returns the texts of the set, in any order. A set that does not exist is empty.
    ///
    /// # Errors
    /// If the set cannot be read, is not a set, or has a value that is not UTF-8.
    pub async fn texts(&self) -> Result<Vec<String>, Failure> {
        let failed = |error: MomentoError| Failure::from(reason(&error)).because(error);
        match self.client.set_fetch(&*self.cache, &*self.set).await.map_err(failed)? {
            SetFetchResponse::Hit { values } => values.try_into().map_err(failed),
            SetFetchResponse::Miss => Ok(Vec::new()),
        }
    }
}

impl fmt::Debug for CacheSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheSet").field("cache", &self.cache).field("set", &self.set).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use fanout_core::reason::Reason;
    use momento_local::MomentoLocal;

    use super::*;

    #[tokio::test]
    async fn returns_texts_of_set_and_none_of_missing_one() {
        let momento = MomentoLocal::builder().cache("c").start().await.unwrap();
        let credentials = Credentials::new("any", Some(&momento.endpoint().parse().unwrap())).unwrap();
        let set = CacheSet::new(&credentials, "c", "rooms").unwrap();
        assert_eq!(set.texts().await.unwrap(), Vec::<String>::new());
        set.client.set_add_elements("c", "rooms", vec!["a", "b"]).await.unwrap();
        let mut texts = set.texts().await.unwrap();
        texts.sort();
        assert_eq!(texts, ["a", "b"]);
        let missing = CacheSet::new(&credentials, "missing", "rooms").unwrap();
        assert_eq!(missing.texts().await.unwrap_err().reason, Reason::NotFound);
    }
}
