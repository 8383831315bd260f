//! Changes items in caches for cache destinations, and reads them for the transform `lookup`.

use std::sync::Arc;
use std::time::Duration;

use fanout_core::destination::{
    Accepted, CacheChange, CacheWrite, ListEnd, Sent, ServiceRequest, ServiceSender,
};
use fanout_core::reason::{Failure, Reason};
use fanout_core::retry::RetryPolicy;
use fanout_core::transform::ItemReader;
use fanout_core::transform::lookup::{ItemPart, ItemQuery, MAX_ENTRIES};
use futures_util::future::BoxFuture;
use momento::MomentoError;
use momento::cache::{
    CollectionTtl, DictionaryGetFieldRequest, DictionaryGetFieldResponse, DictionaryIncrementRequest,
    DictionarySetFieldRequest, GetRequest, GetResponse, IncrementRequest, ListFetchRequest,
    ListFetchResponse, ListPushBackRequest, ListPushFrontRequest, MomentoRequest, SetAddElementsRequest,
    SetFetchRequest, SetFetchResponse, SetIfAbsentRequest, SetIfAbsentResponse, SetRequest,
};
use tokio::time::Instant;

use crate::cache::MomentoCache;

/// Sends the requests of cache destinations, with retries.
///
/// An attempt without a response may have changed its item all the same, and the next one changes it again. Setting an item
/// or a field again and adding to a set again change nothing; adding to a list or to a number again does.
#[derive(Debug)]
pub struct CacheSender {
    cache: Arc<MomentoCache>,
    retry: RetryPolicy,
}

impl CacheSender {
    /// Writes through `cache`, and retries by `retry`.
    #[must_use]
    pub const fn new(cache: Arc<MomentoCache>, retry: RetryPolicy) -> Self {
        Self { cache, retry }
    }
}

impl CacheSender {
    /// Returns the newest values of a list, the oldest of them first; none if the list does not exist. `end` is the end that
    /// values are added to.
    ///
    /// # Errors
    /// If the list cannot be read before `deadline`, or a value is not UTF-8.
    pub async fn newest(
        &self,
        (cache, list): (&str, &str),
        end: ListEnd,
        count: u16,
        deadline: Instant,
    ) -> Result<Vec<String>, Failure> {
        let count = i32::from(count);
        let fetch = || async {
            let fetch = ListFetchRequest::new(cache, list);
            let fetch = match end {
                ListEnd::Back => fetch.start_index(-count),
                ListEnd::Front => fetch.end_index(count),
            };
            match self.cache.request(fetch).await? {
                ListFetchResponse::Hit { values } => values.try_into().map_err(not_text),
                ListFetchResponse::Miss => Ok(Vec::new()),
            }
        };
        let mut values: Vec<String> = self.retry.run(deadline, fetch).await.1?;
        if end == ListEnd::Front {
            values.reverse();
        }
        Ok(values)
    }
}

fn not_text(error: MomentoError) -> Failure {
    Failure::new(Reason::InvalidArgument, "the item in the cache is not UTF-8").because(error)
}

impl ServiceSender for CacheSender {
    fn send<'c>(
        &'c self,
        request: &'c ServiceRequest,
        _trace: Option<&'c str>,
        deadline: Instant,
    ) -> BoxFuture<'c, Sent> {
        Box::pin(async move {
            let ServiceRequest::Cache(write) = request else {
                let error = Failure::new(Reason::InvalidArgument, "a request that is not for a cache");
                return Sent { attempts: 0, result: Err(error) };
            };
            let (attempts, result) = self.retry.run(deadline, || self.cache.write(write)).await;
            Sent { attempts, result }
        })
    }
}

impl ItemReader for CacheSender {
    fn read<'r>(
        &'r self,
        query: &'r ItemQuery,
        deadline: Instant,
    ) -> BoxFuture<'r, Result<Option<Vec<String>>, Failure>> {
        Box::pin(async move { self.retry.run(deadline, || self.cache.read(query)).await.1 })
    }
}

impl MomentoCache {
    /// Reads an item, with one attempt.
    async fn read(&self, query: &ItemQuery) -> Result<Option<Vec<String>>, Failure> {
        let ItemQuery { cache, key, part } = query;
        let (cache, key) = (cache.as_str(), key.as_str());
        let texts: Result<Vec<String>, MomentoError> = match part {
            ItemPart::Value => match self.request(GetRequest::new(cache, key)).await? {
                GetResponse::Hit { value } => value.try_into().map(|text| vec![text]),
                GetResponse::Miss => return Ok(None),
            },
            ItemPart::Field(field) => {
                let get = DictionaryGetFieldRequest::new(cache, key, field.as_str());
                match self.request(get).await? {
                    DictionaryGetFieldResponse::Hit { value } => value.try_into().map(|text| vec![text]),
                    DictionaryGetFieldResponse::Miss => return Ok(None),
                }
            }
            ItemPart::List => {
                let most = i32::try_from(MAX_ENTRIES).expect("a small number");
                match self.request(ListFetchRequest::new(cache, key).end_index(most)).await? {
                    ListFetchResponse::Hit { values } => values.try_into(),
                    ListFetchResponse::Miss => return Ok(None),
                }
            }
            ItemPart::Set => match self.request(SetFetchRequest::new(cache, key)).await? {
                SetFetchResponse::Hit { values } => values.try_into().map(|mut elements: Vec<String>| {
                    elements.sort_unstable();
                    elements.truncate(MAX_ENTRIES);
                    elements
                }),
                SetFetchResponse::Miss => return Ok(None),
            },
        };
        texts.map(Some).map_err(not_text)
    }

    /// Changes an item, with one attempt.
    async fn write(&self, write: &CacheWrite) -> Result<Accepted, Failure> {
        let CacheWrite { cache, key, change, ttl_seconds } = write;
        let (cache, key) = (cache.as_str(), key.as_str());
        let ttl = Duration::from_secs((*ttl_seconds).into());
        let collection = |refresh: bool| CollectionTtl::new(Some(ttl), refresh);
        match change {
            CacheChange::List { value, end: ListEnd::Front, max_length, refresh_ttl } => {
                let push =
                    ListPushFrontRequest::new(cache, key, value.as_str()).ttl(collection(*refresh_ttl));
                self.request(push.truncate_back_to_size(*max_length)).await?;
            }
            CacheChange::List { value, end: ListEnd::Back, max_length, refresh_ttl } => {
                let push = ListPushBackRequest::new(cache, key, value.as_str()).ttl(collection(*refresh_ttl));
                self.request(push.truncate_front_to_size(*max_length)).await?;
            }
            CacheChange::Field { field, value, refresh_ttl } => {
                let set = DictionarySetFieldRequest::new(cache, key, field.as_str(), value.as_str());
                self.request(set.ttl(collection(*refresh_ttl))).await?;
            }
            CacheChange::FieldCounter { field, increment, refresh_ttl } => {
                let add = DictionaryIncrementRequest::new(cache, key, field.as_str(), *increment);
                self.request(add.ttl(collection(*refresh_ttl))).await?;
            }
            CacheChange::Item { value, unless_exists: true } => {
                let set = SetIfAbsentRequest::new(cache, key, value.as_str()).ttl(ttl);
                if self.request(set).await? == SetIfAbsentResponse::NotStored {
                    return Ok(Accepted::Duplicate);
                }
            }
            CacheChange::Item { value, unless_exists: false } => {
                self.request(SetRequest::new(cache, key, value.as_str()).ttl(ttl)).await?;
            }
            CacheChange::Counter { increment } => {
                self.request(IncrementRequest::new(cache, key, *increment).ttl(ttl)).await?;
            }
            CacheChange::Set { element, refresh_ttl } => {
                let add = SetAddElementsRequest::new(cache, key, vec![element.as_str()]);
                self.request(add.ttl(collection(*refresh_ttl))).await?;
            }
        }
        Ok(Accepted::Created)
    }

    async fn request<R: MomentoRequest>(&self, request: R) -> Result<R::Response, Failure> {
        self.call(async move |client| client.send_request(request).await).await
    }
}

#[cfg(test)]
mod tests {
    use momento::CacheClient;
    use momento::cache::DictionaryFetchResponse;
    use momento::cache::configurations::Laptop;
    use momento_local::{Fault, MomentoLocal, Rpc};
    use std::collections::HashMap;
    use tonic::Code;

    use super::*;
    use crate::credentials::Credentials;
    use crate::publisher::Keys;

    struct Fixture {
        momento: MomentoLocal,
        sender: CacheSender,
        client: CacheClient,
    }

    async fn start() -> Fixture {
        let momento = MomentoLocal::builder().cache("c").start().await.unwrap();
        let current = Credentials::new("any", Some(&momento.endpoint().parse().unwrap())).unwrap();
        let client = CacheClient::builder()
            .default_ttl(Duration::from_mins(1))
            .configuration(Laptop::latest())
            .credential_provider(current.provider().clone())
            .build()
            .unwrap();
        let keys = Arc::new(Keys { current, previous: None });
        let retry = RetryPolicy::PUBLISH;
        let cache = MomentoCache::new(Arc::new(keys), retry.attempt_timeout);
        Fixture { momento, sender: CacheSender::new(Arc::new(cache), retry), client }
    }

    impl Fixture {
        /// Sends a change of the item `k`.
        async fn send(&self, change: CacheChange) -> Sent {
            let write = CacheWrite { cache: "c".to_owned(), key: "k".to_owned(), change, ttl_seconds: 60 };
            self.sender.send(&write.into(), None, Instant::now() + Duration::from_secs(4)).await
        }

        /// Delivers a change twice, and returns both results.
        async fn twice(&self, change: CacheChange) -> [Accepted; 2] {
            [self.send(change.clone()).await.result.unwrap(), self.send(change).await.result.unwrap()]
        }

        async fn item(&self) -> String {
            match self.client.get("c", "k").await.unwrap() {
                GetResponse::Hit { value } => value.try_into().unwrap(),
                GetResponse::Miss => panic!("the item exists"),
            }
        }

        async fn list(&self) -> Vec<String> {
            match self.client.list_fetch("c", "k").await.unwrap() {
                ListFetchResponse::Hit { values } => values.try_into().unwrap(),
                ListFetchResponse::Miss => Vec::new(),
            }
        }

        async fn dictionary(&self) -> HashMap<String, String> {
            match self.client.dictionary_fetch("c", "k").await.unwrap() {
                DictionaryFetchResponse::Hit { value } => value.try_into().unwrap(),
                DictionaryFetchResponse::Miss => HashMap::new(),
            }
        }
    }

    fn push(value: &str, end: ListEnd, max_length: Option<u32>) -> CacheChange {
        CacheChange::List { value: value.to_owned(), end, max_length, refresh_ttl: true }
    }

    const CREATED: [Accepted; 2] = [Accepted::Created; 2];

    #[tokio::test]
    async fn returns_newest_values_of_list_oldest_first() {
        let fixture = start().await;
        for end in [ListEnd::Back, ListEnd::Front] {
            let list = format!("{end:?}");
            let deadline = Instant::now() + Duration::from_secs(4);
            assert_eq!(fixture.sender.newest(("c", &list), end, 2, deadline).await.unwrap(), [""; 0]);
            for value in ["1", "2", "3"] {
                let change =
                    CacheChange::List { value: value.to_owned(), end, max_length: None, refresh_ttl: true };
                let write = CacheWrite { cache: "c".to_owned(), key: list.clone(), change, ttl_seconds: 60 };
                fixture.sender.send(&write.into(), None, deadline).await.result.unwrap();
            }
            for (count, expected) in [(2, &["2", "3"][..]), (3, &["1", "2", "3"]), (100, &["1", "2", "3"])] {
                let newest = fixture.sender.newest(("c", &list), end, count, deadline).await.unwrap();
                assert_eq!(newest, expected, "{end:?} {count}");
            }
        }
    }

    #[tokio::test]
    async fn second_delivery_adds_to_list_again() {
        let fixture = start().await;
        assert_eq!(fixture.twice(push("a", ListEnd::Back, None)).await, CREATED);
        assert_eq!(fixture.list().await, ["a", "a"]);
        fixture.send(push("b", ListEnd::Back, Some(2))).await.result.unwrap();
        assert_eq!(fixture.list().await, ["a", "b"]);
        fixture.send(push("c", ListEnd::Front, Some(2))).await.result.unwrap();
        assert_eq!(fixture.list().await, ["c", "a"]);
    }

    #[tokio::test]
    async fn second_delivery_sets_field_again_and_counts_again() {
        let fixture = start().await;
        let (field, value) = ("mo".to_owned(), "hello".to_owned());
        assert_eq!(fixture.twice(CacheChange::Field { field, value, refresh_ttl: true }).await, CREATED);
        let count = CacheChange::FieldCounter { field: "count".to_owned(), increment: 2, refresh_ttl: true };
        assert_eq!(fixture.twice(count).await, CREATED);
        let pair = |field: &str, value: &str| (field.to_owned(), value.to_owned());
        assert_eq!(fixture.dictionary().await, HashMap::from([pair("mo", "hello"), pair("count", "4")]));
    }

    #[tokio::test]
    async fn second_delivery_sets_item_again_unless_it_exists() {
        let fixture = start().await;
        let item = |value: &str, unless_exists| CacheChange::Item { value: value.to_owned(), unless_exists };
        assert_eq!(fixture.twice(item("a", true)).await, [Accepted::Created, Accepted::Duplicate]);
        assert_eq!(fixture.send(item("b", true)).await.result.unwrap(), Accepted::Duplicate);
        assert_eq!(fixture.item().await, "a");
        assert_eq!(fixture.twice(item("c", false)).await, CREATED);
        assert_eq!(fixture.item().await, "c");
    }

    #[tokio::test]
    async fn second_delivery_counts_again() {
        let fixture = start().await;
        assert_eq!(fixture.twice(CacheChange::Counter { increment: 3 }).await, CREATED);
        assert_eq!(fixture.item().await, "6");
    }

    #[tokio::test]
    async fn second_delivery_leaves_set_unchanged() {
        let fixture = start().await;
        let add = CacheChange::Set { element: "mo".to_owned(), refresh_ttl: true };
        assert_eq!(fixture.twice(add).await, CREATED);
        let SetFetchResponse::Hit { values } = fixture.client.set_fetch("c", "k").await.unwrap() else {
            panic!("the set exists")
        };
        assert_eq!(TryInto::<Vec<String>>::try_into(values).unwrap(), ["mo"]);
    }

    #[tokio::test]
    async fn reads_every_type_of_item() {
        let fixture = start().await;
        let read = async |key: &str, part: ItemPart| {
            let query = ItemQuery { cache: "c".to_owned(), key: key.to_owned(), part };
            fixture.sender.read(&query, Instant::now() + Duration::from_secs(4)).await
        };
        let texts = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        let field = || ItemPart::Field("f".to_owned());
        for part in [ItemPart::Value, field(), ItemPart::List, ItemPart::Set] {
            assert_eq!(read("none", part).await.unwrap(), None);
        }
        fixture.client.set("c", "item", "a").await.unwrap();
        fixture.client.dictionary_set_field("c", "dictionary", "f", "b").await.unwrap();
        fixture.client.list_concatenate_back("c", "list", vec!["b", "a"]).await.unwrap();
        fixture.client.set_add_elements("c", "set", vec!["b", "a"]).await.unwrap();
        assert_eq!(read("item", ItemPart::Value).await.unwrap(), texts(&["a"]));
        assert_eq!(read("dictionary", field()).await.unwrap(), texts(&["b"]));
        assert_eq!(read("dictionary", ItemPart::Field("g".to_owned())).await.unwrap(), None);
        assert_eq!(read("list", ItemPart::List).await.unwrap(), texts(&["b", "a"]));
        assert_eq!(read("set", ItemPart::Set).await.unwrap(), texts(&["a", "b"]));
        let wrong = read("list", ItemPart::Value).await.unwrap_err();
        assert!(!wrong.reason.is_transient());
        fixture.client.set("c", "item", vec![0xff_u8]).await.unwrap();
        assert_eq!(read("item", ItemPart::Value).await.unwrap_err().reason, Reason::InvalidArgument);
        fixture.momento.inject(Fault::error(Code::Unavailable).on(Rpc::ListFetch).times(1));
        assert_eq!(read("list", ItemPart::List).await.unwrap(), texts(&["b", "a"]));
    }

    #[tokio::test]
    async fn retries_transient_failure_and_reports_permanent_one() {
        let fixture = start().await;
        let fault = fixture.momento.inject(Fault::error(Code::Unavailable).on(Rpc::Increment).times(1));
        let sent = fixture.send(CacheChange::Counter { increment: 1 }).await;
        assert_eq!((sent.attempts, sent.result.unwrap()), (2, Accepted::Created));
        assert_eq!(fault.hits(), 1);
        fixture.momento.inject(Fault::error(Code::PermissionDenied).on(Rpc::Increment).times(1));
        let sent = fixture.send(CacheChange::Counter { increment: 1 }).await;
        assert_eq!((sent.attempts, sent.result.unwrap_err().reason), (1, Reason::PermissionDenied));
        let sent = fixture.send(push("a", ListEnd::Back, None)).await;
        assert!(!sent.result.unwrap_err().reason.is_transient(), "the item is a number");
        assert_eq!(fixture.item().await, "1");
    }
}
