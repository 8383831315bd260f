//! What Amazon Web Services give to a function, where the build has them in it: the one place that knows
//! whether it does.

use std::sync::Arc;

use crate::config::{Config, ConfigErrors, RoutesConfig, from_parameter};
use crate::destination::Carrier;
use crate::transform::Transforms;

/// Why something could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum CloudError {
    /// What was fetched cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The parameter with the routes could not be read.
    #[cfg(feature = "parameters")]
    #[error("FANOUT_CONFIG")]
    Parameter(#[from] crate::aws::ParameterError),
    /// Nobody has fetched it.
    #[error("FANOUT_CONFIG: ssm:{0} is not fetched yet")]
    NotFetched(String),
    /// There is no AWS in this build.
    #[cfg(not(feature = "parameters"))]
    #[error("FANOUT_CONFIG: ssm:{0} needs a build with the cargo feature `parameters`")]
    NoParameters(String),
}

/// Everything that is called beside Momento. Nothing is built before it is needed.
#[derive(Clone, Debug, Default)]
pub struct Cloud {
    #[cfg(feature = "aws-sdk")]
    aws: Arc<crate::aws::Aws>,
}

impl Cloud {
    /// These transforms, with what they call: their own translator, or Amazon's.
    #[must_use]
    pub fn transforms(&self, transforms: &Transforms) -> Transforms {
        #[cfg(feature = "translate")]
        if !transforms.can_translate() {
            let amazon = crate::aws::AmazonTranslator::new(Arc::clone(&self.aws));
            return transforms.clone().with_translator(Arc::new(amazon));
        }
        transforms.clone()
    }

    /// What hands in parcels.
    #[must_use]
    pub fn carrier(&self) -> Arc<dyn Carrier> {
        #[cfg(feature = "aws-sdk")]
        return Arc::clone(&self.aws) as Arc<dyn Carrier>;
        #[cfg(not(feature = "aws-sdk"))]
        Arc::new(crate::destination::Nowhere)
    }

    /// The settings with what had to be fetched.
    ///
    /// # Errors
    /// When something cannot be fetched, or not be used.
    pub async fn complete(&self, config: Config, transforms: &Transforms) -> Result<Config, CloudError> {
        let RoutesConfig::Parameter(name) = &config.routes else { return Ok(config) };
        let text = self.parameter(name).await?;
        let routes = RoutesConfig::Routes(from_parameter(name, &text, transforms)?);
        Ok(Config { routes, ..config })
    }

    #[cfg(feature = "parameters")]
    async fn parameter(&self, name: &str) -> Result<String, CloudError> {
        Ok(self.aws.parameter(name).await?)
    }

    #[cfg(not(feature = "parameters"))]
    #[expect(clippy::unused_async, reason = "with AWS it waits")]
    async fn parameter(&self, name: &str) -> Result<String, CloudError> {
        Err(CloudError::NoParameters(name.to_owned()))
    }
}
