//! Caches: the service `control_client.ScsControl`.
//!
//! What has to do with caches is served. Signing keys and vector indexes are not part of local Momento.

use std::sync::Arc;

use momento_protos::control_client::scs_control_server::ScsControl;
use momento_protos::control_client::{
    Cache, CreateCacheRequest, CreateCacheResponse, CreateIndexRequest, CreateIndexResponse,
    CreateSigningKeyRequest, CreateSigningKeyResponse, DeleteCacheRequest, DeleteCacheResponse,
    DeleteIndexRequest, DeleteIndexResponse, FlushCacheRequest, FlushCacheResponse, ListCachesRequest,
    ListCachesResponse, ListIndexesRequest, ListIndexesResponse, ListSigningKeysRequest,
    ListSigningKeysResponse, RevokeSigningKeyRequest, RevokeSigningKeyResponse, TopicLimits,
};
use tonic::{Code, Request, Response, Status};

use crate::call::Shared;
use crate::faults::Rpc;
use crate::status;

type Answer<T> = Result<Response<T>, Status>;

/// The service.
pub(crate) struct ControlService(pub(crate) Arc<Shared>);

#[tonic::async_trait]
impl ScsControl for ControlService {
    async fn create_cache(&self, request: Request<CreateCacheRequest>) -> Answer<CreateCacheResponse> {
        let name = &request.get_ref().cache_name;
        let admitted = self.0.admit(Rpc::CreateCache, &request, name, "").await?;
        self.0.hub.create_cache(&admitted.call.cache)?;
        admitted.applied().await?;
        Ok(Response::new(CreateCacheResponse {}))
    }

    async fn delete_cache(&self, request: Request<DeleteCacheRequest>) -> Answer<DeleteCacheResponse> {
        let name = &request.get_ref().cache_name;
        let admitted = self.0.admit(Rpc::DeleteCache, &request, name, "").await?;
        self.0.hub.delete_cache(&admitted.call.cache)?;
        admitted.applied().await?;
        Ok(Response::new(DeleteCacheResponse {}))
    }

    async fn list_caches(&self, request: Request<ListCachesRequest>) -> Answer<ListCachesResponse> {
        let admitted = self.0.admit(Rpc::ListCaches, &request, "", "").await?;
        // The only limit that there is here; rates and numbers have none.
        let kib = u32::try_from(self.0.max_message_bytes.div_ceil(1_024)).unwrap_or(u32::MAX);
        let topic_limits = TopicLimits { max_publish_message_size_kb: kib, ..TopicLimits::default() };
        let cache = self
            .0
            .hub
            .cache_names()
            .into_iter()
            .map(|cache_name| Cache { cache_name, topic_limits: Some(topic_limits), ..Cache::default() })
            .collect();
        admitted.applied().await?;
        Ok(Response::new(ListCachesResponse { cache, next_token: String::new() }))
    }

    async fn flush_cache(&self, request: Request<FlushCacheRequest>) -> Answer<FlushCacheResponse> {
        let name = &request.get_ref().cache_name;
        let admitted = self.0.admit(Rpc::FlushCache, &request, name, "").await?;
        self.0.hub.check_cache(&admitted.call.cache)?;
        admitted.applied().await?;
        Ok(Response::new(FlushCacheResponse {}))
    }

    async fn create_signing_key(
        &self,
        _: Request<CreateSigningKeyRequest>,
    ) -> Answer<CreateSigningKeyResponse> {
        Err(not_local())
    }

    async fn revoke_signing_key(
        &self,
        _: Request<RevokeSigningKeyRequest>,
    ) -> Answer<RevokeSigningKeyResponse> {
        Err(not_local())
    }

    async fn list_signing_keys(&self, _: Request<ListSigningKeysRequest>) -> Answer<ListSigningKeysResponse> {
        Err(not_local())
    }

    async fn create_index(&self, _: Request<CreateIndexRequest>) -> Answer<CreateIndexResponse> {
        Err(not_local())
    }

    async fn delete_index(&self, _: Request<DeleteIndexRequest>) -> Answer<DeleteIndexResponse> {
        Err(not_local())
    }

    async fn list_indexes(&self, _: Request<ListIndexesRequest>) -> Answer<ListIndexesResponse> {
        Err(not_local())
    }
}

fn not_local() -> Status {
    status::error(Code::Unimplemented, "not part of local Momento")
}
