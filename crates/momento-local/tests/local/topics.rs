//! Publish and subscribe through the official stubs.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use momento_local::{MomentoLocal, Value};
use momento_protos::cache_client::pubsub::pubsub_client::PubsubClient;
use momento_protos::cache_client::pubsub::subscription_item::Kind;
use momento_protos::cache_client::pubsub::topic_value;
use momento_protos::cache_client::pubsub::{Discontinuity, Heartbeat, PublishRequest, TopicValue};
use momento_protos::common::Empty;
use momento_protos::control_client::{CreateCacheRequest, CreateSigningKeyRequest};
use tonic::Code;

use crate::support::{CACHE, Client, Subscriber, TOPIC, err, momento, seen, within};

#[tokio::test]
async fn subscriber_receives_messages_numbered_from_one() {
    let momento = momento().await;
    let client = Client::new(&momento);
    let mut subscriber = client.subscribe().await;
    client.publish("one").await.unwrap();
    client.publish_to(CACHE, TOPIC, topic_value::Kind::Binary(vec![0, 255])).await.unwrap();
    assert_eq!(subscriber.message().await, seen(1, "one"));
    let second = subscriber.item().await;
    assert_eq!(second.topic_sequence_number, 2);
    assert_eq!(second.value.unwrap().kind, Some(topic_value::Kind::Binary(vec![0, 255])));

    let published = momento.published(CACHE, TOPIC);
    assert_eq!(published.len(), 2);
    assert_eq!(published[0].text(), Some("one"));
    assert_eq!(published[1].value, Value::Binary(vec![0, 255]));
    assert_eq!(published[1].sequence_page, second.sequence_page);
}

#[tokio::test]
async fn publisher_id_is_token_id() {
    let momento = momento().await;
    // {"alg":"none"} and {"token_id":"mo-the-squirrel"}
    let token = "eyJhbGciOiJub25lIn0.eyJ0b2tlbl9pZCI6Im1vLXRoZS1zcXVpcnJlbCJ9.c2ln";
    let named = Client::new(&momento).with("authorization", token);
    let mut subscriber = named.subscribe().await;
    named.publish("named").await.unwrap();
    Client::new(&momento).publish("unnamed").await.unwrap();
    assert_eq!(subscriber.item().await.publisher_id, "mo-the-squirrel");
    assert_eq!(subscriber.item().await.publisher_id, "");
}

#[tokio::test]
async fn subscription_begins_with_heartbeat() {
    let momento = MomentoLocal::builder()
        .cache(CACHE)
        .heartbeat_interval(Duration::from_millis(10))
        .start()
        .await
        .unwrap();
    momento.publish(CACHE, TOPIC, "held").unwrap();
    // The heartbeat comes before replayed messages.
    let mut subscriber = Client::new(&momento).resume_at(1, 0).await;
    let heartbeat = Some(Kind::Heartbeat(Heartbeat {}));
    assert_eq!(subscriber.next().await.unwrap(), heartbeat);
    assert_eq!(subscriber.message().await, seen(1, "held"));
    for _ in 0..3 {
        assert_eq!(subscriber.next().await.unwrap(), heartbeat);
    }
}

#[tokio::test]
async fn fresh_subscriber_receives_latest_messages_first() {
    for (builder, expected) in [
        (MomentoLocal::builder(), &[(3, "three")][..]),
        (MomentoLocal::builder().latest(2), &[(2, "two"), (3, "three")]),
        (MomentoLocal::builder().latest(0), &[]),
    ] {
        let momento = builder.cache(CACHE).start().await.unwrap();
        for text in ["one", "two", "three"] {
            momento.publish(CACHE, TOPIC, text).unwrap();
        }
        let mut subscriber = Client::new(&momento).subscribe().await;
        for (number, text) in expected {
            assert_eq!(subscriber.message().await, seen(*number, text));
        }
        momento.publish(CACHE, TOPIC, "four").unwrap();
        assert_eq!(subscriber.message().await, seen(4, "four"));
    }
}

#[tokio::test]
async fn fresh_subscriber_on_another_page_receives_discontinuity() {
    let momento = momento().await;
    momento.publish(CACHE, TOPIC, "one").unwrap();
    momento.publish(CACHE, TOPIC, "two").unwrap();
    let page = momento.published(CACHE, TOPIC)[0].sequence_page;
    let mut subscriber = Client::new(&momento).resume_at(0, page - 1).await;
    let gap = Discontinuity { last_topic_sequence: 0, new_topic_sequence: 1, new_sequence_page: page };
    assert_eq!(subscriber.gap().await, gap);
    assert_eq!(subscriber.message().await, seen(2, "two"));
    let mut subscriber = Client::new(&momento).resume_at(0, page).await;
    assert_eq!(subscriber.message().await, seen(2, "two"));
}

#[tokio::test]
async fn resume_replays_history_and_continues_live() {
    let momento = momento().await;
    for text in ["one", "two", "three"] {
        momento.publish(CACHE, TOPIC, text).unwrap();
    }
    let page = momento.published(CACHE, TOPIC)[0].sequence_page;
    let mut subscriber = Client::new(&momento).resume_at(2, page).await;
    assert_eq!(subscriber.messages(2).await, [seen(2, "two"), seen(3, "three")]);
    momento.publish(CACHE, TOPIC, "four").unwrap();
    assert_eq!(subscriber.message().await, seen(4, "four"));
}

#[tokio::test]
async fn resume_before_history_receives_discontinuity() {
    let momento = MomentoLocal::builder().cache(CACHE).history(2).start().await.unwrap();
    for text in ["one", "two", "three", "four"] {
        momento.publish(CACHE, TOPIC, text).unwrap();
    }
    let page = momento.published(CACHE, TOPIC)[0].sequence_page;
    let mut subscriber = Client::new(&momento).resume_at(2, page).await;
    let gap = Discontinuity { last_topic_sequence: 1, new_topic_sequence: 2, new_sequence_page: page };
    assert_eq!(subscriber.gap().await, gap);
    assert_eq!(subscriber.messages(2).await, [seen(3, "three"), seen(4, "four")]);
}

#[tokio::test]
async fn reset_begins_page_for_open_and_resumed_subscriptions() {
    let momento = momento().await;
    let client = Client::new(&momento);
    let mut subscriber = client.subscribe().await;
    momento.publish(CACHE, TOPIC, "old").unwrap();
    let old_page = subscriber.item().await.sequence_page;

    momento.reset_topic(CACHE, TOPIC).unwrap();
    momento.publish(CACHE, TOPIC, "new").unwrap();
    let new_page = momento.published(CACHE, TOPIC)[0].sequence_page;
    assert!(new_page > old_page);
    let gap = Discontinuity { last_topic_sequence: 1, new_topic_sequence: 0, new_sequence_page: new_page };
    assert_eq!(subscriber.gap().await, gap);
    assert_eq!(subscriber.message().await, seen(1, "new"));

    let mut resumed = client.resume_at(2, old_page).await;
    assert_eq!(resumed.gap().await, gap);
    assert_eq!(resumed.message().await, seen(1, "new"));
}

#[tokio::test]
async fn slow_subscriber_receives_discontinuity_for_lost_messages() {
    const MESSAGES: u64 = 2_000;
    let momento = MomentoLocal::builder().cache(CACHE).history(0).subscriber_lag(10).start().await.unwrap();
    let mut slow = Client::new(&momento).subscribe().await;
    // It does not read until all messages are published. It loses those that the connection's buffers cannot hold.
    let text = "x".repeat(4_000);
    for _ in 0..MESSAGES {
        momento.publish(CACHE, TOPIC, text.as_str()).unwrap();
    }
    let (mut last, mut received, mut missed) = (0, 0, 0);
    while last < MESSAGES {
        match slow.next_event().await {
            Kind::Item(item) => {
                assert_eq!(item.topic_sequence_number, last + 1);
                last = item.topic_sequence_number;
                received += 1;
            }
            Kind::Discontinuity(gap) => {
                assert_eq!(gap.last_topic_sequence, last);
                assert!(gap.new_topic_sequence > last);
                missed += gap.new_topic_sequence - last;
                last = gap.new_topic_sequence;
            }
            Kind::Heartbeat(_) => {}
        }
    }
    assert!(missed > 0, "the buffers cannot hold 8 MB");
    assert_eq!(received + missed, MESSAGES);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_subscribers_receive_same_order() {
    const SUBSCRIBERS: usize = 200;
    const PUBLISHERS: usize = 10;
    const EACH: usize = 20;
    let momento = MomentoLocal::builder().cache(CACHE).start().await.unwrap();
    // A connection carries at most 100 streams, as on the service.
    let connections: Vec<_> = (0..4).map(|_| Client::new(&momento)).collect();
    let subscribing = (0..SUBSCRIBERS).map(|number| connections[number % connections.len()].subscribe());
    let mut subscribers: Vec<Subscriber> = join_all(subscribing).await;
    within(momento.wait_for_subscribers(CACHE, TOPIC, SUBSCRIBERS)).await;

    let publishing = (0..PUBLISHERS).map(|publisher| {
        let client = Client::new(&momento);
        async move {
            for number in 0..EACH {
                client.publish(&format!("{publisher}/{number}")).await.unwrap();
            }
        }
    });
    join_all(publishing).await;

    let all = join_all(subscribers.iter_mut().map(|subscriber| subscriber.messages(PUBLISHERS * EACH))).await;
    let numbers: Vec<_> = all[0].iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (1..=200).collect::<Vec<u64>>());
    let texts: BTreeSet<_> = all[0].iter().map(|(_, text)| text).collect();
    assert_eq!(texts.len(), PUBLISHERS * EACH, "no message twice");
    assert!(all.iter().all(|messages| *messages == all[0]), "the same order for all");

    drop(subscribers);
    within(momento.wait_for_no_subscribers(CACHE, TOPIC)).await;
}

#[tokio::test]
async fn rejects_more_subscriptions_than_limit_until_one_ends() {
    let momento = MomentoLocal::builder().cache(CACHE).max_subscriptions(2).start().await.unwrap();
    let client = Client::new(&momento);
    let (first, _second) = (client.subscribe().await, client.subscribe().await);
    let status = client.subscribe_to(CACHE, "other", (0, 0)).await.err().unwrap();
    assert_eq!(
        (status.code(), err(&status)),
        (Code::ResourceExhausted, Some("topic_subscriptions_limit_exceeded"))
    );
    drop(first);
    // The server learns of the end of a subscription a moment later.
    within(async { while client.subscribe_to(CACHE, "other", (0, 0)).await.is_err() {} }).await;
}

#[tokio::test]
async fn subscriber_receives_only_its_topic() {
    let momento = MomentoLocal::builder().cache(CACHE).cache("other").start().await.unwrap();
    let mut subscriber = Client::new(&momento).subscribe().await;
    momento.publish(CACHE, "another topic", "no").unwrap();
    momento.publish("other", TOPIC, "no").unwrap();
    momento.publish(CACHE, TOPIC, "yes").unwrap();
    assert_eq!(subscriber.message().await, seen(1, "yes"));
}

#[tokio::test]
async fn rejects_invalid_publish_with_code_of_service() {
    let momento = MomentoLocal::builder().cache(CACHE).max_message_bytes(8).start().await.unwrap();
    let client = Client::new(&momento);
    let text = |text: &str| topic_value::Kind::Text(text.to_owned());

    let missing = client.publish_to("nowhere", TOPIC, text("x")).await.unwrap_err();
    assert_eq!((missing.code(), err(&missing)), (Code::NotFound, Some("momento_general_err")));
    for (cache, topic) in [("", TOPIC), (" ", TOPIC), (CACHE, "")] {
        let invalid = client.publish_to(cache, topic, text("x")).await.unwrap_err();
        assert_eq!(invalid.code(), Code::InvalidArgument, "{cache:?} {topic:?}");
        let invalid = client.subscribe_to(cache, topic, (0, 0)).await.err().unwrap();
        assert_eq!(invalid.code(), Code::InvalidArgument, "{cache:?} {topic:?}");
    }
    let missing = client.subscribe_to("nowhere", TOPIC, (0, 0)).await.err().unwrap();
    assert_eq!(missing.code(), Code::NotFound);

    assert_eq!(client.publish("12345678").await.map_err(|status| status.code()), Ok(()));
    for kind in [
        text("123456789"),
        topic_value::Kind::Binary(vec![0; 9]),
        text(&"x".repeat(1 << 20)),
        text(&"x".repeat(5 << 20)),
    ] {
        let too_large = client.publish_to(CACHE, TOPIC, kind).await.unwrap_err();
        assert_eq!(too_large.code(), Code::ResourceExhausted);
        assert_eq!(err(&too_large), Some("request_size_limit_exceeded"));
    }

    let mut pubsub = PubsubClient::new(client.channel.clone());
    for value in [None, Some(TopicValue { kind: None })] {
        let message = PublishRequest { cache_name: CACHE.to_owned(), topic: TOPIC.to_owned(), value };
        let error = within(pubsub.publish(message)).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
    }
    assert_eq!(momento.published(CACHE, TOPIC).len(), 1);
}

#[tokio::test]
async fn reads_cache_name_from_metadata() {
    let momento = momento().await;
    let client = Client::new(&momento).with("cache", CACHE);
    client.publish_to("", TOPIC, topic_value::Kind::Text("x".to_owned())).await.unwrap();
    assert_eq!(momento.published(CACHE, TOPIC).len(), 1);
}

#[tokio::test]
async fn sends_err_trailer_for_undecodable_request() {
    let momento = MomentoLocal::builder().cache(CACHE).api_key("right").start().await.unwrap();
    let large = || topic_value::Kind::Text("x".repeat(5 << 20));
    let status = Client::new(&momento).publish_to(CACHE, TOPIC, large()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "the key comes first");

    let client = Client::new(&momento).with("authorization", "right");
    let status = client.publish_to(CACHE, TOPIC, large()).await.unwrap_err();
    assert_eq!((status.code(), err(&status)), (Code::ResourceExhausted, Some("request_size_limit_exceeded")));
    assert!(status.message().contains("request limit"), "{}", status.message());

    let mut control = client.control();
    let request = client.request(CreateCacheRequest { cache_name: "x".repeat(5 << 20) });
    let status = within(control.create_cache(request)).await.unwrap_err();
    assert_eq!((status.code(), err(&status)), (Code::ResourceExhausted, Some("request_size_limit_exceeded")));

    // In the request of a publish, field 1 is a string and not a number.
    let malformed = CreateSigningKeyRequest { ttl_minutes: 1 };
    let status = client.call("/cache_client.pubsub.Pubsub/Publish", malformed).await.unwrap();
    assert_eq!((status.code(), err(&status)), (Code::Internal, Some("momento_general_err")));
    let client = client.with("grpc-encoding", "gzip");
    let status = client.call("/cache_client.pubsub.Pubsub/Publish", Empty {}).await.unwrap();
    assert_eq!((status.code(), err(&status)), (Code::Unimplemented, Some("momento_general_err")));
}

#[tokio::test]
async fn accepts_only_configured_key() {
    let momento = MomentoLocal::builder().cache(CACHE).api_key("right").start().await.unwrap();
    let client = Client::new(&momento);
    assert_eq!(client.publish_code().await, Some(Code::Unauthenticated));
    assert_eq!(
        client.clone().with("authorization", "wrong").publish_code().await,
        Some(Code::Unauthenticated)
    );
    let error = client.subscribe_to(CACHE, TOPIC, (0, 0)).await.err().unwrap();
    assert_eq!(error.code(), Code::Unauthenticated);
    assert_eq!(client.with("authorization", "right").publish_code().await, None);
}
