//! Tracks as a session description (RFC 2326 appendix C, RFC 8866): what a player must know before the first packet.
//! Sans-IO.
//!
//! Formats: H.264 (RFC 6184 §8.2.1), H.265 (RFC 7798 §7.1), AV1 (its RTP payload format, §7.2), VP8 (RFC 7741 §6), VP9
//! (RFC 9628 §7), JPEG (RFC 2435), AAC (RFC 3640 §4.1), Opus (RFC 7587 §7), sampled sound (RFC 3551 §4.5). A track
//! that nobody here can take apart keeps its source's words.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    net::IpAddr,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use sdp_types::{Connection, Media, MediaType, Origin, Session, Time, TransportProto};

use super::target::{Target, TrackChoice};
use crate::{
    base::PathName,
    media::{CodecParameters, MediaKind, PictureSize, Track, TrackSet, track::PcmParameters},
};

/// The first payload type that has no fixed meaning (RFC 3551 §6).
const DYNAMIC: u8 = 96;

/// The tracks of a set that a reader with this choice is offered.
pub(super) fn offered(set: &TrackSet, choice: TrackChoice) -> impl Iterator<Item = &Track> {
    set.sent().map(AsRef::as_ref).filter(move |track| choice.takes(track))
}

/// The payload type of a track: the fixed one where the format has one, which old recorders insist on, else one per
/// place in the set.
pub(super) fn payload_type(track: &Track) -> u8 {
    let own = DYNAMIC + track.id.0 % (128 - DYNAMIC);
    match &track.parameters {
        CodecParameters::G711U(PcmParameters { sample_rate: 8000, channels: 1 }) => 0,
        CodecParameters::G711A(PcmParameters { sample_rate: 8000, channels: 1 }) => 8,
        CodecParameters::G722(PcmParameters { channels: 1, .. }) => 9,
        CodecParameters::L16(PcmParameters { sample_rate: 44_100, channels: 2 }) => 10,
        CodecParameters::L16(PcmParameters { sample_rate: 44_100, channels: 1 }) => 11,
        CodecParameters::Jpeg(_) => 26,
        CodecParameters::Opaque(opaque) => opaque.static_payload_type.filter(|kept| *kept < 128).unwrap_or(own),
        _ => own,
    }
}

/// The description of what `target` gives. The same tracks give the same text.
pub(super) fn describe(set: &TrackSet, target: &Target, title: &str, local: IpAddr) -> Vec<u8> {
    let revisions: u64 = set.tracks.iter().map(|track| u64::from(track.revision)).sum();
    let version = (u64::from(set.generation) << 32) | revisions;
    let mut session = Session::new(Origin::with_ip_addr(session_number(&target.path), version, local), title);
    // RFC 2326 C.1.7: with unicast the address says nothing, and `SETUP` decides.
    session.set_connection(Connection::from_ip_addr(match local {
        IpAddr::V4(_) => IpAddr::from([0, 0, 0, 0]),
        IpAddr::V6(_) => IpAddr::from([0_u16; 8]),
    }));
    session.add_time(Time::new(0, 0));
    session.add_attribute_with_value("tool", "campanile");
    session.add_attribute_with_value("control", "*");
    // C.1.5: live, and no other position is offered.
    session.add_attribute_with_value("range", "npt=now-");
    session.add_medias(offered(set, target.choice.tracks).map(media));
    let mut text = Vec::new();
    // Writing into memory does not fail.
    let _ = session.write(&mut text);
    text
}

fn session_number(path: &PathName) -> u32 {
    let mut hasher = DefaultHasher::new();
    path.as_str().hash(&mut hasher);
    hasher.finish() as u32
}

fn media(track: &Track) -> Media {
    let kind = match track.kind {
        MediaKind::Video => MediaType::Video,
        MediaKind::Audio => MediaType::Audio,
        MediaKind::Application => MediaType::Application,
    };
    let number = payload_type(track);
    let mut media = Media::new(kind, 0, TransportProto::RtpAvp, number);
    let (encoding, format) = format(track);
    media.add_attribute_with_value("rtpmap", format!("{number} {encoding}"));
    if let Some(format) = format {
        media.add_attribute_with_value("fmtp", format!("{number} {format}"));
    }
    if let Some(milli) = frame_rate(track) {
        let (whole, rest) = (milli / 1000, milli % 1000);
        let rate = if rest == 0 { whole.to_string() } else { format!("{whole}.{rest:03}") };
        media.add_attribute_with_value("framerate", rate);
    }
    if let Some(PictureSize { width, height }) = track.parameters.picture_size()
        && width > 0
    {
        media.add_attribute_with_value("cliprect", format!("0,0,{height},{width}"));
        media.add_attribute_with_value("x-dimensions", format!("{width},{height}"));
    }
    media.add_attribute_with_value("control", format!("trackID={}", track.id));
    media
}

fn frame_rate(track: &Track) -> Option<u32> {
    match &track.parameters {
        CodecParameters::H264(p) => p.frame_rate_milli,
        CodecParameters::H265(p) => p.frame_rate_milli,
        _ => None,
    }
    .filter(|milli| *milli > 0)
}

/// What stands in `rtpmap` and in `fmtp`.
fn format(track: &Track) -> (String, Option<String>) {
    let rate = track.clock_rate.hz();
    let video = |name: &str| format!("{name}/{rate}");
    let sound = |name: &str, pcm: &PcmParameters| match pcm.channels {
        0 | 1 => format!("{name}/{rate}"),
        channels => format!("{name}/{rate}/{channels}"),
    };
    match &track.parameters {
        CodecParameters::H264(p) => {
            let mut format = "packetization-mode=1".to_owned();
            if let Some([_, profile, constraints, level, ..]) = p.sps.first().map(AsRef::as_ref) {
                format += &format!("; profile-level-id={profile:02X}{constraints:02X}{level:02X}");
            }
            if !p.sps.is_empty() {
                format += &format!("; sprop-parameter-sets={}", list(p.sps.iter().chain(&p.pps)));
            }
            (video("H264"), Some(format))
        }
        CodecParameters::H265(p) => {
            let sets = [("sprop-vps", &p.vps), ("sprop-sps", &p.sps), ("sprop-pps", &p.pps)];
            let known = sets.iter().filter(|(_, units)| !units.is_empty());
            let format: Vec<_> = known.map(|(name, units)| format!("{name}={}", list(units.iter()))).collect();
            (video("H265"), Some(format.join("; ")).filter(|format| !format.is_empty()))
        }
        CodecParameters::Av1(p) => {
            (video("AV1"), Some(format!("profile={}; level-idx={}; tier={}", p.profile, p.level, p.tier)))
        }
        CodecParameters::Vp8(_) => (video("VP8"), None),
        CodecParameters::Vp9(p) => (video("VP9"), Some(format!("profile-id={}", p.profile))),
        CodecParameters::Jpeg(_) => (video("JPEG"), None),
        CodecParameters::Aac(p) => {
            let config: String = p.config.iter().map(|byte| format!("{byte:02X}")).collect();
            let format = format!(
                "streamtype=5; profile-level-id=1; mode=AAC-hbr; sizelength=13; indexlength=3; indexdeltalength=3; \
                 config={config}"
            );
            (format!("mpeg4-generic/{rate}/{}", p.channels.max(1)), Some(format))
        }
        // RFC 7587 §7: always 48000 and 2, whatever is inside.
        CodecParameters::Opus(p) => {
            ("opus/48000/2".into(), Some(format!("sprop-stereo={}", u8::from(p.channels == 2))))
        }
        CodecParameters::G711A(p) => (sound("PCMA", p), None),
        CodecParameters::G711U(p) => (sound("PCMU", p), None),
        CodecParameters::G722(p) => (sound("G722", p), None),
        CodecParameters::L16(p) => (sound("L16", p), None),
        CodecParameters::Opaque(p) => {
            let channels = p.channels.filter(|_| track.kind == MediaKind::Audio);
            let map = match channels {
                Some(channels) => format!("{}/{rate}/{channels}", p.encoding),
                None => format!("{}/{rate}", p.encoding),
            };
            (map, p.fmtp.clone())
        }
    }
}

fn list<'a>(units: impl Iterator<Item = &'a Bytes>) -> String {
    units.map(|unit| STANDARD.encode(unit)).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        media::{
            ClockRate, TrackId,
            track::{
                AacParameters, Av1Parameters, H264Parameters, H265Parameters, OpaqueParameters, OpusParameters,
                Vp9Parameters,
            },
        },
        rtsp::target::{self, Target},
    };

    fn set(tracks: Vec<(MediaKind, u32, CodecParameters)>) -> TrackSet {
        let track = |(id, (kind, rate, parameters)): (usize, (MediaKind, u32, CodecParameters))| {
            let (id, clock_rate) = (TrackId(id as u8), ClockRate::new(rate).unwrap());
            Arc::new(Track { id, kind, clock_rate, parameters, derived_from: None, generation: 1, revision: 2 })
        };
        TrackSet { generation: 1, tracks: tracks.into_iter().enumerate().map(track).collect() }
    }

    fn target(url: &str) -> Target {
        target::parse(&url.parse().unwrap()).unwrap().target
    }

    fn text(tracks: Vec<(MediaKind, u32, CodecParameters)>) -> String {
        let text = describe(&set(tracks), &target("rtsp://h/cam"), "Gate", "10.0.0.1".parse().unwrap());
        Session::parse(&text).expect("the description should parse");
        String::from_utf8(text).unwrap()
    }

    fn h264() -> CodecParameters {
        CodecParameters::H264(H264Parameters {
            sps: vec![Bytes::from_static(&[0x67, 0x64, 0x00, 0x1f, 0xac])],
            pps: vec![Bytes::from_static(&[0x68, 0xee])],
            size: Some(PictureSize { width: 1920, height: 1080 }),
            frame_rate_milli: Some(29_970),
            reorder_depth: None,
        })
    }

    fn pcm(sample_rate: u32, channels: u8) -> PcmParameters {
        PcmParameters { sample_rate, channels }
    }

    #[test]
    fn a_camera_is_described_in_full_rt_03() {
        let aac = AacParameters {
            config: Bytes::from_static(&[0x11, 0x90]),
            object_type: 2,
            sample_rate: 48_000,
            channels: 2,
            frame_samples: 1024,
        };
        let text =
            text(vec![(MediaKind::Video, 90_000, h264()), (MediaKind::Audio, 48_000, CodecParameters::Aac(aac))]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].starts_with("o=- ") && lines[1].ends_with(" 4294967300 IN IP4 10.0.0.1"), "{}", lines[1]);
        assert_eq!(
            lines[2..],
            [
                "s=Gate",
                "c=IN IP4 0.0.0.0",
                "t=0 0",
                "a=tool:campanile",
                "a=control:*",
                "a=range:npt=now-",
                "m=video 0 RTP/AVP 96",
                "a=rtpmap:96 H264/90000",
                "a=fmtp:96 packetization-mode=1; profile-level-id=64001F; sprop-parameter-sets=Z2QAH6w=,aO4=",
                "a=framerate:29.970",
                "a=cliprect:0,0,1080,1920",
                "a=x-dimensions:1920,1080",
                "a=control:trackID=0",
                "m=audio 0 RTP/AVP 97",
                "a=rtpmap:97 mpeg4-generic/48000/2",
                "a=fmtp:97 streamtype=5; profile-level-id=1; mode=AAC-hbr; sizelength=13; indexlength=3; \
                 indexdeltalength=3; config=1190",
                "a=control:trackID=1",
            ]
        );
    }

    #[test]
    fn every_codec_has_its_words() {
        let h265 = H265Parameters {
            vps: vec![Bytes::from_static(&[0x40])],
            sps: vec![Bytes::from_static(&[0x42]), Bytes::from_static(&[0x43])],
            pps: vec![Bytes::from_static(&[0x44])],
            ..H265Parameters::default()
        };
        let opaque = |encoding: &str, fmtp: Option<&str>, channels, static_payload_type| {
            CodecParameters::Opaque(OpaqueParameters {
                encoding: encoding.into(),
                channels,
                fmtp: fmtp.map(Into::into),
                static_payload_type,
            })
        };
        let av1 = Av1Parameters { profile: 0, level: 8, tier: 0, ..Av1Parameters::default() };
        let table: Vec<(MediaKind, u32, CodecParameters, &[&str])> = vec![
            (
                MediaKind::Video,
                90_000,
                CodecParameters::H265(h265),
                &[
                    "m=video 0 RTP/AVP 96",
                    "a=rtpmap:96 H265/90000",
                    "a=fmtp:96 sprop-vps=QA==; sprop-sps=Qg==,Qw==; sprop-pps=RA==",
                ],
            ),
            (
                MediaKind::Video,
                90_000,
                CodecParameters::Av1(av1),
                &["a=rtpmap:96 AV1/90000", "a=fmtp:96 profile=0; level-idx=8; tier=0"],
            ),
            (MediaKind::Video, 90_000, CodecParameters::Vp8(PictureSize::default()), &["a=rtpmap:96 VP8/90000"]),
            (MediaKind::Video, 90_000, CodecParameters::Vp9(Vp9Parameters::default()), &["a=fmtp:96 profile-id=0"]),
            (
                MediaKind::Video,
                90_000,
                CodecParameters::Jpeg(PictureSize::default()),
                &["m=video 0 RTP/AVP 26", "a=rtpmap:26 JPEG/90000"],
            ),
            // The payload header has no room for more than 2040 pixels a side; GStreamer and ONVIF look here.
            (
                MediaKind::Video,
                90_000,
                CodecParameters::Jpeg(PictureSize { width: 2560, height: 1440 }),
                &["a=x-dimensions:2560,1440"],
            ),
            (
                MediaKind::Audio,
                48_000,
                CodecParameters::Opus(OpusParameters { channels: 1 }),
                &["a=rtpmap:96 opus/48000/2", "a=fmtp:96 sprop-stereo=0"],
            ),
            (
                MediaKind::Audio,
                8_000,
                CodecParameters::G711U(pcm(8000, 1)),
                &["m=audio 0 RTP/AVP 0", "a=rtpmap:0 PCMU/8000"],
            ),
            (
                MediaKind::Audio,
                8_000,
                CodecParameters::G711A(pcm(8000, 1)),
                &["m=audio 0 RTP/AVP 8", "a=rtpmap:8 PCMA/8000"],
            ),
            (MediaKind::Audio, 16_000, CodecParameters::G711A(pcm(16_000, 2)), &["a=rtpmap:96 PCMA/16000/2"]),
            (
                MediaKind::Audio,
                8_000,
                CodecParameters::G722(pcm(16_000, 1)),
                &["m=audio 0 RTP/AVP 9", "a=rtpmap:9 G722/8000"],
            ),
            (
                MediaKind::Audio,
                44_100,
                CodecParameters::L16(pcm(44_100, 2)),
                &["m=audio 0 RTP/AVP 10", "a=rtpmap:10 L16/44100/2"],
            ),
            (
                MediaKind::Application,
                90_000,
                opaque("vnd.onvif.metadata", None, None, None),
                &["m=application 0 RTP/AVP 96", "a=rtpmap:96 vnd.onvif.metadata/90000"],
            ),
            (
                MediaKind::Audio,
                8_000,
                opaque("G726-32", Some("x=1"), Some(1), Some(2)),
                &["m=audio 0 RTP/AVP 2", "a=rtpmap:2 G726-32/8000/1", "a=fmtp:2 x=1"],
            ),
        ];
        for (kind, rate, parameters, lines) in table {
            let text = text(vec![(kind, rate, parameters)]);
            for line in lines {
                assert!(text.lines().any(|found| found == *line), "{line} is missing in\n{text}");
            }
        }
    }

    #[test]
    fn a_reader_may_ask_for_one_kind_of_track() {
        let tracks = set(vec![
            (MediaKind::Video, 90_000, h264()),
            (MediaKind::Audio, 8_000, CodecParameters::G711U(pcm(8000, 1))),
        ]);
        let text = describe(&tracks, &target("rtsp://h/cam?tracks=audio"), "x\r\na=evil", "::1".parse().unwrap());
        let text = String::from_utf8(text).unwrap();
        assert!(!text.contains("m=video") && text.contains("m=audio") && text.contains("a=control:trackID=1"));
        assert!(text.contains("c=IN IP6 ::\r\n") && !text.contains("\na=evil"), "{text}");
    }
}
