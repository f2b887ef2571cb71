//! Tests of the door: what is asked and answered, who may, what is refused; and on real sockets what is followed.

use std::{collections::BTreeMap, env, fs, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};

use super::{GraphQlOptions, schema::schema};
use crate::{
    auth::{
        Credential, GatePolicy, Identity, Purpose,
        testing::{cheap_user, permissions},
    },
    base::{Clock, Tasks},
    config::AllowedOrigins,
    events::{
        Draft, EventType, Severity,
        testing::{Desk, draft},
        ws::testing::Client,
    },
    http::{
        HttpOptions, HttpServer, Rooms, serve,
        testing::{ANNA, House, Reply, rooms},
        tests::alerts::warm,
    },
    stats::{EventDoor, EventDoors, FollowerLimits},
};

const PAGE: &str = include_str!("../../../docs/graphql.md");

/// The examples of the page.
fn examples() -> Vec<&'static str> {
    PAGE.split("```graphql\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

impl House {
    async fn question(&self, query: &str, variables: Value) -> Reply {
        self.tell("POST", "/graphql", json!({"query": query, "variables": variables})).await
    }

    /// The data of an answer without errors.
    async fn data(&self, query: &str) -> Value {
        let reply = self.question(query, json!({})).await;
        let mut answer = reply.json();
        assert_eq!((reply.status.as_u16(), &answer["errors"]), (200, &Value::Null), "{query}");
        answer["data"].take()
    }
}

fn code(answer: &Value) -> &str {
    answer["errors"][0]["extensions"]["code"].as_str().unwrap_or_else(|| panic!("no code: {answer}"))
}

#[test]
fn the_committed_schema_is_that_of_the_types() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema.graphql");
    let head = "# What can be asked at /graphql. Generated from the types; a test holds it equal.\n\n";
    let made = format!("{head}{}", schema(&GraphQlOptions::default()).sdl());
    if fs::read_to_string(&file).unwrap_or_default() != made {
        fs::write(&file, made).unwrap();
        panic!("docs/schema.graphql was not up to date; it is now: commit it");
    }
}

#[tokio::test]
async fn queries_and_mutations_of_the_page_are_answered() {
    let desk = Desk::new().await;
    let house = warm(&desk).await;
    let alerts = house.get("/api/v1/alerts").await.json();
    let fingerprint = alerts["items"][0]["fingerprint"].clone();
    let mut answered = 0;
    for example in examples().into_iter().filter(|example| !example.starts_with("subscription")) {
        let variables = if example.contains("$fingerprint") { json!({"fingerprint": fingerprint}) } else { json!({}) };
        let reply = house.question(example, variables).await;
        let answer = reply.json();
        assert!(reply.status == 200 && answer["errors"].is_null(), "{example}\n{answer}");
        answered += 1;
    }
    assert_eq!(answered, 4);
    let alert = &house.get("/api/v1/alerts").await.json()["items"][0];
    assert_eq!((&alert["ack"]["by"], &alert["ack"]["note"]), (&"local".into(), &"on my way".into()));
    assert!(alert["silenced_by"].is_string(), "{alert}");
    let told = house.data("{ alerts(filter: { state: ACTIVE }) { items { severity state value ack { by } } } }").await;
    let expected = json!({"severity": "WARNING", "state": "ACTIVE", "value": 40.0, "ack": {"by": "local"}});
    assert_eq!(told["alerts"]["items"], json!([expected]));
}

#[tokio::test(start_paused = true)]
async fn it_tells_what_the_api_tells() {
    let house = House::new();
    house.play().await;
    let path = house.get("/api/v1/paths/demo").await.json();
    let told = house
        .data(
            r#"{ path(name: "demo") { name state since readers bytesReceived tracks { kind codec codecString gopMs leftOut } }
                 paths(limit: 1) { items { name } next } info { version defaultPath } rules { items { id } }
                 sessions { items { id } } statistics { viewers paths { path } } }"#,
        )
        .await;
    let asked = &told["path"];
    assert_eq!(
        (&asked["name"], &asked["state"], &asked["readers"]),
        (&path["name"], &"READY".into(), &path["readers"])
    );
    assert_eq!((&asked["since"], &asked["bytesReceived"]), (&path["since"], &path["bytes_received"]));
    let (track, known) = (&asked["tracks"][0], &path["tracks"][0]);
    assert_eq!(
        (&track["codec"], &track["kind"], &track["gopMs"]),
        (&known["codec"], &"VIDEO".into(), &known["gop_ms"])
    );
    assert_eq!((&track["codecString"], &track["leftOut"]), (&known["codec_string"], &known["left_out"]));
    assert_eq!(told["paths"], json!({"items": [{"name": "demo"}], "next": "demo"}));
    assert_eq!(told["info"], json!({"version": env!("CARGO_PKG_VERSION"), "defaultPath": "demo"}));
    let next = house.data(r#"{ paths(after: "demo") { items { name error { code } } next } }"#).await;
    let gate = json!({"name": "site/gate", "error": {"code": "connection_refused"}});
    assert_eq!(next["paths"], json!({"items": [gate], "next": null}));

    house.send("POST", "/api/v1/sensors/cellar/readings", &[("content-type", "text/plain")], "22.5".into()).await;
    let told = house
        .data(r#"{ sensor(id: "cellar") { id value stale history(step: 60) { sensor points { avg count } } } }"#)
        .await;
    assert_eq!((&told["sensor"]["value"], &told["sensor"]["history"]["sensor"]), (&22.5.into(), &"cellar".into()));
}

#[tokio::test]
async fn facts_come_by_pages_from_the_cursor_of_any_door() {
    let desk = Desk::new().await;
    let house = house_of(&desk).await;
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(desk.events.append(numbered(number)).await.unwrap().cursor.to_string());
    }
    let newest = house
        .data("{ events(limit: 2) { items { id type time path severity data durable } cursor gap { lost } } }")
        .await;
    let page = &newest["events"];
    assert_eq!(
        (&page["cursor"], &page["items"][1]["id"], &page["gap"]),
        (&ids[4].clone().into(), &ids[4].clone().into(), &Value::Null)
    );
    let fact = &house.get("/api/v1/events?limit=1").await.json()["events"][0];
    let told = &page["items"][1];
    for field in ["id", "type", "time", "path", "data"] {
        assert_eq!(told[field], fact[field], "{field}");
    }
    assert_eq!((&told["severity"], &told["durable"]), (&"WARNING".into(), &true.into()));
    let query = format!(r#"{{ events(after: "{}", limit: 2) {{ items {{ id }} cursor gap {{ lost }} }} }}"#, ids[1]);
    let page = &house.data(&query).await["events"];
    assert_eq!(page["items"], json!([{"id": ids[2]}, {"id": ids[3]}]));
    assert_eq!(page["cursor"], ids[3].as_str());
    let page = &house
        .data(r#"{ events(after: "00000001-1") { items { id } cursor gap { after lost cursor } } }"#)
        .await["events"];
    assert_eq!(page["gap"], json!({"after": "00000001-1", "lost": null, "cursor": ids[4]}));
    let filtered = house.data(r#"{ events(filter: { types: ["nothing"] }) { items { id } } }"#).await;
    assert_eq!(filtered["events"]["items"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn a_caller_gets_what_it_may_and_a_word_for_the_rest() {
    let mut house = House::new();
    house.log_in_from_elsewhere(&[("view", "*"), ("alerts", "*")]);
    assert_eq!(house.data("{ paths { items { name } } }").await["paths"]["items"][0]["name"], "demo");
    let reply = house.question(r#"mutation { acknowledgeAlert(fingerprint: "0123456789abcdef") }"#, json!({})).await;
    let answer = reply.json();
    assert_eq!((reply.status.as_u16(), code(&answer), &answer["data"]), (200, "not_allowed", &Value::Null));
    assert_eq!(answer["errors"][0]["path"], json!(["acknowledgeAlert"]));
    let mut house = House::new();
    house.peer = "10.0.0.9:50000".parse().unwrap();
    for reply in [
        house.question("{ __typename }", json!({})).await,
        house.get("/graphql?query=%7B__schema%7Btypes%7Bname%7D%7D%7D").await,
    ] {
        assert_eq!(reply.problem(401), "unauthenticated");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_may_anything_anywhere_is_let_in_and_each_field_asks_for_its_own_right() {
    let mut house = House::new();
    for action in ["view", "playback", "publish", "alerts", "ack", "sensors", "stats", "control", "admin"] {
        house.log_in_from_elsewhere(&[(action, "demo")]);
        house.data("{ __typename }").await;
    }
    house.log_in_from_elsewhere(&[]);
    assert_eq!(house.question("{ __typename }", json!({})).await.problem(403), "not_allowed");
    house.log_in_from_elsewhere(&[("view", "demo")]);
    let page = house.data("{ paths { items { name } } path(name: \"demo\") { name } alerts { items { rule } } }").await;
    assert_eq!((&page["paths"]["items"], &page["alerts"]["items"]), (&json!([{ "name": "demo" }]), &json!([])));
    for query in [
        "{ info { version } }",
        "{ sensors { items { id } } }",
        "{ sensor(id: \"attic\") { id history { stepMs } } }",
        "{ statistics { viewers } }",
        "{ rules { items { id } } }",
        "{ sessions { items { id } } }",
        "{ events { items { id } } }",
        "{ events(filter: { types: [\"audit\"] }) { items { id } } }",
        "mutation { silenceAlert(fingerprint: \"0\", until: \"2100-01-01T00:00:00Z\") }",
    ] {
        let reply = house.question(query, json!({})).await;
        let answer = reply.json();
        assert_eq!((reply.status.as_u16(), code(&answer)), (200, "not_allowed"), "{query}: {answer}");
        assert_eq!(answer["data"], Value::Null, "{query}");
    }
    house.log_in_from_elsewhere(&[("alerts", "*")]);
    house.rooms.events.append(draft(EventType::Audit, "changed")).await.unwrap();
    let audit = house.data("{ events(filter: { types: [\"audit\"] }) { items { id } } }").await;
    assert_eq!(audit["events"]["items"], json!([]), "the audit is for administrators");
}

#[tokio::test(start_paused = true)]
async fn what_asks_for_too_much_is_refused_by_word_before_anything_is_looked_up() {
    let house = House::new();
    let tracks = "{ items { renditions { tracks { codec kind width height fps units } } } }";
    let aliases: String = (0..51).map(|n| format!("a{n}: __typename ")).collect();
    let doubled: String =
        (0..60).map(|n| format!("fragment f{n} on Query {{ ...f{m} ...f{m} }} ", m = n + 1)).collect();
    let table = [
        (
            format!("{{ __type(name: \"A\") {{ {} name {} }} }}", "ofType { ".repeat(20), "}".repeat(20)),
            "query_too_deep",
        ),
        (format!("{{ paths(limit: {}1{}) {{ next }} }}", "[".repeat(60_000 / 2), ""), "query_too_deep"),
        (format!("{{ info {{ {aliases} }} }}"), "too_many_aliases"),
        (format!("{{ {} }}", "__typename ".repeat(21)), "too_many_fields"),
        (format!("{{ {} }}", "info { version } ".repeat(2000)), "query_too_large"),
        (format!("{{ ...f0 }} {doubled} fragment f60 on Query {{ __typename }}"), "query_too_large"),
        (format!("{{ paths(limit: 1000) {{ {} }} }}", "next ".repeat(30)), "query_too_complex"),
        (format!("{{ paths(limit: 1000) {tracks} }}"), "none"),
        ("{ sensors(limit: 1000) { items { history { stepMs } } } }".to_owned(), "query_too_complex"),
        ("{ nothing }".to_owned(), "invalid_query"),
        ("{".to_owned(), "invalid_query"),
        ("subscription { statistics { viewers } }".to_owned(), "subscription_needs_websocket"),
    ];
    for (query, expected) in table {
        let (asked, body) = (&query[..query.len().min(80)], json!({"query": query}).to_string());
        let reply = house.send("POST", "/graphql", &[("content-type", "application/json")], body.clone().into()).await;
        if expected == "none" {
            assert_eq!(reply.status, 200, "{asked}: {}", reply.text());
            continue;
        }
        let answer = reply.json();
        assert_eq!((reply.status.as_u16(), code(&answer)), (400, expected), "{asked}: {answer}");
        assert!(answer.get("data").is_none(), "{asked}");
        assert_eq!(reply.header("content-type"), "application/graphql-response+json; charset=utf-8");
        let headers = [("content-type", "application/json"), ("accept", "application/json")];
        let older = house.send("POST", "/graphql", &headers, body.into()).await;
        assert_eq!((older.status.as_u16(), older.header("content-type")), (200, "application/json; charset=utf-8"));
    }
    let big = json!({"query": format!("{{ info {{ version }} }} #{}", "x".repeat(64 << 10))});
    assert_eq!(house.tell("POST", "/graphql", big).await.problem(413), "body_too_large");
    let batch = house.tell("POST", "/graphql", json!([{"query": "{ info { version } }"}])).await;
    assert_eq!((batch.status.as_u16(), code(&batch.json())), (400, "batch_not_taken"));
    let wrong = house.data("{ info { version } }").await;
    assert!(wrong["info"]["version"].is_string());
    let reply = house.question(r#"{ path(name: "nowhere") { name } }"#, json!({})).await;
    assert_eq!((reply.status.as_u16(), code(&reply.json())), (200, "path_not_found"));
}

#[tokio::test(start_paused = true)]
async fn methods_and_media_types_are_those_of_graphql_over_http_and_a_foreign_page_does_nothing() {
    let house = House::new();
    let reply = house
        .get("/graphql?query=query%20A($n:String!)%7Bpath(name:$n)%7Bname%7D%7D&variables=%7B%22n%22:%22demo%22%7D")
        .await;
    assert_eq!((reply.status.as_u16(), reply.json()), (200, json!({"data": {"path": {"name": "demo"}}})));
    assert_eq!(reply.header("cache-control"), "no-store");
    let reply = house.get("/graphql?query=mutation%7BacknowledgeAlert(fingerprint:%22x%22)%7D").await;
    assert_eq!((reply.problem(405).as_str(), reply.header("allow")), ("method_not_allowed", "POST"));
    assert_eq!(house.get("/graphql").await.status, 400);
    let curl = [("upgrade", "h2c"), ("connection", "upgrade, http2-settings")];
    assert_eq!(house.ask("GET", "/graphql?query=%7Binfo%7Bversion%7D%7D", &curl).await.status, 200);
    assert_eq!(house.ask("DELETE", "/graphql", &[]).await.problem(405), "method_not_allowed");
    let body = r#"{"query":"{ info { version } }"}"#;
    for headers in
        [&[("content-type", "text/plain")][..], &[("content-type", "application/x-www-form-urlencoded")], &[]]
    {
        let reply = house.send("POST", "/graphql", headers, body.into()).await;
        assert_eq!(reply.problem(415), "unsupported_media_type");
    }
    let json = ("content-type", "application/json");
    let answered = async |accept: &str| {
        let reply = house.send("POST", "/graphql", &[json, ("accept", accept)], body.into()).await;
        (reply.status.as_u16(), reply.header("content-type").split(';').next().unwrap().to_owned())
    };
    let (new, old) = ("application/graphql-response+json".to_owned(), "application/json".to_owned());
    assert_eq!(answered("*/*").await, (200, new.clone()));
    assert_eq!(answered("application/json, text/plain, */*").await, (200, old.clone()));
    assert_eq!(answered("application/graphql-response+json, application/json;q=0.9").await, (200, new));
    assert_eq!(answered("application/graphql-response+json;q=0, application/json").await, (200, old));
    assert_eq!(answered("text/html").await.0, 406);
    for bad in ["", "{", "7", r#"{"query": 7}"#, r#"{"query":"{a}","variables":7}"#] {
        assert_eq!(house.send("POST", "/graphql", &[json], bad.into()).await.status, 400, "{bad}");
    }
    let foreign = ("origin", "https://evil.example");
    assert_eq!(house.send("POST", "/graphql", &[json, foreign], body.into()).await.problem(403), "origin_not_allowed");
    let socket = [("upgrade", "websocket"), ("connection", "upgrade"), foreign];
    assert_eq!(house.ask("GET", "/graphql", &socket).await.problem(403), "origin_not_allowed");
    assert_eq!(house.ask("GET", "/graphql", &socket[..2]).await.problem(426), "websocket_version");
}

#[tokio::test(start_paused = true)]
async fn the_door_can_be_closed_and_the_schema_kept() {
    let closed = HttpOptions { graphql: GraphQlOptions { enabled: false, ..Default::default() }, ..Default::default() };
    let house = House::with(&closed, GatePolicy::Local);
    for reply in [house.question("{ info { version } }", json!({})).await, house.get("/graphql").await] {
        assert_eq!(reply.problem(404), "door_switched_off");
    }
    let kept = GraphQlOptions { introspection: false, ..Default::default() };
    let house = House::with(&HttpOptions { graphql: kept, ..Default::default() }, GatePolicy::Local);
    for query in ["{ __schema { types { name } } }", r#"{ __type(name: "Query") { name } }"#, "{ pats { next } }"] {
        let reply = house.question(query, json!({})).await;
        assert!(reply.status == 400 && !reply.text().contains("paths"), "{query}: {}", reply.text());
        let expected = if query.contains("__") { "introspection_off" } else { "invalid_query" };
        assert_eq!(code(&reply.json()), expected);
    }
    assert!(house.data("{ info { version } }").await["info"]["version"].is_string());
}

async fn house_of(desk: &Desk) -> House {
    let (tasks, state_dir) = (Tasks::new(), tempfile::tempdir().unwrap());
    let rooms = Rooms { events: desk.events.clone(), ..rooms(&tasks, GatePolicy::Local, state_dir.path()) };
    House::of(rooms, &HttpOptions::default(), tasks, state_dir)
}

/// A fact whose kind is its number.
fn numbered(number: usize) -> Draft {
    Draft { severity: Some(Severity::Warning), ..draft(EventType::CameraEvent, &format!("event{number}")) }
}

/// A server with a socket.
struct Server {
    http: HttpServer,
    address: SocketAddr,
    desk: Desk,
    rooms: Rooms,
    tasks: Tasks,
    _state_dir: TempDir,
}

type Guest = Client<TcpStream>;

const PROTOCOL: &str = "Sec-WebSocket-Protocol: graphql-transport-ws\r\n";

/// A proxy stands in between: it is not this machine that asks.
const FROM_ELSEWHERE: &str = "X-Forwarded-For: 10.0.0.9\r\n";

impl Server {
    async fn start() -> Self {
        Self::with(&HttpOptions::default()).await
    }

    async fn with(options: &HttpOptions) -> Self {
        Self::limited(options, FollowerLimits { per_user: 100, per_address: 100 }).await
    }

    async fn limited(options: &HttpOptions, limits: FollowerLimits) -> Self {
        let (desk, tasks) = (Desk::new().await, Tasks::new());
        let state_dir = tempfile::tempdir().unwrap();
        let event_doors = Arc::new(EventDoors::new(limits));
        let policy = GatePolicy::Local;
        let rooms = Rooms { events: desk.events.clone(), event_doors, ..rooms(&tasks, policy, state_dir.path()) };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let http = serve(options, vec![listener], None, rooms.clone(), &tasks);
        http.set_ready();
        Self { http, address, desk, rooms, tasks, _state_dir: state_dir }
    }

    async fn knock(&self, headers: &str) -> (String, Guest) {
        Client::open(TcpStream::connect(self.address).await.unwrap(), "/graphql", headers).await
    }

    /// A client whose connection is acknowledged, and the cursor that came with it.
    async fn client(&self) -> (Guest, String) {
        let (head, mut client) = self.knock(PROTOCOL).await;
        assert!(head.starts_with("HTTP/1.1 101") && head.contains("graphql-transport-ws"), "{head}");
        client.send(&json!({"type": "connection_init"})).await;
        let ack = client.message().await;
        assert_eq!(ack["type"], "connection_ack");
        (client, ack["payload"]["cursor"].as_str().unwrap().to_owned())
    }

    /// A client from elsewhere that showed nothing, and says this of itself.
    async fn stranger(&self, payload: &Value) -> Guest {
        let (head, mut client) = self.knock(&format!("{PROTOCOL}{FROM_ELSEWHERE}")).await;
        assert!(head.starts_with("HTTP/1.1 101"), "a browser cannot read a refused handshake: {head}");
        client.send(&json!({"type": "connection_init", "payload": payload})).await;
        client
    }

    /// Anna sees everything, Clara may do nothing.
    fn take_in_users(&self) {
        let sees = [("view", "*"), ("alerts", "*"), ("sensors", "*"), ("stats", "*")];
        let users = vec![cheap_user("anna", "password", &sees), cheap_user("clara", "password", &[])];
        self.rooms.gate.set_users(users, &BTreeMap::new());
    }

    /// A token of somebody, that lasts so many seconds and allows so much at most.
    async fn token(&self, user: &str, purpose: Purpose, lasts: i64, limit: Option<&[(&str, &str)]>) -> String {
        let (shown, gate) = (Credential::of_password(user, "password").unwrap(), &self.rooms.gate);
        let identity = gate.identify(&shown, [127, 0, 0, 1].into(), Clock.moment()).await.unwrap();
        let Identity::Known(known) = identity else { panic!("{user} is known") };
        let issued = gate.issue(&known, purpose, lasts, limit.map(permissions), Clock.moment()).unwrap();
        issued.token.reveal().to_owned()
    }

    /// Ends what has come to its end, as the server does twice a second, until a client hears of it.
    async fn until_closed(&self, client: &mut Guest) -> (u16, String) {
        let ticking = async {
            loop {
                self.rooms.gate.handle_timeout(Clock.moment());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            closed = client.close() => closed,
            () = ticking => unreachable!("it goes on for ever"),
        }
    }

    async fn happen(&self, number: usize) -> String {
        self.desk.events.append(numbered(number)).await.unwrap().cursor.to_string()
    }

    fn door(&self) -> crate::stats::EventDoorFigures {
        self.rooms.event_doors.figures(EventDoor::GraphQl)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.stop();
        self.desk.tasks.stop();
    }
}

const EVENTS: &str = "subscription($after: String, $filter: EventFilter) { events(after: $after, filter: $filter) {
    __typename ... on Event { id cursor data } ... on Gap { after cursor lost } } }";

async fn follow(client: &mut Guest, id: &str, after: Option<&str>) {
    let variables = json!({"after": after, "filter": {"types": ["camera_event"]}});
    client.send(&json!({"type": "subscribe", "id": id, "payload": {"query": EVENTS, "variables": variables}})).await;
}

/// The next event of an operation.
async fn event(client: &mut Guest, id: &str) -> Value {
    let message = client.message_of("next").await;
    assert_eq!((&message["id"], &message["payload"]["errors"]), (&id.into(), &Value::Null), "{message}");
    message["payload"]["data"]["events"].clone()
}

#[tokio::test]
async fn facts_come_in_order_and_once_over_reconnects_and_changes_of_door() {
    let server = Server::start().await;
    let (mut client, cursor) = server.client().await;
    // What happens between the acknowledgement and the subscription is not missed.
    let mut ids = vec![server.happen(0).await];
    follow(&mut client, "a", Some(&cursor)).await;
    assert_eq!(event(&mut client, "a").await["id"], ids[0].as_str());
    for number in 1..200 {
        ids.push(server.happen(number).await);
    }
    for id in &ids[1..150] {
        let event = event(&mut client, "a").await;
        assert_eq!((&event["id"], &event["cursor"]), (&id.as_str().into(), &id.as_str().into()));
    }
    drop(client);
    // On by another door, and back.
    let url = format!("http://{}/api/v1/events?after={}&limit=20", server.address, ids[149]);
    let page: Value = reqwest::get(url).await.unwrap().json().await.unwrap();
    let (mut client, _) = server.client().await;
    follow(&mut client, "b", page["cursor"].as_str()).await;
    for id in &ids[170..] {
        assert_eq!(event(&mut client, "b").await["id"], id.as_str());
    }
    follow(&mut client, "c", Some("00000001-7")).await;
    let gap = event(&mut client, "c").await;
    assert_eq!(gap, json!({"__typename": "Gap", "after": "00000001-7", "cursor": ids[199], "lost": null}));
    client.send(&json!({"type": "complete", "id": "b"})).await;
    client.send(&json!({"type": "ping", "payload": {"n": 1}})).await;
    assert_eq!(client.message_of("pong").await["payload"]["n"], 1, "what was said before is done");
    let last = server.happen(200).await;
    assert_eq!(event(&mut client, "c").await["id"], last.as_str());
    assert_eq!((server.door().open, server.door().dropped), (1, 1));
    assert!(server.door().delivered >= 150 + 30 + 2);
}

#[tokio::test]
async fn subscriptions_of_the_page_go_and_the_values_of_a_sensor_come() {
    let server = Server::start().await;
    let (mut client, _) = server.client().await;
    let examples: Vec<_> = examples().into_iter().filter(|example| example.starts_with("subscription")).collect();
    assert_eq!(examples.len(), 4);
    for (number, example) in examples.iter().enumerate() {
        client.send(&json!({"type": "subscribe", "id": number.to_string(), "payload": {"query": example}})).await;
    }
    client.send(&json!({"type": "subscribe", "id": "bad", "payload": {"query": "subscription { nothing }"}})).await;
    let error = client.message_of("error").await;
    assert_eq!((&error["id"], code(&json!({"errors": error["payload"]}))), (&"bad".into(), "invalid_query"), "{error}");
    // The query of a socket is answered and over; the subscriptions go on.
    let query = json!({"query": "query($n: String!) { path(name: $n) { name } }", "variables": {"n": "demo"}});
    client.send(&json!({"type": "subscribe", "id": "q", "payload": query})).await;
    let next = client.message_of("next").await;
    assert_eq!((&next["id"], &next["payload"]), (&"q".into(), &json!({"data": {"path": {"name": "demo"}}})));
    assert_eq!(client.message_of("complete").await["id"], "q");
}

#[tokio::test]
async fn breaches_are_told_by_the_codes_of_the_sub_protocol() {
    let server = Server::start().await;
    let subscribe = |query: &str| json!({"type": "subscribe", "id": "1", "payload": {"query": query}});
    let (head, mut client) = server.knock("").await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert_eq!(client.close().await.0, 4406);
    let (_, mut client) = server.knock(PROTOCOL).await;
    client.send(&subscribe("{ __typename }")).await;
    assert_eq!(client.close().await.0, 4401);
    for (message, expected) in [
        (json!({"type": "connection_init"}), 4429),
        (json!({"type": "start", "id": "1"}), 4400),
        (json!("hello"), 4400),
    ] {
        let (mut client, _) = server.client().await;
        client.send(&message).await;
        assert_eq!(client.close().await.0, expected, "{message}");
    }
    let (mut client, _) = server.client().await;
    client.send_raw(&crate::events::ws::testing::masked(0x82, b"{}")).await;
    assert_eq!(client.close().await.0, 4400);
    let (mut client, _) = server.client().await;
    for _ in 0..2 {
        client.send(&subscribe(EVENTS)).await;
    }
    assert_eq!(client.close().await.0, 4409);
    let (mut client, _) = server.client().await;
    for (query, expected) in
        [("{", "invalid_query"), ("subscription { events(after: \"x\") { __typename } }", "invalid_cursor")]
    {
        client.send(&subscribe(query)).await;
        let error = client.message_of("error").await;
        assert_eq!(code(&json!({"errors": error["payload"]})), expected, "the name is free again: {error}");
    }
    for number in 0..33 {
        follow(&mut client, &number.to_string(), None).await;
    }
    let error = client.message_of("error").await;
    assert_eq!((&error["id"], code(&json!({"errors": error["payload"]}))), (&"32".into(), "too_many_operations"));
}

#[tokio::test]
async fn limits_and_rights_are_told_by_close_code_and_a_drain_says_goodbye() {
    let graphql = GraphQlOptions { max_sockets: 1, ..Default::default() };
    let origins = AllowedOrigins::None;
    let server = Server::with(&HttpOptions { graphql, origins, ..Default::default() }).await;
    let (mut client, _) = server.client().await;
    assert_eq!(server.knock(PROTOCOL).await.1.close().await.0, 1013);
    let (head, _) = server.knock(&format!("{PROTOCOL}Origin: https://evil.example\r\n")).await;
    assert!(head.starts_with("HTTP/1.1 403"), "{head}");
    // A proxy stands in between: it is not this machine that asks.
    drop(client);
    while server.door().open > 0 {
        tokio::task::yield_now().await;
    }
    let (_, mut stranger) = server.knock(&format!("{PROTOCOL}X-Forwarded-For: 10.0.0.9\r\n")).await;
    stranger.send(&json!({"type": "connection_init"})).await;
    assert_eq!(stranger.close().await.0, 4403);
    stranger.end().await;
    while server.door().open > 0 {
        tokio::task::yield_now().await;
    }
    client = server.client().await.0;
    follow(&mut client, "a", None).await;
    let goodbye = async {
        let close = client.close().await;
        drop(client);
        close
    };
    let (_, (code, reason)) = tokio::join!(server.http.drain(Duration::from_secs(60)), goodbye);
    assert!(code == 1001 && reason.starts_with("come back within"), "{code} {reason}");
    let refused: BTreeMap<_, _> = server.door().refused.into_iter().collect();
    assert_eq!((refused["limit"], refused["forbidden"]), (1, 1));
}

/// A client that takes nothing holds one batch: what happens is in the log, and comes when it reads on.
#[tokio::test]
async fn a_client_that_reads_late_misses_nothing() {
    let server = Server::start().await;
    let (mut client, cursor) = server.client().await;
    follow(&mut client, "a", Some(&cursor)).await;
    let mut ids = Vec::new();
    for number in 0..300 {
        let mut big = numbered(number);
        big.data = serde_json::value::to_raw_value(&json!({"kind": "big", "text": "x".repeat(16 << 10)})).unwrap();
        ids.push(server.desk.events.append(big).await.unwrap().cursor.to_string());
    }
    for id in &ids {
        assert_eq!(event(&mut client, "a").await["id"], id.as_str());
    }
}

#[tokio::test]
async fn who_can_set_no_header_says_who_it_is_by_connection_init() {
    let server = Server::start().await;
    server.take_in_users();
    let access = server.token("anna", Purpose::Access, 60, None).await;
    let ticket = server.token("anna", Purpose::Events, 60, None).await;
    let link = server.token("anna", Purpose::Media, 60, Some(&[("view", "demo")])).await;
    let of_clara = server.token("clara", Purpose::Access, 60, None).await;
    for payload in [
        json!({ "Authorization": format!("Bearer {access}") }),
        json!({ "authorization": ANNA, "other": [1] }),
        json!({ "headers": { "Authorization": format!("Bearer {access}") } }),
        json!({ "token": access }),
        json!({ "token": ticket, "Authorization": null }),
    ] {
        let mut anna = server.stranger(&payload).await;
        assert_eq!(anna.message().await["type"], "connection_ack", "{payload}");
        follow(&mut anna, "a", None).await;
        let query = json!({"query": "{ paths { items { name } } }"});
        anna.send(&json!({"type": "subscribe", "id": "q", "payload": query})).await;
        assert_eq!(anna.message_of("next").await["payload"]["data"]["paths"]["items"][0]["name"], "demo");
        let id = server.happen(1).await;
        assert_eq!(event(&mut anna, "a").await["id"], id.as_str());
        // What is hers to see is not hers to do.
        let mutation = json!({"query": "mutation { acknowledgeAlert(fingerprint: \"0123456789abcdef\") }"});
        anna.send(&json!({"type": "subscribe", "id": "m", "payload": mutation})).await;
        let answer = anna.message_of("next").await;
        assert_eq!(code(&answer["payload"]), "not_allowed", "{answer}");
    }
    for payload in [
        json!({ "token": format!("{access}x") }),
        json!({ "token": "nonsense" }),
        json!({ "token": "no token at all" }),
        json!({ "token": 7 }),
        json!({ "token": link }),
        json!({ "token": of_clara }),
        json!({ "token": access, "Authorization": format!("Bearer {access}") }),
        json!({ "Authorization": "Basic YW5uYTpQYXNzd29yZA==" }),
        json!({ "Authorization": access }),
        json!({ "Authorization": format!("Digest username=\"anna\", response=\"{access}\"") }),
        json!({ "nothing": "of use" }),
        Value::Null,
    ] {
        let mut stranger = server.stranger(&payload).await;
        let (code, reason) = stranger.close().await;
        assert_eq!(code, 4403, "{payload}: {reason}");
        assert!(!reason.contains(&access) && !reason.contains("YW5u"), "{reason}");
    }
    // Before somebody is known nothing may be asked, and nobody is told twice.
    let subscribe = json!({"type": "subscribe", "id": "1", "payload": {"query": "{ __typename }"}});
    let (_, mut stranger) = server.knock(&format!("{PROTOCOL}{FROM_ELSEWHERE}")).await;
    stranger.send(&subscribe).await;
    assert_eq!(stranger.close().await.0, 4401);
    let mut twice = server.stranger(&json!({ "Authorization": ANNA })).await;
    twice.send(&json!({"type": "connection_init", "payload": { "Authorization": ANNA }})).await;
    assert_eq!(twice.close().await.0, 4429);
}

/// A header that is wrong stays wrong, and one that is right gives way to what the payload says.
#[tokio::test]
async fn what_connection_init_shows_stands_above_what_came_before_unless_that_was_wrong() {
    let server = Server::start().await;
    server.take_in_users();
    let narrow = server.token("anna", Purpose::Access, 60, Some(&[("sensors", "*")])).await;
    let init = |token: &str| json!({"type": "connection_init", "payload": { "token": token }});
    let (_, mut wrong) = server.knock(&format!("{PROTOCOL}{FROM_ELSEWHERE}Authorization: Bearer wrong\r\n")).await;
    wrong.send(&init(&narrow)).await;
    assert_eq!(wrong.close().await.0, 4403);
    let (_, mut anna) = server.knock(&format!("{PROTOCOL}{FROM_ELSEWHERE}Authorization: {ANNA}\r\n")).await;
    anna.send(&init(&narrow)).await;
    assert_eq!(anna.message().await["type"], "connection_ack");
    let query = json!({"query": "{ path(name: \"demo\") { name } }"});
    anna.send(&json!({"type": "subscribe", "id": "q", "payload": query})).await;
    assert_eq!(code(&anna.message_of("next").await["payload"]), "path_not_found", "the token allows less");
}

#[tokio::test]
async fn a_connection_ends_with_what_its_caller_may_do() {
    let server = Server::start().await;
    server.take_in_users();
    let short = server.token("anna", Purpose::Access, 2, None).await;
    let long = server.token("anna", Purpose::Access, 60, None).await;
    let (mut left, mut stays) =
        (server.stranger(&json!({ "token": short })).await, server.stranger(&json!({ "token": long })).await);
    for client in [&mut left, &mut stays] {
        assert_eq!(client.message().await["type"], "connection_ack");
        follow(client, "a", None).await;
    }
    let (code, reason) = server.until_closed(&mut left).await;
    assert_eq!((code, reason.as_str()), (4403, "the right to be here ended"));
    let id = server.happen(1).await;
    assert_eq!(event(&mut stays, "a").await["id"], id.as_str());
    // Whoever may do less stays, and what they follow and may not any more is over.
    let set = |rights: &[(&str, &str)]| {
        server.rooms.gate.set_users(vec![cheap_user("anna", "password", rights)], &BTreeMap::new())
    };
    set(&[("view", "demo")]);
    let ended = stays.message_of("next").await;
    assert_eq!(ended["payload"]["errors"][0]["message"], "the right to see anything here ended", "{ended}");
    let query = json!({"query": "{ path(name: \"demo\") { name } }"});
    stays.send(&json!({"type": "subscribe", "id": "q", "payload": query})).await;
    assert_eq!(stays.message_of("next").await["payload"]["data"]["path"]["name"], "demo");
    set(&[]);
    assert_eq!(server.until_closed(&mut stays).await.0, 4403);
}

#[tokio::test]
async fn few_strangers_wait_and_whoever_is_known_counts_as_that_user() {
    let limits = FollowerLimits { per_user: 1, per_address: 100 };
    let server = Server::limited(&HttpOptions::default(), limits).await;
    server.take_in_users();
    let mut waiting = Vec::new();
    for _ in 0..32 {
        waiting.push(server.knock(&format!("{PROTOCOL}{FROM_ELSEWHERE}")).await.1);
    }
    let headers = format!("{PROTOCOL}{FROM_ELSEWHERE}");
    assert_eq!(server.knock(&headers).await.1.close().await.0, 1013, "of one address");
    let init = json!({"type": "connection_init", "payload": { "Authorization": ANNA }});
    let mut anna = waiting.pop().unwrap();
    anna.send(&init).await;
    assert_eq!(anna.message().await["type"], "connection_ack");
    assert_eq!(server.door().open, 1, "those who wait are not counted as clients");
    let mut again = server.stranger(&init["payload"]).await;
    assert_eq!(again.close().await.0, 4429, "there was a place to wait, and none for another connection of hers");
}

#[tokio::test]
async fn passwords_that_are_guessed_over_connection_init_have_to_wait() {
    let server = Server::start().await;
    server.take_in_users();
    let guess = json!({ "Authorization": "Basic YW5uYTpndWVzcw==" });
    let mut codes = Vec::new();
    for _ in 0..12 {
        codes.push(server.stranger(&guess).await.close().await.0);
    }
    assert_eq!((&codes[..11], codes[11]), (&[4403; 11][..], 1013));
}
