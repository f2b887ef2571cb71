//! What types cannot say about the section `webrtc`.

use std::net::IpAddr;

use super::{Complaints, MINUTE, ms, secs};
use crate::config::{BitRate, ByteSize, Config, IceServerConfig, IceServerUrl, tree::Route};

/// The most STUN and TURN servers, and the most public addresses: each costs every viewer time.
const LIST_MAX: usize = 16;

impl Config {
    pub(super) fn check_webrtc(&self, all: &mut Complaints) {
        let (at, webrtc) = (|key| Route::of(["webrtc", key]), &self.webrtc);
        all.range(at("start_burst"), webrtc.start_burst, ByteSize::from_bytes(0)..=ByteSize::from_mib(64));
        all.range(at("start_pace"), webrtc.start_pace, BitRate::from_mbit(1)..=BitRate::from_mbit(10_000));
        all.range(at("max_lag"), webrtc.max_lag, ms(200)..=MINUTE);
        for (key, count) in [("public_ips", webrtc.public_ips.len()), ("ice_servers", webrtc.ice_servers.len())] {
            if count > LIST_MAX {
                all.add(at(key), format!("expected {LIST_MAX} at most, found {count}"));
            }
        }
        for (i, ip) in webrtc.public_ips.iter().enumerate() {
            if !may_be_reached(*ip) {
                all.add(at("public_ips").then_index(i), format!("`{ip}` is an address nobody can be reached at"))
                    .hint_at("write the address that viewers send to, such as the router's");
            }
        }
        for (i, server) in webrtc.ice_servers.iter().enumerate() {
            check_ice_server(server, &at("ice_servers").then_index(i), all);
        }
    }
}

fn may_be_reached(ip: IpAddr) -> bool {
    let broadcast = matches!(ip, IpAddr::V4(four) if four.is_broadcast());
    !(ip.is_unspecified() || ip.is_multicast() || broadcast)
}

fn check_ice_server(server: &IceServerConfig, base: &Route, all: &mut Complaints) {
    let at = |key| base.then(key);
    if server.urls.as_slice().is_empty() {
        all.add(base.clone(), "the key `urls` is missing").with(at("urls")).hint_at("such as `stun:stun.example.org`");
        return;
    }
    let turn = server.urls.as_slice().iter().any(IceServerUrl::is_turn);
    if server.secret.is_some() && server.credential.is_some() {
        all.add(at("secret"), "`credential` is given as well: one of the two").with(at("credential"));
    }
    if server.credential.is_some() && server.username.is_none() {
        all.add(at("credential"), "a `credential` belongs to a `username`").with(at("username"));
    }
    if turn && server.credential.is_none() && server.secret.is_none() {
        all.add(base.clone(), "a TURN server wants a login")
            .with(at("urls"))
            .with(at("credential"))
            .with(at("secret"))
            .hint_at("give `username` and `credential`, or `secret`, the one shared with the TURN server");
    }
    if !turn && (server.credential.is_some() || server.secret.is_some()) {
        all.add(base.clone(), "a STUN server takes no login").with(at("urls")).with(at("credential"));
    }
    all.range(at("ttl"), server.ttl, secs(60)..=secs(30 * 86_400));
}
