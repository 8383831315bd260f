//! `fanout completions` and `fanout man`: what a shell and `man` know about the command line.

use std::path::PathBuf;

use clap_complete::{Shell, generate};

use crate::error::Error;
use crate::output::Output;

/// Print the completions for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  fanout completions bash > ~/.local/share/bash-completion/completions/fanout
  fanout completions zsh > ~/.zfunc/_fanout
  fanout completions fish > ~/.config/fish/completions/fanout.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Write the man pages to a directory
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  fanout man ~/.local/share/man/man1")]
pub(crate) struct ManArgs {
    /// The directory, which has to exist
    directory: PathBuf,
}

pub(crate) fn completions(
    args: &CompletionsArgs,
    mut command: clap::Command,
    output: &mut Output,
) -> Result<(), Error> {
    let mut script = Vec::new();
    generate(args.shell, &mut command, "fanout", &mut script);
    output.results(&String::from_utf8(script)?)
}

pub(crate) fn man(args: &ManArgs, command: clap::Command) -> Result<(), Error> {
    let written = clap_mangen::generate_to(command, &args.directory);
    written.map_err(|error| {
        Error::because(format_args!("{} cannot be written", args.directory.display()), &error)
    })
}
