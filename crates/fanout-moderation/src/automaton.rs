//! The lists of words as an automaton, made by `build.rs`.

use tables::{BACK, BYTES, EDGES, VALUE, VALUES};
pub(crate) use tables::{LOOKS, STEMS};

#[expect(clippy::unicode_not_nfc, clippy::unreadable_literal, reason = "a machine writes and reads it")]
mod tables {
    include!(concat!(env!("OUT_DIR"), "/tables.rs"));
}

/// A place in the automaton: what was read so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct State(u16);

impl State {
    /// Returns the state before anything is read.
    pub(crate) fn start() -> Self {
        // The root is the last node.
        Self(u16::try_from(VALUE.len() - 1).expect("the tables are small"))
    }

    /// Returns the state after these bytes, if a word goes on with them.
    pub(crate) fn step(self, bytes: &[u8]) -> Option<Self> {
        let mut state = self;
        for byte in bytes {
            let node = usize::from(state.0);
            let (first, end) = (usize::from(*EDGES.get(node)?), usize::from(*EDGES.get(node + 1)?));
            let edge = first + BYTES.get(first..end)?.iter().position(|known| known == byte)?;
            state = Self(state.0 - BACK.get(edge)?);
        }
        Some(state)
    }

    /// Returns the value of the word that ends here.
    pub(crate) fn value(self) -> Option<u64> {
        let number = *VALUE.get(usize::from(self.0))?;
        VALUES.get(usize::from(number).checked_sub(1)?).copied()
    }
}
