//! What the server says of itself at `/api/v1/info`: its open doors, what it can do, and what an operator should know.

use std::sync::Arc;

use super::addresses::{Addresses, reachable};
use crate::{
    base::Clock,
    config::{AuthConfig, Config, rtsp::RtspStart, rtsp::RtspTransport},
    http::{OpenDoor, ServerInfo, Warning},
};

/// What it can do beyond the doors, in words that stay; `docs/protocols.md` lists them.
fn capabilities(config: &Config, addresses: &Addresses) -> Arc<[String]> {
    let rtsp = |transport| config.rtsp.transports.contains(&transport);
    let table = [
        ("on_demand", true),
        ("renditions", true),
        ("instant_start", config.rtsp.start == RtspStart::Instant),
        ("low_latency_hls", config.hls.enabled),
        ("events_websocket", config.events.websocket),
        ("events_sse", config.events.server_sent),
        ("events_long_poll", config.events.long_poll),
        ("events_graphql", config.events.graphql),
        ("events_ingest", config.events.ingest),
        ("rtsp_tcp", rtsp(RtspTransport::Tcp)),
        ("rtsp_udp", rtsp(RtspTransport::Udp)),
        ("rtsp_http_tunnel", config.rtsp.http_tunnel),
        ("http2", !addresses.of("https").is_empty()),
    ];
    table.into_iter().filter(|(_, can)| *can).map(|(name, _)| name.to_owned()).collect()
}

/// What the server says of itself: its doors, and what an operator should know.
pub(super) fn of(config: &Config, addresses: &Addresses, clock: Clock) -> ServerInfo {
    let urls = |listener: &str, path: &str| -> Vec<String> {
        let url = |address: &std::net::SocketAddr| format!("{listener}://{}{path}", reachable(*address));
        addresses.of(listener).iter().map(url).collect()
    };
    let web = |path: &str| [urls("http", path), urls("https", path)].concat();
    let mut doors =
        vec![("page", web("/{path}/")), ("rtsp", urls("rtsp", "/{path}")), ("rtsps", urls("rtsps", "/{path}"))];
    if config.hls.enabled {
        doors.push(("hls", web("/{path}/index.m3u8")));
    }
    if !config.webrtc.address.is_off() {
        doors.push(("whep", web("/{path}/whep")));
    }
    doors.push(("api", web("/api/v1")));
    if config.events.websocket {
        let sockets = web("/ws/events").iter().map(|url| url.replacen("http", "ws", 1)).collect();
        doors.push(("websocket", sockets));
    }
    if config.events.server_sent {
        doors.push(("events", web("/stream/events")));
    }
    if config.events.graphql {
        doors.push(("graphql", web("/graphql")));
    }
    let doors = doors.into_iter().filter(|(_, urls)| !urls.is_empty());
    let mut warnings = Vec::new();
    if config.auth == AuthConfig::Off {
        let message = if addresses.are_open() {
            "auth is off and a listener is open to other machines: whoever reaches it may do everything"
        } else {
            "auth is off: every program on this machine, and every page in its browsers, may do everything"
        };
        warnings.push(Warning { code: "auth_off".into(), message: message.into() });
    }
    ServerInfo {
        started: clock.wall(),
        started_at: clock.now(),
        default_path: config.default_path.clone().or_else(|| config.paths.names().next().cloned()),
        doors: doors.map(|(name, urls)| OpenDoor { name: name.into(), urls }).collect(),
        capabilities: capabilities(config, addresses),
        warnings: warnings.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_those_that_the_configuration_leaves() {
        let mut addresses = Addresses::default();
        let mut config = Config::default();
        let all = capabilities(&config, &addresses);
        let names = [
            "on_demand",
            "renditions",
            "instant_start",
            "low_latency_hls",
            "events_websocket",
            "events_sse",
            "events_long_poll",
            "events_graphql",
            "events_ingest",
            "rtsp_tcp",
            "rtsp_udp",
            "rtsp_http_tunnel",
        ];
        assert_eq!(all.iter().map(String::as_str).collect::<Vec<_>>(), names);
        let told = std::fs::read_to_string("docs/protocols.md").unwrap();
        assert!(names.iter().chain(&["http2"]).all(|name| told.contains(&format!("`{name}`"))));
        config.hls.enabled = false;
        (config.events.websocket, config.events.server_sent) = (false, false);
        (config.events.long_poll, config.events.ingest, config.events.graphql) = (false, false, false);
        config.rtsp.transports.remove(&RtspTransport::Udp);
        config.rtsp.start = RtspStart::Live;
        addresses.insert("https", ["127.0.0.1:1".parse().unwrap()]);
        let rest = capabilities(&config, &addresses);
        assert_eq!(
            rest.iter().map(String::as_str).collect::<Vec<_>>(),
            ["on_demand", "renditions", "rtsp_tcp", "rtsp_http_tunnel", "http2"]
        );
    }
}
