//! HLS out: what players see over time, judged by four independent readers of playlists and by ffmpeg.

use std::{collections::BTreeMap, fs, time::Duration};

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::Instant;

use crate::support::{
    browser::lint_playlists,
    camera::Camera,
    clients::{ffmpeg_decode, ffprobe},
    hls_client::{HlsClient, Playlist},
    relay,
    scripted_camera::{Behaviour, ScriptedCamera, Video},
    server::Server,
};

#[tokio::test]
async fn followed_playlists_please_every_strict_parser() {
    let (_camera, server) = relay(Behaviour::default()).await;
    let mut client = HlsClient::open(&server, "cam").await;
    let seen = client.follow(Duration::from_secs(9)).await;
    assert!(seen.len() > 20, "{} playlists", seen.len());
    let problems = lint_playlists(&client.files()).await;
    assert!(problems.is_empty(), "{problems:#?}\n{}", seen.last().unwrap().text);
    let (_, multivariant) = m3u8_rs::parse_master_playlist(client.multivariant.as_bytes()).unwrap();
    let codecs = multivariant.variants[0].codecs.clone().unwrap_or_default();
    assert!(codecs.contains("avc1.") && codecs.contains("mp4a.40.2"), "{codecs}");
    for playlist in &seen {
        let (rest, parsed) = m3u8_rs::parse_media_playlist(playlist.text.as_bytes()).unwrap();
        assert!(rest.is_empty(), "{}", String::from_utf8_lossy(rest));
        assert_eq!(parsed.segments.len(), playlist.finished().count());
        let options = quick_m3u8::config::ParsingOptions::default();
        let mut reader = quick_m3u8::Reader::from_str(&playlist.text, options);
        loop {
            match reader.read_line() {
                Ok(Some(quick_m3u8::HlsLine::UnknownTag(tag))) => panic!("unknown tag {tag:?}"),
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => panic!("{error}\n{}", playlist.text),
            }
        }
    }
}

#[tokio::test]
async fn playlists_grow_by_the_rules_of_low_latency_hls() {
    let (_camera, server) = relay(Behaviour::default()).await;
    let mut client = HlsClient::open(&server, "cam").await;
    let seen = client.follow(Duration::from_secs(9)).await;
    let first = &seen[0];
    for tag in ["CAN-BLOCK-RELOAD=YES", "PART-HOLD-BACK=", "CAN-SKIP-UNTIL="] {
        assert!(first.text.contains(tag), "{tag}:\n{}", first.text);
    }
    for pair in seen.windows(2) {
        let (before, after) = (&pair[0], &pair[1]);
        let at = || format!("from\n{}\nto\n{}", before.text, after.text);
        assert!(after.media_sequence >= before.media_sequence, "HLS-02: {}", at());
        assert_eq!(after.target_duration, before.target_duration, "a target duration never changes: {}", at());
        assert!(after.next_part() > before.next_part(), "LL-03: a blocked answer has what was asked for: {}", at());
        assert!(after.hint.is_some() && !after.ended, "LL-07, HLS-05: {}", at());
        // LL-07: what was hinted is what came.
        let named = after
            .segments
            .iter()
            .flat_map(|segment| &segment.parts)
            .any(|part| Some(&part.uri) == before.hint.as_ref());
        assert!(named, "LL-07: the hint {:?} became a part: {}", before.hint, at());
        let known: BTreeMap<u64, _> = before.finished().collect();
        for (number, segment) in after.finished() {
            if let Some(same) = known.get(&number) {
                assert_eq!((same.uri.as_ref(), same.duration), (segment.uri.as_ref(), segment.duration), "{}", at());
            }
        }
    }
    let last = seen.last().unwrap();
    // HLS-03: parts stand in the last three target durations and nowhere else.
    let mut behind = 0.0;
    for segment in last.segments.iter().rev() {
        assert!(segment.parts.is_empty() || behind <= 3.0 * last.target_duration, "{}", last.text);
        behind +=
            if segment.uri.is_some() { segment.duration } else { segment.parts.iter().map(|part| part.duration).sum() };
    }
    for (number, segment) in last.finished() {
        assert!(segment.duration <= last.target_duration + 0.5, "segment {number}: {}", segment.duration);
        assert!(segment.date_time.is_some() || number > last.media_sequence, "LL-09: {}", last.text);
        if !segment.parts.is_empty() {
            let sum: f64 = segment.parts.iter().map(|part| part.duration).sum();
            assert!(
                (sum - segment.duration).abs() < 0.01,
                "segment {number} lasts as long as its parts: {}",
                last.text
            );
            assert!(segment.parts[0].independent, "LL-02: a segment begins with a random access point: {}", last.text);
        }
        for (at, part) in segment.parts.iter().enumerate() {
            assert!(part.duration <= last.part_target + 0.001, "segment {number}: {part:?}");
            // bis §4.4.4.9: all but the last of a segment.
            let full = part.duration >= 0.85 * last.part_target || at + 1 == segment.parts.len();
            assert!(full, "segment {number}: {part:?} in the middle: {}", last.text);
        }
    }
    assert!(last.media_sequence > 0 || last.finished().count() >= 3, "{}", last.text);
}

#[tokio::test]
async fn parts_are_the_segment_and_decode_without_a_word_of_complaint() {
    let (_camera, server) = relay(Behaviour::default()).await;
    let mut client = HlsClient::open(&server, "cam").await;
    let seen = client.follow(Duration::from_secs(7)).await;
    let last: &Playlist = seen.last().unwrap();
    let (mut stream, mut segments) = (Vec::new(), 0);
    for (number, segment) in last.finished().filter(|(_, segment)| !segment.parts.is_empty()) {
        if stream.is_empty() {
            stream = client.bytes(segment.map.as_ref().unwrap()).await;
        }
        let mut joined = Vec::new();
        for part in &segment.parts {
            joined.extend(client.bytes(&part.uri).await);
        }
        let whole = client.bytes(segment.uri.as_ref().unwrap()).await;
        assert!(joined == whole, "segment {number} is its parts: {} and {} bytes", whole.len(), joined.len());
        stream.extend(whole);
        segments += 1;
    }
    assert!(segments >= 1, "{}", last.text);
    let file = server.folder().join("joined.mp4");
    fs::write(&file, stream).unwrap();
    let frames = ffmpeg_decode(file.to_str().unwrap(), None, 60.0).await;
    let video: Vec<_> = frames.iter().filter(|frame| frame.stream == 0).collect();
    let steps: Vec<i64> = video.windows(2).map(|pair| pair[1].pts - pair[0].pts).collect();
    assert!(video.len() >= 40 && steps.iter().all(|step| *step == steps[0]), "no picture is missing: {steps:?}");
}

#[tokio::test]
async fn first_playlist_answers_at_once_with_what_the_ring_holds() {
    let (camera, server) = relay(Behaviour::default()).await;
    while camera.packets() < 300 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let asked = Instant::now();
    let mut client = HlsClient::open(&server, "cam").await;
    let playlist = client.playlist().await;
    // 300 ms is the gate of the benchmark; a GOP is two seconds.
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    assert!(!playlist.segments.is_empty(), "{}", playlist.text);
}

/// ffmpeg gives up on a playlist that has parts and no segment yet.
#[tokio::test]
async fn ffmpeg_finds_the_tracks_of_a_stream_that_has_just_begun() {
    let server = Server::start(json!({ "paths": { "demo": { "source": "demo" } } })).await;
    let probed = ffprobe(&server.http("/demo/index.m3u8"), None).await;
    assert_eq!(probed.codecs, ["h264", "opus"]);
}

/// The GOP is ten seconds, its end is not near, and nobody has told how long it will be.
#[tokio::test]
async fn plain_player_sees_the_first_picture_at_once_and_then_it_moves() {
    let (camera, server) = relay(Behaviour { video: Some(Video::H264Long), ..Behaviour::default() }).await;
    while camera.pictures() < 10 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let playlist = HlsClient::open(&server, "cam").await.playlist().await;
    let whole: Vec<_> = playlist.finished().collect();
    assert!(!whole.is_empty() && !whole[0].1.parts.is_empty(), "there is a segment to begin with: {}", playlist.text);
    let asked = Instant::now();
    let frames = ffmpeg_decode(&server.http("/cam/index.m3u8"), None, 3.0).await;
    // Two more seconds are in the next segment, which is whole four seconds after the beginning.
    assert!(asked.elapsed() < Duration::from_secs(40), "{:?}", asked.elapsed());
    let pictures: Vec<_> = frames.iter().filter(|frame| frame.stream == 0).collect();
    let still = pictures.iter().take_while(|picture| picture.hash == pictures[0].hash).count();
    assert!((2..12).contains(&still), "the first picture stands still for a second: {still}");
    assert!(pictures.len() > still + 20, "and then it moves: {} of {}", still, pictures.len());
    assert!(frames.iter().any(|frame| frame.stream == 1), "there is sound");
}

#[tokio::test]
async fn both_renditions_of_a_camera_play_in_step() {
    let camera = Camera::start(&["h264_1080p.mp4", "h264_aac.mp4"], &[]).await;
    let source = json!({ "source": camera.url("/h264_1080p"), "sub": camera.url("/h264_aac") });
    let server = Server::start(json!({ "paths": { "cam": source } })).await;
    server.state("cam", "ready").await;
    // The smaller one is pulled when somebody watches; whoever comes before it is known goes without.
    let deadline = Instant::now() + Duration::from_secs(20);
    let multivariant = loop {
        let text = server.get("/cam/index.m3u8").await.text().await.unwrap();
        if text.contains("hls/sub.m3u8") {
            break text;
        }
        assert!(Instant::now() < deadline, "{text}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let (_, parsed) = m3u8_rs::parse_master_playlist(multivariant.as_bytes()).unwrap();
    let variants: Vec<_> = parsed.variants.iter().map(|v| (v.uri.as_str(), v.resolution.unwrap().height)).collect();
    assert_eq!(variants, [("hls/main.m3u8", 1080), ("hls/sub.m3u8", 360)], "{multivariant}");
    for variant in &parsed.variants {
        let codecs = variant.codecs.as_deref().unwrap_or_default();
        assert!(codecs.starts_with("avc1.") && codecs.ends_with("mp4a.40.2"), "HLS-08: {codecs}");
    }
    assert!(parsed.variants[0].bandwidth > parsed.variants[1].bandwidth, "{multivariant}");
    let (mut main, mut sub) = (HlsClient::open(&server, "cam").await, HlsClient::open(&server, "cam/sub").await);
    let (main, sub) = tokio::join!(main.follow(Duration::from_secs(6)), sub.follow(Duration::from_secs(6)));
    let (main, sub) = (main.last().unwrap(), sub.last().unwrap());
    let both = || format!("{}\n{}", main.text, sub.text);
    assert_eq!(main.target_duration, sub.target_duration, "HLS-08: {}", both());
    for (playlist, other) in [(main, "sub.m3u8"), (sub, "main.m3u8")] {
        assert!(playlist.text.contains(&format!("#EXT-X-RENDITION-REPORT:URI=\"{other}\"")), "LL-08: {}", both());
    }
    // LL-09: the ends of both are the same moment.
    let end = |playlist: &Playlist| {
        let open = playlist.segments.last().unwrap();
        let begun = open.date_time.as_ref().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond() as f64;
        begun / 1000.0 + open.parts.iter().map(|part| part.duration).sum::<f64>()
    };
    let apart = (end(main) - end(sub)).abs();
    assert!(apart < 10.0 * main.part_target, "{apart} s apart: {}", both());
    assert_eq!(ffprobe(&server.http("/cam/sub/index.m3u8"), None).await.report["streams"][0]["height"], 360);
}

#[tokio::test]
async fn delta_update_and_whole_playlist_merge() {
    let camera = ScriptedCamera::behaving(Behaviour { audio: false, ..Behaviour::default() }).await;
    let server = Server::start(json!({
        "hls": { "segments": 20 },
        "paths": { "cam": { "source": camera.url() } },
    }))
    .await;
    server.state("cam", "ready").await;
    let mut client = HlsClient::open(&server, "cam").await;
    // A delta leaves out what is older than CAN-SKIP-UNTIL (six target durations): wait until there is such a thing.
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let delta = client.fetch_playlist("_HLS_skip=YES").await;
        let whole = client.playlist().await;
        if delta.skipped > 0 {
            let known: BTreeMap<u64, String> =
                whole.finished().map(|(number, segment)| (number, segment.uri.clone().unwrap())).collect();
            for (number, segment) in delta.finished() {
                assert_eq!(known.get(&number), segment.uri.as_ref(), "{}\n{}", delta.text, whole.text);
            }
            assert_eq!(delta.media_sequence, whole.media_sequence);
            break;
        }
        assert!(Instant::now() < deadline, "{}", delta.text);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let problems = lint_playlists(&client.files()).await;
    assert!(problems.is_empty(), "{problems:#?}");
}

#[tokio::test]
async fn requests_for_what_is_not_there_yet_wait_and_for_what_never_comes_end() {
    let (_camera, server) = relay(Behaviour::default()).await;
    let mut client = HlsClient::open(&server, "cam").await;
    let now = client.playlist().await;
    // LL-07: the hinted part may be asked for before it is there.
    let hint = now.hint.clone().unwrap();
    assert!(!client.bytes(&hint).await.is_empty());
    // LL-04: an old number is answered with the whole playlist.
    assert!(client.fetch_playlist("_HLS_msn=0").await.next_part() >= now.next_part());
    // LL-03: a part past the last one of a segment is the first one of the next. (Segments here have ten parts.)
    let (msn, part) = client.playlist().await.next_part();
    let later = client.fetch_playlist(&format!("_HLS_msn={msn}&_HLS_part={}", part.max(4) + 8)).await;
    assert!(later.next_part().0 > msn, "{}", later.text);
    let (msn, _) = later.next_part();
    // bis §6.2.5.2: more than two segments ahead, or three seconds of parts, is a mistake of the client.
    for query in [format!("_HLS_msn={}", msn + 100), format!("_HLS_msn={msn}&_HLS_part=10000")] {
        assert_eq!(server.get(&format!("{}?{query}", client.media)).await.status(), 400, "{query}");
    }
    let nonsense = server.get(&format!("{}?_HLS_part=0", client.media)).await;
    assert_eq!(nonsense.status(), 400, "_HLS_part needs _HLS_msn");
    assert_eq!(server.get("/cam/hls/no-such-file.m4s").await.status(), 404);
    assert_eq!(server.get("/no-such-path/index.m3u8").await.status(), 404);
}

#[tokio::test]
async fn cache_control_and_compression_suit_a_plain_cache() {
    let (_camera, server) = relay(Behaviour::default()).await;
    let mut client = HlsClient::open(&server, "cam").await;
    let playlist = client.playlist().await;
    let age = |response: &reqwest::Response| {
        let value = response.headers().get("cache-control").map(|value| value.to_str().unwrap().to_owned());
        let value = value.unwrap_or_default();
        let seconds = value.split(',').find_map(|part| part.trim().strip_prefix("max-age=")?.parse::<f64>().ok());
        seconds.unwrap_or_else(|| panic!("no max-age: {value:?}"))
    };
    // LL-11: a plain playlist half a target duration, what was waited for six of them.
    let plain = server.get(&client.media).await;
    assert!(age(&plain) <= playlist.target_duration / 2.0 + 1.0, "{}", age(&plain));
    assert_eq!(plain.headers()["content-type"], "application/vnd.apple.mpegurl");
    let (msn, part) = playlist.next_part();
    let waited = server.get(&format!("{}?_HLS_msn={msn}&_HLS_part={part}", client.media)).await;
    assert!(age(&waited) >= 4.0 * playlist.target_duration, "{}", age(&waited));
    let hint = crate::support::hls_client::resolve(&client.media, playlist.hint.as_ref().unwrap());
    assert!(age(&server.get(&hint).await) >= 4.0 * playlist.target_duration);
    assert!(plain.headers().get("age").is_none(), "an origin sends no Age");
    // HLS-07: playlists are compressed for those who accept it, media never.
    let request = server.client().get(server.http(&client.media)).header("accept-encoding", "gzip");
    let raw = reqwest::Client::builder().no_proxy().no_gzip().build().unwrap();
    let packed = raw.execute(request.build().unwrap()).await.unwrap();
    assert_eq!(packed.headers().get("content-encoding").map(|value| value.to_str().unwrap()), Some("gzip"));
}

#[tokio::test]
async fn pictures_alone_can_be_had_for_muted_tiles() {
    let (_camera, server) = relay(Behaviour::default()).await;
    assert_eq!(ffprobe(&server.http("/cam/index.m3u8?tracks=video"), None).await.codecs, ["h264"]);
    assert_eq!(ffprobe(&server.http("/cam/index.m3u8"), None).await.codecs, ["h264", "aac"]);
}

#[tokio::test]
async fn many_clients_at_once_see_one_timeline() {
    let (_camera, server) = relay(Behaviour::default()).await;
    let clients = join_all((0..10).map(|_| async {
        let mut client = HlsClient::open(&server, "cam").await;
        client.follow(Duration::from_secs(3)).await
    }))
    .await;
    let mut known = BTreeMap::new();
    for playlist in clients.iter().flatten() {
        for (number, segment) in playlist.finished() {
            let uri = known.entry(number).or_insert_with(|| segment.uri.clone());
            assert_eq!(*uri, segment.uri, "segment {number}");
        }
    }
    server.path_until("cam", "watched over HLS", |path| path["readers"]["hls"].as_u64() >= Some(1)).await;
}

#[tokio::test]
async fn numbers_go_on_over_a_restart_of_the_server() {
    let camera = ScriptedCamera::start().await;
    let config = json!({ "paths": { "cam": { "source": camera.url() } } });
    let server = Server::start(config.clone()).await;
    server.state("cam", "ready").await;
    let before = HlsClient::open(&server, "cam").await.follow(Duration::from_secs(5)).await.pop().unwrap();
    let server = server.restart(config).await;
    server.state("cam", "ready").await;
    let after = HlsClient::open(&server, "cam").await.playlist().await;
    assert!(after.media_sequence >= before.next_part().0, "HLS-02: {}\n{}", before.text, after.text);
    assert!(
        after.discontinuity_sequence > before.discontinuity_sequence || after.segments[0].discontinuity,
        "{}\n{}",
        before.text,
        after.text
    );
}
