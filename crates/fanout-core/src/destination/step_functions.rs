//! A state machine of AWS Step Functions.
//!
//! ```toml
//! [[routes.destinations]]
//! step_functions = { state_machine = "arn:aws:states:eu-west-1:123456789012:stateMachine:orders" }
//! ```

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;
use toml::Spanned;

use super::ServiceRequest;
use super::content::{Content, ContentKeys};
use super::limits::{STEP_FUNCTIONS_ARN, STEP_FUNCTIONS_INPUT_BYTES, STEP_FUNCTIONS_NAME};
use super::service::{Fields, MakeRequest, RequestError, ServiceSettings, fitting};
use crate::file::Texts;
use crate::placeholder::Template;

/// A state machine, as a route names it.
#[derive(Clone, Debug)]
struct StepFunctions {
    state_machine: Template,
    /// `None` for the id of the event and the destination.
    name: Option<Template>,
    input: Content,
}

/// An execution to start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Execution {
    /// The ARN of the state machine.
    pub state_machine: String,
    /// The name of the execution. A standard state machine starts one execution for each name.
    pub name: String,
    /// The input: JSON.
    pub input: String,
}

/// A state machine of AWS Step Functions.
#[derive(Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct StepFunctionsKeys {
    /// The ARN of the state machine, of a version or of an alias, which may have placeholders.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    state_machine: Spanned<String>,
    /// The name of the execution. A standard state machine starts one execution for each name, so that a redelivered event runs once. Default: a hash of the event's id and of the destination.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<Spanned<String>>,
    /// The input of the execution. `text` is for texts that are JSON themselves. Default: `event`.
    #[cfg_attr(feature = "schema", schemars(with = "Option<ContentKeys>"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<Spanned<ContentKeys>>,
}

impl ServiceSettings for StepFunctionsKeys {
    const KIND: &'static str = "step_functions";

    fn defaults() -> serde_json::Value {
        json!({ "input": "event" })
    }

    fn build(self, texts: &mut Texts<'_, '_>) -> Option<Arc<dyn MakeRequest>> {
        let Self { state_machine, name, input } = self;
        let state_machine = texts.name("state machine", &state_machine, check_state_machine);
        let name = texts.optional("name", name);
        let input = Content::read(input, Content::Event, "input", texts);
        Some(Arc::new(StepFunctions { state_machine: state_machine?, name: name?, input: input? }))
    }
}

impl MakeRequest for StepFunctions {
    fn name(&self) -> &Template {
        &self.state_machine
    }

    fn templates(&self) -> Vec<&Template> {
        std::iter::once(&self.state_machine).chain(&self.name).collect()
    }

    fn request(&self, fields: &Fields<'_>) -> Result<ServiceRequest, RequestError> {
        let input = self.input.render_json(fields, false)?;
        if input.len() > STEP_FUNCTIONS_INPUT_BYTES {
            return Err(RequestError::too_large(format!(
                "the input has {} bytes; Step Functions accepts at most {STEP_FUNCTIONS_INPUT_BYTES}",
                input.len()
            )));
        }
        let execution = Execution {
            state_machine: fields.name(&self.state_machine, check_state_machine)?,
            name: match &self.name {
                Some(name) => fitting(fields.render(name)?, STEP_FUNCTIONS_NAME, is_valid_in_name),
                None => fields.id(),
            },
            input,
        };
        Ok(execution.into())
    }
}

impl Execution {
    pub(super) fn destination(&self) -> &str {
        &self.state_machine
    }
}

/// Returns an error if `state_machine` is not an ARN.
fn check_state_machine(state_machine: &str) -> Result<(), String> {
    if !state_machine.starts_with("arn:") || state_machine.len() > STEP_FUNCTIONS_ARN {
        return Err(format!(
            "the state machine is not an ARN of at most {STEP_FUNCTIONS_ARN} characters; expected \
             arn:aws:states:<region>:<account>:stateMachine:<name>"
        ));
    }
    Ok(())
}

/// Returns true if the name of an execution, and the log of it in CloudWatch, can have this character.
const fn is_valid_in_name(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '-' | '_')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::destination::service::tests::{faults, refused, request_of, shown};
    use crate::reason::Reason;
    use crate::testing::event;

    const MACHINE: &str = "arn:aws:states:eu-west-1:123456789012:stateMachine:orders";

    fn with(more: &str) -> String {
        format!("step_functions = {{ state_machine = '{MACHINE}'{more} }}")
    }

    #[test]
    fn execution_gets_event_and_id_by_default() {
        let started = shown(&with(""));
        assert_eq!(started["input"], json!(event("chat", "friends-publish", 7).to_json()));
        let name = started["name"].as_str().unwrap();
        assert!(name.len() == 64 && name.chars().all(is_valid_in_name), "{name}");
        // The name is the same at each delivery, and does not depend on the text.
        let again = |change: fn(&mut momento_webhook::Event)| {
            serde_json::to_value(request_of(&with(""), change).unwrap()).unwrap()["name"].clone()
        };
        assert_eq!(again(|event| event.publish_timestamp += 1), started["name"]);
        assert_eq!(again(|event| event.text.push('!')), started["name"]);
        assert_ne!(again(|event| event.topic_sequence_number += 1), started["name"]);
    }

    #[test]
    fn two_destinations_of_one_machine_have_different_names() {
        assert_ne!(shown(&with(""))["name"], shown(&with(", input = {}"))["name"]);
    }

    #[test]
    fn hashes_names_that_are_invalid_or_too_long() {
        assert_eq!(shown(&with(", name = '{room}-{topic_sequence_number}'"))["name"], "friends-7");
        for name in ["{room} 1", "{room}/1", "{room}{event_id}{event_id}"] {
            let name = shown(&with(&format!(", name = '{name}'")))["name"].as_str().unwrap().to_owned();
            assert!(name.len() == 64 && name.chars().all(is_valid_in_name), "{name}");
        }
    }

    #[test]
    fn rejects_input_that_is_not_json_or_too_large() {
        assert_eq!(shown(&with(", input = { room = '{room}' }"))["input"], r#"{"room":"friends"}"#);
        let text = with(", input = 'text'");
        assert_eq!(refused(&text, "Hello"), (Reason::InvalidArgument, "the text is not JSON".to_owned()));
        assert!(request_of(&text, |event| event.text = "[1]".to_owned()).is_ok());
        let json = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
        assert!(request_of(&text, |event| event.text = json(STEP_FUNCTIONS_INPUT_BYTES)).is_ok());
        assert_eq!(refused(&text, &json(STEP_FUNCTIONS_INPUT_BYTES + 1)).0, Reason::TooLarge);
    }

    #[test]
    fn rejects_state_machine_that_is_not_arn() {
        let longest = format!("{MACHINE}{}", "x".repeat(STEP_FUNCTIONS_ARN - MACHINE.len()));
        shown(&format!("step_functions = {{ state_machine = '{longest}' }}"));
        for invalid in ["orders", &format!("{longest}x")] {
            let told = faults(&format!("step_functions = {{ state_machine = '{invalid}' }}"));
            assert!(told.len() == 1 && told[0].contains("the state machine is not an ARN"), "{told:#?}");
            let settings = "step_functions = { state_machine = '{json.to}' }";
            let (reason, detail) = refused(settings, &format!(r#"{{"to":"{invalid}"}}"#));
            assert_eq!(reason, Reason::InvalidArgument);
            assert!(detail.starts_with("the state machine is not an ARN"), "{detail}");
        }
    }
}
