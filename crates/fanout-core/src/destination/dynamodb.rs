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
//! An item is put once: its key says what it is. A counter counts an event once, as long as DynamoDB remembers
//! it. A condition on the id of the last event would not do: events are delivered again out of order, and by then
//! the last one is another. A set of all ids would, until the item is full.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::aws::{Fields, RequestError};
use super::content::{Attribute, Members, Value, ValueKeys, rendered};
use super::limits::{
    DYNAMODB_ITEM_BYTES, DYNAMODB_KEY_NAME, DYNAMODB_PARTITION_KEY_BYTES, DYNAMODB_SORT_KEY_BYTES,
    DYNAMODB_TOKEN,
};
use crate::file::Texts;
use crate::placeholder::Template;

/// A table, as a route names it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DynamoDb {
    pub(super) table: Template,
    key: Members,
    write: Write,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Write {
    Put { item: Members, unless_exists: bool },
    Update { set: Members, add: Members },
}

/// What is to be written to a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The name or ARN of the table.
    pub table: String,
    /// What makes it the same item.
    pub key: BTreeMap<String, Attribute>,
    /// What is done.
    pub change: Change,
}

/// What is done to an item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is put.
    Put {
        /// What it has beside its key.
        item: BTreeMap<String, Attribute>,
        /// Only where there is none.
        unless_exists: bool,
    },
    /// It is changed, or made where there is none.
    Update {
        /// What it has from now on.
        set: BTreeMap<String, Attribute>,
        /// What its numbers go up by.
        add: BTreeMap<String, Attribute>,
        /// What makes it the same change: one of the two within ten minutes is done.
        token: String,
    },
}

/// A table of Amazon DynamoDB.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct DynamoDbKeys {
    /// The name or the ARN of the table, which may have placeholders.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    table: Spanned<String>,
    /// The primary key: the partition key, and the sort key where the table has one.
    #[cfg_attr(feature = "schema", schemars(with = "BTreeMap<String, ValueKeys>", extend("minProperties" = 1, "maxProperties" = 2)))]
    key: Spanned<BTreeMap<String, Spanned<ValueKeys>>>,
    /// Puts an item with these attributes beside the key. One whose placeholders have no value is left out.
    #[cfg_attr(feature = "schema", schemars(with = "Option<BTreeMap<String, ValueKeys>>"))]
    item: Option<Spanned<BTreeMap<String, Spanned<ValueKeys>>>>,
    /// Whether the item is put only where there is none with its key, so that what is delivered twice is there once. Default: true.
    #[cfg_attr(feature = "schema", schemars(with = "Option<bool>"))]
    unless_exists: Option<Spanned<bool>>,
    /// Changes the item, or makes it where there is none.
    #[cfg_attr(feature = "schema", schemars(with = "Option<UpdateKeys>"))]
    update: Option<Spanned<UpdateKeys>>,
}

/// How an item is changed.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateKeys {
    /// Attributes to set. One whose placeholders have no value is left out.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "BTreeMap<String, ValueKeys>"))]
    set: BTreeMap<String, Spanned<ValueKeys>>,
    /// Numbers to add to: what each goes up by. An event counts once, however often it is delivered within ten minutes.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "BTreeMap<String, ValueKeys>"))]
    add: BTreeMap<String, Spanned<ValueKeys>>,
}

impl DynamoDb {
    /// What a file calls it.
    pub const KIND: &'static str = "dynamodb";

    pub(crate) fn read(keys: DynamoDbKeys, texts: &mut Texts<'_, '_>) -> Option<Self> {
        let DynamoDbKeys { table, key, item, unless_exists, update } = keys;
        let key_span = key.span();
        let key = key.into_inner();
        if !(1..=2).contains(&key.len()) {
            texts.fault(key_span.clone(), "a key is one attribute, or two where the table has a sort key");
        }
        for (name, value) in &key {
            if matches!(value.get_ref(), ValueKeys::Bool(_) | ValueKeys::Json { .. }) {
                texts
                    .fault(value.span(), format!("`{name}` is in the key, which has texts and numbers only"));
            }
            if matches!(value.get_ref(), ValueKeys::Text(text) if text.is_empty()) {
                texts.fault(value.span(), format!("`{name}` is in the key, and a key cannot be empty"));
            }
        }
        if let (Some(_), Some(update)) = (&item, &update) {
            texts.fault(update.span(), "`item` puts an item and `update` changes one; give one of the two");
        }
        if item.is_none() && update.is_none() {
            texts.lack(key_span, "there is neither `item` nor `update` beside it; give one of the two");
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
                texts.fault(span, "an attribute has a name");
            } else if key.contains_key(&name) && name.chars().count() > DYNAMODB_KEY_NAME {
                let message =
                    format!("the name of an attribute of the key has at most {DYNAMODB_KEY_NAME} characters");
                texts.fault(span, message);
            }
        }
        for (name, span) in others {
            if key.contains_key(&name) {
                texts.fault(span, format!("`{name}` is in the key already; leave it out here"));
            }
        }
        let table = texts.name("table", &table);
        let key = Value::read_all(key, "key", texts);
        let write = match (item, update) {
            (Some(item), _) => Value::read_all(item.into_inner(), "attribute", texts).map(|item| {
                Write::Put { item, unless_exists: unless_exists.is_none_or(Spanned::into_inner) }
            }),
            (None, Some(update)) => Self::read_update(update, texts),
            (None, None) => None,
        };
        Some(Self { table: table?, key: key?, write: write? })
    }

    fn read_update(update: Spanned<UpdateKeys>, texts: &mut Texts<'_, '_>) -> Option<Write> {
        let span = update.span();
        let UpdateKeys { set, add } = update.into_inner();
        if set.is_empty() && add.is_empty() {
            texts.lack(span, "there is neither `set` nor `add` in it; give what is to be changed");
        }
        for (name, value) in &add {
            if set.contains_key(name) {
                texts.fault(value.span(), format!("`{name}` is in `set` too; it can be in one of the two"));
            }
            if !matches!(
                value.get_ref(),
                ValueKeys::Integer(_) | ValueKeys::Float(_) | ValueKeys::Number { .. }
            ) {
                let message =
                    format!("`{name}` is to be added to: give a number, or {{ number = \"a text\" }}");
                texts.fault(value.span(), message);
            }
        }
        let set = Value::read_all(set, "attribute", texts);
        let add = Value::read_all(add, "attribute", texts);
        Some(Write::Update { set: set?, add: add? })
    }

    pub(super) fn templates(&self) -> Vec<&Template> {
        std::iter::once(&self.table).chain(self.key.values().filter_map(Value::template)).collect()
    }

    pub(super) fn row(&self, fields: &Fields<'_>) -> Result<Row, RequestError> {
        let mut key = BTreeMap::new();
        for (name, value) in &self.key {
            // What an event lacks is left out elsewhere; without its key there is no item.
            key.insert(name.clone(), value.render(name, fields)?);
        }
        let change = match &self.write {
            Write::Put { item, unless_exists } => {
                Change::Put { item: rendered(item, fields)?, unless_exists: *unless_exists }
            }
            Write::Update { set, add } => {
                let (set, add) = (rendered(set, fields)?, rendered(add, fields)?);
                if set.is_empty() && add.is_empty() {
                    return Err(RequestError::invalid("the event has nothing of what is to be changed"));
                }
                let mut token = fields.id();
                // It is made of digits and letters: each is one byte.
                token.truncate(DYNAMODB_TOKEN);
                Change::Update { set, add, token }
            }
        };
        check_key(&key)?;
        let row = Row { table: fields.name(&self.table)?, key, change };
        if row.bytes() > DYNAMODB_ITEM_BYTES {
            return Err(RequestError::too_large("the item is larger than a table takes: 400 KB at most"));
        }
        Ok(row)
    }
}

/// Returns an error if no table takes such a key. Which of two attributes is the sort key is known to the table only, so
/// the larger one may be as large as a partition key.
fn check_key(key: &BTreeMap<String, Attribute>) -> Result<(), RequestError> {
    let mut sizes: Vec<_> = key
        .values()
        .filter_map(|value| match value {
            Attribute::Text(text) => Some(text.len()),
            Attribute::Number(_) | Attribute::Bool(_) | Attribute::Json(_) => None,
        })
        .collect();
    if sizes.contains(&0) {
        return Err(RequestError::invalid("an attribute of the key is empty; DynamoDB takes no empty key"));
    }
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    let limits = [("partition", DYNAMODB_PARTITION_KEY_BYTES), ("sort", DYNAMODB_SORT_KEY_BYTES)];
    for (size, (kind, most)) in sizes.into_iter().zip(limits) {
        if size > most {
            return Err(RequestError::too_large(format!(
                "an attribute of the key has {size} bytes; DynamoDB takes {most} at most in a {kind} key"
            )));
        }
    }
    Ok(())
}

impl Row {
    /// At least so many, in the table.
    fn bytes(&self) -> usize {
        let bytes = |(name, value): (&String, &Attribute)| {
            name.len()
                + match value {
                    Attribute::Text(text) => text.len(),
                    // How many these take is not to be told from their digits and marks.
                    Attribute::Number(_) | Attribute::Bool(_) | Attribute::Json(_) => 1,
                }
        };
        let (first, second) = match &self.change {
            Change::Put { item, .. } => (item, None),
            Change::Update { set, add, .. } => (set, Some(add)),
        };
        self.key.iter().chain(first).chain(second.into_iter().flatten()).map(bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::destination::aws::tests::{faults, refused, request_of, shown};
    use crate::reason::Reason;

    #[test]
    fn an_item_is_put_with_what_the_event_has() {
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
    fn an_item_is_changed_by_a_token_that_is_the_same_at_each_delivery() {
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
    fn without_its_key_there_is_no_item() {
        let settings = "dynamodb = { table = 't', key = { by = '{token_id}' }, item = {} }";
        assert_eq!(request_of(settings, |_| ()), Err(RequestError::Missing("token_id".to_owned())));
        let settings = "dynamodb = { table = 't', key = { a = { number = '{text}' } }, item = {} }";
        assert_eq!(refused(settings, "x"), (Reason::InvalidArgument, "a is made no number of".to_owned()));
        let settings =
            "dynamodb = { table = 't', key = { a = 'b' }, update = { set = { by = '{token_id}' } } }";
        assert_eq!(refused(settings, "x").0, Reason::InvalidArgument);
    }

    #[test]
    fn an_item_has_400_kilobytes() {
        let settings = "dynamodb = { table = 't', key = { a = 'b' }, item = { c = '{text}' } }";
        assert!(request_of(settings, |event| event.text = "x".repeat(DYNAMODB_ITEM_BYTES - 3)).is_ok());
        assert_eq!(refused(settings, &"x".repeat(DYNAMODB_ITEM_BYTES - 2)).0, Reason::TooLarge);
    }

    #[test]
    fn what_does_not_go_together_is_told() {
        for (settings, says) in [
            ("key = {}, item = {}", "a key is one attribute, or two"),
            ("key = { a = 1, b = 2, c = 3 }, item = {}", "a key is one attribute, or two"),
            ("key = { a = true }, item = {}", "`a` is in the key, which has texts and numbers only"),
            ("key = { a = '' }, item = {}", "`a` is in the key, and a key cannot be empty"),
            ("key = { '' = 'a' }, item = {}", "an attribute has a name"),
            ("key = { a = 1 }, item = { '' = 2 }", "an attribute has a name"),
            ("key = { a = 1 }, item = { a = 2 }", "`a` is in the key already"),
            ("key = { a = 1 }, update = { add = { a = 2 } }", "`a` is in the key already"),
            ("key = { a = 1 }", "there is neither `item` nor `update`"),
            ("key = { a = 1 }, item = {}, update = { add = { b = 1 } }", "give one of the two"),
            ("key = { a = 1 }, update = {}", "there is neither `set` nor `add` in it"),
            ("key = { a = 1 }, update = { add = { b = 'c' } }", "`b` is to be added to: give a number"),
            ("key = { a = 1 }, update = { set = { b = 1 }, add = { b = 1 } }", "`b` is in `set` too"),
            ("key = { a = 1 }, update = { add = { b = 1 } }, unless_exists = true", "belongs to `item`"),
            (
                "key = { a = 1 }, update = { remove = ['b'] }",
                "there is no `remove` to be set here; there is `set` or `add`",
            ),
        ] {
            let told = faults(&format!("dynamodb = {{ table = 't', {settings} }}"));
            assert!(told.len() == 1 && told[0].contains(says), "{settings}: {told:#?}");
        }
    }

    #[test]
    fn rejects_keys_longer_than_documented_limits() {
        let one = "dynamodb = { table = 't', key = { id = '{text}' }, item = {} }";
        let two = "dynamodb = { table = 't', key = { id = '{text}', at = '{text}' }, item = {} }";
        for (settings, most, kind) in
            [(one, DYNAMODB_PARTITION_KEY_BYTES, "partition"), (two, DYNAMODB_SORT_KEY_BYTES, "sort")]
        {
            assert!(request_of(settings, |event| event.text = "x".repeat(most)).is_ok(), "{kind}");
            let (reason, detail) = refused(settings, &"x".repeat(most + 1));
            let expected = format!(
                "an attribute of the key has {} bytes; DynamoDB takes {most} at most in a {kind} key",
                most + 1
            );
            assert_eq!((reason, detail), (Reason::TooLarge, expected));
        }
        let name = |length: usize| {
            format!(
                "dynamodb = {{ table = 't', key = {{ {} = '{{event_id}}' }}, item = {{}} }}",
                "k".repeat(length)
            )
        };
        assert!(request_of(&name(DYNAMODB_KEY_NAME), |_| ()).is_ok());
        let told = faults(&name(DYNAMODB_KEY_NAME + 1));
        assert!(told[0].contains("at most 255 characters"), "{told:?}");
    }
}
