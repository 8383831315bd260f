//! Start, block and shutdown.

use std::time::{Duration, Instant};

use momento_local::{Fault, MomentoLocal};
use tokio::net::{TcpListener, TcpStream};
use tonic::Code;

use crate::support::{CACHE, Client, TOPIC, momento, seen, within};

#[tokio::test]
async fn serves_on_listener_of_caller() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let momento = MomentoLocal::builder().cache(CACHE).start_with(listener).await.unwrap();
    assert_eq!(momento.addr(), addr);
    assert_eq!(momento.endpoint(), format!("http://{addr}"));
    assert_eq!(momento.admin_addr(), None);
    assert_eq!(Client::new(&momento).publish_code().await, None);
}

#[tokio::test]
async fn block_cuts_connections_and_refuses_new_ones() {
    let momento = momento().await;
    let client = Client::new(&momento);
    let mut subscriber = client.subscribe().await;
    client.publish("before").await.unwrap();
    let before = subscriber.item().await;

    momento.block();
    assert!(subscriber.end().await.is_some());
    within(momento.wait_for_no_subscribers(CACHE, TOPIC)).await;
    assert!(client.publish("blocked").await.is_err());
    momento.publish(CACHE, TOPIC, "meanwhile").unwrap();

    momento.unblock();
    let mut resumed = client.resume_at(before.topic_sequence_number + 1, before.sequence_page).await;
    client.publish("after").await.unwrap();
    assert_eq!(resumed.messages(2).await, [seen(2, "meanwhile"), seen(3, "after")]);
}

#[tokio::test]
async fn clients_reconnect_after_cut() {
    let momento = momento().await;
    let client = Client::new(&momento);
    let mut subscriber = client.subscribe().await;
    momento.cut_connections();
    assert!(subscriber.end().await.is_some());
    client.subscribe().await;
}

#[tokio::test]
async fn shutdown_ends_streams_and_hanging_calls_and_frees_port() {
    let momento = momento().await;
    let addr = momento.addr();
    let client = Client::new(&momento);
    let mut subscriber = client.subscribe().await;
    momento.publish(CACHE, TOPIC, "last").unwrap();
    assert_eq!(subscriber.message().await, seen(1, "last"));
    let hang = momento.inject(Fault::hang());
    let held_up = tokio::spawn(async move { client.publish_code().await });
    within(hang.wait_for_hits(1)).await;

    within(momento.shutdown()).await;
    assert_eq!(subscriber.end().await.map(|status| status.code()), None, "the stream ends without an error");
    assert_eq!(within(held_up).await.unwrap(), Some(Code::Unavailable));
    assert!(TcpStream::connect(addr).await.is_err());
    TcpListener::bind(addr).await.expect("the port is free again");
}

#[tokio::test]
async fn shuts_down_despite_client_that_does_not_read() {
    let timeout = Duration::from_millis(100);
    let momento = MomentoLocal::builder().cache(CACHE).drain(timeout).start().await.unwrap();
    let client = Client::new(&momento);
    let _stalled = client.subscribe().await;
    within(momento.wait_for_subscribers(CACHE, TOPIC, 1)).await;
    // More than the windows of HTTP/2 hold: the server cannot send the end of the stream either.
    for _ in 0..500 {
        momento.publish(CACHE, TOPIC, "x".repeat(4_000)).unwrap();
    }
    let start = Instant::now();
    within(momento.shutdown()).await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[tokio::test]
async fn drop_stops_server() {
    let momento = momento().await;
    let addr = momento.addr();
    let mut subscriber = Client::new(&momento).subscribe().await;
    drop(momento);
    subscriber.end().await;
    within(async {
        // The runtime drops the task with the listener soon after `drop` returns.
        while TcpListener::bind(addr).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn runs_until_future_completes() {
    let momento = momento().await;
    let addr = momento.addr();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(momento.run_until(async move {
        let _ = stopped.await;
    }));
    TcpStream::connect(addr).await.unwrap();
    stop.send(()).unwrap();
    within(running).await.unwrap();
    assert!(TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn restarted_server_begins_greater_page() {
    let first = momento().await;
    let addr = first.addr();
    let before = first.publish(CACHE, TOPIC, "before").unwrap();
    first.shutdown().await;
    let second = MomentoLocal::builder().listen(addr).cache(CACHE).start().await.unwrap();
    second.publish(CACHE, TOPIC, "after").unwrap();
    let mut resumed = Client::new(&second).resume_at(before.sequence_number + 1, before.sequence_page).await;
    let gap = resumed.gap().await;
    assert_eq!((gap.last_topic_sequence, gap.new_topic_sequence), (1, 0));
    assert!(gap.new_sequence_page > before.sequence_page);
    assert_eq!(resumed.message().await, seen(1, "after"));
}
