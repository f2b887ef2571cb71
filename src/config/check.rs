//! What types cannot say: ranges, and keys that are right alone and wrong together. It looks at values only, so that
//! the API's edits are held to the same rules as the file.

mod acme;
mod auth;
pub(super) mod notify;
mod path;
pub(super) mod rules;
mod sensors;
mod webrtc;

use std::{fmt::Display, net::SocketAddr, ops::RangeInclusive};

use super::{ByteSize, Config, Hsts, HumanDuration, ListenAddresses, PathKey, RtspTransport, tree::Route};

/// One rule that is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    pub(super) route: Route,
    /// The other keys that have a part in it.
    pub(super) with: Vec<Route>,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Complaint {
    /// The key, dotted.
    pub fn key(&self) -> String {
        self.route.to_string()
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What can be done about it.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

/// Complaints as they are found.
#[derive(Default)]
pub(super) struct Complaints(pub(super) Vec<Complaint>);

impl Complaints {
    fn add(&mut self, route: Route, message: impl Into<String>) -> &mut Complaint {
        self.0.push(Complaint { route, with: Vec::new(), message: message.into(), hint: None });
        let last = self.0.len() - 1;
        &mut self.0[last]
    }

    fn range<T: PartialOrd + Display + Copy>(&mut self, route: Route, value: T, range: RangeInclusive<T>) {
        if !range.contains(&value) {
            self.add(route, format!("expected {} to {}, found `{value}`", range.start(), range.end()));
        }
    }
}

impl Complaint {
    fn with(&mut self, route: Route) -> &mut Self {
        self.with.push(route);
        self
    }

    fn hint_at(&mut self, hint: impl Into<String>) {
        self.hint = Some(hint.into());
    }
}

const fn ms(ms: u64) -> HumanDuration {
    HumanDuration::from_millis(ms)
}

const fn secs(seconds: u64) -> HumanDuration {
    HumanDuration::from_secs(seconds)
}

const DAY: HumanDuration = secs(86_400);
const HOUR: HumanDuration = secs(3_600);
const MINUTE: HumanDuration = secs(60);

/// The most regular expressions among the paths.
const PATTERNS_MAX: usize = 1000;

/// The ranges of plain numbers; the schema states the same, and a test compares them.
pub(super) const CONNECTIONS: RangeInclusive<u32> = 1..=1_000_000;
pub(super) const SEGMENTS: RangeInclusive<u32> = 3..=1000;
pub(super) const GRAPHQL_DEPTH: RangeInclusive<u32> = 1..=32;
pub(super) const DYNAMIC_PATHS: RangeInclusive<u32> = 1..=100_000;
pub(super) const SENSORS: RangeInclusive<u32> = 0..=10_000;

impl Config {
    /// Everything that is wrong with these values. What can only be known from the machine (files, ports in use) is
    /// not looked at.
    pub fn check(&self) -> Vec<Complaint> {
        let mut complaints = Complaints::default();
        let all = &mut complaints;
        if self.state_dir.as_os_str().is_empty() {
            all.add(Route::of(["state_dir"]), "expected the path of a directory, found nothing");
        }
        all.range(Route::of(["drain"]), self.drain, ms(0)..=MINUTE);
        self.check_default_path(all);
        self.check_http(all);
        self.check_rtsp(all);
        self.check_acme(all);
        self.check_webrtc(all);
        self.check_hls(all);
        self.check_auth(all);
        self.check_events(all);
        self.check_limits(all);
        self.check_sensors(all);
        self.check_mqtt(all);
        self.check_rules(all);
        self.check_notify(all);
        self.check_listeners(all);
        let patterns = self.paths.iter().filter(|(key, _)| matches!(key, PathKey::Pattern(_))).count();
        if patterns > PATTERNS_MAX {
            let message =
                format!("{patterns} regular expressions, {PATTERNS_MAX} at most: each is tried for every new name");
            all.add(Route::of(["paths"]), message);
        }
        for (key, path) in self.paths.iter() {
            self.check_path(key, path, all);
        }
        complaints.0
    }

    fn check_default_path(&self, all: &mut Complaints) {
        let Some(name) = &self.default_path else { return };
        let known = self.paths.iter().any(|(key, _)| key.fits(name));
        if !known {
            let names: Vec<_> = self.paths.names().map(|name| name.as_str()).collect();
            let complaint = all.add(Route::of(["default_path"]), format!("no path has the name `{name}`"));
            complaint.with(Route::of(["paths", name.as_str()]));
            if let Some(meant) = super::problem::meant(name.as_str(), names) {
                complaint.hint_at(format!("did you mean `{meant}`?"));
            }
        }
    }

    fn check_http(&self, all: &mut Complaints) {
        let (at, http) = (|key| Route::of(["http", key]), &self.http);
        if let Hsts::For(span) = http.hsts {
            all.range(at("hsts"), span, MINUTE..=secs(2 * 365 * 86_400));
        }
        all.range(at("max_connections"), http.max_connections, CONNECTIONS);
        all.range(at("header_timeout"), http.header_timeout, ms(100)..=secs(300));
        all.range(at("idle_timeout"), http.idle_timeout, ms(100)..=HOUR);
        all.range(at("write_timeout"), http.write_timeout, ms(100)..=secs(300));
        all.range(at("max_header_size"), http.max_header_size, ByteSize::from_kib(8)..=ByteSize::from_mib(1));
        all.range(at("max_body_size"), http.max_body_size, ByteSize::from_kib(1)..=ByteSize::from_mib(64));
    }

    fn check_rtsp(&self, all: &mut Complaints) {
        let (at, rtsp) = (|key| Route::of(["rtsp", key]), &self.rtsp);
        if rtsp.transports.is_empty() {
            all.add(at("transports"), "expected at least one of `tcp`, `udp`, found none")
                .hint_at("to serve no RTSP at all, write `address: off`");
        }
        match rtsp.udp_ports.0 {
            [0, 0] => {}
            [rtp, rtcp] if rtp != 0 && rtp % 2 == 0 && rtcp == rtp + 1 => {}
            // RFC 3550 §11
            [rtp, rtcp] => {
                all.add(at("udp_ports"), format!("expected an even port and the next one, found `[{rtp}, {rtcp}]`"))
                    .hint_at("such as `[8000, 8001]`, or `[0, 0]` for any free pair");
            }
        }
        if rtsp.tls.is_some() && rtsp.tls_address.is_off() {
            all.add(at("tls"), "the certificate is used nowhere: `rtsp.tls_address` is off").with(at("tls_address"));
        }
        all.range(at("session_timeout"), rtsp.session_timeout, secs(1)..=HOUR);
        all.range(at("write_timeout"), rtsp.write_timeout, ms(100)..=secs(300));
        all.range(at("request_timeout"), rtsp.request_timeout, ms(100)..=secs(300));
        all.range(at("max_lag"), rtsp.max_lag, ms(200)..=MINUTE);
        all.range(at("start_burst"), rtsp.start_burst, ByteSize::from_bytes(0)..=ByteSize::from_mib(256));
        all.range(at("max_connections"), rtsp.max_connections, CONNECTIONS);
    }

    fn check_hls(&self, all: &mut Complaints) {
        let (at, hls) = (|key| Route::of(["hls", key]), &self.hls);
        all.range(at("part"), hls.part, ms(50)..=secs(2));
        all.range(at("segment"), hls.segment, ms(500)..=secs(30));
        all.range(at("target_duration"), hls.target_duration, secs(1)..=MINUTE);
        all.range(at("segments"), hls.segments, SEGMENTS);
        all.range(at("max_size"), hls.max_size, ByteSize::from_mib(1)..=ByteSize::from_mib(4096));
        all.range(at("close_after"), hls.close_after, secs(1)..=DAY);
        if hls.part > hls.segment {
            let message = format!("a part of {} is longer than a segment of {}", hls.part, hls.segment);
            all.add(at("part"), message).with(at("segment"));
        }
        if hls.segment > hls.target_duration {
            let message =
                format!("a target duration of {} is shorter than a segment of {}", hls.target_duration, hls.segment);
            all.add(at("target_duration"), message).with(at("segment"));
        }
        if hls.always_on && !hls.enabled {
            all.add(at("always_on"), "HLS is switched off: nothing is cut").with(at("enabled"));
        }
    }

    fn check_events(&self, all: &mut Complaints) {
        let (at, events) = (|key| Route::of(["events", key]), &self.events);
        all.range(at("max_age"), events.max_age, MINUTE..=secs(10 * 365 * 86_400));
        all.range(at("max_size"), events.max_size, ByteSize::from_mib(1)..=ByteSize::from_mib(1 << 20));
        all.range(at("heartbeat"), events.heartbeat, secs(1)..=secs(300));
        all.range(at("max_followers"), events.max_followers, CONNECTIONS);
        all.range(at("graphql_max_depth"), events.graphql_max_depth, GRAPHQL_DEPTH);
        all.range(at("graphql_max_complexity"), events.graphql_max_complexity, CONNECTIONS);
        all.range(at("max_posts_per_second"), events.max_posts_per_second, CONNECTIONS);
    }

    fn check_limits(&self, all: &mut Complaints) {
        let (at, limits) = (|key| Route::of(["limits", key]), &self.limits);
        all.range(at("sessions"), limits.sessions, CONNECTIONS);
        all.range(at("sessions_per_path"), limits.sessions_per_path, CONNECTIONS);
        all.range(at("sessions_per_address"), limits.sessions_per_address, CONNECTIONS);
        all.range(at("followers_per_user"), limits.followers_per_user, CONNECTIONS);
        all.range(at("followers_per_address"), limits.followers_per_address, CONNECTIONS);
        all.range(at("connections_per_address"), limits.connections_per_address, CONNECTIONS);
        all.range(at("requests_per_address"), limits.requests_per_address, CONNECTIONS);
        all.range(at("requests_per_user"), limits.requests_per_user, CONNECTIONS);
        all.range(at("dynamic_paths"), limits.dynamic_paths, DYNAMIC_PATHS);
        all.range(at("sensors"), limits.sensors, SENSORS);
    }

    /// Two TCP listeners on one port: the second one would fail to start.
    fn check_listeners(&self, all: &mut Complaints) {
        let off = ListenAddresses::off();
        let tls = if self.rtsp.tls.is_some() { &self.rtsp.tls_address } else { &off };
        let ice_tcp = if self.webrtc.tcp { &self.webrtc.address } else { &off };
        let listeners: [([&str; 2], &ListenAddresses); 5] = [
            (["http", "address"], &self.http.address),
            (["rtsp", "address"], &self.rtsp.address),
            (["rtsp", "tls_address"], tls),
            (["webrtc", "address"], ice_tcp),
            (["acme", "http_address"], &self.acme.http_address),
        ];
        let mut taken: Vec<([&str; 2], SocketAddr)> = Vec::new();
        for (key, addresses) in listeners {
            for address in addresses {
                if let Some((other, first)) = taken.iter().find(|(_, first)| clash(*first, address)) {
                    let message = if *other == key {
                        format!("`{first}` and `{address}` overlap")
                    } else {
                        format!("`{address}` overlaps with `{first}` of `{}`", other.join("."))
                    };
                    all.add(Route::of(key), message)
                        .with(Route::of(*other))
                        .hint_at("give each listener a port of its own, or port 0 for any free one");
                } else {
                    taken.push((key, address));
                }
            }
        }
        self.check_udp_listeners(all);
    }

    /// The pair of RTSP stands at every address of RTSP, and WebRTC has one UDP socket at each of its own.
    fn check_udp_listeners(&self, all: &mut Complaints) {
        if !self.rtsp.transports.contains(&RtspTransport::Udp) {
            return;
        }
        let ports = self.rtsp.udp_ports.0;
        let pairs = self.rtsp.address.as_slice().iter().flat_map(|at| ports.map(|port| SocketAddr::new(at.ip(), port)));
        for pair in pairs {
            if let Some(webrtc) = self.webrtc.address.as_slice().iter().find(|webrtc| clash(pair, **webrtc)) {
                let message = format!("`{webrtc}` overlaps with `{pair}` of `rtsp.udp_ports`");
                all.add(Route::of(["webrtc", "address"]), message)
                    .with(Route::of(["rtsp", "udp_ports"]))
                    .hint_at("give each listener a port of its own, or port 0 for any free one");
                return;
            }
        }
    }
}

/// Whether two listeners cannot both be there. `[::]` takes IPv4 too.
fn clash(a: SocketAddr, b: SocketAddr) -> bool {
    let covers = |a: SocketAddr, b: SocketAddr| a.ip().is_unspecified() && (a.is_ipv6() || b.is_ipv4());
    a.port() != 0 && a.port() == b.port() && (a.ip() == b.ip() || covers(a, b) || covers(b, a))
}
