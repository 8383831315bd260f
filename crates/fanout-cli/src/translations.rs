//! The translator behind the transform `translate`, and the classifier behind `moderate`.

use std::sync::Arc;

use fanout_aws::Cloud;
use fanout_core::transform::moderate::COMPREHEND;
use fanout_core::transform::pseudolocalize::Pseudolocalizer;
use fanout_core::transform::{NoClassifier, Transforms};

/// The translator that a command uses. With `pseudolocalize`, no service classifies a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Translations {
    /// The transform `pseudolocalize`, which marks a text instead of translating it.
    Pseudolocalize,
    /// Amazon Translate.
    Amazon,
}

impl Translations {
    /// Returns the translator that the flag `--aws` selects.
    pub(crate) const fn new(aws: bool) -> Self {
        if aws { Self::Amazon } else { Self::Pseudolocalize }
    }

    /// Returns all transforms, with this translator behind `translate`, and Amazon Comprehend only beside Amazon Translate.
    pub(crate) fn transforms(self) -> Transforms {
        match self {
            Self::Pseudolocalize => Transforms::standard()
                .with_translator(Arc::new(Pseudolocalizer))
                .with_classifier(COMPREHEND, Arc::new(NoClassifier)),
            Self::Amazon => Cloud::default().transforms(&Transforms::standard()),
        }
    }

    /// Returns its name, for programs.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pseudolocalize => "pseudolocalize",
            Self::Amazon => "aws",
        }
    }
}
