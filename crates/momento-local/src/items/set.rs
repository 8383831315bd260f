//! Calls on sets.

use std::collections::BTreeSet;

use momento_protos::cache_client::set_difference_request::{Difference, subtrahend::SubtrahendSet};
use momento_protos::cache_client::{
    SetContainsRequest, SetContainsResponse, SetDifferenceRequest, SetDifferenceResponse, SetFetchRequest,
    SetFetchResponse, SetLengthRequest, SetLengthResponse, SetPopRequest, SetPopResponse, SetSampleRequest,
    SetSampleResponse, SetUnionRequest, SetUnionResponse, set_contains_response, set_difference_response,
    set_fetch_response, set_length_response, set_pop_response, set_sample_response,
};
use rand::seq::IteratorRandom as _;

use super::{Content, ItemError, Items, check_elements, element_charge, response_length};

/// The elements of a set, with the bytes that they count for.
#[derive(Debug, Default)]
pub(crate) struct Elements {
    elements: BTreeSet<Vec<u8>>,
    bytes: usize,
}

impl Content for Elements {
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }
}

impl Elements {
    fn insert(&mut self, element: Vec<u8>) {
        let bytes = element_charge(&element);
        self.bytes += if self.elements.insert(element) { bytes } else { 0 };
    }

    fn remove(&mut self, element: &[u8]) {
        self.bytes -= if self.elements.remove(element) { element_charge(element) } else { 0 };
    }

    /// Returns up to `count` elements at random.
    fn random(&self, count: usize) -> Vec<Vec<u8>> {
        let count = count.min(self.elements.len());
        self.elements.iter().cloned().choose_multiple(&mut rand::rng(), count)
    }
}

impl FromIterator<Vec<u8>> for Elements {
    fn from_iter<I: IntoIterator<Item = Vec<u8>>>(elements: I) -> Self {
        let mut set = Self::default();
        elements.into_iter().for_each(|element| set.insert(element));
        set
    }
}

/// Returns the set of this name; `None` if it does not exist.
fn existing<'i>(items: &'i Items<'_>, name: &[u8]) -> Result<Option<&'i Elements>, ItemError> {
    items.read(name)
}

pub(crate) fn fetch(items: &mut Items<'_>, request: SetFetchRequest) -> Result<SetFetchResponse, ItemError> {
    use set_fetch_response::{Found, Missing, Set};
    let set = match existing(items, &request.set_name)? {
        Some(set) => Set::Found(Found { elements: set.elements.iter().cloned().collect() }),
        None => Set::Missing(Missing {}),
    };
    Ok(SetFetchResponse { set: Some(set) })
}

pub(crate) fn sample(
    items: &mut Items<'_>,
    request: SetSampleRequest,
) -> Result<SetSampleResponse, ItemError> {
    use set_sample_response::{Found, Missing, Set};
    let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
    let set = match existing(items, &request.set_name)? {
        Some(set) => Set::Found(Found { elements: set.random(limit) }),
        None => Set::Missing(Missing {}),
    };
    Ok(SetSampleResponse { set: Some(set) })
}

pub(crate) fn pop(items: &mut Items<'_>, request: SetPopRequest) -> Result<SetPopResponse, ItemError> {
    use set_pop_response::{Found, Missing, Set};
    let count = usize::try_from(request.count).unwrap_or(usize::MAX);
    let popped = items.alter(&request.set_name, |set: &mut Elements, _| {
        let elements = set.random(count);
        for element in &elements {
            set.remove(element);
        }
        elements
    })?;
    let set = popped.map_or(Set::Missing(Missing {}), |elements| Set::Found(Found { elements }));
    Ok(SetPopResponse { set: Some(set) })
}

/// Adds elements. The time to live applies to a new set, and to an existing one if the request refreshes it.
pub(crate) fn union(items: &mut Items<'_>, request: SetUnionRequest) -> Result<SetUnionResponse, ItemError> {
    let lifetime = items.lifetime(request.ttl_milliseconds, request.refresh_ttl)?;
    check_elements(&request.elements)?;
    if request.elements.is_empty() {
        return Ok(SetUnionResponse {});
    }
    let old = existing(items, &request.set_name)?;
    let is_new = |element: &Vec<u8>| old.is_none_or(|old| !old.elements.contains(element));
    let added: Elements = request.elements.into_iter().filter(is_new).collect();
    items.add(request.set_name, added.bytes, lifetime, |set: &mut Elements| {
        added.elements.into_iter().for_each(|element| set.insert(element));
        Ok(())
    })?;
    Ok(SetUnionResponse {})
}

/// Removes elements, or keeps those of the request that the set does not have. An empty set is deleted.
pub(crate) fn difference(
    items: &mut Items<'_>,
    request: SetDifferenceRequest,
) -> Result<SetDifferenceResponse, ItemError> {
    use set_difference_response::{Found, Missing, Set};
    let missing = || ItemError::Missing("difference");
    let Some(old) = existing(items, &request.set_name)? else {
        return Ok(SetDifferenceResponse { set: Some(Set::Missing(Missing {})) });
    };
    let new: Elements = match request.difference.ok_or_else(missing)? {
        Difference::Minuend(minuend) => {
            check_elements(&minuend.elements)?;
            minuend.elements.into_iter().filter(|element| !old.elements.contains(element)).collect()
        }
        Difference::Subtrahend(subtrahend) => match subtrahend.subtrahend_set.ok_or_else(missing)? {
            SubtrahendSet::Set(removed) => {
                let removed: BTreeSet<_> = removed.elements.into_iter().collect();
                old.elements.difference(&removed).cloned().collect()
            }
            SubtrahendSet::Identity(_) => Elements::default(),
        },
    };
    items.reserve(new.bytes.saturating_sub(old.bytes))?;
    items.alter(&request.set_name, |set: &mut Elements, _| *set = new)?;
    Ok(SetDifferenceResponse { set: Some(Set::Found(Found {})) })
}

pub(crate) fn contains(
    items: &mut Items<'_>,
    request: SetContainsRequest,
) -> Result<SetContainsResponse, ItemError> {
    use set_contains_response::{Found, Missing, Set};
    let set = match existing(items, &request.set_name)? {
        Some(set) => {
            let contains = request.elements.iter().map(|element| set.elements.contains(element));
            Set::Found(Found { contains: contains.collect() })
        }
        None => Set::Missing(Missing {}),
    };
    Ok(SetContainsResponse { set: Some(set) })
}

pub(crate) fn length(
    items: &mut Items<'_>,
    request: SetLengthRequest,
) -> Result<SetLengthResponse, ItemError> {
    use set_length_response::{Found, Missing, Set};
    let set = match existing(items, &request.set_name)? {
        Some(set) => Set::Found(Found { length: response_length(set.elements.len()) }),
        None => Set::Missing(Missing {}),
    };
    Ok(SetLengthResponse { set: Some(set) })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use momento_protos::cache_client::set_difference_request::{Minuend, Subtrahend, subtrahend};

    use super::super::scalar::{self, tests::set_request};
    use super::super::{MAX_ITEM_BYTES, OVERHEAD_BYTES, Store};
    use super::*;

    fn bytes(texts: &[&str]) -> Vec<Vec<u8>> {
        texts.iter().map(|text| text.as_bytes().to_vec()).collect()
    }

    fn add(items: &mut Items<'_>, texts: &[&str], ttl: u64, refresh_ttl: bool) -> Result<(), ItemError> {
        let (set_name, elements) = (b"set".into(), bytes(texts));
        union(items, SetUnionRequest { set_name, elements, ttl_milliseconds: ttl, refresh_ttl }).map(|_| ())
    }

    /// Returns the elements in order; `None` if the set does not exist.
    fn fetched(items: &mut Items<'_>) -> Option<Vec<String>> {
        match fetch(items, SetFetchRequest { set_name: b"set".into() }).unwrap().set.unwrap() {
            set_fetch_response::Set::Missing(_) => None,
            set_fetch_response::Set::Found(found) => {
                Some(found.elements.into_iter().map(|element| String::from_utf8(element).unwrap()).collect())
            }
        }
    }

    fn subtract(items: &mut Items<'_>, set: SubtrahendSet) -> Result<bool, ItemError> {
        let subtrahend = Difference::Subtrahend(Subtrahend { subtrahend_set: Some(set) });
        differ(items, subtrahend)
    }

    fn differ(items: &mut Items<'_>, change: Difference) -> Result<bool, ItemError> {
        let request = SetDifferenceRequest { set_name: b"set".into(), difference: Some(change) };
        let found = set_difference_response::Set::Found(set_difference_response::Found {});
        difference(items, request).map(|response| response.set == Some(found))
    }

    #[tokio::test(start_paused = true)]
    async fn union_adds_elements_once_and_refreshes_ttl_on_demand() {
        let mut store = Store::new(10_000);
        let mut items = store.cache("cache");
        assert_eq!(fetched(&mut items), None);
        add(&mut items, &["b", "a", "b"], 1_000, false).unwrap();
        add(&mut items, &["a", "c"], 5_000, false).unwrap();
        assert_eq!(fetched(&mut items).unwrap(), ["a", "b", "c"]);
        assert_eq!(items.store.bytes, OVERHEAD_BYTES + 3 + 3 * (OVERHEAD_BYTES + 1));
        tokio::time::advance(Duration::from_millis(999)).await;
        let mut items = store.cache("cache");
        add(&mut items, &["c"], 5_000, true).unwrap();
        tokio::time::advance(Duration::from_millis(4_999)).await;
        assert_eq!(fetched(&mut store.cache("cache")).unwrap(), ["a", "b", "c"]);
        tokio::time::advance(Duration::from_millis(1)).await;
        let mut items = store.cache("cache");
        assert_eq!(fetched(&mut items), None);
        add(&mut items, &["d"], 1, false).unwrap();
        assert_eq!(fetched(&mut items).unwrap(), ["d"], "an expired set begins anew");
        assert_eq!(add(&mut items, &["e"], 0, false), Err(ItemError::ZeroTtl));
    }

    #[tokio::test]
    async fn difference_removes_elements_and_deletes_empty_set() {
        let mut store = Store::new(10_000);
        let mut items = store.cache("cache");
        let remove = |texts: &[&str]| SubtrahendSet::Set(subtrahend::Set { elements: bytes(texts) });
        assert_eq!(subtract(&mut items, remove(&["a"])), Ok(false));
        add(&mut items, &["a", "b", "c"], 1_000, false).unwrap();
        assert_eq!(subtract(&mut items, remove(&["b", "no"])), Ok(true));
        assert_eq!(fetched(&mut items).unwrap(), ["a", "c"]);
        assert_eq!(
            differ(&mut items, Difference::Minuend(Minuend { elements: bytes(&["c", "d"]) })),
            Ok(true)
        );
        assert_eq!(fetched(&mut items).unwrap(), ["d"]);
        assert_eq!(subtract(&mut items, remove(&["d"])), Ok(true));
        assert_eq!((fetched(&mut items), items.store.bytes), (None, 0));
        add(&mut items, &["a"], 1_000, false).unwrap();
        let nothing = Difference::Subtrahend(Subtrahend { subtrahend_set: None });
        assert_eq!(differ(&mut items, nothing), Err(ItemError::Missing("difference")));
        assert_eq!(fetched(&mut items).unwrap(), ["a"], "a failed call changes nothing");
        assert_eq!(subtract(&mut items, SubtrahendSet::Identity(subtrahend::Identity {})), Ok(true));
        assert_eq!((fetched(&mut items), items.store.bytes), (None, 0));
    }

    #[tokio::test]
    async fn samples_and_pops_elements_at_random() {
        let mut store = Store::new(10_000);
        let mut items = store.cache("cache");
        let sampled = |items: &mut Items<'_>, limit| {
            let request = SetSampleRequest { set_name: b"set".into(), limit };
            match sample(items, request).unwrap().set.unwrap() {
                set_sample_response::Set::Found(found) => Some(found.elements),
                set_sample_response::Set::Missing(_) => None,
            }
        };
        let popped = |items: &mut Items<'_>, count| {
            let request = SetPopRequest { set_name: b"set".into(), count };
            match pop(items, request).unwrap().set.unwrap() {
                set_pop_response::Set::Found(found) => Some(found.elements),
                set_pop_response::Set::Missing(_) => None,
            }
        };
        assert_eq!((sampled(&mut items, 1), popped(&mut items, 1)), (None, None));
        add(&mut items, &["a", "b", "c"], 1_000, false).unwrap();
        assert_eq!(sampled(&mut items, 0), Some(vec![]));
        assert_eq!(sampled(&mut items, 2).unwrap().len(), 2);
        let mut all = sampled(&mut items, u64::MAX).unwrap();
        all.sort_unstable();
        assert_eq!(all, bytes(&["a", "b", "c"]));
        let two = popped(&mut items, 2).unwrap();
        assert_eq!((two.len(), fetched(&mut items).unwrap().len()), (2, 1));
        assert_eq!(items.store.bytes, OVERHEAD_BYTES + 3 + OVERHEAD_BYTES + 1);
        assert_eq!(popped(&mut items, u32::MAX).unwrap().len(), 1);
        assert_eq!((fetched(&mut items), items.store.bytes), (None, 0));
    }

    #[tokio::test]
    async fn contains_and_length_describe_existing_set() {
        let mut store = Store::new(10_000);
        let mut items = store.cache("cache");
        let contained = |items: &mut Items<'_>| {
            let request = SetContainsRequest { set_name: b"set".into(), elements: bytes(&["b", "a"]) };
            match contains(items, request).unwrap().set.unwrap() {
                set_contains_response::Set::Found(found) => Some(found.contains),
                set_contains_response::Set::Missing(_) => None,
            }
        };
        assert_eq!(contained(&mut items), None);
        add(&mut items, &["a", "c"], 1_000, false).unwrap();
        assert_eq!(contained(&mut items), Some(vec![false, true]));
        let length = length(&mut items, SetLengthRequest { set_name: b"set".into() }).unwrap();
        assert_eq!(
            length.set,
            Some(set_length_response::Set::Found(set_length_response::Found { length: 2 }))
        );
    }

    #[tokio::test]
    async fn rejects_scalar_large_element_and_set_beyond_limit() {
        let mut store = Store::new(1_000);
        let mut items = store.cache("cache");
        let large = add(&mut items, &[&"x".repeat(MAX_ITEM_BYTES + 1)], 1_000, false);
        assert_eq!(large, Err(ItemError::TooLarge { what: "element", bytes: MAX_ITEM_BYTES + 1 }));
        add(&mut items, &["a"], 1_000, false).unwrap();
        let full = Err(ItemError::OutOfMemory(1_000));
        assert_eq!(add(&mut items, &["a", &"x".repeat(1_000)], 1_000, false), full);
        assert_eq!(
            differ(&mut items, Difference::Minuend(Minuend { elements: bytes(&[&"x".repeat(1_000)]) })),
            full.map(|()| true)
        );
        assert_eq!(fetched(&mut items).unwrap(), ["a"], "a failed call changes nothing");
        scalar::set(&mut items, set_request("set", "scalar", 1_000)).unwrap();
        let wrong = ItemError::WrongType { actual: "scalar", expected: "set" };
        assert_eq!(add(&mut items, &["a"], 1_000, false), Err(wrong.clone()));
        assert_eq!(fetch(&mut items, SetFetchRequest { set_name: b"set".into() }), Err(wrong));
    }
}
