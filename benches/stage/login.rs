//! Somebody who is logged in and asks for the parts of a path, one after the other: what the gate decides each time.

use std::collections::BTreeMap;

use campanile::{
    auth::{Caller, Credential, Gate, Grant, Identity, TokenKey, User, View, password},
    base::{Clock, PathName, Secret},
    config::UserConfig,
};
use serde_json::json;

/// A gate, and what is shown to it.
pub(crate) struct Login {
    gate: Gate,
    path: PathName,
    peer: Caller,
    /// `Authorization` with a token.
    pub(crate) token: String,
    /// `Authorization` with a password.
    pub(crate) password: String,
}

impl Login {
    /// Both were shown once, and found right.
    pub(crate) async fn new() -> Self {
        const PASSWORD: &str = "correct horse";
        let hash = password::hash(&Secret::new(PASSWORD)).unwrap();
        let user = json!({
            "name": "anna", "password": hash.reveal(), "permissions": [
                { "action": "alerts" }, { "action": "view", "path": "yard/*" }, { "action": "view", "path": "house/**" },
            ],
        });
        let user: UserConfig = serde_json::from_value(user).unwrap();
        let gate = Gate::default();
        gate.set_users(vec![User::of_config(&user)], &BTreeMap::new());
        gate.set_keys(vec![TokenKey::random()]);
        let peer = Caller::direct("192.0.2.1:1".parse().unwrap());
        let shown = Credential::of_password("anna", PASSWORD).unwrap();
        let Identity::Known(known) = gate.identify(&shown, peer.peer.ip(), Clock.moment()).await.unwrap() else {
            panic!("the password is right");
        };
        let token = gate.open_session(&known, Clock.moment()).unwrap().access.token;
        let token = format!("Bearer {}", token.reveal());
        // "anna:correct horse"
        let password = "Basic YW5uYTpjb3JyZWN0IGhvcnNl".to_owned();
        let shown = Credential::of_header(token.as_bytes()).unwrap();
        assert!(matches!(gate.identify(&shown, peer.peer.ip(), Clock.moment()).await, Ok(Identity::Known(_))));
        Self { gate, path: "house/front-door".parse().unwrap(), peer, token, password }
    }

    /// From a header to a grant.
    pub(crate) fn decide(&self, header: &str) -> Grant<View> {
        let shown = Credential::of_header(header.as_bytes()).unwrap();
        let identity = self.gate.recall(&shown, self.peer.peer.ip(), Clock.moment()).expect("it was shown before");
        self.gate.check(&Caller { identity, ..self.peer.clone() }, &self.path).unwrap()
    }
}
