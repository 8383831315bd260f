//! Functions of AWS Lambda that are invoked directly, without a gateway.

use std::fmt;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::reason::Failure;

/// The longest name of a function. Source: <https://docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html>.
const MAX_NAME: usize = 64;
/// The longest qualifier. Source: <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>.
const MAX_QUALIFIER: usize = 128;

/// The ARN of a function, perhaps with a version or an alias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionArn {
    arn: String,
    region: String,
}

/// Error for a text that is not a [`FunctionArn`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not the ARN of a function; expected arn:aws:lambda:<region>:<account>:function:<name>, perhaps with :<alias>"
)]
pub struct FunctionArnError;

impl FunctionArn {
    /// Reads an ARN.
    ///
    /// # Errors
    /// If `text` is not the ARN of a function, of a version or of an alias.
    pub fn new(text: &str) -> Result<Self, FunctionArnError> {
        let parts: Vec<_> = text.split(':').collect();
        let (["arn", partition, "lambda", region, account, "function", name], qualifier) = (match &*parts {
            [function @ .., qualifier] if function.len() == 7 => (function, Some(*qualifier)),
            function => (function, None),
        }) else {
            return Err(FunctionArnError);
        };
        let is_name = |text: &str, most: usize| {
            let is_valid = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_');
            (1..=most).contains(&text.len()) && text.chars().all(is_valid)
        };
        let is_region = !region.is_empty()
            && region.chars().all(|char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '-');
        let is_valid = (*partition == "aws" || partition.starts_with("aws-"))
            && is_region
            && account.len() == 12
            && account.bytes().all(|byte| byte.is_ascii_digit())
            && is_name(name, MAX_NAME)
            && qualifier.is_none_or(|text| text == "$LATEST" || is_name(text, MAX_QUALIFIER));
        if is_valid {
            Ok(Self { arn: text.to_owned(), region: (*region).to_owned() })
        } else {
            Err(FunctionArnError)
        }
    }

    /// Returns the ARN.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.arn
    }

    /// Returns the region of the function.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }
}

impl fmt::Display for FunctionArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.arn)
    }
}

/// The payload that an invocation returns.
#[derive(Clone, PartialEq, Eq)]
pub enum Invoked {
    /// The response of the function.
    Responded(Vec<u8>),
    /// The error of the function or its runtime: it panicked, took too long, or did not start.
    Failed(Vec<u8>),
}

/// Does not show the payload.
impl fmt::Debug for Invoked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Responded(payload) => write!(f, "Responded(<{} bytes>)", payload.len()),
            Self::Failed(payload) => write!(f, "Failed(<{} bytes>)", payload.len()),
        }
    }
}

/// Invokes functions.
pub trait FunctionInvoker: fmt::Debug + Send + Sync {
    /// Invokes a function once, and waits for its response until `deadline`.
    ///
    /// # Errors
    /// If Lambda does not invoke the function, or the response does not arrive in time.
    fn invoke<'c>(
        &'c self,
        function: &'c FunctionArn,
        payload: Vec<u8>,
        deadline: Instant,
    ) -> BoxFuture<'c, Result<Invoked, Failure>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_arns_of_functions_versions_and_aliases() {
        let function = "arn:aws:lambda:eu-west-1:123456789012:function:web-hook_1";
        for arn in [
            function,
            &format!("{function}:live"),
            &format!("{function}:7"),
            &format!("{function}:$LATEST"),
            "arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:f",
        ] {
            assert_eq!(FunctionArn::new(arn).unwrap().as_str(), arn);
        }
        assert_eq!(FunctionArn::new(function).unwrap().region(), "eu-west-1");
    }

    #[test]
    fn rejects_other_texts() {
        let long = format!("arn:aws:lambda:eu-west-1:123456789012:function:{}", "x".repeat(65));
        for text in [
            "",
            "webhook",
            "123456789012:function:f",
            "arn:aws:lambda:eu-west-1:123456789012:function",
            "arn:aws:lambda:eu-west-1:123456789012:function:",
            "arn:aws:lambda:eu-west-1:123456789012:function:a b",
            "arn:aws:lambda:eu-west-1:123456789012:function:f:",
            "arn:aws:lambda:eu-west-1:123456789012:function:f:a:b",
            "arn:aws:lambda:eu-west-1:12345:function:f",
            "arn:aws:lambda::123456789012:function:f",
            "arn:aws:lambda:eu-west-1:123456789012:layer:f",
            "arn:aws:sqs:eu-west-1:123456789012:function:f",
            "arn:aws:states:eu-west-1:123456789012:stateMachine:m",
            &long,
        ] {
            assert_eq!(FunctionArn::new(text), Err(FunctionArnError), "{text}");
        }
    }
}
