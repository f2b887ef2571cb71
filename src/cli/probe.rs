//! `campanile probe`: calls one camera, and says what it sends or why it sends nothing.

mod table;

use std::path::PathBuf;

use clap::Args;

pub(super) use self::table::{brief, failure_hint};
use super::{Failure, Shared, report};
use crate::{
    base::{Error, Kind, PathName, Rendition, Secret},
    config::{
        CameraOptions, CameraTlsConfig, Config, Fingerprint, HumanDuration, LogConfig, LogLevel, PathConfig, PathKey,
        ResolvedPath, ResolvedSource, Source, SourceTransport, files,
    },
    ingest::{self, ProbeFailure, ProbeOptions, ProbeReport},
    net,
};

#[derive(Debug, Args)]
pub(super) struct ProbeArguments {
    /// The camera's URL, or the name of a path of the configuration (`NAME/sub` for its smaller rendition)
    #[arg(value_name = "URL|NAME")]
    target: String,
    /// Print the result as JSON on standard output
    #[arg(long)]
    json: bool,
    /// How long to watch once there is a picture
    #[arg(long, value_name = "SPAN", default_value = "5s")]
    duration: HumanDuration,
    /// How long to wait for the first picture
    #[arg(long, value_name = "SPAN", default_value = "15s")]
    wait: HumanDuration,
    /// The camera's user, if the URL does not say
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// A file with the user's password, if the URL does not say
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// What the camera sends its media over
    #[arg(long, value_name = "TRANSPORT", value_enum)]
    transport: Option<Transport>,
    /// Accept any certificate
    #[arg(long, conflicts_with = "fingerprint")]
    insecure: bool,
    /// Accept exactly the certificate with this SHA-256 fingerprint
    #[arg(long, value_name = "SHA256")]
    fingerprint: Option<Fingerprint>,
    /// Do not try the usual names when there is nothing under the one given
    #[arg(long)]
    exact: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Transport {
    Auto,
    Tcp,
    Udp,
}

pub(super) fn run(shared: &Shared, arguments: &ProbeArguments) -> Result<(), Failure> {
    start_log(shared)?;
    let camera = camera(shared, arguments)?;
    let options = ProbeOptions {
        camera,
        duration: arguments.duration.duration(),
        picture_wait: arguments.wait.duration(),
        try_names: !arguments.exact,
    };
    let result = runtime()?.block_on(ingest::probe(options));
    if arguments.json {
        return print_json(&result);
    }
    match result {
        Ok(found) => report::print(&table::whole(&found)),
        Err(failure) => {
            report::error(&failure.message, failure_hint(&failure).as_deref());
            if failure.found.len() > 1 {
                let others: String = failure.found.iter().map(|url| format!("    {url}\n")).collect();
                report::print(&format!("streams found under other names:\n{others}"))?;
            }
            Err(Failure::Said)
        }
    }
}

/// The log of a command whose output is its own: warnings of rooms would only repeat it.
pub(super) fn start_log(shared: &Shared) -> Result<(), Error> {
    let mut config = Config { log: LogConfig { level: LogLevel::Error, ..LogConfig::default() }, ..Config::default() };
    shared.apply(&mut config);
    shared.start_log(&config, &files::environment())?;
    net::tls::install_provider();
    Ok(())
}

/// One thread is plenty for a few calls.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Error::new(Kind::Internal, "the system gives no runtime").caused_by(error))
}

fn print_json(result: &Result<ProbeReport, ProbeFailure>) -> Result<(), Failure> {
    let text = match result {
        Ok(report) => serde_json::to_string_pretty(report),
        Err(failure) => serde_json::to_string_pretty(&serde_json::json!({ "error": failure })),
    };
    report::print(&format!("{}\n", text.unwrap_or_default()))?;
    if result.is_ok() { Ok(()) } else { Err(Failure::Said) }
}

/// The camera that is meant: of the arguments, or of a path of the configuration.
fn camera(shared: &Shared, arguments: &ProbeArguments) -> Result<CameraOptions, Failure> {
    if arguments.target.contains("://") {
        return of_url(arguments);
    }
    let usage = |message: String| {
        let hint = "give the camera's URL, `rtsp://…` or `rtsps://…`, or the name of a path of the configuration";
        Failure::Usage(Error::new(Kind::InvalidArgument, message).with_hint(hint))
    };
    let (name, rendition) = Rendition::split(&arguments.target);
    let name: PathName = name.parse().map_err(|error| usage(format!("`{name}`: {error}")))?;
    let (config, origin) = shared.open()?;
    let Some(path) = config.resolve(&name) else {
        return Err(usage(format!("no path of {origin} has the name `{name}`")));
    };
    let source = match rendition {
        Rendition::Main => Some(path.main),
        Rendition::Sub => path.sub,
    };
    match source {
        Some(ResolvedSource::Camera(camera)) => Ok(overridden(*camera, arguments)?),
        Some(_) => Err(usage(format!("path {name} is not a camera's: there is nothing to call"))),
        None => Err(usage(format!("path {name} has no smaller rendition"))),
    }
}

/// A camera of no configuration is held to the rules of one.
fn of_url(arguments: &ProbeArguments) -> Result<CameraOptions, Failure> {
    let usage = |message: String| Failure::Usage(Error::new(Kind::InvalidArgument, message));
    let source: Source = arguments.target.parse().map_err(|error| usage(format!("{error}")))?;
    let mut path = PathConfig { source: Some(source), username: arguments.username.clone(), ..PathConfig::default() };
    path.password = password(arguments)?;
    path.transport = arguments.transport.map_or(path.transport, Into::into);
    path.tls = tls(arguments).unwrap_or_default();
    let name: PathName = "camera".parse().map_err(|error| usage(format!("{error}")))?;
    let mut config = Config::default();
    config.paths.insert(PathKey::Name(name.clone()), path);
    if let Some(complaint) = config.check().first() {
        let error = Error::new(Kind::InvalidArgument, complaint.message().to_owned());
        return Err(Failure::Usage(match complaint.hint() {
            Some(hint) => error.with_hint(hint.to_owned()),
            None => error,
        }));
    }
    match config.resolve(&name) {
        Some(ResolvedPath { main: ResolvedSource::Camera(camera), .. }) => Ok(*camera),
        _ => Err(usage("the URL names no camera".to_owned())),
    }
}

/// Arguments stand above the configuration.
fn overridden(mut camera: CameraOptions, arguments: &ProbeArguments) -> Result<CameraOptions, Failure> {
    let password = password(arguments)?;
    if arguments.username.is_some() || password.is_some() {
        let mut credentials = camera
            .credentials
            .unwrap_or_else(|| crate::config::Credentials { username: String::new(), password: Secret::default() });
        credentials.username = arguments.username.clone().unwrap_or(credentials.username);
        credentials.password = password.unwrap_or(credentials.password);
        camera.credentials = Some(credentials);
    }
    camera.transport = arguments.transport.map_or(camera.transport, Into::into);
    camera.tls = tls(arguments).unwrap_or(camera.tls);
    Ok(camera)
}

fn password(arguments: &ProbeArguments) -> Result<Option<Secret>, Failure> {
    let Some(file) = &arguments.password_file else { return Ok(None) };
    let text = std::fs::read_to_string(file)
        .map_err(|error| Error::new(Kind::NotFound, format!("password file `{}`", file.display())).caused_by(error))?;
    Ok(Some(Secret::new(text.trim_end_matches(['\r', '\n']))))
}

fn tls(arguments: &ProbeArguments) -> Option<CameraTlsConfig> {
    let given = arguments.insecure || arguments.fingerprint.is_some();
    given.then_some(CameraTlsConfig { insecure: arguments.insecure, fingerprint: arguments.fingerprint })
}

impl From<Transport> for SourceTransport {
    fn from(transport: Transport) -> Self {
        match transport {
            Transport::Auto => Self::Auto,
            Transport::Tcp => Self::Tcp,
            Transport::Udp => Self::Udp,
        }
    }
}
