//! `moderate`: profanity and abuse are masked, marked, or dropped with the whole text.
//!
//! ```toml
//! transforms = [
//!     "moderate",
//!     { moderate = { action = "drop", mean = "moderate", languages = ["en"], allow = ["damn"], deny = ["acme corp"] } },
//! ]
//! ```
//!
//! A service can classify what the lists leave: `moderate = { service = "comprehend", threshold = 0.6 }`. It is behind the trait
//! [`Classifier`].
//!
//! The crate `fanout_moderation` has the words and finds them; this is what a file may say of it. It never lets a text go on
//! because it failed.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

pub use fanout_moderation::Finding;
use fanout_moderation::phrases::Phrases;
use fanout_moderation::{Counts, Kind, Kinds, Language, Moderator, Severity as From, masked};
use futures_util::future::FutureExt as _;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use unicode_normalization::char::is_combining_mark;

use super::classifier::{ClassificationRequest, Classifier, Label, MAX_SEGMENTS, segments};
use super::{Build, Context, Message, Transform, TransformFuture, TransformSettings, Transformed};
use crate::reason::{Failure, Reason};

/// Every setting has a default.
#[derive(Debug, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Moderate {
    /// What becomes of a text with something bad in it: `"mask"` puts a sign in place of each bad character,
    /// `"mark"` writes something in front of it, `"drop"` drops it. Default: `"mask"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<Action>,
    /// From which severity on swearing counts: `"mild"`, `"moderate"`, `"severe"` or `"off"`. Default:
    /// `"moderate"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    profane: Option<Severity>,
    /// The same of slurs and of what is said against groups of people. Default: `"moderate"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    offensive: Option<Severity>,
    /// The same of sexual words. Default: `"moderate"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    sexual: Option<Severity>,
    /// The same of what is meant to hurt. Default: `"severe"`, as `kill yourself` is and `you are ugly` is
    /// not.
    #[serde(skip_serializing_if = "Option::is_none")]
    mean: Option<Severity>,
    /// The languages whose lists count: `["en", "es"]`. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    languages: Option<Vec<LanguageCode>>,
    /// Words and phrases that never count, in any case: `["damn"]`. In a word `*` stands for any letters: `["damn*"]`.
    /// Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    allow: Vec<String>,
    /// Words and phrases that always count, in any case, spelled as they are here: `["acme corp"]`. In a word `*`
    /// stands for any letters: `["*coin"]`. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    deny: Vec<String>,
    /// The sign that `"mask"` puts in place of each character; white space stays. Default: `"*"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    mask: Option<char>,
    /// What `"mark"` writes in front of the text. Default: `"[moderated] "`.
    #[serde(skip_serializing_if = "Option::is_none")]
    mark: Option<String>,
    /// The service that classifies what the lists leave, in segments of 1 KB: `"comprehend"` is Amazon Comprehend, for
    /// English. A segment that it finds toxic counts as a whole. If it fails, the transform fails. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    /// The score of the service from which on a segment counts, above 0 and up to 1. Default: 0.5.
    #[serde(skip_serializing_if = "Option::is_none")]
    threshold: Option<f32>,
}

/// The name of the service that is Amazon Comprehend.
pub const COMPREHEND: &str = "comprehend";

const DEFAULT_THRESHOLD: f32 = 0.5;

/// The number of calls of a service for one text at the same time.
const CALLS_AT_ONCE: usize = 4;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
enum Action {
    #[default]
    Mask,
    Mark,
    Drop,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
enum Severity {
    Off,
    Mild,
    Moderate,
    Severe,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
enum LanguageCode {
    De,
    En,
    Es,
    Fr,
    It,
    Ja,
    Pt,
    Ru,
    Zh,
}

/// The settings, read.
#[derive(Debug)]
pub struct Moderation {
    verdict: Verdict,
    moderator: Moderator,
}

/// A moderation with a service as its second stage.
#[derive(Debug)]
struct Classified {
    moderation: Moderation,
    service: String,
    threshold: f32,
    classifier: Arc<dyn Classifier>,
}

/// What becomes of a text.
#[derive(Debug)]
enum Verdict {
    Mask(char),
    Mark(String),
    Drop,
}

impl TransformSettings for Moderate {
    const NAME: &'static str = "moderate";
    const MAY_PASS: bool = false;

    fn build(mut self, with: Build<'_>) -> Result<Arc<dyn Transform>, String> {
        let (service, threshold) = (self.service.take(), self.threshold.take());
        let Some(service) = service else {
            return match threshold {
                None => Ok(Arc::new(Moderation::new(self)?)),
                Some(_) => Err("`threshold` is for a `service`".to_owned()),
            };
        };
        let threshold = threshold.unwrap_or(DEFAULT_THRESHOLD);
        if !(threshold > 0.0 && threshold <= 1.0) {
            return Err(format!("`threshold` is {threshold}; expected a number above 0 and up to 1"));
        }
        let Some(classifier) = with.classifiers.get(service.as_str()).cloned() else {
            if service == COMPREHEND {
                return Err("this build lacks Amazon Comprehend; build with the cargo feature `comprehend`"
                    .to_owned());
            }
            let known: Vec<_> = with.classifiers.keys().map(|name| format!("`{name}`")).collect();
            return Err(format!("unknown service {service:?}; expected one of {}", known.join(", ")));
        };
        Ok(Arc::new(Classified { moderation: Moderation::read(self, true)?, service, threshold, classifier }))
    }
}

impl Moderation {
    /// Reads the settings of the lists.
    ///
    /// # Errors
    /// If settings do not go together.
    pub fn new(settings: Moderate) -> Result<Self, String> {
        Self::read(settings, false)
    }

    fn read(settings: Moderate, has_service: bool) -> Result<Self, String> {
        let verdict = verdict(settings.action, settings.mask, settings.mark)?;
        let from = |severity: Option<Severity>, default| severity.unwrap_or(default).counts_from();
        let counts = Counts {
            profane: from(settings.profane, Severity::Moderate),
            offensive: from(settings.offensive, Severity::Moderate),
            sexual: from(settings.sexual, Severity::Moderate),
            mean: from(settings.mean, Severity::Severe),
        };
        let (allow, deny) = (Phrases::new(&settings.allow)?, Phrases::new(&settings.deny)?);
        if let Some(both) = settings.deny.iter().find(|word| allow.is(word)) {
            return Err(format!("{both:?} is in allow and in deny"));
        }
        if counts == Counts::default() && deny.is_empty() && !has_service {
            return Err("with all kinds \"off\", moderate needs words to deny".to_owned());
        }
        let languages = match &settings.languages {
            None => Language::ALL.to_vec(),
            Some(codes) if codes.is_empty() => {
                return Err("languages is empty: no list would count".to_owned());
            }
            Some(codes) => codes.iter().map(|code| code.language()).collect(),
        };
        Ok(Self { verdict, moderator: Moderator { counts, languages, allow, deny } })
    }

    /// Reads the settings as a file has them behind `moderate =`: `{ action = "drop" }`.
    ///
    /// # Errors
    /// If the text is not a TOML value, its settings are invalid, or they have a `service`.
    pub fn parse(settings: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Document {
            moderate: Moderate,
        }
        let document: Result<Document, _> = toml::from_str(&format!("moderate = {settings}"));
        let settings = document.map_err(|error| error.message().to_owned())?.moderate;
        if settings.service.is_some() {
            return Err("`service` is set, and only the lists are searched here; leave it out".to_owned());
        }
        Self::new(settings)
    }

    /// Returns what counts in `text`, in order.
    #[must_use]
    pub fn find(&self, text: &str) -> Vec<Finding> {
        self.moderator.find(text)
    }

    /// Returns the text that goes on after `found` was found in `text`, or the reason why none does.
    ///
    /// # Errors
    /// If the text is dropped.
    pub fn result<'t>(&self, text: &'t str, found: &[Finding]) -> Result<Cow<'t, str>, String> {
        if found.is_empty() {
            return Ok(Cow::Borrowed(text));
        }
        match &self.verdict {
            Verdict::Mask(mask) => Ok(Cow::Owned(self.moderator.mask(text, found, *mask))),
            Verdict::Mark(mark) => Ok(Cow::Owned([mark, text].concat())),
            Verdict::Drop => Err(self.reason(found)),
        }
    }

    /// Names the kinds of what was found, and nothing of the text.
    fn reason(&self, found: &[Finding]) -> String {
        let mut kinds: Vec<_> = found.iter().flat_map(|it| self.kinds(it)).collect();
        kinds.sort_unstable();
        kinds.dedup();
        format!("moderate: the text has words that are not let through ({})", kinds.join(", "))
    }

    /// Returns the names of the kinds for which a finding counts; `denied` for one of the operator.
    #[must_use]
    pub fn kinds(&self, finding: &Finding) -> Vec<&'static str> {
        let kinds: Vec<_> = finding.kinds.counted(self.moderator.counts).map(Kind::name).collect();
        if kinds.is_empty() { vec!["denied"] } else { kinds }
    }
}

fn verdict(action: Option<Action>, sign: Option<char>, mark: Option<String>) -> Result<Verdict, String> {
    let action = action.unwrap_or_default();
    if sign.is_some() && action != Action::Mask {
        return Err("mask is for the action \"mask\"".to_owned());
    }
    if mark.is_some() && action != Action::Mark {
        return Err("mark is for the action \"mark\"".to_owned());
    }
    let verdict = match action {
        Action::Mask => Verdict::Mask(sign.unwrap_or('*')),
        Action::Mark => Verdict::Mark(mark.unwrap_or_else(|| "[moderated] ".to_owned())),
        Action::Drop => Verdict::Drop,
    };
    match &verdict {
        Verdict::Mask(sign) if sign.is_control() || sign.is_whitespace() || is_combining_mark(*sign) => {
            Err("mask should be a sign that is seen, as \"*\"".to_owned())
        }
        Verdict::Mark(text) if text.is_empty() => {
            Err("mark is empty: nothing would tell a moderated text from others".to_owned())
        }
        Verdict::Mask(_) | Verdict::Mark(_) | Verdict::Drop => Ok(verdict),
    }
}

impl LanguageCode {
    const fn language(self) -> Language {
        match self {
            Self::De => Language::German,
            Self::En => Language::English,
            Self::Es => Language::Spanish,
            Self::Fr => Language::French,
            Self::It => Language::Italian,
            Self::Ja => Language::Japanese,
            Self::Pt => Language::Portuguese,
            Self::Ru => Language::Russian,
            Self::Zh => Language::Chinese,
        }
    }
}

impl Severity {
    const fn counts_from(self) -> Option<From> {
        match self {
            Self::Off => None,
            Self::Mild => Some(From::Mild),
            Self::Moderate => Some(From::Moderate),
            Self::Severe => Some(From::Severe),
        }
    }
}

impl Transform for Moderation {
    fn apply<'t>(&'t self, message: Message<'t>, _: &'t Context<'t>) -> TransformFuture<'t> {
        let found = self.find(&message.text);
        if found.is_empty() {
            return message.done();
        }
        match self.result(&message.text, &found).map(Cow::into_owned) {
            Ok(text) => message.with_text(text).done(),
            Err(reason) => Box::pin(std::future::ready(Ok(Transformed::Dropped(reason.into())))),
        }
    }
}

impl Classified {
    async fn classify<'t>(
        &'t self,
        message: Message<'t>,
        context: &'t Context<'t>,
    ) -> Result<Transformed<'t>, Failure> {
        let found = self.moderation.find(&message.text);
        let text = match self.moderation.result(&message.text, &found) {
            Ok(text) => text,
            Err(reason) => return Ok(Transformed::Dropped(reason.into())),
        };
        // A marked text needs no second mark.
        if !found.is_empty() && matches!(self.moderation.verdict, Verdict::Mark(_)) {
            let text = text.into_owned();
            return Ok(Transformed::Message(message.with_text(text)));
        }
        let (places, categories) = self.toxic(&text, context.deadline).await?;
        if categories.is_empty() {
            let text = text.into_owned();
            return Ok(Transformed::Message(message.with_text(text)));
        }
        let moderated = match &self.moderation.verdict {
            Verdict::Mask(mask) => {
                let finding = Finding { at: places, entry: self.service.clone(), kinds: Kinds::default() };
                masked(&text, &[finding], *mask)
            }
            Verdict::Mark(mark) => [mark, &*text].concat(),
            Verdict::Drop => {
                let categories: Vec<_> = categories.into_iter().collect();
                let reason =
                    format!("moderate: `{}` finds the text toxic ({})", self.service, categories.join(", "));
                return Ok(Transformed::Dropped(reason.into()));
            }
        };
        Ok(Transformed::Message(message.with_text(moderated)))
    }

    /// Returns these segments, each with its labels.
    async fn call(
        &self,
        text: &str,
        places: &[Range<usize>],
        deadline: Instant,
    ) -> Result<Vec<(Range<usize>, Vec<Label>)>, Failure> {
        let texts: Vec<_> = places.iter().filter_map(|at| text.get(at.clone())).collect();
        let results = self.classifier.classify(ClassificationRequest { segments: &texts, deadline }).await?;
        if results.len() != places.len() {
            return Err(Failure::new(Reason::Internal, "the response of the service lacks a segment"));
        }
        Ok(places.iter().cloned().zip(results).collect())
    }

    /// Returns the bytes of the segments that the service finds toxic, and the names of their labels.
    async fn toxic(
        &self,
        text: &str,
        deadline: Instant,
    ) -> Result<(Vec<Range<usize>>, BTreeSet<String>), Failure> {
        let segments = segments(text);
        let calls: Vec<_> =
            segments.chunks(MAX_SEGMENTS).map(|places| self.call(text, places, deadline).boxed()).collect();
        let results = stream::iter(calls).buffered(CALLS_AT_ONCE);
        let results: Vec<_> = results.try_collect().await?;
        let (mut places, mut categories) = (Vec::new(), BTreeSet::new());
        for (at, labels) in results.into_iter().flatten() {
            if let Some(label) = labels.iter().find(|label| !(0.0..=1.0).contains(&label.score)) {
                let score = label.score;
                return Err(Failure::new(
                    Reason::Internal,
                    format!("the service returned the score {score}"),
                ));
            }
            let mut counted = labels.into_iter().filter(|label| label.score >= self.threshold).peekable();
            if counted.peek().is_some() {
                places.push(at);
            }
            categories.extend(counted.map(|label| label.name));
        }
        Ok((places, categories))
    }
}

impl Transform for Classified {
    fn apply<'t>(&'t self, message: Message<'t>, context: &'t Context<'t>) -> TransformFuture<'t> {
        Box::pin(self.classify(message, context))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::transform::Transforms;
    use crate::transform::tests::{faulty, faulty_of, stages, text, through};
    use futures_util::future::BoxFuture;
    use std::sync::Mutex;

    async fn moderated(given: &str) -> String {
        text("['moderate']", given).await
    }

    #[tokio::test]
    async fn what_is_bad_is_masked_and_nothing_else() {
        for (given, wanted) in [
            ("what the fuck, Zoë?", "what the ****, Zoë?"),
            ("this is shit", "this is ****"),
            ("pass shit on", "pass **** on"),
            ("Naïve SHIT café", "Naïve **** café"),
            ("f u c k", "* * * *"),
            ("sh1t b1tch a$$hole sh!t", "**** ***** ******* ****"),
            ("fück fu\u{308}ck ｆｕｃｋ 𝒇𝒖𝒄𝒌 ⓕⓤⓒⓚ 🅵🆄🅲🅺", "**** **** **** **** **** ****"),
            ("fuсk f\u{200b}uck f\u{ad}uck", "**** *\u{200b}*** *\u{ad}***"),
            ("一 fuck 日本語 👩‍👩‍👧", "一 **** 日本語 👩‍👩‍👧"),
            ("操你妈!", "***!"),
            ("f\u{3164}uck f\u{115f}uck", "*\u{3164}*** *\u{115f}***"),
            ("f\u{1160}uck f\u{ffa0}uck", "*\u{1160}*** *\u{ffa0}***"),
            ("ƒuck fսck ꜰᴜᴄᴋ ѕһіt sհit", "**** **** **** **** ****"),
            ("\u{202e}kcuf", "\u{202e}****"),
            ("oh \u{202e}kcuf\u{202c} no, sh\u{202e}ti", "oh \u{202e}****\u{202c} no, **\u{202e}**"),
            ("\u{202e}shit fuck\u{202c}", "\u{202e}**** ****\u{202c}"),
            ("motherfucker", "************"),
        ] {
            assert_eq!(moderated(given).await, wanted);
        }
    }

    #[tokio::test]
    async fn what_is_not_bad_is_not_touched() {
        let context_event = crate::testing::event("cache", "topic", 1);
        let context = Context {
            event: &context_event,
            captures: &[],
            document: None,
            items: None,
            deadline: tokio::time::Instant::now(),
        };
        let stages = stages("['moderate']");
        for given in [
            "",
            " ",
            "Hello, how are you?",
            "Scunthorpe, assassin, cocktail, classic, Sussex, Essex, analysis, push it, he is hit",
            "8:00-9:30, $5.00 (10%), 1234567890, 555-0123, +49 30 123456, 2024-01-01T00:00:00Z",
            "https://example.com/a?b=c&d=8==3#e user@example.com {\"a\":[1,true,null]}",
            "Galaxy A55, B2B, R2D2, H2O, MP3, 3D, 5s, V8, W3C, C3PO, 50kg, i18n, k8s, **bold** !!!",
            "Ünïcödé naïve café Zoë Ångström Łódź façade, e\u{301} a\u{30a}",
            "日本語のテキストです。カタカナ、ひらがな、漢字。が か\u{3099}",
            "مرحبا، كيف حالك اليوم؟ هَذَا",
            "हिन्दी में एक वाक्य। क्षमा करें",
            "Привет, как дела? Хорошо, спасибо! Ёлка, йод, Її",
            "Ελληνικά κείμενο, καλημέρα σας",
            "한국어 텍스트입니다 \u{1112}\u{1161}\u{11ab}",
            "ภาษาไทย สวัสดี",
            "שלום עולם",
            "👩‍👩‍👧‍👦 👍🏽 🇩🇪 🏳️‍🌈 1️⃣ ❤️",
            "a\u{300}\u{301}\u{302} \u{202e}abc\u{202c} \u{feff}\u{0}\u{7f}\r\n\t",
        ] {
            let done = stages[0].apply(Message::new(given), &context).await.unwrap();
            let Transformed::Message(message) = done else { panic!("dropped: {given}") };
            assert!(matches!(message.text, Cow::Borrowed(text) if text == given), "{}", message.text);
        }
    }

    #[tokio::test]
    async fn it_marks_or_drops_or_masks_with_another_sign() {
        assert_eq!(text("[{ moderate = { mask = '█' } }]", "oh shit").await, "oh ████");
        assert_eq!(text("[{ moderate = { action = 'mark' } }]", "oh shit").await, "[moderated] oh shit");
        assert_eq!(text("[{ moderate = { action = 'mark', mark = '⚠ ' } }]", "oh shit").await, "⚠ oh shit");
        assert_eq!(text("[{ moderate = { action = 'mark' } }]", "oh well").await, "oh well");
        let done = through(&stages("[{ moderate = { action = 'drop' } }]"), "oh shit").await.unwrap();
        let reason = "moderate: the text has words that are not let through (profane)";
        assert_eq!(done, Transformed::Dropped(reason.into()));
        assert_eq!(text("[{ moderate = { action = 'drop' } }]", "oh well").await, "oh well");
    }

    #[tokio::test]
    async fn each_kind_counts_from_its_severity_on() {
        let damn = "what the hell";
        assert_eq!(moderated(damn).await, damn);
        assert_eq!(text("[{ moderate = { profane = 'mild' } }]", damn).await, "what the ****");
        assert_eq!(moderated("you are ugly").await, "you are ugly");
        assert_eq!(text("[{ moderate = { mean = 'moderate' } }]", "you are ugly").await, "you are ****");
        assert_eq!(moderated("kill yourself").await, "**** ********");
        assert_eq!(text("[{ moderate = { profane = 'severe' } }]", "this is shit").await, "this is shit");
        assert_eq!(text("[{ moderate = { profane = 'off' } }]", "this is shit").await, "this is shit");
    }

    /// Finds a segment with `toxic` in it an insult, and fails if it has `broken` in it.
    #[derive(Debug, Default)]
    struct FakeClassifier {
        requests: Mutex<Vec<Vec<String>>>,
    }

    impl Classifier for FakeClassifier {
        fn classify<'c>(
            &'c self,
            request: ClassificationRequest<'c>,
        ) -> BoxFuture<'c, Result<Vec<Vec<Label>>, Failure>> {
            let segments: Vec<_> = request.segments.iter().map(|text| (*text).to_owned()).collect();
            let is_broken = segments.iter().any(|text| text.contains("broken"));
            let label = |text: &String| {
                let score = if text.contains("toxic") { 0.6 } else { 0.2 };
                vec![
                    Label { name: "insult".to_owned(), score },
                    Label { name: "profanity".to_owned(), score: 0.1 },
                ]
            };
            let labels = segments.iter().map(label).collect();
            self.requests.lock().unwrap().push(segments);
            let failure = || Failure::new(Reason::Unavailable, "the service is not available");
            Box::pin(std::future::ready(if is_broken { Err(failure()) } else { Ok(labels) }))
        }
    }

    async fn classified(settings: &str, given: &str) -> (Result<Transformed<'static>, Failure>, usize) {
        let fake = Arc::new(FakeClassifier::default());
        let transforms =
            Transforms::standard().with_classifier("fake", Arc::clone(&fake) as Arc<dyn Classifier>);
        let stages =
            faulty_of(&transforms, &format!("[{{ moderate = {{ service = 'fake', {settings} }} }}]"))
                .unwrap();
        let done = through(&stages, given).await;
        let requests = fake.requests.lock().unwrap().len();
        (done, requests)
    }

    #[tokio::test]
    async fn service_classifies_what_lists_leave() {
        for (settings, given, wanted, calls) in [
            ("", "a lovely day", "a lovely day", 1),
            ("", "oh shit, a lovely day", "oh ****, a lovely day", 1),
            ("", "how toxic, Zoë", "*** ****** ***", 1),
            ("threshold = 0.7", "how toxic", "how toxic", 1),
            ("action = 'mark'", "how toxic", "[moderated] how toxic", 1),
            ("action = 'mark'", "oh shit", "[moderated] oh shit", 0),
            ("", " \n", " \n", 0),
        ] {
            let (done, requests) = classified(settings, given).await;
            assert_eq!(done.unwrap(), Transformed::Message(Message::new(wanted)), "{given}");
            assert_eq!(requests, calls, "{given}");
        }
    }

    #[tokio::test]
    async fn reason_of_drop_names_service_and_labels() {
        let (done, _) = classified("action = 'drop'", "how toxic").await;
        let reason = "moderate: `fake` finds the text toxic (insult)";
        assert_eq!(done.unwrap(), Transformed::Dropped(reason.into()));
        let (done, requests) = classified("action = 'drop'", "oh shit, how toxic").await;
        let reason = "moderate: the text has words that are not let through (profane)";
        assert_eq!((done.unwrap(), requests), (Transformed::Dropped(reason.into()), 0));
    }

    #[tokio::test]
    async fn fails_when_service_fails() {
        for action in ["mask", "mark", "drop"] {
            let (done, _) = classified(&format!("action = '{action}'"), "it is broken").await;
            assert_eq!(done.unwrap_err().reason, Reason::Unavailable);
        }
    }

    #[tokio::test]
    async fn long_text_is_sent_in_calls_of_ten_segments() {
        let sentence = format!("{}. ", "a ".repeat(400));
        let long = format!("{}This is toxic.", sentence.repeat(25));
        let fake = Arc::new(FakeClassifier::default());
        let transforms =
            Transforms::standard().with_classifier("fake", Arc::clone(&fake) as Arc<dyn Classifier>);
        let stages = faulty_of(&transforms, "[{ moderate = { service = 'fake' } }]").unwrap();
        let Transformed::Message(message) = through(&stages, &long).await.unwrap() else { panic!("dropped") };
        assert!(message.text.starts_with(&sentence.repeat(24)));
        assert!(message.text.ends_with(" **** ** ******"), "{}", message.text);
        let sent: Vec<_> = fake.requests.lock().unwrap().iter().map(Vec::len).collect();
        assert_eq!(sent, [10, 10]);
        assert!(fake.requests.lock().unwrap().iter().flatten().all(|segment| segment.len() <= 1024));
    }

    #[test]
    fn settings_of_service_that_cannot_be_right_are_refused() {
        let transforms = Transforms::standard().with_classifier("fake", Arc::new(FakeClassifier::default()));
        for (settings, wanted) in [
            ("service = 'comprehend'", "build with the cargo feature `comprehend`"),
            ("service = 'other'", "unknown service \"other\"; expected one of `fake`"),
            ("service = 'fake', threshold = 0.0", "expected a number above 0 and up to 1"),
            ("service = 'fake', threshold = 1.5", "expected a number above 0 and up to 1"),
            ("service = 'fake', threshold = nan", "expected a number above 0 and up to 1"),
            ("threshold = 0.6", "is for a `service`"),
            ("service = 'fake', on_failure = 'pass'", "would let a text skip `moderate`"),
        ] {
            let faults = faulty_of(&transforms, &format!("[{{ moderate = {{ {settings} }} }}]")).unwrap_err();
            assert!(faults[0].1.contains(wanted), "{settings}: {faults:?}");
        }
        assert!(Moderation::parse("{ service = 'comprehend' }").unwrap_err().contains("leave it out"));
    }

    #[tokio::test]
    async fn only_lists_of_chosen_languages_count() {
        let given = "shit, mierda, scheiße, 死ね";
        assert_eq!(moderated(given).await, "****, ******, *******, **");
        let spanish = "[{ moderate = { languages = ['es', 'ja'] } }]";
        assert_eq!(text(spanish, given).await, "shit, ******, scheiße, **");
    }

    #[tokio::test]
    async fn star_in_list_stands_for_letters() {
        let list = "[{ moderate = { allow = ['shit*'], deny = ['*coin'] } }]";
        assert_eq!(text(list, "shitty bitcoin, coin, fuck").await, "shitty *******, ****, ****");
    }

    #[tokio::test]
    async fn reason_of_drop_names_kinds() {
        let list = "[{ moderate = { action = 'drop', deny = ['acme'] } }]";
        for (given, kinds) in
            [("shit", "profane"), ("bitch, ACME", "denied, offensive, sexual"), ("kill yourself", "mean")]
        {
            let done = through(&stages(list), given).await.unwrap();
            let reason = format!("moderate: the text has words that are not let through ({kinds})");
            assert_eq!(done, Transformed::Dropped(reason.into()), "{given}");
        }
    }

    #[tokio::test]
    async fn stages_have_lists_of_their_own() {
        let list =
            "[{ moderate = { allow = ['SHIT', 'holy fuck'], deny = ['Acme Corp', 'дурак', '競合'] } }]";
        let given = "shit holy fuck fuck ACME  corp Дурак acme Corporation 競合他社";
        assert_eq!(text(list, given).await, "shit holy fuck **** ****  **** ***** acme Corporation **他社");
        assert_eq!(moderated(given).await, "**** holy **** **** ACME  corp Дурак acme Corporation 競合他社");
        let hidden = "ac\u{200b}me corp, ac\u{ad}me co\u{2060}rp, \u{202e}proc emca";
        assert_eq!(text(list, hidden).await, "**\u{200b}** ****, **\u{ad}** **\u{2060}**, \u{202e}**** ****");
        let only = "[{ moderate = { profane = 'off', offensive = 'off', sexual = 'off', mean = 'off', deny = ['x'] } }]";
        assert_eq!(text(only, "x fuck X xx").await, "* fuck * xx");
    }

    #[test]
    fn settings_that_cannot_be_right_are_refused() {
        for (settings, wanted) in [
            ("mask = '**'", "one character"),
            ("mask = ' '", "a sign that is seen"),
            ("mask = '#', action = 'drop'", "mask is for the action"),
            ("mark = '#'", "mark is for the action"),
            ("mark = '', action = 'mark'", "mark is empty"),
            ("action = 'hide'", "is \"hide\"; expected one of `mask`, `mark`, `drop`"),
            ("mean = 'very'", "is \"very\"; expected one of"),
            ("allow = ['']", "has an empty one"),
            ("deny = ['*']", "has a `*` that stands alone"),
            ("languages = []", "languages is empty"),
            ("languages = ['xx']", "is \"xx\"; expected one of `de`, `en`, `es`"),
            ("allow = ['a b'], deny = ['A  B']", "is in allow and in deny"),
            ("profane = 'off', offensive = 'off', sexual = 'off', mean = 'off'", "needs words to deny"),
            ("on_failure = 'pass'", "would let a text skip `moderate`"),
        ] {
            let faults = faulty(&format!("[{{ moderate = {{ {settings} }} }}]")).unwrap_err();
            assert!(faults[0].1.contains(wanted), "{settings}: {faults:?}");
        }
    }

    include!("../../../fanout-moderation/tests/moderation/hard.rs");

    #[test]
    fn a_text_takes_its_time() {
        let stages = stages("['moderate']");
        for text in hard_texts(4096) {
            let started = Instant::now();
            through(&stages, &text).now_or_never().unwrap().unwrap();
            let begin: String = text.chars().take(20).collect();
            assert!(started.elapsed() < Duration::from_secs(5), "{begin:?}: {:?}", started.elapsed());
        }
    }

    #[tokio::test]
    async fn a_long_text_is_read_to_its_end() {
        for before in
            [0, 1, 1530, 1785, 1790, 1791, 1792, 1793, 2040, 2043, 2044, 2045, 2046, 2047, 2048, 4000, 9000]
        {
            for filler in ["the lake ", "ü", "日本語"] {
                let start: String = filler.chars().cycle().take(before).chain([' ']).collect();
                let end: String = filler.repeat(500);
                assert_eq!(
                    moderated(&format!("{start}fuck {end}")).await,
                    format!("{start}**** {end}"),
                    "{before}"
                );
            }
        }
    }
}
