//! Divides topics between relays.

use std::str::FromStr;

use sha2::{Digest as _, Sha256};

/// One of several relays, which together take every topic.
///
/// Topics are divided by rendezvous hashing: one more relay takes topics from each of the others, and no topic moves between
/// those.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: u32,
    count: u32,
}

/// Error for a text that is not a [`Shard`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a shard; expected \"N/COUNT\", such as \"1/4\", with at most {MAX_SHARDS} shards")]
pub struct ShardError;

/// The largest number of shards. Each topic is hashed once for each.
const MAX_SHARDS: u32 = 1_000;

impl Shard {
    /// Returns true if this relay takes the topic.
    #[must_use]
    pub fn takes(&self, cache: &str, topic: &str) -> bool {
        let weight = |index: u32| {
            let mut hash = Sha256::new();
            hash.update(index.to_be_bytes());
            hash.update(cache.len().to_be_bytes());
            hash.update(cache);
            hash.update(topic);
            hash.finalize()
        };
        (1..=self.count).max_by_key(|index| weight(*index)) == Some(self.index)
    }
}

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        let (index, count) = text.split_once('/').ok_or(ShardError)?;
        let index = index.parse().map_err(|_| ShardError)?;
        let count = count.parse().map_err(|_| ShardError)?;
        if (1..=MAX_SHARDS).contains(&count) && (1..=count).contains(&index) {
            Ok(Self { index, count })
        } else {
            Err(ShardError)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(count: u32, topic: &str) -> u32 {
        let owners: Vec<_> =
            (1..=count).filter(|index| Shard { index: *index, count }.takes("c", topic)).collect();
        assert_eq!(owners.len(), 1, "{topic}");
        owners[0]
    }

    #[test]
    fn each_topic_has_one_shard_and_moves_only_to_a_new_one() {
        let topics: Vec<_> = (0..1_000).map(|number| format!("topic {number}")).collect();
        let mut counts = [0; 4];
        for topic in &topics {
            let (before, after) = (owner(4, topic), owner(5, topic));
            counts[before as usize - 1] += 1;
            assert!(after == before || after == 5, "{topic}");
        }
        assert!(counts.iter().all(|count| (200..300).contains(count)), "{counts:?}");
        assert_eq!(owner(1, "any"), 1);
    }

    #[test]
    fn rejects_texts_that_are_not_shards() {
        assert_eq!("2/4".parse(), Ok(Shard { index: 2, count: 4 }));
        for wrong in ["", "1", "0/4", "5/4", "1/0", "1/1001", "a/b", "-1/4"] {
            assert_eq!(wrong.parse::<Shard>(), Err(ShardError), "{wrong}");
        }
    }
}
