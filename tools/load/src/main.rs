//! A load generator and meter for media servers: viewers against any server's URL in, figures out.
//!
//! Viewers count and throw away what they get; they decode nothing. Figures go to standard output, as a table or as
//! JSON. A run whose figures may not be quoted says why. See `README.md` beside this crate for how to measure.

mod cli;
mod clients;
mod clock;
mod compare;
mod counters;
mod cycles;
mod events;
mod hls;
mod http;
mod measure;
mod network;
mod picture;
mod poll;
mod process;
mod report;
mod rtp;
mod rtsp;
mod shared;
mod start;
mod whep;

use std::{fmt::Display, fs, process::ExitCode, time::Duration};

use clap::Parser as _;
use serde::Serialize;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    match &cli.command {
        Command::Rtsp { load, transport } => {
            let kind = clients::Kind::Rtsp(rtsp::RtspOptions { url: load.url.clone(), transport: *transport });
            let name = match transport {
                rtsp::Transport::Tcp => "rtsp/tcp",
                rtsp::Transport::Udp => "rtsp/udp",
            };
            show(cli, &measure::run(&kind, &bare(&load.url), name, &load.options()).map_err(text)?)
        }
        Command::Hls { load, hls } => {
            let report = measure::run(&hls.kind(&load.url), &bare(&load.url), "hls", &load.options());
            show(cli, &report.map_err(text)?)
        }
        Command::Whep { load } => {
            let kind = clients::Kind::Whep(whep::WhepOptions { url: load.url.clone() });
            show(cli, &measure::run(&kind, &bare(&load.url), "whep", &load.options()).map_err(text)?)
        }
        Command::Events { load, post, rate, padding, deflate } => {
            let post =
                events::PostOptions { url: cli::post_url(&load.url, post.as_ref())?, rate: *rate, padding: *padding };
            let latencies = std::sync::Arc::default();
            let follow = events::EventsOptions { url: load.url.clone(), deflate: *deflate, latencies };
            show(cli, &events::run(&follow, &post, &bare(&load.url), &load.options()).map_err(text)?)
        }
        Command::Poll { load, every, no_etag } => {
            let (url, every) = (load.url.clone(), cli::seconds(*every));
            let kind = clients::Kind::Poll(poll::PollOptions { url, every, etag: !no_etag });
            show(cli, &measure::run(&kind, &bare(&load.url), measure::POLL, &load.options()).map_err(text)?)
        }
        Command::Start { url, transport, joins, pause, patience, hls } => {
            let kind = cli::kind_of(url, *transport, *hls)?;
            let (pause, patience) = (Duration::from_millis(*pause), Duration::from_secs(*patience));
            show(cli, &start::run(&kind, &bare(url), *joins, pause, patience).map_err(text)?)
        }
        Command::Cycles { url, transport, count, at_once, pid, hls } => {
            let kind = cli::kind_of(url, *transport, *hls)?;
            let options = cycles::CyclesOptions { cycles: *count, at_once: *at_once, pids: pid.clone() };
            show(cli, &cycles::run(&kind, &bare(url), &options).map_err(text)?)
        }
        Command::Network { network } => network::run(*network, |entry| show(cli, entry)),
        Command::Idle { pid, seconds } => {
            let server = measure::idle(pid, cli::seconds(*seconds)).map_err(text)?;
            show(cli, &report::Idle(server))
        }
        Command::Compare { a, b, pairs, null_pairs } => {
            show(cli, &compare::run(a, b, *pairs, *null_pairs, complain).map_err(text)?)
        }
    }
}

#[expect(clippy::print_stdout, reason = "figures are what this tool prints")]
fn show(cli: &Cli, report: &(impl Serialize + Display)) -> Result<(), String> {
    let json = serde_json::to_string_pretty(report).map_err(|error| error.to_string())?;
    if let Some(path) = &cli.output {
        fs::write(path, &json).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    if cli.json {
        println!("{json}");
    } else {
        print!("{report}");
    }
    Ok(())
}

#[expect(clippy::print_stderr, reason = "progress and errors of a tool")]
fn complain(line: &str) {
    eprintln!("{line}");
}

/// A URL fit for a report: without its password.
fn bare(url: &url::Url) -> String {
    let mut bare = url.clone();
    // Fails only where there is no host and so no password.
    let _ = bare.set_password(None);
    bare.to_string()
}
