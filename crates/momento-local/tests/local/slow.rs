//! Subscribers that never read. They use the binary, because only a process of its own shows how much memory they take.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use h2::client::{Connection, SendRequest};
use http::{Request, header};
use momento_protos::cache_client::pubsub::SubscriptionRequest;
use tokio::net::TcpStream;
use tokio::process::Child;
use tonic::transport::Endpoint;
use tonic_prost::prost::Message as _;

use crate::binary;
use crate::support::{CACHE, Client, TOPIC, within};

/// A connection carries at most 100 streams.
const STREAMS: usize = 100;
const CONNECTIONS: usize = 10;
/// More than the buffers of the system hold, and without a bound those of HTTP/2: 6 MiB for a connection, 400 KiB for a stream.
const MESSAGES: usize = 300;

/// The memory for 1,000 subscribers that do not read: 40 KiB for each, 8 MiB for the topic, and the process. Without a
/// bound they take 560 MiB.
const MAX_RESIDENT_BYTES: u64 = 80 << 20;

/// A connection whose streams the client has opened, and whose socket it no longer reads.
type Stalled = (SendRequest<bytes::Bytes>, Connection<TcpStream, bytes::Bytes>);

/// Opens subscriptions with the largest flow-control windows, and stops to read once they are open.
async fn subscribe_and_stall(endpoint: &str) -> Stalled {
    const WINDOW: u32 = (1 << 31) - 1;
    let socket = TcpStream::connect(endpoint.strip_prefix("http://").unwrap()).await.unwrap();
    let handshake = h2::client::Builder::new()
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .handshake(socket);
    let (mut client, mut connection) = handshake.await.unwrap();
    let message = SubscriptionRequest {
        cache_name: CACHE.to_owned(),
        topic: TOPIC.to_owned(),
        ..SubscriptionRequest::default()
    };
    let mut body = vec![0, 0, 0, 0, u8::try_from(message.encoded_len()).unwrap()];
    message.encode(&mut body).unwrap();
    let mut heads = Vec::new();
    for _ in 0..STREAMS {
        let request = Request::post(format!("{endpoint}/cache_client.pubsub.Pubsub/Subscribe"))
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers");
        let (head, mut stream) = client.send_request(request.body(()).unwrap(), false).unwrap();
        stream.send_data(body.clone().into(), true).unwrap();
        heads.push(head);
    }
    let opened = within(async {
        tokio::select! {
            ended = &mut connection => panic!("the connection ended: {ended:?}"),
            opened = try_join_all(heads) => opened.unwrap(),
        }
    });
    assert!(opened.await.iter().all(|head| head.status() == 200));
    (client, connection)
}

fn resident_bytes(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id().unwrap())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
}

#[tokio::test]
async fn stalled_subscribers_take_bounded_memory_and_delay_no_publisher() {
    let args = ["--listen", "127.0.0.1:0", "--no-admin", "--cache", CACHE];
    let (child, line) = binary::start(&args).await;
    let endpoint = line.strip_prefix("momento-local: gRPC on ").unwrap();
    let channel = Endpoint::from_shared(endpoint.to_owned()).unwrap().connect_lazy();
    let client = Client { channel, metadata: Vec::new() };
    let mut stalled = Vec::new();
    for _ in 0..CONNECTIONS {
        stalled.push(subscribe_and_stall(endpoint).await);
    }
    let text = "x".repeat(4_000);
    let mut longest = Duration::ZERO;
    for _ in 0..MESSAGES {
        let start = Instant::now();
        client.publish(&text).await.unwrap();
        longest = longest.max(start.elapsed());
    }
    let resident = resident_bytes(&child);
    assert!(resident < MAX_RESIDENT_BYTES, "{} MiB", resident >> 20);
    assert!(longest < Duration::from_secs(5), "a publish took {longest:?}");
}
