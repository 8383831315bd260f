//! `fanout moderate`: what the transform `moderate` does to texts, and why.

use std::io::BufReader;

use fanout_core::transform::moderate::{Finding, Moderation};
use serde_json::{Value, json};

use crate::error::Error;
use crate::input;
use crate::output::Output;

/// Moderate a text, and show what was found, where, and by which entry
///
/// Places are bytes of the text. With --file, only messages with something in them are shown, and a summary at the end.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  fanout moderate 'Oh sh1t'
  fanout moderate --settings '{ action = \"drop\", languages = [\"en\"] }' 'Oh sh1t'
  fanout moderate --file messages.txt")]
pub(crate) struct Args {
    /// The text; - is standard input
    #[arg(required_unless_present = "file")]
    text: Option<String>,

    /// A file with one message on each line
    #[arg(long, value_name = "FILE", conflicts_with = "text")]
    file: Option<String>,

    /// Print one JSON object for each message, and for the summary
    #[arg(long)]
    json: bool,

    /// The settings, as fanout.toml has them behind `moderate =`
    #[arg(long, value_name = "TOML", default_value = "{}")]
    settings: String,
}

pub(crate) fn run(args: Args, output: &mut Output) -> Result<(), Error> {
    let moderation = Moderation::parse(&args.settings).map_err(Error::Usage)?;
    if let Some(path) = args.file {
        return file(&path, &moderation, args.json, output);
    }
    let text = input::text(args.text.expect("clap requires a text or a file"))?;
    if show(&text, &moderation, args.json, output)? {
        return Ok(());
    }
    if args.json { output.json(&as_json(&text, &[], &moderation)) } else { output.result("nothing found") }
}

fn file(path: &str, moderation: &Moderation, is_json: bool, output: &mut Output) -> Result<(), Error> {
    let bytes = input::bytes(path)?;
    let mut rest = BufReader::new(bytes.as_slice());
    let (mut messages, mut found) = (0_usize, 0_usize);
    let unreadable = |error| Error::because(format_args!("{path} cannot be read"), &error);
    while let Some((line, _)) = input::read_line(&mut rest).map_err(unreadable)? {
        messages += 1;
        match line {
            Ok(text) => found += usize::from(show(&text, moderation, is_json, output)?),
            Err(reason) => output.note(reason),
        }
    }
    if is_json {
        return output.json(&json!({ "messages": messages, "with_something": found }));
    }
    output.result(format_args!("{found} of {messages} messages have something in them"))
}

/// Prints what is found in a text. Returns true if there is something.
fn show(text: &str, moderation: &Moderation, is_json: bool, output: &mut Output) -> Result<bool, Error> {
    let found = moderation.find(text);
    if found.is_empty() {
        return Ok(false);
    }
    if is_json {
        output.json(&as_json(text, &found, moderation))?;
        return Ok(true);
    }
    match moderation.result(text, &found) {
        Ok(result) => output.result(format_args!("{text:?} becomes {result:?}"))?,
        Err(reason) => output.result(format_args!("{text:?} is dropped: {reason}"))?,
    }
    for finding in found {
        let kinds = moderation.kinds(&finding).join(", ");
        for at in &finding.at {
            let part = text.get(at.clone()).expect("a finding is a part of the text");
            output.result(format_args!(
                "  {}..{} {part:?}: entry {:?} ({kinds})",
                at.start, at.end, finding.entry
            ))?;
        }
    }
    Ok(true)
}

fn as_json(text: &str, found: &[Finding], moderation: &Moderation) -> Value {
    let (result, dropped) = match moderation.result(text, found) {
        Ok(result) => (Some(result), None),
        Err(reason) => (None, Some(reason)),
    };
    let found = found.iter().map(|finding| {
        let at: Vec<_> = finding.at.iter().map(|at| [at.start, at.end]).collect();
        json!({ "at": at, "entry": finding.entry, "kinds": moderation.kinds(finding) })
    });
    json!({ "text": text, "result": result, "dropped": dropped, "found": found.collect::<Vec<_>>() })
}
