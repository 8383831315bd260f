//! Reading TOML so that every fault is found, and each with its place.
//!
//! serde stops at the first fault. Here a table is read once more without the entry that was at fault,
//! until nothing new is found: who writes a file gets the whole list in one go.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

/// Bytes of the document.
pub type Span = Range<usize>;

/// Something wrong in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub span: Span,
    /// What, and what would be right.
    pub message: String,
}

impl Fault {
    /// A fault at a place.
    pub fn new(span: Span, message: impl Into<String>) -> Self {
        Self { span, message: message.into() }
    }
}

/// A table of a document.
#[derive(Clone, Debug, Default)]
pub struct Given<'i> {
    table: DeTable<'i>,
    span: Span,
}

impl<'i> Given<'i> {
    /// A whole document.
    ///
    /// # Errors
    /// Every place at which it is not TOML.
    pub fn document(text: &'i str) -> Result<Self, Vec<Fault>> {
        let (document, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            return Ok(Self { span: document.span(), table: document.into_inner() });
        }
        Err(errors.iter().map(|error| fault(error, &document.span())).collect())
    }

    /// A table with nothing in it, where something else stands for one.
    #[must_use]
    pub fn nothing(span: Span) -> Self {
        Self { table: DeTable::new(), span }
    }

    /// The table that `value` is.
    ///
    /// # Errors
    /// When it is something else.
    pub fn table(value: Spanned<DeValue<'i>>) -> Result<Self, Fault> {
        let span = value.span();
        match value.into_inner() {
            DeValue::Table(table) => Ok(Self { table, span }),
            other => Err(Fault::new(span, format!("is {}, and should be a table", other.type_str()))),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn span(&self) -> Span {
        self.span.clone()
    }

    /// Takes the entry `key` out of it, to be read in another way than the rest.
    pub fn take(&mut self, key: &str) -> Option<Spanned<DeValue<'i>>> {
        self.table.remove(key)
    }

    /// The entries that are left.
    pub fn into_entries(self) -> impl Iterator<Item = (Spanned<String>, Spanned<DeValue<'i>>)> {
        self.table
            .into_iter()
            .map(|(key, value)| (Spanned::new(key.span(), key.into_inner().into_owned()), value))
    }

    /// What is left of it, as a `T`.
    ///
    /// # Errors
    /// Every entry that is wrong, and what is missing.
    pub fn read<T: DeserializeOwned>(self) -> Result<T, Vec<Fault>> {
        match self.read_most() {
            (Some(read), faults) if faults.is_empty() => Ok(read),
            (_, faults) => Err(faults),
        }
    }

    /// What is left of it, as a `T` without the entries that are wrong, where it can do without them; and every
    /// entry that is wrong, and what is missing.
    #[must_use]
    pub fn read_most<T: DeserializeOwned>(mut self) -> (Option<T>, Vec<Fault>) {
        let mut faults = Vec::new();
        let mut removed = Vec::new();
        loop {
            let value = Spanned::new(self.span.clone(), DeValue::Table(self.table.clone()));
            let error = match T::deserialize(ValueDeserializer::from(value)) {
                Ok(read) => return (Some(read), faults),
                Err(error) => error,
            };
            // What is missing because it was wrong was told already.
            let is_told = |key: &String| error.message() == format!("missing field `{key}`");
            if !removed.iter().any(is_told) {
                faults.push(fault(&error, &self.span));
            }
            match self.entry_at(error.span()) {
                Some(key) => {
                    self.table.remove(key.as_str());
                    removed.push(key);
                }
                None => return (None, faults),
            }
        }
    }

    /// The key of the entry that has `place` in its key or its value.
    fn entry_at(&self, place: Option<Span>) -> Option<String> {
        let place = place?;
        let holds = |span: Span| span.start <= place.start && place.end <= span.end;
        let entry = self.table.iter().find(|(key, value)| holds(key.span()) || holds(value.span()));
        entry.map(|(key, _)| key.get_ref().to_string())
    }
}

/// The entries of the array that `value` is.
///
/// # Errors
/// When it is something else.
pub fn array(value: Spanned<DeValue<'_>>) -> Result<impl Iterator<Item = Spanned<DeValue<'_>>>, Fault> {
    let span = value.span();
    match value.into_inner() {
        DeValue::Array(entries) => Ok(entries.into_iter()),
        other => Err(Fault::new(span, format!("is {}, and should be a list", other.type_str()))),
    }
}

/// The text that `value` is.
///
/// # Errors
/// When it is something else.
pub fn text(value: Spanned<DeValue<'_>>) -> Result<Spanned<String>, Fault> {
    let span = value.span();
    match value.into_inner() {
        DeValue::String(text) => Ok(Spanned::new(span, text.into_owned())),
        other => Err(Fault::new(span, format!("is {}, and should be a string", other.type_str()))),
    }
}

fn fault(error: &toml::de::Error, around: &Span) -> Fault {
    Fault::new(error.span().unwrap_or_else(|| around.clone()), error.message())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        size: u8,
        #[serde(default)]
        name: String,
    }

    fn read(text: &str) -> Result<Settings, Vec<(String, String)>> {
        let told = |fault: Fault| (text.get(fault.span).unwrap().to_owned(), fault.message);
        let given =
            Given::document(text).map_err(|faults| faults.into_iter().map(told).collect::<Vec<_>>())?;
        given.read().map_err(|faults| faults.into_iter().map(told).collect())
    }

    #[test]
    fn what_is_right_is_read() {
        assert_eq!(read("size = 1"), Ok(Settings { size: 1, name: String::new() }));
    }

    #[test]
    fn every_fault_is_found_and_has_its_place() {
        let faults = read("size = \"1\"\nlabel = 'x'\nname = 3\n").unwrap_err();
        let places: Vec<_> = faults.iter().map(|(place, _)| place.as_str()).collect();
        assert_eq!(places, ["label", "3", "\"1\""]);
        assert!(faults.iter().any(|(_, message)| message.contains("`size` or `name`")), "{faults:?}");
    }

    #[test]
    fn what_is_missing_is_a_fault_but_not_when_it_was_wrong() {
        assert_eq!(read("name = 'x'").unwrap_err()[0].1, "missing field `size`");
        assert_eq!(read("size = 300").unwrap_err().len(), 1);
    }

    #[test]
    fn what_is_not_toml_is_told_at_every_place() {
        assert_eq!(read("size = \nname = \n").unwrap_err().len(), 2);
    }
}
