//! Where the configuration lies on this machine: the driver around [`load`], which itself touches no file.

use std::{
    env, fmt, fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{
    Config, Environment, Files, Input, Problems,
    load::{load, load_what_is_right},
};
use crate::base::{Error, error::Kind};

/// The largest file that is read.
const FILE_MAX: u64 = 4 << 20;
/// The built-in configuration for a machine that has none.
pub const DEMO: &str = include_str!("../../config/demo.yaml");
/// Every option at its default, commented.
pub const REFERENCE: &str = include_str!("../../config/campanile.yaml");

/// Where a configuration came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigOrigin {
    /// A file.
    File(PathBuf),
    /// There was no file: the built-in demo.
    Demo,
}

impl fmt::Display for ConfigOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Demo => f.write_str("the built-in demo"),
        }
    }
}

/// Why there is no configuration.
#[derive(Debug)]
pub enum ConfigError {
    /// The file cannot be read.
    File(Error),
    /// What it says is wrong.
    Problems(Problems),
}

/// The files of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<String> {
        let mut text = String::new();
        let read = fs::File::open(path)?.take(FILE_MAX + 1).read_to_string(&mut text)?;
        if read as u64 > FILE_MAX {
            return Err(io::Error::other(format!("larger than {} MiB", FILE_MAX >> 20)));
        }
        Ok(text)
    }

    fn probe(&self, path: &Path) -> io::Result<()> {
        if fs::metadata(path)?.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        fs::File::open(path).map(drop)
    }
}

/// The variables of this process that are text.
pub fn environment() -> Environment {
    env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect()
}

/// Where a configuration is looked for when none is named, in this order.
pub fn places(environment: &Environment) -> Vec<PathBuf> {
    let set = |name: &str| environment.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let user = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
    [Some(PathBuf::new()), user.map(|folder| folder.join("campanile")), Some("/etc/campanile".into())]
        .into_iter()
        .flatten()
        .map(|folder| folder.join("campanile.yaml"))
        .collect()
}

/// Which configuration is meant: the one named, `$CAMPANILE_CONFIG`, the first one found, or the demo.
pub fn find(named: Option<&Path>, environment: &Environment) -> ConfigOrigin {
    let named = named.map(Path::to_owned);
    let set = || environment.get("CAMPANILE_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
    let found = || places(environment).into_iter().find(|place| place.exists());
    named.or_else(set).or_else(found).map_or(ConfigOrigin::Demo, ConfigOrigin::File)
}

/// Reads a configuration of this machine.
///
/// # Errors
/// The file cannot be read, or everything that is wrong in it.
pub fn open(origin: &ConfigOrigin, environment: &Environment) -> Result<Config, ConfigError> {
    let (name, text) = match origin {
        ConfigOrigin::Demo => ("demo.yaml (built in)".to_owned(), DEMO.to_owned()),
        ConfigOrigin::File(path) => {
            let text = Disk.read(path).map_err(|error| ConfigError::File(unreadable(path, &error)))?;
            (path.display().to_string(), text)
        }
    };
    load(&Input { name: &name, text: &text, environment, files: &Disk }).map_err(ConfigError::Problems)
}

/// What is right in a configuration, the rest at its defaults; for commands that need only an address or a directory.
pub fn open_what_is_right(origin: &ConfigOrigin, environment: &Environment) -> Config {
    let text = match origin {
        ConfigOrigin::Demo => DEMO.to_owned(),
        ConfigOrigin::File(path) => Disk.read(path).unwrap_or_default(),
    };
    load_what_is_right(&Input { name: "", text: &text, environment, files: &Disk }).0
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    let (kind, what, hint) = match error.kind() {
        io::ErrorKind::NotFound => (
            Kind::NotFound,
            "no such file".to_owned(),
            Some(
                "`campanile config init` writes one with every option; without any, `campanile` shows its demo camera",
            ),
        ),
        io::ErrorKind::PermissionDenied => (Kind::PermissionDenied, "permission denied".to_owned(), None),
        io::ErrorKind::InvalidData => {
            (Kind::InvalidArgument, "not a text in UTF-8".to_owned(), Some("save it as UTF-8 and try again"))
        }
        io::ErrorKind::IsADirectory => (Kind::InvalidArgument, "a directory".to_owned(), Some("name the file in it")),
        _ => (Kind::Unavailable, error.to_string(), None),
    };
    let error = Error::new(kind, format!("configuration `{}`: {what}", path.display()));
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_file_is_every_default() {
        let environment = Environment::new();
        let input = Input { name: "campanile.yaml", text: REFERENCE, environment: &environment, files: &Disk };
        let mut config = load(&input).unwrap_or_else(|problems| panic!("{problems}"));
        let paths = std::mem::take(&mut config.paths);
        assert_eq!(config, Config::default());
        for (key, path) in paths.iter() {
            let mut path = super::super::PathConfig::clone(path);
            path.source = None;
            assert_eq!(path, super::super::PathConfig::default(), "{key}");
        }
        assert!(!paths.is_empty(), "an example shows every option of a path");
    }

    #[test]
    fn the_reference_file_names_every_option() {
        let mut keys = Vec::new();
        names(&Config::schema(), &mut keys);
        assert!(keys.len() > 60, "{keys:?}");
        let text: String =
            REFERENCE.lines().map(|line| line.trim_start_matches([' ', '#', '-'])).collect::<Vec<_>>().join("\n");
        for key in keys {
            let written = regex::Regex::new(&format!(r"(?m)(^|[\{{,]\s*){key}:")).unwrap();
            assert!(written.is_match(&text), "config/campanile.yaml does not show `{key}`");
        }
    }

    #[test]
    fn the_page_for_users_names_every_option_and_its_examples_are_right() {
        let page = include_str!("../../docs/configuration.md");
        let mut keys = Vec::new();
        names(&Config::schema(), &mut keys);
        for key in keys {
            let named = regex::Regex::new(&format!(r"\b{key}\b")).unwrap().is_match(page);
            assert!(named, "docs/configuration.md does not name `{key}`");
        }
        struct Anything;
        impl Files for Anything {
            fn read(&self, _: &Path) -> io::Result<String> {
                Ok("secret".to_owned())
            }
            fn probe(&self, _: &Path) -> io::Result<()> {
                Ok(())
            }
        }
        let environment = Environment::from([("FRONT_DOOR_PASSWORD".into(), "secret".into())]);
        let quick_start = include_str!("../../docs/quick-start.md");
        let alerts = include_str!("../../docs/alerts.md");
        let notifications = include_str!("../../docs/notifications.md");
        let blocks: Vec<_> = [page, quick_start, alerts, notifications]
            .iter()
            .flat_map(|page| page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()))
            .collect();
        assert!(blocks.len() >= 5, "{}", blocks.len());
        for text in blocks {
            let input = Input { name: "block", text, environment: &environment, files: &Anything };
            load(&input).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
        }
    }

    /// Every key of every object of the schema.
    fn names(schema: &serde_json::Value, keys: &mut Vec<String>) {
        match schema {
            serde_json::Value::Object(map) => {
                if let Some(serde_json::Value::Object(properties)) = map.get("properties") {
                    keys.extend(properties.keys().cloned());
                }
                map.values().for_each(|value| names(value, keys));
            }
            serde_json::Value::Array(items) => items.iter().for_each(|value| names(value, keys)),
            _ => {}
        }
    }

    #[test]
    fn the_demo_is_one_camera_that_needs_nothing() {
        let config = open(&ConfigOrigin::Demo, &Environment::new()).unwrap();
        let sources: Vec<_> = config.paths.iter().map(|(_, path)| path.source.clone().unwrap()).collect();
        assert_eq!(sources, [super::super::Source::Demo]);
    }

    #[test]
    fn the_named_file_comes_first_then_the_variable_then_the_places() {
        let folder = tempfile::tempdir().unwrap();
        let user = folder.path().join("campanile/campanile.yaml");
        fs::create_dir(user.parent().unwrap()).unwrap();
        fs::write(&user, "").unwrap();
        let mut environment = Environment::from([("XDG_CONFIG_HOME".into(), folder.path().display().to_string())]);
        assert_eq!(find(None, &environment), ConfigOrigin::File(user));
        environment.insert("CAMPANILE_CONFIG".into(), "/b.yaml".into());
        assert_eq!(find(None, &environment), ConfigOrigin::File("/b.yaml".into()));
        assert_eq!(find(Some(Path::new("/a.yaml")), &environment), ConfigOrigin::File("/a.yaml".into()));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let latin = folder.path().join("latin.yaml");
        fs::write(&latin, b"title: caf\xe9").unwrap();
        let message = |path: &Path| match open(&ConfigOrigin::File(path.to_owned()), &Environment::new()) {
            Err(ConfigError::File(error)) => error.to_string(),
            other => panic!("{other:?}"),
        };
        assert!(message(&latin).ends_with("latin.yaml`: not a text in UTF-8"), "{}", message(&latin));
        assert!(message(&folder.path().join("none.yaml")).ends_with("none.yaml`: no such file"));
        assert!(message(folder.path()).ends_with("`: a directory"));
    }
}
