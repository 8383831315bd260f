//! The lists of words as an automaton, made by `build.rs`.

use tables::{EDGES, NODES, VALUES};
pub(crate) use tables::{LOOKS, STEMS};

#[expect(clippy::unicode_not_nfc, clippy::unreadable_literal, reason = "a machine writes and reads it")]
mod tables {
    include!(concat!(env!("OUT_DIR"), "/tables.rs"));
}

/// A place in the automaton: what was read so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct State(u32);

impl State {
    /// Returns the state before anything is read.
    pub(crate) fn start() -> Self {
        // The root is the last node; behind it is the end of the table.
        Self(u32::try_from(NODES.len() - 2).expect("the table is small"))
    }

    /// Returns the state after these bytes, if a word goes on with them.
    pub(crate) fn step(self, bytes: &[u8]) -> Option<Self> {
        let mut state = self;
        for byte in bytes {
            let edges = state.edges();
            let found = if edges.len() > 8 {
                edges.binary_search_by_key(byte, |edge| byte_of(*edge)).ok().and_then(|edge| edges.get(edge))
            } else {
                edges.iter().find(|edge| byte_of(**edge) == *byte)
            };
            state = Self(found? >> 8);
        }
        Some(state)
    }

    /// Returns the value of the word that ends here.
    pub(crate) fn value(self) -> Option<u64> {
        let number = NODES.get(index(self.0))? & 0xfff;
        VALUES.get(index(number).checked_sub(1)?).copied()
    }

    fn edges(self) -> &'static [u32] {
        let first = |node: u32| NODES.get(index(node)).map_or(0, |node| index(node >> 12));
        EDGES.get(first(self.0)..first(self.0 + 1)).unwrap_or_default()
    }
}

const fn byte_of(edge: u32) -> u8 {
    edge.to_le_bytes()[0]
}

fn index(number: u32) -> usize {
    usize::try_from(number).expect("a pointer has 32 bits at least")
}
