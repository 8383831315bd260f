//! What is done to a text on the way to a destination.
//!
//! Transforms are verbs, one per file. Each takes a text and gives a new one, or drops the event
//! with a reason.

use std::borrow::Cow;

mod lowercase;
mod trim;
mod uppercase;

/// One transform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transform {
    /// Leaves the text as it is.
    Echo,
    /// Every letter lower-case, by Unicode's rules.
    Lowercase,
    /// No white space at either end.
    Trim,
    /// Every letter upper-case, by Unicode's rules.
    Uppercase,
}

/// What a transform, or a chain of them, made of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transformed<'t> {
    /// A text, to go on.
    Text(Cow<'t, str>),
    /// The event goes no further, for this reason.
    Dropped(String),
}

impl Transform {
    const NAMED: [(&'static str, Self); 4] = [
        ("echo", Self::Echo),
        ("lowercase", Self::Lowercase),
        ("trim", Self::Trim),
        ("uppercase", Self::Uppercase),
    ];

    /// The transform of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMED.iter().find(|(known, _)| *known == name).map(|(_, transform)| *transform)
    }

    /// All names, for a message.
    #[must_use]
    pub fn names() -> String {
        Self::NAMED.map(|(name, _)| name).join(", ")
    }

    fn apply(self, text: Cow<'_, str>) -> Transformed<'_> {
        Transformed::Text(match self {
            Self::Echo => text,
            Self::Lowercase => lowercase::apply(text),
            Self::Trim => trim::apply(text),
            Self::Uppercase => uppercase::apply(text),
        })
    }
}

/// Applies transforms one after the other. A text that comes through unchanged is not copied.
#[must_use]
pub fn chain<'t>(transforms: &[Transform], text: &'t str) -> Transformed<'t> {
    let mut text = Cow::Borrowed(text);
    for transform in transforms {
        match transform.apply(text) {
            Transformed::Text(next) => text = next,
            dropped @ Transformed::Dropped(_) => return dropped,
        }
    }
    Transformed::Text(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(names: &str, text: &str) -> String {
        let transforms: Vec<_> = names.split(',').map(|name| Transform::named(name).unwrap()).collect();
        match chain(&transforms, text) {
            Transformed::Text(text) => text.into_owned(),
            Transformed::Dropped(reason) => panic!("dropped: {reason}"),
        }
    }

    #[test]
    fn each_does_what_its_name_says() {
        assert_eq!(through("echo", " Straße \0 "), " Straße \0 ");
        assert_eq!(through("uppercase", "Straße 😀 ǆ"), "STRASSE 😀 Ǆ");
        assert_eq!(through("lowercase", "ΟΔΟΣ İ"), "οδος i\u{307}");
        assert_eq!(through("trim", "\u{a0}\t a b \n\u{3000}"), "a b");
        for name in ["echo", "uppercase", "lowercase", "trim"] {
            assert_eq!(through(name, ""), "");
        }
    }

    #[test]
    fn a_chain_goes_from_left_to_right() {
        assert_eq!(through("trim,uppercase", "  hello "), "HELLO");
        assert_eq!(through("uppercase,lowercase", "Hello"), "hello");
    }

    #[test]
    fn what_is_unchanged_is_not_copied() {
        let text = "HELLO";
        let transforms = [Transform::Echo, Transform::Trim, Transform::Uppercase];
        assert!(matches!(chain(&transforms, text), Transformed::Text(Cow::Borrowed(same)) if same == text));
    }
}
