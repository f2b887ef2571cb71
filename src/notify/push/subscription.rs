//! One browser that wants to be told: where its push service takes messages, its keys, and what it wants to hear of.
//! Values and their checks. Sans-IO.

use std::fmt;

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use url::{Host, Url};

use super::message::{AUTH, POINT, Receiver};
use crate::{
    base::{Error, Kind, PathName, Result, Severity, WallTime},
    events::alarms::{Notice, Reason},
};

/// The longest endpoint. Those of the browsers have 150 to 500 bytes.
const ENDPOINT_MAX: usize = 2_000;
/// Cameras one subscription names.
const PATHS_MAX: usize = 64;
/// The longest label, in characters.
const LABEL_MAX: usize = 100;

/// Browsers leave the padding out, libraries do not.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a browser asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Alerts at least as bad as this.
    pub severity: Severity,
    /// Alerts about these cameras; about everything if there are none.
    pub paths: Vec<PathName>,
    /// What people call the device.
    pub label: Option<String>,
}

/// What a browser brings, as its `PushSubscription` says it, and for which key of ours.
#[derive(Clone, Copy, Debug)]
pub struct Brought<'a> {
    /// Where its push service takes messages.
    pub endpoint: &'a str,
    /// Its public key, base64url.
    pub p256dh: &'a str,
    /// Its secret, base64url.
    pub auth: &'a str,
}

/// A browser's subscription. Its endpoint is a capability (RFC 8030 §8.3): it is shown to nobody.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// Its name: the same whenever the browser brings the same endpoint.
    pub id: String,
    endpoint: String,
    /// The origin of its push service, which may be shown.
    pub service: String,
    p256dh: String,
    auth: String,
    /// The public key of ours that the browser was given: its push service takes nothing signed by another.
    pub(super) server_key: String,
    /// Alerts at least as bad as this.
    pub severity: Severity,
    /// Alerts about these cameras; about everything if there are none.
    pub paths: Vec<PathName>,
    /// What people call the device.
    pub label: Option<String>,
    /// When it came, in nanoseconds since the Unix epoch.
    pub since: i64,
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("id", &self.id).field("service", &self.service).finish_non_exhaustive()
    }
}

impl Subscription {
    /// What a browser brought, checked. A push service has a name in the Internet, unless `allow_private`: whoever may
    /// subscribe may not send us to the machines behind us. What the name stands for is looked at with each message.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`], naming the field.
    pub fn new(brought: Brought<'_>, wish: Wish, server_key: &str, allow_private: bool, now: WallTime) -> Result<Self> {
        let Brought { endpoint, p256dh, auth } = brought;
        let url = Url::parse(endpoint).ok().filter(|_| endpoint.len() <= ENDPOINT_MAX);
        let url = url.ok_or_else(|| unfit("endpoint", "it is no URL of at most 2000 bytes"))?;
        // RFC 8030 §8: a push service is spoken to over TLS.
        if url.scheme() != "https" || url.host_str().is_none_or(str::is_empty) {
            return Err(unfit("endpoint", "it is no https URL"));
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err(unfit("endpoint", "it has a user, a password or a fragment"));
        }
        let public = match url.host() {
            Some(Host::Domain(name)) => {
                let name = name.trim_end_matches('.');
                name.contains('.') && !name.ends_with(".localhost")
            }
            _ => false,
        };
        if !public && !allow_private {
            return Err(unfit("endpoint", "its host is no name in the Internet"));
        }
        if wish.paths.len() > PATHS_MAX {
            return Err(unfit("paths", "there are at most 64"));
        }
        let id = Sha256::digest(url.as_str()).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let label = wish.label.map(|label| label.chars().filter(|c| !c.is_control()).take(LABEL_MAX).collect());
        let subscription = Self {
            id,
            service: url.origin().ascii_serialization(),
            endpoint: url.into(),
            p256dh: p256dh.to_owned(),
            auth: auth.to_owned(),
            server_key: server_key.to_owned(),
            severity: wish.severity,
            paths: wish.paths,
            label: label.filter(|label: &String| !label.is_empty()),
            since: now.unix_nanos(),
        };
        subscription.receiver()?;
        Ok(subscription)
    }

    /// Where its messages go.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`]: nowhere. A kept subscription was checked when it came.
    pub fn endpoint(&self) -> Result<Url> {
        Url::parse(&self.endpoint).map_err(|error| unfit("endpoint", error))
    }

    /// Its keys.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`]: they are none. A kept subscription was checked when it came.
    pub fn receiver(&self) -> Result<Receiver> {
        let point = decode(&self.p256dh, POINT).ok_or_else(|| unfit("keys.p256dh", "it is no key of 65 bytes"))?;
        let auth = decode(&self.auth, AUTH).and_then(|auth| <[u8; AUTH]>::try_from(auth).ok());
        let auth = auth.ok_or_else(|| unfit("keys.auth", "it is no secret of 16 bytes"))?;
        Receiver::new(&point, auth).map_err(|error| unfit("keys.p256dh", error))
    }

    /// Whether it wants to hear of this: of a bundle, if of one in it.
    pub fn wants(&self, notice: &Notice) -> bool {
        let about =
            || notice.alerts.iter().filter_map(|alert| alert.path.as_ref()).any(|path| self.paths.contains(path));
        notice.reason == Reason::Test || notice.severity >= self.severity && (self.paths.is_empty() || about())
    }
}

fn decode(text: &str, length: usize) -> Option<Vec<u8>> {
    // A longer text is not looked at.
    let text = Some(text).filter(|text| text.len() <= length * 2)?;
    BASE64URL.decode(text).ok().filter(|bytes| bytes.len() == length)
}

fn unfit(field: &str, why: impl fmt::Display) -> Error {
    Error::new(Kind::InvalidArgument, format!("{field}: {why}")).with_code("invalid_body")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::tests::notice;

    /// The receiver of RFC 8291 §5.
    const P256DH: &str = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
    const SECRET: &str = "BTBZMqHH6r4Tts7J_aSIgg";

    fn subscribe(endpoint: &str, p256dh: &str, auth: &str, wish: Wish) -> Result<Subscription> {
        let brought = Brought { endpoint, p256dh, auth };
        Subscription::new(brought, wish, "ours", false, WallTime::from_unix_nanos(5))
    }

    #[test]
    fn what_a_browser_brings_is_taken_and_known_again() {
        let one = subscribe("https://push.example/abc", P256DH, SECRET, Wish::default()).unwrap();
        let padded = format!("{SECRET}==");
        let wish = Wish { severity: Severity::Critical, label: Some("My\u{7} phone".into()), ..Wish::default() };
        let two = subscribe("https://push.example/abc", P256DH, &padded, wish).unwrap();
        assert_eq!((&one.id, one.id.len()), (&two.id, 16));
        assert_eq!(two.label.as_deref(), Some("My phone"));
        assert_eq!(one.service, "https://push.example");
        let kept: Subscription = serde_json::from_str(&serde_json::to_string(&two).unwrap()).unwrap();
        assert_eq!(kept, two);
        let shown = format!("{two:?}");
        assert!(!shown.contains("abc") && !shown.contains(SECRET), "{shown}");
    }

    #[test]
    fn what_is_no_subscription_is_refused_by_field() {
        let long = format!("https://push.example/{}", "x".repeat(ENDPOINT_MAX));
        let mut off_curve = BASE64URL.decode(P256DH).unwrap();
        off_curve[64] ^= 1;
        let off_curve = BASE64URL.encode(off_curve);
        let table = [
            ("endpoint", "http://push.example/a", P256DH, SECRET),
            ("endpoint", "https://user@push.example/a", P256DH, SECRET),
            ("endpoint", "https://push.example/a#b", P256DH, SECRET),
            ("endpoint", "nonsense", P256DH, SECRET),
            ("endpoint", &long, P256DH, SECRET),
            ("keys.p256dh", "https://push.example/a", SECRET, SECRET),
            ("keys.p256dh", "https://push.example/a", &off_curve, SECRET),
            ("keys.p256dh", "https://push.example/a", &"A".repeat(5000), SECRET),
            ("keys.auth", "https://push.example/a", P256DH, P256DH),
            ("keys.auth", "https://push.example/a", P256DH, ""),
        ];
        for (field, endpoint, p256dh, auth) in table {
            let error = subscribe(endpoint, p256dh, auth, Wish::default()).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidArgument);
            assert!(error.message().starts_with(&format!("{field}: ")), "{endpoint} {p256dh} {auth}: {error}");
        }
        let paths = (0..=PATHS_MAX).map(|n| format!("cam{n}").parse().unwrap()).collect();
        let error = subscribe("https://p.example/", P256DH, SECRET, Wish { paths, ..Wish::default() });
        assert!(error.unwrap_err().message().starts_with("paths: "));
    }

    #[test]
    fn nobody_sends_us_to_the_machines_behind_us() {
        for host in [
            "127.0.0.1",
            "[::1]",
            "10.0.0.1:8443",
            "2130706433",
            "localhost",
            "a.localhost.",
            "router",
            "169.254.169.254",
        ] {
            let endpoint = format!("https://{host}/p");
            let error = subscribe(&endpoint, P256DH, SECRET, Wish::default()).unwrap_err();
            assert!(error.message().starts_with("endpoint: its host"), "{host}: {error}");
            let brought = Brought { endpoint: &endpoint, p256dh: P256DH, auth: SECRET };
            let now = WallTime::from_unix_nanos(5);
            assert!(Subscription::new(brought, Wish::default(), "ours", true, now).is_ok(), "{host}, if that is meant");
        }
    }

    #[test]
    fn a_subscription_hears_of_what_it_asked_for() {
        let wish = Wish { severity: Severity::Warning, paths: vec!["gate".parse().unwrap()], ..Wish::default() };
        let some = subscribe("https://push.example/a", P256DH, SECRET, wish).unwrap();
        let of = |paths: &[&str], severity| {
            let alerts: Vec<_> = paths.iter().map(|path| ("door", *path)).collect();
            notice(Reason::Raised, 0, &alerts, severity)
        };
        assert!(some.wants(&of(&["gate"], Severity::Critical)));
        assert!(some.wants(&of(&["yard", "gate"], Severity::Warning)), "one of a bundle");
        assert!(!some.wants(&of(&["gate"], Severity::Info)));
        assert!(!some.wants(&of(&["yard"], Severity::Critical)));
        assert!(!some.wants(&of(&[""], Severity::Critical)));
        assert!(some.wants(&notice(Reason::Test, 0, &[("test", "")], Severity::Info)), "a test is for everybody");
        let all = subscribe("https://push.example/a", P256DH, SECRET, Wish::default()).unwrap();
        assert!(all.wants(&of(&[""], Severity::Info)));
    }
}
