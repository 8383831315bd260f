//! Starting, blocking and stopping.

use std::time::{Duration, Instant};

use momento_local::{Fault, MomentoLocal};
use tokio::net::{TcpListener, TcpStream};
use tonic::Code;

use crate::support::{CACHE, Client, TOPIC, momento, seen, within};

#[tokio::test]
async fn it_serves_on_a_listener_of_its_callers() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let momento = MomentoLocal::builder().cache(CACHE).start_with(listener).await.unwrap();
    assert_eq!(momento.addr(), addr);
    assert_eq!(momento.endpoint(), format!("http://{addr}"));
    assert_eq!(momento.admin_addr(), None);
    assert_eq!(Client::new(&momento).publish_code().await, None);
}

#[tokio::test]
async fn blocking_cuts_what_is_open_and_keeps_out_what_is_new() {
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
async fn cut_connections_come_back_at_once() {
    let momento = momento().await;
    let client = Client::new(&momento);
    let mut subscriber = client.subscribe().await;
    momento.cut_connections();
    assert!(subscriber.end().await.is_some());
    client.subscribe().await;
}

#[tokio::test]
async fn shutting_down_ends_streams_and_calls_held_up_and_frees_the_port() {
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
    assert_eq!(subscriber.end().await.map(|status| status.code()), None, "the stream ends, it does not fail");
    assert_eq!(within(held_up).await.unwrap(), Some(Code::Unavailable));
    assert!(TcpStream::connect(addr).await.is_err());
    TcpListener::bind(addr).await.expect("the port is free again");
}

#[tokio::test]
async fn a_client_that_does_not_read_cannot_keep_the_server() {
    let deadline = Duration::from_millis(100);
    let momento = MomentoLocal::builder().cache(CACHE).drain(deadline).start().await.unwrap();
    let client = Client::new(&momento);
    let _stalled = client.subscribe().await;
    within(momento.wait_for_subscribers(CACHE, TOPIC, 1)).await;
    // More than the windows of HTTP/2 hold, so that the end of the stream cannot be sent either.
    for _ in 0..500 {
        momento.publish(CACHE, TOPIC, "x".repeat(4_000)).unwrap();
    }
    let start = Instant::now();
    within(momento.shutdown()).await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[tokio::test]
async fn dropping_it_stops_it() {
    let momento = momento().await;
    let addr = momento.addr();
    let mut subscriber = Client::new(&momento).subscribe().await;
    drop(momento);
    subscriber.end().await;
    within(async {
        // The task that holds the listener is dropped soon, but not by the time that `drop` returns.
        while TcpListener::bind(addr).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn it_runs_until_it_is_told_to_stop() {
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
async fn a_server_started_anew_is_not_mistaken_for_the_one_before() {
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
