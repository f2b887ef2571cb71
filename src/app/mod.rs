//! The composition root: configuration → bound sockets → running rooms → drain. The only place that knows every room.

mod accounts;
pub mod addresses;
mod alerts;
mod audit;
mod certificates;
mod descriptors;
mod directory;
mod events;
mod http;
pub mod issuer;
mod notify;
mod outside;
mod process;
mod resident;
mod rtsp;
mod sensors;
mod signals;
mod sockets;
mod state_lock;
mod statistics;
pub mod token_keys;
pub mod tokens;
pub mod users;
mod watchers;
mod ways_out;
mod webrtc;

use std::{io, sync::Arc, time::Duration};

use tokio::net::TcpListener;
use tracing::{info, warn};

use self::{
    addresses::{Addresses, reachable},
    certificates::Kept,
    directory::Directory,
    signals::Signals,
    sockets::Sockets,
    state_lock::StateLock,
    watchers::RuleWatcher,
};
use crate::{
    audio::Audio,
    base::{Clock, Error, Kind, Monotonic, PathName, Result, Secret, Tasks},
    config::{AuthConfig, Config, ConfigOrigin, RtspStart, RtspTransport},
    events::{Events, alerts::Alerts},
    hls::{Hls, HlsOptions},
    http::{self as web, HttpServer, OpenDoor, Rooms, ServerInfo, Warning},
    hub::{Hub, MediaThreads},
    net,
    notify::Notifier,
    rtsp::RtspServer,
    stats::{EventDoors, FollowerLimits, Places, SessionLimits, Sessions},
    store::{Incident, Store},
    webrtc::WebRtc,
};

/// Runs the server until a signal ends it. `started` is when the process began, for the line that says how long
/// starting took.
///
/// # Errors
/// What keeps it from starting: a listener that cannot be bound, a certificate that cannot be read, a state directory
/// that cannot be written. A camera that is not there is none of these.
pub fn serve(config: Config, origin: &ConfigOrigin, started: Monotonic) -> Result<()> {
    net::tls::install_provider();
    descriptors::raise();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("campanile").build();
    let runtime =
        runtime.map_err(|error| Error::new(Kind::Internal, "the system gives no threads").caused_by(error))?;
    let ended = runtime.block_on(async {
        let mut signals = Signals::catch()
            .map_err(|error| Error::new(Kind::Internal, "signals cannot be caught").caused_by(error))?;
        let server = Server::start(Arc::new(config), origin).await?;
        server.announce(origin, started);
        resident::keep_small(&server.tasks);
        server.run(&mut signals).await;
        Ok(())
    });
    // What is left has been named; it is not waited for.
    runtime.shutdown_background();
    ended
}

/// How long the packets of cameras are let gather. A picture is a score of packets within a millisecond or two; woken for
/// each, forty cameras took half as much again. It is what a picture may wait here at most.
const INGEST_PAUSE: Duration = Duration::from_millis(1);

/// Everything that runs.
struct Server {
    config: Arc<Config>,
    tasks: Tasks,
    /// The log's tasks, which end last.
    records: Tasks,
    store: Store,
    info: ServerInfo,
    events: Events,
    http: HttpServer,
    rtsp: RtspServer,
    webrtc: Option<WebRtc>,
    /// What the listeners of TLS show.
    certificates: Vec<Kept>,
    /// Of the user that this start made, to be shown once.
    first_password: Option<Secret>,
    /// Given back last.
    _state_lock: StateLock,
}

impl Server {
    /// Binds everything, then starts everything: a listener that cannot be bound ends the start before any task runs.
    async fn start(config: Arc<Config>, origin: &ConfigOrigin) -> Result<Self> {
        let clock = Clock;
        let sockets = Sockets::bind(&config)?;
        let addresses = sockets.addresses();
        let _state_lock = StateLock::take(&config.state_dir)?;
        addresses.write(&config.state_dir)?;

        let tasks = Tasks::new();
        let (store, incidents) = Store::open(&config.state_dir, clock).await;
        for incident in &incidents {
            if let Incident::Unavailable { file, error } = incident {
                warn!("{file} is not there: {}", error.chain());
            }
        }
        let (gate, first_password) = users::start(&config, store.documents(), &addresses, &tasks).await?;
        // Its own set: what is said while everything else ends is still written.
        let records = Tasks::new();
        let events = Events::start(&store, &incidents, events::retention(&config), clock, &records).await;
        events::say_status(&events, clock, "running");
        audit::start(gate.clone(), events.clone(), clock, &tasks);
        let sessions = sessions(&config);
        let info = server_info(&config, &addresses, clock);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = |name, pause| {
            MediaThreads::start_named(name, config.media_threads.count(cores), pause)
                .map_err(|error| Error::new(Kind::Internal, "the system gives no threads").caused_by(error))
        };
        // Cameras and viewers on threads of their own: the first must not wait for the second.
        let hub = Hub::start_on(
            Box::new(Directory::new(config.clone())),
            clock,
            &tasks,
            threads("ingest", Some(INGEST_PAUSE))?,
        );
        // Before the alarms: what they left in the store is taken first.
        let mut options = notify::options(&config)?;
        let ways_out = ways_out::add(&config, &store, &mut options.channels).await?;
        let notifier = Notifier::start(options, &store, clock, &tasks).await;
        let options = alerts::options(&config, hub.clone(), Arc::new(notifier.clone()));
        let alerts = Alerts::start(options, events.clone(), &store, clock, &tasks).await;
        notifier.watch(alerts.clone());
        events::watch_cameras(hub.clone(), events.clone(), clock, &tasks);
        let rules = RuleWatcher::new(alerts.clone(), clock);
        let sensors = sensors::start(&config, origin, hub.clone(), (&events, &store), rules, clock, &tasks);
        ways_out.connect(&sensors);
        let threads = threads("media", None)?;
        let connections = Places::new(config.limits.connections_per_address as usize);
        let rtsp = RtspServer::start(
            rtsp::options(&config, connections.clone()),
            sockets.rtsp,
            hub.clone(),
            gate.clone(),
            sessions.clone(),
            threads,
            clock,
            &tasks,
        )?;
        let audio = Audio::new(clock, &tasks);
        let hls = config.hls.enabled.then(|| {
            let documents = store.documents().clone();
            let options = HlsOptions { config: config.hls.clone(), documents, state_dir: config.state_dir.clone() };
            Hls::new(hub.clone(), audio.clone(), clock, &tasks, options)
        });
        let webrtc = if config.webrtc.address.is_off() {
            None
        } else {
            let options = webrtc::options(&config, cores);
            Some(WebRtc::start(options, sockets.webrtc, hub.clone(), audio, sessions.clone(), clock, &tasks)?)
        };
        let statistics = statistics::start(
            hub.clone(),
            sessions.clone(),
            events.clone(),
            store.figures(),
            config.state_dir.clone(),
            clock,
            &tasks,
        );
        let followers = FollowerLimits {
            per_user: config.limits.followers_per_user as usize,
            per_address: config.limits.followers_per_address as usize,
        };
        let event_doors = Arc::new(EventDoors::new(followers));
        let default_path = info.default_path.clone();
        let websockets = events::websockets(&config, default_path, (&events, &alerts), &event_doors, clock, &tasks);
        let rooms = Rooms {
            hub,
            statistics,
            hls,
            webrtc: webrtc.clone(),
            websockets,
            events: events.clone(),
            event_doors,
            connections,
            sensors,
            alerts,
            notifier,
            push: ways_out.push,
            gate,
            accounts: accounts::start(&config, store.documents()),
            sessions,
            info: info.clone(),
            process: process::sample,
            clock,
        };
        let [of_http, of_rtsp] = &sockets.certificates;
        let shared = of_http.as_ref().is_some_and(Kept::is_of_acme) && of_rtsp.as_ref().is_some_and(Kept::is_of_acme);
        let certificates: Vec<Kept> = of_http.iter().chain(of_rtsp.iter().filter(|_| !shared)).cloned().collect();
        certificates.iter().cloned().for_each(|kept| kept.watch(&config, &tasks));
        if let Some(kept) = certificates.iter().find(|kept| kept.is_of_acme()) {
            let https = addresses.of("https").first().map_or(443, std::net::SocketAddr::port);
            for listener in adopt(sockets.challenges)? {
                // Another port than 80 is what something else sends 80 to, and that does the same with 443.
                let direct = listener.local_addr().is_ok_and(|address| address.port() == 80);
                web::serve_challenges(listener, kept.answers().clone(), if direct { https } else { 443 }, &tasks);
            }
        }
        let http = web::serve(
            &http::options(&config, of_http.as_ref()),
            adopt(sockets.http)?,
            sockets.http_tls,
            rooms,
            &tasks,
        );
        Ok(Self {
            config,
            tasks,
            records,
            store,
            info,
            events,
            http,
            rtsp,
            webrtc,
            certificates,
            first_password,
            _state_lock,
        })
    }

    /// Says that it is ready, how long that took, and which URLs to open.
    fn announce(&self, origin: &ConfigOrigin, started: Monotonic) {
        self.http.set_ready();
        for warning in self.info.warnings.iter() {
            warn!("{}", warning.message);
        }
        let took = Clock.now().since(started).as_secs_f64();
        info!(config = %origin, "ready in {took:.2} s");
        let path = self.info.default_path.as_ref().map_or("{path}", PathName::as_str);
        for door in self.info.doors.iter() {
            for url in &door.urls {
                info!("{} {}", door.name, url.replace("{path}", path));
            }
        }
        self.certificates.iter().for_each(Kept::announce);
        self.first_password.as_ref().inspect(|password| users::show_first_password(password));
    }

    /// Waits for a signal, then lets everything end; a second signal ends it at once.
    async fn run(self, signals: &mut Signals) {
        let name = signals.next().await;
        info!("{name}: sessions end within {}; a second signal ends at once", self.config.drain);
        tokio::select! {
            biased;
            second = signals.next() => warn!("{second}: ended at once"),
            alive = self.drain() => match alive.as_slice() {
                [] => info!("ended"),
                alive => warn!("ended; still running after {}: {}", self.config.drain, alive.join(", ")),
            }
        }
    }

    /// Stops accepting, ends sessions with their protocol's goodbye, then stops the sources. The names of tasks that
    /// did not end come back.
    async fn drain(&self) -> Vec<String> {
        events::say_status(&self.events, Clock, "ending");
        let limit = self.config.drain.duration();
        let deadline = tokio::time::Instant::now() + limit;
        let webrtc = async {
            if let Some(webrtc) = &self.webrtc {
                webrtc.drain(limit).await;
            }
        };
        tokio::join!(self.http.drain(limit), self.rtsp.drain(limit), webrtc);
        self.tasks.stop();
        let left = || deadline.saturating_duration_since(tokio::time::Instant::now());
        let mut alive = self.tasks.drained(left()).await;
        self.records.stop();
        alive.extend(self.records.drained(left().max(LAST_WORDS)).await);
        match tokio::time::timeout(LAST_WORDS, self.store.settle()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!("store: its journal stays: {}", error.chain()),
            Err(_elapsed) => warn!("store: its journal stays: the disk takes too long"),
        }
        alive
    }
}

/// What the log may take to end beyond the drain.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Hands bound listeners to the runtime.
fn adopt(listeners: Vec<std::net::TcpListener>) -> Result<Vec<TcpListener>> {
    let adopted = listeners.into_iter().map(TcpListener::from_std).collect::<io::Result<_>>();
    adopted.map_err(|error| Error::new(Kind::Internal, "the runtime takes no more sockets").caused_by(error))
}

fn sessions(config: &Arc<Config>) -> Sessions {
    let limits = &config.limits;
    let bounds = SessionLimits {
        total: limits.sessions as usize,
        per_path: limits.sessions_per_path as usize,
        per_address: limits.sessions_per_address as usize,
    };
    let config = config.clone();
    let own = move |path: &PathName| config.resolve(path)?.config.max_readers.map(|most| most as usize);
    Sessions::new(bounds, Box::new(own))
}

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
fn server_info(config: &Config, addresses: &Addresses, clock: Clock) -> ServerInfo {
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
            "auth is off: every program on this machine may do everything"
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
