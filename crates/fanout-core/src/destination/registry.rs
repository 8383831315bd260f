//! The kinds of service destinations: those in AWS, and items in a cache. A new kind in AWS is one file beside this one, and
//! one line in the list below.

use std::fmt;

use serde::Serialize;

use super::Target;
use super::cache::{CacheWrite, CounterKeys, DictionaryKeys, ItemKeys, ListKeys, SetKeys};
use super::dynamodb::{DynamoDbKeys, Row};
use super::eventbridge::{BusEvent, EventBridgeKeys};
use super::service::{ServiceDestination, ServiceSettings, short};
use super::sqs::{QueueMessage, SqsKeys};
use super::step_functions::{Execution, StepFunctionsKeys};
use crate::file::Texts;
use crate::spanned::Given;

/// One kind of service destination: how a file names it, and how its settings are read.
pub(crate) struct Kind {
    /// The key in a file: `sqs`.
    pub(crate) name: &'static str,
    /// Reads the settings, and notes every fault.
    pub(crate) read: fn(Given<'_>, &mut Texts<'_, '_>) -> Option<ServiceDestination>,
    /// Returns the schema of the settings.
    #[cfg(feature = "schema")]
    pub(crate) schema: fn(&mut schemars::SchemaGenerator) -> schemars::Schema,
}

impl Kind {
    const fn of<S: ServiceSettings>() -> Self {
        Self {
            name: S::KIND,
            read: ServiceDestination::read::<S>,
            #[cfg(feature = "schema")]
            schema: schemars::SchemaGenerator::subschema_for::<S>,
        }
    }
}

/// For each kind in AWS: its variant of [`ServiceRequest`], its settings in a file, and its request. For each kind of item in
/// a cache: its settings.
macro_rules! registry {
    (aws { $($variant:ident: $settings:ty => $request:ty;)* } cache { $($item:ty,)* }) => {
        /// A request to a service destination, for one event.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
        #[serde(untagged)]
        #[non_exhaustive]
        pub enum ServiceRequest {
            $(
                #[doc = concat!("A request to a destination of the kind `", stringify!($variant), "`.")]
                $variant($request),
            )*
            /// A change of an item in a cache.
            Cache(CacheWrite),
        }

        impl ServiceRequest {
            /// Returns the kind of the destination, as a file names it.
            #[must_use]
            pub const fn kind(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => <$settings>::KIND,)*
                    Self::Cache(write) => write.kind(),
                }
            }

            /// Returns the name of the destination, without account, region and host; the key of an item.
            #[must_use]
            pub fn name(&self) -> &str {
                match self {
                    $(Self::$variant(request) => short(request.destination()),)*
                    Self::Cache(write) => &write.key,
                }
            }
        }

        $(
            impl From<$request> for ServiceRequest {
                fn from(request: $request) -> Self {
                    Self::$variant(request)
                }
            }
        )*

        /// The names of all kinds of AWS destinations, as a file gives them.
        pub const KINDS: &[&str] = &[$(<$settings>::KIND),*];

        /// The names of all kinds of items in a cache, as a file gives them.
        pub const CACHE_KINDS: &[&str] = &[$(<$item>::KIND),*];

        /// All kinds of service destinations.
        pub(crate) const REGISTRY: &[Kind] =
            &[$(Kind::of::<$settings>(),)* $(Kind::of::<$item>(),)*];
    };
}

registry! {
    aws {
        DynamoDb: DynamoDbKeys => Row;
        EventBridge: EventBridgeKeys => BusEvent;
        Sqs: SqsKeys => QueueMessage;
        StepFunctions: StepFunctionsKeys => Execution;
    }
    cache {
        ListKeys,
        DictionaryKeys,
        ItemKeys,
        CounterKeys,
        SetKeys,
    }
}

impl From<CacheWrite> for ServiceRequest {
    fn from(write: CacheWrite) -> Self {
        Self::Cache(write)
    }
}

impl ServiceRequest {
    /// Returns the destination, as the response and the log record show it.
    #[must_use]
    pub fn target(&self) -> Target<'_> {
        Target::Service { kind: self.kind(), name: self.name().into() }
    }
}

/// Writes the destination, and the request as JSON.
impl fmt::Display for ServiceRequest {
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
