//! What is to run, checked before anything does.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rand::Rng as _;
use topic_fanout::config::{Config, ConfigErrors, RoutesConfig};
use topic_fanout::names::{CacheName, TopicName};
use topic_fanout::route::{Destination, Route, Routes};
use topic_fanout::transform::Transforms;

use super::{Args, FunctionArgs, MomentoArgs};
use crate::cli::{Error, Secret};
use crate::output::shell_word;
use crate::service::{LOCAL_KEY, Service, on_one_line};

/// Bytes of a signing secret that is made here, as Standard Webhooks advises (24 to 64).
const SECRET_BYTES: usize = 24;

/// What is to run.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) cache: CacheName,
    pub(super) inbound: TopicName,
    pub(super) outbound: Vec<TopicName>,
    pub(super) transform: String,
    pub(super) secret: Secret,
    pub(super) secret_is_new: bool,
    pub(super) timeout: Duration,
    pub(super) momento: MomentoArgs,
    pub(super) function: FunctionArgs,
}

impl Plan {
    /// Checks the flags.
    ///
    /// # Errors
    /// When they do not go together; nothing was started then.
    pub(super) fn new(args: Args) -> Result<Self, Error> {
        let usage = |said: String| Error::Usage(said);
        let cache = CacheName::new(args.cache)
            .map_err(|_| usage("--cache is blank, which no cache's name may be".to_owned()))?;
        let inbound = TopicName::new(args.inbound).map_err(|error| usage(format!("--inbound {error}")))?;
        let outbound: Result<Vec<_>, _> = args.outbound.into_iter().map(TopicName::new).collect();
        let outbound = outbound.map_err(|error| usage(format!("--outbound {error}")))?;
        if outbound.contains(&inbound) {
            return Err(usage(format!(
                "the topic {inbound:?} is both inbound and outbound: every message would come back and be \
                 delivered again, for ever, and the function refuses that; name another one",
                inbound = inbound.as_str()
            )));
        }
        if let Some(twice) = outbound
            .iter()
            .enumerate()
            .find(|(place, topic)| outbound.iter().take(*place).any(|t| t == *topic))
        {
            return Err(usage(format!("--outbound names the topic {:?} twice", twice.1.as_str())));
        }
        let given = args.secret.given();
        if args.quiet && args.function.function_url.is_some() && given.is_none() {
            return Err(usage(
                "--quiet with --function-url needs a signing secret: one that is made for this run would be \
                 shown nowhere"
                    .to_owned(),
            ));
        }
        let secret_is_new = given.is_none();
        let plan = Self {
            cache,
            inbound,
            outbound,
            transform: args.transform,
            secret: given.unwrap_or_else(new_secret),
            secret_is_new,
            timeout: args.timeout,
            momento: args.momento,
            function: args.function,
        };
        if plan.function.function_url.is_none() {
            plan.config()?;
        }
        Ok(plan)
    }

    /// The settings of the function in this process, but for how Momento is reached.
    ///
    /// # Errors
    /// When there is no such transform.
    pub(super) fn config(&self) -> Result<Config, Error> {
        let source = |name: &str| match name {
            "MOMENTO_API_KEY" => Some(LOCAL_KEY.to_owned()),
            "MOMENTO_ENDPOINT" => Some(crate::service::DEFAULT_ENDPOINT.to_owned()),
            "WEBHOOK_SIGNING_SECRET" => Some(self.secret.reveal().to_owned()),
            "OUTBOUND_TOPIC" => Some("-".to_owned()),
            "TRANSFORM" => Some(self.transform.clone()),
            _ => None,
        };
        let transforms = Transforms::standard();
        let mut config =
            Config::read(&source, &transforms).map_err(|errors| Error::Usage(in_flags(&errors)))?;
        let chain: Vec<_> = match &config.routes {
            RoutesConfig::Routes(routes) => {
                routes.all().iter().flat_map(Route::destinations).flat_map(|to| to.chain.clone()).collect()
            }
            RoutesConfig::Parameter(_) => Vec::new(),
        };
        // As they are: a list in one variable could not hold a name with a comma.
        let destination = |topic| Destination::verbatim(None, topic, chain.clone());
        config.routes = RoutesConfig::Routes(Routes::one(self.outbound.iter().map(destination).collect()));
        Ok(config)
    }

    /// What a function outside this process has to be started with: lines for a shell.
    pub(super) fn environment(&self, service: &Service) -> Vec<String> {
        let (endpoint, key) = match &self.momento.momento_endpoint {
            None => (service.endpoint(), LOCAL_KEY),
            Some(endpoint) if service.is_local() => (endpoint.as_str(), LOCAL_KEY),
            Some(endpoint) => (endpoint.as_str(), "<an API key>"),
        };
        let topics: Vec<_> = self.outbound.iter().map(TopicName::as_str).collect();
        let (topics_variable, topics) = match &topics[..] {
            [topic] => ("OUTBOUND_TOPIC", (*topic).to_owned()),
            topics => ("OUTBOUND_TOPICS", topics.join(",")),
        };
        [
            ("MOMENTO_ENDPOINT", endpoint),
            ("MOMENTO_API_KEY", key),
            ("WEBHOOK_SIGNING_SECRET", self.secret.reveal()),
            (topics_variable, &topics),
            ("TRANSFORM", &self.transform),
        ]
        .iter()
        .map(|(name, value)| format!("export {name}={}", shell_word(value)))
        .collect()
    }

    /// Whether [`environment`](Self::environment) can name the outbound topics: several of them are
    /// separated by commas.
    pub(super) fn topics_fit_a_variable(&self) -> bool {
        let fits =
            |topic: &TopicName| !topic.as_str().contains(',') && topic.as_str().trim() == topic.as_str();
        self.outbound.len() == 1 || self.outbound.iter().all(fits)
    }
}

/// The settings that come from flags unchecked are the transform and the secret.
fn in_flags(errors: &ConfigErrors) -> String {
    on_one_line(errors).replace("TRANSFORM:", "--transform").replace("WEBHOOK_SIGNING_SECRET:", "--secret")
}

/// Good for Momento's own signature and for Standard Webhooks.
fn new_secret() -> Secret {
    let bytes: [u8; SECRET_BYTES] = rand::rng().random();
    Secret::from(format!("whsec_{}", BASE64.encode(bytes)))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Dev {
        #[command(flatten)]
        args: Args,
    }

    fn plan(flags: &[&str]) -> Result<Plan, Error> {
        // A secret in the environment of whoever runs the tests is of no account.
        let secret = if flags.contains(&"--secret") { &[][..] } else { &["--secret", "it's"] };
        let flags = [&["dev"], secret, flags].concat();
        Plan::new(Dev::try_parse_from(flags).unwrap().args)
    }

    #[test]
    fn what_does_not_go_together_is_refused_before_anything_runs() {
        for (flags, says) in [
            (&["--inbound", "a", "--outbound", "b", "--outbound", "a"][..], "both inbound and outbound"),
            (&["--inbound", "topic 2"], "both inbound and outbound"),
            (&["--outbound", "b", "--outbound", "b"], "twice"),
            (&["--cache", " "], "--cache is blank"),
            (&["--inbound", ""], "--inbound is empty"),
            (&["--outbound", ""], "--outbound is empty"),
            (&["--transform", "shout"], "--transform transform number 1 is none of"),
            (&["--secret", "it's "], "--secret has white space"),
        ] {
            match plan(flags) {
                Err(Error::Usage(said)) => assert!(said.contains(says), "{flags:?}: {said}"),
                other => panic!("{flags:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn another_function_may_know_other_transforms() {
        assert!(plan(&["--function-url", "http://127.0.0.1:1", "--transform", "shout"]).is_ok());
    }

    #[test]
    fn names_reach_the_function_as_they_are() {
        let config = plan(&["--outbound", "a, b", "--outbound", " c "]).unwrap().config().unwrap();
        let RoutesConfig::Routes(routes) = config.routes else { panic!("{config:?}") };
        let topics: Vec<_> =
            routes.all()[0].destinations().iter().filter_map(|to| to.topic.literal()).collect();
        assert_eq!(topics, ["a, b", " c "]);
    }

    #[test]
    fn the_environment_can_be_pasted() {
        let service = Service::new(Some("http://127.0.0.1:8080"), None).unwrap();
        let one = plan(&[]).unwrap();
        assert_eq!(
            one.environment(&service),
            [
                "export MOMENTO_ENDPOINT=http://127.0.0.1:8080",
                "export MOMENTO_API_KEY=local",
                r"export WEBHOOK_SIGNING_SECRET='it'\''s'",
                "export OUTBOUND_TOPIC='topic 2'",
                "export TRANSFORM=uppercase",
            ]
        );
        let two = plan(&["--outbound", "a", "--outbound", "b"]).unwrap();
        assert!(two.environment(&service).contains(&"export OUTBOUND_TOPICS=a,b".to_owned()));
        assert!(two.topics_fit_a_variable());
        assert!(!plan(&["--outbound", "a,b", "--outbound", "c"]).unwrap().topics_fit_a_variable());
    }

    #[test]
    fn a_new_secret_is_never_the_same_and_good_for_both_schemes() {
        let (one, other) = (new_secret(), new_secret());
        assert_ne!(one, other);
        assert!(crate::signer::Signer::new(crate::signer::Scheme::Both, one.reveal()).is_ok());
    }
}
