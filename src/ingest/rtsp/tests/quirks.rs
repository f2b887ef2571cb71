//! What cameras get wrong in the field, one test each; `docs/cameras.md` tells users the same.

use super::{
    super::testing::{FRAME, Film, PPS, SESSION, SPS_720, hex},
    *,
};
use crate::media::{Codec, MediaKind};

const FOOT: &str = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:trackID=1\r\n";

/// A camera that plays a film to an SDP.
async fn with_sdp(sdp: impl Into<String>, film: Film) -> Camera {
    let sdp = sdp.into();
    Camera::start(move |_, mut talk| {
        let (sdp, mut film) = (sdp.clone(), film.clone());
        async move {
            talk.serve(&sdp).await?;
            talk.play_on(&mut film).await
        }
    })
    .await
}

/// go2rtc#1426, WebRTC#417.
#[tokio::test]
async fn sdp_with_several_names_broken_lines_and_strange_media_is_read() {
    for head in [
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=one\r\ns=two\r\nt=0 0\r\n",
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nc=IN\r\nt=0 0\r\n",
        "junk\r\nv=0\r\no=broken\r\ns=\r\nt=\r\n",
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=alien 0 ?\r\n",
    ] {
        let sdp = format!("{head}{FOOT}");
        plays(&with_sdp(sdp.trim_end(), Film::new()).await).await;
    }
}

/// WebRTC#419: the H.264 parameters stand at the sound, the sound's at the picture.
#[tokio::test]
async fn parameters_of_another_track_are_not_believed() {
    let sdp = format!(
        "{H264_SDP}a=fmtp:96 streamtype=5;profile-level-id=1;mode=AAC-hbr;config=1190\r\nm=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/48000/2\r\na=control:trackID=2\r\na=fmtp:97 sprop-parameter-sets=Z0LAH9kAUAW7ARAAAAMAEAAAAwMg8YMZJIA=,aM48gA==\r\n"
    );
    let reader = plays(&with_sdp(sdp, Film::new()).await).await;
    let tracks = &reader.tracks().tracks;
    assert_eq!((tracks[0].codec(), tracks[1].is_opaque()), (Codec::H264, true));
}

/// go2rtc#1588.
#[tokio::test]
async fn h265_whose_announcement_lacks_a_parameter_set_takes_it_from_the_pictures() {
    let sdp = H264_SDP.replace("H264", "H265")
        + "a=fmtp:96 sprop-sps=QgEBAWAAAAMAkAAAAwAAAwB4oAPAgBEHy5ZWVKTC8BaAgAAAAwCAAAAMhA==; sprop-pps=RAHBcrRiQA==\r\n";
    let film = Film { hevc: true, ..Film::new() };
    let reader = plays(&with_sdp(sdp, film).await).await;
    assert_eq!(reader.tracks().tracks[0].codec(), Codec::H265);
}

/// go2rtc#1598.
#[tokio::test]
async fn a_stream_of_h265_announced_as_h264_is_what_it_is() {
    let film = Film { hevc: true, ..Film::new() };
    let reader = plays(&with_sdp(H264_SDP, film).await).await;
    assert_eq!(reader.tracks().tracks[0].codec(), Codec::H265);
    assert!(reader.tracks().tracks[0].parameters.picture_size().is_some());
}

/// go2rtc#771: `CV-RTSPHandler` marks everything as sent by us.
#[tokio::test]
async fn directions_that_are_all_wrong_are_not_believed() {
    let sdp = format!("{H264_SDP}a=sendonly\r\nm=audio 0 RTP/AVP 8\r\na=control:trackID=2\r\na=sendonly\r\n");
    let reader = plays(&with_sdp(sdp, Film::new()).await).await;
    assert_eq!(reader.tracks().sent().count(), 2);
}

#[tokio::test]
async fn a_back_channel_is_not_set_up() {
    let sdp = format!("{H264_SDP}a=recvonly\r\nm=audio 0 RTP/AVP 0\r\na=control:trackID=2\r\na=sendonly\r\n");
    let camera = with_sdp(sdp, Film::new()).await;
    let reader = plays(&camera).await;
    assert_eq!(reader.tracks().tracks.len(), 1);
    assert_eq!(camera.methods(0).iter().filter(|method| *method == "SETUP").count(), 1);
}

/// RFC 7587 §7 wants `opus/48000/2`, whatever is inside.
#[tokio::test]
async fn opus_with_a_wrong_clock_counts_at_48_khz() {
    let sdp = format!("{H264_SDP}m=audio 0 RTP/AVP 97\r\na=rtpmap:97 OPUS/16000\r\na=control:trackID=2\r\n");
    let reader = plays(&with_sdp(sdp, Film::new()).await).await;
    let sound = reader.tracks().tracks[1].clone();
    assert_eq!((sound.codec(), sound.clock_rate.hz()), (Codec::Opus, 48_000));
}

/// go2rtc#1236: with a slash at the end, absolute, relative, behind a query, and none at all.
#[tokio::test]
async fn every_style_of_control_url_is_asked_for_as_the_camera_means_it() {
    for (control, asked) in [
        ("a=control:trackID=1\r\n", "/stream/trackID=1"),
        ("a=control:trackID=1/\r\n", "/stream/trackID=1/"),
        ("a=control:rtsp://HOST/other/track1\r\n", "/other/track1"),
        ("a=control:*\r\n", "/stream/"),
        ("", "/stream"),
    ] {
        let camera = Camera::start(move |_, mut talk| async move {
            loop {
                let request = talk.request().await?;
                let host = request.url["rtsp://".len()..].split('/').next().unwrap().to_owned();
                let sdp = H264_SDP.replace("a=control:trackID=1\r\n", control).replace("HOST", &host);
                talk.obey(&request, &sdp).await?;
                if request.method == "PLAY" {
                    return talk.play_on(&mut Film::new()).await;
                }
            }
        })
        .await;
        plays(&camera).await;
        let requests = camera.requests.lock().unwrap();
        let setup = requests.iter().find(|request| request.method == "SETUP").unwrap();
        assert_eq!(setup.url, camera.url(asked), "{control}");
    }
}

/// Escam Q6 and others answer with other channels, with one number alone, or forget `/TCP`.
#[tokio::test]
async fn the_channels_the_camera_chose_are_listened_to() {
    for (transport, channel) in [
        ("RTP/AVP/TCP;unicast;interleaved=4-5", 4),
        ("RTP/AVP/TCP;unicast;interleaved=2", 2),
        ("RTP/AVP;unicast;interleaved=0-1;ssrc= 12345678", 0),
    ] {
        let camera = Camera::start(move |_, mut talk| async move {
            loop {
                let request = talk.request().await?;
                match request.method.as_str() {
                    "SETUP" => {
                        talk.answer(&request, "200 OK", &format!("{SESSION}Transport: {transport}\r\n"), "").await?
                    }
                    _ => talk.obey(&request, H264_SDP).await?,
                }
                if request.method == "PLAY" {
                    return talk.play_on(&mut Film { channel, ..Film::new() }).await;
                }
            }
        })
        .await;
        plays(&camera).await;
    }
}

/// Dahua, Amcrest: SETUP of one track fails; the others play.
#[tokio::test]
async fn a_track_that_cannot_be_set_up_costs_the_others_nothing() {
    let camera = Camera::start(async |_, mut talk| {
        let sdp = format!("m=audio 0 RTP/AVP 0\r\na=control:trackID=9\r\n{H264_SDP}");
        let sdp = format!(
            "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n{}",
            sdp.replace("v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n", "")
        );
        loop {
            let request = talk.request().await?;
            match request.url.contains("trackID=9") {
                true => talk.answer(&request, "451 Invalid parameter", "", "").await?,
                false => talk.obey(&request, &sdp).await?,
            }
            if request.method == "PLAY" {
                return talk.play_on(&mut Film::new()).await;
            }
        }
    })
    .await;
    let reader = plays(&camera).await;
    assert_eq!(reader.tracks().tracks.iter().map(|track| track.kind).collect::<Vec<_>>(), [MediaKind::Video]);
}

/// A codec that nobody here can take apart passes as the camera's packets.
#[tokio::test]
async fn an_unknown_codec_passes_and_costs_the_others_nothing() {
    let sdp = format!(
        "{H264_SDP}m=audio 0 RTP/AVP 98 13\r\na=rtpmap:98 G726-32/8000\r\na=rtpmap:13 CN/8000\r\na=control:trackID=2\r\n"
    );
    let camera = Camera::start(move |_, mut talk| {
        let sdp = sdp.clone();
        async move {
            talk.serve(&sdp).await?;
            let mut film = Film::new();
            let mut sound = Film { channel: 2, payload_type: 98, ssrc: 2, ..Film::new() };
            let mut noise = sound.clone();
            loop {
                talk.play(&mut film, 1).await?;
                let packet = sound.packet(true, b"sound");
                talk.write(&packet).await?;
                // Comfort noise of the same sender is no part of the track.
                (noise.payload_type, noise.sequence) = (13, sound.sequence);
                let packet = noise.packet(false, b"noise");
                talk.write(&packet).await?;
                sound.sequence = noise.sequence;
                sound.timestamp = sound.timestamp.wrapping_add(80);
            }
        }
    })
    .await;
    let path = Watched::start(source(&camera));
    let mut reader = pictures(&path).await;
    let units = reader.take(40).await;
    let sound: Vec<_> = units.iter().filter(|unit| unit.track.is_opaque()).collect();
    assert!(sound.len() > 5 && sound.iter().all(|unit| &unit.payload[..] == b"sound"));
    assert_eq!(sound[0].track.codec_name(), "G726-32");
    path.stop().await;
}

/// GStreamer's `seq` is ahead of the first packet, others leave the header out or count from zero.
#[tokio::test]
async fn what_rtp_info_says_of_the_first_packet_is_not_needed() {
    for info in ["", "RTP-Info: url=trackID=1;seq=7;rtptime=1\r\n", "RTP-Info: url=trackID=1;seq=40000\r\n"] {
        let camera = Camera::start(move |_, mut talk| async move {
            loop {
                let request = talk.request().await?;
                if request.method == "PLAY" {
                    talk.answer(&request, "200 OK", &format!("{SESSION}{info}"), "").await?;
                    return talk.play_on(&mut Film::new()).await;
                }
                talk.obey(&request, H264_SDP).await?;
            }
        })
        .await;
        plays(&camera).await;
    }
}

#[tokio::test]
async fn a_stream_is_joined_within_a_picture_and_within_a_gop() {
    let camera = Camera::start(async |_, mut talk| {
        talk.serve(H264_SDP).await?;
        let mut film = Film { number: 5, ..Film::new() };
        let tail = film.packet(true, &[0x7c, 0x45, 9]);
        talk.write(&tail).await?;
        talk.play_on(&mut film).await
    })
    .await;
    plays(&camera).await;
}

#[tokio::test]
async fn a_camera_without_markers_plays_one_picture_late() {
    plays(&with_sdp(H264_SDP, Film { markers: false, ..Film::new() }).await).await;
}

/// A byte stream with start codes where one NAL unit belongs.
#[tokio::test]
async fn a_byte_stream_in_one_packet_plays() {
    let camera = Camera::start(async |_, mut talk| {
        talk.serve(H264_SDP).await?;
        let mut film = Film::new();
        loop {
            let mut stream = hex(SPS_720);
            stream.extend([0, 0, 0, 1]);
            stream.extend(hex(PPS));
            stream.extend([0, 0, 1, 0x65, 0x88, 1, 2]);
            let packet = film.packet(true, &stream);
            film.timestamp = film.timestamp.wrapping_add(900);
            talk.write(&packet).await?;
            tokio::time::sleep(FRAME).await;
        }
    })
    .await;
    plays(&camera).await;
}

/// A camera whose sound has another beginning than its picture, and says so nowhere.
#[tokio::test]
async fn sound_and_picture_that_count_from_anywhere_come_together() {
    let sdp = format!("{H264_SDP}m=audio 0 RTP/AVP 8\r\na=control:trackID=2\r\n");
    let camera = Camera::start(move |_, mut talk| {
        let sdp = sdp.clone();
        async move {
            talk.serve(&sdp).await?;
            let mut film = Film::new();
            let mut sound = Film { channel: 2, payload_type: 8, ssrc: 2, timestamp: 4_000_000, ..Film::new() };
            loop {
                talk.play(&mut film, 2).await?;
                let packet = sound.packet(false, &[0xd5; 160]);
                talk.write(&packet).await?;
                sound.timestamp = sound.timestamp.wrapping_add(160);
            }
        }
    })
    .await;
    let path = Watched::start(source(&camera));
    let mut reader = pictures(&path).await;
    let units = reader.take(60).await;
    let newest = |kind| units.iter().rev().find(|unit| unit.track.kind == kind).unwrap();
    let apart = newest(MediaKind::Video).pts - newest(MediaKind::Audio).pts;
    assert!(apart.abs().millis() < 200, "{apart:?} apart");
    path.stop().await;
}
