//! Cameras of every kind, as GStreamer makes them, each read back by ffprobe over RTSP and over HLS.

use futures_util::future::join;
use serde_json::{Value, json};

use crate::support::{
    camera::Camera,
    clients::{ffmpeg_decode, ffprobe},
    rtsp_client::RtspReader,
    server::Server,
    tls,
};

/// The codecs of a path as the API names them.
fn codecs(path: &Value) -> Vec<String> {
    let tracks = path["tracks"].as_array().unwrap();
    tracks.iter().map(|track| track["codec"].as_str().unwrap().to_owned()).collect()
}

/// A server with one path, `cam`, from a mount of a camera.
async fn relay(sample: &str, mount: &str) -> (Camera, Server) {
    let camera = Camera::start(&[sample], &[]).await;
    let server = Server::start(json!({ "paths": { "cam": { "source": camera.url(mount) } } })).await;
    (camera, server)
}

/// The camera's codecs show in the API, come out over RTSP all, and over HLS those it can carry.
async fn comes_out(
    sample: &str,
    mount: &str,
    named: &[&str],
    over_rtsp: &[&str],
    over_hls: &[&str],
) -> (Camera, Server) {
    let (camera, server) = relay(sample, mount).await;
    let path = server.state("cam", "ready").await;
    assert_eq!(codecs(&path), named, "{path:#}");
    let (rtsp, hls) = (server.rtsp("cam"), server.http("/cam/index.m3u8"));
    let (rtsp, hls) = join(ffprobe(&rtsp, Some("tcp")), async {
        if over_hls.is_empty() { None } else { Some(ffprobe(&hls, None).await) }
    })
    .await;
    assert_eq!(rtsp.codecs, over_rtsp, "over RTSP: {:#}", rtsp.report);
    if let Some(hls) = hls {
        assert_eq!(hls.codecs, over_hls, "over HLS: {:#}", hls.report);
        let video = &hls.report["streams"][0];
        assert!(video["width"].as_u64() >= Some(320), "a picture was decoded: {video:#}");
    }
    (camera, server)
}

/// What the API says of the tracks HLS leaves out.
async fn left_out_of_hls(server: &Server, codec: &str) {
    let path = server.path("cam").await;
    let text = path["tracks"].as_array().unwrap().iter().find(|track| track["codec"] == codec).unwrap().to_string();
    assert!(text.contains("hls"), "the API says why HLS leaves {codec} out: {text}");
}

#[tokio::test]
async fn h264_and_aac_come_out_over_rtsp_and_hls() {
    comes_out("h264_aac.mp4", "/h264_aac", &["H.264", "AAC"], &["h264", "aac"], &["h264", "aac"]).await;
}

#[tokio::test]
async fn h264_of_many_slices_comes_out() {
    let (_camera, server) = comes_out("h264_slices.mp4", "/slices", &["H.264"], &["h264"], &["h264"]).await;
    let frames = ffmpeg_decode(&server.rtsp("cam"), Some("tcp"), 2.0).await;
    assert!(frames.len() > 40, "{}", frames.len());
}

#[tokio::test]
async fn h264_with_b_frames_gets_decode_times_that_only_rise() {
    let (_camera, server) =
        comes_out("h264_bf.mp4", "/b_frames", &["H.264", "AAC"], &["h264", "aac"], &["h264", "aac"]).await;
    let frames = ffmpeg_decode(&server.http("/cam/index.m3u8"), None, 4.0).await;
    let video: Vec<_> = frames.iter().filter(|frame| frame.stream == 0).collect();
    // The first second of a young stream is a picture that stands still.
    assert!(video.len() > 70, "{}", video.len());
    assert!(video.windows(2).all(|pair| pair[0].pts < pair[1].pts), "pictures are shown in order");
}

#[tokio::test]
async fn h265_whose_random_access_points_are_cra_pictures_comes_out() {
    let (_camera, server) =
        comes_out("h265_aac.mp4", "/h265_aac", &["H.265", "AAC"], &["hevc", "aac"], &["hevc", "aac"]).await;
    // A second reader, seconds later, starts at a CRA picture: the only IDR was the camera's first.
    let frames = ffmpeg_decode(&server.rtsp("cam"), Some("tcp"), 2.0).await;
    assert!(frames.iter().filter(|frame| frame.stream == 0).count() > 40);
}

#[tokio::test]
async fn latm_comes_out_as_sound() {
    comes_out("h264_aac.mp4", "/h264_latm", &["H.264", "AAC"], &["h264", "aac"], &["h264", "aac"]).await;
}

#[tokio::test]
async fn opus_comes_out_over_rtsp_and_hls() {
    comes_out("h264_aac.mp4", "/opus", &["H.264", "Opus"], &["h264", "opus"], &["h264", "opus"]).await;
}

#[tokio::test]
async fn g711_and_l16_come_out_over_rtsp_and_as_opus_over_hls() {
    let mounts =
        [("/alaw", "G.711 A-law", "pcm_alaw"), ("/mulaw", "G.711 µ-law", "pcm_mulaw"), ("/l16", "L16", "pcm_s16be")];
    for (mount, named, probed) in mounts {
        let (_camera, server) =
            comes_out("h264_aac.mp4", mount, &["H.264", named], &["h264", probed], &["h264", "opus"]).await;
        // Sound and picture begin side by side: what the ring held became Opus too.
        let report = ffprobe(&server.http("/cam/index.m3u8"), None).await.report;
        let begins = |stream: usize| report["streams"][stream]["start_time"].as_str().unwrap().parse::<f64>().unwrap();
        assert!((begins(0) - begins(1)).abs() < 0.5, "{mount}: {report:#}");
    }
}

#[tokio::test]
async fn g722_comes_out_over_rtsp_and_is_left_out_of_hls_with_a_reason() {
    let codecs = (&["H.264", "G.722"], &["h264", "adpcm_g722"]);
    let (_camera, server) = comes_out("h264_aac.mp4", "/g722", codecs.0, codecs.1, &["h264"]).await;
    left_out_of_hls(&server, "G.722").await;
}

#[tokio::test]
async fn mjpeg_comes_out_over_rtsp_and_hls_says_that_nothing_is_playable() {
    let (_camera, server) = comes_out("mjpeg.mkv", "/mjpeg", &["MJPEG"], &["mjpeg"], &[]).await;
    let response = server.get("/cam/index.m3u8").await;
    assert!(response.status().is_client_error(), "{response:?}");
    let problem: Value = response.json().await.unwrap();
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("MJPEG")), "{problem:#}");
}

#[tokio::test]
async fn vp8_comes_out_over_rtsp() {
    comes_out("h264_aac.mp4", "/vp8", &["VP8"], &["vp8"], &[]).await;
}

#[tokio::test]
async fn vp9_comes_out_over_rtsp_and_hls() {
    let (_camera, server) = comes_out("h264_aac.mp4", "/vp9", &["VP9"], &["vp9"], &["vp9"]).await;
    for (url, transport) in [(server.rtsp("cam"), Some("tcp")), (server.http("/cam/index.m3u8"), None)] {
        let frames = ffmpeg_decode(&url, transport, 4.0).await;
        assert!(frames.len() > 40, "{}", frames.len());
    }
}

/// Debian's ffmpeg takes no AV1 from RTP: what comes out over RTSP goes into another relay, and over HLS from there.
#[tokio::test]
async fn av1_comes_out_over_rtsp_and_hls() {
    let (_camera, server) = relay("h264_aac.mp4", "/av1").await;
    let path = server.state("cam", "ready").await;
    assert_eq!(codecs(&path), ["AV1"], "{path:#}");
    assert_eq!((&path["tracks"][0]["width"], &path["tracks"][0]["height"]), (&json!(320), &json!(180)), "{path:#}");
    let second = Server::start(json!({ "paths": { "cam": { "source": server.rtsp("cam") } } })).await;
    second.state("cam", "ready").await;
    for server in [&server, &second] {
        let hls = server.http("/cam/index.m3u8");
        assert_eq!(ffprobe(&hls, None).await.codecs, ["av1"]);
        let frames = ffmpeg_decode(&hls, None, 4.0).await;
        assert!(frames.len() > 40, "{}", frames.len());
        assert_eq!(server.path("cam").await["renditions"][0]["packets_bad"], 0);
    }
}

#[tokio::test]
async fn onvif_metadata_is_carried_and_costs_the_picture_nothing() {
    let (_camera, server) = relay("h264_aac.mp4", "/onvif").await;
    let path = server.state("cam", "ready").await;
    assert_eq!(path["tracks"].as_array().unwrap().len(), 2, "{path:#}");
    assert_eq!(path["tracks"][1]["kind"], "application", "{path:#}");
    let reader = RtspReader::play(&server.rtsp("cam")).await;
    reader.more(120).await;
    let documents = reader.noted().packets.into_iter().filter(|(track, ..)| *track == 1).collect::<Vec<_>>();
    assert!(reader.sdp.to_ascii_lowercase().contains("vnd.onvif.metadata"), "{}", reader.sdp);
    assert!(String::from_utf8_lossy(&documents[0].1.payload).contains("<tt:MetadataStream"), "{documents:?}");
    assert_eq!(ffprobe(&server.http("/cam/index.m3u8"), None).await.codecs, ["h264"]);
}

#[tokio::test]
async fn camera_that_asks_for_a_login_gets_it() {
    for scheme in ["basic", "digest"] {
        // A camera each: gst-rtsp-server gets stuck now and then when two sessions of a mount begin at one moment.
        let options = [format!("auth={scheme}")];
        let camera = Camera::start(&["h264_aac.mp4"], &options).await;
        let other = Camera::start(&["h264_aac.mp4"], &options).await;
        let source = camera.url("/h264");
        let in_url = other.url("/h264").replace("rtsp://", "rtsp://admin:secret@");
        let server = Server::start(json!({ "paths": {
            "apart": { "source": source, "username": "admin", "password": "secret" },
            "in-url": { "source": in_url },
            "wrong": { "source": source, "username": "admin", "password": "not-it" },
            "none": { "source": source },
        } }))
        .await;
        for name in ["apart", "in-url"] {
            server.state(name, "ready").await;
        }
        for name in ["wrong", "none"] {
            let path = server.path_until(name, "refused", |path| !path["error"].is_null()).await;
            let error = path["error"].to_string();
            assert!(error.contains("401") || error.contains("login") || error.contains("password"), "{error}");
            assert!(path["error"]["hint"].is_string(), "{error}");
            assert!(!error.contains("not-it"), "no secret shows: {error}");
        }
        assert!(!server.log().join("\n").contains("not-it"), "no secret is logged");
    }
}

#[tokio::test]
async fn rtsps_camera_is_believed_by_certificate_fingerprint_or_on_demand() {
    let identity = tls::Identity::new();
    let options = [format!("tls={},{}", identity.certificate.display(), identity.key.display())];
    // A camera each, as above.
    let camera = Camera::start(&["h264_aac.mp4"], &options).await;
    let other = Camera::start(&["h264_aac.mp4"], &options).await;
    let (source, insecure) = (camera.url("/h264_aac"), other.url("/h264_aac"));
    let wrong = "00".repeat(32);
    let mut server = Server::start(json!({ "paths": {
        "verified": { "source": source },
        "pinned": { "source": source, "tls": { "fingerprint": identity.fingerprint() } },
        "insecure": { "source": insecure, "tls": { "insecure": true } },
        "pinned-to-another": { "source": source, "tls": { "fingerprint": wrong } },
    } }))
    .await;
    for name in ["pinned", "insecure"] {
        server.state(name, "ready").await;
        assert_eq!(ffprobe(&server.rtsp(name), Some("tcp")).await.codecs, ["h264", "aac"], "{name}");
    }
    for name in ["verified", "pinned-to-another"] {
        let path = server.path_until(name, "refused", |path| !path["error"].is_null()).await;
        assert!(path["error"].to_string().contains("certificate"), "{name}: {path:#}");
    }
    server.log_line(|line| line.contains("WARN") && line.contains("insecure")).await;
}

#[tokio::test]
async fn camera_over_udp_comes_out() {
    let camera = Camera::start(&["h264_aac.mp4"], &[]).await;
    let source = json!({ "source": camera.url("/h264_aac"), "transport": "udp" });
    let server = Server::start(json!({ "paths": { "cam": source } })).await;
    server.state("cam", "ready").await;
    assert_eq!(ffprobe(&server.rtsp("cam"), Some("tcp")).await.codecs, ["h264", "aac"]);
}

#[tokio::test]
async fn camera_whose_packets_come_out_of_order_over_udp_loses_none() {
    let options = ["reorder=0.05".to_owned(), "dup=0.02".to_owned()];
    let camera = Camera::start(&["h264_aac.mp4"], &options).await;
    let source = json!({ "source": camera.url("/mangle"), "transport": "udp" });
    let server = Server::start(json!({ "paths": { "cam": source } })).await;
    server.state("cam", "ready").await;
    RtspReader::play(&server.rtsp("cam")).await.more(1_000).await;
    let path = server.path("cam").await;
    assert_eq!((&path["packets_lost"], &path["reconnects"]), (&json!(0), &json!(0)), "{path:#}");
}

#[tokio::test]
async fn main_and_sub_stream_are_two_variants_of_one_camera() {
    let camera = Camera::start(&["h264_aac.mp4", "h264_slices.mp4"], &[]).await;
    let source = json!({ "source": camera.url("/h264_aac"), "sub": camera.url("/slices") });
    let server = Server::start(json!({ "paths": { "cam": source } })).await;
    server.state("cam", "ready").await;
    assert_eq!(ffprobe(&server.rtsp("cam"), Some("tcp")).await.codecs, ["h264", "aac"]);
    assert_eq!(ffprobe(&server.rtsp("cam/sub"), Some("tcp")).await.codecs, ["h264"]);
    let multivariant = server.get("/cam/index.m3u8").await.text().await.unwrap();
    assert_eq!(multivariant.matches("#EXT-X-STREAM-INF").count(), 2, "{multivariant}");
    let paths = server.json("/api/v1/paths").await;
    assert_eq!(paths["items"].as_array().map(Vec::len), Some(1), "one camera: {paths:#}");
}
