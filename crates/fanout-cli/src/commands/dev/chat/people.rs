//! Two people, by the profiles of the example.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fanout_core::clock::{Clock as _, SystemClock};
use fanout_core::retry::RetryPolicy;
use fanout_core::secret_store::Versioned;
use fanout_identity::{GatewayContext, file};
use fanout_momento::TokenIssuer;
use fanout_momento::status::describe_error;
use http::{Method, Request, Response};
use momento::topics::configurations::Laptop;
use momento::{MomentoError, MomentoErrorCode, TopicClient};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::timeout;
use topic_fanout::config::DedupeConfig;
use topic_fanout::publish::PublishFunction;
use topic_fanout::request_log::RequestLog;
use topic_fanout::serve::Function as _;
use topic_fanout::token::TokenFunction;

use super::super::example::Example;
use super::super::setup::Setup;
use crate::error::Error;
use crate::service::Service;

/// The timeout of a call that a token must not allow.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// The time before its expiry at which a token is replaced, in seconds.
const MARGIN: u64 = 30;

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
    /// The tokens in use, by the order of [`Person::ALL`]. As with any client, one is used until it expires: the function
    /// `token` issues a few in a minute.
    kept: [Mutex<Option<Kept>>; 2],
}

/// A token in use.
#[derive(Debug)]
struct Kept {
    /// Momento, with the token.
    service: Service,
    /// In seconds since the Unix epoch.
    expires_at: u64,
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
    expires_at: u64,
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
            kept: [Mutex::new(None), Mutex::new(None)],
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

    /// Returns Momento with the token of a person, which is issued if none is kept.
    ///
    /// # Errors
    /// If the function `token` does not issue one.
    pub(super) async fn service(&self, person: Person) -> Result<Service, Error> {
        let mut kept = self.kept(person).lock().await;
        let now = SystemClock.now() / 1_000;
        if let Some(Kept { service, .. }) = kept.as_ref().filter(|kept| now + MARGIN < kept.expires_at) {
            return Ok(service.clone());
        }
        let request = self.request(person, Method::POST, "/token", Bytes::new());
        let response = self.token.handle(request.into()).await;
        let body = String::from_utf8_lossy(response.body());
        let issued: TokenBody = serde_json::from_str(&body)
            .map_err(|_| Error::Failed(format!("no token for {person}: {}", detail(&body))))?;
        let service = Service::new(Some(self.service.endpoint()), Some(&issued.token))?;
        *kept = Some(Kept { service: service.clone(), expires_at: issued.expires_at });
        Ok(service)
    }

    /// Drops the token of a person, which Momento no longer accepts.
    pub(super) async fn forget(&self, person: Person) {
        self.kept(person).lock().await.take();
    }

    const fn kept(&self, person: Person) -> &Mutex<Option<Kept>> {
        let [ann, luis] = &self.kept;
        match person {
            Person::Ann => ann,
            Person::Luis => luis,
        }
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

    /// Tries what the token of a person must not allow, with Momento's own SDK: to read the texts before moderation, and to
    /// write those after it.
    ///
    /// # Errors
    /// If there is no token, or the service does not respond.
    pub(super) async fn attempts(&self, person: Person) -> Result<Vec<Attempt>, Error> {
        let service = self.service(person).await?;
        let client = TopicClient::builder()
            .configuration(Laptop::latest())
            .credential_provider(service.credentials().provider().clone())
            .build()
            .map_err(|error| Error::because("the client of Momento cannot be built", &error))?;
        let (raw, own) = self.topics(person);
        let subscribing = async { client.subscribe(&*self.cache, &*raw).await.map(drop) };
        let subscribed = self.refusal(person, subscribing).await?;
        let publishing = async { client.publish(&*self.cache, &*own, "not moderated").await.map(drop) };
        let published = self.refusal(person, publishing).await?;
        Ok(vec![
            Attempt { verb: "subscribe", topic: raw, refusal: subscribed },
            Attempt { verb: "publish", topic: own, refusal: published },
        ])
    }

    /// Returns why Momento refuses a call; `None` if it does not.
    ///
    /// # Errors
    /// If the call fails for another reason than its permission.
    async fn refusal(
        &self,
        person: Person,
        call: impl Future<Output = Result<(), MomentoError>>,
    ) -> Result<Option<String>, Error> {
        let unclear = |cause: &str| {
            Error::Failed(format!("Momento does not say whether it allows a call of {person}: {cause}"))
        };
        match timeout(ATTEMPT_TIMEOUT, call).await {
            Ok(Ok(())) => Ok(None),
            Ok(Err(error)) if error.error_code == MomentoErrorCode::PermissionError => {
                Ok(Some("permission denied".to_owned()))
            }
            Ok(Err(error)) => {
                if error.error_code == MomentoErrorCode::AuthenticationError {
                    self.forget(person).await;
                }
                Err(unclear(&describe_error(&error)))
            }
            Err(_) => Err(unclear("no response")),
        }
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

/// Returns a name as a part of a path.
fn encoded(name: &str) -> impl fmt::Display {
    utf8_percent_encode(name, NON_ALPHANUMERIC)
}

/// Returns the description in a problem document.
pub(super) fn detail(body: &str) -> String {
    let detail = |body: Value| body.get("detail").and_then(Value::as_str).map(str::to_owned);
    serde_json::from_str(body).ok().and_then(detail).unwrap_or_else(|| "no reason given".to_owned())
}
