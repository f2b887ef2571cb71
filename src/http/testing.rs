//! What the tests of this room share: a hub with two cameras that need no network, and the surface over it.

use std::{collections::BTreeMap, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt;
use tempfile::TempDir;

use super::{HttpOptions, OpenDoor, PathDesk, PathEntry, Rooms, ServerInfo, front::Surface};
use crate::{
    audio::Audio,
    auth::{
        Gate, GatePolicy, path_not_found,
        testing::{NoShelf, cheap_user},
    },
    base::{Clock, Error, Kind, PathName, Result, Tasks},
    config::{HlsConfig, PathConfig},
    events::{self, Events, alerts::Alerts},
    hls::{Hls, HlsOptions},
    hub::{Feed, Hub, Outlook, PathDirectory, PathSpec, RingLimits, Source, StreamPolicy},
    media::{
        AccessUnit, ClockRate, CodecParameters, MediaKind, MediaTime, TrackDescription, TrackId,
        testing::hex,
        track::{H264Parameters, PcmParameters},
    },
    notify::Notifier,
    sensors::{Outlets, Sensors, SensorsOptions},
    stats::{Places, ProcessFigures, Sessions},
    store::Store,
};

/// 25 pictures a second, a random access point each second, and sound that HLS cannot carry.
#[derive(Debug)]
struct Demo;

/// A camera that is not there.
#[derive(Debug)]
struct Gone;

impl Source for Demo {
    fn run(&self, feed: Feed) -> BoxFuture<'static, ()> {
        async move {
            let sps = hex("674d4028eca03c0113f2e02200000300020000030064c4c001e848003d09c98600f1831960");
            let parameters = H264Parameters::parse(vec![sps.into()], vec![hex("68ee3c80").into()]).unwrap();
            let sound = PcmParameters { sample_rate: 8000, channels: 1 };
            feed.begin(vec![
                TrackDescription {
                    kind: MediaKind::Video,
                    clock_rate: ClockRate::VIDEO,
                    parameters: CodecParameters::H264(parameters),
                },
                TrackDescription {
                    kind: MediaKind::Audio,
                    clock_rate: ClockRate::TELEPHONE,
                    parameters: CodecParameters::G711A(sound),
                },
            ]);
            for i in 0_i64.. {
                let key = i % 25 == 0;
                let picture = [&1000_u32.to_be_bytes()[..], &[if key { 0x65 } else { 0x41 }; 1000]].concat();
                for (track, payload) in [(0, picture), (1, vec![0xd5; 320])] {
                    feed.push(AccessUnit {
                        track: TrackId(track),
                        pts: MediaTime::from_millis(i * 40),
                        dts: MediaTime::from_millis(i * 40),
                        captured: Some(feed.clock().wall()),
                        arrived: feed.now(),
                        random_access: key || track == 1,
                        after_loss: false,
                        marker: true,
                        payload: Bytes::from(payload),
                    });
                }
                feed.counters().bytes_received.fetch_add(1320, std::sync::atomic::Ordering::Relaxed);
                tokio::select! {
                    biased;
                    () = feed.stopping().cancelled() => return,
                    () = tokio::time::sleep(Duration::from_millis(40)) => {}
                }
            }
        }
        .boxed()
    }

    fn description(&self) -> String {
        "demo".into()
    }
}

impl Source for Gone {
    fn run(&self, feed: Feed) -> BoxFuture<'static, ()> {
        async move {
            let error = Error::new(Kind::Unavailable, "rtsp source 10.0.0.7:554: connection refused")
                .caused_by(std::io::Error::other("user:hunter2@10.0.0.7"))
                .with_code("connection_refused")
                .with_hint("is the camera on?");
            feed.lost(error, Outlook::Uncertain).await;
            feed.stopping().cancelled().await;
        }
        .boxed()
    }

    fn description(&self) -> String {
        "rtsp://10.0.0.7/stream1".into()
    }
}

#[derive(Debug)]
struct Directory;

fn spec(name: &PathName, main: Arc<dyn Source>, sub: Option<Arc<dyn Source>>) -> PathSpec {
    let policy = StreamPolicy { start_timeout: Duration::from_secs(1), ..StreamPolicy::default() };
    PathSpec { name: name.clone(), title: None, group: None, policy, ring: RingLimits::default(), main, sub }
}

impl PathDirectory for Directory {
    fn fixed(&self) -> Vec<PathSpec> {
        let mut demo = spec(&"demo".parse().unwrap(), Arc::new(Demo), Some(Arc::new(Demo)));
        demo.title = Some("Demo <img onerror=alert(1)>".into());
        vec![demo, spec(&"site/gate".parse().unwrap(), Arc::new(Gone), None)]
    }

    fn matching(&self, name: &PathName) -> Option<PathSpec> {
        let policy = StreamPolicy { close_after: Some(Duration::from_secs(1)), ..StreamPolicy::default() };
        let made = || PathSpec { policy, ..spec(name, Arc::new(Demo), None) };
        name.as_str().starts_with("any-").then(made)
    }

    fn matching_max(&self) -> usize {
        8
    }
}

/// The rooms behind the surface.
pub(super) fn rooms(tasks: &Tasks, policy: GatePolicy, state_dir: &Path) -> Rooms {
    let clock = Clock;
    let gate = Gate::new(policy);
    gate.set_shelf(Box::new(NoShelf));
    let hub = Hub::start(Box::new(Directory), clock, tasks);
    let store = Store::lazy(state_dir, clock);
    let documents = store.documents().clone();
    let options = HlsOptions { config: HlsConfig::default(), documents, state_dir: state_dir.to_owned() };
    let hls = Hls::new(hub.clone(), Audio::new(clock, tasks), clock, tasks, options);
    let events = Events::lazy(&store, clock, tasks);
    // On a board of their own, so that streams of these rooms begin empty.
    let (mut writer, statistics) = events::statistics(Events::lazy(&store, clock, tasks), store.figures());
    writer.put(&events::payload::Statistics::default(), clock.now(), clock.wall()).unwrap();
    let sensors = Sensors::start(
        SensorsOptions { made_max: 10, ..SensorsOptions::default() },
        events.clone(),
        store.readings(),
        Outlets::nobody(),
        clock,
        tasks,
    );
    Rooms {
        hub,
        paths: Arc::new(Unwritten),
        hls: Some(hls),
        webrtc: None,
        websockets: None,
        events,
        event_doors: Arc::default(),
        connections: Places::new(usize::MAX),
        statistics,
        sensors,
        alerts: Alerts::fixed(clock),
        notifier: Notifier::fixed(clock),
        push: None,
        gate,
        accounts: None,
        sessions: Sessions::default(),
        info: ServerInfo {
            started: clock.wall(),
            started_at: clock.now(),
            default_path: Some("demo".parse().unwrap()),
            doors: vec![OpenDoor { name: "rtsp".into(), urls: vec!["rtsp://127.0.0.1:8554/{path}".into()] }].into(),
            capabilities: vec!["hls".into()].into(),
            warnings: Arc::default(),
        },
        process: || Some(ProcessFigures { resident_bytes: 20 << 20, ..ProcessFigures::default() }),
        clock,
    }
}

/// No path was written anywhere, and none is kept.
#[derive(Debug)]
struct Unwritten;

impl PathDesk for Unwritten {
    fn list(&self) -> Vec<PathEntry> {
        Vec::new()
    }

    fn find(&self, _: &PathName) -> Option<PathEntry> {
        None
    }

    fn put(&self, _: PathName, _: PathConfig) -> BoxFuture<'_, Result<bool>> {
        async { Err(Error::new(Kind::Unavailable, "there is no store")) }.boxed()
    }

    fn remove(&self, name: PathName) -> BoxFuture<'_, Result<()>> {
        async move { Err(path_not_found(&name)) }.boxed()
    }
}

/// `anna` and `password`.
pub(super) const ANNA: &str = "Basic YW5uYTpwYXNzd29yZA==";

/// The surface, and what keeps it alive.
pub(super) struct House {
    pub(super) tasks: Tasks,
    pub(super) rooms: Rooms,
    pub(super) surface: Surface,
    pub(super) peer: SocketAddr,
    /// What every request shows in `Authorization`, unless it shows something itself.
    pub(super) credential: Option<String>,
    _state_dir: TempDir,
}

impl House {
    pub(super) fn new() -> Self {
        Self::with(&HttpOptions::default(), GatePolicy::Local)
    }

    pub(super) fn with(options: &HttpOptions, policy: GatePolicy) -> Self {
        let tasks = Tasks::new();
        let state_dir = tempfile::tempdir().unwrap();
        let rooms = rooms(&tasks, policy, state_dir.path());
        Self::of(rooms, options, tasks, state_dir)
    }

    /// The same over other rooms.
    pub(super) fn of(rooms: Rooms, options: &HttpOptions, tasks: Tasks, state_dir: TempDir) -> Self {
        let surface = Surface::new(rooms.clone(), options, tasks.stopping().clone());
        Self {
            tasks,
            rooms,
            surface,
            peer: "127.0.0.1:50000".parse().unwrap(),
            credential: None,
            _state_dir: state_dir,
        }
    }

    /// From now on every request comes from elsewhere, from the only user, who may do this.
    pub(super) fn log_in_from_elsewhere(&mut self, permissions: &[(&str, &str)]) {
        self.rooms.gate.set_users(vec![cheap_user("anna", "password", permissions)], &BTreeMap::new());
        self.peer = "10.0.0.9:50000".parse().unwrap();
        self.credential = Some(ANNA.to_owned());
    }

    /// Lets the demo camera play for a while of the paused clock.
    pub(super) async fn play(&self) {
        tokio::time::sleep(Duration::from_millis(3_030)).await;
    }

    pub(super) async fn get(&self, url: &str) -> Reply {
        self.ask("GET", url, &[]).await
    }

    pub(super) async fn ask(&self, method: &str, url: &str, headers: &[(&str, &str)]) -> Reply {
        self.send(method, url, headers, Bytes::new()).await
    }

    /// Sends a body of JSON.
    pub(super) async fn tell(&self, method: &str, url: &str, body: serde_json::Value) -> Reply {
        self.send(method, url, &[("content-type", "application/json")], body.to_string().into()).await
    }

    /// A request with a body, and its whole answer.
    pub(super) async fn send(&self, method: &str, url: &str, headers: &[(&str, &str)], body: Bytes) -> Reply {
        let (parts, body) = self.open(method, url, headers, body).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Reply { status: parts.status, headers: parts.headers, body }
    }

    /// A request, and its answer as it comes.
    pub(super) async fn open(&self, method: &str, url: &str, headers: &[(&str, &str)], body: Bytes) -> Response {
        let mut request = Request::builder().method(method).uri(url).header(header::HOST, "localhost:8080");
        let own = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        if let Some(credential) = self.credential.as_ref().filter(|_| !own) {
            request = request.header(header::AUTHORIZATION, credential);
        }
        for (name, value) in headers {
            if name.eq_ignore_ascii_case("host") {
                request.headers_mut().unwrap().remove(header::HOST);
            }
            request = request.header(*name, *value);
        }
        self.surface.answer(request.body(Body::from(body)).unwrap(), self.peer).await
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.text()))
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Asserts that this is a whole problem with this status, and gives its code.
    pub(super) fn problem(&self, status: u16) -> String {
        assert_eq!(
            (self.status.as_u16(), self.header("content-type")),
            (status, "application/problem+json"),
            "{self:?}"
        );
        let body = self.json();
        for field in ["type", "title", "code", "detail", "instance"] {
            assert!(body[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {body}");
        }
        assert_eq!(body["status"], status);
        body["code"].as_str().unwrap().to_owned()
    }
}
