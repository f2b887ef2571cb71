//! Who may not any more is out: what they had opened ends within a second at every door, with that door's goodbye, and what
//! they may still have goes on.

use std::time::{Duration, Instant};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::{
    Method,
    header::{AUTHORIZATION, HeaderMap},
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::support::{
    followers::{Said, Socket, Stream},
    issuer::Issuer,
    process::PATIENCE,
    rtsp_client::{RtspClient, controls},
    server::Server,
    whep_client::{Whep, WhepClient, WhepOptions},
};

/// A second is promised; a busy machine may be ten times as slow.
const SOON: Duration = Duration::from_secs(10);

struct House {
    server: Server,
    issuer: Issuer,
    boss: String,
}

impl House {
    async fn open() -> Self {
        let issuer = Issuer::start().await;
        // With two users nobody is let in for being on this machine.
        let password = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$RqJ4hs3y0J9XbMPjvIPXEw";
        let user = |name: &str| json!({ "name": name, "password": password, "permissions": [{ "action": "admin" }] });
        let mut jwt = issuer.config();
        jwt["leeway"] = json!("0s");
        let config = json!({
            "auth": { "jwt": jwt, "users": [user("one"), user("two")] },
            "paths": { "cam": { "source": "demo" } },
        });
        let server = Server::start(config).await;
        let boss = issuer.token("boss", 600, json!([{ "action": "admin" }]));
        Self { server, issuer, boss }
    }

    async fn ask(&self, method: Method, path: &str, body: Value) -> u16 {
        let request = self.server.client().request(method, self.server.http(path)).bearer_auth(&self.boss);
        request.json(&body).send().await.unwrap().status().as_u16()
    }

    /// Anna, who may watch and hear of alerts; a token of hers comes back.
    async fn anna(&self) -> String {
        let permissions = json!([{ "action": "view" }, { "action": "alerts" }]);
        let anna = json!({ "name": "anna", "password": "correct horse", "permissions": permissions });
        assert_eq!(self.ask(Method::POST, "/api/v1/users", anna).await, 201);
        let login = json!({ "name": "anna", "password": "correct horse" });
        let request = self.server.client().post(self.server.http("/api/v1/auth/login")).json(&login);
        let said: Value = request.send().await.unwrap().json().await.unwrap();
        said["access_token"].as_str().unwrap_or_else(|| panic!("{said}")).to_owned()
    }
}

/// Somebody who follows `cam` and what happens by every door at once.
struct Everywhere {
    token: String,
    rtsp: RtspClient,
    whep: WhepClient,
    socket: Socket,
    stream: Stream,
    /// The status of a request that waits for what does not come.
    waits: JoinHandle<u16>,
}

impl Everywhere {
    async fn open(server: &Server, token: &str) -> Self {
        let rtsp = played(server, token).await;
        let bearer = format!("Bearer {token}").parse().unwrap();
        let http =
            reqwest::Client::builder().no_proxy().default_headers(HeaderMap::from_iter([(AUTHORIZATION, bearer)]));
        let tcp = Some(server.address("webrtc_tcp"));
        let whep = Whep { http: http.build().unwrap(), url: server.http("/cam/whep"), tcp };
        let mut whep = WhepClient::join(&whep, WhepOptions { tcp: true, ..WhepOptions::default() }).await.unwrap();
        assert!(whep.play_until(PATIENCE, |seen| seen.first_packet.is_some()).await, "{:?}", whep.seen);
        let request = server.client().post(server.http("/api/v1/tokens/events")).bearer_auth(token);
        let ticket: Value = request.send().await.unwrap().json().await.unwrap();
        let ticket = ticket["token"].as_str().unwrap();
        let address = server.address("http");
        let (_, socket) = Socket::open(address, &format!("/ws/events?token={ticket}")).await;
        let stream = Stream::open(address, &format!("/stream/events?token={ticket}"), None).await;
        let get = |url: &str| server.client().get(server.http(url)).bearer_auth(token);
        let newest: Value = get("/api/v1/events").send().await.unwrap().json().await.unwrap();
        let after = newest["cursor"].as_str().unwrap();
        let waits = get(&format!("/api/v1/events?after={after}&types=nothing&wait=60")).send();
        let waits = tokio::spawn(async { waits.await.unwrap().status().as_u16() });
        let everywhere = Self { token: token.to_owned(), rtsp, whep, socket, stream, waits };
        assert_eq!(everywhere.playlist(server).await, 200);
        everywhere
    }

    async fn playlist(&self, server: &Server) -> u16 {
        let request = server.client().get(server.http("/cam/index.m3u8")).bearer_auth(&self.token);
        request.send().await.unwrap().status().as_u16()
    }

    /// Waits until the doors of media have said goodbye: how long after `begun` each did.
    async fn media_ends(rtsp: &mut RtspClient, whep: &mut WhepClient, begun: Instant) -> [Duration; 2] {
        let rtsp = async {
            assert!(rtsp.closed(PATIENCE).await, "RTSP ends");
            begun.elapsed()
        };
        let whep = async {
            assert!(!whep.play_until(PATIENCE, |_| false).await, "it does not play on");
            assert!(whep.seen.ended.is_some(), "DTLS says goodbye");
            begun.elapsed()
        };
        tokio::join!(rtsp, whep).into()
    }

    /// The same of the doors of events, and the code that the WebSocket was closed with, and the status of what waited.
    async fn events_end(
        socket: &mut Socket,
        stream: &mut Stream,
        waits: &mut JoinHandle<u16>,
        begun: Instant,
    ) -> ([Duration; 3], u16, u16) {
        let socket = async {
            loop {
                match socket.next().await {
                    Some(Said::Message(_)) => {}
                    Some(Said::Close(code, _)) => return (begun.elapsed(), code),
                    None => panic!("a WebSocket is told why"),
                }
            }
        };
        let stream = async {
            while stream.next().await.is_some() {}
            begun.elapsed()
        };
        let waits = async {
            let status = waits.await.unwrap();
            (begun.elapsed(), status)
        };
        let all = async { tokio::join!(socket, stream, waits) };
        let ((socket, code), stream, (waited, status)) =
            tokio::time::timeout(PATIENCE, all).await.expect("the doors of events close");
        ([socket, stream, waited], code, status)
    }

    /// Waits until every door has said goodbye, and says when each did, in seconds after `begun`; the WebSocket's code comes
    /// back.
    async fn all_end(&mut self, server: &Server, begun: Instant) -> u16 {
        let media = Self::media_ends(&mut self.rtsp, &mut self.whep, begun);
        let events = Self::events_end(&mut self.socket, &mut self.stream, &mut self.waits, begun);
        let (media, (events, code, status)) = tokio::join!(media, events);
        eprintln!("RTSP and WebRTC ended after {media:?}, WebSocket, stream and what waited after {events:?}");
        assert!(media.iter().chain(&events).all(|span| *span < SOON), "{media:?} {events:?}");
        assert_eq!((self.playlist(server).await, status), (401, 401));
        code
    }
}

/// Plays `cam` over RTSP.
async fn played(server: &Server, token: &str) -> RtspClient {
    let mut client = RtspClient::connect(server.address("rtsp")).await;
    let login = format!("Basic {}", STANDARD.encode(format!("x:{token}")));
    let login = ("Authorization", login.as_str());
    let described = client.ask("DESCRIBE", &server.rtsp("cam"), &[login]).await.ok();
    let base = described.header("Content-Base").unwrap().to_owned();
    let control = controls(&described.body, &base).remove(0);
    client.ask("SETUP", &control, &[login, ("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")]).await.ok();
    client.ask("PLAY", &base, &[login]).await.ok();
    client
}

#[tokio::test]
async fn a_user_who_is_removed_is_out_at_every_door() {
    let house = House::open().await;
    let mut anna = Everywhere::open(&house.server, &house.anna().await).await;
    assert_eq!(house.ask(Method::DELETE, "/api/v1/users/anna", Value::Null).await, 204);
    assert_eq!(anna.all_end(&house.server, Instant::now()).await, 4403);
}

#[tokio::test]
async fn a_token_that_ends_ends_what_it_opened_at_every_door() {
    const LASTS: u64 = 6;
    let house = House::open().await;
    let token = house.issuer.token("gast", LASTS.cast_signed(), json!([{ "action": "view" }, { "action": "alerts" }]));
    let ends = Instant::now() + Duration::from_secs(LASTS);
    let mut guest = Everywhere::open(&house.server, &token).await;
    tokio::time::sleep(ends.saturating_duration_since(Instant::now()) - Duration::from_secs(1)).await;
    assert_eq!(guest.playlist(&house.server).await, 200, "it holds until then");
    assert_eq!(guest.all_end(&house.server, ends).await, 4401);
}

#[tokio::test]
async fn a_right_that_is_withdrawn_ends_what_it_opened_and_the_others_go_on() {
    let house = House::open().await;
    let mut anna = Everywhere::open(&house.server, &house.anna().await).await;
    let alerts = json!({ "permissions": [{ "action": "alerts" }] });
    let begun = Instant::now();
    assert_eq!(house.ask(Method::PUT, "/api/v1/users/anna/permissions", alerts).await, 204);
    let spans = Everywhere::media_ends(&mut anna.rtsp, &mut anna.whep, begun).await;
    assert!(spans.iter().all(|span| *span < SOON), "{spans:?}");
    assert_eq!(anna.playlist(&house.server).await, 404, "there is no such path for anna any more");

    let bell = json!({ "type": "doorbell", "path": "cam", "data": {} });
    assert_eq!(house.ask(Method::POST, "/api/v1/events", bell).await, 201);
    let is_bell = |event: &Value| event["data"]["kind"] == "doorbell";
    let heard = async {
        while !is_bell(&anna.socket.message().await) {}
        while !is_bell(&anna.stream.next().await.expect("it goes on")) {}
    };
    tokio::time::timeout(PATIENCE, heard).await.expect("what happens still comes by both doors");

    let nothing = json!({ "permissions": [] });
    let begun = Instant::now();
    assert_eq!(house.ask(Method::PUT, "/api/v1/users/anna/permissions", nothing).await, 204);
    let ended = Everywhere::events_end(&mut anna.socket, &mut anna.stream, &mut anna.waits, begun);
    let (spans, code, status) = ended.await;
    assert!(code == 4403 && status == 403 && spans.iter().all(|span| *span < SOON), "{code} {status} {spans:?}");
}
