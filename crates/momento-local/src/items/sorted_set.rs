//! Calls on sorted sets.

use std::collections::BTreeMap;

use momento_protos::cache_client::sorted_set_fetch_request::{Order, Range, by_index, by_score};
use momento_protos::cache_client::sorted_set_fetch_response::found::{Elements, Values, ValuesWithScores};
use momento_protos::cache_client::sorted_set_get_score_response::SortedSetGetScoreResponsePart;
use momento_protos::cache_client::sorted_set_length_by_score_request::{Max, Min};
use momento_protos::cache_client::sorted_set_remove_request::RemoveElements;
use momento_protos::cache_client::sorted_set_union_store_request::{AggregateFunction, Source};
use momento_protos::cache_client::{
    ECacheResult, SortedSetElement, SortedSetFetchRequest, SortedSetFetchResponse, SortedSetGetRankRequest,
    SortedSetGetRankResponse, SortedSetGetScoreRequest, SortedSetGetScoreResponse, SortedSetIncrementRequest,
    SortedSetIncrementResponse, SortedSetLengthByScoreRequest, SortedSetLengthByScoreResponse,
    SortedSetLengthRequest, SortedSetLengthResponse, SortedSetPutRequest, SortedSetPutResponse,
    SortedSetRemoveRequest, SortedSetRemoveResponse, SortedSetUnionStoreRequest, SortedSetUnionStoreResponse,
    sorted_set_fetch_response, sorted_set_get_rank_request, sorted_set_get_rank_response,
    sorted_set_get_score_response, sorted_set_length_by_score_response, sorted_set_length_response,
};

use super::{
    Content, ItemError, Items, Kind as _, Lifetime, MAX_SOURCES, check_elements, element_charge, index_range,
    response_length,
};

/// The values of a sorted set with their scores, and the bytes that they count for. No score is NaN.
#[derive(Debug, Default)]
pub(crate) struct Scores {
    scores: BTreeMap<Vec<u8>, f64>,
    bytes: usize,
}

impl Content for Scores {
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn is_empty(&self) -> bool {
        self.scores.is_empty()
    }
}

impl Scores {
    fn insert(&mut self, value: Vec<u8>, score: f64) {
        let bytes = element_charge(&value);
        self.bytes += if self.scores.insert(value, score).is_none() { bytes } else { 0 };
    }

    fn remove(&mut self, value: &[u8]) {
        self.bytes -= if self.scores.remove(value).is_some() { element_charge(value) } else { 0 };
    }

    /// Returns all elements by score, and those of equal score by value.
    fn ordered(&self, order: Order) -> Vec<(&Vec<u8>, f64)> {
        let mut elements: Vec<_> = self.scores.iter().map(|(value, score)| (value, *score)).collect();
        // Stable: the map has the order of the values.
        elements.sort_by(|(_, one), (_, other)| one.total_cmp(other));
        if order == Order::Descending {
            elements.reverse();
        }
        elements
    }
}

/// Returns the sorted set of this name; `None` if it does not exist.
fn existing<'i>(items: &'i Items<'_>, name: &[u8]) -> Result<Option<&'i Scores>, ItemError> {
    items.read(name)
}

/// Returns a score to store: a number, and 0 without a sign.
fn number(score: f64) -> Result<f64, ItemError> {
    if score.is_nan() { Err(ItemError::NotANumber) } else { Ok(score + 0.0) }
}

pub(crate) fn put(
    items: &mut Items<'_>,
    request: SortedSetPutRequest,
) -> Result<SortedSetPutResponse, ItemError> {
    let lifetime = items.lifetime(request.ttl_milliseconds, request.refresh_ttl)?;
    store(items, request.set_name, request.elements, lifetime)?;
    Ok(SortedSetPutResponse {})
}

fn store(
    items: &mut Items<'_>,
    name: Vec<u8>,
    elements: Vec<SortedSetElement>,
    lifetime: Lifetime,
) -> Result<(), ItemError> {
    check_elements(elements.iter().map(|element| &element.value))?;
    elements.iter().try_for_each(|element| number(element.score).map(|_| ()))?;
    let old = existing(items, &name)?;
    let is_new = |value: &Vec<u8>| old.is_none_or(|old| !old.scores.contains_key(value));
    let values = elements.iter().map(|element| &element.value);
    let added = values.filter(|value| is_new(value)).map(|value| element_charge(value)).sum();
    items.add(name, added, lifetime, |set: &mut Scores| {
        for element in elements {
            set.insert(element.value, element.score + 0.0);
        }
        Ok(())
    })
}

/// Adds to the score of a value. A missing value has the score 0.
pub(crate) fn increment(
    items: &mut Items<'_>,
    request: SortedSetIncrementRequest,
) -> Result<SortedSetIncrementResponse, ItemError> {
    let lifetime = items.lifetime(request.ttl_milliseconds, request.refresh_ttl)?;
    let current = existing(items, &request.set_name)?.and_then(|set| set.scores.get(&request.value));
    let score = number(current.unwrap_or(&0.0) + request.amount)?;
    let element = SortedSetElement { value: request.value, score };
    store(items, request.set_name, vec![element], lifetime)?;
    Ok(SortedSetIncrementResponse { score })
}

pub(crate) fn remove(
    items: &mut Items<'_>,
    request: SortedSetRemoveRequest,
) -> Result<SortedSetRemoveResponse, ItemError> {
    let remove = request.remove_elements.ok_or(ItemError::Missing("elements to remove"))?;
    items.alter(&request.set_name, |set: &mut Scores, _| match remove {
        RemoveElements::Some(some) => some.values.iter().for_each(|value| set.remove(value)),
        RemoveElements::All(_) => *set = Scores::default(),
    })?;
    Ok(SortedSetRemoveResponse {})
}

pub(crate) fn fetch(
    items: &mut Items<'_>,
    request: SortedSetFetchRequest,
) -> Result<SortedSetFetchResponse, ItemError> {
    use sorted_set_fetch_response::{Found, Missing, SortedSet};
    let order = request.order();
    let Some(set) = existing(items, &request.set_name)? else {
        return Ok(SortedSetFetchResponse { sorted_set: Some(SortedSet::Missing(Missing {})) });
    };
    let mut elements = set.ordered(order);
    match request.range {
        Some(Range::ByIndex(range)) => {
            let start = match range.start {
                Some(by_index::Start::InclusiveStartIndex(start)) => Some(start),
                Some(by_index::Start::UnboundedStart(_)) | None => None,
            };
            let end = match range.end {
                Some(by_index::End::ExclusiveEndIndex(end)) => Some(end),
                Some(by_index::End::UnboundedEnd(_)) | None => None,
            };
            let range = index_range(elements.len(), start, end);
            elements = elements.drain(range).collect();
        }
        Some(Range::ByScore(range)) => {
            elements.retain(|(_, score)| is_within(*score, range.min.as_ref(), range.max.as_ref()));
            let offset = usize::try_from(range.offset).unwrap_or(usize::MAX).min(elements.len());
            elements.drain(..offset);
            // A negative count is without limit.
            elements.truncate(usize::try_from(range.count).unwrap_or(usize::MAX));
        }
        None => {}
    }
    let elements = elements.into_iter().map(|(value, score)| (value.clone(), score));
    let elements = if request.with_scores {
        let elements = elements.map(|(value, score)| SortedSetElement { value, score }).collect();
        Elements::ValuesWithScores(ValuesWithScores { elements })
    } else {
        Elements::Values(Values { values: elements.map(|(value, _)| value).collect() })
    };
    let found = SortedSet::Found(Found { elements: Some(elements) });
    Ok(SortedSetFetchResponse { sorted_set: Some(found) })
}

/// Returns true if a score is within the bounds of a fetch.
fn is_within(score: f64, min: Option<&by_score::Min>, max: Option<&by_score::Max>) -> bool {
    let above = match min {
        Some(by_score::Min::MinScore(min)) => {
            if min.exclusive {
                score > min.score
            } else {
                score >= min.score
            }
        }
        Some(by_score::Min::UnboundedMin(_)) | None => true,
    };
    above
        && match max {
            Some(by_score::Max::MaxScore(max)) => {
                if max.exclusive {
                    score < max.score
                } else {
                    score <= max.score
                }
            }
            Some(by_score::Max::UnboundedMax(_)) | None => true,
        }
}

pub(crate) fn get_score(
    items: &mut Items<'_>,
    request: SortedSetGetScoreRequest,
) -> Result<SortedSetGetScoreResponse, ItemError> {
    use sorted_set_get_score_response::{SortedSet, SortedSetFound, SortedSetMissing};
    let Some(set) = existing(items, &request.set_name)? else {
        return Ok(SortedSetGetScoreResponse { sorted_set: Some(SortedSet::Missing(SortedSetMissing {})) });
    };
    let part = |value: &Vec<u8>| {
        let (result, score) = match set.scores.get(value) {
            Some(score) => (ECacheResult::Hit, *score),
            None => (ECacheResult::Miss, 0.0),
        };
        SortedSetGetScoreResponsePart { result: result.into(), score }
    };
    let found = SortedSetFound { elements: request.values.iter().map(part).collect() };
    Ok(SortedSetGetScoreResponse { sorted_set: Some(SortedSet::Found(found)) })
}

pub(crate) fn get_rank(
    items: &mut Items<'_>,
    request: SortedSetGetRankRequest,
) -> Result<SortedSetGetRankResponse, ItemError> {
    use sorted_set_get_rank_response::{Rank, RankResponsePart, SortedSetMissing};
    let order = match request.order() {
        sorted_set_get_rank_request::Order::Ascending => Order::Ascending,
        sorted_set_get_rank_request::Order::Descending => Order::Descending,
    };
    let rank = match existing(items, &request.set_name)? {
        Some(set) => {
            let rank = set.ordered(order).iter().position(|(value, _)| **value == request.value);
            let result = if rank.is_some() { ECacheResult::Hit } else { ECacheResult::Miss };
            let rank = rank.and_then(|rank| u64::try_from(rank).ok()).unwrap_or(0);
            Rank::ElementRank(RankResponsePart { result: result.into(), rank })
        }
        None => Rank::Missing(SortedSetMissing {}),
    };
    Ok(SortedSetGetRankResponse { rank: Some(rank) })
}

pub(crate) fn length(
    items: &mut Items<'_>,
    request: SortedSetLengthRequest,
) -> Result<SortedSetLengthResponse, ItemError> {
    use sorted_set_length_response::{Found, Missing, SortedSet};
    let set = match existing(items, &request.set_name)? {
        Some(set) => SortedSet::Found(Found { length: response_length(set.scores.len()) }),
        None => SortedSet::Missing(Missing {}),
    };
    Ok(SortedSetLengthResponse { sorted_set: Some(set) })
}

pub(crate) fn length_by_score(
    items: &mut Items<'_>,
    request: SortedSetLengthByScoreRequest,
) -> Result<SortedSetLengthByScoreResponse, ItemError> {
    use sorted_set_length_by_score_response::{Found, Missing, SortedSet};
    let above = |score: f64| match request.min {
        Some(Min::InclusiveMin(min)) => score >= min,
        Some(Min::ExclusiveMin(min)) => score > min,
        Some(Min::UnboundedMin(_)) | None => true,
    };
    let below = |score: f64| match request.max {
        Some(Max::InclusiveMax(max)) => score <= max,
        Some(Max::ExclusiveMax(max)) => score < max,
        Some(Max::UnboundedMax(_)) | None => true,
    };
    let set = match existing(items, &request.set_name)? {
        Some(set) => {
            let within = set.scores.values().filter(|score| above(**score) && below(**score)).count();
            SortedSet::Found(Found { length: response_length(within) })
        }
        None => SortedSet::Missing(Missing {}),
    };
    Ok(SortedSetLengthByScoreResponse { sorted_set: Some(set) })
}

/// Stores the union of sorted sets in place of the item of this name; deletes it if the union is empty.
pub(crate) fn union_store(
    items: &mut Items<'_>,
    request: SortedSetUnionStoreRequest,
) -> Result<SortedSetUnionStoreResponse, ItemError> {
    let expires = items.expiry(request.ttl_milliseconds)?;
    let aggregate = request.aggregate();
    match request.sources.len() {
        0 => return Err(ItemError::Missing("sources")),
        sources if sources > MAX_SOURCES => return Err(ItemError::TooManySources(sources)),
        _ => {}
    }
    let mut union = Scores::default();
    for Source { set_name, weight } in &request.sources {
        let Some(source) = existing(items, set_name)? else { continue };
        for (value, score) in &source.scores {
            let weighted = number(score * f64::from(*weight))?;
            let score = match (union.scores.get(value), aggregate) {
                (None, _) => weighted,
                (Some(score), AggregateFunction::Sum) => number(score + weighted)?,
                (Some(score), AggregateFunction::Min) => score.min(weighted),
                (Some(score), AggregateFunction::Max) => score.max(weighted),
            };
            union.insert(value.clone(), score);
        }
    }
    existing(items, &request.set_name)?;
    let length = response_length(union.scores.len());
    if length == 0 {
        items.remove(&request.set_name);
    } else {
        items.put(request.set_name, union.into_value(), expires)?;
    }
    Ok(SortedSetUnionStoreResponse { length })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use momento_protos::cache_client::sorted_set_fetch_request::by_score::Score;
    use momento_protos::cache_client::sorted_set_fetch_request::{ByIndex, ByScore};
    use momento_protos::cache_client::sorted_set_remove_request::{All, Some as SomeValues};

    use super::super::scalar::{self, tests::set_request};
    use super::super::{MAX_ITEM_BYTES, OVERHEAD_BYTES, Store};
    use super::*;

    fn put_into(items: &mut Items<'_>, name: &str, elements: &[(&str, f64)]) -> Result<(), ItemError> {
        let element =
            |(value, score): &(&str, f64)| SortedSetElement { value: value.as_bytes().into(), score: *score };
        let request = SortedSetPutRequest {
            set_name: name.as_bytes().into(),
            elements: elements.iter().map(element).collect(),
            ttl_milliseconds: 1_000,
            refresh_ttl: false,
        };
        put(items, request).map(|_| ())
    }

    fn add(items: &mut Items<'_>, value: &str, amount: f64) -> Result<f64, ItemError> {
        let request = SortedSetIncrementRequest {
            set_name: b"set".into(),
            value: value.as_bytes().into(),
            amount,
            ttl_milliseconds: 5_000,
            refresh_ttl: true,
        };
        increment(items, request).map(|response| response.score)
    }

    /// Returns the elements as `value=score`; `None` if the set does not exist.
    fn fetch_range(
        items: &mut Items<'_>,
        name: &str,
        order: Order,
        range: Option<Range>,
    ) -> Option<Vec<String>> {
        let request = SortedSetFetchRequest {
            set_name: name.as_bytes().into(),
            order: order.into(),
            with_scores: true,
            range,
        };
        match fetch(items, request).unwrap().sorted_set.unwrap() {
            sorted_set_fetch_response::SortedSet::Missing(_) => None,
            sorted_set_fetch_response::SortedSet::Found(found) => match found.elements.unwrap() {
                Elements::Values(_) => panic!("the request asks for scores"),
                Elements::ValuesWithScores(elements) => {
                    let text = |element: &SortedSetElement| {
                        format!("{}={}", String::from_utf8_lossy(&element.value), element.score)
                    };
                    Some(elements.elements.iter().map(text).collect())
                }
            },
        }
    }

    fn fetched(items: &mut Items<'_>) -> Option<Vec<String>> {
        fetch_range(items, "set", Order::Ascending, None)
    }

    #[tokio::test]
    async fn orders_by_score_and_then_by_value() {
        let mut store = Store::new(10_000);
        let mut items = store.cache("cache");
        assert_eq!(fetched(&mut items), None);
        put_into(&mut items, "set", &[("b", 2.0), ("z", -1.5), ("a", 2.0), ("c", 9.0)]).unwrap();
        put_into(&mut items, "set", &[("c", 1.0)]).unwrap();
        assert_eq!(fetched(&mut items).unwrap(), ["z=-1.5", "c=1", "a=2", "b=2"]);
        let descending = fetch_range(&mut items, "set", Order::Descending, None);
        assert_eq!(descending.unwrap(), ["b=2", "a=2", "c=1", "z=-1.5"]);
        assert_eq!(items.store.bytes, OVERHEAD_BYTES + 3 + 4 * (OVERHEAD_BYTES + 1));
    }

    #[tokio::test]
    async fn fetches_by_index_and_by_score() {
        let mut store = Store::new(10_000);
        let mut items = store.cache("cache");
        put_into(&mut items, "set", &[("a", 1.0), ("b", 2.0), ("c", 3.0), ("d", 4.0)]).unwrap();
        let by_index = |start, end| {
            Some(Range::ByIndex(ByIndex {
                start: Some(by_index::Start::InclusiveStartIndex(start)),
                end: Some(by_index::End::ExclusiveEndIndex(end)),
            }))
        };
        let by_score = |bounds: std::ops::RangeInclusive<f64>, exclusive, offset, count| {
            let bound = |score| Score { score, exclusive };
            Some(Range::ByScore(ByScore {
                offset,
                count,
                min: Some(by_score::Min::MinScore(bound(*bounds.start()))),
                max: Some(by_score::Max::MaxScore(bound(*bounds.end()))),
            }))
        };
        for (order, range, expected) in [
            (Order::Ascending, by_index(1, 3), &["b=2", "c=3"][..]),
            (Order::Descending, by_index(0, -3), &["d=4"]),
            (Order::Ascending, by_index(9, 12), &[]),
            (Order::Ascending, by_score(2.0..=4.0, false, 0, -1), &["b=2", "c=3", "d=4"]),
            (Order::Ascending, by_score(2.0..=4.0, true, 0, -1), &["c=3"]),
            (Order::Descending, by_score(1.0..=4.0, false, 1, 2), &["c=3", "b=2"]),
            (Order::Ascending, by_score(1.0..=4.0, false, 9, -1), &[]),
            (Order::Ascending, by_score(1.0..=4.0, false, 0, 0), &[]),
        ] {
            let case = format!("{order:?} {range:?}");
            assert_eq!(fetch_range(&mut items, "set", order, range).unwrap(), expected, "{case}");
        }
        let length = |items: &mut Items<'_>, min, max| {
            let request =
                SortedSetLengthByScoreRequest { set_name: b"set".into(), min: Some(min), max: Some(max) };
            match length_by_score(items, request).unwrap().sorted_set.unwrap() {
                sorted_set_length_by_score_response::SortedSet::Found(found) => found.length,
                sorted_set_length_by_score_response::SortedSet::Missing(_) => panic!("the set exists"),
            }
        };
        assert_eq!(length(&mut items, Min::InclusiveMin(2.0), Max::InclusiveMax(4.0)), 3);
        assert_eq!(length(&mut items, Min::ExclusiveMin(2.0), Max::ExclusiveMax(4.0)), 1);
    }

    #[tokio::test]
    async fn returns_ranks_and_scores_of_existing_values() {
        let mut store = Store::new(10_000);
        let mut items = store.cache("cache");
        let rank = |items: &mut Items<'_>, value: &str, order: sorted_set_get_rank_request::Order| {
            let request = SortedSetGetRankRequest {
                set_name: b"set".into(),
                value: value.as_bytes().into(),
                order: order.into(),
            };
            match get_rank(items, request).unwrap().rank.unwrap() {
                sorted_set_get_rank_response::Rank::ElementRank(part) => Some((part.result(), part.rank)),
                sorted_set_get_rank_response::Rank::Missing(_) => None,
            }
        };
        let (up, down) =
            (sorted_set_get_rank_request::Order::Ascending, sorted_set_get_rank_request::Order::Descending);
        assert_eq!(rank(&mut items, "a", up), None);
        put_into(&mut items, "set", &[("a", 1.0), ("b", 2.0), ("c", 3.0)]).unwrap();
        assert_eq!(rank(&mut items, "a", up), Some((ECacheResult::Hit, 0)));
        assert_eq!(rank(&mut items, "a", down), Some((ECacheResult::Hit, 2)));
        assert_eq!(rank(&mut items, "no", down), Some((ECacheResult::Miss, 0)));
        let values = vec![b"no".to_vec(), b"c".to_vec()];
        let request = SortedSetGetScoreRequest { set_name: b"set".into(), values };
        match get_score(&mut items, request).unwrap().sorted_set.unwrap() {
            sorted_set_get_score_response::SortedSet::Found(found) => {
                let parts: Vec<_> =
                    found.elements.iter().map(|part| (part.result(), part.score.to_string())).collect();
                assert_eq!(
                    parts,
                    [(ECacheResult::Miss, "0".to_owned()), (ECacheResult::Hit, "3".to_owned())]
                );
            }
            sorted_set_get_score_response::SortedSet::Missing(_) => panic!("the set exists"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn increments_score_and_refreshes_ttl() {
        let mut store = Store::new(10_000);
        put_into(&mut store.cache("cache"), "set", &[("a", 1.0)]).unwrap();
        assert_eq!(add(&mut store.cache("cache"), "a", 0.5), Ok(1.5));
        assert_eq!(add(&mut store.cache("cache"), "b", -2.0), Ok(-2.0));
        tokio::time::advance(Duration::from_millis(4_999)).await;
        let mut items = store.cache("cache");
        assert_eq!(fetched(&mut items).unwrap(), ["b=-2", "a=1.5"]);
        assert_eq!(add(&mut items, "a", f64::NAN), Err(ItemError::NotANumber));
        assert_eq!(add(&mut items, "a", f64::INFINITY), Ok(f64::INFINITY));
        assert_eq!(add(&mut items, "a", f64::NEG_INFINITY), Err(ItemError::NotANumber));
    }

    #[tokio::test]
    async fn removes_values_and_deletes_empty_set() {
        let mut store = Store::new(10_000);
        let mut items = store.cache("cache");
        let remove_from = |items: &mut Items<'_>, remove_elements| {
            remove(items, SortedSetRemoveRequest { set_name: b"set".into(), remove_elements })
        };
        put_into(&mut items, "set", &[("a", 1.0), ("b", 2.0)]).unwrap();
        let some = SomeValues { values: vec![b"a".to_vec(), b"no".to_vec()] };
        remove_from(&mut items, Some(RemoveElements::Some(some))).unwrap();
        assert_eq!(fetched(&mut items).unwrap(), ["b=2"]);
        assert_eq!(remove_from(&mut items, None), Err(ItemError::Missing("elements to remove")));
        remove_from(&mut items, Some(RemoveElements::All(All {}))).unwrap();
        assert_eq!((fetched(&mut items), items.store.bytes), (None, 0));
    }

    #[tokio::test]
    async fn stores_weighted_union() {
        let mut store = Store::new(10_000);
        let mut items = store.cache("cache");
        let union = |items: &mut Items<'_>, sources: &[(&str, f32)], aggregate: AggregateFunction| {
            let source =
                |(name, weight): &(&str, f32)| Source { set_name: name.as_bytes().into(), weight: *weight };
            let request = SortedSetUnionStoreRequest {
                set_name: b"set".into(),
                sources: sources.iter().map(source).collect(),
                aggregate: aggregate.into(),
                ttl_milliseconds: 1_000,
            };
            union_store(items, request).map(|response| response.length)
        };
        put_into(&mut items, "one", &[("a", 1.0), ("b", 2.0)]).unwrap();
        put_into(&mut items, "two", &[("b", 5.0), ("c", -1.0)]).unwrap();
        let sources = [("one", 2.0), ("two", 1.0), ("missing", 1.0)];
        for (aggregate, expected) in [
            (AggregateFunction::Sum, ["c=-1", "a=2", "b=9"]),
            (AggregateFunction::Min, ["c=-1", "a=2", "b=4"]),
            (AggregateFunction::Max, ["c=-1", "a=2", "b=5"]),
        ] {
            assert_eq!(union(&mut items, &sources, aggregate), Ok(3));
            assert_eq!(fetched(&mut items).unwrap(), expected, "{aggregate:?}");
        }
        let sum = AggregateFunction::Sum;
        assert_eq!(union(&mut items, &[("one", -0.0)], sum), Ok(2));
        assert_eq!(fetched(&mut items).unwrap(), ["a=0", "b=0"], "0 has no sign");
        assert_eq!(union(&mut items, &[], sum), Err(ItemError::Missing("sources")));
        let many = vec![("one", 1.0); MAX_SOURCES + 1];
        assert_eq!(union(&mut items, &many, sum), Err(ItemError::TooManySources(MAX_SOURCES + 1)));
        assert_eq!(union(&mut items, &[("one", f32::NAN)], sum), Err(ItemError::NotANumber));
        assert_eq!(fetched(&mut items).unwrap(), ["a=0", "b=0"], "a failed call changes nothing");
        assert_eq!(union(&mut items, &[("missing", 1.0)], sum), Ok(0));
        assert_eq!(fetched(&mut items), None);
    }

    #[tokio::test]
    async fn rejects_scalar_large_value_and_set_beyond_limit() {
        let mut store = Store::new(1_000);
        let mut items = store.cache("cache");
        let large = put_into(&mut items, "set", &[(&"x".repeat(MAX_ITEM_BYTES + 1), 1.0)]);
        assert_eq!(large, Err(ItemError::TooLarge { what: "element", bytes: MAX_ITEM_BYTES + 1 }));
        put_into(&mut items, "set", &[("a", 1.0)]).unwrap();
        let full = put_into(&mut items, "set", &[(&"x".repeat(1_000), 1.0)]);
        assert_eq!(full, Err(ItemError::OutOfMemory(1_000)));
        assert_eq!(fetched(&mut items).unwrap(), ["a=1"], "a failed call changes nothing");
        scalar::set(&mut items, set_request("set", "scalar", 1_000)).unwrap();
        let wrong = ItemError::WrongType { actual: "scalar", expected: "sorted set" };
        assert_eq!(put_into(&mut items, "set", &[("a", 1.0)]), Err(wrong.clone()));
        assert_eq!(add(&mut items, "a", 1.0), Err(wrong));
    }
}
