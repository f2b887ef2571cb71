//! A server that decides about callers (`auth.http`), at the doors of the real binary: as the back ends of MediaMTX's users
//! answer.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::support::{
    decider::Decider,
    followers::{Said, Socket, Stream},
    process::PATIENCE,
    rtsp_client::RtspClient,
    server::Server,
    whep_client::{Whep, WhepClient, WhepOptions},
};

/// Anna may read `front` and ask the API, by her password or by a token.
fn of_anna(question: &Value) -> Option<u16> {
    let is_anna = question["user"] == "anna" && question["password"] == "correct horse";
    let known = is_anna || question["token"] == "sesame-opens";
    let may = question["action"] == "api" || (question["action"] == "read" && question["path"] == "front");
    Some(if known && may { 200 } else { 401 })
}

async fn server(decider: &Decider, more: &Value) -> Server {
    // With two users nobody is let in for being on this machine.
    let password = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$RqJ4hs3y0J9XbMPjvIPXEw";
    let user = |name: &str| json!({ "name": name, "password": password, "permissions": [{ "action": "admin" }] });
    let config = json!({
        "auth": { "http": decider.config(more), "users": [user("one"), user("two")] },
        "rtsp": { "address": "127.0.0.1:0", "allow_basic": true },
        "paths": { "front": { "source": "demo" }, "secretcam": { "source": "demo" } },
    });
    Server::start(config).await
}

async fn answer(server: &Server, path: &str, password: &str) -> reqwest::Response {
    server.client().get(server.http(path)).basic_auth("anna", Some(password)).send().await.unwrap()
}

async fn status(server: &Server, path: &str, password: &str) -> u16 {
    answer(server, path, password).await.status().as_u16()
}

#[tokio::test]
async fn a_back_end_of_mediamtx_lets_in_and_refuses_at_every_door_of_http() {
    let decider = Decider::judging(of_anna).await;
    let server = server(&decider, &json!({})).await;
    let right = "correct horse";
    for (path, password, expected) in [
        ("/front/index.m3u8", right, 200),
        ("/front/index.m3u8", "wrong", 401),
        ("/secretcam/index.m3u8", right, 401),
        ("/nowhere/index.m3u8", right, 401),
        ("/api/v1/paths/front", right, 200),
        ("/api/v1/paths/secretcam", right, 404),
        ("/api/v1/alerts", right, 200),
        ("/api/v1/events?limit=1", right, 200),
        ("/api/v1/users", right, 403),
        ("/metrics", right, 401),
    ] {
        let given = status(&server, path, password).await;
        assert_eq!(given, expected, "{path} {password}");
    }
    let list: Value = answer(&server, "/api/v1/paths", right).await.json().await.unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), 1, "{list}");
    assert!(!list.to_string().contains("secretcam"));
    let who: Value = answer(&server, "/api/v1/auth/whoami", right).await.json().await.unwrap();
    assert_eq!(who["user"], "anna");
    let with = |path: &str| server.client().get(server.http(path)).bearer_auth("sesame-opens");
    assert_eq!(with("/front/index.m3u8").send().await.unwrap().status(), 200);
    assert_eq!(with("/stream/events").send().await.unwrap().status(), 200);
    let offer = server.client().post(server.http("/front/whep")).bearer_auth("sesame-opens");
    assert_eq!(offer.send().await.unwrap().status(), 400, "let in, and no offer");
    let asked = |protocol: &str| {
        let asked = decider.asked_of("read", "front").into_iter().find(|one| one["protocol"] == protocol);
        asked.unwrap_or_else(|| panic!("nothing was asked for {protocol}"))
    };
    assert_eq!(
        asked("hls"),
        json!({
            "ip": "127.0.0.1", "user": "anna", "password": right, "token": "", "action": "read", "path": "front",
            "protocol": "hls", "id": null, "query": "",
        })
    );
    assert_eq!(asked("webrtc")["token"], "sesame-opens");
    assert!(!server.log().iter().any(|line| line.contains(right) || line.contains("sesame-opens")));
}

#[tokio::test]
async fn a_link_is_asked_about_once_and_carried_on_to_what_a_playlist_names() {
    let decider = Decider::judging(of_anna).await;
    let server = server(&decider, &json!({})).await;
    let url = "/front/index.m3u8?token=sesame-opens";
    let text = server.get(url).await.text().await.unwrap();
    assert!(text.contains("?token=sesame-opens"), "{text}");
    for _ in 0..5 {
        assert_eq!(server.get(url).await.status(), 200);
    }
    let asked = decider.asked_of("read", "front");
    assert_eq!((asked.len(), &asked[0]["query"]), (1, &json!("token=sesame-opens")));
}

#[tokio::test]
async fn rtsp_asks_for_the_password_itself() {
    let decider = Decider::judging(of_anna).await;
    let server = server(&decider, &json!({})).await;
    let mut client = RtspClient::connect(server.address("rtsp")).await;
    let refused = client.ask("DESCRIBE", &server.rtsp("front"), &[]).await;
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Basic realm=\"campanile\"")));
    let basic = |password: &str| format!("Basic {}", STANDARD.encode(format!("anna:{password}")));
    for (path, password, expected) in
        [("front", "correct horse", 200), ("front", "wrong", 401), ("secretcam", "correct horse", 401)]
    {
        let login = basic(password);
        let answer = client.ask("DESCRIBE", &server.rtsp(path), &[("Authorization", &login)]).await;
        assert_eq!(answer.status, expected, "{path} {password}");
    }
    let asked = decider.asked_of("read", "front");
    assert_eq!((&asked[0]["protocol"], &asked[0]["user"]), (&json!("rtsp"), &json!("anna")));
    assert_eq!(asked[0]["id"].as_str().unwrap().len(), 36);
    // A real player logs in, and plays.
    let url = server.rtsp("front").replace("rtsp://", "rtsp://anna:correct%20horse@");
    let probed = tokio::process::Command::new("ffprobe")
        .args(["-v", "error", "-rtsp_transport", "tcp", "-show_entries", "stream=codec_name", "-of", "compact", &url])
        .stdin(std::process::Stdio::null())
        .output();
    let probed = tokio::time::timeout(PATIENCE, probed).await.expect("it should end").unwrap();
    assert!(String::from_utf8_lossy(&probed.stdout).contains("codec_name=h264"), "{probed:?}");
}

#[tokio::test]
async fn what_gives_no_answer_lets_nobody_in_and_is_said() {
    let decider = Decider::judging(|_| None).await;
    let mut server = server(&decider, &json!({ "timeout": "500ms", "remember": "0s" })).await;
    let slow = answer(&server, "/front/index.m3u8", "correct horse").await;
    assert_eq!(slow.status(), 503);
    let problem: Value = slow.json().await.unwrap();
    assert_eq!(problem["code"], "auth_unavailable");
    decider.judge(|_| Some(502));
    assert_eq!(status(&server, "/front/index.m3u8", "correct horse").await, 503, "a fault is no decision");
    decider.judge(of_anna);
    assert_eq!(status(&server, "/front/index.m3u8", "correct horse").await, 200);
    server.log_line(|line| line.contains("auth.http: it answers again")).await;
    let log = server.log();
    let said = log.iter().filter(|line| line.contains("auth.http: no answer")).count();
    assert_eq!(said, 1, "once, however often it fails");
    // Nobody listens any more.
    drop(decider);
    let deadline = Instant::now() + PATIENCE;
    while status(&server, "/front/index.m3u8", "correct horse").await != 503 {
        assert!(Instant::now() < deadline, "who is not there lets nobody in");
    }
    assert_eq!(server.client().get(server.http("/front/index.m3u8")).send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn callers_who_show_nothing_are_asked_about_where_that_is_wanted() {
    let public = |question: &Value| {
        let open = question["user"] == "" && question["path"] == "front" && question["query"] == "key=1";
        Some(if open { 204 } else { 401 })
    };
    let decider = Decider::judging(public).await;
    let server = server(&decider, &json!({ "anonymous": true })).await;
    assert_eq!(server.get("/front/index.m3u8?key=1").await.status(), 200);
    assert_eq!(server.get("/front/index.m3u8?key=2").await.status(), 401);
    assert_eq!(server.get("/api/v1/alerts").await.status(), 401);
    let mut client = RtspClient::connect(server.address("rtsp")).await;
    assert_eq!(client.ask("DESCRIBE", &format!("{}?key=1", server.rtsp("front")), &[]).await.status, 200);
}

/// Plays `front` over RTSP as anna.
async fn played(server: &Server) -> RtspClient {
    let mut client = RtspClient::connect(server.address("rtsp")).await;
    let login = format!("Basic {}", STANDARD.encode("anna:correct horse"));
    let (url, login) = (server.rtsp("front"), ("Authorization", login.as_str()));
    let described = client.ask("DESCRIBE", &url, &[login]).await.ok();
    let base = described.header("Content-Base").unwrap().to_owned();
    let control = crate::support::rtsp_client::controls(&described.body, &base).remove(0);
    client.ask("SETUP", &control, &[login, ("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")]).await.ok();
    client.ask("PLAY", &base, &[login]).await.ok();
    client
}

/// Waits until something was asked so often.
async fn asked(decider: &Decider, which: impl Fn(&Value) -> bool, often: usize) {
    let deadline = Instant::now() + PATIENCE;
    while decider.asked().iter().filter(|question| which(question)).count() < often {
        assert!(Instant::now() < deadline, "it was not asked {often} times: {:?}", decider.asked());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn is_read(protocol: &'static str) -> impl Fn(&Value) -> bool {
    move |question| question["action"] == "read" && question["protocol"] == protocol
}

#[tokio::test]
async fn what_stands_on_a_yes_is_asked_again_and_ends_at_every_door_when_that_is_withdrawn() {
    let decider = Decider::judging(of_anna).await;
    let server = server(&decider, &json!({ "ask_again": "1s", "timeout": "20s" })).await;
    let began = Instant::now();
    let (mut rtsp, _second) = (played(&server).await, played(&server).await);
    let login = reqwest::header::HeaderMap::from_iter([(
        reqwest::header::AUTHORIZATION,
        "Bearer sesame-opens".parse().unwrap(),
    )]);
    let http = reqwest::Client::builder().no_proxy().default_headers(login).build().unwrap();
    let tcp = Some(server.address("webrtc_tcp"));
    let whep = Whep { http, url: server.http("/front/whep"), tcp };
    let mut viewer = WhepClient::join(&whep, WhepOptions { tcp: true, ..WhepOptions::default() }).await.unwrap();
    assert!(viewer.play_until(PATIENCE, |seen| seen.first_packet.is_some()).await, "{:?}", viewer.seen);
    let (_, mut socket) = Socket::open(server.address("http"), "/ws/events?token=sesame-opens").await;
    let protocol = "Sec-WebSocket-Protocol: graphql-transport-ws\r\n";
    let mut graphql = Socket::knock(server.address("http"), "/graphql", protocol).await;
    graphql.say(&json!({ "type": "connection_init", "payload": { "token": "sesame-opens" } })).await;
    assert_eq!(graphql.message().await["type"], "connection_ack");
    let mut stream = Stream::open(server.address("http"), "/stream/events?token=sesame-opens", None).await;
    // Nobody reads their answers; they are asked about as long as they are there.
    asked(&decider, is_read("rtsp"), 3).await;
    // Once for both of them: as soon as half of the interval is over, and then each second.
    let (often, seconds) =
        (decider.asked_of("read", "front").into_iter().filter(is_read("rtsp")).count(), began.elapsed());
    assert!(often as u64 <= 3 + seconds.as_secs(), "{often} times in {seconds:?}");
    asked(&decider, is_read("webrtc"), 3).await;
    asked(&decider, |question| question["action"] == "api", 4).await;
    assert!(rtsp.frame(PATIENCE).await.is_some() && viewer.play_until(PATIENCE, |_| true).await);
    let again = decider.asked_of("read", "front").into_iter().rfind(is_read("rtsp")).unwrap();
    assert_eq!((&again["user"], &again["password"]), (&json!("anna"), &json!("correct horse")), "as at first");

    decider.judge(|_| Some(403));
    let withdrawn = Instant::now();
    assert!(rtsp.closed(PATIENCE).await);
    assert!(!viewer.play_until(PATIENCE, |_| false).await && viewer.seen.ended.is_some(), "DTLS says goodbye");
    let code = loop {
        match socket.next().await {
            Some(Said::Message(_)) => {}
            Some(Said::Close(code, _)) => break code,
            None => panic!("a WebSocket is told why"),
        }
    };
    assert_eq!(code, 4403);
    assert!(matches!(graphql.next().await, Some(Said::Close(4403, _))), "as its sub-protocol says it");
    while stream.next().await.is_some() {}
    // A second and the time until it is asked again, and ten times as much on a slow machine.
    assert!(withdrawn.elapsed() < Duration::from_secs(20), "{:?}", withdrawn.elapsed());
    assert_eq!(status(&server, "/front/index.m3u8", "correct horse").await, 401);
    // Nothing stands on anything any more, and nothing is asked by itself.
    let sessions = server.client().get(server.http("/api/v1/sessions")).basic_auth("anna", Some("correct horse"));
    decider.judge(of_anna);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let response = sessions.try_clone().unwrap().send().await.unwrap();
        let left: Value = response.json().await.unwrap();
        if left["items"].as_array().is_some_and(Vec::is_empty) {
            break;
        }
        assert!(Instant::now() < deadline, "{left}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let log = server.log();
    assert!(log.iter().any(|line| line.contains("auth.http: no longer allowed: it was refused")), "{log:?}");
    assert!(!log.iter().any(|line| line.contains("correct horse") || line.contains("sesame-opens")));
}

#[tokio::test]
async fn one_silence_ends_nothing_and_silences_without_end_do() {
    let decider = Decider::judging(of_anna).await;
    let server = server(&decider, &json!({ "ask_again": "1s", "timeout": "10s", "remember": "0s" })).await;
    let mut rtsp = played(&server).await;
    let turn = AtomicUsize::new(0);
    decider.judge(move |question| match turn.fetch_add(1, Ordering::Relaxed) % 2 {
        0 => Some(503),
        _ => of_anna(question),
    });
    let before = decider.asked().len();
    asked(&decider, is_read("rtsp"), before + 6).await;
    assert!(rtsp.frame(PATIENCE).await.is_some());
    decider.judge(|_| Some(503));
    assert!(rtsp.closed(PATIENCE).await, "whoever says nothing twice says no");
    assert!(server.log().iter().any(|line| line.contains("auth.http: no longer allowed: no answer")));
}
