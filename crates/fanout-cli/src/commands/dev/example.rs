//! Built-in routes, to try out.

/// An example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Example {
    /// A chat: the messages of a room are moderated, and translated into three languages
    Chat,
}

impl Example {
    /// Returns the path of its file in the repository.
    pub(super) const fn file(self) -> &'static str {
        match self {
            Self::Chat => "examples/chat/fanout.toml",
        }
    }

    /// Returns the text of the file.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Chat => include_str!("../../../../../examples/chat/fanout.toml"),
        }
    }

    /// Returns the text of the profiles of people.
    pub(super) const fn tokens(self) -> &'static str {
        match self {
            Self::Chat => include_str!("../../../../../examples/chat/tokens.toml"),
        }
    }

    /// Returns the default cache and topic that lines are published to.
    pub(super) const fn inbound(self) -> (&'static str, &'static str) {
        match self {
            Self::Chat => ("chat", "friends-publish"),
        }
    }
}
