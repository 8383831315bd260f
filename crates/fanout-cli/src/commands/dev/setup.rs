//! What `fanout dev` runs, checked before anything starts.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use fanout_aws::Cloud;
use fanout_core::destination::{KINDS, ServiceSender};
use fanout_core::file;
use fanout_core::names::{CacheName, TopicName};
use fanout_core::placeholder::is_literal;
use fanout_core::route::{Destination, Route, Routes, To, Topics};
use fanout_core::transform::{Stage, Transforms};
use momento_webhook::SignaturePolicy;
use rand::Rng as _;
use topic_fanout::config::{SigningConfig, signing_secret};
use topic_fanout::secrets::Rotating;
use topic_fanout::webhook::Signing;

use super::args::{Args, FunctionArgs, MomentoArgs};
use super::example::Example;
use super::graph::TopicGraph;
use crate::args::Secret;
use crate::error::Error;
use crate::input;
use crate::output::{Printable, shell_word};
use crate::service::{LOCAL_KEY, Service};
use crate::translations::Translations;

/// The length of a new signing secret in bytes. Standard Webhooks recommends 24 to 64.
const SECRET_BYTES: usize = 24;

/// The default cache and topic that lines are published to.
const INBOUND: (&str, &str) = ("demo", "topic 1");

/// The checked flags, with the routes.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) graph: TopicGraph,
    pub(super) origin: Origin,
    pub(super) example: Option<Example>,
    /// The port of the pages of the example.
    pub(super) page_port: u16,
    pub(super) routes: Routes,
    pub(super) translations: Translations,
    pub(super) secret: Secret,
    pub(super) secret_is_new: bool,
    pub(super) token_id: Option<String>,
    pub(super) timeout: Duration,
    pub(super) momento: MomentoArgs,
    pub(super) function: FunctionArgs,
}

/// The origin of the routes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The flags --outbound and --transform.
    Flags { outbound: Vec<TopicName>, transform: String },
    /// This file.
    File(String),
}

/// Routes, and the cache and topic that lines are published to.
struct Routing {
    origin: Origin,
    routes: Routes,
    inbound: (CacheName, TopicName),
}

impl Setup {
    /// Checks the flags, and the file of routes if there is one, which can name these transforms.
    ///
    /// # Errors
    /// If a flag or the file is invalid, or the flags contradict one another.
    pub(super) fn new(args: Args, transforms: &Transforms) -> Result<Self, Error> {
        let translations = Translations::new(args.aws)?;
        let transforms = translations.transforms(transforms);
        let routing = match (&args.config, args.example) {
            (Some(path), _) => {
                let bytes = input::file(path)?;
                let text = file::text(bytes).map_err(|error| usage(format!("{path}:{error}")))?;
                Routing::from_file(&args, path, &text, &transforms)?
            }
            (None, Some(example)) => Routing::from_file(&args, example.file(), example.text(), &transforms)?,
            (None, None) => Routing::from_flags(&args, &transforms)?,
        };
        let given = args.secret.given();
        if args.quiet && args.function.function_url.is_some() && given.is_none() {
            return Err(usage(
                "--quiet with --function-url needs --secret: it does not show a new secret, which the function needs",
            ));
        }
        let secret_is_new = given.is_none();
        let Routing { origin, routes, inbound: (cache, inbound) } = routing;
        let is_chained = matches!(origin, Origin::File(_));
        let setup = Self {
            graph: TopicGraph::new(&routes, (&cache, &inbound, args.token_id.as_deref()), is_chained)?,
            token_id: args.token_id,
            origin,
            example: args.example,
            page_port: args.page_port,
            routes,
            translations,
            secret: given.unwrap_or_else(new_secret),
            secret_is_new,
            timeout: args.timeout,
            momento: args.momento,
            function: args.function,
        };
        if setup.function.function_url.is_none() {
            setup.signing()?;
        }
        Ok(setup)
    }

    /// Returns the signing secret for the function in this process.
    ///
    /// # Errors
    /// If the secret is invalid.
    pub(super) fn signing(&self) -> Result<Signing, Error> {
        let secret = signing_secret(SignaturePolicy::Momento, self.secret.reveal());
        let secret = secret.map_err(|error| usage(format!("--secret {error}")))?;
        Ok(Signing {
            signatures: SignaturePolicy::Momento,
            secrets: Rotating::fixed(vec![secret]),
            max_age: SigningConfig::DEFAULT_MAX_AGE,
        })
    }

    /// Returns the sender for AWS destinations, if `--aws` is given.
    pub(super) fn sender(&self) -> Option<Arc<dyn ServiceSender>> {
        (self.translations == Translations::Amazon).then(|| Cloud::default().sender())
    }

    /// Returns true if a route has an AWS destination.
    pub(super) fn has_aws_destinations(&self) -> bool {
        let mut destinations = self.routes.all().iter().flat_map(Route::destinations);
        destinations.any(|destination| match &destination.to {
            To::Topic(_) => false,
            To::Service(service) => KINDS.contains(&service.kind()),
        })
    }

    /// Returns true if a route translates.
    pub(super) fn translates(&self) -> bool {
        let destinations = self.routes.all().iter().flat_map(Route::destinations);
        destinations.flat_map(|destination| &destination.chain).any(|stage| stage.uses("translate"))
    }

    /// Returns the environment for an external function, as lines for a shell.
    pub(super) fn environment(&self, service: &Service) -> Vec<String> {
        let (endpoint, key) = match &self.momento.momento_endpoint {
            None => (service.endpoint(), LOCAL_KEY),
            Some(endpoint) if service.is_local() => (endpoint.as_str(), LOCAL_KEY),
            Some(endpoint) => (endpoint.as_str(), "<an API key>"),
        };
        let mut variables = vec![
            ("MOMENTO_ENDPOINT", endpoint.to_owned()),
            ("MOMENTO_API_KEY", key.to_owned()),
            ("WEBHOOK_SIGNING_SECRET", self.secret.reveal().to_owned()),
        ];
        match &self.origin {
            Origin::File(path) => variables.push(("FANOUT_CONFIG", path.clone())),
            Origin::Flags { outbound, transform } => {
                let topics: Vec<_> = outbound.iter().map(TopicName::as_str).collect();
                variables.push(match &topics[..] {
                    [topic] => ("OUTBOUND_TOPIC", (*topic).to_owned()),
                    topics => ("OUTBOUND_TOPICS", topics.join(",")),
                });
                variables.push(("TRANSFORM", transform.clone()));
            }
        }
        variables.iter().map(|(name, value)| format!("export {name}={}", shell_word(value))).collect()
    }

    /// Returns true if [`environment`](Self::environment) can name the outbound topics: commas separate them.
    pub(super) fn topics_fit_a_variable(&self) -> bool {
        let fits =
            |topic: &TopicName| !topic.as_str().contains(',') && topic.as_str().trim() == topic.as_str();
        match &self.origin {
            Origin::File(_) => true,
            Origin::Flags { outbound, .. } => outbound.len() == 1 || outbound.iter().all(fits),
        }
    }
}

impl Routing {
    /// Returns the one route that the flags describe.
    fn from_flags(args: &Args, transforms: &Transforms) -> Result<Self, Error> {
        let cache = cache(args.cache.as_deref().unwrap_or(INBOUND.0))?;
        let inbound = inbound(args.inbound.as_deref().unwrap_or(INBOUND.1))?;
        let outbound: Result<Vec<_>, _> = args.outbound.iter().map(TopicName::new).collect();
        let outbound = outbound.map_err(|error| usage(format!("--outbound {error}")))?;
        if let Some(topic) = outbound.iter().find(|topic| !is_literal(topic.as_str())) {
            return Err(usage(format!(
                "--outbound {:?} has a placeholder or a wildcard; these need a file, by --config",
                topic.as_str()
            )));
        }
        if outbound.contains(&inbound) {
            return Err(usage(format!(
                "the topic {inbound:?} is both inbound and outbound: each message would be delivered again without \
                 end; name another topic",
                inbound = inbound.as_str()
            )));
        }
        let is_repeated =
            |(index, topic): &(usize, &TopicName)| outbound.iter().take(*index).any(|t| t == *topic);
        if let Some((_, repeated)) = outbound.iter().enumerate().find(is_repeated) {
            return Err(usage(format!("--outbound names the topic {:?} twice", repeated.as_str())));
        }
        let transform = args.transform.clone();
        // An external function may have other transforms.
        let chain = match args.function.function_url {
            Some(_) => Vec::new(),
            None => chain(&transform, transforms)?,
        };
        let destination = |topic| Destination::verbatim(None, topic, chain.clone());
        let routes = Routes::one(outbound.iter().map(destination).collect());
        Ok(Self { origin: Origin::Flags { outbound, transform }, routes, inbound: (cache, inbound) })
    }

    /// Returns the routes in the `text` of a file.
    fn from_file(args: &Args, path: &str, text: &str, transforms: &Transforms) -> Result<Self, Error> {
        let routes = file::read(text, transforms, KINDS).map_err(|errors| {
            let line = |error| format!("\n{}", Printable(&format!("{path}:{error}")));
            let lines: Vec<_> = errors.iter().map(line).collect();
            usage(format!("invalid routes:{}", lines.concat()))
        })?;
        let example = args.example.map(Example::inbound);
        let topic = match (&args.inbound, example) {
            (Some(topic), _) => topic.clone(),
            (None, Some((_, topic))) => topic.to_owned(),
            (None, None) => first_topic(&routes, path)?,
        };
        let matches = |route: &&Route| match &route.inbound().topics {
            Topics::Any => true,
            Topics::Like(pattern) => pattern.find(&topic).is_some(),
        };
        let cache_of_route =
            routes.all().iter().find(matches).and_then(|route| route.inbound().cache.as_ref());
        let cache = match (&args.cache, cache_of_route) {
            (Some(name), _) => cache(name)?,
            (None, Some(name)) => name.clone(),
            (None, None) => cache(example.map_or(INBOUND.0, |(cache, _)| cache))?,
        };
        Ok(Self { origin: Origin::File(path.to_owned()), routes, inbound: (cache, inbound(&topic)?) })
    }
}

/// Returns the topic of the first route.
///
/// # Errors
/// If it is a pattern.
fn first_topic(routes: &Routes, path: &str) -> Result<String, Error> {
    let Some(Topics::Like(pattern)) = routes.all().first().map(|route| &route.inbound().topics) else {
        return Ok(INBOUND.1.to_owned());
    };
    if let Some(topic) = pattern.exact() {
        return Ok(topic.to_owned());
    }
    Err(usage(format!(
        "the first route of {path} has the pattern \"{pattern}\": name the topic to publish to, as in --inbound {}",
        shell_word(&pattern.example())
    )))
}

/// Returns the transforms in a list that is separated by commas.
fn chain(list: &str, transforms: &Transforms) -> Result<Vec<Stage>, Error> {
    let stage = |name: &str| {
        if !transforms.has(name) {
            let remedy = match transforms.closest(name) {
                Some(meant) => format!("did you mean {meant}?"),
                None => format!("expected one of {}", transforms.names()),
            };
            return Err(usage(format!("--transform: unknown transform {name:?}; {remedy}")));
        }
        let stage = transforms.named(name);
        stage.map_err(|error| {
            usage(format!("--transform {name}: {error}; give its settings in a file, by --config"))
        })
    };
    if list.trim().is_empty() { Ok(Vec::new()) } else { list.split(',').map(str::trim).map(stage).collect() }
}

fn cache(name: &str) -> Result<CacheName, Error> {
    CacheName::new(name).map_err(|error| usage(format!("--cache {error}")))
}

fn inbound(name: &str) -> Result<TopicName, Error> {
    TopicName::new(name).map_err(|error| usage(format!("--inbound {error}")))
}

fn usage(message: impl Into<String>) -> Error {
    Error::Usage(message.into())
}

/// Returns a random secret, valid for Momento's scheme and for Standard Webhooks.
fn new_secret() -> Secret {
    let bytes: [u8; SECRET_BYTES] = rand::rng().random();
    Secret::from(format!("whsec_{}", BASE64.encode(bytes)))
}

#[cfg(test)]
pub(super) mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Dev {
        #[command(flatten)]
        args: Args,
    }

    pub(in super::super) fn setup(flags: &[&str]) -> Result<Setup, Error> {
        // Not a secret from the environment of the tests.
        let secret = if flags.contains(&"--secret") { &[][..] } else { &["--secret", "it's"] };
        let flags = [&["dev"], secret, flags].concat();
        Setup::new(Dev::try_parse_from(flags).unwrap().args, &Transforms::standard())
    }

    #[test]
    fn rejects_invalid_and_contradicting_flags() {
        for (flags, says) in [
            (&["--inbound", "a", "--outbound", "b", "--outbound", "a"][..], "both inbound and outbound"),
            (&["--inbound", "topic 2"], "both inbound and outbound"),
            (&["--outbound", "b", "--outbound", "b"], "twice"),
            (&["--outbound", "{topic}-out"], "these need a file, by --config"),
            (&["--cache", " "], "--cache is blank"),
            (&["--inbound", ""], "--inbound is empty"),
            (&["--outbound", ""], "--outbound is empty"),
            (&["--transform", "shout"], "--transform: unknown transform \"shout\"; expected one of echo, "),
            (&["--secret", "it's "], "--secret begins or ends with white space"),
        ] {
            match setup(flags) {
                Err(Error::Usage(message)) => assert!(message.contains(says), "{flags:?}: {message}"),
                other => panic!("{flags:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn accepts_unknown_transform_of_external_function() {
        assert!(setup(&["--function-url", "http://127.0.0.1:1", "--transform", "shout"]).is_ok());
    }

    #[test]
    fn keeps_names_with_commas_and_braces() {
        let setup = setup(&["--outbound", "a, b", "--outbound", " c "]).unwrap();
        let topics: Vec<_> = setup.routes.all()[0]
            .destinations()
            .iter()
            .filter_map(|to| to.to.topic().unwrap().topic.literal())
            .collect();
        assert_eq!(topics, ["a, b", " c "]);
        let outbound: Vec<_> = setup.graph.outbound().map(|topic| topic.name.as_str()).collect();
        assert_eq!(outbound, topics);
    }

    /// Returns the cache and the topic that lines are published to, with these routes.
    fn inbound(flags: &[&str], text: &str) -> Result<(String, String), String> {
        let args = Dev::try_parse_from([&["dev"], flags].concat()).unwrap().args;
        match Routing::from_file(&args, "x/fanout.toml", text, &Transforms::standard()) {
            Ok(Routing { inbound: (cache, topic), .. }) => Ok((cache.to_string(), topic.to_string())),
            Err(Error::Usage(message)) => Err(message),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn publishes_to_first_route_by_default() {
        const ONE: &str = "[[routes]]\ntopic = 'in'\ndestinations = ['out']\n";
        const CACHE: &str = "[[routes]]\ntopic = '{a}-{b}'\ncache = 'c'\ndestinations = ['out']\n";
        let both = format!("{ONE}{CACHE}");
        for (flags, text, expected) in [
            (&[][..], ONE, ("demo", "in")),
            (&["--cache", "x"], ONE, ("x", "in")),
            (&["--inbound", "y"], ONE, ("demo", "y")),
            (&["--inbound", "y-z"], CACHE, ("c", "y-z")),
            (&[], &both, ("demo", "in")),
            (&["--inbound", "y-z"], &both, ("c", "y-z")),
            (&["--example", "chat"], ONE, ("chat", "friends-publish")),
            (&["--example", "chat", "--inbound", "y"], ONE, ("chat", "y")),
        ] {
            let expected = (expected.0.to_owned(), expected.1.to_owned());
            assert_eq!(inbound(flags, text), Ok(expected), "{flags:?} {text}");
        }
        assert_eq!(
            inbound(&[], CACHE).unwrap_err(),
            "the first route of x/fanout.toml has the pattern \"{a}-{b}\": name the topic to publish to, as in --inbound a-b"
        );
    }

    #[test]
    fn reports_all_errors_of_a_file_with_their_positions() {
        let message = inbound(&[], "[[routes]]\ntopic = 'in'\ntransforms = ['shout']\ndestinations = ['']")
            .unwrap_err();
        let lines: Vec<_> = message.lines().collect();
        assert_eq!(lines.len(), 3, "{message}");
        assert!(lines[1].starts_with("x/fanout.toml:3:15: unknown transform \"shout\""), "{message}");
        assert!(lines[2].starts_with("x/fanout.toml:4:17: the topic is empty"), "{message}");
    }

    #[test]
    fn prints_environment_for_a_shell() {
        let service = Service::new(Some("http://127.0.0.1:8080"), None).unwrap();
        let one = setup(&[]).unwrap();
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
        let two = setup(&["--outbound", "a", "--outbound", "b"]).unwrap();
        assert!(two.environment(&service).contains(&"export OUTBOUND_TOPICS=a,b".to_owned()));
        assert!(two.topics_fit_a_variable());
        assert!(!setup(&["--outbound", "a,b", "--outbound", "c"]).unwrap().topics_fit_a_variable());
    }

    #[test]
    fn makes_new_secrets_for_both_schemes() {
        let (one, other) = (new_secret(), new_secret());
        assert_ne!(one, other);
        assert!(
            fanout_relay::webhook::signer::Signer::new(
                fanout_relay::webhook::signer::Scheme::Both,
                one.reveal()
            )
            .is_ok()
        );
    }
}
