//! The composition root: configuration → bound sockets → running rooms → drain. The only place that knows every room.

mod accounts;
pub mod addresses;
mod alerts;
mod audit;
mod certificates;
mod deeds;
mod descriptors;
mod directory;
mod ended_logins;
mod events;
mod filed;
mod http;
mod info;
pub mod issuer;
mod notify;
mod outside;
mod path_book;
mod path_desk;
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
    certificates::Kept, directory::Directory, path_book::PathBook, signals::Signals, sockets::Sockets,
    state_lock::StateLock, watchers::RuleWatcher,
};
use crate::{
    audio::Audio,
    base::{Clock, Error, Kind, Monotonic, PathName, Result, Secret, Tasks},
    config::{Config, ConfigOrigin},
    events::{Events, alerts::Alerts},
    hls::{Hls, HlsOptions},
    http::{self as web, HttpServer, Rooms, ServerInfo},
    hub::{Hub, MediaThreads},
    ingest::SourceGuard,
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
        let (gate, first_password, users) = users::start(&config, store.documents(), &addresses, &tasks).await?;
        // Its own set: what is said while everything else ends is still written.
        let records = Tasks::new();
        let events = Events::start(&store, &incidents, events::retention(&config), clock, &records).await;
        events::say_status(&events, clock, "running");
        audit::start(gate.clone(), events.clone(), clock, &tasks);
        deeds::start(store.documents().clone(), store.facts().clone(), events.clone(), &tasks);
        let book = Arc::new(PathBook::open(config.paths.clone(), store.documents()).await);
        let sessions = sessions(&config, book.clone());
        let info = info::of(&config, &addresses, clock);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = |name, pause| {
            MediaThreads::start_named(name, config.media_threads.count(cores), pause)
                .map_err(|error| Error::new(Kind::Internal, "the system gives no threads").caused_by(error))
        };
        // Cameras and viewers on threads of their own: the first must not wait for the second.
        let own = addresses.0.values().flatten().map(std::net::SocketAddr::port);
        let guard = SourceGuard::new(config.http.allowed_sources.clone(), own);
        let directory = Directory::new(book.clone(), guard, config.limits.dynamic_paths as usize);
        let ingest = threads("ingest", Some(INGEST_PAUSE))?;
        let hub = Hub::start_on(Box::new(directory.clone()), clock, &tasks, ingest);
        let paths = Arc::new(path_desk::Desk::new(directory, store.documents().clone(), hub.clone(), &tasks));
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
            rtsp::options(&config, book, connections.clone()),
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
            paths,
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
            accounts: accounts::start(&config, store.documents(), users),
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

fn sessions(config: &Config, book: Arc<PathBook>) -> Sessions {
    let limits = &config.limits;
    let bounds = SessionLimits {
        total: limits.sessions as usize,
        per_path: limits.sessions_per_path as usize,
        per_address: limits.sessions_per_address as usize,
    };
    let own = move |path: &PathName| book.resolve(path)?.0.config.max_readers.map(|most| most as usize);
    Sessions::new(bounds, Box::new(own))
}
