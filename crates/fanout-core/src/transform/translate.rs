//! `translate`: the text in another language, by Amazon Translate.
//!
//! ```toml
//! transforms = [{ translate = { target = "es", formality = "informal", mask_profanity = true } }]
//! ```
//!
//! Where `source` is not given, the service finds out which language the text is in. The settings are those
//! of `TranslateText` in Amazon's API reference, and so are their limits; `pseudolocalize` has the same ones, and
//! needs no Amazon.
//!
//! A text without a letter (white space, digits, punctuation, emoji) stays as it is, and so does one whose
//! language is already the one that is wanted: the service is not asked. Only the same code is the same
//! language, in whatever case: `en` is translated to `en-US` where the service knows how.
//!
//! The message's `language` becomes the one that the text was translated from. It is taken for the source
//! in turn, in place of having it found out again, while the text is still the one that was sent. It cannot
//! be taken for more: after another `translate` it is the language of a text that is no longer there.
//!
//! Which service translates is not known here: it comes as a [`Translator`].

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;

use super::document::{Pointer, look_up};
use super::{Applying, Build, Context, Message, Settings, Transform, TransformError, Transformed};
use crate::reason::Reason;

/// The most bytes of a text that Amazon takes in one request ("Guidelines and quotas" in its guide).
pub const MOST_BYTES: usize = 10_000;

/// The most terminologies that Amazon applies to one text (the same page).
const MOST_TERMINOLOGIES: usize = 1;

/// The most bytes of a terminology's name (`TranslateText` in its API reference).
const MOST_NAME: usize = 256;

/// What translates a text. It is called at most once for a message at a time, and tries again by itself
/// where that is worth it.
pub trait Translator: fmt::Debug + Send + Sync {
    /// The translation of a text. It may be given up on at any time, and is at the deadline.
    fn translate<'t>(&'t self, request: Request<'t>) -> BoxFuture<'t, Result<Translation, TransformError>>;
}

/// What is to be translated, and how.
#[derive(Clone, Copy)]
pub struct Request<'t> {
    /// The text, with a letter in it, and of at most [`MOST_BYTES`].
    pub text: &'t str,
    /// The code of its language; nothing where that is to be found out.
    pub source: Option<&'t str>,
    /// The code of the language that is wanted: another one.
    pub target: &'t str,
    /// The tone, where one is wanted.
    pub formality: Option<Formality>,
    /// Whether profane words become `?$#@$`.
    pub mask_profanity: bool,
    /// The names of terminologies to be applied, one at most.
    pub terminologies: &'t [String],
    /// When nobody waits for the translation any more.
    pub deadline: Instant,
}

/// A text in another language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translation {
    /// The text.
    pub text: String,
    /// The code of the language that it was in.
    pub source: String,
}

/// The tone of a translation, in the languages that have tones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Formality {
    /// As to a stranger.
    Formal,
    /// As to a friend.
    Informal,
}

/// What a file says of `translate`, and of `pseudolocalize`.
#[derive(Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TranslateSettings {
    /// The code of the language that is wanted: `es`, `zh-TW`.
    target: Language,
    /// The code of the language that the text is in; or `auto`, to have it found out; or, inside `json`, where
    /// the document around the text has the code, as a JSON pointer: `/sourceLanguage`. Where the document has
    /// none, it is found out. It is `auto` unless it is given.
    #[serde(default, skip_serializing_if = "Source::is_auto")]
    source: Source,
    /// The tone, `formal` or `informal`; the service's own choice unless it is given. Not every language has
    /// tones.
    #[serde(skip_serializing_if = "Option::is_none")]
    formality: Option<Formality>,
    /// Whether profane words are masked; they are not unless this is `true`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    mask_profanity: bool,
    /// The names of custom terminologies, one at most; none unless they are given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    terminologies: Vec<String>,
    /// The most bytes of a text in UTF-8, from 1 to 10000; 10000 unless it is given. A larger one fails, and is
    /// not sent to the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_bytes: Option<usize>,
}

/// A language's code, as `en` or `zh-TW`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(with = "String"))]
#[serde(try_from = "String", into = "String")]
struct Language(String);

/// Where the language of a text is known from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(with = "String"))]
#[serde(try_from = "String", into = "String")]
enum Source {
    /// It is found out.
    #[default]
    Auto,
    /// It is always this one.
    Code(Language),
    /// The document around the text has it there.
    Pointer(Pointer),
}

/// [`TranslateSettings`] with what translates.
#[derive(Debug)]
pub(super) struct Translating {
    settings: TranslateSettings,
    max_bytes: usize,
    translator: Arc<dyn Translator>,
}

impl Settings for TranslateSettings {
    const NAME: &'static str = "translate";

    fn build(self, with: Build<'_>) -> Result<Arc<dyn Transform>, String> {
        let Some(translator) = with.translator else {
            return Err(
                "this build has no Amazon Translate: build with the cargo feature `translate`, or use `pseudolocalize`"
                    .into(),
            );
        };
        Ok(Arc::new(Translating::new(self, translator, with.is_inside)?))
    }
}

impl Translating {
    /// # Errors
    /// When the settings are beyond Amazon's limits, or name a place in a document where there is none.
    pub(super) fn new(
        settings: TranslateSettings,
        translator: Arc<dyn Translator>,
        is_inside: bool,
    ) -> Result<Self, String> {
        let max_bytes = settings.max_bytes.unwrap_or(MOST_BYTES);
        if !(1..=MOST_BYTES).contains(&max_bytes) {
            return Err(format!("max_bytes is a number from 1 to {MOST_BYTES}"));
        }
        if settings.terminologies.len() > MOST_TERMINOLOGIES {
            return Err(format!("a text has at most {MOST_TERMINOLOGIES} terminology"));
        }
        if let Some(name) = settings.terminologies.iter().find(|name| !is_terminology(name)) {
            return Err(format!(
                "{name:?} is no terminology: a name has letters, digits, \"-\" and single \"_\", {MOST_NAME} at most"
            ));
        }
        if let (Source::Pointer(pointer), false) = (&settings.source, is_inside) {
            return Err(format!(
                "source = {:?} is a place in the document around the text, and only inside `json` there is one: put \
                 this into the transforms of `json`, or say \"auto\" or the code of a language",
                pointer.as_str()
            ));
        }
        let is_same =
            matches!(&settings.source, Source::Code(source) if is_same(&source.0, &settings.target.0));
        if is_same {
            return Err("source and target are the same language".into());
        }
        Ok(Self { settings, max_bytes, translator })
    }

    async fn translate<'t>(
        &'t self,
        message: Message<'t>,
        context: &'t Context<'t>,
    ) -> Result<Message<'t>, TransformError> {
        if !message.text.chars().any(char::is_alphabetic) {
            return Ok(message);
        }
        let settings = &self.settings;
        let source = self.source(&message, context)?;
        if let Some(source) = source.as_ref().filter(|source| is_same(source, &settings.target.0)) {
            let language = Some(source.clone());
            return Ok(Message { language, ..message });
        }
        if message.text.len() > self.max_bytes {
            let most = self.max_bytes;
            return Err(TransformError::new(
                Reason::TooLarge,
                format!("the text has more than {most} bytes, the most that is translated"),
            ));
        }
        let request = Request {
            text: &message.text,
            source: source.as_deref(),
            target: &settings.target.0,
            formality: settings.formality,
            mask_profanity: settings.mask_profanity,
            terminologies: &settings.terminologies,
            deadline: context.deadline,
        };
        let translation = self.translator.translate(request).await?;
        Ok(Message { text: translation.text.into(), language: Some(translation.source.into()) })
    }

    /// The code of the language that the text is in, where it need not be found out.
    fn source<'t>(
        &'t self,
        message: &Message<'t>,
        context: &Context<'t>,
    ) -> Result<Option<Cow<'t, str>>, TransformError> {
        let given = match &self.settings.source {
            Source::Auto => None,
            Source::Code(code) => Some(code.0.as_str()),
            Source::Pointer(pointer) => {
                match context.document.and_then(|document| look_up(document.text(), pointer)) {
                    None => None,
                    // As for `token_id`, `null` is the same as a member that is missing.
                    Some(member) if member.value() == Some(Value::Null) => None,
                    Some(member) => match member.string().map(|code| folded(&code)) {
                        Some(code) if code.is_empty() || code == AUTO => None,
                        Some(code) if is_code(&code) => return Ok(Some(Cow::Owned(code))),
                        _ => {
                            return Err(TransformError::unfit(format!(
                                "the member {} of the document is not the code of a language, as \"en\"",
                                pointer.as_str()
                            )));
                        }
                    },
                }
            }
        };
        let is_as_sent = *message.text == *context.event.text;
        let known = || message.language.clone().filter(|_| is_as_sent);
        Ok(given.map(Cow::Borrowed).or_else(known))
    }
}

impl Transform for Translating {
    fn apply<'t>(&'t self, message: Message<'t>, context: &'t Context<'t>) -> Applying<'t> {
        Box::pin(async move { self.translate(message, context).await.map(Transformed::Message) })
    }
}

const AUTO: &str = "auto";

impl Source {
    fn is_auto(&self) -> bool {
        *self == Self::Auto
    }
}

impl TryFrom<String> for Language {
    type Error = String;

    fn try_from(code: String) -> Result<Self, String> {
        if code == AUTO {
            return Err("the target is one language, as \"es\": \"auto\" is for the source".to_owned());
        }
        if is_code(&code) {
            return Ok(Self(code));
        }
        Err(format!("{code:?} is not the code of a language, as \"es\" or \"zh-TW\""))
    }
}

impl From<Language> for String {
    fn from(language: Language) -> Self {
        language.0
    }
}

impl TryFrom<String> for Source {
    type Error = String;

    fn try_from(source: String) -> Result<Self, String> {
        match source.as_str() {
            AUTO => Ok(Self::Auto),
            pointer if pointer.starts_with('/') => Pointer::new(source).map(Self::Pointer),
            code if is_code(code) => Ok(Self::Code(Language(source))),
            _ => Err(format!(
                "{source:?} is not a source: it is \"auto\", the code of a language, as \"en\", or the place of \
                 one in the document, as \"/sourceLanguage\""
            )),
        }
    }
}

impl From<Source> for String {
    fn from(source: Source) -> Self {
        match source {
            Source::Auto => AUTO.to_owned(),
            Source::Code(code) => code.0,
            Source::Pointer(pointer) => pointer.as_str().to_owned(),
        }
    }
}

/// Whether it has the form of a language's code. Which ones there are is for the service to say: it learns
/// more.
fn is_code(code: &str) -> bool {
    let (language, region) =
        code.split_once('-').map_or((code, None), |(language, rest)| (language, Some(rest)));
    let is_language =
        (2..=3).contains(&language.len()) && language.bytes().all(|byte| byte.is_ascii_lowercase());
    let is_region =
        |region: &str| is_region(region) && !region.contains(|digit: char| digit.is_ascii_digit());
    is_language && region.is_none_or(is_region)
}

/// The codes of Amazon Translate that have a region:
/// <https://docs.aws.amazon.com/translate/latest/dg/what-is-languages.html>.
const REGIONAL: [&str; 5] = ["es-MX", "fa-AF", "fr-CA", "pt-PT", "zh-TW"];

/// Returns the code as the service writes it, for a code from data: `EN`, `en_US` and `en-us` become `en`, and `ZH_tw`
/// becomes `zh-TW`. What is not a code stays none.
fn folded(code: &str) -> String {
    let code = code.trim().replace('_', "-");
    if let Some(regional) = REGIONAL.iter().find(|regional| is_same(regional, &code)) {
        return (*regional).to_owned();
    }
    let is_traditional = |region: &str| ["hant", "hk", "mo"].iter().any(|one| is_same(one, region));
    match code.split_once('-') {
        // Chinese as it is written there, and in Taiwan; `zh` is simplified.
        Some((language, region)) if is_same(language, "zh") && is_traditional(region) => "zh-TW".to_owned(),
        Some((language, region)) if is_region(region) => language.to_ascii_lowercase(),
        _ => code.to_ascii_lowercase(),
    }
}

fn is_region(region: &str) -> bool {
    (2..=4).contains(&region.len()) && region.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn is_same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

fn is_terminology(name: &str) -> bool {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=MOST_NAME).contains(&name.len())
        && name.bytes().all(is_known)
        && !name.starts_with('_')
        && !name.contains("__")
}

/// Everything but the text, which is somebody's message.
impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("text", &format_args!("<{} bytes>", self.text.len()))
            .field("source", &self.source)
            .field("target", &self.target)
            .field("formality", &self.formality)
            .field("mask_profanity", &self.mask_profanity)
            .field("terminologies", &self.terminologies)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::future::ready;
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::event;
    use crate::transform::tests::{faulty, faulty_in, faulty_of, through, through_in};
    use crate::transform::{Around, Stage, Transforms};

    /// Records what it is asked for, turns texts round, and takes all for French unless it is told.
    #[derive(Debug, Default)]
    struct FakeTranslator {
        asked: Mutex<Vec<Asked>>,
    }

    #[derive(Clone, Debug, PartialEq)]
    struct Asked {
        text: String,
        source: Option<String>,
        target: String,
        formality: Option<Formality>,
        mask_profanity: bool,
        terminologies: Vec<String>,
    }

    impl Translator for FakeTranslator {
        fn translate<'t>(
            &'t self,
            request: Request<'t>,
        ) -> BoxFuture<'t, Result<Translation, TransformError>> {
            assert!(request.deadline > Instant::now());
            self.asked.lock().unwrap().push(Asked {
                text: request.text.to_owned(),
                source: request.source.map(ToOwned::to_owned),
                target: request.target.to_owned(),
                formality: request.formality,
                mask_profanity: request.mask_profanity,
                terminologies: request.terminologies.to_vec(),
            });
            let translated = match request.text {
                "unavailable" => Err(TransformError::new(Reason::Unavailable, "the translator is away")),
                text => Ok(Translation {
                    text: text.chars().rev().collect(),
                    source: request.source.unwrap_or("fr").to_owned(),
                }),
            };
            Box::pin(ready(translated))
        }
    }

    fn with_fake(list: &str) -> (Vec<Stage>, Arc<FakeTranslator>) {
        let fake = Arc::new(FakeTranslator::default());
        let transforms = Transforms::standard().with_translator(Arc::clone(&fake) as Arc<dyn Translator>);
        (faulty_in(&transforms, list, true).unwrap(), fake)
    }

    async fn translated(
        settings: &str,
        text: &str,
        document: Option<&Value>,
    ) -> (Result<Message<'static>, TransformError>, Vec<Asked>) {
        let (stages, fake) = with_fake(&format!("[{{ translate = {{ {settings} }} }}]"));
        let message = through_in(&stages, text, &[], document).await.map(|transformed| match transformed {
            Transformed::Message(message) => message,
            Transformed::Dropped(reason) => panic!("dropped: {reason}"),
        });
        let asked = fake.asked.lock().unwrap().clone();
        (message, asked)
    }

    #[tokio::test]
    async fn the_service_is_asked_for_what_is_set() {
        let (message, asked) = translated("target = 'es'", "abc", None).await;
        let message = message.unwrap();
        assert_eq!((&*message.text, message.language.as_deref()), ("cba", Some("fr")));
        let plain = Asked {
            text: "abc".to_owned(),
            source: None,
            target: "es".to_owned(),
            formality: None,
            mask_profanity: false,
            terminologies: Vec::new(),
        };
        assert_eq!(asked, std::slice::from_ref(&plain));
        let all = "target = 'pt-PT', source = 'en', formality = 'informal', mask_profanity = true, \
                   terminologies = ['our-names_1']";
        let (message, asked) = translated(all, "abc", None).await;
        assert_eq!(message.unwrap().language.as_deref(), Some("en"));
        let everything = Asked {
            source: Some("en".to_owned()),
            target: "pt-PT".to_owned(),
            formality: Some(Formality::Informal),
            mask_profanity: true,
            terminologies: vec!["our-names_1".to_owned()],
            ..plain
        };
        assert_eq!(asked, [everything]);
    }

    #[tokio::test]
    async fn a_text_without_a_letter_stays_as_it_is() {
        for text in ["", " \n", "12:30", "😀!?", "---", "٣ ៥"] {
            let (message, asked) = translated("target = 'es'", text, None).await;
            let message = message.unwrap();
            assert_eq!((&*message.text, message.language), (text, None));
            assert_eq!(asked, [], "{text}");
        }
        for text in ["a", "1 é", "字", "ª"] {
            let (_, asked) = translated("target = 'es'", text, None).await;
            assert_eq!(asked.len(), 1, "{text}");
        }
    }

    #[tokio::test]
    async fn the_document_may_have_the_source() {
        let settings = "target = 'es', source = '/from/language'";
        let source = async |code: Value| {
            let document = json!({ "from": { "language": code } });
            let (message, asked) = translated(settings, "abc", Some(&document)).await;
            message.map(|message| (message.language.unwrap().into_owned(), asked.into_iter().next()))
        };
        let (language, asked) = source(json!("de")).await.unwrap();
        assert_eq!((language.as_str(), asked.unwrap().source.as_deref()), ("de", Some("de")));
        for unknown in [json!(""), json!("auto"), json!(null)] {
            let (language, asked) = source(unknown).await.unwrap();
            assert_eq!((language.as_str(), asked.unwrap().source), ("fr", None));
        }
        let (_, asked) = source(json!("EN_us")).await.unwrap();
        assert_eq!(asked.unwrap().source.as_deref(), Some("en"));
        for same in ["es", "ES", "es_ES"] {
            let document = json!({ "from": { "language": same } });
            let (message, asked) = translated(settings, "abc", Some(&document)).await;
            let message = message.unwrap();
            assert_eq!((&*message.text, message.language.as_deref()), ("abc", Some("es")));
            assert_eq!(asked, []);
        }
        for wrong in [json!(1), json!(["de"]), json!("German"), json!("secret message")] {
            let error = source(wrong).await.unwrap_err();
            assert_eq!(error.reason, Reason::InvalidArgument);
            assert_eq!(
                error.detail,
                "the member /from/language of the document is not the code of a language, as \"en\""
            );
        }
        for unreadable in ["\"\\ud83d\"", "1e999"] {
            let text = format!(r#"{{"from":{{"language":"de"}},"beside":{unreadable}}}"#);
            let (stages, fake) = with_fake(&format!("[{{ translate = {{ {settings} }} }}]"));
            let around = Around::new(&text);
            let event = event("cache", "topic", 1);
            let deadline = Instant::now() + crate::testing::TIMEOUT;
            let context = Context { event: &event, captures: &[], document: Some(&around), deadline };
            stages[0].apply(Message::new("abc"), &context).await.unwrap();
            assert_eq!(fake.asked.lock().unwrap()[0].source.as_deref(), Some("de"));
        }
        for document in [None, Some(&json!({})), Some(&json!([1]))] {
            let (message, asked) = translated(settings, "abc", document).await;
            assert_eq!((message.unwrap().language.as_deref(), asked.len()), (Some("fr"), 1));
        }
    }

    #[tokio::test]
    async fn a_language_that_is_known_is_not_found_out_again() {
        let event = event("cache", "topic", 1);
        let context = Context {
            event: &event,
            captures: &[],
            document: None,
            deadline: Instant::now() + crate::testing::TIMEOUT,
        };
        for (text, known, source) in [
            (event.text.as_str(), Some("de"), Some(Some("de"))),
            // In the target already: not asked at all.
            (event.text.as_str(), Some("es"), None),
            (event.text.as_str(), None, Some(None)),
            // Another text than the one whose language it is.
            ("something else", Some("de"), Some(None)),
            ("something else", Some("es"), Some(None)),
        ] {
            let (stages, fake) = with_fake("[{ translate = { target = 'es' } }]");
            let message = Message { text: text.into(), language: known.map(Cow::Borrowed) };
            stages[0].transform().apply(message, &context).await.unwrap();
            let asked = fake.asked.lock().unwrap().iter().map(|asked| asked.source.clone()).next();
            assert_eq!(asked, source.map(|source| source.map(ToOwned::to_owned)), "{text} {known:?}");
        }
    }

    #[tokio::test]
    async fn one_translation_after_another_is_of_the_text_that_is_there() {
        let (stages, fake) =
            with_fake("[{ translate = { target = 'es' } }, { translate = { target = 'fr' } }]");
        through(&stages, "abc").await.unwrap();
        let sources: Vec<_> = fake.asked.lock().unwrap().iter().map(|asked| asked.source.clone()).collect();
        assert_eq!(sources, [None, None]);
    }

    #[tokio::test]
    async fn a_text_that_is_too_large_is_not_sent() {
        let (message, asked) = translated("target = 'es'", &"é".repeat(5_000), None).await;
        assert_eq!((message.is_ok(), asked.len()), (true, 1));
        let (message, asked) = translated("target = 'es'", &"é".repeat(5_001), None).await;
        assert_eq!((message.unwrap_err().reason, asked.len()), (Reason::TooLarge, 0));
        let (message, asked) = translated("target = 'es', max_bytes = 3", "abcd", None).await;
        assert_eq!((message.unwrap_err().reason, asked.len()), (Reason::TooLarge, 0));
    }

    #[tokio::test]
    async fn what_the_service_says_is_handed_on() {
        let (message, _) = translated("target = 'es'", "unavailable", None).await;
        assert_eq!(message.unwrap_err().reason, Reason::Unavailable);
    }

    #[test]
    fn there_is_none_without_a_translator() {
        let faults = faulty("[{ translate = { target = 'es' } }]").unwrap_err();
        assert!(faults[0].1.contains("no Amazon Translate"), "{faults:?}");
        assert!(faults[0].1.contains("`pseudolocalize`"), "{faults:?}");
    }

    #[test]
    fn settings_that_cannot_be_right_are_refused_with_their_place() {
        let transforms = Transforms::standard().with_translator(Arc::new(FakeTranslator::default()));
        for (settings, place, says) in [
            ("target = 'auto'", "'auto'", "\"auto\" is for the source"),
            ("target = 'spanish'", "'spanish'", "as \"es\""),
            ("target = 'ES'", "'ES'", "is not the code of a language"),
            ("target = 'es-'", "'es-'", "is not the code of a language"),
            ("target = 'es', source = 'Auto'", "'Auto'", "is not a source"),
            ("target = 'es', source = '/a~'", "'/a~'", "a tilde is written ~0"),
            ("target = 'es', source = '/lang'", "{ ", "only inside `json` there is one"),
            ("target = 'es', source = 'es'", "{ ", "the same language"),
            ("target = 'es-mx', source = 'es-MX'", "{ ", "the same language"),
            ("target = 'es', formality = 'rude'", "'rude'", "formal"),
            ("target = 'es', max_bytes = 10001", "{ ", "from 1 to 10000"),
            ("target = 'es', max_bytes = 0", "{ ", "from 1 to 10000"),
            ("target = 'es', terminologies = ['a', 'b']", "{ ", "at most 1 terminology"),
            ("target = 'es', terminologies = ['a b']", "{ ", "is no terminology"),
            ("target = 'es', terminologies = ['']", "{ ", "is no terminology"),
        ] {
            let faults =
                faulty_of(&transforms, &format!("[{{ translate = {{ {settings} }} }}]")).unwrap_err();
            let (at, message) = &faults[0];
            assert!(at.starts_with(place) && message.contains(says), "{settings}: {faults:?}");
        }
        assert!(faulty_of(&transforms, "[{ translate = {} }]").unwrap_err()[0].1.contains("target"));
    }

    #[test]
    fn what_is_not_set_is_not_in_the_canonical_form() {
        let (stages, _) = with_fake(
            "[{ translate = { target = 'es', source = 'auto', mask_profanity = false, terminologies = [] } }, \
             { translate = { target = 'es', source = '/a', formality = 'formal' } }]",
        );
        assert_eq!(stages[0].settings(), r#"{"target":"es"}"#);
        assert_eq!(stages[1].settings(), r#"{"formality":"formal","source":"/a","target":"es"}"#);
    }

    #[test]
    fn a_request_shows_no_text() {
        let request = Request {
            text: "a secret",
            source: None,
            target: "es",
            formality: None,
            mask_profanity: false,
            terminologies: &[],
            deadline: Instant::now(),
        };
        assert!(!format!("{request:?}").contains("secret"));
    }

    #[test]
    fn folds_case_and_separator_of_codes_from_data() {
        for (given, expected) in [
            ("en", "en"),
            ("EN", "en"),
            ("en_US", "en"),
            ("en-us", "en"),
            (" De ", "de"),
            ("es_419", "es"),
            ("zh_Hans", "zh"),
            ("ZH_tw", "zh-TW"),
            ("zh_Hant", "zh-TW"),
            ("zh-HK", "zh-TW"),
            ("pt-pt", "pt-PT"),
            ("AUTO", AUTO),
            ("", ""),
        ] {
            assert_eq!(folded(given), expected, "{given:?}");
            assert!(expected.is_empty() || is_code(expected) || expected == AUTO, "{expected}");
        }
        for wrong in ["English", "e", "en-", "en US", "12", "en_US_POSIX"] {
            assert!(!is_code(&folded(wrong)), "{wrong:?}");
        }
    }
}
