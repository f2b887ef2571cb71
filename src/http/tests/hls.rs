//! The doors of HLS as a client sees them, over the synthetic camera and the paused clock.

use std::{io::Read, time::Duration};

use flate2::read::GzDecoder;

use crate::{
    auth::GatePolicy,
    http::{
        HttpOptions,
        front::Surface,
        testing::{House, Reply},
    },
};

/// The first line of a playlist that begins so.
fn line<'a>(text: &'a str, begins: &str) -> &'a str {
    text.lines().find(|line| line.starts_with(begins)).unwrap_or_else(|| panic!("no {begins} in {text}"))
}

/// The `URI` of a tag.
fn uri(line: &str) -> &str {
    line.split("URI=\"").nth(1).unwrap().split('"').next().unwrap()
}

fn max_age(reply: &Reply) -> u64 {
    reply.header("cache-control").strip_prefix("private, max-age=").unwrap().parse().unwrap()
}

/// The media playlist of the camera, and its URL.
async fn playlist(house: &House) -> (String, Reply) {
    let index = house.get("/demo/index.m3u8").await;
    assert_eq!(index.status, 200, "{index:?}");
    let variant = index.text().lines().find(|line| !line.is_empty() && !line.starts_with('#')).unwrap();
    let url = format!("/demo/{variant}");
    let reply = house.get(&url).await;
    assert_eq!(reply.status, 200, "{url}: {reply:?}");
    (url, reply)
}

#[tokio::test(start_paused = true)]
async fn playlists_say_what_caches_and_players_want_to_know() {
    let house = House::new();
    let index = house.get("/demo/index.m3u8").await;
    assert_eq!(index.header("content-type"), "application/vnd.apple.mpegurl");
    let (url, reply) = playlist(&house).await;
    assert_eq!(reply.header("content-type"), "application/vnd.apple.mpegurl");
    assert_eq!(
        (reply.header("vary"), reply.header("content-encoding"), reply.header("age")),
        ("accept-encoding", "", "")
    );
    let target: u64 = line(reply.text(), "#EXT-X-TARGETDURATION:").split(':').nth(1).unwrap().parse().unwrap();
    assert!(max_age(&reply) <= target / 2, "LL-11: half a target duration");
    let packed = house.ask("GET", &url, &[("accept-encoding", "br, gzip")]).await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    let mut text = String::new();
    GzDecoder::new(&packed.body[..]).read_to_string(&mut text).unwrap();
    assert!(text.starts_with("#EXTM3U"));
    let again = house.ask("GET", &url, &[("if-none-match", packed.header("etag"))]).await;
    assert_eq!((again.status.as_u16(), again.body.len(), again.header("etag")), (304, 0, packed.header("etag")));
    let head = house.ask("HEAD", &url, &[]).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    assert!(head.header("content-length").parse::<usize>().unwrap() > 100);
}

#[tokio::test(start_paused = true)]
async fn what_is_waited_for_may_be_kept_for_long() {
    let house = House::new();
    house.play().await;
    let (url, reply) = playlist(&house).await;
    let target: u64 = line(reply.text(), "#EXT-X-TARGETDURATION:").split(':').nth(1).unwrap().parse().unwrap();
    let hint = format!("/demo/hls/{}", uri(line(reply.text(), "#EXT-X-PRELOAD-HINT:")));
    let part = house.get(&hint).await;
    assert_eq!((part.status.as_u16(), part.header("content-type")), (200, "video/mp4"));
    assert_eq!((max_age(&part), part.header("accept-ranges")), (6 * target, "bytes"));
    let sequence: u64 = line(reply.text(), "#EXT-X-MEDIA-SEQUENCE:").split(':').nth(1).unwrap().parse().unwrap();
    let later = house.get(&format!("{url}?_HLS_msn={}&_HLS_part=0", sequence + 2)).await;
    assert_eq!((later.status.as_u16(), max_age(&later)), (200, 6 * target));
    let far = house.get(&format!("{url}?_HLS_msn={}", sequence + 1000)).await;
    assert_eq!((far.problem(400), max_age(&far)), ("invalid_directive".into(), target));
    let nonsense = house.get(&format!("{url}?_HLS_part=0")).await;
    assert_eq!(nonsense.problem(400), "invalid_directive");
    assert_eq!(house.get("/demo/hls/nothing.m4s").await.problem(404), "media_not_found");
}

#[tokio::test(start_paused = true)]
async fn a_piece_can_be_had_in_ranges() {
    let house = House::new();
    house.play().await;
    let (_, reply) = playlist(&house).await;
    let init = format!("/demo/hls/{}", uri(line(reply.text(), "#EXT-X-MAP:")));
    let segment = reply.text().lines().find(|line| line.ends_with(".m4s")).unwrap();
    for url in [init, format!("/demo/hls/{segment}")] {
        let whole = house.get(&url).await;
        let length = whole.body.len();
        let part = house.ask("GET", &url, &[("range", "bytes=4-7")]).await;
        assert_eq!((part.status.as_u16(), &part.body[..]), (206, &whole.body[4..8]), "{url}");
        assert_eq!(part.header("content-range"), format!("bytes 4-7/{length}"));
        let tail = house.ask("GET", &url, &[("range", "bytes=-5")]).await;
        assert_eq!(&tail.body[..], &whole.body[length - 5..]);
        let beyond = house.ask("GET", &url, &[("range", "bytes=99999999-")]).await;
        assert_eq!(beyond.problem(416), "range_not_satisfiable");
        assert_eq!(beyond.header("content-range"), format!("bytes */{length}"));
        let head = house.ask("HEAD", &url, &[]).await;
        assert_eq!((head.header("content-length"), head.body.len()), (length.to_string().as_str(), 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_viewer_is_counted_and_can_be_sent_away() {
    let house = House::new();
    let (url, _) = playlist(&house).await;
    let path = house.get("/api/v1/paths/demo").await.json();
    assert_eq!(path["readers"]["hls"], 1, "the same player twice is one");
    let sessions = house.get("/api/v1/sessions").await.json();
    assert_eq!(sessions["items"][0]["protocol"], "hls");
    let kick = format!("/api/v1/sessions/{}", sessions["items"][0]["id"].as_str().unwrap());
    assert_eq!(house.ask("DELETE", &kick, &[]).await.status, 204);
    assert_eq!(house.get(&url).await.problem(403), "session_ended");
    assert_eq!(house.get("/api/v1/paths/demo").await.json()["readers"]["hls"], 0);
    let other = house.ask("GET", &url, &[("user-agent", "another")]).await;
    assert_eq!(other.status, 200);
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(house.get(&url).await.status, 200, "after a while it may come back");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_play_says_why_and_counts_nobody() {
    let mut house = House::new();
    house.play().await;
    let gone = house.get("/site/gate/index.m3u8").await;
    assert_eq!(gone.problem(503), "path_not_ready");
    assert!(gone.json()["detail"].as_str().unwrap().contains("connection refused"), "{gone:?}");
    assert_eq!((gone.header("retry-after"), gone.header("cache-control")), ("2", "no-store"));
    assert_eq!(house.get("/nothing/index.m3u8").await.problem(404), "path_not_found");
    assert_eq!(house.get("/nothing/hls/main.m3u8").await.problem(404), "path_not_found");
    assert_eq!(house.get("/demo/index.m3u8?tracks=smell").await.problem(400), "invalid_tracks");
    assert_eq!(house.rooms.sessions.all().len(), 0);
    assert_eq!(house.get("/demo/index.m3u8?tracks=video").await.status, 200);
    house.peer = "10.0.0.9:50000".parse().unwrap();
    for url in ["/demo/index.m3u8", "/nothing/index.m3u8", "/demo/hls/main.m3u8"] {
        assert_eq!(house.get(url).await.problem(401), "unauthenticated", "{url}");
    }
    house.rooms.hls = None;
    let surface = Surface::new(house.rooms.clone(), &HttpOptions::default(), house.tasks.stopping().clone());
    house.surface = surface;
    assert_eq!(house.get("/demo/index.m3u8").await.problem(404), "hls_disabled");
}

#[tokio::test(start_paused = true)]
async fn the_smaller_rendition_has_playlists_of_its_own() {
    let house = House::with(&HttpOptions::default(), GatePolicy::Off);
    house.play().await;
    let both = house.get("/demo/index.m3u8").await;
    assert_eq!(both.text().matches("#EXT-X-STREAM-INF").count(), 2, "{}", both.text());
    let sub = house.get("/demo/sub/index.m3u8").await;
    assert_eq!(sub.text().matches("#EXT-X-STREAM-INF").count(), 1, "{}", sub.text());
    let variant = sub.text().lines().find(|line| !line.is_empty() && !line.starts_with('#')).unwrap();
    assert_eq!(house.get(&format!("/demo/sub/{variant}")).await.status, 200, "{variant}");
    assert_eq!(house.rooms.sessions.all()[0].details.rendition.name(), "sub");
}

#[tokio::test(start_paused = true)]
async fn what_is_held_open_ends_with_the_server() {
    let house = House::new();
    let (url, reply) = playlist(&house).await;
    let sequence: u64 = line(reply.text(), "#EXT-X-MEDIA-SEQUENCE:").split(':').nth(1).unwrap().parse().unwrap();
    let held = format!("{url}?_HLS_msn={}", sequence + 1);
    let ending = house.surface.front().ending.clone();
    let (held, ()) = tokio::join!(house.get(&held), async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        ending.cancel();
    });
    assert_eq!(held.problem(503), "draining");
}
