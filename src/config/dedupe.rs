//! Where the progress of events is kept.

use fanout_core::names::CacheName;

use super::{Read, Settings};

/// `DEDUPE` and `DEDUPE_CACHE`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DedupeConfig {
    /// In the memory of this environment.
    #[default]
    Memory,
    /// In items of a cache, too, which all environments share.
    Cache {
        /// The cache of the items; `None` for the cache of the event.
        cache: Option<CacheName>,
    },
}

const DEDUPE: &str = "DEDUPE";
const CACHE: &str = "DEDUPE_CACHE";

impl DedupeConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Read<Self> {
        let dedupe = settings.line(DEDUPE);
        let cache = settings.get(CACHE).and_then(|cache| {
            let cache = cache.map(CacheName::new).transpose();
            cache.or_else(|error| settings.fault(CACHE, error.to_string()))
        });
        let (dedupe, cache) = (dedupe?, cache?);
        match (dedupe.as_deref(), cache) {
            (Some("cache"), cache) => Ok(Self::Cache { cache }),
            (None | Some("memory"), None) => Ok(Self::Memory),
            (None | Some("memory"), Some(_)) => settings.fault(CACHE, "needs DEDUPE=cache"),
            (Some(_), _) => settings.fault(DEDUPE, "is neither memory nor cache"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{LEAST, faults, read, vars};

    #[test]
    fn memory_is_the_default_and_a_cache_may_have_a_name() {
        let dedupe = |with: &[(&str, &str)]| read(&vars(&[with, &LEAST].concat())).unwrap().dedupe;
        assert_eq!(dedupe(&[]), DedupeConfig::Memory);
        assert_eq!(dedupe(&[("DEDUPE", "memory")]), DedupeConfig::Memory);
        assert_eq!(dedupe(&[("DEDUPE", "cache")]), DedupeConfig::Cache { cache: None });
        let cache = Some(CacheName::new("seen").unwrap());
        assert_eq!(dedupe(&[("DEDUPE", "cache"), ("DEDUPE_CACHE", "seen")]), DedupeConfig::Cache { cache });
    }

    #[test]
    fn rejects_other_words_and_cache_without_its_use() {
        for (with, name, says) in [
            (&[("DEDUPE", "redis")][..], "DEDUPE", "is neither memory nor cache"),
            (&[("DEDUPE_CACHE", "seen")], "DEDUPE_CACHE", "needs DEDUPE=cache"),
            (&[("DEDUPE", "cache"), ("DEDUPE_CACHE", " ")], "DEDUPE_CACHE", "is blank; expected a name"),
        ] {
            assert_eq!(faults(with), [(name.to_owned(), says.to_owned())]);
        }
    }
}
