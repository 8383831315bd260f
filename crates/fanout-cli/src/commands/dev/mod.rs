//! `fanout dev`: local Momento, the function and the delivery to it, in one process.
//!
//! | module | what it is for |
//! | --- | --- |
//! | `args` | the flags |
//! | `plan` | what is to run, checked before anything does |
//! | `example` | routes that are built in |
//! | `network` | the topics that texts go through |
//! | `function` | the function in this process, or where it is |
//! | `session` | what happens, one thing after the other |
//! | `workers` | what runs beside it: subscriptions, publishing, delivery, typing |
//! | `tracker` | which message is which, from sending to arriving |
//! | `answer` | what the function's answer says of each destination |
//! | `report` | what is printed |

mod answer;
mod args;
mod example;
mod function;
mod network;
mod plan;
mod report;
mod session;
mod tracker;
mod workers;

use std::net::Ipv4Addr;
use std::pin::pin;

use momento_local::{Builder, MomentoLocal};
use tokio::sync::mpsc;
use topic_fanout::serve::shutdown_signal;

pub(crate) use self::args::Args;
use self::function::Function;
use self::plan::Plan;
use self::report::{Report, Style};
use self::session::{Input, Session};
use crate::args::Secret;
use crate::error::Error;
use crate::output::Output;
use crate::service::Service;

pub(crate) async fn run(mut args: Args, output: &mut Output) -> Result<(), Error> {
    let style = match (args.json, args.quiet) {
        (true, _) => Style::Json,
        (false, true) => Style::Quiet,
        (false, false) => Style::Human,
    };
    let texts = std::mem::take(&mut args.send);
    let input = if texts.is_empty() { Input::Typed } else { Input::Texts(texts.into()) };
    let plan = Plan::new(args)?;
    // From here on, being told to end is an orderly end.
    let shutdown = shutdown_signal().map_err(|error| Error::because("cannot listen for signals", &error))?;

    let mut shutdown = pin!(shutdown);
    let (service, local) = tokio::select! {
        () = &mut shutdown => return Ok(()),
        started = momento(&plan) => started?,
    };
    let (happen, happenings) = mpsc::unbounded_channel();
    let ended = match Function::start(&plan, &service, happen.clone()).await {
        Ok(function) => {
            let report = Report { style, output };
            let running = (&plan, &service, &function);
            let ended = match Session::new(running, report, input, (happen, happenings)) {
                Ok(session) => session.run(shutdown).await,
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

/// The Momento that is wanted, with the caches in it.
async fn momento(plan: &Plan) -> Result<(Service, Option<MomentoLocal>), Error> {
    let caches = plan.network.caches();
    if let Some(endpoint) = &plan.momento.momento_endpoint {
        let key = plan.momento.api_key.as_ref().map(Secret::reveal).filter(|key| !key.is_empty());
        let service = Service::new(Some(endpoint), key)?;
        for cache in caches {
            service.ensure_cache(cache).await?;
        }
        return Ok((service, None));
    }
    let local = MomentoLocal::builder().listen((Ipv4Addr::LOCALHOST, plan.momento.momento_port));
    let local = caches.into_iter().fold(local, Builder::cache).start().await;
    let local = local.map_err(|error| Error::because("local Momento does not start", &error))?;
    Ok((Service::new(Some(&local.endpoint()), None)?, Some(local)))
}
