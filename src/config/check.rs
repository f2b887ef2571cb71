//! What types cannot say: ranges, and keys that are right alone and wrong together. It looks at values only, so that
//! the API's edits are held to the same rules as the file.

use std::{fmt::Display, net::SocketAddr, ops::RangeInclusive};

use super::{
    ByteSize, CameraUrl, Config, HumanDuration, ListenAddresses, PathConfig, PathKey, RtspTransport, Source,
    SourceTransport, tree::Route,
};

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
pub(super) const DYNAMIC_PATHS: RangeInclusive<u32> = 1..=100_000;

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
        self.check_hls(all);
        self.check_limits(all);
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
        let known = self.paths.iter().any(|(key, _)| match key {
            PathKey::Name(known) => known == name,
            PathKey::Pattern(pattern) => pattern.captures(name.as_str()).is_some(),
        });
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

    fn check_limits(&self, all: &mut Complaints) {
        let (at, limits) = (|key| Route::of(["limits", key]), &self.limits);
        all.range(at("sessions"), limits.sessions, CONNECTIONS);
        all.range(at("sessions_per_path"), limits.sessions_per_path, CONNECTIONS);
        all.range(at("sessions_per_address"), limits.sessions_per_address, CONNECTIONS);
        all.range(at("dynamic_paths"), limits.dynamic_paths, DYNAMIC_PATHS);
    }

    /// Two TCP listeners on one port: the second one would fail to start.
    fn check_listeners(&self, all: &mut Complaints) {
        let off = ListenAddresses::off();
        let tls = if self.rtsp.tls.is_some() { &self.rtsp.tls_address } else { &off };
        let listeners: [([&str; 2], &ListenAddresses); 3] = [
            (["http", "address"], &self.http.address),
            (["rtsp", "address"], &self.rtsp.address),
            (["rtsp", "tls_address"], tls),
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
    }

    fn check_path(&self, key: &PathKey, path: &PathConfig, all: &mut Complaints) {
        let name = key.to_string();
        let base = Route::of(["paths", &name]);
        let at = |key| base.then(key);
        match &path.source {
            None => {
                all.add(base.clone(), "the key `source` is missing")
                    .with(at("source"))
                    .hint_at("write the camera's URL, `source: rtsp://…`, or `source: demo` for the built-in camera");
            }
            Some(Source::Publisher) => {
                all.add(at("source"), "`publisher` is not possible yet")
                    .hint_at("a source is a camera's URL, `rtsp://…` or `rtsps://…`, or `demo`");
            }
            Some(Source::Demo) => check_demo(path, &base, all),
            Some(Source::Camera(url)) => {
                check_url(key, url, at("source"), all);
                check_tls(url, &path.tls, path.transport, &base, all);
            }
        }
        if path.password.is_some() && path.password_file.is_some() {
            all.add(at("password_file"), "`password` is given as well: one of the two").with(at("password"));
        }
        if let Some(sub) = &path.sub {
            let base = at("sub");
            match &sub.source {
                None => {
                    let complaint = all.add(base.clone(), "the key `source` is missing");
                    complaint.with(base.then("source")).hint_at("write the URL of the smaller stream");
                }
                Some(Source::Publisher) => {
                    all.add(base.clone(), "`publisher` is not possible yet").with(base.then("source"));
                }
                Some(Source::Demo) => {}
                Some(Source::Camera(url)) => {
                    check_url(key, url, base.then("source"), all);
                    let tls = sub.tls.as_ref().unwrap_or(&path.tls);
                    // What is inherited was complained of above.
                    if sub.tls.is_some() || sub.transport.is_some() {
                        check_tls(url, tls, sub.transport.unwrap_or(path.transport), &base, all);
                    }
                }
            }
            if sub.password.is_some() && sub.password_file.is_some() {
                let complaint = all.add(base.then("password_file"), "`password` is given as well: one of the two");
                complaint.with(base.then("password"));
            }
            if sub.source.is_some() && sub.source == path.source && path.source != Some(Source::Demo) {
                all.add(base.clone(), "the smaller rendition is the same stream as the main one")
                    .with(at("source"))
                    .with(base.then("source"));
            }
        }
        self.check_path_bounds(path, &base, all);
    }

    fn check_path_bounds(&self, path: &PathConfig, base: &Route, all: &mut Complaints) {
        let at = |key| base.then(key);
        let (demand, backoff, history) = (at("on_demand"), at("backoff"), at("history"));
        all.range(demand.then("start_timeout"), path.on_demand.start_timeout, ms(100)..=secs(300));
        all.range(demand.then("close_after"), path.on_demand.close_after, ms(0)..=DAY);
        all.range(at("request_timeout"), path.request_timeout, ms(100)..=secs(300));
        all.range(at("stalled_after"), path.stalled_after, ms(100)..=HOUR);
        all.range(at("reconnect_after"), path.reconnect_after, ms(100)..=HOUR);
        all.range(at("hold_readers"), path.hold_readers, ms(0)..=HOUR);
        all.range(backoff.then("first"), path.backoff.first, ms(50)..=HOUR);
        all.range(backoff.then("most"), path.backoff.most, ms(50)..=DAY);
        all.range(backoff.then("stable_after"), path.backoff.stable_after, ms(0)..=DAY);
        all.range(history.then("least"), path.history.least, ms(200)..=MINUTE);
        all.range(history.then("beyond_gop"), path.history.beyond_gop, ms(0)..=HOUR);
        all.range(history.then("duration"), path.history.duration, ms(500)..=HOUR);
        all.range(history.then("size"), path.history.size, ByteSize::from_mib(1)..=ByteSize::from_mib(8192));
        if let Some(most) = path.max_readers {
            all.range(at("max_readers"), most, CONNECTIONS);
            let limit = self.limits.sessions_per_path;
            if most > limit {
                let message = format!("`{most}` is never reached: `limits.sessions_per_path` is {limit}");
                all.add(at("max_readers"), message).with(Route::of(["limits", "sessions_per_path"]));
            }
        }
        if path.stalled_after > path.reconnect_after {
            let (stalled, reconnect) = (path.stalled_after, path.reconnect_after);
            let message = format!(
                "never reached: after {reconnect} (`reconnect_after`) the camera is connected anew, before {stalled}"
            );
            all.add(at("stalled_after"), message).with(at("reconnect_after"));
        }
        if path.backoff.first > path.backoff.most {
            let message =
                format!("the first wait ({}) is longer than the longest ({})", path.backoff.first, path.backoff.most);
            all.add(backoff.then("first"), message).with(backoff.then("most"));
        }
        if path.history.least > path.history.duration {
            let (least, duration) = (path.history.least, path.history.duration);
            all.add(history.then("least"), format!("{least} is longer than `duration`, {duration}"))
                .with(history.then("duration"));
        }
        if path.history.beyond_gop > path.history.duration {
            let (beyond, duration) = (path.history.beyond_gop, path.history.duration);
            all.add(history.then("beyond_gop"), format!("{beyond} is longer than `duration`, {duration}"))
                .with(history.then("duration"));
        }
        match path.rtsp_transports.as_deref() {
            Some([]) => {
                all.add(at("rtsp_transports"), "expected at least one of `tcp`, `udp`, found none");
            }
            Some(transports) => {
                for transport in RtspTransport::ALL {
                    if transports.contains(&transport) && !self.rtsp.transports.contains(&transport) {
                        let message = format!("`{transport}` is not among `rtsp.transports`");
                        all.add(at("rtsp_transports"), message).with(Route::of(["rtsp", "transports"]));
                    }
                }
            }
            None => {}
        }
    }
}

/// Whether two listeners cannot both be there. `[::]` takes IPv4 too.
fn clash(a: SocketAddr, b: SocketAddr) -> bool {
    let covers = |a: SocketAddr, b: SocketAddr| a.ip().is_unspecified() && (a.is_ipv6() || b.is_ipv4());
    a.port() != 0 && a.port() == b.port() && (a.ip() == b.ip() || covers(a, b) || covers(b, a))
}

/// The URL must be one, with the groups of its regular expression or without.
fn check_url(key: &PathKey, url: &CameraUrl, route: Route, all: &mut Complaints) {
    let PathKey::Pattern(pattern) = key else {
        if let Err(error) = url.check_plain() {
            all.add(route, format!("{error}, found `{url}`"));
        }
        return;
    };
    let unknown = url.groups().into_iter().find(|group| !pattern.has_group(group));
    if let Some(group) = unknown {
        all.add(route, format!("the regular expression has no group `{group}`"))
            .hint_at("`$1` is the first group in parentheses, `${name}` is `(?<name>…)`, `$$` is a plain `$`");
    } else if !url.could_be_one() {
        all.add(route, format!("the URL is not valid whatever its groups are, found `{url}`"));
    }
}

fn check_tls(
    url: &CameraUrl,
    tls: &super::CameraTlsConfig,
    transport: SourceTransport,
    base: &Route,
    all: &mut Complaints,
) {
    if tls.insecure && tls.fingerprint.is_some() {
        let at = base.then("tls");
        all.add(at.then("insecure"), "`fingerprint` is given as well: one of the two").with(at.then("fingerprint"));
    }
    if url.is_tls() {
        if transport == SourceTransport::Udp {
            all.add(
                base.then("transport"),
                "`udp` is not possible with `rtsps://`: its media travel inside the connection",
            )
            .with(base.then("source"))
            .hint_at("leave it at `auto`, or write `tcp`");
        }
    } else if tls.insecure || tls.fingerprint.is_some() {
        all.add(base.then("tls"), "the source is `rtsp://`: there is no certificate to judge")
            .with(base.then("source"))
            .hint_at("write `rtsps://` if the camera can");
    }
}

/// The built-in camera takes no credentials and travels over no network.
fn check_demo(path: &PathConfig, base: &Route, all: &mut Complaints) {
    let cameras = path.sub.as_ref().is_some_and(|sub| matches!(sub.source, Some(Source::Camera(_))));
    let given = [
        ("username", path.username.is_some()),
        ("password", path.password.is_some()),
        ("password_file", path.password_file.is_some()),
        ("transport", path.transport != SourceTransport::Auto),
        ("tls", path.tls != super::CameraTlsConfig::default()),
        ("quirks", path.quirks != super::QuirksConfig::default()),
    ];
    // A smaller rendition from a real camera may inherit them.
    for (key, _) in given.into_iter().filter(|(_, given)| *given && !cameras) {
        all.add(base.then(key), "the built-in camera has no use for it").with(base.then("source"));
    }
}
