//! `fanout schema`: prints the JSON Schema with which editors complete and check `fanout.toml`.

use fanout_core::transform::Transforms;

use crate::error::Error;
use crate::output::Output;

/// Print the JSON Schema of fanout.toml, for editors
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_: Args, transforms: &Transforms, output: &mut Output) -> Result<(), Error> {
    output.results(&serde_json::to_string_pretty(&fanout_core::schema::schema(transforms))?)
}
