//! Two people, by the profiles of the example.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use fanout_core::destination::{Publisher as _, Topic};
use fanout_core::reason::Reason;
use fanout_core::retry::RetryPolicy;
use fanout_core::secret_store::Versioned;
use fanout_identity::{GatewayContext, file};
use fanout_momento::{SubscriptionEvent, TokenIssuer};
use http::{Method, Request, Response};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Value, json};
use tonic::Code;
use topic_fanout::config::DedupeConfig;
use topic_fanout::publish::PublishFunction;
use topic_fanout::request_log::RequestLog;
use topic_fanout::serve::Function as _;
use topic_fanout::token::TokenFunction;

use super::super::example::Example;
use super::super::setup::Setup;
use crate::error::Error;
use crate::service::Service;

/// Someone who chats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Person {
    /// Reads English.
    Ann,
    /// Reads Spanish.
    Luis,
}

/// The functions `token` and `publish`, with the people who use them.
#[derive(Debug)]
pub(in super::super) struct People {
    service: Service,
    /// The cache of the chat.
    cache: String,
    /// The topic that people publish to.
    inbound: String,
    /// The part of that topic that names the room.
    room: String,
    token: TokenFunction,
    publish: PublishFunction,
}

/// A call that a token must not allow, as it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Attempt {
    verb: &'static str,
    topic: String,
    /// Why Momento refused it; `None` if it did not.
    pub(super) refusal: Option<String>,
}

/// The response of the function `token`.
#[derive(Deserialize)]
struct TokenBody {
    token: String,
}

impl Person {
    pub(super) const ALL: [Self; 2] = [Self::Ann, Self::Luis];

    /// Returns the person with a name, as paths have it.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|person| person.name() == name)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Ann => "ann",
            Self::Luis => "luis",
        }
    }

    pub(super) const fn language(self) -> &'static str {
        match self {
            Self::Ann => "english",
            Self::Luis => "spanish",
        }
    }
}

impl fmt::Display for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to \"{}\"", self.verb, self.topic)
    }
}

impl People {
    /// Builds the functions, with the key of `service`.
    pub(super) fn new(setup: &Setup, service: &Service) -> Self {
        let inbound = setup.graph.inbound();
        let room = inbound.name.strip_suffix("-publish").unwrap_or_default().to_owned();
        let file = file::read(Example::Chat.tokens()).expect("the profiles of the example are valid");
        let keys = Arc::new(Versioned { current: service.credentials().clone(), previous: None });
        let issuer = TokenIssuer::new(Arc::new(Arc::clone(&keys)), RetryPolicy::PUBLISH.attempt_timeout);
        Self {
            service: service.clone(),
            cache: inbound.cache.clone(),
            inbound: inbound.name.clone(),
            room,
            token: TokenFunction::new(file.clone(), issuer, RequestLog::Off),
            publish: PublishFunction::new(file, Arc::new(keys), None, DedupeConfig::Memory, RequestLog::Off),
        }
    }

    /// Returns the topics that a person publishes and subscribes to.
    pub(super) fn topics(&self, person: Person) -> (String, String) {
        (self.inbound.clone(), format!("{}-subscribe-{}", self.room, person.language()))
    }

    /// Returns the cache of the chat.
    pub(super) fn cache(&self) -> &str {
        &self.cache
    }

    /// Returns the service with a new token of a person.
    ///
    /// # Errors
    /// If the function `token` does not issue one.
    pub(super) async fn service(&self, person: Person) -> Result<Service, Error> {
        let request = self.request(person, Method::POST, "/token", Bytes::new());
        let response = self.token.handle(request.into()).await;
        let body = String::from_utf8_lossy(response.body());
        let issued: TokenBody = serde_json::from_str(&body)
            .map_err(|_| Error::Failed(format!("no token for {person}: {}", detail(&body))))?;
        Ok(Service::new(Some(self.service.endpoint()), Some(&issued.token))?)
    }

    /// Publishes a text as a person, by the function `publish`.
    pub(super) async fn publish(&self, person: Person, text: Bytes) -> Response<Bytes> {
        let path = format!("/publish/{}", encoded(&self.inbound));
        self.publish.handle(self.request(person, Method::POST, &path, text).into()).await
    }

    /// Returns the last messages of the topic that a person subscribes to, the oldest first, by the function `publish`.
    pub(super) async fn history(&self, person: Person) -> Response<Bytes> {
        let path = format!("/history/{}?limit=100", encoded(&self.topics(person).1));
        self.publish.handle(self.request(person, Method::GET, &path, Bytes::new()).into()).await
    }

    /// Tries what the token of a person must not allow: to read the texts before moderation, and to write those after it.
    ///
    /// # Errors
    /// If there is no token, or the service does not respond.
    pub(super) async fn attempts(&self, person: Person) -> Result<Vec<Attempt>, Error> {
        let service = self.service(person).await?;
        let (raw, own) = self.topics(person);
        let mut subscription = service.subscribe(&self.cache, &raw, None)?;
        let subscribed = loop {
            match subscription.next().await {
                Ok(SubscriptionEvent::Interrupted { cause, .. }) => {
                    return Err(Error::Failed(format!("Momento does not respond: {cause}")));
                }
                Ok(SubscriptionEvent::Heartbeat) => {}
                Ok(_) => break None,
                Err(error) => {
                    let is_denied = error.status.code() == Code::PermissionDenied;
                    break Some(refusal(is_denied, &error)?);
                }
            }
        };
        let published = service.publisher()?.publish(&Topic::new(&*self.cache, &*own), "not moderated").await;
        let published = match published {
            Ok(()) => None,
            Err(failure) => Some(refusal(failure.reason == Reason::PermissionDenied, &failure)?),
        };
        Ok(vec![
            Attempt { verb: "subscribe", topic: raw, refusal: subscribed },
            Attempt { verb: "publish", topic: own, refusal: published },
        ])
    }

    /// Returns a request as API Gateway passes it on: with the claims of a JWT that it has verified.
    fn request(&self, person: Person, method: Method, path: &str, body: Bytes) -> Request<Bytes> {
        let claims = json!({"sub": person.name(), "room": self.room, "language": person.language()});
        let authorizer = json!({"jwt": {"claims": claims}});
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().expect("an encoded name is a valid path");
        request.extensions_mut().insert(GatewayContext { authorizer: Some(authorizer), identity: None });
        request
    }
}

/// Returns the text of a refusal.
///
/// # Errors
/// If the call failed for another reason.
fn refusal(is_denied: bool, cause: &dyn fmt::Display) -> Result<String, Error> {
    if is_denied {
        return Ok(Reason::PermissionDenied.to_string());
    }
    Err(Error::Failed(format!("Momento does not say whether it allows the call: {cause}")))
}

/// Returns a name as a part of a path.
fn encoded(name: &str) -> impl fmt::Display {
    utf8_percent_encode(name, NON_ALPHANUMERIC)
}

/// Returns the description in a problem document.
pub(super) fn detail(body: &str) -> String {
    let detail = |body: Value| body.get("detail").and_then(Value::as_str).map(str::to_owned);
    serde_json::from_str(body).ok().and_then(detail).unwrap_or_else(|| "no reason given".to_owned())
}
