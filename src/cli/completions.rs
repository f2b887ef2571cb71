//! `campanile completions`: what a shell needs to complete our arguments.

use clap::Args;
use clap_complete::Shell;

use super::{Failure, report};

#[derive(Debug, Args)]
pub(super) struct CompletionsArguments {
    /// bash, elvish, fish, powershell or zsh
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(arguments: &CompletionsArguments, command: &mut clap::Command) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, command, "campanile", &mut script);
    report::print(&String::from_utf8_lossy(&script))
}
