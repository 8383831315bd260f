//! A table of Amazon DynamoDB.
//!
//! ```toml
//! [[routes.destinations]]
//! dynamodb = { table = "messages", key = { id = "{event_id}" }, item = { text = "{text}" } }
//!
//! [[routes.destinations]]
//! dynamodb = { table = "rooms", key = { room = "{room}" }, update = { add = { messages = 1 } } }
//! ```
//!
//! A redelivered event puts its item once, because the key identifies the item. It increases a counter once, as long as
//! DynamoDB remembers the token of the transaction. An attribute with the id of the last event would not do: events are
//! redelivered out of order. A set of all ids would do until the item is full.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;
use toml::Spanned;

use super::ServiceRequest;
use super::content::{Attribute, Members, Value, ValueKeys, rendered};
use super::json::Json;
use super::limits::{
    DYNAMODB_ARN, DYNAMODB_DIGITS, DYNAMODB_ITEM_BYTES, DYNAMODB_KEY_NAME, DYNAMODB_NESTING,
    DYNAMODB_PARTITION_KEY_BYTES, DYNAMODB_SORT_KEY_BYTES, DYNAMODB_TABLE, DYNAMODB_TOKEN,
};
use super::service::{Fields, MakeRequest, RequestError, ServiceSettings};
use crate::file::Texts;
use crate::placeholder::Template;

/// A table, as a route names it.
#[derive(Clone, Debug)]
struct DynamoDb {
    table: Template,
    key: Members,
    write: Write,
}

#[derive(Clone, Debug)]
enum Write {
    Put { item: Members, unless_exists: bool },
    Update { set: Members, add: Members },
}

/// A write to one item of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The name or ARN of the table.
    pub table: String,
    /// The primary key of the item.
    pub key: BTreeMap<String, Attribute>,
    /// The change.
    pub change: Change,
}

/// A change of an item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Puts the item.
    Put {
        /// The attributes beside the key.
        item: BTreeMap<String, Attribute>,
        /// Puts the item only if the table has no item with the key.
        unless_exists: bool,
    },
    /// Changes the item, and creates it if the table has no item with the key.
    Update {
        /// The attributes to set.
        set: BTreeMap<String, Attribute>,
        /// The numbers to add.
        add: BTreeMap<String, Attribute>,
        /// The token of the transaction. DynamoDB does one of two changes with the same token within ten minutes.
        token: String,
    },
}

/// A table of Amazon DynamoDB.
#[derive(Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct DynamoDbKeys {
    /// The name or the ARN of the table, which may have placeholders.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    table: Spanned<String>,
    /// The primary key: the partition key, and the sort key if the table has one.
    #[cfg_attr(feature = "schema", schemars(with = "BTreeMap<String, ValueKeys>", extend("minProperties" = 1, "maxProperties" = 2)))]
    key: Spanned<BTreeMap<String, Spanned<ValueKeys>>>,
    /// Puts an item with these attributes beside the key. An attribute whose placeholders have no value is left out.
    #[cfg_attr(feature = "schema", schemars(with = "Option<BTreeMap<String, ValueKeys>>"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<Spanned<BTreeMap<String, Spanned<ValueKeys>>>>,
    /// Puts the item only if the table has no item with its key, so that a redelivered event is put once. Default: true.
    #[cfg_attr(feature = "schema", schemars(with = "Option<bool>"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    unless_exists: Option<Spanned<bool>>,
    /// Changes the item, and creates it if the table has no item with the key.
    #[cfg_attr(feature = "schema", schemars(with = "Option<UpdateKeys>"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    update: Option<Spanned<UpdateKeys>>,
}

/// A change of an item.
#[derive(Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateKeys {
    /// Attributes to set. An attribute whose placeholders have no value is left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "BTreeMap<String, ValueKeys>"))]
    set: BTreeMap<String, Spanned<ValueKeys>>,
    /// Numbers to add to attributes. An event that is redelivered within ten minutes counts once.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "BTreeMap<String, ValueKeys>"))]
    add: BTreeMap<String, Spanned<ValueKeys>>,
}

impl ServiceSettings for DynamoDbKeys {
    const KIND: &'static str = "dynamodb";

    fn defaults() -> serde_json::Value {
        json!({ "unless_exists": true })
    }

    fn build(self, texts: &mut Texts<'_, '_>) -> Option<Arc<dyn MakeRequest>> {
        let Self { table, key, item, unless_exists, update } = self;
        let key_span = key.span();
        let key = key.into_inner();
        if !(1..=2).contains(&key.len()) {
            let message = "the key has no attribute, or more than two; expected the partition key, and the sort key \
                           if the table has one";
            texts.fault(key_span.clone(), message);
        }
        for (name, value) in &key {
            if matches!(value.get_ref(), ValueKeys::Bool(_) | ValueKeys::Json { .. }) {
                let message = format!("`{name}` is in the key; expected a text or a number");
                texts.fault(value.span(), message);
            }
            if matches!(value.get_ref(), ValueKeys::Text(text) if text.is_empty()) {
                texts.fault(value.span(), format!("`{name}` is in the key, and is empty"));
            }
        }
        if let (Some(_), Some(update)) = (&item, &update) {
            texts.fault(update.span(), "`item` puts an item and `update` changes one; give one of the two");
        }
        if item.is_none() && update.is_none() {
            texts.lack(key_span, "missing key `item` or `update`; give one of the two");
        }
        if let (Some(_), Some(given)) = (&update, &unless_exists) {
            texts.fault(given.span(), "`unless_exists` belongs to `item`; leave it out");
        }
        let attributes = |update: &Spanned<UpdateKeys>| {
            let UpdateKeys { set, add } = update.get_ref();
            let spans = |(name, value): (&String, &Spanned<ValueKeys>)| (name.clone(), value.span());
            set.iter().chain(add).map(spans).collect::<Vec<_>>()
        };
        let others = item.iter().flat_map(|item| {
            item.get_ref().iter().map(|(name, value)| (name.clone(), value.span())).collect::<Vec<_>>()
        });
        let others: Vec<_> = others.chain(update.iter().flat_map(attributes)).collect();
        for (name, span) in key.iter().map(|(name, value)| (name.clone(), value.span())).chain(others.clone())
        {
            if name.is_empty() {
                texts.fault(span, "the name of the attribute is empty");
            } else if key.contains_key(&name) && name.chars().count() > DYNAMODB_KEY_NAME {
                let message = format!(
                    "the name of an attribute of the key has more than {DYNAMODB_KEY_NAME} characters"
                );
                texts.fault(span, message);
            }
        }
        for (name, span) in others {
            if key.contains_key(&name) {
                texts.fault(span, format!("`{name}` is in the key already; leave it out here"));
            }
        }
        let table = texts.name("table", &table, check_table);
        let key = read_all(key, "key", texts);
        let write = match (item, update) {
            (Some(item), _) => read_all(item.into_inner(), "attribute", texts).map(|item| Write::Put {
                item,
                unless_exists: unless_exists.is_none_or(Spanned::into_inner),
            }),
            (None, Some(update)) => read_update(update, texts),
            (None, None) => None,
        };
        Some(Arc::new(DynamoDb { table: table?, key: key?, write: write? }))
    }
}

/// Reads attributes, and checks those that are the same for every event.
fn read_all(
    given: BTreeMap<String, Spanned<ValueKeys>>,
    what: &str,
    texts: &mut Texts<'_, '_>,
) -> Option<Members> {
    let spans: BTreeMap<_, _> = given.iter().map(|(name, value)| (name.clone(), value.span())).collect();
    let members = Value::read_all(given, what, texts)?;
    for (name, span) in spans {
        let constant = members.get(&name).and_then(|value| value.constant(&name));
        if let Some(Ok(value)) = constant
            && let Err(message) = check_attribute(&name, &value)
        {
            texts.fault(span, message);
        }
    }
    Some(members)
}

fn read_update(update: Spanned<UpdateKeys>, texts: &mut Texts<'_, '_>) -> Option<Write> {
    let span = update.span();
    let UpdateKeys { set, add } = update.into_inner();
    if set.is_empty() && add.is_empty() {
        texts.lack(span, "missing key `set` or `add`; give what to change");
    }
    for (name, value) in &add {
        if set.contains_key(name) {
            texts.fault(value.span(), format!("`{name}` is in `set` too; give it in one of the two"));
        }
        if !matches!(value.get_ref(), ValueKeys::Integer(_) | ValueKeys::Float(_) | ValueKeys::Number { .. })
        {
            let message = format!("`{name}` is not a number; expected a number or {{ number = \"a text\" }}");
            texts.fault(value.span(), message);
        }
    }
    let set = read_all(set, "attribute", texts);
    let add = read_all(add, "attribute", texts);
    Some(Write::Update { set: set?, add: add? })
}

impl MakeRequest for DynamoDb {
    fn name(&self) -> &Template {
        &self.table
    }

    fn templates(&self) -> Vec<&Template> {
        std::iter::once(&self.table).chain(self.key.values().filter_map(Value::template)).collect()
    }

    fn request(&self, fields: &Fields<'_>) -> Result<ServiceRequest, RequestError> {
        let mut key = BTreeMap::new();
        for (name, value) in &self.key {
            // Other attributes can be left out. The key cannot.
            key.insert(name.clone(), value.render(name, fields)?);
        }
        let change = match &self.write {
            Write::Put { item, unless_exists } => {
                Change::Put { item: rendered(item, fields)?, unless_exists: *unless_exists }
            }
            Write::Update { set, add } => {
                let (set, add) = (rendered(set, fields)?, rendered(add, fields)?);
                if set.is_empty() && add.is_empty() {
                    return Err(RequestError::invalid(
                        "the event has no value for any attribute of `update`",
                    ));
                }
                let mut token = fields.id();
                // Each of its characters is one byte.
                token.truncate(DYNAMODB_TOKEN);
                Change::Update { set, add, token }
            }
        };
        check_key(&key)?;
        let row = Row { table: fields.name(&self.table, check_table)?, key, change };
        for (name, value) in row.attributes() {
            check_attribute(name, value).map_err(RequestError::invalid)?;
        }
        let bytes = row.bytes();
        if bytes > DYNAMODB_ITEM_BYTES {
            let message =
                format!("the item has {bytes} bytes; DynamoDB accepts at most {DYNAMODB_ITEM_BYTES}");
            return Err(RequestError::too_large(message));
        }
        Ok(row.into())
    }
}

/// Returns an error if `table` is not the name or the ARN of a table.
fn check_table(table: &str) -> Result<(), String> {
    let is_valid = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '.' | '-');
    let is_name = (3..=DYNAMODB_TABLE).contains(&table.len()) && table.chars().all(is_valid);
    if is_name || table.starts_with("arn:") && table.len() <= DYNAMODB_ARN {
        return Ok(());
    }
    Err(format!(
        "the table is not a valid name or ARN; expected 3 to {DYNAMODB_TABLE} of A-Z, a-z, 0-9, _, . and -, or \
         arn:aws:dynamodb:<region>:<account>:table/<name>"
    ))
}

/// Returns an error if no attribute can have this value.
fn check_attribute(name: &str, value: &Attribute) -> Result<(), String> {
    match value {
        Attribute::Text(_) | Attribute::Bool(_) => Ok(()),
        Attribute::Number(number) => check_number(name, number),
        Attribute::Json(document) => check_json(name, document.json(), DYNAMODB_NESTING),
    }
}

fn check_json(name: &str, json: &Json, levels: usize) -> Result<(), String> {
    let inside = || {
        let message = || format!("`{name}` is nested; DynamoDB accepts at most {DYNAMODB_NESTING} levels");
        levels.checked_sub(1).ok_or_else(message)
    };
    match json {
        Json::Null | Json::Bool(_) | Json::Text(_) => Ok(()),
        Json::Number(number) => check_number(name, number),
        Json::List(values) => {
            let levels = inside()?;
            values.iter().try_for_each(|value| check_json(name, value, levels))
        }
        Json::Object(members) => {
            let levels = inside()?;
            members.values().try_for_each(|value| check_json(name, value, levels))
        }
    }
}

/// Returns an error if a JSON number has too many digits, or is too large or too small. Zeros at both ends do not count.
fn check_number(name: &str, number: &str) -> Result<(), String> {
    let (digits, exponent) = number
        .trim_start_matches('-')
        .split_once(['e', 'E'])
        .unwrap_or((number.trim_start_matches('-'), "0"));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_start_matches('0');
    let count = significant.trim_end_matches('0').len();
    if count > DYNAMODB_DIGITS {
        return Err(format!("`{name}` has {count} digits; DynamoDB accepts at most {DYNAMODB_DIGITS}"));
    }
    // The power of ten of the first digit.
    let power = exponent
        .parse::<i128>()
        .ok()
        .zip(i128::try_from(significant.len()).ok())
        .zip(i128::try_from(fraction.len()).ok());
    let is_in_range = power.is_some_and(|((exponent, significant), fraction)| {
        (-130..=125).contains(&exponent.saturating_sub(fraction).saturating_add(significant - 1))
    });
    if count > 0 && !is_in_range {
        return Err(format!("`{name}` is not between 1E-130 and 9.9E+125, which DynamoDB accepts"));
    }
    Ok(())
}

/// Returns an error if no table accepts such a key. Only the table knows which of two attributes is the sort key, so the
/// larger one may be as large as a partition key.
fn check_key(key: &BTreeMap<String, Attribute>) -> Result<(), RequestError> {
    let mut sizes: Vec<_> = key
        .values()
        .filter_map(|value| match value {
            Attribute::Text(text) => Some(text.len()),
            Attribute::Number(_) | Attribute::Bool(_) | Attribute::Json(_) => None,
        })
        .collect();
    if sizes.contains(&0) {
        return Err(RequestError::invalid("an attribute of the key is empty; DynamoDB accepts no empty key"));
    }
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    let limits = [("partition", DYNAMODB_PARTITION_KEY_BYTES), ("sort", DYNAMODB_SORT_KEY_BYTES)];
    for (size, (kind, most)) in sizes.into_iter().zip(limits) {
        if size > most {
            return Err(RequestError::too_large(format!(
                "an attribute of the key has {size} bytes; DynamoDB accepts at most {most} in a {kind} key"
            )));
        }
    }
    Ok(())
}

impl Row {
    pub(super) fn destination(&self) -> &str {
        &self.table
    }

    /// Returns the minimum number of bytes of the item in the table.
    fn bytes(&self) -> usize {
        let bytes = |(name, value): (&String, &Attribute)| {
            name.len()
                + match value {
                    Attribute::Text(text) => text.len(),
                    // DynamoDB does not document an exact size for these.
                    Attribute::Number(_) | Attribute::Bool(_) | Attribute::Json(_) => 1,
                }
        };
        self.attributes().map(bytes).sum()
    }

    fn attributes(&self) -> impl Iterator<Item = (&String, &Attribute)> {
        let (first, second) = match &self.change {
            Change::Put { item, .. } => (item, None),
            Change::Update { set, add, .. } => (set, Some(add)),
        };
        self.key.iter().chain(first).chain(second.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::destination::service::tests::{faults, refused, request_of, shown};
    use crate::reason::Reason;

    #[test]
    fn puts_item_with_values_of_event() {
        let row = shown(
            "dynamodb = { table = 'rooms', key = { pk = '{room}', sk = { number = '{topic_sequence_number}' } },
             item = { text = '{text}', by = '{token_id}', seen = false } }",
        );
        assert_eq!(
            row,
            json!({
                "table": "rooms", "key": {"pk": "friends", "sk": 7},
                "change": {"put": {"item": {"text": "Hello", "seen": false}, "unless_exists": true}},
            })
        );
        let row = shown(
            "dynamodb = { table = 'rooms', key = { pk = '{room}' }, item = {}, unless_exists = false }",
        );
        assert_eq!(row["change"]["put"]["unless_exists"], false);
    }

    #[test]
    fn updates_item_with_same_token_at_each_delivery() {
        let settings = "dynamodb = { table = 'rooms', key = { pk = '{room}' },
            update = { set = { last = '{text}' }, add = { messages = 1, sum = { number = '{topic_sequence_number}' } } } }";
        let row = shown(settings);
        let token = row["change"]["update"]["token"].as_str().unwrap();
        assert_eq!(token.len(), DYNAMODB_TOKEN);
        assert_eq!(row["change"]["update"]["set"], json!({"last": "Hello"}));
        assert_eq!(row["change"]["update"]["add"], json!({"messages": 1, "sum": 7}));
        let again = request_of(settings, |event| event.publish_timestamp += 1).unwrap();
        assert_eq!(serde_json::to_value(again).unwrap(), row);
    }

    #[test]
    fn rejects_event_without_key_or_change() {
        let settings = "dynamodb = { table = 'table', key = { by = '{token_id}' }, item = {} }";
        assert_eq!(request_of(settings, |_| ()), Err(RequestError::Missing("token_id".to_owned())));
        let settings = "dynamodb = { table = 'table', key = { a = { number = '{text}' } }, item = {} }";
        assert_eq!(refused(settings, "x"), (Reason::InvalidArgument, "`a` is not a number".to_owned()));
        let settings =
            "dynamodb = { table = 'table', key = { a = 'b' }, update = { set = { by = '{token_id}' } } }";
        assert_eq!(refused(settings, "x").0, Reason::InvalidArgument);
    }

    #[test]
    fn rejects_items_over_maximum_size() {
        let settings = "dynamodb = { table = 'table', key = { a = 'b' }, item = { c = '{text}' } }";
        assert!(request_of(settings, |event| event.text = "x".repeat(DYNAMODB_ITEM_BYTES - 3)).is_ok());
        assert_eq!(refused(settings, &"x".repeat(DYNAMODB_ITEM_BYTES - 2)).0, Reason::TooLarge);
    }

    #[test]
    fn rejects_invalid_settings() {
        for (settings, says) in [
            ("key = {}, item = {}", "the key has no attribute, or more than two"),
            ("key = { a = 1, b = 2, c = 3 }, item = {}", "the key has no attribute, or more than two"),
            ("key = { a = true }, item = {}", "`a` is in the key; expected a text or a number"),
            ("key = { a = '' }, item = {}", "`a` is in the key, and is empty"),
            ("key = { '' = 'a' }, item = {}", "the name of the attribute is empty"),
            ("key = { a = 1 }, item = { '' = 2 }", "the name of the attribute is empty"),
            ("key = { a = 1 }, item = { a = 2 }", "`a` is in the key already"),
            ("key = { a = 1 }, update = { add = { a = 2 } }", "`a` is in the key already"),
            ("key = { a = 1 }", "missing key `item` or `update`"),
            ("key = { a = 1 }, item = {}, update = { add = { b = 1 } }", "give one of the two"),
            ("key = { a = 1 }, update = {}", "missing key `set` or `add`"),
            ("key = { a = 1 }, update = { add = { b = 'c' } }", "`b` is not a number"),
            ("key = { a = 1 }, update = { set = { b = 1 }, add = { b = 1 } }", "`b` is in `set` too"),
            ("key = { a = 1 }, update = { add = { b = 1 } }, unless_exists = true", "belongs to `item`"),
            ("key = { a = 1 }, update = { remove = ['b'] }", "unknown key `remove`; expected `set` or `add`"),
        ] {
            let told = faults(&format!("dynamodb = {{ table = 'table', {settings} }}"));
            assert!(told.len() == 1 && told[0].contains(says), "{settings}: {told:#?}");
        }
    }

    #[test]
    fn rejects_keys_longer_than_documented_limits() {
        let one = "dynamodb = { table = 'table', key = { id = '{text}' }, item = {} }";
        let two = "dynamodb = { table = 'table', key = { id = '{text}', at = '{text}' }, item = {} }";
        for (settings, most, kind) in
            [(one, DYNAMODB_PARTITION_KEY_BYTES, "partition"), (two, DYNAMODB_SORT_KEY_BYTES, "sort")]
        {
            assert!(request_of(settings, |event| event.text = "x".repeat(most)).is_ok(), "{kind}");
            let (reason, detail) = refused(settings, &"x".repeat(most + 1));
            let expected = format!(
                "an attribute of the key has {} bytes; DynamoDB accepts at most {most} in a {kind} key",
                most + 1
            );
            assert_eq!((reason, detail), (Reason::TooLarge, expected));
        }
        let name = |length: usize| {
            format!(
                "dynamodb = {{ table = 'table', key = {{ {} = '{{event_id}}' }}, item = {{}} }}",
                "k".repeat(length)
            )
        };
        assert!(request_of(&name(DYNAMODB_KEY_NAME), |_| ()).is_ok());
        let told = faults(&name(DYNAMODB_KEY_NAME + 1));
        assert!(told[0].contains("more than 255 characters"), "{told:?}");
    }

    #[test]
    fn rejects_invalid_tables_at_load_and_before_sending() {
        let longest = "t".repeat(DYNAMODB_TABLE);
        for (table, is_valid) in [
            ("T_1.a-b", true),
            (longest.as_str(), true),
            ("arn:aws:dynamodb:eu-west-1:123456789012:table/rooms", true),
            (&format!("{longest}t"), false),
            ("ab", false),
            ("my table", false),
        ] {
            let rest = "key = { a = 1 }, item = {}";
            let literal = format!("dynamodb = {{ table = '{table}', {rest} }}");
            let rendered = format!("dynamodb = {{ table = '{{json.to}}', {rest} }}");
            let text = format!(r#"{{"to":"{table}"}}"#);
            if is_valid {
                shown(&literal);
                assert!(request_of(&rendered, |event| event.text = text).is_ok(), "{table}");
            } else {
                assert!(faults(&literal)[0].contains("the table is not a valid name or ARN"), "{table}");
                assert_eq!(refused(&rendered, &text).0, Reason::InvalidArgument, "{table}");
            }
        }
    }

    #[test]
    fn rejects_numbers_and_nesting_beyond_documented_limits() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        let item = |value: &str| {
            format!("dynamodb = {{ table = 'table', key = {{ a = 1 }}, item = {{ n = {value} }} }}")
        };
        for (json, is_valid) in [
            ("12345678901234567890123456789012345678", true),
            ("-0.0012345678901234567890123456789012345678000", true),
            ("123456789012345678901234567890123456789", false),
            ("9.9e125", true),
            ("1e126", false),
            ("1E-130", true),
            ("0.1e-130", false),
            ("0e999999999999999999999", true),
            ("1e999999999999999999999", false),
            (nested(DYNAMODB_NESTING).as_str(), true),
            (nested(DYNAMODB_NESTING + 1).as_str(), false),
            ("{\"a\":[1e126]}", false),
        ] {
            let settings = item("{ json = '{text}' }");
            let made = request_of(&settings, |event| event.text = json.to_owned());
            assert_eq!(made.is_ok(), is_valid, "{json}: {made:?}");
        }
        let told = faults(&item("1e126"));
        assert!(told.len() == 1 && told[0].contains("`n` is not between"), "{told:?}");
        let told = faults(&item("{ number = '123456789012345678901234567890123456789' }"));
        assert!(told.len() == 1 && told[0].contains("`n` has 39 digits"), "{told:?}");
    }
}
