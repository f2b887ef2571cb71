//! From the text of a file and the environment to a [`Config`], or to everything that is wrong with them.
//!
//! In this order: YAML to a tree with places; the environment over it; `${…}` filled in; types; the files that hold
//! passwords; what types cannot say. What was wrong once is not complained of again further on.

use std::{io, path::Path};

use serde_saphyr::granit_parser::Span;

use super::{
    AuthConfig, Config, PathConfig, PathKey, PathsConfig, Source,
    check::Complaint,
    decode::decode,
    environment::{Environment, overlay},
    problem::{Problem, Problems},
    substitute::substitute,
    tls::TlsConfig,
    tree::{Key, Node, Place, Route, Value, shown},
    yaml,
};
use crate::base::Secret;

/// The way to the files a configuration names.
pub trait Files {
    /// The text of a small file.
    ///
    /// # Errors
    /// The system's.
    fn read(&self, path: &Path) -> io::Result<String>;

    /// Whether the file is there and may be read.
    ///
    /// # Errors
    /// The system's, if not.
    fn probe(&self, path: &Path) -> io::Result<()>;
}

/// What a configuration is made from.
pub struct Input<'a> {
    /// What the file is called in messages.
    pub name: &'a str,
    /// The file.
    pub text: &'a str,
    /// The variables that `${…}` and the overrides come from.
    pub environment: &'a Environment,
    /// The way to other files.
    pub files: &'a dyn Files,
}

/// The keys the file may have at its top.
pub(super) const TOP: [&str; 18] = [
    "state_dir",
    "default_path",
    "media_threads",
    "drain",
    "log",
    "http",
    "rtsp",
    "acme",
    "webrtc",
    "hls",
    "auth",
    "events",
    "limits",
    "mqtt",
    "sensors",
    "rules",
    "notify",
    "paths",
];

/// Reads a configuration.
///
/// # Errors
/// Everything that is wrong with it, in file order.
pub fn load(input: &Input<'_>) -> Result<Config, Problems> {
    let (config, problems) = load_what_is_right(input);
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

/// Reads what can be read: what is wrong is at its default, and complained of.
pub(super) fn load_what_is_right(input: &Input<'_>) -> (Config, Problems) {
    let mut problems = Problems::new(input.name);
    let place = |span: &Span| Place::File { line: span.start.line(), column: span.start.col() + 1 };
    let Some(mut tree) = yaml::parse(input.text, place, &mut problems) else {
        return (Config::default(), problems);
    };
    overlay(&mut tree, input.environment, &TOP, &mut problems);
    let mut wrong = substitute(&mut tree, input.environment, &mut problems);
    for route in &wrong {
        tree.take_out(&route.0);
    }
    check_credentials(&tree, &mut problems);
    let whole = tree.clone();
    let paths = tree.take_child("paths");
    let (mut config, undecoded) = decode::<Config>(&mut tree, &Route::default(), &mut problems);
    wrong.extend(undecoded);
    if let Some((key, paths)) = paths {
        config.paths = decode_paths(key, paths, &mut wrong, &mut problems);
    }
    if !problems.is_full() {
        for complaint in config.check() {
            report(complaint, &whole, &wrong, &mut problems);
        }
        read_files(&mut config, &whole, input.files, &mut problems);
    }
    problems.sort();
    (config, problems)
}

/// Gives the paths their types one by one: with a thousand cameras, an error in one reads only that one anew.
fn decode_paths(section: Key, paths: Node, wrong: &mut Vec<Route>, problems: &mut Problems) -> PathsConfig {
    let mut decoded = PathsConfig::default();
    let base = Route::of(["paths"]);
    let nothing = paths.is_null();
    let Value::Map(entries) = paths.value else {
        if !nothing {
            problems.add(Problem::new(section.place, base.clone(), "expected an object: the paths by name"));
            wrong.push(base);
        }
        return decoded;
    };
    for (key, mut node) in entries {
        let route = base.then(&key.text);
        match (key.text.parse::<PathKey>(), node.text()) {
            (Ok(_), Some(text)) if !node.is_null() && !node.damaged => {
                let message = format!("expected an object, found {}", shown(text));
                let hint = "what feeds a path stands below its name: `source: rtsp://…`, or `source: demo`";
                problems.add(Problem::new(node.place, route.clone(), message).with_hint(hint));
                wrong.push(route);
            }
            (Ok(name), _) => {
                let (path, undecoded) = decode::<PathConfig>(&mut node, &route, problems);
                // What is wrong as a whole is no path.
                if !undecoded.contains(&route) {
                    decoded.insert(name, path);
                }
                wrong.extend(undecoded);
            }
            (Err(error), _) => {
                problems.add(Problem::new(key.place, route.clone(), error.to_string()));
                wrong.push(route);
            }
        }
    }
    decoded
}

/// Gives a complaint its place, unless a value it rests on was wrong in itself.
fn report(complaint: Complaint, tree: &Node, wrong: &[Route], problems: &mut Problems) {
    let rests_on = |route: &Route| wrong.iter().any(|wrong| wrong.leads_to(route) || route.leads_to(wrong));
    let Complaint { route, with, message, hint } = complaint;
    let direct = wrong.iter().any(|wrong| wrong.leads_to(&route));
    if direct || with.iter().any(rests_on) {
        return;
    }
    let problem = Problem::new(tree.place_of(&route), route, message);
    problems.add(match hint {
        Some(hint) => problem.with_hint(hint),
        None => problem,
    });
}

/// A user or a password in the URL and beside it: one of them would be ignored.
fn check_credentials(tree: &Node, problems: &mut Problems) {
    let Some(Value::Map(paths)) = tree.child("paths").map(|paths| &paths.value) else { return };
    for (key, path) in paths {
        let base = Route::of(["paths", &key.text]);
        for (node, base) in [(Some(path), base.clone()), (path.child("sub"), base.then("sub"))] {
            let Some(node) = node else { continue };
            let source = node.child("source").and_then(Node::text).and_then(|text| text.parse().ok());
            let Some(Source::Camera(url)) = source else { continue };
            let Some(found) = url.credentials() else { continue };
            let given = [
                ("username", true),
                ("password", !found.password.is_empty()),
                ("password_file", !found.password.is_empty()),
            ];
            for (key, in_url) in given {
                if in_url && node.child(key).is_some_and(|node| !node.is_null()) {
                    let route = base.then(key);
                    let message = "the URL of `source` holds one as well: one of the two";
                    problems.add(Problem::new(tree.place_of(&route), route, message));
                }
            }
        }
    }
}

/// Reads the passwords that stand in files, and asks whether the certificates are there.
fn read_files(config: &mut Config, tree: &Node, files: &dyn Files, problems: &mut Problems) {
    let mut complain = |route: Route, path: &Path, error: &io::Error| {
        let message = format!("`{}`: {}", path.display(), in_words(error));
        problems.add(Problem::new(tree.place_of(&route), route, message));
    };
    for (section, tls) in [("http", &config.http.tls), ("rtsp", &config.rtsp.tls)] {
        let Some(tls) = tls.as_ref().and_then(TlsConfig::files) else { continue };
        for (key, path) in [("certificate_file", &tls.certificate_file), ("key_file", &tls.key_file)] {
            if let Err(error) = files.probe(path) {
                complain(Route::of([section, "tls", key]), path, &error);
            }
        }
    }
    if let Some(file) = &config.acme.ca_file
        && let Err(error) = files.probe(file)
    {
        complain(Route::of(["acme", "ca_file"]), file, &error);
    }
    let brokers = config.mqtt.brokers.iter().map(|(name, broker)| (Route::of(["mqtt", "brokers", name]), &broker.tls));
    let channels = config.notify.channels.iter().flat_map(|(name, channel)| {
        let base = Route::of(["notify", "channels", name.as_str()]);
        channel.tls().map(move |(kind, tls)| (base.then(kind), tls))
    });
    let pulls = config
        .sensors
        .iter()
        .filter_map(|(id, sensor)| Some((Route::of(["sensors", id.as_str(), "pull"]), &sensor.pull.as_ref()?.tls)));
    let outside = match &config.auth {
        AuthConfig::On(auth) => auth.http.as_ref().map(|http| (Route::of(["auth", "http"]), &http.tls)),
        AuthConfig::Off => None,
    };
    for (base, tls) in brokers.chain(channels).chain(pulls).chain(outside) {
        for (key, path) in
            [("ca_file", &tls.ca_file), ("certificate_file", &tls.certificate_file), ("key_file", &tls.key_file)]
        {
            let Some(path) = path else { continue };
            if let Err(error) = files.probe(path) {
                complain(base.then("tls").then(key), path, &error);
            }
        }
    }
    let mut fill = |file: &Option<std::path::PathBuf>, password: &mut Option<Secret>, route: Route| {
        let Some(file) = file else { return };
        match files.read(file) {
            // Editors end a file with a line break; no password does.
            Ok(text) => *password = Some(Secret::new(text.trim_end_matches(['\r', '\n']))),
            Err(error) => complain(route, file, &error),
        }
    };
    for (name, broker) in &mut config.mqtt.brokers {
        let base = Route::of(["mqtt", "brokers", name]);
        fill(&broker.password_file, &mut broker.password, base.then("password_file"));
    }
    for (name, channel) in &mut config.notify.channels {
        let base = Route::of(["notify", "channels", name.as_str()]);
        for (kind, key, file, secret) in channel.secrets() {
            fill(file, secret, base.then(kind).then(key));
        }
    }
    for (id, sensor) in &mut config.sensors {
        let Some(pull) = &mut sensor.pull else { continue };
        let base = Route::of(["sensors", id.as_str(), "pull"]);
        fill(&pull.password_file, &mut pull.password, base.then("password_file"));
    }
    for (key, path) in config.paths.iter_mut() {
        let base = Route::of(["paths", &key.to_string()]);
        fill(&path.password_file, &mut path.password, base.then("password_file"));
        if let Some(sub) = &mut path.sub {
            fill(&sub.password_file, &mut sub.password, base.then("sub").then("password_file"));
        }
    }
}

/// The system's error without its number.
fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::InvalidData => "not a text in UTF-8".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
