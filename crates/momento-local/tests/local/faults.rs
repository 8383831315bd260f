//! Faults on demand, as a client observes them.

use std::time::Duration;

use momento_local::{Fault, MomentoLocal, Rpc};
use momento_protos::cache_client::pubsub::topic_value;
use momento_protos::control_client::CreateCacheRequest;
use tonic::Code;

use crate::support::{CACHE, Client, TOPIC, err, momento, seen, within};

/// Returns true for a code that a client reports for a broken connection. It depends on when the connection broke.
fn is_broken(code: Option<Code>) -> bool {
    matches!(code, Some(Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled))
}

#[tokio::test]
async fn error_applies_to_matching_calls_limited_times() {
    let momento = momento().await;
    let client = Client::new(&momento);
    let fault = Fault::error(Code::ResourceExhausted)
        .on(Rpc::Publish)
        .cache(CACHE)
        .topic(TOPIC)
        .times(2)
        .message("slow down")
        .metadata("err", "operations_rate_limit_exceeded");
    let fault = momento.inject(fault);
    let other = topic_value::Kind::Text("other".to_owned());
    client.publish_to(CACHE, "other", other).await.unwrap();
    let status = client.publish("one").await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::ResourceExhausted, "slow down"));
    assert_eq!(err(&status), Some("operations_rate_limit_exceeded"));
    assert_eq!(client.publish_code().await, Some(Code::ResourceExhausted));
    assert_eq!(client.publish_code().await, None);
    assert_eq!(fault.hits(), 2);
    assert_eq!(momento.published(CACHE, TOPIC).len(), 1, "failed calls had no effect");
}

#[tokio::test]
async fn fault_after_apply_keeps_effect() {
    let momento = momento().await;
    let client = Client::new(&momento);
    momento.inject(Fault::error(Code::Unavailable).on(Rpc::Publish).after_apply().times(1));
    assert_eq!(client.publish("applied").await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(momento.published(CACHE, TOPIC)[0].text(), Some("applied"));

    let cut = momento.inject(Fault::cut().on(Rpc::CreateCache).after_apply());
    let request = CreateCacheRequest { cache_name: "created".to_owned() };
    let failed = within(client.control().create_cache(request)).await.err();
    assert!(is_broken(failed.map(|status| status.code())));
    assert_eq!(cut.hits(), 1);
    assert!(momento.create_cache("created").is_err(), "the cache exists");
}

#[tokio::test]
async fn delayed_call_is_applied_unless_caller_gives_up() {
    let momento = momento().await;
    let client = Client::new(&momento);
    let start = std::time::Instant::now();
    let delay = Duration::from_millis(50);
    momento.inject(Fault::delay(delay).on(Rpc::Publish).times(1));
    client.publish("late").await.unwrap();
    assert!(start.elapsed() >= delay);

    momento.inject(Fault::delay(Duration::from_hours(1)));
    let short_timeout = client.with("grpc-timeout", "50m");
    let code = short_timeout.publish_code().await;
    assert!(matches!(code, Some(Code::DeadlineExceeded | Code::Cancelled)), "{code:?}");
    assert_eq!(momento.published(CACHE, TOPIC).len(), 1);
}

#[tokio::test]
async fn hang_lasts_until_removed() {
    let momento = momento().await;
    let client = Client::new(&momento);
    let hang = momento.inject(Fault::hang().on(Rpc::Publish));
    let call = tokio::spawn(async move { client.publish("held up").await });
    within(hang.wait_for_hits(1)).await;
    assert!(!call.is_finished());
    assert_eq!(momento.published(CACHE, TOPIC), []);
    hang.remove();
    within(call).await.unwrap().unwrap();
    assert_eq!(momento.published(CACHE, TOPIC).len(), 1);
}

#[tokio::test]
async fn cut_breaks_all_calls_of_one_connection() {
    let momento = momento().await;
    let (client, bystander) = (Client::new(&momento), Client::new(&momento));
    let (mut subscriber, mut unharmed) = (client.subscribe().await, bystander.subscribe().await);
    momento.inject(Fault::cut().on(Rpc::Publish).times(1));
    assert!(is_broken(client.publish_code().await));
    assert!(is_broken(subscriber.end().await.map(|status| status.code())));
    assert_eq!(momento.published(CACHE, TOPIC), [], "the cut came before the effect");
    client.publish("the channel connects again").await.unwrap();
    assert_eq!(unharmed.message().await.0, 1);
}

#[tokio::test]
async fn stream_error_ends_subscription_after_messages() {
    let momento = momento().await;
    let client = Client::new(&momento);
    let mut open = client.subscribe().await;
    let fault = momento.inject(Fault::stream_error(Code::Internal).after_messages(2).times(2));
    let mut opened_later = client.subscribe().await;
    for text in ["one", "two", "three"] {
        momento.publish(CACHE, TOPIC, text).unwrap();
    }
    for subscriber in [&mut open, &mut opened_later] {
        assert_eq!(subscriber.messages(2).await, [seen(1, "one"), seen(2, "two")]);
        assert_eq!(subscriber.end().await.map(|status| status.code()), Some(Code::Internal));
    }
    assert_eq!(fault.hits(), 2);
    within(momento.wait_for_no_subscribers(CACHE, TOPIC)).await;
    assert_eq!(client.resume_at(3, 0).await.message().await, seen(3, "three"));
}

#[tokio::test]
async fn stream_applies_faults_in_order() {
    let momento = momento().await;
    let mut subscriber = Client::new(&momento).subscribe().await;
    let pause = momento.inject(Fault::delay(Duration::from_millis(1)).after_messages(1));
    let end = momento.inject(Fault::stream_error(Code::Aborted).after_messages(1));
    momento.publish(CACHE, TOPIC, "one").unwrap();
    assert_eq!(subscriber.message().await, seen(1, "one"));
    assert_eq!(subscriber.end().await.map(|status| status.code()), Some(Code::Aborted));
    assert_eq!((pause.hits(), end.hits()), (1, 1));
}

#[tokio::test]
async fn caller_that_gives_up_ends_its_hanging_call() {
    let momento = momento().await;
    let client = Client::new(&momento);
    let hang = momento.inject(Fault::hang().on(Rpc::Publish).times(1));
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.publish("given up").await }
    });
    within(hang.wait_for_hits(1)).await;
    call.abort();
    assert!(within(call).await.unwrap_err().is_cancelled());
    // On the same connection, so the server has received the cancellation of the first call before.
    client.publish("after").await.unwrap();
    hang.remove();
    client.publish("last").await.unwrap();
    let texts: Vec<_> = momento.published(CACHE, TOPIC);
    let texts: Vec<_> = texts.iter().filter_map(|message| message.text()).collect();
    assert_eq!(texts, ["after", "last"]);
}

#[tokio::test]
async fn stream_error_ends_idle_subscription_at_once() {
    let momento = momento().await;
    let mut subscriber = Client::new(&momento).subscribe().await;
    momento.inject(Fault::stream_error(Code::PermissionDenied).cache(CACHE).times(1));
    assert_eq!(subscriber.end().await.map(|status| status.code()), Some(Code::PermissionDenied));
}

#[tokio::test]
async fn subscription_hangs_and_is_cut() {
    let momento = MomentoLocal::builder()
        .cache(CACHE)
        .heartbeat_interval(Duration::from_millis(5))
        .start()
        .await
        .unwrap();
    let mut subscriber = Client::new(&momento).subscribe().await;
    let silence = momento.inject(Fault::hang().after_messages(1));
    momento.publish(CACHE, TOPIC, "one").unwrap();
    momento.publish(CACHE, TOPIC, "two").unwrap();
    assert_eq!(subscriber.message().await, seen(1, "one"));
    within(silence.wait_for_hits(1)).await;
    // Heartbeats stop as well: there would be ten in this time.
    let next = tokio::time::timeout(Duration::from_millis(50), subscriber.0.message()).await;
    assert!(next.is_err(), "{next:?}");
    silence.remove();
    assert_eq!(subscriber.message().await, seen(2, "two"));

    momento.inject(Fault::cut().after_messages(0));
    assert!(is_broken(subscriber.end().await.map(|status| status.code())));
}

#[tokio::test]
async fn metadata_requests_errors_and_delays() {
    let momento = momento().await;
    let client = Client::new(&momento)
        .with("request-id", "6e9c")
        .with("error-rpcs", "get topic-publish")
        .with("return-error", "unavailable")
        .with("error-count", "2");
    assert_eq!(client.publish_code().await, Some(Code::Unavailable));
    assert_eq!(client.publish_code().await, Some(Code::Unavailable));
    assert_eq!(client.publish_code().await, None);
    assert_eq!(Client::new(&momento).publish_code().await, None, "other clients see no fault");

    let late = Client::new(&momento)
        .with("request-id", "7f0d")
        .with("delay-rpcs", "topic-publish")
        .with("delay-ms", "40")
        .with("delay-count", "1");
    let start = std::time::Instant::now();
    assert_eq!(late.publish_code().await, None);
    assert!(start.elapsed() >= Duration::from_millis(40));

    let misspelled = client.with("return-error", "unavaliable");
    assert_eq!(misspelled.publish_code().await, Some(Code::InvalidArgument));
}

#[tokio::test]
async fn metadata_requests_stream_error() {
    let momento = MomentoLocal::builder()
        .cache(CACHE)
        .heartbeat_interval(Duration::from_millis(5))
        .start()
        .await
        .unwrap();
    let client = Client::new(&momento)
        .with("request-id", "8a1e")
        .with("stream-error-rpcs", "topic-subscribe")
        .with("stream-error", "CACHE_NOT_FOUND_ERROR")
        .with("stream-error-message-limit", "3");
    let mut subscriber = client.subscribe().await;
    for _ in 0..3 {
        assert!(subscriber.next().await.unwrap().is_some());
    }
    assert_eq!(subscriber.next().await.unwrap_err().code(), Code::NotFound);
}
