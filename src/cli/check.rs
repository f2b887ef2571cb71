//! `campanile check`: everything that is wrong with a configuration, for people or (`--json`) for tools.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use futures_util::StreamExt;
use serde::Serialize;

use super::{
    Failure, Shared, log,
    probe::{brief, failure_hint, runtime, start_log},
    report,
};
use crate::{
    base::{Error, Rendition},
    config::{Config, ConfigError, ConfigOrigin, PathKey, Problems, ResolvedSource, TlsConfig, files},
    ingest::{self, ProbeFailure, ProbeOptions, ProbeReport},
    net::tls::Certificate,
};

#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    /// The file to check; the one that would be served if absent
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Print the result as JSON on standard output
    #[arg(long)]
    json: bool,
    /// Call every camera as well, and say what it sends or why it sends nothing
    #[arg(long)]
    probe: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Outcome<'a> {
    file: String,
    ok: bool,
    problems: Vec<Finding<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cameras: Option<Vec<Asked>>,
}

/// What one camera answered.
#[derive(Serialize)]
struct Asked {
    /// The path's name, with `/sub` for its smaller rendition.
    path: String,
    #[serde(flatten)]
    answer: Answer,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Report(Box<ProbeReport>),
    Error(ProbeFailure),
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
    if let Some(filter) = environment.get("CAMPANILE_LOG").filter(|filter| !filter.is_empty()) {
        log::check_filter(filter)?;
    }
    let config = match &result {
        Ok(config) => Some(config),
        Err(ConfigError::Problems(_)) => None,
        // A file that cannot be read is no finding about its content.
        Err(ConfigError::File(_)) => return result.map(drop).map_err(Failure::from),
    };
    let cameras = match config {
        Some(config) if arguments.probe => {
            start_log(shared)?;
            Some(runtime()?.block_on(ask_all(config)))
        }
        _ => None,
    };
    // What a certificate holds is not the file's matter, and yet nothing starts without it.
    let certificates = config.map(certificates).unwrap_or_default();
    let answered = cameras.iter().flatten().all(|asked| matches!(asked.answer, Answer::Report(_)));
    let outcome = if config.is_some() && answered && certificates.is_empty() { Ok(()) } else { Err(Failure::Said) };
    if arguments.json {
        let problems = match &result {
            Err(ConfigError::Problems(problems)) => findings(problems),
            _ => certificates.iter().map(|(key, error)| of_certificate(key, error)).collect(),
        };
        let shown = Outcome { file: origin.to_string(), ok: outcome.is_ok(), problems, cameras };
        report::print(&format!("{}\n", serde_json::to_string_pretty(&shown).unwrap_or_default()))?;
        return outcome;
    }
    let config = result?;
    for (_, error) in &certificates {
        report::error(&error.chain(), error.hint());
    }
    if certificates.is_empty() {
        report::print(&summary(&config, &origin))?;
    }
    for asked in cameras.iter().flatten() {
        match &asked.answer {
            Answer::Report(found) => {
                let green = report::GREEN;
                report::print(&format!("{green}ok:{green:#} {}: {}\n", asked.path, brief(found)))?;
            }
            Answer::Error(failure) => {
                let message = format!("{}: {}", asked.path, failure.message);
                report::error(&message, failure_hint(failure).as_deref());
            }
        }
    }
    outcome
}

/// The sections whose certificate or key is not one, and why.
fn certificates(config: &Config) -> Vec<(&'static str, Error)> {
    let sections = [("http.tls", &config.http.tls), ("rtsp.tls", &config.rtsp.tls)];
    let judge = |(section, tls): (&'static str, &Option<TlsConfig>)| {
        let files = tls.as_ref()?.files()?;
        let error = Certificate::read(section, &files.certificate_file, &files.key_file).err()?;
        Some((section, error))
    };
    sections.into_iter().filter_map(judge).collect()
}

fn of_certificate<'a>(key: &str, error: &'a Error) -> Finding<'a> {
    let (message, hint) = (error.message(), error.hint());
    Finding { line: None, column: None, variable: None, key: key.to_owned(), message, hint }
}

/// How many cameras are called at once.
const CALLS: usize = 8;

/// Calls every camera that has a name of its own; those of regular expressions are known only when they are asked for.
async fn ask_all(config: &Config) -> Vec<Asked> {
    let mut calls = Vec::new();
    for name in config.paths.names() {
        let Some(path) = config.resolve(name) else { continue };
        for (rendition, source) in [(Rendition::Main, Some(path.main)), (Rendition::Sub, path.sub)] {
            let Some(ResolvedSource::Camera(camera)) = source else { continue };
            let path = match rendition {
                Rendition::Main => name.to_string(),
                Rendition::Sub => format!("{name}/sub"),
            };
            let mut options = ProbeOptions::new(*camera);
            // Long enough to see how fast pictures come.
            options.duration = Duration::from_secs(1);
            calls.push(async move {
                let answer = match ingest::probe(options).await {
                    Ok(report) => Answer::Report(Box::new(report)),
                    Err(failure) => Answer::Error(failure),
                };
                Asked { path, answer }
            });
        }
    }
    futures_util::stream::iter(calls).buffered(CALLS).collect().await
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
