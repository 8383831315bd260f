//! Caches: the service `control_client.ScsControl`, without signing keys and vector indexes. And
//! `cache_client.Ping`, by which SDKs check that the service is there.

use momento_protos::common::Empty;
use momento_protos::control_client::{
    Cache, CacheLimits, CreateCacheRequest, CreateCacheResponse, DeleteCacheRequest, DeleteCacheResponse,
    FlushCacheRequest, FlushCacheResponse, ListCachesRequest, ListCachesResponse, TopicLimits,
};
use tonic::Status;

use crate::auth::permissions::Permissions;
use crate::call::Admitted;
use crate::items::MAX_ITEM_BYTES;

/// Only a superuser may create, delete, flush and list caches.
fn superuser(permissions: &Permissions, _cache: &str) -> bool {
    *permissions == Permissions::SuperUser
}

pub(crate) async fn create_cache(
    admitted: Admitted,
    request: CreateCacheRequest,
) -> Result<CreateCacheResponse, Status> {
    let started = admitted.start(&request.cache_name, "", superuser).await?;
    started.shared.hub.create_cache(&started.call.cache)?;
    started.applied().await?;
    Ok(CreateCacheResponse {})
}

pub(crate) async fn delete_cache(
    admitted: Admitted,
    request: DeleteCacheRequest,
) -> Result<DeleteCacheResponse, Status> {
    let started = admitted.start(&request.cache_name, "", superuser).await?;
    started.shared.hub.delete_cache(&started.call.cache)?;
    started.applied().await?;
    Ok(DeleteCacheResponse {})
}

pub(crate) async fn list_caches(
    admitted: Admitted,
    _: ListCachesRequest,
) -> Result<ListCachesResponse, Status> {
    let started = admitted.start("", "", superuser).await?;
    let (cache_limits, topic_limits) = limits(started.shared.max_message_bytes);
    let cache = started
        .shared
        .hub
        .cache_names()
        .into_iter()
        .map(|cache_name| Cache {
            cache_name,
            cache_limits: Some(cache_limits),
            topic_limits: Some(topic_limits),
            ..Cache::default()
        })
        .collect();
    started.applied().await?;
    Ok(ListCachesResponse { cache, next_token: String::new() })
}

pub(crate) async fn flush_cache(
    admitted: Admitted,
    request: FlushCacheRequest,
) -> Result<FlushCacheResponse, Status> {
    let started = admitted.start(&request.cache_name, "", superuser).await?;
    started.shared.hub.flush_cache(&started.call.cache)?;
    started.applied().await?;
    Ok(FlushCacheResponse {})
}

pub(crate) async fn ping(admitted: Admitted, _: Empty) -> Result<Empty, Status> {
    admitted.start("", "", |_, _| true).await?.applied().await?;
    Ok(Empty {})
}

/// Returns the default limits of an account, from the pages "Service limits" of Momento Cache and Momento
/// Topics. Local Momento enforces the sizes of a message and of an item, and none of the others.
fn limits(max_message_bytes: usize) -> (CacheLimits, TopicLimits) {
    let max_message_kib = u32::try_from(max_message_bytes.div_ceil(1_024)).unwrap_or(u32::MAX);
    let max_item_kib = u32::try_from(MAX_ITEM_BYTES / 1_024).unwrap_or(u32::MAX);
    let cache = CacheLimits {
        max_traffic_rate: 100,
        max_throughput_kbps: 1_024,
        max_item_size_kb: max_item_kib,
        max_ttl_seconds: 24 * 60 * 60,
    };
    let topic = TopicLimits {
        max_publish_rate: 10,
        max_subscription_count: 100,
        max_publish_message_size_kb: max_message_kib,
    };
    (cache, topic)
}
