//! Topics and routes as a drawing: for Mermaid, which many web pages render, or for Graphviz.
//!
//! Each topic has one node, for all routes to it and from it. A transform that several destinations share has one too.
//! A name stays text, even if it contains markup.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use fanout_core::route::Destination;
use fanout_core::transform::{OnFailure, Tree};

use super::outline::{Outline, OutlinedRoute, cache_of, cache_to};
use crate::output::Printable;

/// A drawing.
#[derive(Debug, Default)]
pub(super) struct Drawing {
    nodes: Vec<Node>,
    links: Vec<Link>,
}

#[derive(Debug)]
struct Node {
    kind: Kind,
    label: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Topic,
    Transform,
    ServiceDestination,
}

/// A link between two nodes, by their indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Link {
    from: usize,
    to: usize,
    kind: LinkKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum LinkKind {
    /// A text is passed on.
    Text(OnFailure),
    /// A route takes the events of a destination.
    Next,
}

/// A cache, if it is known, and a topic.
type Name = (Option<String>, String);

impl Drawing {
    /// Draws the routes of an outline.
    pub(super) fn new(outline: &Outline<'_>) -> Self {
        let mut drawing = Self::default();
        let (mut topics, mut service_destinations) = (HashMap::new(), HashMap::new());
        for outlined in &outline.outlined {
            let inbound = outlined.route.inbound();
            let from = drawing.topic(&mut topics, (cache_of(inbound), inbound.to_string()));
            let node = |destination: &Destination| {
                if destination.to.topic().is_none() {
                    return drawing
                        .service_destination(&mut service_destinations, destination.to.to_string());
                }
                drawing.topic(&mut topics, (cache_to(inbound, destination), destination.to.to_string()))
            };
            let to: Vec<_> = outlined.route.destinations().iter().map(node).collect();
            drawing.tree(outlined.route.tree(), from, &to);
        }
        let mut seen = HashSet::new();
        for outlined in &outline.outlined {
            drawing.next(outline, outlined, &mut topics, &mut seen);
        }
        drawing
    }

    /// Returns the number of links.
    pub(super) const fn links(&self) -> usize {
        self.links.len()
    }

    /// Returns the node of a topic.
    fn topic(&mut self, topics: &mut HashMap<Name, usize>, name: Name) -> usize {
        if let Some(node) = topics.get(&name) {
            return *node;
        }
        let (cache, topic) = &name;
        let label =
            format!("{} / {}", Printable(cache.as_deref().unwrap_or("(any cache)")), Printable(topic));
        let node = self.node(Kind::Topic, label);
        topics.insert(name, node);
        node
    }

    /// Returns the node of an AWS destination.
    fn service_destination(
        &mut self,
        service_destinations: &mut HashMap<String, usize>,
        name: String,
    ) -> usize {
        if let Some(node) = service_destinations.get(&name) {
            return *node;
        }
        let node = self.node(Kind::ServiceDestination, Printable(&name).to_string());
        service_destinations.insert(name, node);
        node
    }

    fn node(&mut self, kind: Kind, label: String) -> usize {
        self.nodes.push(Node { kind, label });
        self.nodes.len() - 1
    }

    fn link(&mut self, from: usize, to: usize, kind: LinkKind) {
        self.links.push(Link { from, to, kind });
    }

    /// Draws the transforms of a route whose inbound topic has the node `from`. `to` has the node of each
    /// destination.
    fn tree(&mut self, tree: &Tree, from: usize, to: &[usize]) {
        // A loop, because a file decides how deep a tree is.
        let mut trees = vec![(tree, from, OnFailure::Fail)];
        while let Some((tree, from, on_failure)) = trees.pop() {
            for index in &tree.destinations {
                let to = to.get(*index).expect("each destination has a node");
                self.link(from, *to, LinkKind::Text(on_failure));
            }
            let mut next = Vec::new();
            for branch in &tree.branches {
                let stage = &branch.stage;
                let settings = if stage.settings() == "{}" { "" } else { stage.settings() };
                let label = format!("{} {}", Printable(stage.name()), Printable(settings));
                let node = self.node(Kind::Transform, label.trim_end().to_owned());
                self.link(from, node, LinkKind::Text(on_failure));
                next.extend(branch.next.iter().map(|(on_failure, tree)| (tree, node, *on_failure)));
            }
            // In the order of the file.
            trees.extend(next.into_iter().rev());
        }
    }

    /// Links destinations to the routes that take their events, if those have other names.
    fn next(
        &mut self,
        outline: &Outline<'_>,
        outlined: &OutlinedRoute<'_>,
        topics: &mut HashMap<Name, usize>,
        seen: &mut HashSet<Link>,
    ) {
        let inbound = outlined.route.inbound();
        for outlined in
            outlined.destinations.iter().filter(|outlined| outlined.destination.to.topic().is_some())
        {
            let destination = outlined.destination;
            let from = self.topic(topics, (cache_to(inbound, destination), destination.to.to_string()));
            for next in &outlined.next {
                let next = outline.route(*next).inbound();
                let to = self.topic(topics, (cache_of(next), next.to_string()));
                let link = Link { from, to, kind: LinkKind::Next };
                if from != to && seen.insert(link) {
                    self.links.push(link);
                }
            }
        }
    }

    /// Returns the source of a Mermaid flowchart.
    pub(super) fn mermaid(&self) -> String {
        let mut source = String::from("flowchart LR");
        for (index, node) in self.nodes.iter().enumerate() {
            let (open, close) = match node.kind {
                Kind::Topic => ("([", "])"),
                Kind::Transform => ("[", "]"),
                Kind::ServiceDestination => ("[(", ")]"),
            };
            let _ = write!(source, "\n    n{index}{open}\"{}\"{close}", for_mermaid(&node.label));
        }
        for Link { from, to, kind } in &self.links {
            let arrow = match kind {
                LinkKind::Text(OnFailure::Fail) => "-->",
                LinkKind::Text(OnFailure::Drop) => "-->|\"on failure drop\"|",
                LinkKind::Text(OnFailure::Pass) => "-->|\"on failure pass\"|",
                LinkKind::Next => "-.->",
            };
            let _ = write!(source, "\n    n{from} {arrow} n{to}");
        }
        source
    }

    /// Returns the source of a graph for Graphviz.
    pub(super) fn dot(&self) -> String {
        let mut source = String::from("digraph fanout {\n    rankdir=LR;\n    node [shape=box];");
        for (index, node) in self.nodes.iter().enumerate() {
            let style = match node.kind {
                Kind::Topic => ", style=rounded",
                Kind::Transform => "",
                Kind::ServiceDestination => ", shape=cylinder",
            };
            let _ = write!(source, "\n    n{index} [label=\"{}\"{style}];", for_dot(&node.label));
        }
        for Link { from, to, kind } in &self.links {
            let style = match kind {
                LinkKind::Text(OnFailure::Fail) => "",
                LinkKind::Text(OnFailure::Drop) => " [label=\"on failure drop\"]",
                LinkKind::Text(OnFailure::Pass) => " [label=\"on failure pass\"]",
                LinkKind::Next => " [style=dashed]",
            };
            let _ = write!(source, "\n    n{from} -> n{to}{style};");
        }
        source.push_str("\n}");
        source
    }
}

/// Escapes a text for a quoted label of Mermaid, which reads several kinds of markup there. A character is written as
/// its number unless it is a letter, a digit, or harmless at its position.
fn for_mermaid(label: &str) -> String {
    let chars: Vec<_> = label.chars().collect();
    let at = |index: Option<usize>| index.and_then(|index| chars.get(index)).copied();
    let is_word = |index| at(index).is_some_and(char::is_alphanumeric);
    let mut escaped = String::with_capacity(label.len());
    for (index, char) in chars.iter().enumerate() {
        let (before, after) = (index.checked_sub(1), index.checked_add(1));
        let is_plain = match char {
            '/' | ',' | '{' | '}' | '(' | ')' => true,
            // At other positions they begin a list or an emphasis, and several spaces become one.
            '-' => at(before).is_some_and(|char| !matches!(char, ' ' | '-')),
            '_' => is_word(before) && is_word(after),
            ' ' => at(before).is_some_and(|char| char != ' '),
            other => other.is_alphanumeric(),
        };
        if is_plain {
            escaped.push(*char);
        } else {
            let _ = write!(escaped, "#{};", u32::from(*char));
        }
    }
    escaped
}

/// Escapes a text for a quoted label of DOT, which reads backslashes and entities.
fn for_dot(label: &str) -> String {
    let mut escaped = String::with_capacity(label.len());
    for char in label.chars() {
        match char {
            '"' | '\\' => escaped.extend(['\\', char]),
            '&' => escaped.push_str("&amp;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use fanout_core::placeholder::Template;
    use fanout_core::route::{Route, Routes};

    use super::super::outline::tests::routes;
    use super::*;

    fn drawing(text: &str) -> Drawing {
        Drawing::new(&Outline::new(text, &routes(text)))
    }

    const CHAT: &str = "
[[routes]]
cache = 'chat'
topic = '{room}-publish'
transforms = ['trim']
destinations = [
    '{room}-a',
    { topic = '{room}-b', extra_transforms = ['uppercase'] },
    { topic = '{room}-c', transforms = [{ trim = { on_failure = 'pass' } }, 'uppercase'] },
    { topic = 'log', cache = 'log', transforms = [] },
]
[[routes]]
topic = '{x}-b'
destinations = ['archive']
[[routes]]
cache = 'log'
topic = 'log'
destinations = ['seen']
";

    #[test]
    fn draws_shared_transform_once_and_links_next_route() {
        let expected = "flowchart LR
    n0([\"log / log\"])
    n1([\"log / seen\"])
    n2([\"chat / {room}-publish\"])
    n3([\"chat / {room}-a\"])
    n4([\"chat / {room}-b\"])
    n5([\"chat / {room}-c\"])
    n6[\"trim\"]
    n7[\"uppercase\"]
    n8[\"uppercase\"]
    n9([\"(any cache) / {x}-b\"])
    n10([\"(any cache) / archive\"])
    n0 --> n1
    n2 --> n0
    n2 --> n6
    n6 --> n3
    n6 --> n7
    n7 --> n4
    n6 -->|\"on failure pass\"| n8
    n8 --> n5
    n9 --> n10
    n4 -.-> n9";
        assert_eq!(drawing(CHAT).mermaid(), expected);
    }

    #[test]
    fn draws_chain_of_hundreds_of_transforms() {
        let text = "[[routes]]\ntopic = 'in'\ntransforms = ['trim']\ndestinations = ['out']";
        let routes = routes(text);
        let (route, destination) = (&routes.all()[0], &routes.all()[0].destinations()[0]);
        let chain = vec![destination.chain[0].clone(); 500];
        let destination = Destination::new(destination.to.clone(), chain);
        let routes = Routes::new(vec![Route::new(route.inbound().clone(), vec![destination])]).unwrap();
        assert_eq!(Drawing::new(&Outline::new(text, &routes)).links(), 501);
    }

    #[test]
    fn draws_the_same_for_graphviz() {
        let dot = drawing(CHAT).dot();
        assert!(dot.starts_with("digraph fanout {\n") && dot.ends_with("\n}"), "{dot}");
        for line in [
            "n2 [label=\"chat / {room}-publish\", style=rounded];",
            "n6 [label=\"trim\"];",
            "n6 -> n8 [label=\"on failure pass\"];",
            "n4 -> n9 [style=dashed];",
        ] {
            assert!(dot.lines().any(|own| own.trim() == line), "{line} in {dot}");
        }
    }

    const HOSTILE: &str = r#"a"]);n0-->n1%%{init}<b/>&amp;#quot;|end|`x`\"#;

    fn hostile() -> Drawing {
        let topic = serde_json::to_string(&Template::verbatim(HOSTILE).to_string()).unwrap();
        drawing(&format!("[[routes]]\ntopic = 'in'\ndestinations = [{topic}, \"two\\nlines\\u001b\"]"))
    }

    #[test]
    fn keeps_hostile_name_in_its_mermaid_label() {
        let mermaid = hostile().mermaid();
        let mut lines = mermaid.lines();
        assert_eq!(lines.next(), Some("flowchart LR"));
        let rest: Vec<_> = lines.map(str::trim).collect();
        assert_eq!(rest.len(), 5, "{mermaid}");
        for line in &rest[..3] {
            let (_, label) = line.split_once("([\"").unwrap();
            let label = label.strip_suffix("\"])").unwrap();
            assert!(is_plain(label), "{label}");
        }
        assert_eq!(rest[3..], ["n0 --> n1", "n0 --> n2"]);
    }

    /// Returns true if a label has only text and numbers of characters.
    fn is_plain(label: &str) -> bool {
        let mut parts = label.split('#');
        let text = |text: &str| text.chars().all(|char| char.is_alphanumeric() || " /,-_{}()".contains(char));
        parts.next().is_some_and(text)
            && parts.all(|part| {
                let Some((number, rest)) = part.split_once(';') else { return false };
                number.parse::<u32>().is_ok() && text(rest)
            })
    }

    #[test]
    fn mermaid_shows_the_text_as_written() {
        for label in
            [HOSTILE, "  two  spaces ", "1. list", "- a", "a-b_c-", "東京/é", "#35;", "style: x#1;", ""]
        {
            let escaped = for_mermaid(label);
            assert!(is_plain(&escaped), "{escaped}");
            let mut parts = escaped.split('#');
            let mut shown = parts.next().unwrap().to_owned();
            for part in parts {
                let (number, rest) = part.split_once(';').unwrap();
                shown.push(char::from_u32(number.parse().unwrap()).unwrap());
                shown.push_str(rest);
            }
            assert_eq!(shown, label);
        }
        assert_eq!(for_mermaid("room-1_publish"), "room-1_publish");
    }

    #[test]
    fn keeps_hostile_name_in_its_dot_label() {
        let dot = hostile().dot();
        let labels: Vec<_> =
            dot.lines().filter_map(|line| line.split_once("label=").map(|(_, label)| label)).collect();
        assert_eq!(labels.len(), 3, "{dot}");
        for label in labels {
            // A quoted string ends at the first quote without a backslash before it.
            let mut chars = label.strip_prefix('"').unwrap().chars();
            while let Some(char) = chars.next() {
                match char {
                    '\\' => assert!(matches!(chars.next(), Some('"' | '\\')), "{label}"),
                    '"' => break,
                    _ => {}
                }
            }
            assert_eq!(chars.as_str(), ", style=rounded];");
        }
        assert!(
            dot.contains(r#"<b/>&amp;amp;#quot;|end|`x`\\""#) && dot.contains(r"two\\nlines\\u{1b}"),
            "{dot}"
        );
    }
}
