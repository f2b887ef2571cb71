//! The STUN and TURN servers that viewers are told of, with logins made when they are asked for (TURN REST API,
//! draft-uberti-behave-turn-rest-00 §2.2). Sans-IO: the time comes in.

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::STANDARD};

use super::IceServer;
use crate::{
    base::WallTime,
    config::{IceServerConfig, IceServerUrl},
};

/// The servers of the file, with logins that are valid from `now` on.
pub fn ice_servers(config: &[IceServerConfig], now: WallTime) -> Vec<IceServer> {
    config.iter().map(|server| ice_server(server, now)).collect()
}

fn ice_server(config: &IceServerConfig, now: WallTime) -> IceServer {
    let urls = config.urls.as_slice().iter().map(|url| url.as_str().to_owned()).collect();
    let turn = config.urls.as_slice().iter().any(IceServerUrl::is_turn);
    let (username, credential) = match (&config.secret, &config.credential) {
        _ if !turn => (None, None),
        (Some(secret), _) => {
            // §2.2: when the login ends, and whoever it is for.
            let ends = now.unix_millis().div_euclid(1000) + (config.ttl.as_millis() / 1000) as i64;
            let username = match &config.username {
                Some(name) => format!("{ends}:{name}"),
                None => ends.to_string(),
            };
            // The draft says SHA-1; as the key of an HMAC it is as good as ever.
            let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.reveal().as_bytes());
            let tag = hmac::sign(&key, username.as_bytes());
            (Some(username), Some(STANDARD.encode(tag)))
        }
        (None, credential) => (config.username.clone(), credential.as_ref().map(|secret| secret.reveal().to_owned())),
    };
    IceServer { urls, username, credential }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{base::Secret, config::HumanDuration};

    fn config(url: &str) -> IceServerConfig {
        IceServerConfig { urls: [url.parse().unwrap()].into_iter().collect(), ..IceServerConfig::default() }
    }

    #[test]
    fn a_login_is_made_for_the_time_it_is_asked_for() {
        let entry = IceServerConfig {
            username: Some("mbzrxpgjys".into()),
            secret: Some(Secret::new("north")),
            ttl: HumanDuration::from_secs(86_400),
            ..config("turn:turn.example.org")
        };
        let found = ice_servers(&[entry], WallTime::from_unix_nanos(1_433_808_846_500_000_000));
        // printf 1433895246:mbzrxpgjys | openssl dgst -sha1 -hmac north -binary | base64
        assert_eq!(found[0].username.as_deref(), Some("1433895246:mbzrxpgjys"));
        assert_eq!(found[0].credential.as_deref(), Some("ZQlb10TfDgcOBiAkV3H+tLc7DSQ="));
    }

    #[test]
    fn fixed_logins_are_passed_on_and_stun_has_none() {
        let turn = IceServerConfig {
            username: Some("u".into()),
            credential: Some(Secret::new("p")),
            ..config("turn:turn.example.org")
        };
        let found = ice_servers(&[turn, config("stun:stun.example.org")], WallTime::from_unix_nanos(0));
        let login = |server: &IceServer| (server.username.clone(), server.credential.clone());
        assert_eq!(login(&found[0]), (Some("u".into()), Some("p".into())));
        assert_eq!(login(&found[1]), (None, None));
    }
}
