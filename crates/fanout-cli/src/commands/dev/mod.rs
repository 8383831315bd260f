//! `fanout dev`: runs local Momento, the function and the delivery to it in one process.
//!
//! | module | purpose |
//! | --- | --- |
//! | `args` | the flags |
//! | `setup` | checks the flags and the routes, before anything starts |
//! | `example` | the built-in routes |
//! | `chat` | the pages of the example `chat`, and the tokens of its people |
//! | `graph` | finds the topics that texts pass |
//! | `function` | runs the function, or names an external one |
//! | `session` | handles all updates, one after the other |
//! | `tasks` | run beside the session: subscriptions, publishing, delivery, typing |
//! | `prompt` | edits lines in a terminal |
//! | `tracker` | follows each message, from its publish to its arrivals |
//! | `response` | reads the response of the function |
//! | `report` | prints |

mod args;
mod chat;
mod example;
mod function;
mod graph;
mod prompt;
mod report;
mod response;
mod session;
mod setup;
mod tasks;
mod tracker;

use std::net::Ipv4Addr;
use std::pin::pin;

use fanout_core::transform::Transforms;
use momento_local::{Builder, MomentoLocal};
use tokio::sync::mpsc;
use topic_fanout::serve::shutdown_signal;

pub(crate) use self::args::Args;
use self::chat::Chat;
use self::example::Example;
use self::function::Function;
use self::report::{Report, Style};
use self::session::{Input, Session};
use self::setup::Setup;
use crate::args::Secret;
use crate::error::Error;
use crate::output::Output;
use crate::service::Service;

pub(crate) async fn run(mut args: Args, transforms: &Transforms, output: &mut Output) -> Result<(), Error> {
    let style = match (args.json, args.quiet) {
        (true, _) => Style::Json,
        (false, true) => Style::Quiet,
        (false, false) => Style::Human,
    };
    let texts = std::mem::take(&mut args.send);
    let input = if texts.is_empty() { Input::Typed } else { Input::Texts(texts.into()) };
    let setup = Setup::new(args, transforms)?;
    // From here on, a signal ends the command in order.
    let shutdown = shutdown_signal().map_err(|error| Error::because("cannot listen for signals", &error))?;

    let mut shutdown = pin!(shutdown);
    let (service, local) = tokio::select! {
        () = &mut shutdown => return Ok(()),
        started = momento(&setup) => started?,
    };
    let (sender, updates) = mpsc::unbounded_channel();
    let ended = match Function::start(&setup, &service, sender.clone()).await {
        Ok(function) => {
            let ended = match chat(&setup, &service, (style, &input), output).await {
                Ok(chat) => {
                    let report = Report { style, output };
                    let running = (&setup, &service, &function, chat.as_ref());
                    let ended = match Session::new(running, report, input, (sender, updates)) {
                        Ok(session) => session.run(shutdown).await,
                        Err(error) => Err(error),
                    };
                    if let Some(chat) = chat {
                        chat.stop().await;
                    }
                    ended
                }
                Err(error) => Err(error),
            };
            function.stop().await;
            ended
        }
        Err(error) => Err(error),
    };
    if let Some(local) = local {
        local.shutdown().await;
    }
    ended
}

/// Starts the pages of the example `chat`, for people who type: in its cache, on a local Momento. Says so if there are none.
async fn chat(
    setup: &Setup,
    service: &Service,
    (style, input): (Style, &Input),
    output: &mut Output,
) -> Result<Option<Chat>, Error> {
    let Some((cache, _)) = setup.example.map(Example::inbound) else { return Ok(None) };
    if style != Style::Human || !matches!(input, Input::Typed) {
        return Ok(None);
    }
    if cache != setup.graph.inbound().cache || !service.is_local() {
        let why = format_args!("there are no pages: they are for the cache \"{cache}\" of a local Momento");
        output.labelled_note("note", why);
        return Ok(None);
    }
    Chat::start(setup, service, setup.page_port).await.map(Some)
}

/// Starts local Momento, or connects to another one. Creates the caches.
async fn momento(setup: &Setup) -> Result<(Service, Option<MomentoLocal>), Error> {
    let caches = setup.graph.caches();
    if let Some(endpoint) = &setup.momento.momento_endpoint {
        let key = setup.momento.api_key.as_ref().map(Secret::reveal).filter(|key| !key.is_empty());
        let service = Service::new(Some(endpoint), key)?;
        for cache in caches {
            service.ensure_cache(cache).await?;
        }
        return Ok((service, None));
    }
    let local = MomentoLocal::builder().listen((Ipv4Addr::LOCALHOST, setup.momento.momento_port));
    let local = caches.into_iter().fold(local, Builder::cache).start().await;
    let local = local.map_err(|error| Error::because("local Momento cannot start", &error))?;
    Ok((Service::new(Some(&local.endpoint()), None)?, Some(local)))
}
