//! `campanile check`: everything that is wrong with a configuration, for people or (`--json`) for tools.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::{Failure, Shared, report};
use crate::{
    config::{Config, ConfigError, ConfigOrigin, PathKey, Problems, files},
    net::tls,
};

#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    /// The file to check; the one that would be served if absent
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Print the result as JSON on standard output
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Outcome<'a> {
    file: String,
    ok: bool,
    problems: Vec<Finding<'a>>,
}

#[derive(Serialize)]
struct Finding<'a> {
    /// Counted from one; absent when a variable of the environment is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    variable: Option<&'a str>,
    key: String,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
}

pub(super) fn run(shared: &Shared, arguments: &CheckArguments) -> Result<(), Failure> {
    let environment = files::environment();
    let named = arguments.file.as_deref().or(shared.config.as_deref());
    let origin = files::find(named, &environment);
    let result = files::open(&origin, &environment);
    if arguments.json {
        let (ok, problems) = match &result {
            Ok(_) => (true, Vec::new()),
            Err(ConfigError::Problems(problems)) => (false, findings(problems)),
            // A file that cannot be read is no finding about its content.
            Err(ConfigError::File(_)) => return result.map(drop).map_err(Failure::from),
        };
        let outcome = Outcome { file: origin.to_string(), ok, problems };
        report::print(&format!("{}\n", serde_json::to_string_pretty(&outcome).unwrap_or_default()))?;
        return if ok { Ok(()) } else { Err(Failure::Said) };
    }
    let config = result?;
    // What a certificate holds is not the file's matter, and yet nothing starts without it.
    for (section, tls) in [("http.tls", &config.http.tls), ("rtsp.tls", &config.rtsp.tls)] {
        if let Some(tls) = tls {
            tls::server_config(section, &tls.certificate_file, &tls.key_file)?;
        }
    }
    report::print(&summary(&config, &origin))
}

fn findings(problems: &Problems) -> Vec<Finding<'_>> {
    let finding = |problem| {
        let problem: &crate::config::Problem = problem;
        let (line, column) = problem.position().unzip();
        let (key, message, hint) = (problem.key(), problem.message(), problem.hint());
        Finding { line, column, variable: problem.variable(), key, message, hint }
    };
    problems.iter().map(finding).collect()
}

/// What would be served, in two lines.
fn summary(config: &Config, origin: &ConfigOrigin) -> String {
    let patterns = config.paths.iter().filter(|(key, _)| matches!(key, PathKey::Pattern(_))).count();
    let names = config.paths.len() - patterns;
    let count = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    let mut parts = vec![count(names, "path")];
    if patterns > 0 {
        parts.push(count(patterns, "regular expression"));
    }
    parts.push(format!("HTTP on {}", config.http.address));
    parts.push(format!("RTSP on {}", config.rtsp.address));
    if config.rtsp.tls.is_some() {
        parts.push(format!("RTSPS on {}", config.rtsp.tls_address));
    }
    let green = report::GREEN;
    format!("{green}ok:{green:#} {origin}\n    {}\n", parts.join(", "))
}
