//! The translator behind the transform `translate`, and the classifier behind `moderate`.

use std::sync::Arc;

use fanout_aws::Cloud;
use fanout_core::transform::moderate::COMPREHEND;
use fanout_core::transform::pseudolocalize::Pseudolocalizer;
use fanout_core::transform::{NoClassifier, Transforms};

use crate::aws::{IS_BUILT, missing};
use crate::error::Error;

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
    ///
    /// # Errors
    /// If this build lacks it.
    pub(crate) fn new(aws: bool) -> Result<Self, Error> {
        match aws {
            true if !IS_BUILT => Err(missing("--aws")),
            true => Ok(Self::Amazon),
            false => Ok(Self::Pseudolocalize),
        }
    }

    /// Returns `own` transforms, with this translator behind `translate`, and Amazon Comprehend only beside Amazon Translate.
    /// A translator or a classifier that they have stays.
    pub(crate) fn transforms(self, own: &Transforms) -> Transforms {
        if self == Self::Amazon {
            return Cloud::default().transforms(own);
        }
        let mut transforms = own.clone();
        if !own.can_translate() {
            transforms = transforms.with_translator(Arc::new(Pseudolocalizer));
        }
        if !own.can_classify(COMPREHEND) {
            transforms = transforms.with_classifier(COMPREHEND, Arc::new(NoClassifier));
        }
        transforms
    }

    /// Returns its name, for programs.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pseudolocalize => "pseudolocalize",
            Self::Amazon => "aws",
        }
    }
}
