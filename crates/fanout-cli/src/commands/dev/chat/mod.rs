//! The chat of `--example chat`: two people with a token each, and a page for each of them.
//!
//! | module | purpose |
//! | --- | --- |
//! | `people` | the two people, their tokens, and what the tokens refuse |
//! | `stream` | the messages for a page, as server-sent events |
//! | `page` | the responses of the port |
//!
//! The port takes the place of API Gateway: it tells the functions `token` and `publish` who asks, by the path. A page has no
//! token. What its person reads and writes goes through the functions, and through a subscription with the person's token.

mod page;
mod people;
mod stream;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use local_guard::Guard;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::page::Pages;
pub(super) use self::people::{Attempt, People, Person};
use super::setup::Setup;
use crate::error::Error;
use crate::service::Service;

/// The running port.
#[derive(Debug)]
pub(super) struct Chat {
    address: SocketAddr,
    people: Arc<People>,
    /// What the tokens refused at the start.
    attempts: Vec<(Person, Vec<Attempt>)>,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl Chat {
    /// Issues a token for each person, tries what it must refuse, and serves the pages on `port`.
    ///
    /// # Errors
    /// If the port is in use, if a token is not issued, or if it allows what it must not.
    pub(super) async fn start(setup: &Setup, service: &Service, port: u16) -> Result<Self, Error> {
        let in_use =
            |error| Error::because(format_args!("cannot listen on port {port} for the page"), &error);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(in_use)?;
        let address = listener.local_addr().map_err(in_use)?;
        let people = Arc::new(People::new(setup, service));
        let mut attempts = Vec::new();
        for person in Person::ALL {
            let tried = people.attempts(person).await?;
            if let Some(allowed) = tried.iter().find(|attempt| attempt.refusal.is_none()) {
                return Err(Error::Failed(format!("the token of {person} lets them {allowed}")));
            }
            attempts.push((person, tried));
        }
        let stop = CancellationToken::new();
        let pages = Pages::new(Arc::clone(&people));
        let shutdown = stop.clone().cancelled_owned();
        let serving = tokio::spawn(local_guard::serve(
            listener,
            Guard::loopback(),
            "the port of the chat",
            shutdown,
            move |request| {
                let pages = pages.clone();
                async move { pages.respond(request).await }
            },
        ));
        Ok(Self { address, people, attempts, stop, serving })
    }

    /// Returns what to print at the start: lines, each with a label.
    pub(super) fn lines(&self) -> Vec<(String, String)> {
        let pages = Person::ALL.map(|person| format!("http://{}/{person}", self.address));
        let mut lines =
            vec![("page".to_owned(), format!("{}  (open both, side by side)", pages.join(" and ")))];
        for (person, attempts) in &self.attempts {
            let (publish, subscribe) = self.people.topics(*person);
            lines.push((
                person.to_string(),
                format!("has a token to publish to \"{publish}\" and to subscribe to \"{subscribe}\""),
            ));
            let refused: Vec<_> = attempts.iter().map(ToString::to_string).collect();
            lines.push((
                String::new(),
                format!("Momento refuses, with this token, to {}", refused.join(" and to ")),
            ));
        }
        lines
    }

    /// Stops the port.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.serving.await.expect("the server of the pages does not panic");
    }
}
