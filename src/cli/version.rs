//! `campanile version`.

use clap::Args;
use serde_json::json;

use super::{Failure, report};

#[derive(Debug, Args)]
pub(super) struct VersionArguments {
    /// As JSON, with the platform
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &VersionArguments) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    if !arguments.json {
        return report::print(&format!("campanile {version}\n"));
    }
    let target = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    let shown = json!({ "name": "campanile", "version": version, "target": target, "build": build });
    report::print(&format!("{shown:#}\n"))
}
