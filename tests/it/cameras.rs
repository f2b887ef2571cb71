//! The tests' own cameras work: without this a red test would not say whose fault it is.

use futures_util::future::join_all;

use crate::support::{
    camera::Camera,
    clients::{ffmpeg_decode, ffprobe},
    scripted_camera::{Behaviour, Login, PASSWORD, ScriptedCamera, USER, Video},
};

#[tokio::test]
async fn gstreamer_camera_serves_every_codec_it_is_said_to() {
    let samples = ["h264_aac.mp4", "h264_bf.mp4", "h264_slices.mp4", "h265_aac.mp4", "mjpeg.mkv"];
    let camera = Camera::start(&samples, &[]).await;
    let mounts = [
        ("/h264_aac", &["h264", "aac"][..]),
        ("/b_frames", &["h264", "aac"]),
        ("/slices", &["h264"]),
        ("/h265_aac", &["hevc", "aac"]),
        ("/mjpeg", &["mjpeg"]),
        ("/alaw", &["h264", "pcm_alaw"]),
        ("/mulaw", &["h264", "pcm_mulaw"]),
        ("/opus", &["h264", "opus"]),
        ("/l16", &["h264", "pcm_s16be"]),
        ("/g722", &["h264", "adpcm_g722"]),
        ("/vp8", &["vp8"]),
        ("/h264_latm", &["h264", "aac"]),
    ];
    join_all(mounts.map(async |(mount, codecs)| {
        assert_eq!(ffprobe(&camera.url(mount), Some("tcp")).await.codecs, codecs, "{mount}");
    }))
    .await;
}

#[tokio::test]
async fn scripted_camera_in_good_order_pleases_a_strict_decoder() {
    for (video, codec) in [(Video::H264, "h264"), (Video::H264Small, "h264"), (Video::H265, "hevc")] {
        let camera =
            ScriptedCamera::behaving(Behaviour { video: Some(video), udp: true, ..Behaviour::default() }).await;
        for transport in ["tcp", "udp"] {
            assert_eq!(ffprobe(&camera.url(), Some(transport)).await.codecs, [codec, "aac"], "{video:?} {transport}");
        }
        let frames = ffmpeg_decode(&camera.url(), Some("tcp"), 2.0).await;
        assert!(frames.iter().filter(|frame| frame.stream == 0).count() >= 45, "{video:?}: {}", frames.len());
    }
}

#[tokio::test]
async fn scripted_camera_asks_for_the_login_it_was_told_to() {
    for login in [Login::Basic, Login::Md5] {
        let camera = ScriptedCamera::behaving(Behaviour { login: Some(login), ..Behaviour::default() }).await;
        let codecs = ffprobe(&camera.url_with_login(), Some("tcp")).await.codecs;
        assert_eq!(codecs, ["h264", "aac"], "{login:?} {USER} {PASSWORD}");
    }
}

#[tokio::test]
async fn browser_reports_what_a_page_does() {
    let page = crate::support::browser::open("data:text/html,<p>hello", "return document.body.innerText", 20).await;
    assert_eq!((page.result.as_str(), page.errors.len(), page.strangers.len()), (Some("hello"), 0, 0), "{page:?}");
}
