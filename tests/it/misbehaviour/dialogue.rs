//! What cameras get wrong before the first picture: answers, headers, SDP, logins. Each row is one quirk of
//! `docs/cameras.md`; all of them stand on one server at the same time.

use std::{sync::Arc, time::Duration};

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::impatient;
use crate::support::{
    process::PATIENCE,
    scripted_camera::{Asked, Behaviour, Login, PASSWORD, Reply, ScriptedCamera, Then, USER, Video},
    server::Server,
};

/// What must come of a quirk.
enum Expect {
    /// Pictures all the same.
    Plays,
    /// No picture, and an error that has one of these words; where the cause is known, what to do about it.
    Fails(&'static [&'static str]),
}

use Expect::{Fails, Plays};

/// A camera whose answers are bent.
fn replying(bend: impl Fn(&Asked, Reply) -> Reply + Send + Sync + 'static) -> Behaviour {
    Behaviour { reply: Arc::new(bend), ..Behaviour::default() }
}

/// A camera whose SDP is bent.
fn describing(bend: impl Fn(String) -> String + Send + Sync + 'static) -> Behaviour {
    Behaviour { sdp: Arc::new(bend), ..Behaviour::default() }
}

/// A header under another spelling.
fn respelled(mut reply: Reply, name: &str, spelling: &str) -> Reply {
    for (key, _) in &mut reply.headers {
        if key == name {
            *key = spelling.to_owned();
        }
    }
    reply
}

fn quirks() -> Vec<(&'static str, Behaviour, Expect)> {
    vec![
        // Answers.
        ("cseq-in-another-case", replying(|_, reply| respelled(reply, "CSeq", "Cseq")), Plays),
        (
            "cseq-of-another-request",
            replying(|asked, reply| if asked.method == "DESCRIBE" { reply.with("CSeq", "9999") } else { reply }),
            Plays,
        ),
        ("no-rtp-info", replying(|_, reply| reply.without("RTP-Info")), Plays),
        (
            "rtp-info-ahead-of-the-packets",
            replying(|_, reply| match reply.header("RTP-Info").map(|info| info.replace("seq=41000", "seq=41400")) {
                Some(info) => reply.with("RTP-Info", info),
                None => reply,
            }),
            Plays,
        ),
        (
            "rtp-info-without-times",
            replying(|_, reply| match reply.header("RTP-Info") {
                Some(_) => reply.with("RTP-Info", "url=trackID=0;seq=41000"),
                None => reply,
            }),
            Plays,
        ),
        ("no-content-base", replying(|_, reply| reply.without("Content-Base")), Plays),
        ("no-content-type", replying(|_, reply| reply.without("Content-Type")), Plays),
        ("no-public", replying(|_, reply| reply.without("Public")), Plays),
        (
            "options-is-not-implemented",
            replying(|asked, reply| Reply {
                status: if asked.method == "OPTIONS" { 501 } else { reply.status },
                ..reply
            }),
            Plays,
        ),
        (
            "session-with-spaces",
            replying(|_, reply| match reply.header("Session") {
                Some(_) => reply.with("Session", "  12345678 ; timeout = 30 "),
                None => reply,
            }),
            Plays,
        ),
        ("header-of-64-kib", replying(|_, reply| reply.with("X-Long", "a".repeat(65_536))), Plays),
        (
            "never-answers",
            replying(|asked, reply| {
                let then = if asked.method == "DESCRIBE" { Then::NeverAnswer } else { Then::GoOn };
                Reply { then, ..reply }
            }),
            Fails(&["in time", "timed out", "no answer", "within"]),
        ),
        (
            "hangs-up-on-describe",
            replying(|asked, reply| {
                let then = if asked.method == "DESCRIBE" { Then::Close } else { Then::GoOn };
                Reply { raw: Some(Vec::new()), then, ..reply }
            }),
            Fails(&["describe", "closed", "ended"]),
        ),
        (
            "answers-in-http",
            replying(|_, reply| Reply { raw: Some(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()), ..reply }),
            Fails(&["rtsp", "http", "answer"]),
        ),
        (
            "no-such-stream",
            replying(|asked, reply| Reply { status: if asked.method == "DESCRIBE" { 404 } else { 200 }, ..reply }),
            Fails(&["404"]),
        ),
        (
            "breaks-down-on-play",
            replying(|asked, reply| Reply { status: if asked.method == "PLAY" { 500 } else { reply.status }, ..reply }),
            Fails(&["500"]),
        ),
        // Transports.
        ("answers-with-other-channels", transport("RTP/AVP/TCP;unicast;interleaved=", |track| track * 2 + 4), Plays),
        (
            "answers-with-one-channel",
            replying(|_, reply| match reply.header("Transport").and_then(|text| text.rsplit_once('-')) {
                Some((first, _)) => {
                    let first = first.to_owned();
                    reply.with("Transport", first)
                }
                None => reply,
            }),
            Plays,
        ),
        (
            "answers-without-tcp",
            replying(|_, reply| match reply.header("Transport").map(|text| text.replace("/TCP", "")) {
                Some(text) => reply.with("Transport", text),
                None => reply,
            }),
            Plays,
        ),
        (
            "sound-cannot-be-set-up",
            replying(|asked, reply| Reply {
                status: if asked.method == "SETUP" && asked.url.ends_with("trackID=1") { 500 } else { reply.status },
                ..reply
            }),
            Plays,
        ),
        // Descriptions.
        (
            "several-names",
            describing(|sdp| sdp.replacen("s=Scripted camera\r\n", "s=one\r\ns=two\r\ns=\r\n", 1)),
            Plays,
        ),
        ("broken-connection-line", describing(|sdp| sdp.replacen("c=IN IP4 0.0.0.0\r\n", "c=IN IP4\r\n", 1)), Plays),
        ("garbage-before-the-media", describing(|sdp| sdp.replacen("a=range", "!!! not sdp\r\na=range", 1)), Plays),
        (
            "unknown-media-type",
            describing(|sdp| format!("{sdp}m=hologram 0 RTP/AVP 99\r\na=rtpmap:99 X/90000\r\na=control:trackID=9\r\n")),
            Plays,
        ),
        ("no-final-newline", describing(|sdp| sdp.trim_end().to_owned()), Plays),
        ("bare-newlines", describing(|sdp| sdp.replace("\r\n", "\n")), Plays),
        (
            "semicolon-after-fmtp",
            describing(|sdp| sdp.replace("\r\na=control:trackID", ";\r\na=control:trackID")),
            Plays,
        ),
        ("no-parameter-sets", describing(|sdp| without_lines(&sdp, |line| line.starts_with("a=fmtp:96"))), Plays),
        (
            "wrong-directions",
            describing(|sdp| sdp.replace("a=control:trackID", "a=recvonly\r\na=control:trackID")),
            Plays,
        ),
        ("no-control-of-the-whole", describing(|sdp| without_lines(&sdp, |line| line == "a=control:*")), Plays),
        (
            "no-media",
            describing(|sdp| sdp.split("m=").next().unwrap().to_owned()),
            Fails(&["media", "track", "streams"]),
        ),
        ("empty-description", describing(|_| String::new()), Fails(&["sdp", "describe", "no media"])),
        (
            "noise-for-a-description",
            describing(|_| "\u{1}\u{2}\u{3}".repeat(2000)),
            Fails(&["sdp", "describe", "no media"]),
        ),
        // Streams that are not what was said, or begin in the middle.
        ("begins-in-the-middle-of-a-gop", Behaviour { first_unit: 20, ..Behaviour::default() }, Plays),
        (
            "says-h264-and-sends-h265",
            Behaviour {
                video: Some(Video::H265),
                sdp: Arc::new(|sdp| {
                    let sdp = without_lines(&sdp, |line| line.starts_with("a=fmtp:96"));
                    sdp.replace("H265/90000", "H264/90000")
                }),
                ..Behaviour::default()
            },
            Plays,
        ),
        ("other-payload-type", Behaviour { video_payload_type: 100, ..Behaviour::default() }, Plays),
        ("h265-camera", Behaviour { video: Some(Video::H265), ..Behaviour::default() }, Plays),
        (
            "h265-without-a-vps",
            Behaviour {
                video: Some(Video::H265),
                sdp: Arc::new(|sdp| {
                    let start = sdp.find("sprop-vps=").unwrap();
                    let end = start + sdp[start..].find("sprop-sps").unwrap();
                    format!("{}{}", &sdp[..start], &sdp[end..])
                }),
                ..Behaviour::default()
            },
            Plays,
        ),
        ("sound-alone", Behaviour { video: None, ..Behaviour::default() }, Plays),
        ("no-sender-reports", Behaviour { reports: false, ..Behaviour::default() }, Plays),
    ]
}

fn without_lines(sdp: &str, unwanted: impl Fn(&str) -> bool) -> String {
    sdp.split_inclusive("\r\n").filter(|line| !unwanted(line.trim_end())).collect()
}

/// A camera that answers SETUP with channels of its own choice, in the answer and in what it sends.
fn transport(prefix: &'static str, channel: fn(u8) -> u8) -> Behaviour {
    Behaviour {
        channel: Some(channel),
        reply: Arc::new(move |asked, reply| match reply.header("Transport") {
            Some(_) => {
                let first = channel(asked.url.bytes().last().map_or(0, |digit| digit - b'0'));
                reply.with("Transport", format!("{prefix}{first}-{}", first + 1))
            }
            None => reply,
        }),
        ..Behaviour::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quirks_of_dialogue_play_or_say_why_not() {
    let mut cameras = Vec::new();
    let mut paths = Map::new();
    for (name, behaviour, expect) in quirks() {
        let camera = ScriptedCamera::behaving(behaviour).await;
        paths.insert(name.to_owned(), impatient(&camera.url()));
        cameras.push((name, camera, expect));
    }
    let server = Server::start(json!({ "paths": paths })).await;
    let deadline = Instant::now() + PATIENCE;
    let mut wrong = Vec::new();
    for (name, camera, expect) in &cameras {
        let verdict = loop {
            let path = server.path(name).await;
            let (ready, error) = (path["state"] == "ready", path["error"].clone());
            match expect {
                Plays if ready => break None,
                Fails(_) if ready => break Some(format!("plays: {}", path["tracks"])),
                Fails(words) if !error.is_null() => {
                    let said = error.to_string().to_lowercase();
                    let cause_is_known = error["code"] != "source_protocol" && error["code"] != "source_closed";
                    let told =
                        words.iter().any(|word| said.contains(word)) && (error["hint"].is_string() || !cause_is_known);
                    break (!told).then(|| format!("does not say why: {error}"));
                }
                _ if Instant::now() > deadline => {
                    let asked: Vec<_> = camera.asked().iter().map(|asked| asked.method.clone()).take(10).collect();
                    break Some(format!("neither plays nor fails: {} after {asked:?} …", path["error"]));
                }
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        };
        wrong.extend(verdict.map(|verdict| format!("{name}: {verdict}")));
    }
    assert!(wrong.is_empty(), "{} of {} quirks:\n{}", wrong.len(), cameras.len(), wrong.join("\n"));
}

/// A path with the scripted camera's login.
fn with_login(camera: &ScriptedCamera) -> Value {
    let mut path = impatient(&camera.url());
    path["username"] = json!(USER);
    path["password"] = json!(PASSWORD);
    path
}

#[tokio::test]
async fn logins_of_every_scheme_are_spoken_or_refused_by_name() {
    let camera = |login| ScriptedCamera::behaving(Behaviour { login: Some(login), ..Behaviour::default() });
    let (basic, md5, sha) = (camera(Login::Basic).await, camera(Login::Md5).await, camera(Login::Sha256).await);
    let server = Server::start(json!({ "paths": {
        "basic": with_login(&basic), "md5": with_login(&md5), "sha": with_login(&sha),
        "in-url": impatient(&md5.url_with_login()),
    } }))
    .await;
    for name in ["basic", "md5", "in-url"] {
        server.state(name, "ready").await;
    }
    let sha = server.path_until("sha", "decided", |path| path["state"] == "ready" || !path["error"].is_null()).await;
    let told = sha["error"].to_string().contains("SHA-256");
    assert!(sha["state"] == "ready" || told, "SHA-256 is spoken, or named as what is missing: {sha:#}");
}

#[tokio::test]
async fn camera_that_never_accepts_the_login_is_not_hammered() {
    let refuse = |_: &Asked, reply: Reply| {
        let challenge = "Digest realm=\"r\", nonce=\"never\", stale=TRUE";
        Reply { status: 401, ..reply.with("WWW-Authenticate", challenge) }
    };
    let camera = ScriptedCamera::behaving(replying(refuse)).await;
    let server = Server::start(json!({ "paths": { "cam": with_login(&camera) } })).await;
    let path = server.path_until("cam", "refused", |path| !path["error"].is_null()).await;
    assert!(path["error"].to_string().contains("401"), "{path:#}");
    let before = camera.count("DESCRIBE");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let attempts = camera.count("DESCRIBE") - before;
    // Half a second at most between attempts, two requests each, full jitter.
    assert!(attempts < 60, "{attempts} attempts in two seconds");
}

#[tokio::test]
async fn camera_that_wants_a_user_agent_gets_one() {
    let wants = |asked: &Asked, reply: Reply| match asked.header("User-Agent") {
        Some(agent) if agent.to_lowercase().contains("campanile") => reply,
        _ => Reply { status: 401, ..reply },
    };
    let camera = ScriptedCamera::behaving(replying(wants)).await;
    let server = Server::start(json!({ "paths": { "cam": impatient(&camera.url()) } })).await;
    server.state("cam", "ready").await;
}

#[tokio::test]
async fn redirect_is_followed_with_the_login_and_a_circle_is_left() {
    let target = ScriptedCamera::behaving(Behaviour { login: Some(Login::Md5), ..Behaviour::default() }).await;
    let location = target.url();
    let moved = move |asked: &Asked, reply: Reply| match asked.method.as_str() {
        "DESCRIBE" => Reply { status: 302, body: String::new(), ..reply.with("Location", location.clone()) },
        _ => reply,
    };
    let door = ScriptedCamera::behaving(replying(moved)).await;
    let circle = ScriptedCamera::start().await;
    let itself = circle.url();
    circle.change(|camera| {
        camera.reply = Arc::new(move |asked, reply| match asked.method.as_str() {
            "DESCRIBE" => Reply { status: 301, body: String::new(), ..reply.with("Location", itself.clone()) },
            _ => reply,
        });
    });
    let paths = json!({ "door": with_login(&door), "circle": impatient(&circle.url()) });
    let server = Server::start(json!({ "paths": paths })).await;
    server.state("door", "ready").await;
    let path = server.path_until("circle", "given up", |path| !path["error"].is_null()).await;
    assert!(path["error"].to_string().to_lowercase().contains("redirect"), "{path:#}");
}

#[tokio::test]
async fn camera_that_refuses_tcp_is_asked_for_udp() {
    let camera = ScriptedCamera::behaving(Behaviour {
        udp: true,
        reply: Arc::new(|asked, reply| match asked.header("Transport") {
            Some(transport) if transport.contains("/TCP") => Reply { status: 461, ..reply.without("Transport") },
            _ => reply,
        }),
        ..Behaviour::default()
    })
    .await;
    let mut only_tcp = impatient(&camera.url());
    only_tcp["transport"] = json!("tcp");
    let server = Server::start(json!({ "paths": { "auto": impatient(&camera.url()), "tcp": only_tcp } })).await;
    server.state("auto", "ready").await;
    let path = server.path_until("tcp", "refused", |path| !path["error"].is_null()).await;
    assert!(path["error"].to_string().contains("461"), "{path:#}");
}

#[tokio::test]
async fn camera_over_udp_that_names_no_server_port_plays() {
    let camera = ScriptedCamera::behaving(Behaviour {
        udp: true,
        reply: Arc::new(|_, reply| match reply.header("Transport").map(str::to_owned) {
            Some(transport) => {
                let parts: Vec<_> = transport.split(';').filter(|part| !part.starts_with("server_port")).collect();
                reply.with("Transport", parts.join(";"))
            }
            None => reply,
        }),
        ..Behaviour::default()
    })
    .await;
    let mut path = impatient(&camera.url());
    path["transport"] = json!("udp");
    let server = Server::start(json!({ "paths": { "cam": path } })).await;
    server.state("cam", "ready").await;
}

#[tokio::test]
async fn control_urls_of_every_style_are_found() {
    type Style = fn(&str, &str) -> String;
    let styles: [(&str, Style); 4] = [
        ("absolute", |base, track| format!("{base}/{track}")),
        ("with-a-slash-before", |_, track| format!("/stream1/{track}")),
        ("with-a-query", |_, track| format!("{track}?channel=1")),
        ("with-a-slash-after", |_, track| format!("{track}/")),
    ];
    let mut cameras = Vec::new();
    let mut paths = Map::new();
    for (name, style) in styles {
        let camera = ScriptedCamera::behaving(Behaviour { audio: false, ..Behaviour::default() }).await;
        let base = camera.url();
        camera.change(|camera| {
            camera.sdp = Arc::new(move |sdp| {
                sdp.replace("a=control:trackID=0", &format!("a=control:{}", style(&base, "trackID=0")))
            });
        });
        paths.insert(name.to_owned(), impatient(&camera.url()));
        cameras.push(camera);
    }
    let server = Server::start(json!({ "paths": paths })).await;
    for (name, _) in styles {
        server.state(name, "ready").await;
    }
}
