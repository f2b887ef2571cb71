//! Cameras that are asked what they send.

use super::{
    super::testing::{Film, deaf},
    *,
};
use crate::ingest::{ProbeOptions, probe};

fn probing(url: &str) -> ProbeOptions {
    let options = options(url);
    ProbeOptions {
        duration: Duration::from_millis(500),
        picture_wait: Duration::from_millis(800),
        ..ProbeOptions::new(options.camera)
    }
}

#[tokio::test]
async fn a_camera_is_measured() {
    let sdp = format!("{H264_SDP}m=audio 0 RTP/AVP 0\r\na=control:trackID=2\r\n");
    let camera = Camera::start(move |_, mut talk| {
        let sdp = sdp.clone();
        async move {
            talk.serve(&sdp).await?;
            talk.play_on(&mut Film::new()).await
        }
    })
    .await;
    let report = probe(probing(&camera.url("/stream"))).await.unwrap();
    assert_eq!((report.transport, report.tls, report.mended), ("tcp", false, false));
    let [video, sound] = &report.tracks[..] else { panic!("{report:?}") };
    assert_eq!((video.codec.as_str(), video.size, video.gop_ms), ("H.264", Some((1280, 720)), Some(100)));
    assert_eq!(video.codec_string.as_deref(), Some("avc1.42c01f"));
    assert_eq!(video.frame_rate, Some(100.0));
    assert!(video.bit_rate_bps > 1_000, "{video:?}");
    assert_eq!((sound.codec.as_str(), sound.sample_rate), ("G.711 µ-law", Some(8_000)));
    assert!(report.first_unit_ms < 5_000);
    assert_eq!(camera.methods(0).last().map(String::as_str), Some("TEARDOWN"));
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["tracks"][0]["size"], serde_json::json!([1280, 720]));
}

#[tokio::test]
async fn a_wrong_name_is_answered_with_the_right_one() {
    let camera = Camera::start(async |_, mut talk| {
        loop {
            let request = talk.request().await?;
            match request.url.ends_with("/Streaming/Channels/101") {
                true => talk.obey(&request, H264_SDP).await?,
                false => talk.answer(&request, "404 Not Found", "", "").await?,
            }
        }
    })
    .await;
    let failure = probe(probing(&camera.url("/wrong"))).await.unwrap_err();
    assert_eq!(failure.code, "source_not_found");
    assert_eq!(failure.found, [camera.url("/Streaming/Channels/101")]);
    assert!(failure.hint.unwrap().contains("/Streaming/Channels/101"));
    assert!(failure.tried > 5);
    assert!(camera.requests.lock().unwrap().iter().all(|request| request.method == "DESCRIBE"));
}

#[tokio::test]
async fn why_nothing_comes_is_told() {
    let silent = Camera::start(async |_, mut talk| {
        talk.serve(H264_SDP).await?;
        talk.fall_silent().await
    })
    .await;
    assert_eq!(probe(probing(&silent.url("/"))).await.unwrap_err().code, "source_silent");
    let without_start = Camera::start(async |_, mut talk| {
        talk.serve(H264_SDP).await?;
        let mut film = Film::new();
        loop {
            film.number = 1;
            talk.play(&mut film, 1).await?;
        }
    })
    .await;
    assert_eq!(probe(probing(&without_start.url("/"))).await.unwrap_err().code, "source_no_picture");
    let deaf = deaf();
    let refused = probe(probing(&format!("rtsp://{}/", deaf.local_addr().unwrap()))).await.unwrap_err();
    assert_eq!((refused.code, refused.tried), ("source_refused", 0));
    let guarded = Camera::start(async |_, mut talk| {
        loop {
            let request = talk.request().await?;
            talk.answer(&request, "401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n", "").await?;
        }
    })
    .await;
    let failure = probe(probing(&guarded.url("/"))).await.unwrap_err();
    assert!(failure.message.contains("(Basic)"), "{failure:?}");
}

#[tokio::test]
async fn redirects_are_followed_and_answers_mended() {
    let target = Camera::start(async |_, mut talk| {
        talk.serve(&H264_SDP.replace("t=0 0\r\n", "c=IN\r\n")).await?;
        talk.play_on(&mut Film::new()).await
    })
    .await;
    let to = target.url("/there");
    let camera = Camera::start(move |_, mut talk| {
        let to = to.clone();
        async move {
            loop {
                let request = talk.request().await?;
                talk.answer(&request, "302 Found", &format!("Location: {to}\r\n"), "").await?;
            }
        }
    })
    .await;
    let report = probe(probing(&camera.url("/"))).await.unwrap();
    assert_eq!(report.url, target.url("/there"));
    assert!(report.mended, "{report:?}");
}
