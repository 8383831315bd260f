//! What translates.

use std::sync::Arc;

use fanout_aws::Cloud;
use fanout_core::transform::Transforms;
use fanout_core::transform::pseudo::Pseudo;

/// What is at work behind the transform `translate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Translations {
    /// What marks a text in place of translating it.
    StandIn,
    /// Amazon Translate.
    Amazon,
}

impl Translations {
    /// The translator that was asked for.
    pub(super) const fn new(aws: bool) -> Self {
        if aws { Self::Amazon } else { Self::StandIn }
    }

    /// All transforms, with it behind `translate`.
    pub(super) fn transforms(self) -> Transforms {
        match self {
            Self::StandIn => Transforms::standard().with_translator(Arc::new(Pseudo)),
            Self::Amazon => Cloud::default().transforms(&Transforms::standard()),
        }
    }

    /// For programs.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::StandIn => "pseudo",
            Self::Amazon => "aws",
        }
    }

    /// For people.
    pub(super) const fn described(self) -> &'static str {
        match self {
            Self::StandIn => "translations: stood in for by `pseudo`; --aws asks Amazon Translate",
            Self::Amazon => "translations: by Amazon Translate, which costs money",
        }
    }
}
