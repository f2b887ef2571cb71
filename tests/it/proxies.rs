//! Behind the proxies of `docs/proxies.md`: everything that is HTTP passes, events as they happen; a cache in front of HLS
//! gives players what the server would, and asks less of it.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::support::{
    followers::{Socket, Stream},
    hls_client::{Playlist, resolve},
    process::PATIENCE,
    proxy::Proxy,
    relay, scale,
    scripted_camera::Behaviour,
    server::Server,
};

async fn events_pass(server: &Server, proxy: &Proxy) {
    let page = server.client().get(proxy.http("/demo/")).send().await.unwrap();
    assert_eq!(page.status(), 200);
    assert!(page.text().await.unwrap().contains("<html"));
    let (_, mut socket) = Socket::open(proxy.address, "/ws/events").await;
    let mut stream = Stream::open(proxy.address, "/stream/events?types=knock", None).await;
    for n in 0..3 {
        let event = json!({ "type": "knock", "path": "demo", "data": { "n": n } });
        let posted = server.client().post(proxy.http("/api/v1/events")).json(&event).send().await.unwrap();
        assert!(posted.status().is_success(), "{posted:?}");
        // Before the next is posted: nothing waits for a buffer to fill.
        let streamed = timeout(PATIENCE, stream.next()).await.expect("an event passes at once").unwrap();
        let heard = loop {
            let message = timeout(PATIENCE, socket.message()).await.expect("an event passes at once");
            if message["data"]["kind"] == "knock" {
                break message;
            }
        };
        assert_eq!((&streamed["data"]["n"], &heard["data"]["n"]), (&json!(n), &json!(n)));
    }
}

#[tokio::test]
async fn pages_and_events_pass_nginx() {
    let server = Server::start(json!({ "paths": { "demo": { "source": "demo" } } })).await;
    events_pass(&server, &Proxy::nginx(server.address("http")).await).await;
}

#[tokio::test]
async fn pages_and_events_pass_caddy() {
    let server = Server::start(json!({ "paths": { "demo": { "source": "demo" } } })).await;
    events_pass(&server, &Proxy::caddy(server.address("http")).await).await;
}

/// What a player behind the cache got: playlists in order, the bytes of media by name, and how often the cache knew.
#[derive(Default)]
struct Got {
    playlists: Vec<Playlist>,
    media: BTreeMap<String, Vec<u8>>,
    answers: BTreeMap<String, usize>,
}

impl Got {
    async fn ask(&mut self, server: &Server, proxy: &Proxy, target: &str) -> Vec<u8> {
        let answer = server.client().get(proxy.http(target)).send().await.unwrap();
        let known = answer.headers().get("x-cache-status").map(|status| status.to_str().unwrap().to_owned());
        *self.answers.entry(known.unwrap_or_default()).or_default() += 1;
        let (status, body) = (answer.status(), answer.bytes().await.unwrap());
        assert_eq!(status, 200, "GET {target}: {}", String::from_utf8_lossy(&body));
        body.to_vec()
    }

    /// Follows the live edge by blocking reload, and fetches every part it is told of.
    async fn follow(server: &Server, proxy: &Proxy, span: Duration) -> Self {
        let mut got = Self::default();
        let multivariant = got.ask(server, proxy, "/cam/index.m3u8").await;
        let multivariant = String::from_utf8(multivariant).unwrap();
        let variant = multivariant.lines().find(|line| !line.is_empty() && !line.starts_with('#')).unwrap();
        let media = resolve("/cam/index.m3u8", variant);
        let join = if media.contains('?') { '&' } else { '?' };
        let deadline = Instant::now() + span;
        let mut query = String::new();
        while Instant::now() < deadline {
            let text = got.ask(server, proxy, &format!("{media}{query}")).await;
            let playlist = Playlist::parse(std::str::from_utf8(&text).unwrap());
            let (msn, part) = playlist.next_part();
            query = format!("{join}_HLS_msn={msn}&_HLS_part={part}");
            for part in playlist.segments.iter().rev().take(2).flat_map(|segment| &segment.parts) {
                let target = resolve(&media, &part.uri);
                if !got.media.contains_key(&target) {
                    let bytes = got.ask(server, proxy, &target).await;
                    got.media.insert(target, bytes);
                }
            }
            got.playlists.push(playlist);
        }
        got
    }
}

#[tokio::test]
async fn players_behind_a_cache_get_what_the_server_has_and_ask_it_less() {
    let (_camera, server) = relay(Behaviour::default()).await;
    let proxy = Proxy::nginx(server.address("http")).await;
    // The first one finds the muxer at work, as a crowd does.
    Got::follow(&server, &proxy, Duration::from_secs(1)).await;
    let crowd = (0..10 * scale()).map(|_| Got::follow(&server, &proxy, Duration::from_secs(5)));
    let crowd = join_all(crowd).await;
    let mut media: BTreeMap<&String, &Vec<u8>> = BTreeMap::new();
    let mut answers: BTreeMap<&str, usize> = BTreeMap::new();
    for got in &crowd {
        assert!(got.playlists.len() > 8, "{} playlists in five seconds", got.playlists.len());
        for pair in got.playlists.windows(2) {
            // What was waited for is there: nothing stale comes out of the cache.
            assert!(pair[1].next_part() > pair[0].next_part(), "{}\n---\n{}", pair[0].text, pair[1].text);
        }
        for (target, bytes) in &got.media {
            assert_eq!(*media.entry(target).or_insert(bytes), bytes, "{target}: everybody gets the same");
        }
        got.answers.iter().for_each(|(answer, count)| *answers.entry(answer).or_default() += count);
    }
    let newest = crowd[0].media.iter().next_back().unwrap();
    let own = server.get(newest.0).await.bytes().await.unwrap();
    assert_eq!(own, newest.1, "and what the server itself has");
    let known = answers.get("HIT").copied().unwrap_or(0);
    let asked: usize = answers.values().sum();
    assert!(known * 10 > asked, "a part of it needs no server: {answers:?}");
}

#[tokio::test]
async fn what_a_login_allows_is_kept_by_no_cache_between() {
    let (camera, open) = relay(Behaviour::default()).await;
    let closed = Server::start(json!({ "auth": {}, "paths": { "cam": { "source": camera.url() } } })).await;
    closed.state("cam", "ready").await;
    let told = async |server: &Server| -> Value {
        let answer = server.get("/cam/index.m3u8").await;
        assert_eq!(answer.status(), 200);
        answer.headers()["cache-control"].to_str().unwrap().into()
    };
    assert!(!told(&open).await.as_str().unwrap().contains("private"));
    assert!(told(&closed).await.as_str().unwrap().starts_with("private, max-age="));
    let proxy = Proxy::nginx(closed.address("http")).await;
    let refused = closed.client().get(proxy.http("/cam/index.m3u8")).send().await.unwrap();
    assert_eq!(refused.status(), 401, "who comes through a proxy is not this machine's owner");
}
