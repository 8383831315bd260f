//! What is to run, checked before anything does.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use fanout_aws::Cloud;
use fanout_core::destination::AwsSender;
use fanout_core::file;
use fanout_core::names::{CacheName, TopicName};
use fanout_core::route::{Destination, Route, Routes, Topics};
use fanout_core::transform::{Stage, Transforms};
use rand::Rng as _;
use topic_fanout::config::{Config, ConfigErrors, RoutesConfig, SigningConfig, signing_secret};
use topic_fanout::secrets::Rotating;
use topic_fanout::webhook::Signing;

use super::args::{Args, FunctionArgs, MomentoArgs};
use super::example::Example;
use super::network::Network;
use crate::args::Secret;
use crate::error::Error;
use crate::input;
use crate::output::{Printable, shell_word};
use crate::service::{LOCAL_KEY, Service, on_one_line};
use crate::translations::Translations;

/// Bytes of a signing secret that is made here, as Standard Webhooks advises (24 to 64).
const SECRET_BYTES: usize = 24;

/// The cache and the topic that lines are published to, where nothing says otherwise.
const INBOUND: (&str, &str) = ("demo", "topic 1");

/// What is to run.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) network: Network,
    pub(super) origin: Origin,
    pub(super) routes: Routes,
    pub(super) translations: Translations,
    pub(super) secret: Secret,
    pub(super) secret_is_new: bool,
    pub(super) token_id: Option<String>,
    pub(super) timeout: Duration,
    pub(super) momento: MomentoArgs,
    pub(super) function: FunctionArgs,
}

/// Where the routes are from.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The flags --outbound and --transform.
    Flags { outbound: Vec<TopicName>, transform: String },
    /// This file.
    File(String),
}

/// Routes, and the cache and the topic that lines are published to.
struct Routing {
    origin: Origin,
    routes: Routes,
    inbound: (CacheName, TopicName),
}

impl Plan {
    /// Checks the flags, and the file of routes where there is one.
    ///
    /// # Errors
    /// When they do not go together; nothing was started then.
    pub(super) fn new(args: Args) -> Result<Self, Error> {
        let translations = Translations::new(args.aws);
        let transforms = translations.transforms();
        let routing = match (&args.config, args.example) {
            (Some(path), _) => {
                let bytes = input::file(path)?;
                let text = file::text(bytes).map_err(|error| usage(format!("{path}:{error}")))?;
                Routing::from_file(&args, path, &text, &transforms)?
            }
            (None, Some(example)) => Routing::from_file(&args, example.file(), example.text(), &transforms)?,
            (None, None) => Routing::from_flags(&args)?,
        };
        let given = args.secret.given();
        if args.quiet && args.function.function_url.is_some() && given.is_none() {
            return Err(usage(
                "--quiet with --function-url needs a signing secret: one that is made for this run would be \
                 shown nowhere",
            ));
        }
        let secret_is_new = given.is_none();
        let secret = given.unwrap_or_else(new_secret);
        if args.function.function_url.is_none() {
            settings(&secret, None)?;
        }
        let Routing { origin, routes, inbound: (cache, inbound) } = routing;
        let follows = matches!(origin, Origin::File(_));
        Ok(Self {
            network: Network::find(&routes, (&cache, &inbound, args.token_id.as_deref()), follows)?,
            token_id: args.token_id,
            origin,
            routes,
            translations,
            secret,
            secret_is_new,
            timeout: args.timeout,
            momento: args.momento,
            function: args.function,
        })
    }

    /// Returns the signing secret, as the function in this process takes it.
    ///
    /// # Errors
    /// If the secret is invalid.
    pub(super) fn signing(&self) -> Result<Signing, Error> {
        let secret = signing_secret(self.secret.reveal());
        let secret = secret.map_err(|error| usage(format!("--secret {error}")))?;
        Ok(Signing { secrets: Rotating::fixed(vec![secret]), max_age: SigningConfig::DEFAULT_MAX_AGE })
    }

    /// What hands in where there is no topic, if that is to be done.
    pub(super) fn sender(&self) -> Option<Arc<dyn AwsSender>> {
        (self.translations == Translations::Amazon).then(|| Cloud::default().sender())
    }

    /// Whether anything goes where there is no topic.
    pub(super) fn leaves_momento(&self) -> bool {
        let mut destinations = self.routes.all().iter().flat_map(Route::destinations);
        destinations.any(|destination| destination.to.topic().is_none())
    }

    /// Whether any text is translated.
    pub(super) fn translates(&self) -> bool {
        let is_it = |stage: &Stage| stage.uses("translate");
        let destinations = self.routes.all().iter().flat_map(Route::destinations);
        destinations.flat_map(|destination| &destination.chain).any(is_it)
    }

    /// What a function outside this process has to be started with: lines for a shell.
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

    /// Whether [`environment`](Self::environment) can name the outbound topics: several of them are
    /// separated by commas.
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
    /// The one route that flags describe.
    fn from_flags(args: &Args) -> Result<Self, Error> {
        let cache = cache(args.cache.as_deref().unwrap_or(INBOUND.0))?;
        let inbound = inbound(args.inbound.as_deref().unwrap_or(INBOUND.1))?;
        let outbound: Result<Vec<_>, _> = args.outbound.iter().map(TopicName::new).collect();
        let outbound = outbound.map_err(|error| usage(format!("--outbound {error}")))?;
        if outbound.contains(&inbound) {
            return Err(usage(format!(
                "the topic {inbound:?} is both inbound and outbound: every message would come back and be \
                 delivered again, for ever, and the function refuses that; name another one",
                inbound = inbound.as_str()
            )));
        }
        let is_twice =
            |(place, topic): &(usize, &TopicName)| outbound.iter().take(*place).any(|t| t == *topic);
        if let Some((_, twice)) = outbound.iter().enumerate().find(is_twice) {
            return Err(usage(format!("--outbound names the topic {:?} twice", twice.as_str())));
        }
        let transform = args.transform.clone();
        // Another function may know other transforms.
        let chain = match args.function.function_url {
            Some(_) => Vec::new(),
            None => chain(settings(&new_secret(), Some(&transform))?.routes),
        };
        // As they are: a list in one variable could not hold a name with a comma.
        let destination = |topic| Destination::verbatim(None, topic, chain.clone());
        let routes = Routes::one(outbound.iter().map(destination).collect());
        Ok(Self { origin: Origin::Flags { outbound, transform }, routes, inbound: (cache, inbound) })
    }

    /// The routes that are in the `text` of a file.
    fn from_file(args: &Args, path: &str, text: &str, transforms: &Transforms) -> Result<Self, Error> {
        let routes = file::read(text, transforms, fanout_aws::KINDS).map_err(|faults| {
            let line = |fault| format!("\n{}", Printable(&format!("{path}:{fault}")));
            let faults: Vec<_> = faults.iter().map(line).collect();
            usage(format!("the routes cannot be used:{}", faults.concat()))
        })?;
        let example = args.example.map(Example::inbound);
        let topic = match (&args.inbound, example) {
            (Some(topic), _) => topic.clone(),
            (None, Some((_, topic))) => topic.to_owned(),
            (None, None) => first_topic(&routes, path)?,
        };
        let is_for = |route: &&Route| match &route.inbound().topics {
            Topics::Any => true,
            Topics::Like(pattern) => pattern.find(&topic).is_some(),
        };
        let cache_of_route =
            routes.all().iter().find(is_for).and_then(|route| route.inbound().cache.as_ref());
        let cache = match (&args.cache, cache_of_route) {
            (Some(name), _) => cache(name)?,
            (None, Some(name)) => name.clone(),
            (None, None) => cache(example.map_or(INBOUND.0, |(cache, _)| cache))?,
        };
        Ok(Self { origin: Origin::File(path.to_owned()), routes, inbound: (cache, inbound(&topic)?) })
    }
}

/// The topic of the first route, where it is one.
fn first_topic(routes: &Routes, path: &str) -> Result<String, Error> {
    let Some(Topics::Like(pattern)) = routes.all().first().map(|route| &route.inbound().topics) else {
        return Ok(INBOUND.1.to_owned());
    };
    if let Some(topic) = pattern.exact() {
        return Ok(topic.to_owned());
    }
    Err(usage(format!(
        "the first route of {path} is for every topic like \"{pattern}\": say which one lines are published to, \
         as in --inbound {}",
        shell_word(&pattern.example())
    )))
}

fn cache(name: &str) -> Result<CacheName, Error> {
    CacheName::new(name).map_err(|error| usage(format!("--cache {error}")))
}

fn inbound(name: &str) -> Result<TopicName, Error> {
    TopicName::new(name).map_err(|error| usage(format!("--inbound {error}")))
}

fn usage(said: impl Into<String>) -> Error {
    Error::Usage(said.into())
}

/// The settings of the function in this process, as its environment would give them, but for how Momento is
/// reached and where events go.
fn source(secret: &Secret, transform: Option<&str>) -> impl Fn(&str) -> Option<String> {
    move |name| match name {
        "MOMENTO_API_KEY" => Some(LOCAL_KEY.to_owned()),
        "MOMENTO_ENDPOINT" => Some(crate::service::DEFAULT_ENDPOINT.to_owned()),
        "WEBHOOK_SIGNING_SECRET" => Some(secret.reveal().to_owned()),
        "OUTBOUND_TOPIC" => Some("-".to_owned()),
        "TRANSFORM" => transform.map(str::to_owned),
        _ => None,
    }
}

fn settings(secret: &Secret, transform: Option<&str>) -> Result<Config, Error> {
    Config::read(&source(secret, transform), &Transforms::standard())
        .map_err(|errors| Error::Usage(in_flags(&errors)))
}

fn chain(routes: RoutesConfig) -> Vec<Stage> {
    match routes {
        RoutesConfig::Routes(routes) => {
            let destinations = routes.all().iter().flat_map(Route::destinations);
            destinations.flat_map(|to| to.chain.clone()).collect()
        }
        RoutesConfig::Parameter(_) => Vec::new(),
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
            (&["--secret", "it's "], "--secret begins or ends with white space"),
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
        let plan = plan(&["--outbound", "a, b", "--outbound", " c {x}"]).unwrap();
        let topics: Vec<_> = plan.routes.all()[0]
            .destinations()
            .iter()
            .filter_map(|to| to.to.topic().unwrap().topic.literal())
            .collect();
        assert_eq!(topics, ["a, b", " c {x}"]);
        let outbound: Vec<_> = plan.network.outbound().map(|topic| topic.name.as_str()).collect();
        assert_eq!(outbound, topics);
    }

    /// The cache and the topic that lines are published to, with these routes.
    fn inbound(flags: &[&str], text: &str) -> Result<(String, String), String> {
        let args = Dev::try_parse_from([&["dev"], flags].concat()).unwrap().args;
        match Routing::from_file(&args, "x/fanout.toml", text, &Transforms::standard()) {
            Ok(Routing { inbound: (cache, topic), .. }) => Ok((cache.to_string(), topic.to_string())),
            Err(Error::Usage(said)) => Err(said),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn lines_are_published_to_the_first_route_unless_said_otherwise() {
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
            "the first route of x/fanout.toml is for every topic like \"{a}-{b}\": say which one lines are \
             published to, as in --inbound a-b"
        );
    }

    #[test]
    fn all_faults_of_a_file_are_told_with_their_places() {
        let said = inbound(&[], "[[routes]]\ntopic = 'in'\ntransforms = ['shout']\ndestinations = ['']")
            .unwrap_err();
        let lines: Vec<_> = said.lines().collect();
        assert_eq!(lines.len(), 3, "{said}");
        assert!(lines[1].starts_with("x/fanout.toml:3:15: unknown transform \"shout\""), "{said}");
        assert!(lines[2].starts_with("x/fanout.toml:4:17: the topic is empty"), "{said}");
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
