//! The section `events` as the rooms take it, and what the server itself says: how its cameras do, and how it does.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::future::BoxFuture;
use serde::Serialize;
use serde_json::{json, value::to_raw_value};
use tokio::time::sleep;
use tracing::{debug, info_span};

use crate::{
    auth::Grant,
    base::{Clock, Error, Kind, PathName, Result, Tasks, WallTime},
    config::Config,
    events::{
        Draft, EventType, Events, Retention, Severity,
        alerts::Alerts,
        ws::{Acknowledge, Commands, TriggerDoorbell, WebSocketOptions, WebSockets, messages::Ack},
    },
    http::{EventDoorOptions, GraphQlOptions},
    hub::{Hub, PathHandle, StreamSnapshot, StreamState},
    stats::EventDoors,
};

/// How often paths are looked for that a pattern made.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long facts are kept.
pub(super) fn retention(config: &Config) -> Retention {
    Retention { age: config.events.max_age.duration(), size: config.events.max_size.bytes() }
}

/// How the doors behave.
pub(super) fn doors(config: &Config) -> EventDoorOptions {
    let events = &config.events;
    EventDoorOptions {
        server_sent: events.server_sent,
        long_poll: events.long_poll,
        ingest: events.ingest,
        heartbeat: events.heartbeat.duration(),
        max_followers: events.max_followers,
        max_posts_per_second: events.max_posts_per_second,
    }
}

/// How the door of GraphQL behaves.
pub(super) fn graphql(config: &Config) -> GraphQlOptions {
    let events = &config.events;
    GraphQlOptions {
        enabled: events.graphql,
        introspection: events.graphql_introspection,
        max_depth: events.graphql_max_depth as usize,
        max_complexity: events.graphql_max_complexity as usize,
        max_sockets: events.max_followers,
    }
}

/// Opens the door of WebSockets, unless it is switched off.
pub(super) fn websockets(
    config: &Config,
    default_path: Option<PathName>,
    (events, alerts): (&Events, &Alerts),
    doors: &Arc<EventDoors>,
    clock: Clock,
    tasks: &Tasks,
) -> Option<WebSockets> {
    let section = &config.events;
    let options = WebSocketOptions { most: section.max_followers as usize, deflate: section.websocket_compression };
    let bell = TriggerDoorbell::new(events.clone(), default_path, clock);
    let commands = Commands::default().with("trigger_doorbell", bell);
    let alarms: Arc<dyn Acknowledge> = Arc::new(Alarms(alerts.clone()));
    let start = || WebSockets::start(options, events.clone(), commands, Some(alarms), doors.clone(), clock, tasks);
    section.websocket.then(start)
}

/// The alarms, for those who take note of an alert on a socket.
#[derive(Debug)]
struct Alarms(Alerts);

impl Acknowledge for Alarms {
    fn acknowledge(&self, by: &str, ack: Ack) -> BoxFuture<'_, Result<()>> {
        let by = by.to_owned();
        Box::pin(async move {
            let until = ack.until.as_deref().map(str::parse::<WallTime>).transpose().map_err(|error| {
                Error::new(Kind::InvalidArgument, format!("until: {error}")).with_code("invalid_until")
            })?;
            self.0.acknowledge(ack.fingerprint, by, ack.note, until).await
        })
    }
}

/// Says how the server is.
pub(super) fn say_status(events: &Events, clock: Clock, status: &'static str) {
    let data = json!({"status": status, "version": env!("CARGO_PKG_VERSION")});
    let said = draft(EventType::SystemStatus, status, None, None, clock, &data).map(|draft| events.set(draft));
    if let Some(Err(error)) = said {
        debug!("system status: {}", error.chain());
    }
}

/// Follows every camera, and puts into the log what happens to it.
pub(super) fn watch_cameras(hub: Hub, events: Events, clock: Clock, tasks: &Tasks) {
    let (tasks, owner) = (tasks.child(), tasks.clone());
    owner.spawn("cameras", info_span!("events"), async move {
        let mut known = BTreeMap::<PathName, PathHandle>::new();
        loop {
            for name in hub.names() {
                let Ok(path) = hub.path(&Grant::house("events", name.clone())) else { continue };
                // A path that is changed becomes another one of the same name.
                if known.get(&name).is_some_and(|known| known.is(&path)) {
                    continue;
                }
                let (mut state, events, stopping) = (path.main().watch(), events.clone(), tasks.stopping().clone());
                let camera = name.clone();
                let follow = async move {
                    let mut watch = CameraWatch::default();
                    loop {
                        let snapshot = state.borrow_and_update().clone();
                        if let Some(happened) = watch.handle(&snapshot) {
                            tell(&events, &camera, &happened, clock);
                        }
                        tokio::select! {
                            biased;
                            () = stopping.cancelled() => return,
                            changed = state.changed() => if changed.is_err() { return },
                        }
                    }
                };
                tasks.spawn(format!("cameras/{name}"), info_span!("events"), follow);
                known.insert(name, path);
            }
            tokio::select! {
                biased;
                () = tasks.stopping().cancelled() => return,
                () = sleep(LOOK_EVERY) => {}
            }
            let there: BTreeSet<_> = hub.names().into_iter().collect();
            known.retain(|name, _| there.contains(name));
        }
    });
}

fn tell(events: &Events, camera: &PathName, happened: &Happened, clock: Clock) {
    let severity = match happened.kind {
        "online" | "recovered" => Severity::Info,
        _ => Severity::Warning,
    };
    let draft = draft(EventType::CameraEvent, happened.kind, Some(camera), Some(severity), clock, happened);
    if let Some(Err(error)) = draft.map(|draft| events.enqueue(draft)) {
        debug!(%camera, "{}: {}", happened.kind, error.chain());
    }
}

fn draft<T: Serialize>(
    kind: EventType,
    name: &str,
    path: Option<&PathName>,
    severity: Option<Severity>,
    clock: Clock,
    data: &T,
) -> Option<Draft> {
    let data = to_raw_value(data).ok()?;
    Some(Draft { kind, name: name.into(), time: clock.wall(), path: path.cloned(), sensor: None, severity, data })
}

/// What happened to a camera.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Happened {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// What was last said of a camera. To be idle, since nobody watches, is nothing to speak of.
#[derive(Debug, Default)]
struct CameraWatch {
    said: Option<&'static str>,
}

impl CameraWatch {
    fn handle(&mut self, snapshot: &StreamSnapshot) -> Option<Happened> {
        let kind = match (snapshot.state, self.said) {
            (StreamState::Ready, Some("stalled")) => "recovered",
            (StreamState::Ready, None | Some("offline")) => "online",
            (StreamState::Stalled, said) if said != Some("stalled") => "stalled",
            (StreamState::Lost, said) if said != Some("offline") => "offline",
            _ => return None,
        };
        self.said = Some(kind);
        let error = snapshot.error.as_ref().filter(|_| kind == "offline");
        let message = error.map(|error| error.message().to_owned());
        Some(Happened { kind, code: error.map(|error| error.code()), message })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        base::{Error, Kind},
        events::{Filter, Scope},
        store::Store,
    };

    #[test]
    fn a_camera_is_spoken_of_when_something_changes_and_not_when_nobody_watches() {
        use StreamState::{Idle, Lost, Ready, Stalled, Waiting};
        let mut watch = CameraWatch::default();
        let table = [
            (Idle, None),
            (Waiting, None),
            (Ready, Some("online")),
            (Idle, None),
            (Ready, None),
            (Stalled, Some("stalled")),
            (Ready, Some("recovered")),
            (Stalled, Some("stalled")),
            (Lost, Some("offline")),
            (Lost, None),
            (Waiting, None),
            (Ready, Some("online")),
        ];
        for (number, (state, said)) in table.into_iter().enumerate() {
            let error = Error::new(Kind::Unavailable, "connection refused").with_code("connection_refused");
            let error = (state == Lost).then(|| Arc::new(error));
            let happened = watch.handle(&StreamSnapshot { state, since: Clock.wall(), error, refuses: false });
            assert_eq!(happened.as_ref().map(|happened| happened.kind), said, "{number}");
            let code = happened.and_then(|happened| happened.code);
            assert_eq!(code, (said == Some("offline")).then_some("connection_refused"));
        }
    }
    #[tokio::test(start_paused = true)]
    async fn the_status_is_that_of_the_page() {
        let directory = tempfile::tempdir().unwrap();
        let events = Events::lazy(&Store::lazy(directory.path(), Clock), Clock, &Tasks::new());
        say_status(&events, Clock, "running");
        let values = events.values(&Scope::house(), &Filter::everything());
        let said = std::str::from_utf8(&values[0].body).unwrap();
        let said = said.split_once(r#"Z","#).unwrap().1;
        assert!(include_str!("../../docs/events.md").contains(said), "{said}");
    }
}
