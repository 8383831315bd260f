//! `fanout check`: what a file of routes would do, before anything does it.
//!
//! | module | what it is for |
//! | --- | --- |
//! | `faults` | what is wrong in a file, with the lines in question |
//! | `outline` | the routes as they are shown: their order, where they stand, what is done once for several |
//! | `table` | the outline as a table, and as JSON |
//! | `drawing` | the outline as a drawing |
//! | `recording` | what becomes of one event: the fan-out, with recorders |
//! | `steps` | the recording, printed |
//! | `columns` | how wide texts are |

mod columns;
mod drawing;
mod faults;
mod outline;
mod recording;
mod steps;
mod table;

use clap::ValueEnum;
use fanout_core::file;

use self::drawing::Drawing;
use self::faults::Faults;
use self::outline::Outline;
use crate::error::Error;
use crate::event;
use crate::input::bytes;
use crate::output::Output;
use crate::translations::Translations;

/// Mermaid draws no more links than this, unless it is told to.
const MERMAID_LINKS: usize = 500;

/// Check a file of routes, and show what it does
///
/// Everything that is wrong is told at once, each with its file, line and column, and the command ends with 1.
/// What is right is shown as a table and a drawing (Mermaid) of topics and routes; with --event, what one event
/// would become, step by step. Nothing is published.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  fanout check
  fanout check fanout.toml --format mermaid > routes.mmd
  fanout check fanout.toml --format dot | dot -Tsvg > routes.svg
  fanout check fanout.toml --event event.json
  echo '{\"cache\": \"chat\", \"topic\": \"lobby-publish\", \"text\": \"Hi\"}' | fanout check --event -

An event is what a webhook's body has: cache, topic, text, and where it matters token_id,
topic_sequence_number (else 0), event_timestamp and publish_timestamp (else now).")]
pub(crate) struct Args {
    /// The file with the routes; - is standard input
    #[arg(value_name = "FILE", default_value = "fanout.toml")]
    file: String,

    /// Show step by step what this event would become; - is standard input
    #[arg(long, value_name = "FILE")]
    event: Option<String>,

    /// Have the event's text translated by Amazon, with the credentials of this shell, in place of a stand-in
    #[arg(long, requires = "event")]
    aws: bool,

    /// What to print [default: the table and then the Mermaid drawing; of an event, its steps]
    #[arg(long, value_enum)]
    format: Option<Format>,
}

/// What to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table; of an event, its steps
    Table,
    /// A drawing for Mermaid
    Mermaid,
    /// A drawing for Graphviz
    Dot,
    /// One JSON object
    Json,
}

pub(crate) async fn run(args: Args, output: &mut Output) -> Result<(), Error> {
    if args.file == "-" && args.event.as_deref() == Some("-") {
        return Err(Error::Usage("the routes and the event cannot both be standard input".to_owned()));
    }
    if args.event.is_some() && matches!(args.format, Some(Format::Mermaid | Format::Dot)) {
        return Err(Error::Usage("there is no drawing of an event; --format is table or json".to_owned()));
    }
    let is_json = args.format == Some(Format::Json);
    let name = if args.file == "-" { "<stdin>" } else { args.file.as_str() };
    let text = file::text(bytes(&args.file)?).map_err(|error| Error::Failed(format!("{name}:{error}")))?;
    let translations = Translations::new(args.aws);
    let routes = match file::read(&text, &translations.transforms(), fanout_aws::KINDS) {
        Ok(routes) => routes,
        Err(errors) => {
            let faults = Faults { name, text: &text, errors: &errors };
            if is_json {
                output.json(&faults.as_json())?;
            } else {
                faults.tell(output);
            }
            return Err(Error::Failed(faults.summary()));
        }
    };
    let outline = Outline::new(&text, &routes);
    if let Some(event) = &args.event {
        let event = event::read(if event == "-" { "<stdin>" } else { event }, &bytes(event)?)?;
        return steps::run(&outline, &event, (is_json, translations), output).await;
    }
    if is_json {
        return output.json(&table::as_json(name, &outline));
    }
    if matches!(args.format, None | Some(Format::Table)) {
        table::print(name, &outline, output)?;
    }
    if args.format == Some(Format::Table) {
        return Ok(());
    }
    let drawing = Drawing::new(&outline);
    if args.format == Some(Format::Dot) {
        return output.results(&drawing.dot());
    }
    if args.format.is_none() {
        output.result("")?;
    }
    output.results(&drawing.mermaid())?;
    if drawing.links() > MERMAID_LINKS {
        output.note(format_args!(
            "the drawing has {} links, and Mermaid takes {MERMAID_LINKS} where its `maxEdges` is not set; \
             --format dot has no limit",
            drawing.links()
        ));
    }
    Ok(())
}
