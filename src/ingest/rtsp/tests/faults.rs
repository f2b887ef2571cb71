//! Cameras that go wrong while they are watched, and how watching goes on.

use std::future::Future;

use super::{
    super::testing::{Film, SPS_360, Talk},
    *,
};
use crate::{hub::StreamState, ingest::testing::Change};

/// Short times, so that a test does not take as long as a real loss.
fn impatient(camera: &Camera) -> RtspSource {
    let mut options = options(&camera.url("/stream"));
    options.camera.request_timeout = HumanDuration::from_millis(1_000);
    options.reconnect_after = Duration::from_secs(2);
    RtspSource::new(options, CameraHosts::default())
}

/// A camera whose first connection goes wrong after 15 pictures, and whose later ones play on.
async fn goes_wrong<F, T>(wrong: F) -> Camera
where
    F: Fn(Talk, Film) -> T + Send + Sync + Copy + 'static,
    T: Future<Output = std::io::Result<()>> + Send + 'static,
{
    Camera::start(move |connection, mut talk| async move {
        talk.serve(H264_SDP).await?;
        let mut film = Film::new();
        film.ssrc += connection as u32;
        if connection > 0 {
            return talk.play_on(&mut film).await;
        }
        talk.play(&mut film, 15).await?;
        wrong(talk, film).await
    })
    .await
}

/// The camera is watched, goes wrong with this code, and is watched on by the same reader.
async fn comes_back(camera: &Camera, code: &str) {
    let path = Watched::start(impatient(camera));
    let mut reader = pictures(&path).await;
    let failure = path.failure().await;
    assert_eq!(failure.code(), code, "{failure:?}");
    let units = reader.until(|units| units.iter().any(|unit| unit.spliced)).await;
    assert_timeline(&units);
    let back = units.iter().find(|unit| unit.spliced).unwrap();
    assert!(back.random_access, "a run begins where a decoder can");
    path.until(StreamState::Ready).await;
    assert!(path.stream.counters().reconnects.load(Ordering::Relaxed) >= 1);
    assert!(reader.changes.is_empty(), "{:?}", reader.changes);
    path.stop().await;
}

#[tokio::test]
async fn a_camera_that_hangs_up_is_called_again() {
    comes_back(&goes_wrong(async |_, _| Ok(())).await, "source_closed").await;
}

#[tokio::test]
async fn a_camera_that_falls_silent_is_called_again() {
    comes_back(&goes_wrong(async |mut talk, _| talk.fall_silent().await).await, "source_silent").await;
}

/// RTCP on the channel beside the film's: a receiver's report of nothing, and a goodbye.
fn goodbye(film: &Film) -> Vec<u8> {
    let mut report = Vec::new();
    crate::rtp::rtcp::write_receiver_report(&mut report, film.ssrc, &[], "cam");
    crate::rtp::rtcp::write_goodbye(&mut report, film.ssrc, "");
    [&[b'$', film.channel + 1, 0, report.len() as u8], &report[..]].concat()
}

#[tokio::test]
async fn a_camera_that_says_goodbye_is_called_again_before_silence_would_tell() {
    let camera = goes_wrong(async |mut talk, film| {
        talk.write(&goodbye(&film)).await?;
        talk.fall_silent().await
    })
    .await;
    comes_back(&camera, "source_closed").await;
}

#[tokio::test]
async fn a_goodbye_that_is_none_changes_nothing() {
    let camera = Camera::start(async |_, mut talk| {
        talk.serve(H264_SDP).await?;
        let mut film = Film::new();
        loop {
            talk.play(&mut film, 40).await?;
            talk.write(&goodbye(&film)).await?;
        }
    })
    .await;
    let path = Watched::start(impatient(&camera));
    let mut reader = pictures(&path).await;
    reader.take(200).await;
    assert_eq!(path.stream.counters().reconnects.load(Ordering::Relaxed), 0);
    path.stop().await;
}

/// The cable is pulled: the connection stands, and nothing is answered any more.
#[tokio::test]
async fn a_camera_that_neither_sends_nor_answers_is_called_again() {
    let camera = goes_wrong(async |talk, _| {
        tokio::time::sleep(Duration::from_secs(60)).await;
        drop(talk);
        Ok(())
    })
    .await;
    comes_back(&camera, "source_silent").await;
}

#[tokio::test]
async fn a_camera_that_becomes_another_sender_is_called_again() {
    let camera = goes_wrong(async |mut talk, mut film| {
        film.ssrc ^= 0xffff;
        talk.play_on(&mut film).await
    })
    .await;
    comes_back(&camera, "source_protocol").await;
}

#[tokio::test]
async fn a_camera_that_counts_packets_anew_is_called_again() {
    let camera = goes_wrong(async |mut talk, mut film| {
        film.sequence = film.sequence.wrapping_sub(20_000);
        talk.play_on(&mut film).await
    })
    .await;
    comes_back(&camera, "source_protocol").await;
}

#[tokio::test]
async fn garbage_between_frames_is_survived() {
    let camera = Camera::start(async |_, mut talk| {
        talk.serve(H264_SDP).await?;
        let mut film = Film::new();
        loop {
            talk.play(&mut film, 12).await?;
            talk.write(b"\x00garbage $\xff and more\r\n").await?;
        }
    })
    .await;
    let path = Watched::start(impatient(&camera));
    let mut reader = pictures(&path).await;
    // The first garbage ends the connection; the next one is mended on its way, and garbage ends it no more.
    let units = reader.take(80).await;
    assert_timeline(&units);
    assert!(camera.requests.lock().unwrap().iter().map(|request| request.connection).max() <= Some(2));
    path.stop().await;
}

#[tokio::test]
async fn answers_with_wrong_numbers_or_none_are_mended() {
    for number in ["CSeq: 99\r\n", ""] {
        let camera = Camera::start(move |_, mut talk| async move {
            loop {
                let request = talk.request().await?;
                let transport = request.header("Transport").map(|value| format!("Transport: {value}\r\n")).unwrap_or_default();
                let body = if request.method == "DESCRIBE" { H264_SDP } else { "" };
                let text = format!("RTSP/1.0 200 OK\r\n{number}Session: 7\r\nContent-Type: application/sdp\r\n{transport}Content-Length: {}\r\n\r\n{body}", body.len());
                talk.write(text.as_bytes()).await?;
                if request.method == "PLAY" {
                    return talk.play_on(&mut Film::new()).await;
                }
            }
        })
        .await;
        plays(&camera).await;
    }
}

#[tokio::test]
async fn a_head_of_64_kib_is_survived() {
    let camera = Camera::start(async |connection, mut talk| {
        if connection == 0 {
            let _ = talk.request().await?;
            let long = "x".repeat(64 * 1024);
            talk.write(format!("RTSP/1.0 200 OK\r\nX-Long: {long}").as_bytes()).await?;
            return talk.fall_silent().await;
        }
        talk.serve(H264_SDP).await?;
        talk.play_on(&mut Film::new()).await
    })
    .await;
    let path = Watched::start(impatient(&camera));
    assert_eq!(path.failure().await.code(), "source_timeout");
    pictures(&path).await;
    path.stop().await;
}

/// F-03: the media timeline goes on without a step, and nobody is disturbed.
#[tokio::test]
async fn timestamps_that_jump_an_hour_are_spliced() {
    for jump in [90_000 * 3600_u32, (90_000 * 3600_u32).wrapping_neg()] {
        let camera = Camera::start(move |_, mut talk| async move {
            talk.serve(H264_SDP).await?;
            let mut film = Film::new();
            talk.play(&mut film, 25).await?;
            film.timestamp = film.timestamp.wrapping_add(jump);
            talk.play_on(&mut film).await
        })
        .await;
        let path = Watched::start(impatient(&camera));
        let mut reader = pictures(&path).await;
        let units = reader.take(40).await;
        assert_timeline(&units);
        let widest = units.windows(2).map(|pair| (pair[1].dts - pair[0].dts).millis()).max().unwrap();
        assert!(widest < 1_000, "{widest} ms");
        let counters = path.stream.counters();
        assert_eq!((counters.jumps.load(Ordering::Relaxed), counters.reconnects.load(Ordering::Relaxed)), (1, 0));
        path.stop().await;
    }
}

#[tokio::test]
async fn new_parameter_sets_are_announced_and_watching_goes_on() {
    let camera = Camera::start(async |_, mut talk| {
        talk.serve(H264_SDP).await?;
        let mut film = Film::new();
        talk.play(&mut film, 25).await?;
        film.sps = SPS_360;
        talk.play_on(&mut film).await
    })
    .await;
    let path = Watched::start(impatient(&camera));
    let mut reader = pictures(&path).await;
    reader.until(|units| units.iter().any(|unit| unit.track.revision > 0)).await;
    let size = reader.tracks().tracks[0].parameters.picture_size().unwrap();
    assert_eq!((size.width, size.height), (640, 360));
    assert!(matches!(reader.changes[..], [Change::Parameters]), "{:?}", reader.changes);
    assert_eq!(path.stream.counters().reconnects.load(Ordering::Relaxed), 0);
    path.stop().await;
}

#[tokio::test]
async fn another_codec_after_a_reboot_is_another_list_of_tracks() {
    let camera = Camera::start(async |connection, mut talk| {
        let hevc = connection > 0;
        talk.serve(&if hevc { H264_SDP.replace("H264", "H265") } else { H264_SDP.to_owned() }).await?;
        let mut film = Film { hevc, ..Film::new() };
        talk.play(&mut film, if hevc { usize::MAX } else { 15 }).await
    })
    .await;
    let path = Watched::start(impatient(&camera));
    let mut reader = pictures(&path).await;
    reader.until(|units| units.iter().any(|unit| unit.track.codec() == crate::media::Codec::H265)).await;
    assert!(matches!(reader.changes[..], [Change::Tracks]), "{:?}", reader.changes);
    path.stop().await;
}

#[tokio::test]
async fn a_camera_that_plays_nothing_a_viewer_could_start_with_stays_not_ready() {
    let camera = Camera::start(async |_, mut talk| {
        talk.serve(H264_SDP).await?;
        let mut film = Film { number: 1, ..Film::new() };
        loop {
            film.number = 1;
            talk.play(&mut film, 1).await?;
        }
    })
    .await;
    let path = Watched::start(impatient(&camera));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(path.stream.snapshot().state, StreamState::Waiting);
    path.stop().await;
}

/// go2rtc's cameras send requests of their own; retina leaves them unanswered and plays on.
#[tokio::test]
async fn a_request_of_the_camera_disturbs_nobody() {
    let camera = Camera::start(async |_, mut talk| {
        talk.serve(H264_SDP).await?;
        let mut film = Film::new();
        loop {
            talk.play(&mut film, 5).await?;
            talk.write(b"OPTIONS rtsp://127.0.0.1/ RTSP/1.0\r\nCSeq: 1\r\n\r\n").await?;
        }
    })
    .await;
    plays(&camera).await;
}

/// A track that was announced and is silent is no reason to call again, even where packets come out of order.
#[tokio::test]
async fn single_errors_do_not_end_a_session() {
    let sdp = format!("{H264_SDP}m=audio 0 RTP/AVP 0\r\na=control:trackID=2\r\n");
    let camera = Camera::start(move |_, mut talk| {
        let sdp = sdp.clone();
        async move {
            talk.serve(&sdp).await?;
            let mut film = Film::new();
            loop {
                talk.play(&mut film, 6).await?;
                let mut late = Film { sequence: film.sequence.wrapping_sub(3), ..film.clone() };
                let packet = late.packet(true, &[0x41, 0x9a, 1]);
                talk.write(&packet).await?;
            }
        }
    })
    .await;
    let path = Watched::start(impatient(&camera));
    let mut reader = pictures(&path).await;
    reader.take(250).await;
    let counters = path.stream.counters();
    assert!(counters.packets_bad.load(Ordering::Relaxed) > 10);
    assert_eq!(counters.reconnects.load(Ordering::Relaxed), 0);
    path.stop().await;
}
