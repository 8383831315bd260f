//! `fanout check`: checks a file of routes, and shows what it does.
//!
//! | module | purpose |
//! | --- | --- |
//! | `faults` | prints the errors of a file, each with its line |
//! | `outline` | the routes as they are shown: their order, their lines, their shared transforms |
//! | `doubts` | finds valid settings that are probably a habit from another tool |
//! | `parameter` | whether the file fits into a parameter of Systems Manager |
//! | `table` | prints the outline as a table, or as JSON |
//! | `drawing` | prints the outline as a drawing |
//! | `recording` | runs the fan-out for one event, with recorders |
//! | `steps` | prints the recording |
//! | `tokens` | shows what tokens of a `tokens.toml` allow and deny |

mod doubts;
mod drawing;
pub(crate) mod faults;
#[cfg(test)]
mod mistakes;
mod outline;
mod parameter;
mod recording;
mod steps;
mod table;
mod tokens;

pub(crate) use self::table::merged;

use clap::ValueEnum;
use fanout_core::destination::KINDS;
use fanout_core::file::{self, FileError};
use fanout_core::route::Routes;
use fanout_core::transform::Transforms;
use momento_webhook::{Event, Verified};
use serde_json::{Value, json};

use self::drawing::Drawing;
use self::faults::Faults;
use self::outline::Outline;
use self::tokens::TokensCheck;
use crate::error::Error;
use crate::event;
use crate::input::bytes;
use crate::output::Output;
use crate::translations::Translations;

/// The most links that Mermaid draws by default.
const MERMAID_LINKS: usize = 500;

/// Check a file of routes, and show what it does
///
/// Reports all errors at once, each with its file, line and column; the exit code is then 1. Shows a valid file as a
/// table of its routes. A file whose name ends with tokens.toml is one of profiles. With --event, shows step by step what one event becomes. Publishes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  fanout check
  fanout check fanout.toml --format mermaid > routes.mmd
  fanout check tokens.toml --claims claims.json --routes fanout.toml
  fanout check fanout.toml --format dot | dot -Tsvg > routes.svg
  fanout check fanout.toml --event event.json
  fanout check fanout.toml --json | jq -r '.routes[].topic'
  echo '{\"cache\": \"chat\", \"topic\": \"lobby-publish\", \"text\": \"Hi\"}' | fanout check --event -

An event has the members of a webhook's body: cache, topic and text; and optionally token_id,
topic_sequence_number (default 0), event_timestamp and publish_timestamp (default now).")]
pub(crate) struct Args {
    /// The file with the routes; - is standard input
    #[arg(value_name = "FILE", default_value = "fanout.toml")]
    file: String,

    /// Show step by step what the event in this file becomes; - is standard input
    #[arg(long, value_name = "FILE")]
    event: Option<String>,

    /// Translate the event's text by Amazon Translate, with the credentials of this shell, instead of `pseudolocalize`
    #[arg(long, requires = "event")]
    aws: bool,

    /// Check a file of profiles, tokens.toml, and show what the token of a person with the claims in this file allows
    #[arg(long, value_name = "FILE", conflicts_with = "event")]
    claims: Option<String>,

    /// Check a file of profiles, and whether they let people subscribe to inbound topics of the routes in this file
    #[arg(long, value_name = "FILE", conflicts_with = "event")]
    routes: Option<String>,

    /// The output
    #[arg(long, value_enum, default_value_t)]
    format: Format,

    /// Print one JSON object: the same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

/// The form of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table, or the steps of an event
    #[default]
    Table,
    /// A drawing for Mermaid
    Mermaid,
    /// A drawing for Graphviz
    Dot,
    /// One JSON object
    Json,
}

/// Shows step by step what one event becomes by the routes that were read from `text`: for people, or as one JSON object,
/// which begins with the members of `json`.
///
/// # Errors
/// If a destination would not accept it.
pub(crate) async fn show(
    text: &str,
    routes: &Routes,
    event: &Verified<Event>,
    (json, translations): (Option<Value>, Translations),
    output: &mut Output,
) -> Result<(), Error> {
    steps::run(&Outline::new(text, routes), event, (json, translations), output).await
}

fn run_tokens(args: &Args, transforms: &Transforms, output: &mut Output) -> Result<(), Error> {
    if matches!(args.format, Format::Mermaid | Format::Dot) || args.event.is_some() {
        return Err(Error::Usage(
            "a file of profiles is shown by --format table or json, without an event".to_owned(),
        ));
    }
    let is_json = args.json || args.format == Format::Json;
    let mut reject = |name: &str, text: &str, errors: &[FileError]| {
        let faults = Faults { name, text, errors };
        faults.print(is_json, output)?;
        Err(Error::Failed(faults.summary()))
    };
    let read =
        |name: &str| file::text(bytes(name)?).map_err(|error| Error::Failed(format!("{name}:{error}")));
    let text = read(&args.file)?;
    let profiles = match fanout_identity::file::read(&text) {
        Ok(profiles) => profiles,
        Err(errors) => return reject(&args.file, &text, &errors),
    };
    let routes = match &args.routes {
        None => None,
        Some(name) => {
            let text = read(name)?;
            match file::read(&text, &Translations::new(false)?.transforms(transforms), KINDS) {
                Ok(routes) => Some(routes),
                Err(errors) => return reject(name, &text, &errors),
            }
        }
    };
    let claims = args.claims.as_deref().map(|name| {
        serde_json::from_slice(&bytes(name)?)
            .map_err(|error| Error::because(format_args!("{name}: the claims are not a JSON object"), &error))
    });
    TokensCheck { file: &profiles, claims: claims.transpose()?, routes: routes.as_ref() }
        .show(is_json, output)
}

pub(crate) async fn run(args: Args, transforms: &Transforms, output: &mut Output) -> Result<(), Error> {
    if args.file == "-" && args.event.as_deref() == Some("-") {
        return Err(Error::Usage("the file and --event cannot both be standard input".to_owned()));
    }
    if args.event.is_some() && matches!(args.format, Format::Mermaid | Format::Dot) {
        return Err(Error::Usage(
            "--format mermaid and --format dot do not draw an event; use table or json".to_owned(),
        ));
    }
    let is_tokens = args.file.ends_with("tokens.toml");
    if is_tokens || args.claims.is_some() || args.routes.is_some() {
        return run_tokens(&args, transforms, output);
    }
    let is_json = args.json || args.format == Format::Json;
    let name = if args.file == "-" { "<stdin>" } else { args.file.as_str() };
    let text = file::text(bytes(&args.file)?).map_err(|error| Error::Failed(format!("{name}:{error}")))?;
    let translations = Translations::new(args.aws)?;
    let routes = match file::read(&text, &translations.transforms(transforms), KINDS) {
        Ok(routes) => routes,
        Err(errors) => {
            let faults = Faults { name, text: &text, errors: &errors };
            faults.print(is_json, output)?;
            return Err(Error::Failed(faults.summary()));
        }
    };
    let outline = Outline::new(&text, &routes);
    if let Some(event) = &args.event {
        let event = event::read(if event == "-" { "<stdin>" } else { event }, &bytes(event)?)?;
        return steps::run(&outline, &event, (is_json.then(|| json!({})), translations), output).await;
    }
    if is_json {
        return output.json(&table::as_json(name, &text, &outline));
    }
    if args.format == Format::Table {
        return table::print(name, &text, &outline, output);
    }
    let drawing = Drawing::new(&outline);
    if args.format == Format::Dot {
        return output.results(&drawing.dot());
    }
    output.results(&drawing.mermaid())?;
    if drawing.links() > MERMAID_LINKS {
        output.note(format_args!(
            "note: the drawing has {} links, and Mermaid draws at most {MERMAID_LINKS} unless `maxEdges` is set; \
             --format dot has no limit",
            drawing.links()
        ));
    }
    Ok(())
}
