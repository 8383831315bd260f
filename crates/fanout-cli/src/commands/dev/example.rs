//! Routes that are built in, to try out.

/// The examples that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Example {
    /// A chat: what is said in a room is moderated, and read in three languages
    Chat,
}

impl Example {
    /// Where its file is, in this repository.
    pub(super) const fn file(self) -> &'static str {
        match self {
            Self::Chat => "examples/chat/fanout.toml",
        }
    }

    /// What is in the file.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Chat => include_str!("../../../../../examples/chat/fanout.toml"),
        }
    }

    /// The cache and the topic that lines are published to, unless others are given.
    pub(super) const fn inbound(self) -> (&'static str, &'static str) {
        match self {
            Self::Chat => ("chat", "friends-publish"),
        }
    }
}
