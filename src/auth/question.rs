//! What a server that decides about callers is asked (`auth.http`): the names and words are MediaMTX's, so that what
//! answers it answers us. A value; sans-IO.

use std::net::IpAddr;

use serde::Serialize;

use super::Action;
use crate::{
    base::{PathName, Secret},
    config::{PathMatcher, PermissionConfig},
};

/// What somebody wants to do, in the words of the question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Watch a path.
    Read(PathName),
    /// Send a path's media.
    Publish(PathName),
    /// Play back what was recorded of a path.
    Playback(PathName),
    /// Ask the API and the doors of events, and act on sessions.
    Api,
    /// Read the metrics.
    Metrics,
}

/// What the API and the doors of events need. To administer is not among it: that is for users of this server.
const API: [Action; 5] = [Action::Alerts, Action::Ack, Action::Sensors, Action::Stats, Action::Control];

impl Deed {
    /// What an action on a path comes to.
    pub fn on(action: Action, path: &PathName) -> Self {
        match action {
            Action::View => Self::Read(path.clone()),
            Action::Publish => Self::Publish(path.clone()),
            Action::Playback => Self::Playback(path.clone()),
            _ => Self::Api,
        }
    }

    /// The word of the question.
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::Read(_) => "read",
            Self::Publish(_) => "publish",
            Self::Playback(_) => "playback",
            Self::Api => "api",
            Self::Metrics => "metrics",
        }
    }

    pub(super) fn path(&self) -> &str {
        match self {
            Self::Read(path) | Self::Publish(path) | Self::Playback(path) => path.as_str(),
            Self::Api | Self::Metrics => "",
        }
    }

    /// What a yes allows.
    pub(super) fn permissions(&self) -> Vec<PermissionConfig> {
        let on = |action, path: &PathName| vec![PermissionConfig { action, path: PathMatcher::Name(path.clone()) }];
        match self {
            Self::Read(path) => on(Action::View, path),
            Self::Publish(path) => on(Action::Publish, path),
            Self::Playback(path) => on(Action::Playback, path),
            Self::Api => API.map(|action| PermissionConfig { action, path: PathMatcher::Every }).into(),
            Self::Metrics => vec![PermissionConfig { action: Action::Stats, path: PathMatcher::Every }],
        }
    }
}

/// How somebody came to a door.
#[derive(Clone, Debug)]
pub struct Knock {
    /// From where.
    pub from: IpAddr,
    /// The door's word: `rtsp`, `hls`, `webrtc`; nothing for the others.
    pub protocol: &'static str,
    /// Of the session or the connection, if there is one: a UUID.
    pub id: Option<String>,
    /// What stands behind the `?` of the URL. Tokens may stand in it.
    pub query: Secret,
}

impl Knock {
    /// At a door that has no word, without a URL.
    pub fn from(from: IpAddr) -> Self {
        Self { from, protocol: "", id: None, query: Secret::new("") }
    }
}

/// One question. What it shows of itself has no secrets.
#[derive(Clone, Debug)]
pub struct Question {
    pub(super) user: String,
    pub(super) password: Secret,
    pub(super) token: Secret,
    pub(super) deed: Deed,
    pub(super) knock: Knock,
}

/// As it goes over the wire. No `Debug`: secrets stand in it as they are.
#[derive(Serialize)]
struct Written<'a> {
    ip: String,
    user: &'a str,
    password: &'a str,
    token: &'a str,
    action: &'static str,
    path: &'a str,
    protocol: &'static str,
    id: Option<&'a str>,
    query: &'a str,
}

impl Question {
    /// The body of the request. It holds secrets: it goes nowhere else.
    pub fn to_json(&self) -> Vec<u8> {
        let written = Written {
            ip: self.knock.from.to_canonical().to_string(),
            user: &self.user,
            password: self.password.reveal(),
            token: self.token.reveal(),
            action: self.deed.word(),
            path: self.deed.path(),
            protocol: self.knock.protocol,
            id: self.knock.id.as_deref(),
            query: self.knock.query.reveal(),
        };
        serde_json::to_vec(&written).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_question_has_the_names_and_words_of_mediamtx_and_shows_no_secret() {
        let path: PathName = "site/cam".parse().unwrap();
        let table = [
            (Deed::on(Action::View, &path), "read", "site/cam"),
            (Deed::on(Action::Publish, &path), "publish", "site/cam"),
            (Deed::on(Action::Playback, &path), "playback", "site/cam"),
            (Deed::on(Action::Alerts, &path), "api", ""),
            (Deed::on(Action::Admin, &path), "api", ""),
            (Deed::Metrics, "metrics", ""),
        ];
        for (deed, action, named) in table {
            let knock = Knock { protocol: "hls", query: Secret::new("a=hunter2"), ..Knock::from([10, 0, 0, 9].into()) };
            let (password, token) = (Secret::new("hunter2"), Secret::new(""));
            let question = Question { user: "anna".into(), password, token, deed, knock };
            let written: Value = serde_json::from_slice(&question.to_json()).unwrap();
            let expected = json!({
                "ip": "10.0.0.9", "user": "anna", "password": "hunter2", "token": "", "action": action, "path": named,
                "protocol": "hls", "id": null, "query": "a=hunter2",
            });
            assert_eq!(written, expected);
            assert!(!format!("{question:?}").contains("hunter2"));
        }
    }

    #[test]
    fn no_yes_makes_an_administrator_or_shows_a_camera_that_was_not_asked_for() {
        for deed in [Deed::Api, Deed::Metrics] {
            let may = crate::auth::Permissions::new(&deed.permissions());
            assert!(may.allow_everywhere(Action::Stats));
            for action in [Action::Admin, Action::View, Action::Publish, Action::Playback] {
                assert!(!may.allow_somewhere(action), "{deed:?} {action:?}");
            }
        }
    }
}
