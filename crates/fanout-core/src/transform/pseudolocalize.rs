//! `pseudolocalize`: marks the text instead of translating it, without an account: `⟦es⟧ Ĥéļļö, ŵöŕļð`.
//!
//! ```toml
//! transforms = [{ pseudolocalize = { target = "es" } }]
//! ```
//!
//! It has the settings of `translate`, so that renaming it is enough to translate. The result is readable, and visibly
//! not a translation: it begins with the code of the target, and its Latin letters have accents. Words that look like
//! addresses, `{placeholders}`, digits, emoji and letters of other scripts stay unchanged. Formality, masking and
//! terminologies have no effect.
//!
//! A simple rule detects the source: any Hiragana or Katakana means Japanese (`ja`). Otherwise the script of the first letter
//! decides: Hangul is Korean (`ko`), Cyrillic is Russian (`ru`), Arabic is Arabic (`ar`), Devanagari is Hindi (`hi`), Han
//! is Chinese (`zh`), and any other script is English (`en`).

use std::sync::Arc;

use futures_util::future::{BoxFuture, ready};
use serde::{Deserialize, Serialize};

use super::translate::{Translate, TranslateSettings, Translation, TranslationRequest, Translator};
use super::{Build, Transform, TransformSettings};
use crate::reason::Failure;

/// The settings of `translate`.
#[derive(Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct PseudolocalizeSettings(TranslateSettings);

/// A translator that marks texts. It always returns the same for the same text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pseudolocalizer;

impl TransformSettings for PseudolocalizeSettings {
    const NAME: &'static str = "pseudolocalize";

    fn build(self, with: Build<'_>) -> Result<Arc<dyn Transform>, String> {
        Ok(Arc::new(Translate::new(self.0, Arc::new(Pseudolocalizer), with.is_inside)?))
    }
}

impl Translator for Pseudolocalizer {
    fn translate<'t>(
        &'t self,
        request: TranslationRequest<'t>,
    ) -> BoxFuture<'t, Result<Translation, Failure>> {
        let TranslationRequest { text, source, target, .. } = request;
        let source = source.unwrap_or_else(|| detected(text)).to_owned();
        // Amazon Translate leaves a text in the target language unchanged as well.
        let text = if source.eq_ignore_ascii_case(target) { text.to_owned() } else { marked(text, target) };
        Box::pin(ready(Ok(Translation { text, source })))
    }
}

fn marked(text: &str, target: &str) -> String {
    // An accented letter has two bytes, some have three.
    let mut marked = String::with_capacity(2 * text.len() + 16);
    marked.extend(["⟦", target, "⟧ "]);
    for word in text.split_inclusive(char::is_whitespace) {
        if is_address(word) {
            marked.push_str(word);
            continue;
        }
        let mut depth = 0_usize;
        for letter in word.chars() {
            match letter {
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            marked.push(if depth == 0 { accented(letter) } else { letter });
        }
    }
    marked
}

fn is_address(word: &str) -> bool {
    word.contains("://") || word.contains('@') || word.starts_with("www.")
}

const fn accented(letter: char) -> char {
    match letter {
        'A' => 'Á',
        'B' => 'Ɓ',
        'C' => 'Ç',
        'D' => 'Ð',
        'E' => 'É',
        'F' => 'Ƒ',
        'G' => 'Ĝ',
        'H' => 'Ĥ',
        'I' => 'Î',
        'J' => 'Ĵ',
        'K' => 'Ķ',
        'L' => 'Ļ',
        'M' => 'Ṁ',
        'N' => 'Ñ',
        'O' => 'Ö',
        'P' => 'Ṕ',
        'Q' => 'Ǫ',
        'R' => 'Ŕ',
        'S' => 'Š',
        'T' => 'Ţ',
        'U' => 'Û',
        'V' => 'Ṽ',
        'W' => 'Ŵ',
        'X' => 'Ẋ',
        'Y' => 'Ý',
        'Z' => 'Ž',
        'a' => 'á',
        'b' => 'ƀ',
        'c' => 'ç',
        'd' => 'ð',
        'e' => 'é',
        'f' => 'ƒ',
        'g' => 'ĝ',
        'h' => 'ĥ',
        'i' => 'î',
        'j' => 'ĵ',
        'k' => 'ķ',
        'l' => 'ļ',
        'm' => 'ṁ',
        'n' => 'ñ',
        'o' => 'ö',
        'p' => 'ṕ',
        'q' => 'ǫ',
        'r' => 'ŕ',
        's' => 'š',
        't' => 'ţ',
        'u' => 'û',
        'v' => 'ṽ',
        'w' => 'ŵ',
        'x' => 'ẋ',
        'y' => 'ý',
        'z' => 'ž',
        other => other,
    }
}

/// Detects the language by the rule at the top.
fn detected(text: &str) -> &'static str {
    let is_kana = |letter: char| matches!(letter, '\u{3041}'..='\u{309f}' | '\u{30a1}'..='\u{30fa}');
    if text.chars().any(is_kana) {
        return "ja";
    }
    match text.chars().find(|letter| letter.is_alphabetic()) {
        Some('\u{1100}'..='\u{11ff}' | '\u{3131}'..='\u{318e}' | '\u{ac00}'..='\u{d7a3}') => "ko",
        Some('\u{400}'..='\u{52f}') => "ru",
        Some('\u{600}'..='\u{6ff}' | '\u{750}'..='\u{77f}') => "ar",
        Some('\u{900}'..='\u{97f}') => "hi",
        Some('\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{20000}'..='\u{323af}') => "zh",
        _ => "en",
    }
}

#[cfg(test)]
mod tests {
    use crate::transform::tests::{faulty, stages, text, through};
    use crate::transform::{Message, Transformed};

    #[tokio::test]
    async fn marks_text_and_keeps_addresses_and_placeholders() {
        let spanish = "[{ pseudolocalize = { target = 'es' } }]";
        assert_eq!(text(spanish, "Hello, world").await, "⟦es⟧ Ĥéļļö, ŵöŕļð");
        assert_eq!(text(spanish, "Hi {first_name}, 3 new 😀\n").await, "⟦es⟧ Ĥî {first_name}, 3 ñéŵ 😀\n");
        assert_eq!(
            text(spanish, "see https://a.example/b?c=d or a@b.c").await,
            "⟦es⟧ šéé https://a.example/b?c=d öŕ a@b.c"
        );
        assert_eq!(text(spanish, "こんにちは").await, "⟦es⟧ こんにちは");
        assert_eq!(text(spanish, "12:30 😀").await, "12:30 😀");
    }

    #[tokio::test]
    async fn detects_source_from_script() {
        let stages = stages("[{ pseudolocalize = { target = 'es' } }]");
        for (text, language) in [
            ("hello", "en"),
            ("Straße", "en"),
            ("漢字かな", "ja"),
            ("カタカナ", "ja"),
            ("안녕", "ko"),
            ("3 Привет", "ru"),
            ("مرحبا", "ar"),
            ("नमस्ते", "hi"),
            ("你好", "zh"),
        ] {
            let Transformed::Message(Message { language: found, .. }) = through(&stages, text).await.unwrap()
            else {
                panic!("dropped");
            };
            assert_eq!(found.as_deref(), Some(language), "{text}");
        }
    }

    #[tokio::test]
    async fn leaves_text_in_target_language_unchanged() {
        assert_eq!(
            text("[{ pseudolocalize = { target = 'en-US', source = 'en' } }]", "a").await,
            "⟦en-US⟧ á"
        );
        // The source is detected.
        assert_eq!(text("[{ pseudolocalize = { target = 'en' } }]", "a").await, "a");
    }

    #[test]
    fn accepts_settings_of_translate() {
        let faults = faulty("[{ pseudolocalize = { target = 'auto', sauce = 'en' } }]").unwrap_err();
        let places: Vec<_> = faults.iter().map(|(place, _)| place.as_str()).collect();
        assert_eq!(places, ["sauce", "'auto'"]);
        let stage =
            &stages("[{ pseudolocalize = { target = 'es', source = 'auto', mask_profanity = false } }]")[0];
        assert_eq!(stage.settings(), r#"{"target":"es"}"#);
    }
}
