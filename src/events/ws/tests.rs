//! Tests of whole connections on a stream in memory, with the runtime's paused clock: who takes nothing, who says
//! nothing, what a connection holds.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use tokio::io::{AsyncReadExt, DuplexStream, duplex};

use super::{
    encoding::Encoding,
    messages::{StreamUrl, VideoRequest},
    testing::{Client, masked},
    *,
};
use crate::{
    base::{Clock, Error, Kind, Result, Tasks},
    events::{
        EventType, From, Scope,
        testing::{Desk, draft},
    },
    stats::{EventDoor, EventDoors},
};

#[derive(Debug)]
struct NoHost;

impl Host for NoHost {
    fn urls<'a>(&'a self, _: &'a VideoRequest) -> BoxFuture<'a, Result<(String, Vec<StreamUrl>)>> {
        async { Ok(("cam".into(), Vec::new())) }.boxed()
    }

    fn renew<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Renewed>> {
        async { Err(Error::new(Kind::Unauthenticated, "nobody has tokens here")) }.boxed()
    }
}

/// A door over events of its own.
struct House {
    desk: Desk,
    doors: Arc<EventDoors>,
    sockets: WebSockets,
    connections: Tasks,
}

impl House {
    async fn new() -> Self {
        let desk = Desk::new().await;
        let doors = Arc::<EventDoors>::default();
        let options = WebSocketOptions::default();
        let sockets = WebSockets::start(
            options,
            desk.events.clone(),
            Commands::default(),
            None,
            doors.clone(),
            Clock,
            &desk.tasks,
        );
        let connections = desk.tasks.child();
        Self { desk, doors, sockets, connections }
    }

    /// A client whose stream holds `room` bytes each way.
    fn connect(&self, room: usize, scope: Scope) -> Client<DuplexStream> {
        let (ours, theirs) = duplex(room);
        let connection = self.sockets.admit(Arrival {
            encoding: Encoding::default(),
            preset: Preset::Events,
            user: "local".into(),
            named: false,
            address: [127, 0, 0, 1].into(),
            until: None,
            scope,
            rights: Rights::default(),
            after: None,
            host: Arc::new(NoHost),
        });
        let running = connection.run(Box::new(ours), Bytes::new(), self.connections.stopping().clone());
        self.connections.spawn("connection", tracing::Span::none(), running);
        Client::new(theirs)
    }

    #[expect(clippy::disallowed_methods, reason = "it has to block, and ends with this function")]
    async fn happen(&self, count: usize) {
        // The disk keeps its own time. While a blocking task runs, the paused clock stands still and nobody is late.
        let (written, writing) = std::sync::mpsc::channel::<()>();
        let standstill = tokio::task::spawn_blocking(move || writing.recv());
        for _ in 0..count {
            self.desk.events.append(draft(EventType::CameraEvent, "motion")).await.unwrap();
        }
        drop(written);
        let _ended = standstill.await;
    }

    fn refused(&self, reason: &str) -> u64 {
        let figures = self.doors.figures(EventDoor::WebSocket);
        figures.refused.iter().find(|(name, _)| *name == reason).unwrap().1
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_is_closed_as_too_slow_and_the_others_miss_nothing() {
    let house = House::new().await;
    let (mut deaf, mut awake) = (house.connect(600, Scope::house()), house.connect(1 << 20, Scope::house()));
    // Only what happens after a client's greeting is promised to it.
    awake.message_of("connection_status").await;
    house.happen(100).await;
    for _ in 0..100 {
        awake.message_of("camera_event").await;
    }
    let started = tokio::time::Instant::now();
    // It reads again, too late: what was begun is whole, and the reason follows.
    tokio::time::sleep(Duration::from_secs(11)).await;
    let (code, reason) = deaf.close().await;
    assert_eq!((code, reason.contains("resume")), (4408, true), "{reason}");
    deaf.end().await;
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!((house.refused("too_slow"), house.doors.figures(EventDoor::WebSocket).open), (1, 1));
}

/// Sockets that are full half of the time, and clients that speak meanwhile: told by the herald, by their own tasks, and
/// on the way from one to the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_tells_it_every_client_gets_every_fact_once_and_in_order() {
    const FACTS: usize = 300;
    let house = House::new().await;
    let clients = (0..40).map(|number| house.connect(if number % 2 == 0 { 700 } else { 1 << 20 }, Scope::house()));
    let mut reading = Vec::new();
    for (number, mut client) in clients.collect::<Vec<_>>().into_iter().enumerate() {
        client.message_of("connection_status").await;
        reading.push(async move {
            let mut offsets = Vec::new();
            while offsets.len() < FACTS {
                let fact = client.message_of("camera_event").await;
                let offset = fact["id"].as_str().unwrap().split_once('-').unwrap().1.parse::<u64>().unwrap();
                offsets.push(offset);
                if (offsets.len() + number).is_multiple_of(50) {
                    client.send(&serde_json::json!({"type": "ping"})).await;
                }
            }
            offsets
        });
    }
    let sending = async {
        for _ in 0..FACTS / 20 {
            let sent = (0..20).map(|_| house.desk.events.enqueue(draft(EventType::CameraEvent, "motion")).unwrap());
            for receipt in sent.collect::<Vec<_>>() {
                receipt.await.unwrap();
            }
        }
    };
    let ((), read) = tokio::join!(sending, futures_util::future::join_all(reading));
    for offsets in read {
        assert!(offsets.windows(2).all(|pair| pair[1] == pair[0] + 1), "{offsets:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_not_there_any_more_is_gone_within_ninety_seconds() {
    let house = House::new().await;
    let mut client = house.connect(1 << 16, Scope::house());
    let started = tokio::time::Instant::now();
    let mut said = Vec::new();
    client.stream.read_to_end(&mut said).await.unwrap();
    assert!((60..90).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    assert_eq!(said.windows(2).filter(|bytes| bytes == b"\x89\x00").count(), 2, "two pings");
    assert_eq!((house.refused("silent"), house.doors.figures(EventDoor::WebSocket).open), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_only_answers_pings_stays() {
    let house = House::new().await;
    let mut client = house.connect(1 << 16, Scope::house());
    for _ in 0..20 {
        while client.frame().await.0 != 0x89 {}
        client.send_raw(&masked(0x8a, b"")).await;
    }
    house.happen(1).await;
    assert_eq!(client.message().await["type"], "camera_event");
}

#[tokio::test(start_paused = true)]
async fn a_right_that_ends_ends_the_connection_with_4403() {
    let house = House::new().await;
    let caller = crate::auth::Caller::direct("127.0.0.1:9".parse().unwrap());
    let grant = crate::auth::Gate::default().check_server::<crate::auth::Alerts>(&caller).unwrap();
    let mut client = house.connect(1 << 16, Scope::nothing().with(&grant));
    client.message_of("connection_status").await;
    house.happen(1).await;
    client.message_of("camera_event").await;
    // Nothing else happens: it is told at once all the same.
    grant.ended().cancel();
    assert_eq!(client.close().await.0, 4403);
}

#[tokio::test(start_paused = true)]
async fn a_drain_tells_everybody_to_come_back_and_waits_for_no_one_deaf() {
    let house = House::new().await;
    let (mut polite, _deaf) = (house.connect(1 << 16, Scope::house()), house.connect(1 << 16, Scope::house()));
    polite.message_of("connection_status").await;
    house.connections.stop();
    let (code, reason) = polite.close().await;
    assert_eq!((code, reason.as_str()), (1001, "come back within 5 s"));
    polite.send_raw(&masked(0x88, b"\x03\xe9")).await;
    polite.end().await;
    assert_eq!(house.connections.drained(Duration::from_secs(5)).await, Vec::<String>::new());
}

/// What a connection that is silent keeps: the future is all there is, besides small things behind pointers.
#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_small() {
    let house = House::new().await;
    let follower = house.desk.events.follow(Scope::house(), crate::events::Filter::everything(), From::Now);
    assert!(size_of_val(&follower) <= 512, "{}", size_of_val(&follower));
    assert!(size_of::<session::Session>() <= 512, "{}", size_of::<session::Session>());
    assert!(connection::task_size() <= 4096, "{}", connection::task_size());
}
