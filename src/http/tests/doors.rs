//! Clients that change their door. On real sockets: somebody publishes, clients come by WebSocket, by server-sent events,
//! by long-poll and by plain poll, are cut off or told to go, and the server ends and begins again. `CAMPANILE_SCALE`
//! multiplies the cases.

use std::{net::SocketAddr, time::Duration};

use axum::body::Body;
use futures_util::future::{join_all, try_join_all};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Barrier,
};

use crate::{
    auth::GatePolicy,
    base::{Clock, Tasks},
    events::{
        Cursor, EventType,
        testing::{Desk, draft},
        ws::{
            Commands, WebSocketOptions, WebSockets,
            testing::{Client, masked},
        },
    },
    http::{
        HttpOptions, HttpServer,
        events::tests::{Stream, ids},
        serve,
        testing::rooms,
    },
};

/// How a client comes.
#[derive(Clone, Copy, Debug)]
enum Door {
    /// A WebSocket that says in its URL where it goes on; in one of the four encodings.
    Socket(usize),
    /// A WebSocket that says so in a message; `true` says goodbye when it goes.
    Resumed(bool),
    /// Server-sent events, packed or not.
    Stream(bool),
    /// A request that waits, with so many facts at most.
    LongPoll(usize),
    /// A request for the newest facts, of which it has some.
    Poll,
}

/// What one client does, once.
#[derive(Clone, Copy, Debug)]
struct Visit {
    door: Door,
    /// After so many facts the client is cut off.
    most: usize,
}

/// What happens at the same time.
#[derive(Clone, Debug)]
struct Step {
    /// So many alerts are raised, and as many other things happen.
    alerts: usize,
    visits: [Visit; CLIENTS],
    /// The server ends while the clients are there, and begins again.
    restart: bool,
}

const CLIENTS: usize = 3;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let door = prop_oneof![
        (0..4_usize).prop_map(Door::Socket),
        any::<bool>().prop_map(Door::Resumed),
        any::<bool>().prop_map(Door::Stream),
        (1..30_usize).prop_map(Door::LongPoll),
        Just(Door::Poll),
    ];
    let visit = (door, 0..30_usize).prop_map(|(door, most)| Visit { door, most });
    let visits = [visit.clone(), visit.clone(), visit];
    let step = (0..30_usize, visits, prop::bool::weighted(0.2));
    let step = step.prop_map(|(alerts, visits, restart)| Step { alerts, visits, restart });
    prop::collection::vec(step, 1..10)
}

/// A server over a log that outlives it.
struct House {
    desk: Desk,
    http: HttpServer,
    tasks: Tasks,
    address: SocketAddr,
    _state_dir: tempfile::TempDir,
}

impl House {
    async fn over(desk: Desk) -> Self {
        let tasks = Tasks::new();
        let state_dir = tempfile::tempdir().unwrap();
        let mut rooms = rooms(&tasks, GatePolicy::Local, state_dir.path());
        rooms.events = desk.events.clone();
        rooms.websockets = Some(WebSockets::start(
            WebSocketOptions { most: 100, deflate: true },
            desk.events.clone(),
            Commands::default(),
            None,
            rooms.event_doors.clone(),
            Clock,
            &tasks,
        ));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let http = serve(&HttpOptions::default(), vec![listener], None, rooms, &tasks);
        http.set_ready();
        Self { desk, http, tasks, address, _state_dir: state_dir }
    }

    /// Tells everybody to go.
    async fn end(&self) {
        assert_eq!(self.http.drain(Duration::from_secs(60)).await, Vec::<String>::new());
        self.tasks.stop();
    }

    async fn again(self) -> Self {
        Self::over(self.desk.restart().await).await
    }

    /// Alerts with these numbers, each beside something else that happens; all at once, in this order.
    async fn happen(&self, numbers: std::ops::Range<usize>) {
        let drafts = numbers
            .flat_map(|number| [draft(EventType::Alert, &number.to_string()), draft(EventType::CameraEvent, "motion")]);
        try_join_all(drafts.map(|draft| self.desk.events.append(draft))).await.unwrap();
    }
}

/// What a client knows from one door to the next.
#[derive(Debug)]
struct Listener {
    place: Cursor,
    /// The numbers of the alerts that it was told.
    heard: Vec<usize>,
    etag: Option<String>,
}

/// What the server does to a visit.
struct Moment<'a> {
    address: SocketAddr,
    /// Alerts that there are when everything has happened.
    in_all: usize,
    /// The server ends when everybody is there.
    ends: bool,
    all_there: &'a Barrier,
}

impl Moment<'_> {
    async fn everybody_is_there(&self) {
        if self.ends {
            self.all_there.wait().await;
        }
    }
}

impl Listener {
    fn take(&mut self, event: &Value) {
        if event["type"] == "alert" {
            self.heard.push(event["data"]["kind"].as_str().unwrap().parse().unwrap());
        }
        self.place = event["id"].as_str().unwrap().parse().unwrap();
    }

    async fn visit(&mut self, visit: Visit, moment: &Moment<'_>) {
        // Whom the server ends hears whatever comes until then.
        let enough = if moment.ends { usize::MAX } else { moment.in_all.min(self.heard.len() + visit.most) };
        match visit.door {
            Door::Socket(encoding) => self.socket(encoding, moment, enough).await,
            Door::Resumed(polite) => self.resumed(polite, moment, enough).await,
            Door::Stream(packed) => self.stream(packed, moment, enough).await,
            Door::LongPoll(limit) => {
                moment.everybody_is_there().await;
                self.long_poll(moment, limit, 5).await;
            }
            Door::Poll => {
                moment.everybody_is_there().await;
                self.poll(moment).await;
            }
        }
    }

    async fn knock(moment: &Moment<'_>, target: &str, headers: &str) -> Client<TcpStream> {
        let stream = TcpStream::connect(moment.address).await.unwrap();
        let (head, mut client) = Client::open(stream, target, headers).await;
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        assert_eq!(client.message().await["type"], "connected");
        assert_eq!(client.message().await["type"], "connection_status");
        client
    }

    /// Everything that may be seen comes; the client picks out what it wants.
    async fn socket(&mut self, encoding: usize, moment: &Moment<'_>, enough: usize) {
        let headers = [
            "",
            "Sec-WebSocket-Extensions: permessage-deflate\r\n",
            "Sec-WebSocket-Protocol: campanile.events.v1+msgpack\r\n",
            "Sec-WebSocket-Protocol: campanile.events.v1+msgpack\r\nSec-WebSocket-Extensions: permessage-deflate\r\n",
        ];
        let target = format!("/ws/events?after={}", self.place);
        let mut client = Self::knock(moment, &target, headers[encoding]).await;
        moment.everybody_is_there().await;
        self.listen(&mut client, enough).await;
    }

    async fn resumed(&mut self, polite: bool, moment: &Moment<'_>, enough: usize) {
        let mut client = Self::knock(moment, "/ws/alerts", "").await;
        client.send(&json!({"type": "resume", "after": self.place.to_string()})).await;
        // What comes before the answer comes again.
        while client.message_of("connection_status").await["status"] != "resumed" {}
        moment.everybody_is_there().await;
        self.listen(&mut client, enough).await;
        if polite && !moment.ends {
            client.send_raw(&masked(0x88, b"\x03\xe8")).await;
            while let Some(event) = client.next().await {
                self.take(&event);
            }
        }
    }

    async fn listen(&mut self, client: &mut Client<TcpStream>, enough: usize) {
        while self.heard.len() < enough {
            let Some(event) = client.next().await else { return };
            self.take(&event);
        }
    }

    async fn stream(&mut self, packed: bool, moment: &Moment<'_>, enough: usize) {
        let asking = reqwest::Client::builder().no_proxy().gzip(packed).build().unwrap();
        let asking = asking.get(format!("http://{}/stream/events?types=alert", moment.address));
        let response = asking.header("last-event-id", self.place.to_string()).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let mut stream = Stream::of(Body::new(reqwest::Body::from(response)));
        moment.everybody_is_there().await;
        while self.heard.len() < enough {
            let Some(record) = stream.next().await else { break };
            if record.name != "heartbeat" {
                self.take(&record.data);
            }
        }
        self.place = stream.last_id.map_or(self.place, |id| id.parse().unwrap());
    }

    /// Whether there was something.
    async fn long_poll(&mut self, moment: &Moment<'_>, limit: usize, wait: u64) -> bool {
        // Not for what does not come.
        let wait = if !moment.ends && self.heard.len() == moment.in_all { 0 } else { wait };
        let query = format!("after={}&types=alert&limit={limit}&wait={wait}", self.place);
        let Some(response) = ask(moment, &query, None).await else { return false };
        if response.status() == 204 {
            self.place = response.headers()["campanile-cursor"].to_str().unwrap().parse().unwrap();
            return false;
        }
        let list = told(response).await;
        self.take_list(&list, 0);
        true
    }

    async fn poll(&mut self, moment: &Moment<'_>) {
        let Some(response) = ask(moment, "types=alert&limit=1000", self.etag.as_deref()).await else { return };
        if response.status() == 304 {
            return;
        }
        self.etag = Some(response.headers()["etag"].to_str().unwrap().to_owned());
        let list = told(response).await;
        self.take_list(&list, self.place.offset);
    }

    fn take_list(&mut self, list: &Value, known: u64) {
        assert_eq!(list["gap"], Value::Null, "{list}");
        let events = ids(list).into_iter().zip(list["events"].as_array().unwrap());
        for (_, event) in events.filter(|(id, _)| id.parse::<Cursor>().unwrap().offset > known) {
            self.take(event);
        }
        let cursor: Cursor = list["cursor"].as_str().unwrap().parse().unwrap();
        if cursor.offset > self.place.offset {
            self.place = cursor;
        }
    }
}

/// Asks for events; nothing if the server is gone.
async fn ask(moment: &Moment<'_>, query: &str, etag: Option<&str>) -> Option<reqwest::Response> {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut asking = client.get(format!("http://{}/api/v1/events?{query}", moment.address));
    if let Some(etag) = etag {
        asking = asking.header("if-none-match", etag);
    }
    match asking.send().await {
        Ok(response) if moment.ends && response.status() == 503 => None,
        Ok(response) => Some(response),
        Err(error) => {
            assert!(moment.ends, "{error}");
            None
        }
    }
}

async fn told(response: reqwest::Response) -> Value {
    assert_eq!(response.status(), 200);
    response.json().await.unwrap()
}

fn scale() -> u32 {
    std::env::var("CAMPANILE_SCALE").ok().and_then(|scale| scale.parse().ok()).unwrap_or(1)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16 * scale()))]

    /// Whatever clients do between their doors, and whatever ends, each of them gets every alert once and in order.
    #[test]
    fn clients_that_change_their_door_get_every_alert_once_and_in_order(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut house = House::over(Desk::new().await).await;
            let place = house.desk.events.cursor();
            let mut listeners: Vec<_> =
                (0..CLIENTS).map(|_| Listener { place, heard: Vec::new(), etag: None }).collect();
            let mut alerts = 0;
            for step in steps {
                let all_there = Barrier::new(CLIENTS + 1);
                let in_all = alerts + step.alerts;
                let moment = Moment { address: house.address, in_all, ends: step.restart, all_there: &all_there };
                let visits = listeners.iter_mut().zip(step.visits).map(|(one, visit)| one.visit(visit, &moment));
                let publish = async {
                    moment.everybody_is_there().await;
                    house.happen(alerts..in_all).await;
                    if step.restart {
                        house.end().await;
                    }
                };
                tokio::join!(join_all(visits), publish);
                for one in &listeners {
                    assert!(one.heard.iter().copied().eq(0..one.heard.len()), "{:?}", one.heard);
                }
                alerts = in_all;
                if step.restart {
                    house = house.again().await;
                }
            }
            let moment = Moment { address: house.address, in_all: alerts, ends: false, all_there: &Barrier::new(1) };
            for one in &mut listeners {
                while one.long_poll(&moment, 1000, 0).await {}
                assert!(one.heard.iter().copied().eq(0..alerts), "{alerts} alerts: {:?}", one.heard);
            }
            house.end().await;
            house.desk.tasks.stop();
        });
    }
}
