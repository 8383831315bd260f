//! The limit of requests for each person, in this process.

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::{Mutex, PoisonError};

use lru::LruCache;
use momento_webhook::Millis;

/// The time in which requests are counted.
const MINUTE: Millis = 60_000;

/// The people that are remembered. Of more, those who asked last are.
const MAX_PEOPLE: NonZeroUsize = NonZeroUsize::new(10_000).expect("it is not zero");

/// Counts the requests of each person in a minute.
#[derive(Debug)]
pub struct RateLimit {
    per_minute: NonZeroU32,
    /// The beginning of a person's minute, and the requests since then.
    people: Mutex<LruCache<String, (Millis, u32)>>,
}

impl RateLimit {
    /// Allows so many tokens for each person in a minute.
    #[must_use]
    pub fn new(per_minute: NonZeroU32) -> Self {
        Self { per_minute, people: Mutex::new(LruCache::new(MAX_PEOPLE)) }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// If the person has sent too many: the seconds until the next one.
    pub fn take(&self, person: &str, now: Millis) -> Result<(), u64> {
        let mut people = self.people.lock().unwrap_or_else(PoisonError::into_inner);
        let (begin, count) = people.get(person).copied().unwrap_or((now, 0));
        let age = now.saturating_sub(begin);
        let (begin, count) = if age < MINUTE { (begin, count) } else { (now, 0) };
        if count >= self.per_minute.get() {
            return Err((MINUTE - age).div_ceil(1_000));
        }
        people.put(person.to_owned(), (begin, count + 1));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_each_person_alone_until_the_minute_is_over() {
        let rate = RateLimit::new(NonZeroU32::new(2).unwrap());
        assert_eq!([rate.take("ann", 1_000), rate.take("ann", 30_000)], [Ok(()), Ok(())]);
        assert_eq!(rate.take("ann", 31_000), Err(30));
        assert_eq!(rate.take("ann", 60_999), Err(1));
        assert_eq!(rate.take("bob", 31_000), Ok(()));
        assert_eq!(rate.take("ann", 61_000), Ok(()));
    }
}
