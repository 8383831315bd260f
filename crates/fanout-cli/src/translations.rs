//! The translator behind the transform `translate`.

use std::sync::Arc;

use fanout_aws::Cloud;
use fanout_core::transform::Transforms;
use fanout_core::transform::pseudolocalize::Pseudolocalizer;

/// Who translates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Translations {
    /// A stand-in that marks a text instead of translating it.
    StandIn,
    /// Amazon Translate.
    Amazon,
}

impl Translations {
    /// Returns the translator that the flag `--aws` selects.
    pub(crate) const fn new(aws: bool) -> Self {
        if aws { Self::Amazon } else { Self::StandIn }
    }

    /// Returns all transforms, with this translator behind `translate`.
    pub(crate) fn transforms(self) -> Transforms {
        match self {
            Self::StandIn => Transforms::standard().with_translator(Arc::new(Pseudolocalizer)),
            Self::Amazon => Cloud::default().transforms(&Transforms::standard()),
        }
    }

    /// Returns its name, for programs.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::StandIn => "pseudolocalize",
            Self::Amazon => "aws",
        }
    }
}
