//! Calls on lists.

use std::collections::VecDeque;

use momento_protos::cache_client::list_erase_request::Erase;
use momento_protos::cache_client::list_remove_request::Remove;
use momento_protos::cache_client::{
    ListConcatenateBackRequest, ListConcatenateBackResponse, ListConcatenateFrontRequest,
    ListConcatenateFrontResponse, ListEraseRequest, ListEraseResponse, ListFetchRequest, ListFetchResponse,
    ListLengthRequest, ListLengthResponse, ListPopBackRequest, ListPopBackResponse, ListPopFrontRequest,
    ListPopFrontResponse, ListPushBackRequest, ListPushBackResponse, ListPushFrontRequest,
    ListPushFrontResponse, ListRange, ListRemoveRequest, ListRemoveResponse, ListRetainRequest,
    ListRetainResponse, list_erase_response, list_fetch_request, list_fetch_response, list_length_response,
    list_pop_back_response, list_pop_front_response, list_remove_response, list_retain_request,
    list_retain_response,
};

use super::{Content, ItemError, Items, check_elements, element_charge, index_range, response_length};

/// The elements of a list, with the bytes that they count for.
#[derive(Debug, Default)]
pub(crate) struct Elements {
    elements: VecDeque<Vec<u8>>,
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

/// An end of a list.
#[derive(Clone, Copy, Debug)]
enum End {
    Front,
    Back,
}

impl Elements {
    fn push(&mut self, end: End, element: Vec<u8>) {
        self.bytes += element_charge(&element);
        match end {
            End::Front => self.elements.push_front(element),
            End::Back => self.elements.push_back(element),
        }
    }

    fn pop(&mut self, end: End) -> Option<Vec<u8>> {
        let element = match end {
            End::Front => self.elements.pop_front(),
            End::Back => self.elements.pop_back(),
        }?;
        self.bytes -= element_charge(&element);
        Some(element)
    }

    /// Keeps the elements for which `keep` returns true, by their index.
    fn retain(&mut self, mut keep: impl FnMut(usize, &[u8]) -> bool) {
        let mut index = 0;
        self.elements.retain(|element| {
            let kept = keep(index, element);
            index += 1;
            self.bytes -= if kept { 0 } else { element_charge(element) };
            kept
        });
    }

    fn length(&self) -> u32 {
        response_length(self.elements.len())
    }
}

/// The values that a call adds to one end of a list, and how.
struct Addition {
    name: Vec<u8>,
    values: Vec<Vec<u8>>,
    ttl_milliseconds: u64,
    refresh_ttl: bool,
    /// The elements that the list keeps: the other end loses the excess. 0 is without limit.
    truncate_to_size: u32,
}

/// Adds values in their order, and returns the new length of the list.
fn add(items: &mut Items<'_>, end: End, addition: Addition) -> Result<u32, ItemError> {
    let Addition { name, values, ttl_milliseconds, refresh_ttl, truncate_to_size } = addition;
    let lifetime = items.lifetime(ttl_milliseconds, refresh_ttl)?;
    check_elements(&values)?;
    let bytes = values.iter().map(|value| element_charge(value)).sum();
    items.add(name, bytes, lifetime, |list: &mut Elements| {
        let other_end = match end {
            End::Front => {
                values.into_iter().rev().for_each(|value| list.push(end, value));
                End::Back
            }
            End::Back => {
                for value in values {
                    list.push(end, value);
                }
                End::Front
            }
        };
        while truncate_to_size > 0 && list.length() > truncate_to_size {
            list.pop(other_end);
        }
        Ok(list.length())
    })
}

pub(crate) fn push_front(
    items: &mut Items<'_>,
    request: ListPushFrontRequest,
) -> Result<ListPushFrontResponse, ItemError> {
    let addition = Addition {
        name: request.list_name,
        values: vec![request.value],
        ttl_milliseconds: request.ttl_milliseconds,
        refresh_ttl: request.refresh_ttl,
        truncate_to_size: request.truncate_back_to_size,
    };
    Ok(ListPushFrontResponse { list_length: add(items, End::Front, addition)? })
}

pub(crate) fn push_back(
    items: &mut Items<'_>,
    request: ListPushBackRequest,
) -> Result<ListPushBackResponse, ItemError> {
    let addition = Addition {
        name: request.list_name,
        values: vec![request.value],
        ttl_milliseconds: request.ttl_milliseconds,
        refresh_ttl: request.refresh_ttl,
        truncate_to_size: request.truncate_front_to_size,
    };
    Ok(ListPushBackResponse { list_length: add(items, End::Back, addition)? })
}

pub(crate) fn concatenate_front(
    items: &mut Items<'_>,
    request: ListConcatenateFrontRequest,
) -> Result<ListConcatenateFrontResponse, ItemError> {
    let addition = Addition {
        name: request.list_name,
        values: request.values,
        ttl_milliseconds: request.ttl_milliseconds,
        refresh_ttl: request.refresh_ttl,
        truncate_to_size: request.truncate_back_to_size,
    };
    Ok(ListConcatenateFrontResponse { list_length: add(items, End::Front, addition)? })
}

pub(crate) fn concatenate_back(
    items: &mut Items<'_>,
    request: ListConcatenateBackRequest,
) -> Result<ListConcatenateBackResponse, ItemError> {
    let addition = Addition {
        name: request.list_name,
        values: request.values,
        ttl_milliseconds: request.ttl_milliseconds,
        refresh_ttl: request.refresh_ttl,
        truncate_to_size: request.truncate_front_to_size,
    };
    Ok(ListConcatenateBackResponse { list_length: add(items, End::Back, addition)? })
}

/// Removes the element at one end, and returns it with the new length of the list; `None` if the list does not exist.
fn pop(items: &mut Items<'_>, name: &[u8], end: End) -> Result<Option<(Vec<u8>, u32)>, ItemError> {
    items.alter(name, |list: &mut Elements, _| {
        let element = list.pop(end).expect("a list without elements does not exist");
        (element, list.length())
    })
}

pub(crate) fn pop_front(
    items: &mut Items<'_>,
    request: ListPopFrontRequest,
) -> Result<ListPopFrontResponse, ItemError> {
    use list_pop_front_response::{Found, List, Missing};
    let list = match pop(items, &request.list_name, End::Front)? {
        Some((front, list_length)) => List::Found(Found { front, list_length }),
        None => List::Missing(Missing {}),
    };
    Ok(ListPopFrontResponse { list: Some(list) })
}

pub(crate) fn pop_back(
    items: &mut Items<'_>,
    request: ListPopBackRequest,
) -> Result<ListPopBackResponse, ItemError> {
    use list_pop_back_response::{Found, List, Missing};
    let list = match pop(items, &request.list_name, End::Back)? {
        Some((back, list_length)) => List::Found(Found { back, list_length }),
        None => List::Missing(Missing {}),
    };
    Ok(ListPopBackResponse { list: Some(list) })
}

/// Removes ranges of the list as it is before the call, or all of it.
pub(crate) fn erase(
    items: &mut Items<'_>,
    request: ListEraseRequest,
) -> Result<ListEraseResponse, ItemError> {
    use list_erase_response::{Found, List, Missing};
    let mut ranges = match request.erase.ok_or(ItemError::Missing("range"))? {
        Erase::Some(ranges) => ranges.ranges,
        Erase::All(_) => vec![ListRange { begin_index: 0, count: u32::MAX }],
    };
    ranges.sort_unstable_by_key(|range| range.begin_index);
    let mut ranges = ranges.into_iter().peekable();
    let erased = items.alter(&request.list_name, |list: &mut Elements, _| {
        // The end of all ranges that begin before the index.
        let mut end = 0;
        list.retain(|index, _| {
            let index = u64::try_from(index).unwrap_or(u64::MAX);
            while let Some(range) = ranges.next_if(|range| u64::from(range.begin_index) <= index) {
                end = end.max(u64::from(range.begin_index) + u64::from(range.count));
            }
            index >= end
        });
        list.length()
    })?;
    let list = erased.map_or(List::Missing(Missing {}), |list_length| List::Found(Found { list_length }));
    Ok(ListEraseResponse { list: Some(list) })
}

pub(crate) fn remove(
    items: &mut Items<'_>,
    request: ListRemoveRequest,
) -> Result<ListRemoveResponse, ItemError> {
    use list_remove_response::{Found, List, Missing};
    let Remove::AllElementsWithValue(value) = request.remove.ok_or(ItemError::Missing("value"))?;
    let removed = items.alter(&request.list_name, |list: &mut Elements, _| {
        list.retain(|_, element| element != value);
        list.length()
    })?;
    let list = removed.map_or(List::Missing(Missing {}), |list_length| List::Found(Found { list_length }));
    Ok(ListRemoveResponse { list: Some(list) })
}

/// Removes all elements outside a range.
pub(crate) fn retain(
    items: &mut Items<'_>,
    request: ListRetainRequest,
) -> Result<ListRetainResponse, ItemError> {
    use list_retain_request::{EndIndex, StartIndex};
    use list_retain_response::{Found, List, Missing};
    let refreshed = request.refresh_ttl.then(|| items.expiry(request.ttl_milliseconds)).transpose()?;
    let start = match request.start_index {
        Some(StartIndex::InclusiveStart(start)) => Some(start),
        Some(StartIndex::UnboundedStart(_)) | None => None,
    };
    let end = match request.end_index {
        Some(EndIndex::ExclusiveEnd(end)) => Some(end),
        Some(EndIndex::UnboundedEnd(_)) | None => None,
    };
    let retained = items.alter(&request.list_name, |list: &mut Elements, expires| {
        let range = index_range(list.elements.len(), start, end);
        list.retain(|index, _| range.contains(&index));
        *expires = refreshed.unwrap_or(*expires);
        list.length()
    })?;
    let list = retained.map_or(List::Missing(Missing {}), |list_length| List::Found(Found { list_length }));
    Ok(ListRetainResponse { list: Some(list) })
}

pub(crate) fn fetch(
    items: &mut Items<'_>,
    request: ListFetchRequest,
) -> Result<ListFetchResponse, ItemError> {
    use list_fetch_request::{EndIndex, StartIndex};
    use list_fetch_response::{Found, List, Missing};
    let start = match request.start_index {
        Some(StartIndex::InclusiveStart(start)) => Some(start),
        Some(StartIndex::UnboundedStart(_)) | None => None,
    };
    let end = match request.end_index {
        Some(EndIndex::ExclusiveEnd(end)) => Some(end),
        Some(EndIndex::UnboundedEnd(_)) | None => None,
    };
    let list = match items.read::<Elements>(&request.list_name)? {
        Some(list) => {
            let range = index_range(list.elements.len(), start, end);
            List::Found(Found { values: list.elements.range(range).cloned().collect() })
        }
        None => List::Missing(Missing {}),
    };
    Ok(ListFetchResponse { list: Some(list) })
}

pub(crate) fn length(
    items: &mut Items<'_>,
    request: ListLengthRequest,
) -> Result<ListLengthResponse, ItemError> {
    use list_length_response::{Found, List, Missing};
    let list = match items.read::<Elements>(&request.list_name)? {
        Some(list) => List::Found(Found { length: list.length() }),
        None => List::Missing(Missing {}),
    };
    Ok(ListLengthResponse { list: Some(list) })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use momento_protos::cache_client::list_erase_request::{All, ListRanges};

    use super::super::scalar::{self, tests::set_request};
    use super::super::{MAX_ITEM_BYTES, OVERHEAD_BYTES, Store};
    use super::*;

    fn bytes(texts: &[&str]) -> Vec<Vec<u8>> {
        texts.iter().map(|text| text.as_bytes().to_vec()).collect()
    }

    fn add_texts(items: &mut Items<'_>, end: End, texts: &[&str], size: u32) -> Result<u32, ItemError> {
        let (name, values) = (b"list".to_vec(), bytes(texts));
        let addition =
            Addition { name, values, ttl_milliseconds: 1_000, refresh_ttl: false, truncate_to_size: size };
        add(items, end, addition)
    }

    /// Returns the elements from one index to another; `None` if the list does not exist.
    fn slice(items: &mut Items<'_>, start: i32, end: Option<i32>) -> Option<Vec<String>> {
        let request = ListFetchRequest {
            list_name: b"list".into(),
            start_index: Some(list_fetch_request::StartIndex::InclusiveStart(start)),
            end_index: end.map(list_fetch_request::EndIndex::ExclusiveEnd),
        };
        match fetch(items, request).unwrap().list.unwrap() {
            list_fetch_response::List::Missing(_) => None,
            list_fetch_response::List::Found(found) => {
                Some(found.values.into_iter().map(|value| String::from_utf8(value).unwrap()).collect())
            }
        }
    }

    fn fetched(items: &mut Items<'_>) -> Option<Vec<String>> {
        slice(items, 0, None)
    }

    #[tokio::test]
    async fn adds_to_both_ends_in_order_and_truncates_other_end() {
        let mut store = Store::new(10_000);
        let mut items = store.cache("cache");
        assert_eq!(fetched(&mut items), None);
        assert_eq!(add_texts(&mut items, End::Back, &[], 0), Ok(0));
        assert_eq!(fetched(&mut items), None, "a list without elements does not exist");
        assert_eq!(add_texts(&mut items, End::Back, &["b", "c"], 0), Ok(2));
        assert_eq!(add_texts(&mut items, End::Front, &["0", "a"], 0), Ok(4));
        assert_eq!(fetched(&mut items).unwrap(), ["0", "a", "b", "c"]);
        assert_eq!(add_texts(&mut items, End::Back, &["d"], 3), Ok(3));
        assert_eq!(fetched(&mut items).unwrap(), ["b", "c", "d"]);
        assert_eq!(add_texts(&mut items, End::Front, &["x", "y", "z"], 2), Ok(2));
        assert_eq!(fetched(&mut items).unwrap(), ["x", "y"]);
        assert_eq!(items.store.bytes, OVERHEAD_BYTES + 4 + 2 * (OVERHEAD_BYTES + 1));
    }

    #[tokio::test]
    async fn pops_both_ends_and_deletes_empty_list() {
        let mut store = Store::new(10_000);
        let mut items = store.cache("cache");
        assert_eq!(pop(&mut items, b"list", End::Front), Ok(None));
        add_texts(&mut items, End::Back, &["a", "b", "c"], 0).unwrap();
        assert_eq!(pop(&mut items, b"list", End::Front), Ok(Some((b"a".to_vec(), 2))));
        assert_eq!(pop(&mut items, b"list", End::Back), Ok(Some((b"c".to_vec(), 1))));
        assert_eq!(pop(&mut items, b"list", End::Back), Ok(Some((b"b".to_vec(), 0))));
        assert_eq!((fetched(&mut items), items.store.bytes), (None, 0));
    }

    #[tokio::test]
    async fn fetches_slice_and_retains_range() {
        let mut store = Store::new(10_000);
        let mut items = store.cache("cache");
        add_texts(&mut items, End::Back, &["a", "b", "c", "d", "e"], 0).unwrap();
        assert_eq!(slice(&mut items, 1, Some(3)).unwrap(), ["b", "c"]);
        assert_eq!(slice(&mut items, -2, None).unwrap(), ["d", "e"]);
        assert_eq!(slice(&mut items, 9, None), Some(vec![]));
        let request = |start, end| ListRetainRequest {
            list_name: b"list".into(),
            ttl_milliseconds: 0,
            refresh_ttl: false,
            start_index: Some(list_retain_request::StartIndex::InclusiveStart(start)),
            end_index: Some(list_retain_request::EndIndex::ExclusiveEnd(end)),
        };
        retain(&mut items, request(1, -1)).unwrap();
        assert_eq!(fetched(&mut items).unwrap(), ["b", "c", "d"]);
        retain(&mut items, request(5, 9)).unwrap();
        assert_eq!((fetched(&mut items), items.store.bytes), (None, 0));
        let missing = list_retain_response::List::Missing(list_retain_response::Missing {});
        assert_eq!(retain(&mut items, request(0, 1)).unwrap().list, Some(missing));
    }

    #[tokio::test]
    async fn removes_values_and_erases_ranges() {
        let mut store = Store::new(10_000);
        let mut items = store.cache("cache");
        add_texts(&mut items, End::Back, &["a", "b", "a", "c", "d", "e", "f"], 0).unwrap();
        let request = ListRemoveRequest {
            list_name: b"list".into(),
            remove: Some(Remove::AllElementsWithValue(b"a".into())),
        };
        let found = list_remove_response::List::Found(list_remove_response::Found { list_length: 5 });
        assert_eq!(remove(&mut items, request).unwrap().list, Some(found));
        let erase_ranges = |items: &mut Items<'_>, erased| {
            let request = ListEraseRequest { list_name: b"list".into(), erase: Some(erased) };
            match erase(items, request).unwrap().list.unwrap() {
                list_erase_response::List::Found(found) => Some(found.list_length),
                list_erase_response::List::Missing(_) => None,
            }
        };
        // Overlapping, out of order, and beyond the end.
        let ranges = [(3, 1), (0, 1), (9, u32::MAX), (0, 2)];
        let ranges = ranges.map(|(begin_index, count)| ListRange { begin_index, count }).into();
        assert_eq!(erase_ranges(&mut items, Erase::Some(ListRanges { ranges })), Some(2));
        assert_eq!(fetched(&mut items).unwrap(), ["d", "f"].map(str::to_owned).to_vec());
        assert_eq!(erase_ranges(&mut items, Erase::All(All {})), Some(0));
        assert_eq!((fetched(&mut items), items.store.bytes), (None, 0));
        assert_eq!(erase_ranges(&mut items, Erase::All(All {})), None);
    }

    #[tokio::test(start_paused = true)]
    async fn keeps_ttl_unless_request_refreshes_it() {
        let mut store = Store::new(10_000);
        let push = |items: &mut Items<'_>, ttl_milliseconds, refresh_ttl| {
            push_back(
                items,
                ListPushBackRequest {
                    list_name: b"list".into(),
                    value: b"a".into(),
                    ttl_milliseconds,
                    refresh_ttl,
                    truncate_front_to_size: 0,
                },
            )
        };
        push(&mut store.cache("cache"), 1_000, false).unwrap();
        push(&mut store.cache("cache"), 5_000, false).unwrap();
        tokio::time::advance(Duration::from_millis(999)).await;
        assert_eq!(fetched(&mut store.cache("cache")).unwrap().len(), 2);
        push(&mut store.cache("cache"), 5_000, true).unwrap();
        tokio::time::advance(Duration::from_millis(4_999)).await;
        assert_eq!(fetched(&mut store.cache("cache")).unwrap().len(), 3);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(fetched(&mut store.cache("cache")), None);
        assert_eq!(push(&mut store.cache("cache"), 0, false), Err(ItemError::ZeroTtl));
    }

    #[tokio::test]
    async fn rejects_scalar_large_element_and_list_beyond_limit() {
        let mut store = Store::new(1_000);
        let mut items = store.cache("cache");
        let large = add_texts(&mut items, End::Back, &[&"x".repeat(MAX_ITEM_BYTES + 1)], 0);
        assert_eq!(large, Err(ItemError::TooLarge { what: "element", bytes: MAX_ITEM_BYTES + 1 }));
        add_texts(&mut items, End::Back, &["a"], 0).unwrap();
        let full = Err(ItemError::OutOfMemory(1_000));
        assert_eq!(add_texts(&mut items, End::Back, &[&"x".repeat(1_000)], 0), full);
        assert_eq!(fetched(&mut items).unwrap(), ["a"], "a failed call changes nothing");
        scalar::set(&mut items, set_request("list", "scalar", 1_000)).unwrap();
        let wrong = ItemError::WrongType { actual: "scalar", expected: "list" };
        assert_eq!(add_texts(&mut items, End::Back, &["a"], 0), Err(wrong.clone()));
        assert_eq!(pop(&mut items, b"list", End::Back), Err(wrong));
    }
}
