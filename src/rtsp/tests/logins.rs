//! Who may play: challenges and what clients answer to them, by the line and with real players (RT-10, RT-11).

use std::{collections::BTreeMap, process::Stdio};

use base64::{Engine, engine::general_purpose};
use md5::{Digest as _, Md5};
use tokio::process::Command;

use super::{
    film::{Coding, Film},
    rig::{Answered, Client, PATIENCE, Rig, wait_until},
    wrapped::secure,
};
use crate::{
    auth::{
        Credential, DigestKeys, Identity, Purpose, User,
        testing::{NoShelf, cheap_user, permissions},
    },
    base::{Clock, Secret},
    rtsp::RtspOptions,
};

fn user(name: &str, permissions: &[(&str, &str)]) -> User {
    let mut user = cheap_user(name, "password", permissions);
    user.digest = Some(DigestKeys::new(&user.name, &Secret::new("password")));
    user
}

/// A camera, and two users: nobody comes in without a login.
async fn guarded(options: RtspOptions) -> Rig {
    let rig = Rig::with(options, Default::default()).await;
    let users = vec![user("anna", &[("view", "cam")]), user("berta", &[("stats", "*")])];
    rig.gate.set_users(users, &BTreeMap::new());
    rig.feed.begin();
    rig.feed.push_gop(5000, 5);
    rig
}

/// The number that is asked with.
fn nonce(answered: &Answered) -> String {
    let (_, rest) = answered.text.split_once("nonce=\"").unwrap();
    rest.split('"').next().unwrap().to_owned()
}

/// What live555 and VLC answer: MD5, without `qop`.
fn digest(name: &str, password: &str, method: &str, url: &str, nonce: &str) -> String {
    let hash = |text: String| Md5::digest(text).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (who, what) = (hash(format!("{name}:campanile:{password}")), hash(format!("{method}:{url}")));
    let response = hash(format!("{who}:{nonce}:{what}"));
    format!(
        "Digest username=\"{name}\", realm=\"campanile\", nonce=\"{nonce}\", uri=\"{url}\", response=\"{response}\""
    )
}

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", general_purpose::STANDARD.encode(format!("{name}:{password}")))
}

async fn describe(client: &mut Client, authorization: &str) -> Answered {
    client.ask("DESCRIBE", "", &[("Authorization", authorization)]).await
}

#[tokio::test]
async fn rt_11_a_digest_opens_and_anything_else_is_asked_again() {
    let rig = guarded(RtspOptions::default()).await;
    let mut client = rig.client().await;
    assert_eq!(client.ask("OPTIONS", "", &[]).await.status, 200, "RT-01");
    let asked = client.ask("DESCRIBE", "", &[]).await;
    let challenges: Vec<_> = asked.text.lines().filter(|line| line.starts_with("WWW-Authenticate: ")).collect();
    assert_eq!((asked.status, challenges.len()), (401, 2), "{}", asked.text);
    assert!(challenges[0].contains("algorithm=SHA-256") && challenges[1].contains("algorithm=MD5"), "{challenges:?}");
    let (nonce, url) = (nonce(&asked), rig.url());
    for (name, password) in [("anna", "Password"), ("nobody", "password")] {
        let answered = describe(&mut client, &digest(name, password, "DESCRIBE", &url, &nonce)).await;
        assert_eq!(answered.status, 401, "{name}");
    }
    let other_method = digest("anna", "password", "SETUP", &url, &nonce);
    assert_eq!(describe(&mut client, &other_method).await.status, 401);
    assert_eq!(describe(&mut client, &basic("anna", "password")).await.status, 401, "not in the clear");
    assert_eq!(describe(&mut client, "Digest nonsense").await.status, 401);
    let right = digest("anna", "password", "DESCRIBE", &url, &nonce);
    assert_eq!(describe(&mut client, &right).await.status, 200);
    // A client that has shown who it is stays who it is.
    client.play().await;
    // Who may not view finds no path, as if there were none.
    let mut other = rig.client().await;
    let asked = other.ask("DESCRIBE", "", &[]).await;
    assert_ne!(self::nonce(&asked), nonce);
    let answer = digest("berta", "password", "DESCRIBE", &url, &self::nonce(&asked));
    assert_eq!(describe(&mut other, &answer).await.status, 404);
    // What was overheard is stale elsewhere.
    let answered = describe(&mut rig.client().await, &right).await;
    assert!(answered.status == 401 && answered.text.contains("stale=true"), "{}", answered.text);
}

#[tokio::test]
async fn a_token_of_a_program_opens_as_a_password_and_ends_what_it_opened() {
    let rig = guarded(RtspOptions::default()).await;
    rig.gate.set_shelf(Box::new(NoShelf));
    let shown = Credential::of_password("anna", "password").unwrap();
    let identity = rig.gate.identify(&shown, [127, 0, 0, 1].into(), Clock.moment()).await.unwrap();
    let Identity::Known(anna) = identity else { panic!("anna is known") };
    let (token, text) = rig.gate.add_api_token(&anna, "tile", None, None, Clock.wall()).await.unwrap();
    let mut client = rig.client().await;
    let asked = client.ask("DESCRIBE", "", &[]).await;
    let wrong = digest("berta", text.reveal(), "DESCRIBE", &rig.url(), &nonce(&asked));
    assert_eq!(describe(&mut client, &wrong).await.status, 401, "it is not hers");
    let right = digest("anna", text.reveal(), "DESCRIBE", &rig.url(), &nonce(&asked));
    assert_eq!(describe(&mut client, &right).await.status, 200);
    client.play().await;
    assert_eq!(rig.sessions.all().len(), 1);
    // As it is, where a password may not be: it can be withdrawn.
    for shown in [format!("Bearer {}", text.reveal()), basic("whoever", text.reveal())] {
        assert_eq!(describe(&mut rig.client().await, &shown).await.status, 200);
    }
    rig.gate.remove_api_token(&anna, &token.id).await.unwrap();
    client.rest().await;
    wait_until(|| rig.sessions.all().is_empty()).await;
    assert_eq!(describe(&mut rig.client().await, &format!("Bearer {}", text.reveal())).await.status, 401);
}

#[tokio::test]
async fn a_link_opens_its_path_and_ends_with_its_token() {
    let rig = guarded(RtspOptions::default()).await;
    let shown = Credential::of_password("anna", "password").unwrap();
    let identity = rig.gate.identify(&shown, [127, 0, 0, 1].into(), Clock.moment()).await.unwrap();
    let Identity::Known(anna) = identity else { panic!("anna is known") };
    let issue = |purpose| {
        let issued = rig.gate.issue(&anna, purpose, 2, Some(permissions(&[("view", "cam")])), Clock.moment()).unwrap();
        format!("{}?token={}", rig.url(), issued.token.reveal())
    };
    for refused in [issue(Purpose::Access), format!("{}?token=x", rig.url()), format!("{}?token=", rig.url())] {
        let answered = rig.client().await.ask("DESCRIBE", &refused, &[]).await;
        assert!(answered.status == 401 && !answered.text.contains(&refused), "{}", answered.text);
    }
    let link = issue(Purpose::Media);
    let mut client = rig.client().await;
    assert_eq!(client.ask("DESCRIBE", &link, &[]).await.status, 200);
    // What players make of a URL with a query.
    assert_eq!(rig.client().await.ask("DESCRIBE", &format!("{link}/"), &[]).await.status, 200);
    let elsewhere = link.replace("/cam?", "/other?");
    assert_eq!(rig.client().await.ask("DESCRIBE", &elsewhere, &[]).await.status, 404);
    let nowhere = link.replace("/cam?", "/..%2f?");
    let answered = rig.client().await.ask("DESCRIBE", &nowhere, &[]).await;
    assert!(answered.status != 200 && !answered.text.contains("eyJ"), "{}", answered.text);
    client.play().await;
    assert_eq!(rig.sessions.all().len(), 1);
    wait_until(|| {
        rig.gate.handle_timeout(Clock.moment());
        rig.sessions.all().is_empty()
    })
    .await;
}

#[tokio::test]
async fn rt_11_basic_opens_where_nobody_reads_along_or_the_file_says_so() {
    let allowed = guarded(RtspOptions { allow_basic: true, ..RtspOptions::default() }).await;
    let mut plain = allowed.client().await;
    let asked = plain.ask("DESCRIBE", "", &[]).await;
    assert!(asked.text.contains("WWW-Authenticate: Basic realm=\"campanile\""), "{}", asked.text);
    assert_eq!(describe(&mut plain, &basic("anna", "wrong")).await.status, 401);
    assert_eq!(describe(&mut plain, &basic("anna", "password")).await.status, 200);
    assert_eq!(describe(&mut allowed.client().await, &basic("anna", "password")).await.status, 200);
    let rig = guarded(RtspOptions::default()).await;
    let mut secure = secure(&rig).await;
    assert_eq!(describe(&mut secure, &basic("berta", "password")).await.status, 404);
    assert_eq!(describe(&mut secure, &basic("anna", "password")).await.status, 200);
}

#[tokio::test]
async fn who_was_removed_or_lost_the_right_is_out_at_once() {
    let rig = guarded(RtspOptions::default()).await;
    let mut watching = Vec::new();
    for _ in 0..2 {
        let mut client = rig.client().await;
        let asked = client.ask("DESCRIBE", "", &[]).await;
        let answer = digest("anna", "password", "DESCRIBE", &rig.url(), &nonce(&asked));
        assert_eq!(describe(&mut client, &answer).await.status, 200);
        client.play().await;
        watching.push(client);
        assert_eq!(rig.sessions.all().len(), 1);
        let users = match watching.len() {
            1 => vec![user("anna", &[("view", "other"), ("view", "cam*")]), user("berta", &[])],
            _ => vec![user("berta", &[]), user("carla", &[])],
        };
        // A right that stays under another name ends nothing; one that goes ends what it opened.
        rig.gate.set_users(users, &BTreeMap::new());
        if watching.len() == 1 {
            assert_eq!(rig.sessions.all().len(), 1);
            rig.gate.set_users(vec![user("anna", &[("view", "other")]), user("berta", &[])], &BTreeMap::new());
        }
        watching.last_mut().unwrap().rest().await;
        wait_until(|| rig.sessions.all().is_empty()).await;
        rig.gate.set_users(vec![user("anna", &[("view", "cam")]), user("berta", &[])], &BTreeMap::new());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ffmpeg_and_gstreamer_log_in() {
    let rig = Rig::start().await;
    rig.gate.set_users(vec![user("anna", &[("view", "cam")]), user("berta", &[])], &BTreeMap::new());
    let _film = Film::shoot(Coding::H264, 50).await.roll(&rig, 60);
    players_log_in(&rig).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ffmpeg_and_gstreamer_log_in_as_somebody_who_is_known_by_a_hash_alone() {
    let rig = Rig::with(RtspOptions { allow_basic: true, ..RtspOptions::default() }, Default::default()).await;
    let hashed = cheap_user("anna", "password", &[("view", "cam")]);
    rig.gate.set_users(vec![hashed, user("berta", &[])], &BTreeMap::new());
    let _film = Film::shoot(Coding::H264, 50).await.roll(&rig, 60);
    let asked = rig.client().await.ask("DESCRIBE", "", &[]).await;
    assert!(!asked.text.contains("Digest"), "players would answer that: {}", asked.text);
    players_log_in(&rig).await;
}

async fn players_log_in(rig: &Rig) {
    let url = |login: &str| rig.url().replace("rtsp://", &format!("rtsp://{login}@"));
    let ran = async |program: &str, arguments: Vec<String>| {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, command.output()).await.expect("it should end").unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.success(), said)
    };
    for transport in ["tcp", "udp", "http"] {
        let words =
            ["-v", "error", "-rtsp_transport", transport, "-show_entries", "stream=codec_name", "-of", "compact"];
        let with = |login: &str| words.iter().map(|word| (*word).to_owned()).chain([url(login)]).collect();
        let (well, said) = ran("ffprobe", with("anna:password")).await;
        assert!(well && said.contains("codec_name=h264"), "{transport}: {said}");
        let (well, said) = ran("ffprobe", with("anna:wrong")).await;
        assert!(!well && said.contains("401"), "{transport}: {said}");
    }
    for protocols in ["tcp", "udp"] {
        let play = |login: &str| {
            let pipeline = format!(
                "-q rtspsrc location={} protocols={protocols} ! application/x-rtp,media=video ! rtph264depay ! \
                 fakesink num-buffers=5",
                url(login)
            );
            pipeline.split_whitespace().map(str::to_owned).collect()
        };
        // On a busy machine rtspsrc may trip over its own goodbye once its five buffers are there; a login that is
        // refused is refused every time.
        let mut played = ran("gst-launch-1.0", play("anna:password")).await;
        for _ in 0..2 {
            if !played.0 {
                played = ran("gst-launch-1.0", play("anna:password")).await;
            }
        }
        assert!(played.0, "{protocols}: {}", played.1);
        let (well, said) = ran("gst-launch-1.0", play("anna:wrong")).await;
        assert!(!well, "{protocols}: {said}");
    }
    wait_until(|| rig.sessions.all().is_empty()).await;
}
