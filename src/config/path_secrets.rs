//! What is secret in an entry of `paths`: how a store keeps it, and how it comes back from somebody who was shown `***`. Who
//! may change an entry may not learn its password by sending it to a host of their own: with another camera or another user
//! it has to be written out again.

use serde_json::{Value, json};

use super::{PathConfig, Source, SubConfig};
use crate::base::{Secret, secret::MASK};

/// A secret that was shown as `***`, and is not known for what it stands beside now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}: it was shown as `***`; write it out, since the camera or its user is another one")]
pub struct Unknown(&'static str);

/// The parts of a rendition in which secrets stand.
struct Login<'a> {
    source: Option<&'a Source>,
    username: Option<&'a str>,
    password: Option<&'a Secret>,
}

impl<'a> Login<'a> {
    fn of_main(config: &'a PathConfig) -> Self {
        let PathConfig { source, username, password, .. } = config;
        Self { source: source.as_ref(), username: username.as_deref(), password: password.as_ref() }
    }

    fn of_sub(sub: &'a SubConfig) -> Self {
        let SubConfig { source, username, password, .. } = sub;
        Self { source: source.as_ref(), username: username.as_deref(), password: password.as_ref() }
    }

    /// The source that was shown like this one, secrets and all.
    fn source_shown_as(&self, source: &Source) -> Option<Source> {
        self.source.filter(|known| known.to_string() == source.to_string()).cloned()
    }

    /// The password, for the same user of the same host and no weaker a way there.
    fn password_for(&self, source: Option<&Source>, username: Option<&str>) -> Option<Secret> {
        let origin = |source: &Source| match source {
            Source::Camera(url) => {
                url.url(None).map(|url| (url.scheme().to_owned(), url.host_str().map(str::to_owned), url.port()))
            }
            Source::Demo | Source::Publisher => None,
        };
        let same = self.source.and_then(origin) == source.and_then(origin) && self.username == username;
        self.password.filter(|_| same).cloned()
    }
}

fn is_mask(password: Option<&Secret>) -> bool {
    password.is_some_and(|password| password.reveal() == MASK)
}

impl PathConfig {
    /// The entry as JSON with its secrets written out, for a store that nobody else reads. Reading it gives the same entry.
    pub fn to_stored(&self) -> Value {
        let mut stored = serde_json::to_value(self).unwrap_or_default();
        write_out(&mut stored, &Login::of_main(self));
        if let Some(sub) = &self.sub {
            let shown = stored["sub"].take();
            // A URL alone is short for an object.
            let mut object = if shown.is_object() { shown } else { json!({}) };
            write_out(&mut object, &Login::of_sub(sub));
            stored["sub"] = object;
        }
        stored
    }

    /// Puts what `before` knows in the place of every `***`.
    ///
    /// # Errors
    /// It is not known, or stands beside something else now.
    pub fn restore_secrets(&mut self, before: Option<&Self>) -> Result<(), Unknown> {
        let main = before.map(Login::of_main);
        if let Some(source) = self.source.as_mut().filter(|source| source.is_masked()) {
            *source = main.as_ref().and_then(|main| main.source_shown_as(source)).ok_or(Unknown("source"))?;
        }
        if is_mask(self.password.as_ref()) {
            let known = main.and_then(|main| main.password_for(self.source.as_ref(), self.username.as_deref()));
            self.password = Some(known.ok_or(Unknown("password"))?);
        }
        let Some(sub) = &mut self.sub else { return Ok(()) };
        let known = before.and_then(|before| before.sub.as_ref()).map(Login::of_sub);
        if let Some(source) = sub.source.as_mut().filter(|source| source.is_masked()) {
            *source = known.as_ref().and_then(|known| known.source_shown_as(source)).ok_or(Unknown("sub.source"))?;
        }
        if is_mask(sub.password.as_ref()) {
            let known = known.and_then(|known| known.password_for(sub.source.as_ref(), sub.username.as_deref()));
            sub.password = Some(known.ok_or(Unknown("sub.password"))?);
        }
        Ok(())
    }
}

fn write_out(stored: &mut Value, login: &Login<'_>) {
    if let Some(Source::Camera(url)) = login.source {
        stored["source"] = json!(url.written_out());
    }
    if let Some(password) = login.password {
        stored["password"] = json!(password.reveal());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(json: Value) -> PathConfig {
        let mut entry: PathConfig = serde_json::from_value(json).unwrap();
        entry.take_credentials();
        entry
    }

    #[test]
    fn what_is_stored_is_the_entry_with_its_secrets_and_what_is_shown_is_not() {
        for json in [
            json!({ "source": "demo" }),
            json!({ "source": "rtsp://anna:hunter2@10.0.0.5/1?password=swordfish&x=1", "title": "Door" }),
            json!({ "source": "rtsp://10.0.0.5/1", "username": "a", "password": "hunter2",
                    "sub": "rtsp://b:swordfish@10.0.0.5/2" }),
            json!({ "source": "rtsps://10.0.0.5/1", "sub": { "source": "rtsp://10.0.0.5/2?pwd=hunter2", "transport": "udp" } }),
        ] {
            let written = entry(json);
            let stored = written.to_stored();
            assert_eq!(entry(stored.clone()), written, "{stored}");
            let shown = serde_json::to_string(&written).unwrap();
            assert!(!shown.contains("hunter2") && !shown.contains("swordfish"), "{shown}");
        }
    }

    #[test]
    fn a_mask_is_what_it_was_as_long_as_camera_and_user_stay() {
        let before = entry(json!({
            "source": "rtsp://anna:hunter2@10.0.0.5/1?token=swordfish",
            "sub": { "source": "rtsp://bert:sesame@10.0.0.5:99/2" },
        }));
        let shown = serde_json::to_value(&before).unwrap();
        assert!(shown["password"] == "***" && shown["sub"]["password"] == "***", "{shown}");
        let mut again = entry(shown);
        again.restore_secrets(Some(&before)).unwrap();
        assert_eq!(again, before, "shown, sent back, and the same");

        // The stream may be another one of the same camera.
        let mut moved = entry(json!({ "source": "rtsp://10.0.0.5/7", "username": "anna", "password": "***" }));
        moved.restore_secrets(Some(&before)).unwrap();
        assert_eq!(moved.password.unwrap().reveal(), "hunter2");
        for (what, key) in [
            (json!({ "source": "rtsp://10.0.0.6/1", "username": "anna", "password": "***" }), "password"),
            (json!({ "source": "rtsp://10.0.0.5:8554/1", "username": "anna", "password": "***" }), "password"),
            (json!({ "source": "rtsps://10.0.0.5/1", "username": "anna", "password": "***" }), "password"),
            (json!({ "source": "rtsp://10.0.0.5/1", "username": "bert", "password": "***" }), "password"),
            (json!({ "source": "demo", "username": "anna", "password": "***" }), "password"),
            (json!({ "source": "rtsp://10.0.0.6/1?token=***" }), "source"),
            (
                json!({ "source": "demo", "sub": { "source": "rtsp://10.0.0.6/2", "username": "bert", "password": "***" } }),
                "sub.password",
            ),
            (json!({ "source": "demo", "sub": "rtsp://10.0.0.6/2?pwd=***" }), "sub.source"),
        ] {
            let error = entry(what.clone()).restore_secrets(Some(&before)).unwrap_err();
            assert_eq!(error, Unknown(key), "{what}");
        }
        let new = entry(json!({ "source": "rtsp://10.0.0.5/1", "password": "***" })).restore_secrets(None);
        assert_eq!(new, Err(Unknown("password")));
    }
}
