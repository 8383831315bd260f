//! Serves gRPC calls: checks the key, applies the faults that the metadata asks for, and finds the method.
//!
//! All methods pass through here, also those that local Momento does not serve. The generated servers of
//! `momento-protos` are not used: they decode the message before they look at the metadata, and they respond
//! to unknown methods and oversized messages on their own, without the `err` trailer.

use std::sync::Arc;

use futures_util::{Stream, stream};
use hyper::body::Incoming;
use tonic::body::Body;
use tonic::codec::{BufferSettings, Codec, EncodeBody, SingleMessageCompressionOverride, Streaming};
use tonic::metadata::GRPC_CONTENT_TYPE;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;
use tonic_prost::prost::Message;

use crate::auth::permissions::Permissions;
use crate::call::{Admitted, Shared};
use crate::items::touch::Touch;
use crate::items::{ItemError, Items, any, dictionary, list, scalar, set, sorted_set};
use crate::rpc::Rpc;
use crate::{control, issue, pubsub, status};

/// What a request may have in addition to its message: names, and the overhead of protobuf.
const REQUEST_OVERHEAD_BYTES: usize = 64 * 1_024;

/// A message that is slightly too large is decoded, so that faults can match its cache and topic.
const MIN_DECODED_BYTES: usize = 4 * 1_024 * 1_024;

/// Serves one call. In gRPC, an error is a response as well.
pub(crate) async fn serve(shared: Arc<Shared>, request: http::Request<Incoming>) -> http::Response<Body> {
    dispatch(&shared, request).await.unwrap_or_else(Status::into_http)
}

async fn dispatch(
    shared: &Arc<Shared>,
    request: http::Request<Incoming>,
) -> Result<http::Response<Body>, Status> {
    let (head, body) = request.into_parts();
    let admitted = shared.admit(&head).await?;
    let body = RequestBody { body, limit: decode_limit(shared.max_message_bytes) };
    match admitted.rpc {
        Some(Rpc::Publish) => Ok(unary(pubsub::publish(admitted, body.decode().await?).await?)),
        Some(Rpc::Subscribe) => Ok(streaming(pubsub::subscribe(admitted, body.decode().await?).await?)),
        Some(Rpc::CreateCache) => Ok(unary(control::create_cache(admitted, body.decode().await?).await?)),
        Some(Rpc::DeleteCache) => Ok(unary(control::delete_cache(admitted, body.decode().await?).await?)),
        Some(Rpc::ListCaches) => Ok(unary(control::list_caches(admitted, body.decode().await?).await?)),
        Some(Rpc::FlushCache) => Ok(unary(control::flush_cache(admitted, body.decode().await?).await?)),
        Some(Rpc::Ping) => Ok(unary(control::ping(admitted, body.decode().await?).await?)),
        Some(Rpc::GenerateDisposableToken) => {
            Ok(unary(issue::generate_disposable_token(admitted, body.decode().await?).await?))
        }
        Some(Rpc::GenerateApiToken) => {
            Ok(unary(issue::generate_api_token(admitted, body.decode().await?).await?))
        }
        Some(Rpc::RefreshApiToken) => {
            Ok(unary(issue::refresh_api_token(admitted, body.decode().await?).await?))
        }
        Some(Rpc::Get) => item(admitted, body, scalar::get).await,
        Some(Rpc::GetBatch) => items(admitted, body, scalar::get_batch).await,
        Some(Rpc::GetWithHash) => item(admitted, body, scalar::get_with_hash).await,
        Some(Rpc::Set) => item(admitted, body, scalar::set).await,
        Some(Rpc::SetBatch) => items(admitted, body, scalar::set_batch).await,
        Some(Rpc::SetIf) => item(admitted, body, scalar::set_if).await,
        Some(Rpc::SetIfHash) => item(admitted, body, scalar::set_if_hash).await,
        Some(Rpc::SetIfNotExists) => item(admitted, body, scalar::set_if_not_exists).await,
        Some(Rpc::Increment) => item(admitted, body, scalar::increment).await,
        Some(Rpc::Delete) => item(admitted, body, any::delete).await,
        Some(Rpc::KeysExist) => item(admitted, body, any::keys_exist).await,
        Some(Rpc::UpdateTtl) => item(admitted, body, any::update_ttl).await,
        Some(Rpc::ItemGetTtl) => item(admitted, body, any::get_ttl).await,
        Some(Rpc::ItemGetType) => item(admitted, body, any::get_type).await,
        Some(Rpc::DictionaryGet) => item(admitted, body, dictionary::get).await,
        Some(Rpc::DictionaryFetch) => item(admitted, body, dictionary::fetch).await,
        Some(Rpc::DictionarySet) => item(admitted, body, dictionary::set).await,
        Some(Rpc::DictionaryIncrement) => item(admitted, body, dictionary::increment).await,
        Some(Rpc::DictionaryDelete) => item(admitted, body, dictionary::delete).await,
        Some(Rpc::DictionaryLength) => item(admitted, body, dictionary::length).await,
        Some(Rpc::SetFetch) => item(admitted, body, set::fetch).await,
        Some(Rpc::SetSample) => item(admitted, body, set::sample).await,
        Some(Rpc::SetUnion) => item(admitted, body, set::union).await,
        Some(Rpc::SetDifference) => item(admitted, body, set::difference).await,
        Some(Rpc::SetContains) => item(admitted, body, set::contains).await,
        Some(Rpc::SetLength) => item(admitted, body, set::length).await,
        Some(Rpc::SetPop) => item(admitted, body, set::pop).await,
        Some(Rpc::ListPushFront) => item(admitted, body, list::push_front).await,
        Some(Rpc::ListPushBack) => item(admitted, body, list::push_back).await,
        Some(Rpc::ListPopFront) => item(admitted, body, list::pop_front).await,
        Some(Rpc::ListPopBack) => item(admitted, body, list::pop_back).await,
        Some(Rpc::ListErase) => item(admitted, body, list::erase).await,
        Some(Rpc::ListRemove) => item(admitted, body, list::remove).await,
        Some(Rpc::ListFetch) => item(admitted, body, list::fetch).await,
        Some(Rpc::ListLength) => item(admitted, body, list::length).await,
        Some(Rpc::ListConcatenateFront) => item(admitted, body, list::concatenate_front).await,
        Some(Rpc::ListConcatenateBack) => item(admitted, body, list::concatenate_back).await,
        Some(Rpc::ListRetain) => item(admitted, body, list::retain).await,
        Some(Rpc::SortedSetPut) => item(admitted, body, sorted_set::put).await,
        Some(Rpc::SortedSetFetch) => item(admitted, body, sorted_set::fetch).await,
        Some(Rpc::SortedSetGetScore) => item(admitted, body, sorted_set::get_score).await,
        Some(Rpc::SortedSetRemove) => item(admitted, body, sorted_set::remove).await,
        Some(Rpc::SortedSetIncrement) => item(admitted, body, sorted_set::increment).await,
        Some(Rpc::SortedSetGetRank) => item(admitted, body, sorted_set::get_rank).await,
        Some(Rpc::SortedSetLength) => item(admitted, body, sorted_set::length).await,
        Some(Rpc::SortedSetLengthByScore) => item(admitted, body, sorted_set::length_by_score).await,
        Some(Rpc::SortedSetUnionStore) => item(admitted, body, sorted_set::union_store).await,
        None => {
            admitted.start("", "", |_, _| true).await?;
            Err(status::error(Code::Unimplemented, "local Momento does not serve this method"))
        }
    }
}

/// Serves a call on the items of a cache.
async fn item<Q, R>(
    admitted: Admitted,
    body: RequestBody,
    operate: fn(&mut Items<'_>, Q) -> Result<R, ItemError>,
) -> Result<http::Response<Body>, Status>
where
    Q: Message + Touch + Default + 'static,
    R: Message + Default + 'static,
{
    Ok(unary(operate_on_items(admitted, body, operate).await?))
}

/// Serves a call on the items of a cache whose response is a stream.
async fn items<Q, R>(
    admitted: Admitted,
    body: RequestBody,
    operate: fn(&mut Items<'_>, Q) -> Result<Vec<R>, ItemError>,
) -> Result<http::Response<Body>, Status>
where
    Q: Message + Touch + Default + 'static,
    R: Message + Default + 'static,
{
    let responses = operate_on_items(admitted, body, operate).await?;
    Ok(streaming(stream::iter(responses.into_iter().map(Ok))))
}

/// Applies a call to the items of its cache, between the faults before and after. Only the metadata names the cache.
async fn operate_on_items<Q, R>(
    admitted: Admitted,
    body: RequestBody,
    operate: fn(&mut Items<'_>, Q) -> Result<R, ItemError>,
) -> Result<R, Status>
where
    Q: Message + Touch + Default + 'static,
{
    let request: Q = body.decode().await?;
    let allow = |permissions: &Permissions, cache: &str| {
        request.is_allowed(|access, key| permissions.allow_item(access, cache, key))
    };
    let started = admitted.start("", "", allow).await?;
    let response = started.shared.hub.with_items(&started.call.cache, |items| operate(items, request))?;
    started.applied().await?;
    Ok(response)
}

fn decode_limit(max_message_bytes: usize) -> usize {
    MIN_DECODED_BYTES.max(max_message_bytes.saturating_add(REQUEST_OVERHEAD_BYTES))
}

/// The initial buffer of a stream for encoded messages, and the bytes after which it passes them on. A slow subscriber
/// holds so much, and one message.
const ENCODE_BUFFER_BYTES: usize = 256;
const ENCODED_BYTES: usize = 2 * 1_024;

struct RequestBody {
    body: Incoming,
    limit: usize,
}

impl RequestBody {
    async fn decode<M: Message + Default + 'static>(self) -> Result<M, Status> {
        let decoder = ProstCodec::<M, M>::default().decoder();
        let mut messages = Streaming::new_request(decoder, self.body, None, Some(self.limit));
        let message = messages.message().await.map_err(|error| status::undecodable(&error))?;
        message.ok_or_else(|| status::error(Code::Internal, "the request has no message"))
    }
}

fn unary<M: Message + Default + 'static>(message: M) -> http::Response<Body> {
    streaming(stream::iter([Ok(message)]))
}

fn streaming<M: Message + Default + 'static>(
    messages: impl Stream<Item = Result<M, Status>> + Send + 'static,
) -> http::Response<Body> {
    let encoder = ProstCodec::<M, M>::raw_encoder(BufferSettings::new(ENCODE_BUFFER_BYTES, ENCODED_BYTES));
    let body =
        EncodeBody::new_server(encoder, messages, None, SingleMessageCompressionOverride::default(), None);
    let mut response = http::Response::new(Body::new(body));
    response.headers_mut().insert(http::header::CONTENT_TYPE, GRPC_CONTENT_TYPE);
    response
}
