//! What translates.

use std::sync::Arc;

use topic_fanout::transform::Transforms;
use topic_fanout::transform::pseudo::Pseudo;
use topic_fanout::transform::translate::Translator;

use crate::cli::Error;

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
    ///
    /// # Errors
    /// When it is not there.
    pub(super) fn transforms(self) -> Result<Transforms, Error> {
        let translator: Arc<dyn Translator> = match self {
            Self::StandIn => Arc::new(Pseudo),
            // Here Amazon's is put in place of the error.
            Self::Amazon => {
                return Err(Error::Usage("--aws: this build has no Amazon Translate in it".to_owned()));
            }
        };
        Ok(Transforms::standard().with_translator(translator))
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
