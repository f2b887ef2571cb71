//! What types cannot say about one path.

use super::{CONNECTIONS, Complaints, DAY, HOUR, MINUTE, ms, secs};
use crate::config::{
    ByteSize, CameraTlsConfig, CameraUrl, Config, PathConfig, PathKey, QuirksConfig, RtspTransport, Source,
    SourceTransport, tree::Route,
};

impl Config {
    pub(super) fn check_path(&self, key: &PathKey, path: &PathConfig, all: &mut Complaints) {
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

fn check_tls(url: &CameraUrl, tls: &CameraTlsConfig, transport: SourceTransport, base: &Route, all: &mut Complaints) {
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
        ("tls", path.tls != CameraTlsConfig::default()),
        ("quirks", path.quirks != QuirksConfig::default()),
    ];
    // A smaller rendition from a real camera may inherit them.
    for (key, _) in given.into_iter().filter(|(_, given)| *given && !cameras) {
        all.add(base.then(key), "the built-in camera has no use for it").with(base.then("source"));
    }
}
