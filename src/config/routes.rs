//! Routes and transforms: the destinations of events.

use std::time::Duration;

use fanout_core::limits::MAX_TRANSFORMS;
use fanout_core::names::{CacheName, TopicName};
use fanout_core::placeholder::is_literal;
use fanout_core::route::{Destination, Routes};
use fanout_core::transform::{Stage, Transforms};

use super::file::FileSource;
use super::{Read, Settings};
use crate::live_routes::VersionedRoutes;

/// The variable that names the file.
pub const ROUTES: &str = "FANOUT_CONFIG";
const ONE: &str = "OUTBOUND_TOPIC";
const SEVERAL: &str = "OUTBOUND_TOPICS";
const CACHE: &str = "OUTBOUND_CACHE";
const TRANSFORM: &str = "TRANSFORM";

/// `FANOUT_CONFIG`, or `OUTBOUND_TOPIC` or `OUTBOUND_TOPICS`, `OUTBOUND_CACHE` and `TRANSFORM`; and
/// `ROUTES_MAX_AGE_SECONDS`.
#[derive(Clone, Debug)]
pub struct RoutesConfig {
    /// Where the routes are.
    pub source: RoutesSource,
    /// The age at which the source is read again; `None` for never.
    pub max_age: Option<Duration>,
}

/// Where the routes are.
pub type RoutesSource = FileSource<VersionedRoutes>;

impl RoutesConfig {
    /// A thousand environments make four to seven calls a second then, of the 40 that Systems Manager allows an account.
    const DEFAULT_SECONDS: u64 = 300;

    pub(super) fn read(settings: &mut Settings<'_>, transforms: &Transforms) -> Read<Self> {
        let source = source(settings, transforms);
        Self::with_max_age(settings, source)
    }

    /// Reads the settings of a function that can do without routes.
    pub(super) fn read_file(settings: &mut Settings<'_>, transforms: &Transforms) -> Read<Option<Self>> {
        let source = match settings.get(ROUTES)? {
            None => return Ok(None),
            Some(given) => file(settings, &given, transforms),
        };
        Self::with_max_age(settings, source).map(Some)
    }

    fn with_max_age(settings: &mut Settings<'_>, source: Read<RoutesSource>) -> Read<Self> {
        let wanted = "a number of seconds, 0 or more";
        let seconds = settings.parse("ROUTES_MAX_AGE_SECONDS", Self::DEFAULT_SECONDS, wanted)?;
        Ok(Self { source: source?, max_age: (seconds > 0).then(|| Duration::from_secs(seconds)) })
    }
}

fn source(settings: &mut Settings<'_>, transforms: &Transforms) -> Read<RoutesSource> {
    let Some(given) = settings.get(ROUTES)? else {
        let routes = outbound_routes(settings, transforms)?;
        return Ok(FileSource::Settings(Box::new(VersionedRoutes::from(routes))));
    };
    for name in [ONE, SEVERAL, CACHE, TRANSFORM] {
        if settings.get(name)?.is_some() {
            let _: Read<()> = settings.fault(name, format!("is set beside {ROUTES}, which has the routes"));
        }
    }
    file(settings, &given, transforms)
}

fn file(settings: &mut Settings<'_>, given: &str, transforms: &Transforms) -> Read<RoutesSource> {
    FileSource::read(settings, ROUTES, given, |text| VersionedRoutes::read(text, transforms))
}

fn outbound_routes(settings: &mut Settings<'_>, transforms: &Transforms) -> Read<Routes> {
    let topics = outbound(settings);
    let cache = outbound_cache(settings);
    let chain = chain(settings, transforms);
    let (topics, cache, chain) = (topics?, cache?, chain?);
    let destination = |topic| Destination::verbatim(cache.as_ref(), topic, chain.clone());
    Ok(Routes::one(topics.iter().map(destination).collect()))
}

fn outbound_cache(settings: &mut Settings<'_>) -> Read<Option<CacheName>> {
    match settings.get(CACHE)?.map(CacheName::new).transpose() {
        Ok(cache) => Ok(cache),
        Err(error) => settings.fault(CACHE, error.to_string()),
    }
}

fn outbound(settings: &mut Settings<'_>) -> Read<Vec<TopicName>> {
    let (one, several) = (settings.get(ONE), settings.get(SEVERAL));
    let (one, several) = (one?, several?);
    let several_given = several.is_some();
    let names = match (one, several) {
        (Some(name), None) => vec![name],
        (None, Some(names)) => names.split(',').map(|name| name.trim().to_owned()).collect(),
        (Some(_), Some(_)) => {
            return settings.fault(SEVERAL, format!("is set beside {ONE}; set one of the two"));
        }
        (None, None) => {
            return settings.fault(
                ONE,
                format!("is not set, and neither is {SEVERAL} or {ROUTES}, which names a file of routes; set one of them"),
            );
        }
    };
    let topics: Result<Vec<_>, _> = names.into_iter().map(TopicName::new).collect();
    let Ok(topics) = topics else {
        return settings.fault(SEVERAL, "has an empty name between its commas");
    };
    let name = if several_given { SEVERAL } else { ONE };
    if topics.iter().any(|topic| !is_literal(topic.as_str())) {
        return settings.fault(
            name,
            format!("has a placeholder, a wildcard or a list in brackets; these need a file of routes, which {ROUTES} names"),
        );
    }
    let twice =
        topics.iter().enumerate().find(|(place, topic)| topics.iter().take(*place).any(|t| t == *topic));
    match twice {
        Some((place, _)) => {
            settings.fault(SEVERAL, format!("names a topic twice: name number {}", place + 1))
        }
        None => Ok(topics),
    }
}

fn chain(settings: &mut Settings<'_>, transforms: &Transforms) -> Read<Vec<Stage>> {
    let Some(names) = settings.line(TRANSFORM)? else { return Ok(Vec::new()) };
    let mut stages = Vec::new();
    for (place, name) in names.split(',').map(str::trim).enumerate() {
        let number = place + 1;
        if number > MAX_TRANSFORMS {
            return settings.fault(TRANSFORM, format!("has more than {MAX_TRANSFORMS} transforms"));
        }
        if !transforms.has(name) {
            let fault = match transforms.closest(name) {
                Some(meant) => format!("transform number {number} is unknown; did you mean {meant}?"),
                None => {
                    format!("transform number {number} is unknown; expected one of {}", transforms.names())
                }
            };
            return settings.fault(TRANSFORM, fault);
        }
        match transforms.named(name) {
            Ok(stage) => stages.push(stage),
            Err(error) => {
                let fault =
                    format!("transform number {number}, {name}: {error}; its settings go into {ROUTES}");
                return settings.fault(TRANSFORM, fault);
            }
        }
    }
    Ok(stages)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{LEAST, faults, read, vars};

    fn routes(changes: &[(&str, &str)]) -> Routes {
        match read(&vars(&[changes, &LEAST].concat())).unwrap().routes.source {
            RoutesSource::Settings(read) | RoutesSource::File { content: read, .. } => read.routes,
            other => panic!("{other:?}"),
        }
    }

    fn destinations(changes: &[(&str, &str)]) -> Vec<Destination> {
        routes(changes).all()[0].destinations().to_vec()
    }

    fn topics(changes: &[(&str, &str)]) -> Vec<String> {
        let literal = |one: &Destination| one.to.topic().unwrap().topic.literal().unwrap().to_owned();
        destinations(changes).iter().map(literal).collect()
    }

    fn fault(changes: &[(&str, &str)]) -> (String, String) {
        let faults = faults(changes);
        let [fault] = &faults[..] else { panic!("one fault, not {faults:?}") };
        fault.clone()
    }

    #[test]
    fn one_topic_is_taken_verbatim() {
        assert_eq!(topics(&[("OUTBOUND_TOPIC", " a, b ")]), [" a, b "]);
    }

    #[test]
    fn several_topics_are_separated_by_commas() {
        let several = [("OUTBOUND_TOPIC", ""), ("OUTBOUND_TOPICS", "topic 2, topic/3 ,x")];
        assert_eq!(topics(&several), ["topic 2", "topic/3", "x"]);
    }

    #[test]
    fn one_or_several_not_both_not_none() {
        assert_eq!(
            fault(&[("OUTBOUND_TOPICS", "a,b")]),
            ("OUTBOUND_TOPICS".into(), "is set beside OUTBOUND_TOPIC; set one of the two".into())
        );
        assert_eq!(
            fault(&[("OUTBOUND_TOPIC", "")]),
            (
                "OUTBOUND_TOPIC".into(),
                "is not set, and neither is OUTBOUND_TOPICS or FANOUT_CONFIG, which names a file of routes; set one of them"
                    .into()
            )
        );
    }

    #[test]
    fn rejects_syntax_that_only_a_file_has() {
        for wrong in ["{room}-out", "{{ json.from }}", "${room}", "$room", "<room>", "support-*"] {
            for (name, changes) in
                [("OUTBOUND_TOPIC", &[][..]), ("OUTBOUND_TOPICS", &[("OUTBOUND_TOPIC", "")][..])]
            {
                let (fault_name, fault) = fault(&[changes, &[(name, wrong)]].concat());
                assert!(fault_name == name && fault.ends_with("which FANOUT_CONFIG names"), "{fault}");
                assert!(!fault.contains(wrong), "{fault}");
            }
        }
        let (name, _) = fault(&[("OUTBOUND_TOPIC", ""), ("OUTBOUND_TOPICS", "[\"a\", \"b\"]")]);
        assert_eq!(name, "OUTBOUND_TOPICS");
    }

    #[test]
    fn no_name_is_empty_or_there_twice() {
        for wrong in ["a,,b", ",", "a,"] {
            assert_eq!(
                fault(&[("OUTBOUND_TOPIC", ""), ("OUTBOUND_TOPICS", wrong)]),
                ("OUTBOUND_TOPICS".into(), "has an empty name between its commas".into())
            );
        }
        assert_eq!(
            fault(&[("OUTBOUND_TOPIC", ""), ("OUTBOUND_TOPICS", "a,b,a")]),
            ("OUTBOUND_TOPICS".into(), "names a topic twice: name number 3".into())
        );
    }

    #[test]
    fn transforms_are_named_in_order() {
        let chain = |changes: &[(&str, &str)]| -> Vec<_> {
            destinations(changes)[0].chain.iter().map(ToString::to_string).collect()
        };
        assert_eq!(chain(&[("TRANSFORM", "trim, uppercase")]), ["trim", "uppercase"]);
        assert_eq!(chain(&[]), [""; 0]);
        for (wrong, says) in [
            ("shout", "transform number 1 is unknown; expected one of echo, "),
            ("trim,,trim", "transform number 2 is unknown; expected one of echo, "),
            ("trim | uppercase", "transform number 1 is unknown; expected one of echo, "),
            ("Uppercase", "transform number 1 is unknown; did you mean uppercase?"),
        ] {
            let (name, fault) = fault(&[("TRANSFORM", wrong)]);
            assert!(name == "TRANSFORM" && fault.starts_with(says), "{fault}");
        }
    }

    #[test]
    fn a_file_is_text_or_a_path_or_a_parameter_or_an_object() {
        const NONE: [(&str, &str); 1] = [("OUTBOUND_TOPIC", "")];
        let with = |file| [&NONE[..], &[("FANOUT_CONFIG", file)]].concat();
        let text = "[[routes]]\ntopic = 'in'\ndestinations = ['out']";
        assert_eq!(topics(&with(text)), ["out"]);

        let (name, said) = fault(&with("[[routes]]\ntopic = 'in'\ndestinations = ['in']"));
        assert!(name == "FANOUT_CONFIG" && said.starts_with("3:17: the route feeds itself"), "{said}");
        let (_, said) = fault(&with("no/such/fanout.toml"));
        assert!(said.starts_with("no/such/fanout.toml: No such file"), "{said}");
        let (_, said) = fault(&with(" no/such/fanout.toml\n"));
        assert!(said.starts_with("no/such/fanout.toml: No such file"), "{said}");
        assert_eq!(topics(&with(" fanout.toml ")), ["topic 2"]);
        let told = faults(&with("/data/stage=prod/fanout.toml"));
        assert!(told.iter().any(|(_, fault)| fault.contains("because it has a `=`")), "{told:?}");
        let told = faults(&with("Cargo.lock"));
        assert!(told.iter().all(|(_, fault)| fault.starts_with("Cargo.lock:")), "{told:?}");

        let config = read(&vars(&[&with("ssm:/fanout/routes")[..], &LEAST].concat())).unwrap();
        assert!(matches!(config.routes.source, RoutesSource::Parameter(name) if name == "/fanout/routes"));
        assert_eq!(fault(&with("ssm:")).1, "names no parameter behind ssm:");

        let object = "s3://chat/a/fanout.toml?versionId=3HL4k";
        let config = read(&vars(&[&with(object)[..], &LEAST].concat())).unwrap();
        assert!(matches!(config.routes.source, RoutesSource::Object(id) if id.to_string() == object));
        assert_eq!(fault(&with("s3://chat")).1, "is not s3://bucket/key");
    }

    #[test]
    fn ignores_byte_order_mark_and_invisible_characters_at_ends() {
        const BOM: &str = "\u{feff}";
        let with = |file| [("OUTBOUND_TOPIC", ""), ("FANOUT_CONFIG", file)];
        let text = "\u{feff}[[routes]]\ntopic = 'in'\ndestinations = ['out']";
        assert_eq!(topics(&with(text)), ["out"]);
        let wrong = text.replace("'out'", "'in'");
        assert!(fault(&with(&wrong)).1.starts_with("3:17: "), "a byte order mark has no column");
        assert!(VersionedRoutes::read(text, &Transforms::standard()).is_ok());
        assert_eq!(topics(&with("\u{feff}fanout.toml\u{200b}")), ["topic 2"]);
        let config = read(&vars(&[&with("\u{feff}ssm:/p\u{200b}\n")[..], &LEAST].concat())).unwrap();
        assert!(matches!(config.routes.source, RoutesSource::Parameter(name) if name == "/p"));
        assert_eq!(fault(&with("ssm:/\u{200b}p")).1, "contains the invisible character U+200B");

        assert_eq!(topics(&[("OUTBOUND_TOPIC", &format!("{BOM}topic 2"))]), ["topic 2"]);
        assert_eq!(topics(&[("OUTBOUND_TOPIC", "❤\u{fe0f}")]), ["❤\u{fe0f}"], "a part of the name");
        assert_eq!(topics(&[("OUTBOUND_TOPIC", ""), ("OUTBOUND_TOPICS", "\u{feff}a,b")]), ["a", "b"]);
        assert_eq!(faults(&[("TRANSFORM", "\u{feff}trim\u{200b}"), ("OUTBOUND_CACHE", "\u{feff}c")]), []);
        for number in ["SECRETS_MAX_AGE_SECONDS", "MAX_EVENT_AGE_SECONDS", "PORT"] {
            assert_eq!(faults(&[(number, "\u{feff} 80\u{200b}\n")]), [], "{number}");
        }
    }

    #[test]
    fn reads_maximum_age_in_seconds_with_zero_for_never() {
        let age = |value: &str| {
            let with = [&[("ROUTES_MAX_AGE_SECONDS", value)][..], &LEAST].concat();
            read(&vars(&with)).unwrap().routes.max_age
        };
        assert_eq!(age(""), Some(Duration::from_mins(5)));
        assert_eq!(age("60"), Some(Duration::from_mins(1)));
        assert_eq!(age("0"), None);
        let wrong = fault(&[("ROUTES_MAX_AGE_SECONDS", "1h")]);
        assert_eq!(wrong, ("ROUTES_MAX_AGE_SECONDS".into(), "is not a number of seconds, 0 or more".into()));
    }

    #[test]
    fn a_file_has_all_the_routes() {
        let text = "[[routes]]\ntopic = 'in'\ndestinations = ['out']";
        let beside = faults(&[("FANOUT_CONFIG", text), ("TRANSFORM", "trim")]);
        let names: Vec<_> = beside.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["OUTBOUND_TOPIC", "TRANSFORM"]);
    }

    #[test]
    fn what_cannot_be_a_cache_is_no_cache() {
        assert_eq!(
            fault(&[("OUTBOUND_CACHE", "  ")]),
            ("OUTBOUND_CACHE".into(), "is blank; expected a name".into())
        );
        for wrong in ["x\n", "é"] {
            assert_eq!(
                fault(&[("OUTBOUND_CACHE", wrong)]),
                ("OUTBOUND_CACHE".into(), "has a character that is not visible ASCII".into())
            );
        }
    }
}
