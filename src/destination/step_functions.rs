//! A state machine of AWS Step Functions.
//!
//! ```toml
//! [[routes.destinations]]
//! step_functions = { state_machine = "arn:aws:states:eu-west-1:123456789012:stateMachine:orders" }
//! ```

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::content::{Content, ContentKeys};
use super::outlet::{Fields, Unfit, fitting};
use crate::config::file::Texts;
use crate::route::Template;

/// A state machine, as a route names it.
#[derive(Clone, Debug, PartialEq)]
pub struct StepFunctions {
    pub(super) state_machine: Template,
    /// What makes it the same execution; else the event and its text.
    name: Option<Template>,
    input: Content,
}

/// An execution to be started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Execution {
    /// The ARN of the state machine.
    pub state_machine: String,
    /// What it is called: a machine starts one execution of a name.
    pub name: String,
    /// What it is given: JSON.
    pub input: String,
}

/// A state machine of AWS Step Functions.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct StepFunctionsKeys {
    /// The ARN of the state machine, of a version or of an alias, which may have the route's captures and fields of the event in it.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    state_machine: Spanned<String>,
    /// The name of the execution: a standard state machine starts one of a name, so that what is delivered twice runs once. Default: a hash of what makes an event and its text the same.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    name: Option<Spanned<String>>,
    /// What the execution is given. `text` is for texts that are JSON themselves. Default: `event`.
    #[cfg_attr(feature = "schema", schemars(with = "Option<ContentKeys>"))]
    input: Option<Spanned<ContentKeys>>,
}

/// The longest name of an execution.
const LONGEST_NAME: usize = 80;
/// The largest input, in bytes:
/// <https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html>.
const LARGEST_INPUT: usize = 262_144;

impl StepFunctions {
    /// What a file calls it.
    pub const KIND: &'static str = "step_functions";

    pub(crate) fn read(keys: StepFunctionsKeys, texts: &mut Texts<'_, '_>) -> Option<Self> {
        let StepFunctionsKeys { state_machine, name, input } = keys;
        if !["arn:", "{"].iter().any(|begin| state_machine.get_ref().starts_with(begin)) {
            texts.fault(
                state_machine.span(),
                "the state machine is given by its ARN, as arn:aws:states:<region>:<account>:stateMachine:<name>",
            );
        }
        let state_machine = texts.name("state machine", &state_machine);
        let name = name.map(|name| texts.template("name", &name));
        let input = Content::read(input, Content::Event, "input", texts);
        Some(Self {
            state_machine: state_machine?,
            name: match name {
                None => None,
                Some(name) => Some(name?),
            },
            input: input?,
        })
    }

    pub(super) fn templates(&self) -> Vec<&Template> {
        std::iter::once(&self.state_machine).chain(&self.name).collect()
    }

    pub(super) fn execution(&self, fields: &Fields<'_>) -> Result<Execution, Unfit> {
        let input = self.input.render_json(fields, false)?;
        if input.len() > LARGEST_INPUT {
            return Err(Unfit::too_large("the input is larger than an execution takes: 256 KiB at most"));
        }
        Ok(Execution {
            state_machine: fields.render(&self.state_machine)?,
            name: match &self.name {
                Some(name) => fitting(fields.render(name)?, LONGEST_NAME, is_of_name),
                None => fields.id(),
            },
            input,
        })
    }
}

/// Whether it is one of the characters that are good in a name and in the logs too.
const fn is_of_name(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '-' | '_')
}
