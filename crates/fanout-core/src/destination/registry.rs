//! The kinds of AWS destinations. A new kind is one file beside this one, and one line in the list below.

use std::fmt;

use serde::Serialize;

use super::Target;
use super::aws::{AwsDestination, AwsSettings, short};
use super::dynamodb::{DynamoDbKeys, Row};
use super::eventbridge::{BusEvent, EventBridgeKeys};
use super::sqs::{QueueMessage, SqsKeys};
use super::step_functions::{Execution, StepFunctionsKeys};
use crate::file::Texts;
use crate::spanned::Given;

/// One kind of AWS destination: how a file names it, and how its settings are read.
pub(crate) struct Kind {
    /// The key in a file: `sqs`.
    pub(crate) name: &'static str,
    /// Reads the settings, and notes every fault.
    pub(crate) read: fn(Given<'_>, &mut Texts<'_, '_>) -> Option<AwsDestination>,
    /// Returns the schema of the settings.
    #[cfg(feature = "schema")]
    pub(crate) schema: fn(&mut schemars::SchemaGenerator) -> schemars::Schema,
}

impl Kind {
    const fn of<S: AwsSettings>() -> Self {
        Self {
            name: S::KIND,
            read: AwsDestination::read::<S>,
            #[cfg(feature = "schema")]
            schema: schemars::SchemaGenerator::subschema_for::<S>,
        }
    }
}

/// For each kind: its variant of [`AwsRequest`], its settings in a file, and its request.
macro_rules! registry {
    ($($variant:ident: $settings:ty => $request:ty;)*) => {
        /// A request to an AWS destination, for one event.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
        #[serde(untagged)]
        #[non_exhaustive]
        pub enum AwsRequest {
            $(
                #[doc = concat!("A request to a destination of the kind `", stringify!($variant), "`.")]
                $variant($request),
            )*
        }

        impl AwsRequest {
            /// Returns the kind of the destination, as a file names it.
            #[must_use]
            pub const fn kind(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => <$settings>::KIND,)*
                }
            }

            fn full_name(&self) -> &str {
                match self {
                    $(Self::$variant(request) => request.destination(),)*
                }
            }
        }

        $(
            impl From<$request> for AwsRequest {
                fn from(request: $request) -> Self {
                    Self::$variant(request)
                }
            }
        )*

        /// The names of all kinds of AWS destinations, as a file gives them.
        pub const KINDS: &[&str] = &[$(<$settings>::KIND),*];

        /// All kinds of AWS destinations.
        pub(crate) const REGISTRY: &[Kind] = &[$(Kind::of::<$settings>()),*];
    };
}

registry! {
    DynamoDb: DynamoDbKeys => Row;
    EventBridge: EventBridgeKeys => BusEvent;
    Sqs: SqsKeys => QueueMessage;
    StepFunctions: StepFunctionsKeys => Execution;
}

impl AwsRequest {
    /// Returns the destination, as the response and the log record show it.
    #[must_use]
    pub fn target(&self) -> Target<'_> {
        Target::Aws { kind: self.kind(), name: self.name().into() }
    }

    /// Returns the name of the destination, without account, region and host.
    #[must_use]
    pub fn name(&self) -> &str {
        short(self.full_name())
    }
}

/// Writes the destination, and the request as JSON.
impl fmt::Display for AwsRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = serde_json::to_string(self).map_err(|_| fmt::Error)?;
        write!(f, "{} {}: {json}", self.kind(), self.name())
    }
}

/// Returns the cargo feature that adds a kind to a build.
#[must_use]
pub fn feature(kind: &str) -> String {
    kind.replace('_', "-")
}
