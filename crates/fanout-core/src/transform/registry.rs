//! All transforms by name, and how a configuration names one.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use toml::Spanned;
use toml::de::DeValue;

use super::classifier::Classifier;
use super::echo::Echo;
use super::filter::FilterSettings;
use super::json::JsonSettings;
use super::lookup::LookupSettings;
use super::lowercase::Lowercase;
use super::moderate::Moderate;
use super::pseudolocalize::PseudolocalizeSettings;
use super::stage::{OnFailure, Stage};
use super::template::TemplateSettings;
use super::translate::{TranslateSettings, Translator};
use super::trim::Trim;
use super::truncate::TruncateSettings;
use super::uppercase::Uppercase;
use super::{Context, Message, Transform, TransformFuture};
use crate::described::Described;
use crate::spanned::{self, Fault, Given};
use crate::suggest::closest;

/// The settings of one kind of transform. `Serialize` writes their canonical form: transforms with the same form are
/// equivalent, and run once.
pub trait TransformSettings: DeserializeOwned + Serialize + 'static {
    /// The name of the transform.
    const NAME: &'static str;

    /// True if `on_failure = "pass"` is allowed. It is not for a transform that guards a topic.
    const MAY_PASS: bool = true;

    /// True if it runs other transforms, which its setting `transforms` lists.
    const NESTS: bool = false;

    /// Builds the transform.
    ///
    /// # Errors
    /// If the settings contradict each other, or need something that is missing: what is wrong, and what was expected.
    fn build(self, with: Build<'_>) -> Result<Arc<dyn Transform>, String>;
}

/// The data besides its settings that a transform can be built with.
#[derive(Debug)]
pub struct Build<'b> {
    /// The names of the route's captures.
    pub captures: &'b [&'b str],
    /// The nested transforms, in order, if it [`NESTS`](TransformSettings::NESTS).
    pub transforms: Vec<Stage>,
    /// The translator, if this build or test has one.
    pub translator: Option<Arc<dyn Translator>>,
    /// The classifiers that this build or test has, by name.
    pub classifiers: Classifiers,
    /// True if it is nested in another transform, which may provide a [`document`](Context::document).
    pub is_inside: bool,
}

/// Services that classify texts, by name.
pub type Classifiers = BTreeMap<Cow<'static, str>, Arc<dyn Classifier>>;

/// The transforms that a configuration can name.
#[derive(Clone, Debug)]
pub struct Transforms {
    kinds: BTreeMap<Cow<'static, str>, Kind>,
    translator: Option<Arc<dyn Translator>>,
    classifiers: Classifiers,
}

#[derive(Clone)]
struct Kind {
    may_pass: bool,
    nests: bool,
    build: Arc<Builder>,
    #[cfg(feature = "schema")]
    schema: Option<Schema>,
}

/// Returns the schema of the settings of a transform.
#[cfg(feature = "schema")]
type Schema = fn(&mut schemars::SchemaGenerator) -> schemars::Schema;

type Builder = dyn Fn(Given<'_>, Build<'_>) -> Result<Built, Vec<Fault>> + Send + Sync;

/// The settings as JSON, and the transform.
type Built = (Value, Arc<dyn Transform>);

impl Transforms {
    /// Returns the transforms of this library.
    #[must_use]
    pub fn standard() -> Self {
        let empty = Self { kinds: BTreeMap::new(), translator: None, classifiers: BTreeMap::new() };
        empty
            .with_described::<Echo>()
            .with_described::<FilterSettings>()
            .with_described::<JsonSettings>()
            .with_described::<LookupSettings>()
            .with_described::<Lowercase>()
            .with_described::<Moderate>()
            .with_described::<PseudolocalizeSettings>()
            .with_described::<TemplateSettings>()
            .with_described::<TranslateSettings>()
            .with_described::<Trim>()
            .with_described::<TruncateSettings>()
            .with_described::<Uppercase>()
    }

    /// Adds a transform of this library, which is part of the schema.
    fn with_described<S: TransformSettings + Described>(self) -> Self {
        #[cfg_attr(not(feature = "schema"), expect(unused_mut, reason = "only the schema is set"))]
        let mut transforms = self.with::<S>();
        #[cfg(feature = "schema")]
        if let Some(kind) = transforms.kinds.get_mut(S::NAME) {
            kind.schema = Some(schemars::SchemaGenerator::subschema_for::<S>);
        }
        transforms
    }

    /// Returns all transforms: the name, the schema of the settings if this library has one, whether `on_failure` may be `pass`, and
    /// whether other transforms can be inside.
    #[cfg(feature = "schema")]
    pub(crate) fn described(&self) -> impl Iterator<Item = (&str, Option<Schema>, bool, bool)> {
        let kinds = self.kinds.iter();
        kinds.map(|(name, kind)| (name.as_ref(), kind.schema, kind.may_pass, kind.nests))
    }

    /// Sets the translator of `translate`.
    #[must_use]
    pub fn with_translator(mut self, translator: Arc<dyn Translator>) -> Self {
        self.translator = Some(translator);
        self
    }

    /// Returns true if there is a translator.
    #[must_use]
    pub const fn can_translate(&self) -> bool {
        self.translator.is_some()
    }

    /// Adds a classifier, which `moderate` calls by this name, or replaces the one of the same name.
    #[must_use]
    pub fn with_classifier(
        mut self,
        name: impl Into<Cow<'static, str>>,
        classifier: Arc<dyn Classifier>,
    ) -> Self {
        self.classifiers.insert(name.into(), classifier);
        self
    }

    /// Returns true if there is a classifier called `name`.
    #[must_use]
    pub fn can_classify(&self, name: &str) -> bool {
        self.classifiers.contains_key(name)
    }

    /// Adds a transform, or replaces the one of the same name.
    #[must_use]
    pub fn with<S: TransformSettings>(mut self) -> Self {
        let kind = Kind {
            may_pass: S::MAY_PASS,
            nests: S::NESTS,
            build: Arc::new(build::<S>),
            #[cfg(feature = "schema")]
            schema: None,
        };
        self.kinds.insert(Cow::Borrowed(S::NAME), kind);
        self
    }

    /// Adds a transform without settings that needs only the text.
    #[must_use]
    pub fn with_text(
        mut self,
        name: impl Into<Cow<'static, str>>,
        transform: impl Fn(&str) -> String + Send + Sync + 'static,
    ) -> Self {
        let transform: Arc<dyn Transform> = Arc::new(TextTransform(transform));
        let build = move |given: Given<'_>, _: Build<'_>| {
            given.read::<NoSettings>()?;
            Ok((json!({}), Arc::clone(&transform)))
        };
        let kind = Kind {
            may_pass: true,
            nests: false,
            build: Arc::new(build),
            #[cfg(feature = "schema")]
            schema: None,
        };
        self.kinds.insert(name.into(), kind);
        self
    }

    /// Returns all names, separated by commas.
    #[must_use]
    pub fn names(&self) -> String {
        let names: Vec<_> = self.kinds.keys().map(AsRef::as_ref).collect();
        names.join(", ")
    }

    /// Returns the name that is most similar to `name`, if one is similar enough to be a typing error.
    #[must_use]
    pub fn closest(&self, name: &str) -> Option<&str> {
        closest(name, self.kinds.keys().map(AsRef::as_ref))
    }

    /// Returns true if there is a transform called `name`.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.kinds.contains_key(name)
    }

    /// Returns the transform called `name`, without settings.
    ///
    /// # Errors
    /// If the name is unknown, or the transform needs settings.
    pub fn named(&self, name: &str) -> Result<Stage, String> {
        let span = 0..0;
        let stage = self.stage(Spanned::new(span, DeValue::String(Cow::Borrowed(name))), &[], false);
        stage.map_err(|faults| {
            let messages: Vec<_> = faults.into_iter().map(|fault| fault.message).collect();
            messages.join("; ")
        })
    }

    /// Returns the transforms of a list, for a route with these captures.
    ///
    /// # Errors
    /// All faults of the list.
    pub fn stages(&self, list: Spanned<DeValue<'_>>, captures: &[&str]) -> Result<Vec<Stage>, Vec<Fault>> {
        self.list(list, captures, false)
    }

    /// Does the same for a list that may be inside another transform.
    pub(super) fn list(
        &self,
        list: Spanned<DeValue<'_>>,
        captures: &[&str],
        is_inside: bool,
    ) -> Result<Vec<Stage>, Vec<Fault>> {
        let (mut stages, mut faults) = (Vec::new(), Vec::new());
        for given in spanned::array(list).map_err(|fault| vec![fault])? {
            let name = match given.get_ref() {
                DeValue::String(name) => Some(name.to_string()),
                _ => None,
            };
            match (self.stage(given, captures, is_inside), name) {
                (Ok(stage), _) => stages.push(stage),
                (Err(more), Some(name)) => {
                    faults.extend(more.into_iter().map(|fault| with_form(fault, &name)));
                }
                (Err(more), None) => faults.extend(more),
            }
        }
        if faults.is_empty() { Ok(stages) } else { Err(faults) }
    }

    /// Reads one transform: its name, or a table with its name as the only key and its settings as the value.
    fn stage(
        &self,
        given: Spanned<DeValue<'_>>,
        captures: &[&str],
        is_inside: bool,
    ) -> Result<Stage, Vec<Fault>> {
        let (name, mut settings) = name_and_settings(given).map_err(|fault| vec![fault])?;
        let Some((known, kind)) = self.kinds.get_key_value(name.get_ref().as_str()) else {
            let message = match self.closest(name.get_ref()) {
                Some(meant) => format!("unknown transform {:?}; did you mean {meant:?}?", name.get_ref()),
                None => format!("unknown transform {:?}; expected one of {}", name.get_ref(), self.names()),
            };
            return Err(vec![Fault::new(name.span(), message)]);
        };
        let mut faults = Vec::new();
        let on_failure = match settings.take("on_failure").map(on_failure).transpose() {
            Ok(on_failure) => on_failure,
            Err(fault) => {
                faults.push(fault);
                None
            }
        };
        let transforms = match settings.take("transforms").filter(|_| kind.nests) {
            None => Vec::new(),
            Some(list) => self.list(list, captures, true).unwrap_or_else(|more| {
                faults.extend(more);
                Vec::new()
            }),
        };
        let may_pass = kind.may_pass && transforms.iter().all(Stage::may_pass);
        let translator = self.translator.clone();
        let classifiers = self.classifiers.clone();
        let with = Build { captures, transforms: transforms.clone(), translator, classifiers, is_inside };
        let built = (kind.build)(settings, with);
        let on_failure = match on_failure {
            Some(on_failure) if on_failure.get_ref() == &OnFailure::Pass && !may_pass => {
                let message = format!(
                    "`on_failure = \"pass\"` would let a text skip `{known}`; expected \"fail\" or \"drop\""
                );
                faults.push(Fault::new(on_failure.span(), message));
                OnFailure::Fail
            }
            on_failure => on_failure.map_or(OnFailure::Fail, Spanned::into_inner),
        };
        match built {
            Ok((settings, transform)) if faults.is_empty() => {
                let settings = canonical(settings, &transforms);
                let stage = Stage::new(known.clone(), settings, on_failure, may_pass, transform);
                Ok(stage.with_nested(transforms))
            }
            Ok(_) => Err(faults),
            Err(more) => {
                faults.extend(more);
                Err(faults)
            }
        }
    }
}

impl Default for Transforms {
    fn default() -> Self {
        Self::standard()
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kind")
            .field("may_pass", &self.may_pass)
            .field("nests", &self.nests)
            .finish_non_exhaustive()
    }
}

/// Adds the form with settings to the fault of a transform that has only its name, and needs a setting.
fn with_form(fault: Fault, name: &str) -> Fault {
    let key = fault.message.strip_prefix("missing key `").and_then(|key| key.strip_suffix('`'));
    match key {
        Some(key) => Fault::new(
            fault.span.clone(),
            format!("{}; write {{ {name} = {{ {key} = ... }} }}", fault.message),
        ),
        None => fault,
    }
}

fn build<S: TransformSettings>(given: Given<'_>, with: Build<'_>) -> Result<Built, Vec<Fault>> {
    let span = given.span();
    let settings: S = given.read()?;
    let fault = |message: String| vec![Fault::new(span.clone(), message)];
    let form = serde_json::to_value(&settings).map_err(|error| fault(error.to_string()))?;
    Ok((form, settings.build(with).map_err(fault)?))
}

/// Returns the canonical form of settings with nested transforms: JSON with sorted keys.
fn canonical(mut settings: Value, transforms: &[Stage]) -> String {
    if let (Value::Object(settings), false) = (&mut settings, transforms.is_empty()) {
        settings.insert("transforms".to_owned(), transforms.iter().map(Stage::to_json).collect());
    }
    settings.sort_all_objects();
    settings.to_string()
}

fn name_and_settings(given: Spanned<DeValue<'_>>) -> Result<(Spanned<String>, Given<'_>), Fault> {
    const EXPECTED: &str = "expected a transform: its name, such as \"trim\", or its name with settings, such as \
                            { translate = { target = \"es\" } }";
    let span = given.span();
    if matches!(given.get_ref(), DeValue::String(_)) {
        return Ok((spanned::text(given)?, Given::nothing(span)));
    }
    let Ok(table) = Given::table(given) else { return Err(Fault::new(span, EXPECTED)) };
    let mut entries = table.into_entries();
    match (entries.next(), entries.next()) {
        (Some((name, settings)), None) => match Given::table(settings) {
            Ok(settings) => Ok((name, settings)),
            Err(Fault { span, message }) => {
                let found = message.split(';').next().unwrap_or_default();
                let example = match name.get_ref().as_str() {
                    "filter" => "filter = { contains = \"help\" }",
                    "json" => "json = { pointer = \"/message\", transforms = [\"trim\"] }",
                    "moderate" => "moderate = {}",
                    "template" => "template = { text = \"{text}\" }",
                    "truncate" => "truncate = { characters = 100 }",
                    _ => "translate = { target = \"es\" }",
                };
                let message = format!("{found}; expected a table of settings, as in {{ {example} }}");
                Err(Fault { span, message })
            }
        },
        _ => Err(Fault::new(span, EXPECTED)),
    }
}

fn on_failure(given: Spanned<DeValue<'_>>) -> Result<Spanned<OnFailure>, Fault> {
    let text = spanned::text(given)?;
    let on_failure = match text.get_ref().as_str() {
        "fail" => OnFailure::Fail,
        "drop" => OnFailure::Drop,
        "pass" => OnFailure::Pass,
        other => {
            let message = format!("`on_failure` is {other:?}; expected \"fail\", \"drop\" or \"pass\"");
            return Err(Fault::new(text.span(), message));
        }
    };
    Ok(Spanned::new(text.span(), on_failure))
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct NoSettings {}

/// A transform of [`Transforms::with_text`].
struct TextTransform<F>(F);

impl<F> fmt::Debug for TextTransform<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TextTransform")
    }
}

impl<F: Fn(&str) -> String + Send + Sync> Transform for TextTransform<F> {
    fn apply<'t>(&'t self, message: Message<'t>, _: &'t Context<'t>) -> TransformFuture<'t> {
        let text = (self.0)(&message.text);
        message.with_text(text).done()
    }
}

#[cfg(test)]
mod tests {
    use crate::transform::OnFailure;
    use crate::transform::tests::{faulty, stages};

    #[test]
    fn reads_name_or_table_with_settings() {
        let stages = stages("['trim', { trim = {} }, { trim = { on_failure = 'drop' } }]");
        assert_eq!(stages[0], stages[1]);
        assert!(stages[0].is_equivalent(&stages[2]));
        assert_ne!(stages[0], stages[2]);
        assert_eq!(stages[2].on_failure(), OnFailure::Drop);
    }

    #[test]
    fn reports_every_fault_of_a_list_with_its_place() {
        let faults = faulty("['shout', 3, {}, { trim = { size = 1, on_failure = 'ignore' } }, { trim = 1 }]");
        let faults = faults.unwrap_err();
        let places: Vec<_> = faults.iter().map(|(place, _)| place.as_str()).collect();
        assert_eq!(places, ["'shout'", "3", "{}", "'ignore'", "size", "1"]);
        let says = |index: usize, expected: &str| assert!(faults[index].1.contains(expected), "{faults:?}");
        says(0, "unknown transform \"shout\"; expected one of echo, ");
        says(1, "expected a transform: its name");
        says(3, "`on_failure` is \"ignore\"; expected \"fail\", \"drop\" or \"pass\"");
        says(4, "unknown key `size`; expected no keys");
        says(5, "expected a table");
    }
}
