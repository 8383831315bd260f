//! The topics of a route, and the texts that can be topics.
//!
//! `{room}-publish` is a [`Pattern`]: it matches topics, and its captures are parts of them. The [`Shape`] of a pattern or of
//! a template is the set of texts that it can be. The check for cycles compares shapes.

use std::cmp::Reverse;
use std::fmt;

use crate::placeholder::{Piece, SyntaxError, Template, parse};

/// The maximum number of bytes of a text for which a search at every place is the fastest search.
const SHORT: usize = 64;

/// The topics of a route.
///
/// ```text
/// {room}-publish     every topic that ends in -publish and has text before it
/// lobby              only that topic
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// As it was written.
    source: String,
    shape: Shape,
    /// The name of each capture, and the byte of its brace in the source. The captures are the wildcards of the shape.
    captures: Vec<(String, usize)>,
}

/// A set of texts: fixed text, and wildcards, each of which is one or more characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// The minimum number of bytes of a text.
    least: usize,
    /// The text before the first wildcard.
    head: String,
    /// The text after each wildcard, which may be empty.
    afters: Vec<String>,
}

/// The specificity of a [`Pattern`]. The greater of two has more fixed characters or, with the same number, fewer wildcards.
/// Of `{any}`, `{room}-publish`, `lobby-{kind}` and `lobby-publish`, the last is the most specific and the first the least.
///
/// Of all patterns that match a topic, one without wildcards is the most specific: a wildcard takes at least one character.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Specificity {
    characters: usize,
    wildcards: Reverse<usize>,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// When the syntax is invalid, and when the captures are ambiguous.
    pub fn new(source: impl Into<String>) -> Result<Self, SyntaxError> {
        let mut pattern = Self { source: source.into(), shape: Shape::default(), captures: Vec::new() };
        if pattern.source.is_empty() {
            return Err(SyntaxError::empty());
        }
        for piece in parse(&pattern.source, true)? {
            match piece {
                Piece::Text(text) => pattern.shape.push_text(&text),
                Piece::Placeholder(placeholder) => {
                    let is_twice = pattern.names().any(|name| name == placeholder.name);
                    let message = if !placeholder.is_plain() {
                        format!("has `{{{}}}`; a capture is a name and nothing else", placeholder.inside)
                    } else if is_twice {
                        format!(
                            "has the capture `{}` twice; give the second a name of its own",
                            placeholder.name
                        )
                    } else if pattern.shape.afters.last().is_some_and(String::is_empty) {
                        "has two captures with nothing between them; write text between them, or make them one"
                            .to_owned()
                    } else {
                        pattern.shape.push_wildcard();
                        pattern.captures.push((placeholder.name, placeholder.at));
                        continue;
                    };
                    return Err(SyntaxError::new(placeholder.at, message));
                }
            }
        }
        Ok(pattern)
    }

    /// Returns the topic if the pattern matches only one.
    #[must_use]
    pub fn exact(&self) -> Option<&str> {
        self.shape.literal()
    }

    /// Returns the names of the captures, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.captures.iter().map(|(name, _)| name.as_str())
    }

    /// Returns the place of a capture: the byte of its brace in the source.
    #[must_use]
    pub fn place(&self, name: &str) -> Option<usize> {
        self.captures.iter().find(|(known, _)| known == name).map(|(_, at)| *at)
    }

    /// Returns a topic that the pattern matches, in which each capture is its own name.
    #[must_use]
    pub fn example(&self) -> String {
        let Shape { head, afters, .. } = &self.shape;
        let captures = self.names().zip(afters).flat_map(|(name, after)| [name, after]);
        std::iter::once(head.as_str()).chain(captures).collect()
    }

    /// Returns the captures of a topic, in order, or `None` if the pattern does not match.
    ///
    /// Each capture is as short as possible, the first one first: in `a-b-c`, the captures of `{first}-{rest}` are `a` and
    /// `b-c`.
    #[must_use]
    pub fn find<'t>(&self, topic: &'t str) -> Option<Vec<&'t str>> {
        let shape = &self.shape;
        // Most patterns do not match a topic. Memory is allocated only for one that does.
        shape.fit(topic, |_| ())?;
        let mut captures = Vec::with_capacity(shape.afters.len());
        shape.fit(topic, |capture| captures.push(capture))?;
        Some(captures)
    }

    /// Returns the specificity.
    #[must_use]
    pub fn specificity(&self) -> Specificity {
        let Shape { head, afters, .. } = &self.shape;
        let characters =
            head.chars().count() + afters.iter().map(|after| after.chars().count()).sum::<usize>();
        Specificity { characters, wildcards: Reverse(afters.len()) }
    }

    /// Returns the shape of the topics.
    #[must_use]
    pub const fn shape(&self) -> &Shape {
        &self.shape
    }
}

impl Template {
    /// Returns the shape of the texts of the template. `known` returns the shape of the text between two braces, or `None` if
    /// it can be any text, as with members and filters.
    ///
    /// Placeholders are independent: `{a}-{a}` has the shape of `{a}-{b}`. So the shape may contain texts that the template
    /// cannot make. It never lacks one.
    #[must_use]
    pub fn shape(&self, known: impl Fn(&str) -> Option<Shape>) -> Shape {
        let mut shape = Shape::default();
        for piece in self.pieces() {
            match piece {
                Piece::Text(text) => shape.push_text(text),
                Piece::Placeholder(placeholder) => match known(&placeholder.inside) {
                    Some(known) => shape.push_shape(&known),
                    None => shape.push_wildcard(),
                },
            }
        }
        shape
    }
}

impl Shape {
    /// Returns the shape of one text.
    #[must_use]
    pub fn exact(text: &str) -> Self {
        Self { least: text.len(), head: text.to_owned(), afters: Vec::new() }
    }

    /// Returns the text if the shape has only one.
    #[must_use]
    pub fn literal(&self) -> Option<&str> {
        self.afters.is_empty().then_some(self.head.as_str())
    }

    /// Returns the start of every text.
    #[must_use]
    pub fn head(&self) -> &str {
        &self.head
    }

    /// Returns the end of every text.
    #[must_use]
    pub fn tail(&self) -> &str {
        self.afters.last().unwrap_or(&self.head)
    }

    /// Returns true if both shapes contain the same text.
    ///
    /// If both have wildcards, only the two ends decide. If these agree, there is such a text: the first wildcard of one shape
    /// is all that the other has before its last wildcard, and that wildcard is all that the first has after its own.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self.afters.last(), other.afters.last()) {
            (None, _) => other.can_be(&self.head),
            (_, None) => self.can_be(&other.head),
            (Some(tail), Some(other_tail)) => {
                let heads_agree = begins(&self.head, &other.head) || begins(&other.head, &self.head);
                heads_agree && (ends(tail, other_tail) || ends(other_tail, tail))
            }
        }
    }

    /// Returns a text that both shapes contain. It is short, but may not be the shortest.
    #[must_use]
    pub fn common(&self, other: &Self) -> Option<String> {
        let (Some(tail), Some(other_tail)) = (self.afters.last(), other.afters.last()) else {
            let text = self.literal().or(other.literal())?;
            return self.overlaps(other).then(|| text.to_owned());
        };
        let longer =
            |one: &'_ String, other: &'_ String| if one.len() < other.len() { other } else { one }.clone();
        let (head, tail) = (longer(&self.head, &other.head), longer(tail, other_tail));
        // The text of a wildcard.
        let any = "x";
        let between = |shape: &Self| -> String {
            let between = shape.afters.split_last().map_or(&[][..], |(_, between)| between);
            between.iter().flat_map(|literal| [any, literal]).chain([any]).collect()
        };
        // The end of the head may be the beginning of the tail.
        let joined = head.char_indices().map(|(at, _)| at).chain([head.len()]);
        let joined = joined.filter_map(|at| {
            tail.starts_with(head.get(at..)?).then(|| [head.get(..at)?, &tail].concat().into()).flatten()
        });
        let longer =
            [[&head, any, &tail].concat(), [&head, &*between(self), &*between(other), &tail].concat()];
        joined.chain(longer).find(|text| self.can_be(text) && other.can_be(text))
    }

    fn can_be(&self, text: &str) -> bool {
        self.fit(text, |_| ()).is_some()
    }

    /// Calls `taken` with the text of each wildcard, in order. Returns `None` if the shape does not contain `text`.
    ///
    /// Each wildcard is as short as possible. No other choice leaves more text to the next wildcards, so there is no
    /// backtracking, and the time is linear.
    fn fit<'t>(&self, text: &'t str, mut taken: impl FnMut(&'t str)) -> Option<()> {
        let Some((tail, between)) = self.afters.split_last() else {
            return (text == self.head).then_some(());
        };
        if text.len() < self.least || !begins(text, &self.head) || !ends(text, tail) {
            return None;
        }
        let mut rest = text.get(self.head.len()..text.len() - tail.len())?;
        for literal in between {
            let (taking, after) = split_at_first(rest, literal)?;
            taken(taking);
            rest = after;
        }
        (!rest.is_empty()).then(|| taken(rest))
    }

    fn push_text(&mut self, text: &str) {
        self.least += text.len();
        self.afters.last_mut().unwrap_or(&mut self.head).push_str(text);
    }

    fn push_wildcard(&mut self) {
        self.least += 1;
        self.afters.push(String::new());
    }

    fn push_shape(&mut self, shape: &Self) {
        self.push_text(&shape.head);
        for after in &shape.afters {
            self.push_wildcard();
            self.push_text(after);
        }
    }
}

/// Returns the text before and after the first `literal` that has a character before it.
fn split_at_first<'t>(text: &'t str, literal: &str) -> Option<(&'t str, &'t str)> {
    let first = text.chars().next()?.len_utf8();
    let at = first + position(text.get(first..)?, literal)?;
    let (before, from) = text.split_at_checked(at)?;
    Some((before, from.strip_prefix(literal)?))
}

/// Returns the place of the first `literal`.
///
/// `str::find` prepares its search, to keep its time linear. For a text as short as most topics, that takes longer than the
/// search itself, and it would happen for each event and each pattern.
fn position(text: &str, literal: &str) -> Option<usize> {
    let (Some(first), Some(last)) = (literal.as_bytes().first(), literal.as_bytes().last()) else {
        return Some(0);
    };
    if text.len() > SHORT {
        return text.find(literal);
    }
    let is_it = |window: &[u8]| {
        window.first() == Some(first) && window.last() == Some(last) && window == literal.as_bytes()
    };
    text.as_bytes().windows(literal.len()).position(is_it)
}

/// Returns true if `text` begins with `head`, which is often empty.
///
/// An empty string points to no memory. glibc compares with masked loads on AVX-512, and such a load of no memory takes ten
/// times as long as another one.
fn begins(text: &str, head: &str) -> bool {
    head.is_empty() || text.starts_with(head)
}

/// Returns true if `text` ends with `tail`, which is often empty; see [`begins`].
fn ends(text: &str, tail: &str) -> bool {
    tail.is_empty() || text.ends_with(tail)
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn pattern(source: &str) -> Pattern {
        Pattern::new(source).unwrap()
    }

    fn template(source: &str) -> Template {
        Template::new(source).unwrap()
    }

    fn overlap(one: &str, other: &str) -> bool {
        let (one, other) = (template(one).shape(|_| None), template(other).shape(|_| None));
        assert_eq!(one.overlaps(&other), other.overlaps(&one));
        one.overlaps(&other)
    }

    #[test]
    fn rejects_ambiguous_captures() {
        for (source, at, says) in [
            ("", None, "is empty; write its text"),
            (
                "x{a}{b}",
                Some(4),
                "has two captures with nothing between them; write text between them, or make them one",
            ),
            ("{a}-{b}-{a}", Some(8), "has the capture `a` twice; give the second a name of its own"),
            ("{a}{a}", Some(3), "has the capture `a` twice; give the second a name of its own"),
            ("-{a | upper}", Some(1), "has `{a | upper}`; a capture is a name and nothing else"),
            ("{json.a}", Some(0), "has `{json.a}`; a capture is a name and nothing else"),
        ] {
            let error = Pattern::new(source).unwrap_err();
            assert_eq!((error.at, error.message.as_str()), (at, says), "{source}");
            assert!(Template::new(source).is_ok(), "{source}");
        }
        for source in ["{room}-*", "{{room}}", "rooms/+", "{room", "{Room}"] {
            assert!(Pattern::new(source).is_err(), "{source}");
        }
    }

    #[test]
    fn example_has_names_as_captures() {
        assert_eq!(pattern("{room}-in-{'{'}{seat}").example(), "room-in-{seat");
        assert_eq!(pattern("lobby").example(), "lobby");
    }

    #[test]
    fn text_without_wildcards_matches_only_itself() {
        for (source, text) in
            [("lobby", "lobby"), ("{'{'}a{'}'}", "{a}"), ("a{'{{'}b", "a{{b"), (" a, b ", " a, b ")]
        {
            assert_eq!(pattern(source).exact(), Some(text));
            assert_eq!(template(source).literal(), Some(text));
            assert_eq!(pattern(source).shape().literal(), Some(text));
            assert_eq!(pattern(source).find(text), Some(vec![]));
            assert_eq!(pattern(source).find(&format!("{text}x")), None);
        }
        assert_eq!(pattern("{a}").exact(), None);
        assert_eq!(template("{a}").literal(), None);
        assert_eq!(pattern("{a}").shape().literal(), None);
    }

    #[test]
    fn captures_are_as_short_as_possible_and_not_empty() {
        for (source, topic, captures) in [
            ("{room}-publish", "lobby-publish", Some(vec!["lobby"])),
            ("{room}-publish", "a-publish-publish", Some(vec!["a-publish"])),
            ("{room}-publish", "-publish", None),
            ("{room}-publish", "lobby-publish-es", None),
            ("room-{n}", "room-", None),
            ("room-{n}", "the-room-1", None),
            ("{first}-{rest}", "a-b-c", Some(vec!["a", "b-c"])),
            ("{first}-{rest}", "--c", Some(vec!["-", "c"])),
            ("{first}-{rest}", "a-", None),
            ("{first}aa{rest}", "aaaa", Some(vec!["a", "a"])),
            ("{first}aa{rest}", "aaa", None),
            ("aba{w}aba", "ababa", None),
            ("aba{w}aba", "abacaba", Some(vec!["c"])),
            ("{a}-{b}-{c}", "1-2-3", Some(vec!["1", "2", "3"])),
            ("{a}-{b}-{c}", "1--3", None),
            ("{any}", "é", Some(vec!["é"])),
            ("{a}é{b}", "éééè", Some(vec!["é", "éè"])),
            ("{'{'}{a}{'}'}", "{x}", Some(vec!["x"])),
        ] {
            assert_eq!(pattern(source).find(topic), captures, "{source} in {topic}");
        }
    }

    #[test]
    fn matches_hostile_topics_in_linear_time() {
        let source: String = (0..100).flat_map(|n| ["{n".into(), n.to_string(), "}aab".into()]).collect();
        let topic = "a".repeat(100_000);
        assert_eq!(pattern(&source).find(&topic), None);
        assert_eq!(pattern(&format!("{source}c")).find(&"aaab".repeat(10_000)), None);
        assert_eq!(pattern(&source).find(&"aaab".repeat(100)), Some(vec!["a"; 100]));
    }

    #[test]
    fn most_specific_has_most_characters_then_fewest_wildcards() {
        let sources = [
            "{any}",
            "{a}-{b}-{c}",
            "éé{a}",
            "lobby-{kind}",
            "lobby-{kind}x{b}",
            "lobby-{kind}x",
            "{room}-publish",
            "lobby-publish",
        ];
        let specificities = sources.map(|source| pattern(source).specificity());
        assert!(specificities.is_sorted(), "{specificities:?}");
        assert!(pattern("{a}-{b}").specificity() < pattern("-{a}").specificity());
        assert_eq!(pattern("{a}{'{'}").specificity(), pattern("é{b}").specificity());
    }

    #[test]
    fn placeholder_has_its_known_shape() {
        let topic = pattern("{room}-publish");
        let known = |name: &str| (name == "topic").then(|| topic.shape().clone());
        assert_eq!(template("es-{topic}-{other}").shape(known), *pattern("es-{a}-publish-{b}").shape());
        assert_eq!(template("{topic}{other}").shape(known), *pattern("{a}-publish{b}").shape());
        let exact = template("{topic}-{topic}").shape(|_| Some(Shape::exact("lobby")));
        assert_eq!(exact.literal(), Some("lobby-lobby"));
        let changed = template("{topic | upper}-{json.topic}").shape(known);
        assert_eq!(changed, *pattern("{a}-{b}").shape());
    }

    #[test]
    fn finds_text_in_both_shapes() {
        for (one, other, text) in [
            ("{a}-x", "y-{a}", "y-x"),
            ("{a}-in", "{b}-in", "x-in"),
            ("{a}", "{b}", "x"),
            ("{a}-b-{c}", "{a}-d-{c}", "x-b-xx-d-x"),
            ("ab{x}", "{y}bc", "abc"),
            ("lobby", "{a}", "lobby"),
        ] {
            let shapes = [one, other].map(|source| template(source).shape(|_| None));
            assert_eq!(shapes[0].common(&shapes[1]).as_deref(), Some(text), "{one} {other}");
        }
    }

    #[test]
    fn shapes_overlap_if_text_is_in_both() {
        for (one, other) in [
            ("a", "a"),
            ("a", "{x}"),
            ("{x}", "{y}"),
            ("room-{n}", "{room}-publish"),
            ("room-{n}-publish", "room-{n}-publish-{k}-publish"),
            // room-1-publish-2-subscribe-3 is both.
            ("room-{n}-publish-{k}", "room-{n}-subscribe-{k}"),
            ("aba{x}", "{y}aba"),
            ("{x}{y}", "ab"),
            ("{x}{y}", "é{z}"),
        ] {
            assert!(overlap(one, other), "{one} and {other}");
        }
        for (one, other) in [
            ("a", "b"),
            ("a", "a{x}"),
            ("{x}-publish", "{x}-subscribe"),
            ("{x}-publish", "-publish"),
            ("room-{n}", "hall-{n}"),
            ("aba{x}aba", "ababa"),
            ("{x}{y}", "é"),
            ("{a}-{b}-{c}", "1--3"),
        ] {
            assert!(!overlap(one, other), "{one} and {other}");
        }
    }

    /// A part of a text with wildcards, for slow and obvious versions of all functions.
    #[derive(Clone, Debug, PartialEq)]
    enum Piece {
        Char(char),
        Wildcard,
    }

    fn source(pieces: &[Piece]) -> String {
        let piece = |(place, piece): (usize, &Piece)| match piece {
            Piece::Wildcard => format!("{{n{place}}}"),
            Piece::Char(brace @ ('{' | '}')) => format!("{{'{brace}'}}"),
            Piece::Char(other) => other.to_string(),
        };
        pieces.iter().enumerate().map(piece).collect()
    }

    /// Returns the captures of `text`. Tries shorter captures first.
    fn first_split(pieces: &[Piece], text: &[char]) -> Option<Vec<String>> {
        match pieces.split_first() {
            None => text.is_empty().then(Vec::new),
            Some((Piece::Char(char), pieces)) => text
                .split_first()
                .filter(|(first, _)| *first == char)
                .and_then(|(_, text)| first_split(pieces, text)),
            Some((Piece::Wildcard, pieces)) => (1..=text.len()).find_map(|length| {
                let mut captures = first_split(pieces, &text[length..])?;
                captures.insert(0, text[..length].iter().collect());
                Some(captures)
            }),
        }
    }

    /// Returns every text of these characters up to this length.
    fn texts(alphabet: &[char], length: usize) -> Vec<Vec<char>> {
        let mut texts = vec![vec![]];
        let mut longest = texts.clone();
        for _ in 0..length {
            longest = longest
                .iter()
                .flat_map(|text| alphabet.iter().map(move |&char| [text.as_slice(), &[char]].concat()))
                .collect();
            texts.extend_from_slice(&longest);
        }
        texts
    }

    /// Decides on an overlap in another way: walks through both at once, character by character of a common text. At a
    /// wildcard, one of both can wait.
    fn walk_meets(one: &[Piece], other: &[Piece]) -> bool {
        let stays = |pieces: &[Piece], at: usize| at > 0 && pieces[at - 1] == Piece::Wildcard;
        let agree =
            |one: &Piece, other: &Piece| one == other || *one == Piece::Wildcard || *other == Piece::Wildcard;
        let mut reached = vec![vec![false; other.len() + 1]; one.len() + 1];
        for i in 0..=one.len() {
            for j in 0..=other.len() {
                reached[i][j] = (i, j) == (0, 0)
                    || (i > 0 && j > 0 && reached[i - 1][j - 1] && agree(&one[i - 1], &other[j - 1]))
                    || (i > 0 && reached[i - 1][j] && stays(other, j))
                    || (j > 0 && reached[i][j - 1] && stays(one, i));
            }
        }
        reached[one.len()][other.len()]
    }

    fn pieces(alphabet: &'static [char], most: usize) -> impl Strategy<Value = Vec<Piece>> {
        let piece = prop_oneof![
            2 => prop::sample::select(alphabet).prop_map(Piece::Char),
            1 => Just(Piece::Wildcard),
        ];
        vec(piece, 1..=most)
    }

    /// Generates parts without wildcards side by side.
    fn pattern_pieces(alphabet: &'static [char], most: usize) -> impl Strategy<Value = Vec<Piece>> {
        pieces(alphabet, most).prop_map(|mut pieces| {
            pieces.dedup_by(|one, other| *one == Piece::Wildcard && *other == Piece::Wildcard);
            pieces
        })
    }

    /// Returns a text that often matches: its captures have the characters of the fixed text.
    fn text_for(pieces: &[Piece], fill: &[Vec<char>]) -> Vec<char> {
        let mut fill = fill.iter().cycle();
        let text = |piece: &Piece| match piece {
            Piece::Char(char) => vec![*char],
            Piece::Wildcard => fill.next().cloned().unwrap_or_default(),
        };
        pieces.iter().flat_map(text).collect()
    }

    const FEW: &[char] = &['a', 'b'];
    const ODD: &[char] = &['a', 'b', 'é', '{', '}'];

    proptest! {
        #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases * 2, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn finds_shortest_captures(
            pieces in pattern_pieces(FEW, 8),
            fill in vec(vec(prop::sample::select(FEW), 0..4), 1..4),
            other in vec(prop::sample::select(FEW), 0..8),
        ) {
            let pattern = pattern(&source(&pieces));
            for text in [text_for(&pieces, &fill), other] {
                let topic: String = text.iter().collect();
                let captures = pattern.find(&topic).map(|c| c.into_iter().map(str::to_owned).collect());
                prop_assert_eq!(captures, first_split(&pieces, &text), "{} in {}", pattern, topic);
            }
        }

        #[test]
        fn finds_shortest_captures_of_odd_texts(
            pieces in pattern_pieces(ODD, 6),
            fill in vec(vec(prop::sample::select(ODD), 0..4), 1..4),
        ) {
            let pattern = pattern(&source(&pieces));
            let text = text_for(&pieces, &fill);
            let topic: String = text.iter().collect();
            let captures = pattern.find(&topic).map(|c| c.into_iter().map(str::to_owned).collect());
            prop_assert_eq!(captures, first_split(&pieces, &text), "{} in {}", pattern, topic);
        }

        #[test]
        fn finds_first_place_in_short_and_long_texts(text in "[aé-]{0,80}", literal in "[aé-]{0,4}") {
            prop_assert_eq!(position(&text, &literal), text.find(&literal));
        }

        #[test]
        fn shapes_overlap_exactly_if_some_text_is_in_both(one in pieces(FEW, 4), other in pieces(FEW, 4)) {
            // If there is a common text, there is one with at most one character for each part of both.
            let texts = texts(FEW, one.len() + other.len());
            let is_both = |text: &Vec<char>| {
                first_split(&one, text).is_some() && first_split(&other, text).is_some()
            };
            prop_assert_eq!(overlap(&source(&one), &source(&other)), texts.iter().any(is_both));
            let shapes = [&one, &other].map(|pieces| template(&source(pieces)).shape(|_| None));
            let common = shapes[0].common(&shapes[1]);
            prop_assert_eq!(common.is_some(), shapes[0].overlaps(&shapes[1]));
            if let Some(text) = common {
                prop_assert!(is_both(&text.chars().collect()), "{}", text);
            }
        }

        #[test]
        fn shapes_overlap_exactly_if_walk_through_both_ends(
            one in pieces(ODD, 12),
            other in pieces(ODD, 12),
            fill in vec(vec(prop::sample::select(ODD), 0..4), 1..4),
        ) {
            prop_assert_eq!(overlap(&source(&one), &source(&other)), walk_meets(&one, &other));
            let text: Vec<_> = text_for(&one, &fill).into_iter().map(Piece::Char).collect();
            if !text.is_empty() {
                prop_assert_eq!(overlap(&source(&one), &source(&text)), walk_meets(&one, &text));
            }
        }

        #[test]
        fn finds_values_that_fill_pattern(
            pieces in pattern_pieces(FEW, 8),
            values in vec("[c-zé{}]{1,4}", 8),
        ) {
            // The values and the fixed text have different characters, so there is only one match.
            let pattern = pattern(&source(&pieces));
            let values: Vec<_> = pattern.names().zip(&values).map(|(_, value)| value.as_str()).collect();
            let fill: Vec<Vec<char>> = values.iter().map(|value| value.chars().collect()).collect();
            let topic: String = text_for(&pieces, &fill).iter().collect();
            prop_assert_eq!(pattern.find(&topic), Some(values));
        }

        #[test]
        fn shows_source(pieces in pieces(ODD, 8)) {
            let source = source(&pieces);
            let template = template(&source);
            prop_assert_eq!(template.to_string(), source.clone());
            if let Ok(pattern) = Pattern::new(source.as_str()) {
                prop_assert_eq!(pattern.to_string(), source);
                prop_assert_eq!(pattern.shape(), &template.shape(|_| None));
            }
        }

        #[test]
        fn never_panics(any in "\\PC{0,12}", braces in "[{}a0é_-]{0,12}", topic in ".{0,8}") {
            for source in [any, braces] {
                if let Ok(pattern) = Pattern::new(source.as_str()) {
                    prop_assert!(Template::new(source.as_str()).is_ok());
                    prop_assert!(pattern.find(&pattern.example()).is_some());
                    let _ = pattern.find(&topic);
                }
            }
        }
    }
}
