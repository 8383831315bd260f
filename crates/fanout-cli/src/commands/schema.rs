//! `fanout schema`: prints the JSON Schema with which editors complete and check a file.

use clap::ValueEnum;
use fanout_core::transform::Transforms;

use crate::error::Error;
use crate::output::Output;

/// Print the JSON Schema of fanout.toml or tokens.toml, for editors
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Args {
    /// The file
    #[arg(value_enum, default_value_t)]
    file: Described,
}

/// A file with a schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Described {
    /// fanout.toml
    #[default]
    Fanout,
    /// tokens.toml
    Tokens,
}

pub(crate) fn run(args: Args, transforms: &Transforms, output: &mut Output) -> Result<(), Error> {
    let schema = match args.file {
        Described::Fanout => fanout_core::schema::schema(transforms),
        Described::Tokens => fanout_identity::schema::schema(),
    };
    output.results(&serde_json::to_string_pretty(&schema)?)
}
