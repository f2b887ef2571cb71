//! The command line: one file per command. It parses arguments, reads the configuration, starts the log, runs one
//! command and chooses the exit code: 0 fine, 1 failed, 2 wrong usage.

mod check;
mod completions;
mod config;
mod healthcheck;
pub mod log;
mod probe;
mod repeats;
mod report;
mod rules;
mod serve;
mod token;
mod user;
mod version;

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::{
    base::{Clock, Error},
    config::{Config, ConfigError, ConfigOrigin, Environment, LogFormat, LogLevel, Problems, files},
};

/// A media relay: cameras in over RTSP; Low-Latency HLS, RTSP and more out.
///
/// Without a command it serves; without a configuration it serves a built-in demo camera.
#[derive(Debug, Parser)]
#[command(name = "campanile", version, max_term_width = 100, disable_help_subcommand = true)]
struct Arguments {
    #[command(flatten)]
    shared: Shared,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Options of every command.
#[derive(Debug, Args)]
struct Shared {
    /// The configuration [default: $CAMPANILE_CONFIG, ./campanile.yaml, the user's and /etc/campanile; else a demo]
    #[arg(long, short, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// The least important messages to log, whatever the configuration says
    #[arg(long, value_name = "LEVEL", global = true, value_enum)]
    log_level: Option<Level>,
    /// The shape of log lines, whatever the configuration says
    #[arg(long, value_name = "FORMAT", global = true, value_enum)]
    log_format: Option<Format>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server (the same as no command)
    Serve,
    /// Say what is wrong with a configuration, all of it at once
    Check(check::CheckArguments),
    /// Call a camera and say what it sends, or why it sends nothing
    Probe(probe::ProbeArguments),
    /// Write, show or describe configurations
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Try rules out
    #[command(subcommand)]
    Rules(rules::RulesCommand),
    /// Say who may log in
    #[command(subcommand)]
    User(user::UserCommand),
    /// Make tokens that programs log in with
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Ask the running server whether it is alive
    Healthcheck(healthcheck::HealthcheckArguments),
    /// Show the version
    Version(version::VersionArguments),
    /// Print the completions of a shell
    Completions(completions::CompletionsArguments),
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    Human,
    Json,
}

/// Why a command ended without success.
#[derive(Debug)]
enum Failure {
    /// With an error, still to be shown.
    Error(Error),
    /// With complaints about a configuration, still to be shown.
    Problems(Problems),
    /// With arguments that make no sense, still to be shown.
    Usage(Error),
    /// With everything said.
    Said,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        match error {
            ConfigError::File(error) => Self::Error(error),
            ConfigError::Problems(problems) => Self::Problems(problems),
        }
    }
}

/// Runs one command line, the program's name first.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let started = Clock.now();
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are "errors" as well, on standard output and with exit code 0.
            let shown = error.print();
            return match (error.exit_code(), shown) {
                (0, Ok(())) => ExitCode::SUCCESS,
                (0, Err(_)) => ExitCode::FAILURE,
                _ => ExitCode::from(2),
            };
        }
    };
    let Arguments { shared, command } = arguments;
    let result = match command.unwrap_or(Command::Serve) {
        Command::Serve => serve::run(&shared, started),
        Command::Check(arguments) => check::run(&shared, &arguments),
        Command::Probe(arguments) => probe::run(&shared, &arguments),
        Command::Config(command) => config::run(&shared, &command),
        Command::Rules(command) => rules::run(&shared, &command),
        Command::User(command) => user::run(&shared, &command),
        Command::Token(command) => token::run(&shared, &command),
        Command::Healthcheck(arguments) => healthcheck::run(&shared, &arguments),
        Command::Version(arguments) => version::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments, &mut Arguments::command()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report::failure(&failure);
            if matches!(failure, Failure::Usage(_)) { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

impl Shared {
    /// The configuration that is meant, and where it came from.
    fn open(&self) -> Result<(Config, ConfigOrigin), Failure> {
        let environment = files::environment();
        let origin = files::find(self.config.as_deref(), &environment);
        let mut config = files::open(&origin, &environment)?;
        self.apply(&mut config);
        Ok((config, origin))
    }

    /// Arguments stand above the file and the environment.
    fn apply(&self, config: &mut Config) {
        if let Some(level) = self.log_level {
            config.log.level = match level {
                Level::Error => LogLevel::Error,
                Level::Warn => LogLevel::Warn,
                Level::Info => LogLevel::Info,
                Level::Debug => LogLevel::Debug,
                Level::Trace => LogLevel::Trace,
            };
        }
        if let Some(format) = self.log_format {
            config.log.format = match format {
                Format::Human => LogFormat::Human,
                Format::Json => LogFormat::Json,
            };
        }
    }

    /// Starts the log of this process. `$CAMPANILE_LOG` stands above the file, `--log-level` above both.
    fn start_log(&self, config: &Config, environment: &Environment) -> Result<(), Error> {
        let filter = environment.get("CAMPANILE_LOG").filter(|filter| !filter.is_empty() && self.log_level.is_none());
        log::start(&config.log, filter.map(String::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_fit_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn arguments_stand_above_the_file() {
        let arguments = Arguments::try_parse_from(["campanile", "serve", "--log-level", "trace", "--log-format=json"]);
        let mut config = Config::default();
        arguments.unwrap().shared.apply(&mut config);
        assert_eq!((config.log.level, config.log.format), (LogLevel::Trace, LogFormat::Json));
    }
}
