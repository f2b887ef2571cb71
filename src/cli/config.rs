//! `campanile config`: write a file with every option, show the settings in force, print the schema.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::Subcommand;

use super::{Failure, Shared, report};
use crate::{
    base::{Error, Kind},
    config::{Config, files},
};

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Write a configuration with every option, commented, at its default
    Init {
        /// Where to write it; `-` for standard output
        #[arg(value_name = "FILE", default_value = "campanile.yaml")]
        file: PathBuf,
        /// Replace a file that is there already
        #[arg(long)]
        force: bool,
    },
    /// Show the settings in force, with the environment's overrides and every default, secrets masked
    Show {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schema of the file, for editors
    Schema,
}

pub(super) fn run(shared: &Shared, command: &ConfigCommand) -> Result<(), Failure> {
    match command {
        ConfigCommand::Init { file, force } => init(file, *force),
        ConfigCommand::Show { json } => show(shared, *json),
        ConfigCommand::Schema => {
            report::print(&format!("{}\n", serde_json::to_string_pretty(&Config::schema()).unwrap_or_default()))
        }
    }
}

/// The reference file without its first lines, which point to a schema that is not beside it.
fn template() -> &'static str {
    files::REFERENCE.split_once("#\n").map_or(files::REFERENCE, |(_, rest)| rest)
}

fn init(file: &Path, force: bool) -> Result<(), Failure> {
    if file == Path::new("-") {
        return report::print(template());
    }
    let mut options = fs::OpenOptions::new();
    options.write(true);
    if force {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    let written = options.open(file).and_then(|mut open| open.write_all(template().as_bytes()));
    match written {
        Ok(()) => report::print(&format!("wrote {}\n", file.display())),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let error = Error::new(Kind::AlreadyExists, format!("`{}` is there already", file.display()));
            Err(error.with_hint("name another file, or replace this one with --force").into())
        }
        Err(error) => Err(Error::new(Kind::Unavailable, format!("write `{}`", file.display())).caused_by(error).into()),
    }
}

fn show(shared: &Shared, json: bool) -> Result<(), Failure> {
    let (config, origin) = shared.open()?;
    let text = if json {
        serde_json::to_string_pretty(&config).map(|text| text + "\n").map_err(|error| error.to_string())
    } else {
        serde_saphyr::to_string(&config).map(|text| format!("# {origin}\n{text}")).map_err(|error| error.to_string())
    };
    report::print(&text.map_err(|error| Error::new(Kind::Internal, "show the settings").caused_by(error))?)
}
