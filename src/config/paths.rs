//! The section `paths`: its entries in file order, and what a name resolves to.

use std::{collections::HashMap, fmt, sync::Arc};

use regex::Captures;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, Visitor},
};
use url::Url;

use super::{
    CameraTlsConfig, CameraUrl, Credentials, HumanDuration, PathConfig, QuirksConfig, Source, SourceTransport,
    SubConfig,
    path_key::{PATTERN_MAX, PathKey},
    template,
};
use crate::base::PathName;

/// Every entry of `paths`, in file order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathsConfig {
    entries: Vec<(PathKey, Arc<PathConfig>)>,
    names: HashMap<PathName, usize>,
}

/// What a name resolves to: where its renditions come from, and the entry's other settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedPath {
    /// The name that was asked for.
    pub name: PathName,
    /// The name people see: the entry's title with the groups filled in, else the path's name.
    pub title: String,
    /// The heading under which the path is listed, with the groups filled in.
    pub group: Option<String>,
    /// The key whose regular expression matched, `~` and all; nothing for a path of its own name.
    pub pattern: Option<Arc<str>>,
    /// Where the path's stream comes from.
    pub main: ResolvedSource,
    /// Where its smaller rendition comes from.
    pub sub: Option<ResolvedSource>,
    /// The entry: title, times, bounds. Its source, title and group are templates; use the fields above.
    pub config: Arc<PathConfig>,
}

/// What feeds one rendition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResolvedSource {
    /// A camera we dial.
    Camera(Box<CameraOptions>),
    /// The built-in camera.
    Demo,
    /// A peer that pushes.
    Publisher,
}

/// All that is needed to connect to one camera.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CameraOptions {
    /// `rtsp://` or `rtsps://`; it holds no credentials.
    pub url: Url,
    /// User and password, if there is either.
    pub credentials: Option<Credentials>,
    /// What media travels over.
    pub transport: SourceTransport,
    /// How its certificate is judged.
    pub tls: CameraTlsConfig,
    /// Its firmware's errors that are to be borne.
    pub quirks: QuirksConfig,
    /// How long connecting, and each request, may take.
    pub request_timeout: HumanDuration,
}

impl PathsConfig {
    /// Adds an entry behind the others. `false`, and nothing changes, if the key is there already.
    /// Credentials in its URLs move into the fields beside them.
    pub fn insert(&mut self, key: PathKey, mut config: PathConfig) -> bool {
        match &key {
            PathKey::Name(name) if self.names.contains_key(name) => return false,
            PathKey::Name(name) => drop(self.names.insert(name.clone(), self.entries.len())),
            PathKey::Pattern(_) if self.entries.iter().any(|(known, _)| *known == key) => return false,
            PathKey::Pattern(_) => {}
        }
        config.take_credentials();
        self.entries.push((key, Arc::new(config)));
        true
    }

    /// The entries, in file order.
    pub fn iter(&self) -> impl Iterator<Item = (&PathKey, &Arc<PathConfig>)> {
        self.entries.iter().map(|(key, config)| (key, config))
    }

    /// The entry of a path with a name of its own.
    pub fn named(&self, name: &PathName) -> Option<&Arc<PathConfig>> {
        self.names.get(name).map(|index| &self.entries[*index].1)
    }

    /// The entries, to be completed after reading.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&PathKey, &mut PathConfig)> {
        self.entries.iter_mut().map(|(key, config)| (&*key, Arc::make_mut(config)))
    }

    /// The paths with a name of their own, in file order.
    pub fn names(&self) -> impl Iterator<Item = &PathName> {
        self.entries.iter().filter_map(|(key, _)| match key {
            PathKey::Name(name) => Some(name),
            PathKey::Pattern(_) => None,
        })
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What `name` stands for: the entry of that name, else the first regular expression that matches. Nothing if
    /// there is none, or if its groups, filled in, make no URL.
    pub fn resolve(&self, name: &PathName) -> Option<ResolvedPath> {
        if let Some(index) = self.names.get(name) {
            return ResolvedPath::new(name, None, &self.entries[*index].1, None);
        }
        self.entries.iter().find_map(|(key, config)| match key {
            PathKey::Pattern(pattern) => {
                let captures = pattern.captures(name.as_str())?;
                Some(ResolvedPath::new(name, Some(key), config, Some(&captures)))
            }
            PathKey::Name(_) => None,
        })?
    }
}

impl ResolvedPath {
    fn new(
        name: &PathName,
        pattern: Option<&PathKey>,
        config: &Arc<PathConfig>,
        captures: Option<&Captures<'_>>,
    ) -> Option<Self> {
        let resolve = |source: &Source, sub: Option<&SubConfig>| {
            Some(match source {
                Source::Demo => ResolvedSource::Demo,
                Source::Publisher => ResolvedSource::Publisher,
                Source::Camera(url) => ResolvedSource::Camera(Box::new(config.camera(url, sub, captures)?)),
            })
        };
        let sub = match &config.sub {
            None => None,
            Some(sub) => Some(resolve(sub.source.as_ref().or(config.source.as_ref())?, Some(sub))?),
        };
        let fill = |text: &String| captures.map_or_else(|| text.clone(), |captures| template::fill(text, captures));
        Some(Self {
            name: name.clone(),
            title: config.title.as_ref().map_or_else(|| name.to_string(), fill),
            group: config.group.as_ref().map(fill),
            pattern: pattern.map(|key| key.to_string().into()),
            main: resolve(config.source.as_ref()?, None)?,
            sub,
            config: config.clone(),
        })
    }
}

impl PathConfig {
    fn camera(
        &self,
        url: &CameraUrl,
        sub: Option<&SubConfig>,
        captures: Option<&Captures<'_>>,
    ) -> Option<CameraOptions> {
        let credentials = |username: &Option<String>, password: &Option<crate::base::Secret>| {
            (username.is_some() || password.is_some()).then(|| Credentials {
                username: username.clone().unwrap_or_default(),
                password: password.clone().unwrap_or_default(),
            })
        };
        let own = sub.and_then(|sub| credentials(&sub.username, &sub.password));
        Some(CameraOptions {
            url: url.url(captures)?,
            credentials: own.or_else(|| credentials(&self.username, &self.password)),
            transport: sub.and_then(|sub| sub.transport).unwrap_or(self.transport),
            tls: sub.and_then(|sub| sub.tls.clone()).unwrap_or_else(|| self.tls.clone()),
            quirks: sub.and_then(|sub| sub.quirks.clone()).unwrap_or_else(|| self.quirks.clone()),
            request_timeout: self.request_timeout,
        })
    }

    /// Moves `user:password@` from the URLs into the fields beside them. Those written out win.
    pub fn take_credentials(&mut self) {
        fn take(
            source: &mut Option<Source>,
            username: &mut Option<String>,
            password: &mut Option<crate::base::Secret>,
        ) {
            let Some(Source::Camera(url)) = source else { return };
            let Some(found) = url.take_credentials() else { return };
            username.get_or_insert(found.username);
            if password.is_none() && !found.password.is_empty() {
                *password = Some(found.password);
            }
        }
        take(&mut self.source, &mut self.username, &mut self.password);
        if let Some(sub) = &mut self.sub {
            take(&mut sub.source, &mut sub.username, &mut sub.password);
        }
    }
}

impl Serialize for PathsConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(key, config)| (key.to_string(), &**config)))
    }
}

impl<'de> Deserialize<'de> for PathsConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = PathsConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object: the paths by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PathsConfig, A::Error> {
                let mut paths = PathsConfig::default();
                while let Some(key) = map.next_key::<PathKey>()? {
                    let shown = key.to_string();
                    if !paths.insert(key, map.next_value()?) {
                        return Err(A::Error::custom(format_args!("the path {shown} is there twice")));
                    }
                }
                Ok(paths)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

impl JsonSchema for PathsConfig {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Paths".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let path = generator.subschema_for::<PathConfig>();
        json_schema!({
            "type": "object",
            "propertyNames": {
                "anyOf": [
                    { "pattern": "^~", "maxLength": PATTERN_MAX },
                    { "pattern": "^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$", "maxLength": 200 }
                ]
            },
            "additionalProperties": path
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(json: &str) -> PathsConfig {
        serde_json::from_str(json).unwrap()
    }

    fn resolve(paths: &PathsConfig, name: &str) -> Option<ResolvedPath> {
        paths.resolve(&name.parse().unwrap())
    }

    fn camera(source: &ResolvedSource) -> &CameraOptions {
        match source {
            ResolvedSource::Camera(camera) => camera,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_name_wins_over_expressions_and_the_first_expression_over_later_ones() {
        let paths = paths(
            r#"{ "~^cam(?<n>[0-9]+)$": {"source": "rtsp://10.0.0.$1/${n}"},
                 "~^cam": {"source": "rtsp://second/"},
                 "cam7": {"source": "demo"} }"#,
        );
        assert_eq!(resolve(&paths, "cam7").unwrap().main, ResolvedSource::Demo);
        let first = resolve(&paths, "cam8").unwrap();
        assert_eq!(camera(&first.main).url.as_str(), "rtsp://10.0.0.8/8");
        assert_eq!(first.pattern.as_deref(), Some("~^cam(?<n>[0-9]+)$"));
        assert_eq!(camera(&resolve(&paths, "camera").unwrap().main).url.as_str(), "rtsp://second/");
        assert_eq!(resolve(&paths, "other"), None);
    }

    #[test]
    fn a_name_whose_groups_make_no_url_does_not_exist() {
        let paths = paths(r#"{ "~^cam(.*)$": {"source": "rtsp://10.0.0.5:$1/"} }"#);
        assert!(resolve(&paths, "cam554").is_some());
        assert_eq!(resolve(&paths, "cam-a"), None);
    }

    #[test]
    fn the_smaller_rendition_inherits_what_it_does_not_say() {
        let paths = paths(
            r#"{ "a": {"source": "rtsp://u:p@cam/1", "transport": "udp", "sub": "rtsp://cam/2"},
                 "b": {"source": "rtsp://u:p@cam/1", "sub": {"source": "rtsp://v:q@cam/2", "transport": "tcp"}} }"#,
        );
        let a = resolve(&paths, "a").unwrap();
        let sub = camera(a.sub.as_ref().unwrap());
        assert_eq!((sub.url.as_str(), sub.transport), ("rtsp://cam/2", SourceTransport::Udp));
        assert_eq!(sub.credentials, camera(&a.main).credentials);
        let b = resolve(&paths, "b").unwrap();
        let sub = camera(b.sub.as_ref().unwrap());
        let credentials = sub.credentials.as_ref().unwrap();
        assert_eq!((credentials.username.as_str(), credentials.password.reveal()), ("v", "q"));
        assert_eq!(sub.transport, SourceTransport::Tcp);
    }

    #[test]
    fn credentials_beside_the_url_win_over_those_in_it() {
        let paths = paths(r#"{ "a": {"source": "rtsp://u:p@cam/1", "password": "better"} }"#);
        let a = resolve(&paths, "a").unwrap();
        let credentials = camera(&a.main).credentials.as_ref().unwrap();
        assert_eq!((credentials.username.as_str(), credentials.password.reveal()), ("u", "better"));
    }
}
