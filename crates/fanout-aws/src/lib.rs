//! All clients of Amazon Web Services: senders of AWS destinations, secrets, parameters, objects, translations and
//! moderation. This crate knows which services a build has.

#![cfg_attr(
    not(all(
        feature = "comprehend",
        feature = "dynamodb",
        feature = "eventbridge",
        feature = "parameters",
        feature = "s3",
        feature = "secrets",
        feature = "sqs",
        feature = "step-functions",
        feature = "translate"
    )),
    allow(
        dead_code,
        unused_imports,
        unused_variables,
        clippy::needless_pass_by_value,
        clippy::unused_self,
        reason = "some services do not use all that is shared"
    )
)]

#[cfg(feature = "aws-sdk")]
mod client;
#[cfg(feature = "comprehend")]
mod comprehend;
#[cfg(feature = "dynamodb")]
mod dynamodb;
#[cfg(feature = "eventbridge")]
mod eventbridge;
#[cfg(feature = "aws-sdk")]
mod failure;
#[cfg(feature = "aws-sdk")]
mod http;
#[cfg(feature = "aws-sdk")]
mod in_time;
#[cfg(feature = "lambda")]
mod lambda;
#[cfg(feature = "parameters")]
mod parameter;
#[cfg(feature = "s3")]
mod s3;
#[cfg(feature = "secrets")]
mod secret;
#[cfg(feature = "aws-sdk")]
mod sender;
#[cfg(feature = "sqs")]
mod sqs;
#[cfg(feature = "step-functions")]
mod step_functions;
#[cfg(feature = "translate")]
mod translate;

#[cfg(feature = "aws-sdk")]
pub use client::{Aws, KINDS, Settings};
#[cfg(feature = "comprehend")]
pub use comprehend::ComprehendClassifier;
#[cfg(feature = "translate")]
pub use translate::AmazonTranslator;

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use fanout_core::destination::ServiceSender;
#[cfg(feature = "sqs")]
use fanout_core::destination::sqs::QueueSender;
#[cfg(feature = "lambda")]
use fanout_core::function::FunctionInvoker;
use fanout_core::object_id::ObjectId;
use fanout_core::reason::Failure;
use fanout_core::secret_store::{SecretName, SecretStore, StoredSecret};
use fanout_core::transform::Transforms;
#[cfg(feature = "comprehend")]
use fanout_core::transform::moderate::COMPREHEND;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

/// The kinds of AWS destinations that this build can send to.
#[cfg(not(feature = "aws-sdk"))]
pub const KINDS: &[&str] = &[];

/// The services of AWS. Nothing is built before the first call.
#[derive(Clone, Debug, Default)]
pub struct Cloud {
    #[cfg(feature = "aws-sdk")]
    aws: Arc<Aws>,
}

/// Error for a parameter that cannot be read.
#[derive(Debug)]
pub struct ParameterError {
    /// The name of the parameter.
    pub name: String,
    /// The failure.
    pub failure: Failure,
}

impl fmt::Display for ParameterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "parameter {}: {}", self.name, self.failure)
    }
}

/// Its source is that of the failure, whose own text is part of the error.
impl Error for ParameterError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.failure.source()
    }
}

#[cfg(not(feature = "secrets"))]
const NO_SECRETS: &str = "needs a build with the cargo feature `secrets`";
#[cfg(not(feature = "parameters"))]
const NO_PARAMETERS: &str = "needs a build with the cargo feature `parameters`";
#[cfg(not(feature = "s3"))]
const NO_OBJECTS: &str = "needs a build with the cargo feature `s3`";

impl Cloud {
    /// Returns these transforms with Amazon Translate and Amazon Comprehend, unless they have a translator, or another
    /// classifier of that name.
    #[must_use]
    pub fn transforms(&self, transforms: &Transforms) -> Transforms {
        let complete = transforms.clone();
        #[cfg(feature = "translate")]
        let complete = if complete.can_translate() {
            complete
        } else {
            complete.with_translator(Arc::new(AmazonTranslator::new(Arc::clone(&self.aws))))
        };
        #[cfg(feature = "comprehend")]
        let complete = if complete.can_classify(COMPREHEND) {
            complete
        } else {
            complete.with_classifier(COMPREHEND, Arc::new(ComprehendClassifier::new(Arc::clone(&self.aws))))
        };
        complete
    }

    /// Returns the sender for AWS destinations.
    #[must_use]
    pub fn sender(&self) -> Arc<dyn ServiceSender> {
        #[cfg(feature = "aws-sdk")]
        return Arc::clone(&self.aws) as Arc<dyn ServiceSender>;
        #[cfg(not(feature = "aws-sdk"))]
        Arc::new(fanout_core::destination::NoService)
    }

    /// Returns the sender for batches of messages for queues.
    #[cfg(feature = "sqs")]
    #[must_use]
    pub fn queue_sender(&self) -> Arc<dyn QueueSender> {
        Arc::clone(&self.aws) as Arc<dyn QueueSender>
    }

    /// Returns what invokes functions of AWS Lambda.
    #[cfg(feature = "lambda")]
    #[must_use]
    pub fn function_invoker(&self) -> Arc<dyn FunctionInvoker> {
        Arc::clone(&self.aws) as Arc<dyn FunctionInvoker>
    }

    /// Reads one parameter of Systems Manager, decrypted if it is a secret.
    ///
    /// # Errors
    /// When the build lacks parameters, and when the parameter cannot be read.
    #[cfg_attr(
        not(feature = "parameters"),
        expect(clippy::unused_async, reason = "it waits if the build has parameters")
    )]
    pub async fn parameter(&self, name: &str) -> Result<String, ParameterError> {
        #[cfg(feature = "parameters")]
        return self.aws.parameter(name).await;
        #[cfg(not(feature = "parameters"))]
        Err(ParameterError { name: name.to_owned(), failure: Failure::invalid(NO_PARAMETERS) })
    }

    /// Reads one object of S3.
    ///
    /// # Errors
    /// When the build lacks S3, and when the object cannot be read.
    #[cfg_attr(
        not(feature = "s3"),
        expect(unused_variables, clippy::unused_async, reason = "it waits if the build has S3")
    )]
    pub async fn object(&self, id: &ObjectId) -> Result<Vec<u8>, Failure> {
        #[cfg(feature = "s3")]
        return self.aws.object(id).await;
        #[cfg(not(feature = "s3"))]
        Err(Failure::invalid(NO_OBJECTS))
    }
}

impl SecretStore for Cloud {
    #[cfg_attr(
        not(any(feature = "secrets", feature = "parameters")),
        expect(unused_variables, reason = "nothing is fetched")
    )]
    fn fetch<'s>(
        &'s self,
        name: &'s SecretName,
        previous_until: Option<Instant>,
    ) -> BoxFuture<'s, Result<StoredSecret, Failure>> {
        match name {
            #[cfg(feature = "secrets")]
            SecretName::Secret(name) => Box::pin(self.aws.secret(name, previous_until)),
            #[cfg(not(feature = "secrets"))]
            SecretName::Secret(_) => not_built(NO_SECRETS),
            #[cfg(feature = "parameters")]
            SecretName::Parameter(name) => Box::pin(self.aws.secret_parameter(name, previous_until)),
            #[cfg(not(feature = "parameters"))]
            SecretName::Parameter(_) => not_built(NO_PARAMETERS),
        }
    }
}

#[cfg(not(all(feature = "secrets", feature = "parameters")))]
fn not_built<'s, T: Send + 's>(detail: &'static str) -> BoxFuture<'s, Result<T, Failure>> {
    Box::pin(std::future::ready(Err(Failure::invalid(detail))))
}

#[cfg(test)]
mod tests {
    #[cfg(all(feature = "dynamodb", feature = "eventbridge", feature = "sqs", feature = "step-functions"))]
    #[test]
    fn build_with_all_features_sends_to_every_kind() {
        assert_eq!(super::KINDS, fanout_core::destination::KINDS);
    }

    #[test]
    fn feature_of_kind_is_in_manifest() {
        for kind in fanout_core::destination::KINDS {
            let feature = format!("\n{} = [", fanout_core::destination::registry::feature(kind));
            for manifest in [include_str!("../Cargo.toml"), include_str!("../../../Cargo.toml")] {
                assert!(manifest.contains(&feature), "{feature}");
            }
        }
    }
}
