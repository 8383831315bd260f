//! A state machine of AWS Step Functions.
//!
//! ```toml
//! [[routes.destinations]]
//! step_functions = { state_machine = "arn:aws:states:eu-west-1:123456789012:stateMachine:orders" }
//! ```

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::aws::{Fields, RequestError, fitting};
use super::content::{Content, ContentKeys};
use super::limits::{STEP_FUNCTIONS_INPUT_BYTES, STEP_FUNCTIONS_NAME};
use crate::file::Texts;
use crate::placeholder::Template;

/// A state machine, as a route names it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepFunctions {
    pub(super) state_machine: Template,
    /// What makes it the same execution; else the event and the destination.
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
    /// The ARN of the state machine, of a version or of an alias, which may have placeholders.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    state_machine: Spanned<String>,
    /// The name of the execution: a standard state machine starts one of a name, so that what is delivered twice runs once. Default: a hash of the event's id and of the destination.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    name: Option<Spanned<String>>,
    /// What the execution is given. `text` is for texts that are JSON themselves. Default: `event`.
    #[cfg_attr(feature = "schema", schemars(with = "Option<ContentKeys>"))]
    input: Option<Spanned<ContentKeys>>,
}

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

    pub(super) fn execution(&self, fields: &Fields<'_>) -> Result<Execution, RequestError> {
        let input = self.input.render_json(fields, false)?;
        if input.len() > STEP_FUNCTIONS_INPUT_BYTES {
            return Err(RequestError::too_large(
                "the input is larger than an execution takes: 256 KiB at most",
            ));
        }
        Ok(Execution {
            state_machine: fields.name(&self.state_machine)?,
            name: match &self.name {
                Some(name) => fitting(fields.render(name)?, STEP_FUNCTIONS_NAME, is_of_name),
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::destination::aws::tests::{faults, refused, request_of, shown};
    use crate::reason::Reason;
    use crate::testing::event;

    const MACHINE: &str = "arn:aws:states:eu-west-1:123456789012:stateMachine:orders";

    fn with(more: &str) -> String {
        format!("step_functions = {{ state_machine = '{MACHINE}'{more} }}")
    }

    #[test]
    fn by_default_it_is_given_the_event_under_a_name_of_its_own() {
        let started = shown(&with(""));
        assert_eq!(started["input"], json!(event("chat", "friends-publish", 7).to_json()));
        let name = started["name"].as_str().unwrap();
        assert!(name.len() == 64 && name.chars().all(is_of_name), "{name}");
        // The same at each delivery, whatever a transform makes of the text.
        let again = |change: fn(&mut momento_webhook::Event)| {
            serde_json::to_value(request_of(&with(""), change).unwrap()).unwrap()["name"].clone()
        };
        assert_eq!(again(|event| event.publish_timestamp += 1), started["name"]);
        assert_eq!(again(|event| event.text.push('!')), started["name"]);
        assert_ne!(again(|event| event.topic_sequence_number += 1), started["name"]);
    }

    #[test]
    fn two_destinations_of_one_machine_do_not_take_each_others_place() {
        assert_ne!(shown(&with(""))["name"], shown(&with(", input = {}"))["name"]);
    }

    #[test]
    fn a_name_is_one_that_is_taken() {
        assert_eq!(shown(&with(", name = '{room}-{topic_sequence_number}'"))["name"], "friends-7");
        for name in ["{room} 1", "{room}/1", "{room}{event_id}{event_id}"] {
            let name = shown(&with(&format!(", name = '{name}'")))["name"].as_str().unwrap().to_owned();
            assert!(name.len() == 64 && name.chars().all(is_of_name), "{name}");
        }
    }

    #[test]
    fn an_input_is_json_and_not_too_large() {
        assert_eq!(shown(&with(", input = { room = '{room}' }"))["input"], r#"{"room":"friends"}"#);
        let text = with(", input = 'text'");
        assert_eq!(refused(&text, "Hello"), (Reason::InvalidArgument, "the text is no JSON".to_owned()));
        assert!(request_of(&text, |event| event.text = "[1]".to_owned()).is_ok());
        let json = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
        assert!(request_of(&text, |event| event.text = json(STEP_FUNCTIONS_INPUT_BYTES)).is_ok());
        assert_eq!(refused(&text, &json(STEP_FUNCTIONS_INPUT_BYTES + 1)).0, Reason::TooLarge);
    }

    #[test]
    fn a_state_machine_is_given_by_its_arn() {
        let told = faults("step_functions = { state_machine = 'orders' }");
        assert!(told.len() == 1 && told[0].contains("is given by its ARN"), "{told:#?}");
    }
}
