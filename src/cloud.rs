//! Completes the settings of a function: fetches what they name in AWS, and joins it with what uses it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::config::{
    Config, ConfigError, ConfigErrors, DedupeConfig, MomentoConfig, ROUTES, RoutesConfig, RoutesSource,
    SecretsConfig, SigningConfig, Source, Sourced, TOKENS, TokensSource, signing_secrets,
};
use crate::live_routes::{LiveRoutes, ReadText, RoutesOrigin, VersionedRoutes};
use crate::request_log::RequestLog;
use crate::secrets::{Refresh, Refreshed, Rotating, SecretSetting, fetch_all};
use crate::webhook::Signing;
use fanout_aws::Cloud;
use fanout_core::clock::SystemClock;
use fanout_core::file::{self, FileError};
use fanout_core::object_id::ObjectId;
use fanout_core::reason::Failure;
use fanout_core::reason::with_sources;
use fanout_core::route::Route;
use fanout_core::secret_store::{SecretId, SecretName, SecretText, StoredSecret, Versioned};
use fanout_core::transform::moderate::COMPREHEND;
use fanout_core::transform::translate::TranslateSettings;
use fanout_core::transform::{Stage, TransformSettings as _, Transforms};
use fanout_identity::TokensFile;
use fanout_momento::{Credentials, KeySource, Keys};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

/// The settings of a function, complete.
#[derive(Debug)]
pub struct Complete {
    /// The credentials of Momento.
    pub keys: Rotating<Keys>,
    /// The signing secrets.
    pub signing: Signing,
    /// The routes of events.
    pub routes: LiveRoutes,
    /// The URL of the queue for dead letters.
    pub dead_letters: Option<String>,
    /// Where the progress of events is kept.
    pub dedupe: DedupeConfig,
}

impl Complete {
    /// Returns true if a route or the dead letters need AWS, and this machine configures no region. Messages for AWS
    /// would fail. `own` are the transforms without AWS: what they have in its place needs no region. The metadata service of
    /// a virtual machine may know a region as well. It is not asked, because that takes time at every start.
    #[must_use]
    pub fn lacks_region(&self, own: &Transforms, source: &dyn Source) -> bool {
        let (translates, classifies) = (!own.can_translate(), !own.can_classify(COMPREHEND));
        let routes = self.routes.current();
        let mut destinations = routes.routes.all().iter().flat_map(Route::destinations);
        let is_used = self.dead_letters.is_some()
            || destinations.any(|destination| {
                let stages = &destination.chain;
                destination.to.topic().is_none()
                    || translates && stages.iter().any(|stage| stage.uses(TranslateSettings::NAME))
                    || classifies && stages.iter().any(Stage::classifies)
            });
        let get = |name: &str| source.get(name).ok().flatten().filter(|value| !value.is_empty());
        let is_file = |variable: &str, usual: &str| match (get(variable), get("HOME")) {
            (Some(file), _) => Path::new(&file).is_file(),
            (None, home) => home.is_some_and(|home| Path::new(&home).join(".aws").join(usual).is_file()),
        };
        is_used
            && get("AWS_REGION").is_none()
            && get("AWS_DEFAULT_REGION").is_none()
            && !is_file("AWS_CONFIG_FILE", "config")
            && !is_file("AWS_SHARED_CREDENTIALS_FILE", "credentials")
    }
}

/// Fetches everything that the settings name, at the same time. `log` takes the lines of later checks of the routes.
///
/// # Errors
/// Everything that cannot be fetched, or is unusable.
pub async fn complete(
    cloud: &Cloud,
    config: Config,
    transforms: &Transforms,
    log: &RequestLog,
) -> Result<Complete, ConfigErrors> {
    let Config { momento, signing, secrets, routes, dead_letters, dedupe, .. } = config;
    let secrets = fetch_secrets(cloud, momento, signing, secrets);
    let (routes, secrets) = tokio::join!(fetch_routes(cloud, routes, transforms, log), secrets);
    let ((keys, signing), routes) = both(secrets, routes)?;
    Ok(Complete { keys, signing, routes, dead_letters: dead_letters.queue, dedupe })
}

/// Fetches everything that the settings of the function `token` name: its API key, and its profiles.
///
/// # Errors
/// Everything that cannot be fetched, or is unusable.
pub async fn complete_token(
    cloud: &Cloud,
    momento: MomentoConfig,
    secrets: SecretsConfig,
    tokens: TokensSource,
) -> Result<(Rotating<Keys>, TokensFile), ConfigErrors> {
    let (fetched, file) = tokio::join!(
        Fetched::new(cloud, momento.credentials.secret().into_iter(), secrets),
        fetch_tokens(cloud, tokens)
    );
    both(fetched.keys(momento.clone()), file)
}

/// Fetches everything that the settings of the function `publish` name: its API key, its profiles and its routes.
///
/// # Errors
/// Everything that cannot be fetched, or is unusable; a profile that is `moderated` if there are no routes.
pub async fn complete_publish(
    cloud: &Cloud,
    (momento, secrets, tokens): (MomentoConfig, SecretsConfig, TokensSource),
    routes: Option<RoutesConfig>,
    transforms: &Transforms,
    log: &RequestLog,
) -> Result<(Rotating<Keys>, TokensFile, Option<LiveRoutes>), ConfigErrors> {
    let routes = async {
        match routes {
            None => Ok(None),
            Some(config) => fetch_routes(cloud, config, transforms, log).await.map(Some),
        }
    };
    let (people, routes) = tokio::join!(complete_token(cloud, momento, secrets, tokens), routes);
    let ((keys, file), routes) = both(people, routes)?;
    let moderated = file.profiles.0.iter().find(|profile| profile.moderated);
    if let (Some(profile), None) = (moderated, &routes) {
        let name = &profile.name;
        let message = format!(
            "is not set, and the profile `{name}` of {TOKENS} is moderated: set it to the file of routes, whose transforms moderate"
        );
        return Err(fault(ROUTES, message));
    }
    Ok((keys, file, routes))
}

async fn fetch_tokens(cloud: &Cloud, source: TokensSource) -> Result<TokensFile, ConfigErrors> {
    let (place, read) = match source {
        TokensSource::Settings(file) | TokensSource::File { content: file, .. } => return Ok(*file),
        TokensSource::Parameter(name) => parameter(cloud, name),
        TokensSource::Object(id) => object(cloud, id),
    };
    let text = read().await.map_err(|error| fault(TOKENS, error))?;
    fanout_identity::file::read(&text).map_err(|errors| {
        let faults = errors.into_iter().flat_map(|error| fault(TOKENS, format!("{place}:{error}")).0);
        ConfigErrors(faults.collect())
    })
}

async fn fetch_routes(
    cloud: &Cloud,
    config: RoutesConfig,
    transforms: &Transforms,
    log: &RequestLog,
) -> Result<LiveRoutes, ConfigErrors> {
    let (known, (place, read)) = match config.source {
        RoutesSource::Settings(routes) => return Ok(LiveRoutes::from(*routes)),
        RoutesSource::File { path, content } => (Some(*content), (path.clone(), read_file(path))),
        RoutesSource::Parameter(name) => (None, parameter(cloud, name)),
        RoutesSource::Object(id) => (None, object(cloud, id)),
    };
    let (transforms, start) = (transforms.clone(), place.clone());
    let parse = move |text: &str| {
        let told = |error: FileError| format!("{start}:{error}");
        VersionedRoutes::read(text, &transforms)
            .map_err(|errors| errors.into_iter().map(told).collect::<Vec<_>>())
    };
    let routes = if let Some(routes) = known {
        routes
    } else {
        let text = read().await.map_err(|error| fault(ROUTES, error))?;
        parse(&text).map_err(|errors| {
            ConfigErrors(errors.into_iter().flat_map(|error| fault(ROUTES, error).0).collect())
        })?
    };
    let origin = config.max_age.map(|max_age| RoutesOrigin {
        place,
        read,
        parse: Box::new(move |text| parse(text).map_err(|errors| errors.join("; "))),
        clock: Arc::new(SystemClock),
        max_age,
        log: log.clone(),
    });
    Ok(LiveRoutes::new(routes, origin))
}

/// Returns what reads the file at `path`, off the threads that handle events.
fn read_file(path: String) -> ReadText {
    Box::new(move || {
        let path = path.clone();
        async move {
            let file = path.clone();
            let read = tokio::task::spawn_blocking(move || std::fs::read(file)).await;
            let bytes =
                read.expect("reading a file does not panic").map_err(|error| format!("{path}: {error}"))?;
            file::text(bytes).map_err(|error| format!("{path}:{error}"))
        }
        .boxed()
    })
}

/// Returns the place of a parameter, and what reads it.
fn parameter(cloud: &Cloud, name: String) -> (String, ReadText) {
    let (place, cloud) = (format!("ssm:{name}"), cloud.clone());
    let read = move || {
        let (cloud, name) = (cloud.clone(), name.clone());
        async move { cloud.parameter(&name).await.map_err(|error| with_sources(&error)) }.boxed()
    };
    (place, Box::new(read))
}

/// Returns the place of an object, and what reads it.
fn object(cloud: &Cloud, id: ObjectId) -> (String, ReadText) {
    let (place, cloud) = (id.to_string(), cloud.clone());
    let read = move || {
        let (cloud, id) = (cloud.clone(), id.clone());
        async move {
            let object =
                cloud.object(&id).await.map_err(|error| format!("{id}: {}", with_sources(&error)))?;
            file::text(object).map_err(|error| format!("{id}:{error}"))
        }
        .boxed()
    };
    (place, Box::new(read))
}

async fn fetch_secrets(
    cloud: &Cloud,
    momento: MomentoConfig,
    signing: SigningConfig,
    secrets: SecretsConfig,
) -> Result<(Rotating<Keys>, Signing), ConfigErrors> {
    let ids = [momento.credentials.secret(), signing.secrets.secret()];
    let fetched = Fetched::new(cloud, ids.into_iter().flatten(), secrets).await;
    let keys = fetched.keys(momento);
    let SigningConfig { signatures, secrets, previous: given, max_age } = signing;
    let secrets = match secrets {
        Sourced::Given(current) => Ok(Rotating::fixed([current, given].concat())),
        Sourced::Secret(id) => {
            let parse = move |secret: &Versioned<SecretText>| {
                let read = |text: &SecretText| signing_secrets(signatures, text.reveal());
                let Versioned { current, previous } = secret.try_map(read)?;
                Ok([current, previous.unwrap_or_default(), given.clone()].concat())
            };
            fetched.start(SecretSetting { name: SigningConfig::SECRET_ID, id, parse: Box::new(parse) })
        }
    };
    let (keys, secrets) = both(keys, secrets)?;
    Ok((keys, Signing { signatures, secrets, max_age }))
}

/// Secrets that were fetched at the start, each once.
struct Fetched {
    secrets: BTreeMap<SecretName, Result<StoredSecret, Failure>>,
    refresh: Refresh,
}

impl Fetched {
    async fn new(cloud: &Cloud, ids: impl Iterator<Item = &SecretId>, config: SecretsConfig) -> Self {
        let secrets = fetch_all(cloud, ids.map(|id| &id.name)).await;
        let store = Arc::new(cloud.clone());
        let refresh = Refresh { store, clock: Arc::new(SystemClock), max_age: config.max_age };
        Self { secrets, refresh }
    }

    fn keys(&self, momento: MomentoConfig) -> Result<Rotating<Keys>, ConfigErrors> {
        let MomentoConfig { credentials, endpoint } = momento;
        match credentials {
            Sourced::Given(current) => Ok(Rotating::fixed(Versioned { current, previous: None })),
            Sourced::Secret(id) => {
                let read = move |key: &SecretText| {
                    Credentials::new(key.reveal(), endpoint.as_ref()).map_err(|error| error.to_string())
                };
                let parse = move |secret: &Versioned<SecretText>| secret.try_map(&read);
                self.start(SecretSetting { name: MomentoConfig::SECRET_ID, id, parse: Box::new(parse) })
            }
        }
    }

    fn start<T: Send + Sync + 'static>(
        &self,
        setting: SecretSetting<T>,
    ) -> Result<Rotating<T>, ConfigErrors> {
        let name = setting.name;
        let fetched = self.secrets.get(&setting.id.name).expect("the secret of every setting is fetched");
        Rotating::start(setting, fetched.as_ref(), self.refresh.clone()).map_err(|error| fault(name, error))
    }
}

/// The publisher gets newer credentials from the secret.
impl KeySource for Rotating<Keys> {
    fn current(&self) -> Arc<Keys> {
        self.current()
    }

    fn refresh<'s>(&'s self, rejected: &'s Arc<Keys>) -> BoxFuture<'s, Option<Arc<Keys>>> {
        let newer = |refreshed| match refreshed {
            Refreshed::Changed(keys) => Some(keys),
            Refreshed::Unchanged | Refreshed::Unknown => None,
        };
        self.refresh(rejected).map(newer).boxed()
    }

    fn settled(&self) -> BoxFuture<'_, ()> {
        self.settled().boxed()
    }
}

fn fault(name: &str, fault: String) -> ConfigErrors {
    ConfigErrors(vec![ConfigError { name: name.to_owned(), fault }])
}

/// Returns both values, or the faults of both.
fn both<A, B>(a: Result<A, ConfigErrors>, b: Result<B, ConfigErrors>) -> Result<(A, B), ConfigErrors> {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        (Err(ConfigErrors(mut errors)), Err(ConfigErrors(more))) => {
            errors.extend(more);
            Err(ConfigErrors(errors))
        }
        (Err(errors), Ok(_)) | (Ok(_), Err(errors)) => Err(errors),
    }
}

#[cfg(all(test, not(any(feature = "secrets", feature = "parameters"))))]
mod tests {
    use super::*;
    use crate::config::tests::{LEAST, read, vars};

    #[tokio::test]
    async fn without_aws_it_is_said_what_it_takes() {
        let with = [
            ("MOMENTO_API_KEY", ""),
            ("MOMENTO_API_KEY_SECRET_ID", "chat/keys#momento"),
            ("WEBHOOK_SIGNING_SECRET", ""),
            ("WEBHOOK_SIGNING_SECRET_ID", "ssm:/chat/webhook"),
            ("OUTBOUND_TOPIC", ""),
            ("FANOUT_CONFIG", "ssm:/chat/routes"),
        ];
        let config = read(&vars(&[&with[..], &LEAST].concat())).unwrap();
        let ConfigErrors(errors) =
            complete(&Cloud::default(), config, &Transforms::standard(), &RequestLog::Off).await.unwrap_err();
        assert_eq!(
            errors.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [
                "MOMENTO_API_KEY_SECRET_ID: secret chat/keys: needs a build with the cargo feature `secrets`",
                "WEBHOOK_SIGNING_SECRET_ID: parameter /chat/webhook: needs a build with the cargo feature `parameters`",
                "FANOUT_CONFIG: parameter /chat/routes: needs a build with the cargo feature `parameters`",
            ]
        );
    }
}
