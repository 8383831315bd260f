//! Characters that a reader cannot see: they change a secret without a trace, and some control a terminal.
//!
//! A file saved with a byte order mark, or a value copied from a web page, brings them along. The bytes of
//! a secret are its key: with such a character, every valid signature is rejected.

/// Returns true if a reader cannot see `character`: a control character, a line or paragraph separator, or
/// a character with Unicode's property `Default_Ignorable_Code_Point`.
#[must_use]
pub const fn is_invisible(character: char) -> bool {
    controls_terminal(character) || is_ignorable(character)
}

/// Returns true if `character` can change how a terminal shows the text around it: a control character, a line or
/// paragraph separator, or a character with Unicode's property `Bidi_Control`.
#[must_use]
pub const fn controls_terminal(character: char) -> bool {
    matches!(
        character,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{61c}' | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

/// Returns true if `character` has Unicode's property `Default_Ignorable_Code_Point`.
#[must_use]
pub const fn is_ignorable(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Returns `text` without the [invisible](is_invisible) characters at either end, line ends included.
/// Spaces stay.
#[must_use]
pub fn trim_invisible(text: &str) -> &str {
    text.trim_matches(is_invisible)
}

/// Returns `text` as [`trim_invisible`] does, for a text of one line such as a key or a secret.
///
/// # Errors
/// If an invisible character is left inside.
pub fn single_line(text: &str) -> Result<&str, InvisibleCharacter> {
    let text = trim_invisible(text);
    text.chars()
        .find(|character| is_invisible(*character))
        .map_or(Ok(text), |found| Err(InvisibleCharacter(found)))
}

/// Error for a text with an invisible character inside. It names the code point and never the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("contains the invisible character U+{:04X}", u32::from(*.0))]
pub struct InvisibleCharacter(pub char);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trims_invisible_characters_at_both_ends() {
        for invisible in
            ["\u{feff}", "\r\n", "\u{200b}", "\u{2060}\u{2028}", "\u{ad}", "\u{202e}", "\t", "\0"]
        {
            let text = format!("{invisible}a secret{invisible}");
            assert_eq!(single_line(&text), Ok("a secret"), "{invisible:?}");
            assert_eq!(trim_invisible(invisible), "", "{invisible:?}");
        }
    }

    #[test]
    fn finds_characters_that_control_a_terminal() {
        for controls in
            ['\0', '\n', '\u{1b}', '\u{7f}', '\u{9b}', '\u{200f}', '\u{2028}', '\u{202e}', '\u{2066}']
        {
            assert!(controls_terminal(controls) && is_invisible(controls), "{controls:?}");
        }
        // Emoji and some scripts need the joiners and the variation selectors.
        for harmless in [' ', 'é', '東', '\u{200c}', '\u{200d}', '\u{fe0f}', '\u{feff}'] {
            assert!(!controls_terminal(harmless), "{harmless:?}");
        }
    }

    #[test]
    fn keeps_spaces_and_letters_of_every_script() {
        for text in [" a b ", "clé-秘密", "مفتاح", "हिन्दी", "🔑", "e\u{301}"] {
            assert_eq!(single_line(text), Ok(text));
        }
    }

    #[test]
    fn names_invisible_character_inside_by_its_code_point() {
        for (text, shown) in [
            ("sec\u{feff}ret", "U+FEFF"),
            ("sec\tret", "U+0009"),
            ("sec\u{e0061}ret", "U+E0061"),
            ("\u{feff}sec\nret\n", "U+000A"),
        ] {
            let error = single_line(text).unwrap_err().to_string();
            assert_eq!(error, format!("contains the invisible character {shown}"));
        }
    }
}
