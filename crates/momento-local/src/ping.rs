//! `cache_client.Ping/Ping`, by which SDKs look whether the service is there.
//!
//! `momento-protos` ships no stubs for it, so that the routing is done here. Its messages have no fields.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use momento_protos::common::Empty;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Code, Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::call::Shared;
use crate::faults::Rpc;
use crate::status;

const PATH: &str = "/cache_client.Ping/Ping";

/// The service.
#[derive(Clone)]
pub(crate) struct PingService(pub(crate) Arc<Shared>);

impl NamedService for PingService {
    const NAME: &'static str = "cache_client.Ping";
}

impl Service<http::Request<Body>> for PingService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let method = Ping(Arc::clone(&self.0));
        Box::pin(async move {
            if request.uri().path() != PATH {
                return Ok(status::error(Code::Unimplemented, "no such method").into_http());
            }
            Ok(Grpc::new(ProstCodec::<Empty, Empty>::default()).unary(method, request).await)
        })
    }
}

struct Ping(Arc<Shared>);

impl UnaryService<Empty> for Ping {
    type Response = Empty;
    type Future = BoxFuture<Response<Empty>, Status>;

    fn call(&mut self, request: Request<Empty>) -> Self::Future {
        let shared = Arc::clone(&self.0);
        Box::pin(async move {
            shared.admit(Rpc::Ping, &request, "", "").await?.applied().await?;
            Ok(Response::new(Empty {}))
        })
    }
}
