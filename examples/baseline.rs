//! The baseline for measurements of the function `webhook`: an empty Lambda function on the same runtime.
//!
//! It responds with "hello". With `BASELINE_TOPICS`, it publishes to that many topics at once with the SDK, and responds with
//! the time for that in microseconds. `scripts/bench` runs it.

use std::time::Instant;

use futures_util::future::try_join_all;
use lambda_http::{Body, Error, Request, Response, run, service_fn};
use momento::topics::configurations::Lambda;
use momento::{CredentialProvider, TopicClient};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let topics: Vec<String> = match std::env::var("BASELINE_TOPICS") {
        Ok(count) => (0..count.parse()?).map(|number: u32| format!("topic {number}")).collect(),
        Err(_) => return run(service_fn(async |_: Request| respond("hello".to_owned()))).await,
    };
    // {"api_key":"local","endpoint":"local"}
    let key = "eyJhcGlfa2V5IjoibG9jYWwiLCJlbmRwb2ludCI6ImxvY2FsIn0=";
    let endpoint = std::env::var("MOMENTO_ENDPOINT")?;
    let credentials = CredentialProvider::from_disposable_token(key)?.insecure_endpoint_override(&endpoint);
    let client =
        TopicClient::builder().configuration(Lambda::latest()).credential_provider(credentials).build()?;
    let (client, topics) = (&client, &topics);
    run(service_fn(async |_: Request| {
        let started = Instant::now();
        try_join_all(topics.iter().map(|topic| client.publish("demo", topic, "HELLO"))).await?;
        respond(started.elapsed().as_micros().to_string())
    }))
    .await
}

#[expect(clippy::unnecessary_wraps, reason = "what a handler gives")]
fn respond(text: String) -> Result<Response<Body>, Error> {
    Ok(Response::new(Body::from(text)))
}
