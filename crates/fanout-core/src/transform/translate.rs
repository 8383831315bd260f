//! `translate`: translates the text with Amazon Translate.
//!
//! ```toml
//! transforms = [{ translate = { target = "es", formality = "informal", mask_profanity = true } }]
//! ```
//!
//! Without `source`, the service detects the language of the text. The settings and their limits are those of
//! `TranslateText` in the API reference of Amazon Translate. `pseudolocalize` has the same settings, and needs no account.
//!
//! A text without letters, or already in the target language, stays unchanged, and the service is not called. Languages are
//! equal if their codes are, apart from case: `en` is translated to `en-US` if the service supports it.
//!
//! The message's `language` becomes the language that the text was translated from. If the text is still the original, a
//! known `language` is the source, and the service need not detect it. After another `translate`, it is the language of a
//! text that was replaced.
//!
//! The service is behind the trait [`Translator`].

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{Build, Context, Message, Transform, TransformFuture, TransformSettings, Transformed};
use crate::json::Pointer;
use crate::reason::{Failure, Reason};

/// The maximum size in bytes of a text in one request ("Guidelines and quotas" in the guide of Amazon Translate).
pub const MAX_BYTES: usize = 10_000;

/// The maximum number of terminologies for one text (the same page).
const MAX_TERMINOLOGIES: usize = 1;

/// The maximum length of a terminology's name (`TranslateText` in the API reference).
const MAX_TERMINOLOGY_NAME: usize = 256;

/// A translation service. It retries transient failures itself.
pub trait Translator: fmt::Debug + Send + Sync {
    /// Translates a text. The caller may drop the future at any time, and does at the deadline.
    fn translate<'t>(
        &'t self,
        request: TranslationRequest<'t>,
    ) -> BoxFuture<'t, Result<Translation, Failure>>;
}

/// A request for a translation.
#[derive(Clone, Copy)]
pub struct TranslationRequest<'t> {
    /// The text, which has a letter, and at most [`MAX_BYTES`].
    pub text: &'t str,
    /// The code of its language; `None` to detect it.
    pub source: Option<&'t str>,
    /// The code of the target language, which differs from `source`.
    pub target: &'t str,
    /// The tone.
    pub formality: Option<Formality>,
    /// True if the service replaces profane words by `?$#@$`.
    pub mask_profanity: bool,
    /// The names of terminologies to apply, at most one.
    pub terminologies: &'t [String],
    /// The time at which the caller stops waiting.
    pub deadline: Instant,
}

/// A translated text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translation {
    /// The text.
    pub text: String,
    /// The code of the language that it was translated from.
    pub source: String,
}

/// The tone of a translation, for languages that have formal and informal speech.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Formality {
    /// Speech for strangers.
    Formal,
    /// Speech for friends.
    Informal,
}

/// The settings of `translate` and `pseudolocalize`.
#[derive(Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TranslateSettings {
    /// The code of the target language: `es`, `zh-TW`.
    target: LanguageCode,
    /// The code of the text's language; or `auto`, to detect it; or, inside `json`, the JSON Pointer of the code in the
    /// document, such as `/sourceLanguage`. If the document has no code there, it is detected. Default: `auto`.
    #[serde(default, skip_serializing_if = "SourceLanguage::is_auto")]
    source: SourceLanguage,
    /// The tone, `formal` or `informal`, for languages that support it. Default: the choice of the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    formality: Option<Formality>,
    /// Whether the service masks profane words. Default: `false`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    mask_profanity: bool,
    /// The names of custom terminologies, at most one. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    terminologies: Vec<String>,
    /// The maximum size of a text in bytes of UTF-8, from 1 to 10000. The transform fails for a larger one. Default: 10000.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_bytes: Option<usize>,
}

/// The code of a language, such as `en` or `zh-TW`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(with = "String"))]
#[serde(try_from = "String", into = "String")]
struct LanguageCode(String);

/// The origin of a text's language code.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(with = "String"))]
#[serde(try_from = "String", into = "String")]
enum SourceLanguage {
    /// The service detects it.
    #[default]
    Auto,
    /// It is constant.
    Code(LanguageCode),
    /// The document that contains the text has it there.
    Pointer(Pointer),
}

/// The transform of [`TranslateSettings`] with a translator.
#[derive(Debug)]
pub(super) struct Translate {
    settings: TranslateSettings,
    max_bytes: usize,
    translator: Arc<dyn Translator>,
}

impl TransformSettings for TranslateSettings {
    const NAME: &'static str = "translate";

    fn build(self, with: Build<'_>) -> Result<Arc<dyn Transform>, String> {
        let Some(translator) = with.translator else {
            return Err(
                "this build lacks Amazon Translate; build with the cargo feature `translate`, or use `pseudolocalize`"
                    .into(),
            );
        };
        Ok(Arc::new(Translate::new(self, translator, with.is_inside)?))
    }
}

impl Translate {
    /// # Errors
    /// If the settings exceed the limits of the service, or have a pointer outside `json`.
    pub(super) fn new(
        settings: TranslateSettings,
        translator: Arc<dyn Translator>,
        is_inside: bool,
    ) -> Result<Self, String> {
        let max_bytes = settings.max_bytes.unwrap_or(MAX_BYTES);
        if !(1..=MAX_BYTES).contains(&max_bytes) {
            return Err(format!("`max_bytes` is {max_bytes}; expected 1 to {MAX_BYTES}"));
        }
        if settings.terminologies.len() > MAX_TERMINOLOGIES {
            return Err(format!("`terminologies` has more than {MAX_TERMINOLOGIES} name"));
        }
        if let Some(name) = settings.terminologies.iter().find(|name| !is_terminology(name)) {
            return Err(format!(
                "{name:?} is not the name of a terminology; expected 1 to {MAX_TERMINOLOGY_NAME} letters, digits, `-` and single `_`"
            ));
        }
        if let (SourceLanguage::Pointer(pointer), false) = (&settings.source, is_inside) {
            return Err(format!(
                "`source` is the pointer {:?}, which works only in the transforms inside `json`; expected \"auto\" or a \
                 language code such as \"en\"",
                pointer.as_str()
            ));
        }
        let is_same = matches!(&settings.source, SourceLanguage::Code(source) if is_same(&source.0, &settings.target.0));
        if is_same {
            return Err("`source` and `target` are the same language".into());
        }
        Ok(Self { settings, max_bytes, translator })
    }

    async fn translate<'t>(
        &'t self,
        message: Message<'t>,
        context: &'t Context<'t>,
    ) -> Result<Message<'t>, Failure> {
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
            return Err(Failure::new(
                Reason::TooLarge,
                format!("the text has more than {most} bytes, the limit for a translation"),
            ));
        }
        let request = TranslationRequest {
            text: &message.text,
            source: source.as_deref(),
            target: &settings.target.0,
            formality: settings.formality,
            mask_profanity: settings.mask_profanity,
            terminologies: &settings.terminologies,
            deadline: context.deadline,
        };
        let translation = self.translator.translate(request).await?;
        let language = Some(translation.source.into());
        Ok(Message { text: translation.text.into(), language, found: message.found })
    }

    /// Returns the code of the text's language, if it is known.
    fn source<'t>(
        &'t self,
        message: &Message<'t>,
        context: &Context<'t>,
    ) -> Result<Option<Cow<'t, str>>, Failure> {
        let code = match &self.settings.source {
            SourceLanguage::Auto => None,
            SourceLanguage::Code(code) => Some(code.0.as_str()),
            SourceLanguage::Pointer(pointer) => {
                match context.document.and_then(|document| pointer.find_in(document)) {
                    None => None,
                    // As for `token_id`, `null` is the same as a member that is missing.
                    Some(member) if member.as_str() == "null" => None,
                    Some(member) => match member.string().map(|code| folded(&code)) {
                        Some(code) if code.is_empty() || code == AUTO => None,
                        Some(code) if is_code(&code) => return Ok(Some(Cow::Owned(code))),
                        _ => {
                            return Err(Failure::invalid(format!(
                                "the value at {:?} is not a language code such as \"en\"",
                                pointer.as_str()
                            )));
                        }
                    },
                }
            }
        };
        let is_original = *message.text == *context.event.text;
        let detected = || message.language.clone().filter(|_| is_original);
        Ok(code.map(Cow::Borrowed).or_else(detected))
    }
}

impl Transform for Translate {
    fn apply<'t>(&'t self, message: Message<'t>, context: &'t Context<'t>) -> TransformFuture<'t> {
        Box::pin(async move { self.translate(message, context).await.map(Transformed::Message) })
    }
}

const AUTO: &str = "auto";

impl SourceLanguage {
    fn is_auto(&self) -> bool {
        *self == Self::Auto
    }
}

impl TryFrom<String> for LanguageCode {
    type Error = String;

    fn try_from(code: String) -> Result<Self, String> {
        if code == AUTO {
            return Err("\"auto\" is not a target; expected a language code such as \"es\"".to_owned());
        }
        if is_code(&code) {
            return Ok(Self(code));
        }
        Err(format!("{code:?} is not a language code; expected one such as \"es\" or \"zh-TW\""))
    }
}

impl From<LanguageCode> for String {
    fn from(code: LanguageCode) -> Self {
        code.0
    }
}

impl TryFrom<String> for SourceLanguage {
    type Error = String;

    fn try_from(source: String) -> Result<Self, String> {
        match source.as_str() {
            AUTO => Ok(Self::Auto),
            pointer if pointer.starts_with('/') => Pointer::new(source).map(Self::Pointer),
            code if is_code(code) => Ok(Self::Code(LanguageCode(source))),
            _ => Err(format!(
                "{source:?} is not a source; expected \"auto\", a language code such as \"en\", or a JSON Pointer such \
                 as \"/sourceLanguage\""
            )),
        }
    }
}

impl From<SourceLanguage> for String {
    fn from(source: SourceLanguage) -> Self {
        match source {
            SourceLanguage::Auto => AUTO.to_owned(),
            SourceLanguage::Code(code) => code.0,
            SourceLanguage::Pointer(pointer) => pointer.as_str().to_owned(),
        }
    }
}

/// Returns true if `code` has the form of a language code. The service decides which codes exist.
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

/// Returns a code from data in the form of the service: `EN`, `en_US` and `en-us` become `en`, and `ZH_tw` becomes
/// `zh-TW`. An invalid code stays invalid.
fn folded(code: &str) -> String {
    let code = code.trim().replace('_', "-");
    if let Some(regional) = REGIONAL.iter().find(|regional| is_same(regional, &code)) {
        return (*regional).to_owned();
    }
    let is_traditional = |region: &str| ["hant", "hk", "mo"].iter().any(|one| is_same(one, region));
    match code.split_once('-') {
        // The service has two codes for Chinese: `zh` is simplified, `zh-TW` is traditional.
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
    (1..=MAX_TERMINOLOGY_NAME).contains(&name.len())
        && name.bytes().all(is_known)
        && !name.starts_with('_')
        && !name.contains("__")
}

/// Does not show the text, which is a user's message.
impl fmt::Debug for TranslationRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TranslationRequest")
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
    use crate::transform::{Stage, Transforms};

    /// Records requests, reverses texts, and detects French in all of them.
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
            request: TranslationRequest<'t>,
        ) -> BoxFuture<'t, Result<Translation, Failure>> {
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
                "unavailable" => Err(Failure::new(Reason::Unavailable, "the translator is away")),
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
    ) -> (Result<Message<'static>, Failure>, Vec<Asked>) {
        let (stages, fake) = with_fake(&format!("[{{ translate = {{ {settings} }} }}]"));
        let message = through_in(&stages, text, &[], document).await.map(|transformed| match transformed {
            Transformed::Message(message) => message,
            Transformed::Dropped(reason) => panic!("dropped: {reason}"),
        });
        let asked = fake.asked.lock().unwrap().clone();
        (message, asked)
    }

    #[tokio::test]
    async fn sends_settings_to_the_service() {
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
    async fn leaves_text_without_letters_unchanged() {
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
    async fn reads_source_from_document() {
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
            assert_eq!(error.detail, "the value at \"/from/language\" is not a language code such as \"en\"");
        }
        for unreadable in ["\"\\ud83d\"", "1e999"] {
            let text = format!(r#"{{"from":{{"language":"de"}},"beside":{unreadable}}}"#);
            let (stages, fake) = with_fake(&format!("[{{ translate = {{ {settings} }} }}]"));
            let event = event("cache", "topic", 1);
            let deadline = Instant::now() + crate::testing::TIMEOUT;
            let context =
                Context { event: &event, captures: &[], document: Some(&text), items: None, deadline };
            stages[0].apply(Message::new("abc"), &context).await.unwrap();
            assert_eq!(fake.asked.lock().unwrap()[0].source.as_deref(), Some("de"));
        }
        for document in [None, Some(&json!({})), Some(&json!([1]))] {
            let (message, asked) = translated(settings, "abc", document).await;
            assert_eq!((message.unwrap().language.as_deref(), asked.len()), (Some("fr"), 1));
        }
    }

    #[tokio::test]
    async fn uses_known_language_of_original_text() {
        let event = event("cache", "topic", 1);
        let context = Context {
            event: &event,
            captures: &[],
            document: None,
            items: None,
            deadline: Instant::now() + crate::testing::TIMEOUT,
        };
        for (text, known, source) in [
            (event.text.as_str(), Some("de"), Some(Some("de"))),
            // The text is in the target language already: no request.
            (event.text.as_str(), Some("es"), None),
            (event.text.as_str(), None, Some(None)),
            // The text is not the original, whose language it is.
            ("something else", Some("de"), Some(None)),
            ("something else", Some("es"), Some(None)),
        ] {
            let (stages, fake) = with_fake("[{ translate = { target = 'es' } }]");
            let message = Message { text: text.into(), language: known.map(Cow::Borrowed), found: None };
            stages[0].transform().apply(message, &context).await.unwrap();
            let asked = fake.asked.lock().unwrap().iter().map(|asked| asked.source.clone()).next();
            assert_eq!(asked, source.map(|source| source.map(ToOwned::to_owned)), "{text} {known:?}");
        }
    }

    #[tokio::test]
    async fn second_translation_detects_language_again() {
        let (stages, fake) =
            with_fake("[{ translate = { target = 'es' } }, { translate = { target = 'fr' } }]");
        through(&stages, "abc").await.unwrap();
        let sources: Vec<_> = fake.asked.lock().unwrap().iter().map(|asked| asked.source.clone()).collect();
        assert_eq!(sources, [None, None]);
    }

    #[tokio::test]
    async fn does_not_send_text_that_is_too_large() {
        let (message, asked) = translated("target = 'es'", &"é".repeat(5_000), None).await;
        assert_eq!((message.is_ok(), asked.len()), (true, 1));
        let (message, asked) = translated("target = 'es'", &"é".repeat(5_001), None).await;
        assert_eq!((message.unwrap_err().reason, asked.len()), (Reason::TooLarge, 0));
        let (message, asked) = translated("target = 'es', max_bytes = 3", "abcd", None).await;
        assert_eq!((message.unwrap_err().reason, asked.len()), (Reason::TooLarge, 0));
    }

    #[tokio::test]
    async fn returns_failure_of_the_service() {
        let (message, _) = translated("target = 'es'", "unavailable", None).await;
        assert_eq!(message.unwrap_err().reason, Reason::Unavailable);
    }

    #[test]
    fn rejects_translate_without_translator() {
        let faults = faulty("[{ translate = { target = 'es' } }]").unwrap_err();
        assert!(faults[0].1.contains("lacks Amazon Translate"), "{faults:?}");
        assert!(faults[0].1.contains("`pseudolocalize`"), "{faults:?}");
    }

    #[test]
    fn rejects_invalid_settings_with_their_place() {
        let transforms = Transforms::standard().with_translator(Arc::new(FakeTranslator::default()));
        for (settings, place, says) in [
            ("target = 'auto'", "'auto'", "\"auto\" is not a target"),
            ("target = 'spanish'", "'spanish'", "such as \"es\""),
            ("target = 'ES'", "'ES'", "is not a language code"),
            ("target = 'es-'", "'es-'", "is not a language code"),
            ("target = 'es', source = 'Auto'", "'Auto'", "is not a source"),
            ("target = 'es', source = '/a~'", "'/a~'", "write `~0` for `~`"),
            ("target = 'es', source = '/lang'", "{ ", "only in the transforms inside `json`"),
            ("target = 'es', source = 'es'", "{ ", "the same language"),
            ("target = 'es-mx', source = 'es-MX'", "{ ", "the same language"),
            ("target = 'es', formality = 'rude'", "'rude'", "formal"),
            ("target = 'es', max_bytes = 10001", "{ ", "expected 1 to 10000"),
            ("target = 'es', max_bytes = 0", "{ ", "expected 1 to 10000"),
            ("target = 'es', terminologies = ['a', 'b']", "{ ", "more than 1 name"),
            ("target = 'es', terminologies = ['a b']", "{ ", "is not the name of a terminology"),
            ("target = 'es', terminologies = ['']", "{ ", "is not the name of a terminology"),
        ] {
            let faults =
                faulty_of(&transforms, &format!("[{{ translate = {{ {settings} }} }}]")).unwrap_err();
            let (at, message) = &faults[0];
            assert!(at.starts_with(place) && message.contains(says), "{settings}: {faults:?}");
        }
        assert!(faulty_of(&transforms, "[{ translate = {} }]").unwrap_err()[0].1.contains("target"));
    }

    #[test]
    fn leaves_defaults_out_of_canonical_form() {
        let (stages, _) = with_fake(
            "[{ translate = { target = 'es', source = 'auto', mask_profanity = false, terminologies = [] } }, \
             { translate = { target = 'es', source = '/a', formality = 'formal' } }]",
        );
        assert_eq!(stages[0].settings(), r#"{"target":"es"}"#);
        assert_eq!(stages[1].settings(), r#"{"formality":"formal","source":"/a","target":"es"}"#);
    }

    #[test]
    fn debug_of_request_shows_no_text() {
        let request = TranslationRequest {
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
