//! Offers of real viewers against paths of every kind, and offers of nobody.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::{
    base::{Secret, id::SessionId},
    media::{
        ClockRate, Codec, CodecParameters, MediaKind, PictureSize, Track, TrackDescription, TrackId, TrackSet,
        testing::{hex, track_set},
        track::{
            AacParameters, Av1Parameters, H264Parameters, H265Parameters, OpaqueParameters, OpusParameters,
            PcmParameters, Vp9Parameters,
        },
    },
    webrtc::{candidates::Candidate, ice::Credentials, identity::Fingerprint},
};

macro_rules! offer_of {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/sdp/", $name, ".sdp"))
    };
}

const CHROMIUM: &str = offer_of!("chromium");

const REAL: [(&str, &str); 8] = [
    ("chromium", CHROMIUM),
    ("chromium_sendrecv_data", offer_of!("chromium_sendrecv_data")),
    ("chromium_three_videos", offer_of!("chromium_three_videos")),
    ("firefox", offer_of!("firefox")),
    ("safari", offer_of!("safari")),
    ("libdatachannel", offer_of!("libdatachannel")),
    ("gstreamer", offer_of!("gstreamer")),
    ("aiortc", offer_of!("aiortc")),
];

/// The same with the Opus that is made of track 1.
fn set_with_opus(mut tracks: Vec<CodecParameters>) -> TrackSet {
    tracks.push(opus(1));
    let mut set = set(tracks);
    let made = set.tracks.pop().unwrap();
    set.tracks.push(Arc::new(Track { derived_from: Some(TrackId(1)), ..Track::clone(&made) }));
    set
}

fn set(tracks: Vec<CodecParameters>) -> TrackSet {
    let track = |parameters: CodecParameters| {
        let (kind, rate) = match &parameters {
            CodecParameters::Opus(_) => (MediaKind::Audio, 48_000),
            CodecParameters::Aac(own) => (MediaKind::Audio, own.sample_rate),
            CodecParameters::G722(_) => (MediaKind::Audio, 8000),
            CodecParameters::G711A(own) | CodecParameters::G711U(own) | CodecParameters::L16(own) => {
                (MediaKind::Audio, own.sample_rate)
            }
            CodecParameters::Opaque(own) if own.encoding.contains("onvif") => (MediaKind::Application, 90_000),
            _ => (MediaKind::Video, 90_000),
        };
        let clock_rate = ClockRate::new(rate).unwrap();
        TrackDescription { kind, clock_rate, parameters }
    };
    track_set(tracks.into_iter().map(track).collect())
}

/// An SPS as far as `profile-level-id` goes.
fn h264(profile_level_id: u32) -> CodecParameters {
    let [_, a, b, c] = profile_level_id.to_be_bytes();
    let sps = vec![Bytes::from(vec![0x67, a, b, c, 0xac])];
    CodecParameters::H264(H264Parameters { sps, ..H264Parameters::default() })
}

fn with_b_frames() -> CodecParameters {
    let CodecParameters::H264(own) = h264(0x64_00_28) else { unreachable!() };
    CodecParameters::H264(H264Parameters { reorder_depth: Some(2), ..own })
}

fn opus(channels: u8) -> CodecParameters {
    CodecParameters::Opus(OpusParameters { channels })
}

fn pcm(channels: u8) -> PcmParameters {
    PcmParameters { sample_rate: 8000, channels }
}

fn aac() -> CodecParameters {
    let config = Bytes::from_static(&[0x11, 0x90]);
    CodecParameters::Aac(AacParameters {
        config,
        object_type: 2,
        sample_rate: 48_000,
        channels: 2,
        frame_samples: 1024,
    })
}

fn opaque(encoding: &str) -> CodecParameters {
    let encoding = encoding.to_owned();
    CodecParameters::Opaque(OpaqueParameters { encoding, channels: None, fmtp: None, static_payload_type: None })
}

fn camera() -> TrackSet {
    set(vec![h264(0x42_c0_1f), opus(2)])
}

fn credentials() -> Credentials {
    Credentials { ufrag: "campanile0".into(), pwd: Secret::new("0123456789abcdef0123456789abcdef") }
}

fn fingerprint() -> Fingerprint {
    Fingerprint::parse(&format!("sha-256 {}", ["AB"; 32].join(":"))).unwrap()
}

fn answer_to(offer: &Offer, chosen: &Chosen) -> String {
    let address = ["192.0.2.1:8189".parse().unwrap()];
    let ours = Answering {
        local: &credentials(),
        fingerprint: &fingerprint(),
        candidates: &Candidate::gather(&address, &address, &[], &[]),
        session: SessionId::random(),
        cname: "cn",
    };
    answer(offer, chosen, &ours)
}

/// The `m=` sections of a description, each as its lines.
fn sections(text: &str) -> Vec<Vec<&str>> {
    let mut found: Vec<Vec<&str>> = Vec::new();
    for line in text.lines() {
        if line.starts_with("m=") {
            found.push(Vec::new());
        }
        if let Some(section) = found.last_mut() {
            section.push(line);
        }
    }
    found
}

#[test]
fn offers_of_real_viewers_are_answered_wh_11() {
    // Viewer, payload types of H.264 and its retransmission, of Opus, extensions.
    let table = [
        ("chromium", 108, Some(109), 111, Some(5)),
        ("chromium_sendrecv_data", 108, Some(109), 111, Some(5)),
        ("chromium_three_videos", 108, Some(109), 111, Some(5)),
        ("firefox", 126, Some(127), 109, Some(6)),
        ("safari", 98, Some(99), 111, Some(5)),
        ("libdatachannel", 96, None, 111, None),
        ("gstreamer", 96, Some(99), 97, None),
        ("aiortc", 101, Some(102), 96, None),
    ];
    for ((name, text), (expected, h264, rtx, opus, playout_delay)) in REAL.into_iter().zip(table) {
        assert_eq!(name, expected);
        let offer = Offer::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(offer.bundled && offer.ufrag.len() >= 4 && offer.pwd.reveal().len() >= 22, "{name}");
        let chosen = choose(&offer, &camera()).unwrap();
        assert_eq!((&chosen.left_out[..], &chosen.notices[..]), (&[][..], &[][..]), "{name}");
        let video = chosen.lines.iter().find(|line| line.kind == MediaKind::Video).unwrap();
        let audio = chosen.lines.iter().find(|line| line.kind == MediaKind::Audio).unwrap();
        assert_eq!((video.payload_type, video.rtx_payload_type), (h264, rtx), "{name}");
        assert_eq!((audio.payload_type, audio.rtx_payload_type), (opus, None), "{name}");
        assert_eq!((video.playout_delay, audio.playout_delay), (playout_delay, None), "{name}");
        let mut ssrcs: Vec<u32> = chosen.lines.iter().flat_map(|line| [line.ssrc, line.rtx_ssrc]).collect();
        ssrcs.dedup();
        assert_eq!((ssrcs.len(), ssrcs.contains(&0)), (4, false), "{name}");

        let answer = answer_to(&offer, &chosen);
        let session = sdp_types::Session::parse(answer.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{answer}"));
        assert_eq!(session.medias.len(), offer.sections.len(), "{name}");
        let mids: Vec<&str> = chosen.lines.iter().map(|line| line.mid.as_str()).collect();
        assert!(answer.contains(&format!("a=group:BUNDLE {}\r\n", mids.join(" "))), "{name}");
        for (section, lines) in offer.sections.iter().zip(sections(&answer)) {
            let has = |line: &str| lines.contains(&line);
            assert!(has(&format!("a=mid:{}", section.mid)), "{name}: the name is kept");
            let carried = mids.contains(&section.mid.as_str());
            assert_eq!(lines[0].split(' ').nth(1) == Some("0"), !carried, "{name}: {}", lines[0]);
            if carried {
                for line in ["a=sendonly", "a=rtcp-mux", "a=setup:passive", "a=ice-ufrag:campanile0"] {
                    assert!(has(line), "{name}: {line}");
                }
            }
        }
        assert_eq!(answer.matches("a=end-of-candidates").count(), 1, "{name}: the transport is described once");
        let streams: Vec<_> = answer.lines().filter_map(|line| line.strip_prefix("a=msid:campanile ")).collect();
        assert_eq!((streams.len(), answer.matches("a=msid:").count()), (2, 2), "{name}: one stream");
    }
}

#[test]
fn the_answer_to_chromium_is_written_out() {
    let offer = Offer::parse(CHROMIUM).unwrap();
    let mut chosen = choose(&offer, &camera()).unwrap();
    for (line, ssrc) in chosen.lines.iter_mut().zip([16, 18]) {
        (line.ssrc, line.rtx_ssrc) = (ssrc, ssrc + 1);
    }
    let answer = answer_to(&offer, &chosen);
    let hash = ["AB"; 32].join(":");
    let transport = format!(
        "a=ice-ufrag:campanile0
a=ice-pwd:0123456789abcdef0123456789abcdef
a=fingerprint:sha-256 {hash}
a=setup:passive
a=sendonly
a=rtcp-mux
a=rtcp-rsize"
    );
    let expected = format!(
        "s=-
t=0 0
a=group:BUNDLE 0 1
a=msid-semantic:WMS campanile
a=ice-lite
m=video 8189 UDP/TLS/RTP/SAVPF 108 109
c=IN IP4 192.0.2.1
a=mid:0
{transport}
a=extmap:4 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01
a=extmap:5 http://www.webrtc.org/experiments/rtp-hdrext/playout-delay
a=rtpmap:108 H264/90000
a=fmtp:108 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f
a=rtcp-fb:108 nack
a=rtcp-fb:108 nack pli
a=rtcp-fb:108 ccm fir
a=rtcp-fb:108 goog-remb
a=rtcp-fb:108 transport-cc
a=rtpmap:109 rtx/90000
a=fmtp:109 apt=108
a=msid:campanile video
a=ssrc-group:FID 16 17
a=ssrc:16 cname:cn
a=ssrc:16 msid:campanile video
a=ssrc:17 cname:cn
a=ssrc:17 msid:campanile video
a=candidate:1 1 udp 2130706431 192.0.2.1 8189 typ host
a=candidate:3 1 tcp 1516240895 192.0.2.1 8189 typ host tcptype passive
a=end-of-candidates
m=audio 8189 UDP/TLS/RTP/SAVPF 111
c=IN IP4 192.0.2.1
a=mid:1
{transport}
a=rtpmap:111 opus/48000/2
a=fmtp:111 minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1
a=msid:campanile audio
a=ssrc:18 cname:cn
a=ssrc:18 msid:campanile audio
"
    );
    let (head, rest) = answer.split_once("s=-").unwrap();
    assert!(head.starts_with("v=0\r\no=- ") && head.ends_with(" 1 IN IP4 127.0.0.1\r\n"), "{head}");
    assert_eq!(format!("s=-{}", rest.replace("\r\n", "\n")), expected);
    assert!(answer.lines().count() == answer.matches("\r\n").count(), "every line ends as RFC 8866 wants");
}

#[test]
fn h264_takes_the_nearest_profile_and_tells_its_own_level() {
    // Stream, viewer, payload type, what the answer says, whether it is more than was promised.
    let table = [
        (0x42_c0_1f, "chromium", 108, "42e01f", false),
        (0x42_00_1f, "chromium", 102, "42001f", false),
        (0x4d_00_28, "chromium", 116, "4d0028", false),
        (0x64_00_28, "chromium", 116, "4d0028", true),
        (0xf4_00_1f, "chromium", 41, "f4001f", false),
        (0x7a_00_1f, "chromium", 41, "f4001f", false),
        (0x64_00_33, "firefox", 126, "42e033", true),
        (0x4d_40_1f, "firefox", 126, "42e01f", true),
        (0x64_0c_29, "safari", 96, "640c29", false),
        (0x64_00_29, "safari", 96, "640c29", true),
        (0x42_00_29, "safari", 98, "42e029", false),
        (0x64_00_29, "gstreamer", 96, "", false),
    ];
    for (stream, viewer, payload_type, said, more) in table {
        let text = REAL.iter().find(|(name, _)| *name == viewer).unwrap().1;
        let chosen = choose(&Offer::parse(text).unwrap(), &set(vec![h264(stream)])).unwrap();
        let line = &chosen.lines[0];
        assert_eq!(line.payload_type, payload_type, "{stream:06x} to {viewer}");
        let parameters = line.parameters.as_deref().unwrap_or("");
        assert!(parameters.contains(said), "{stream:06x} to {viewer}: {parameters}");
        let noticed = chosen.notices.iter().any(|notice| notice.code == "profile_not_offered");
        assert_eq!(noticed, more, "{stream:06x} to {viewer}");
    }
    let refused = choose(&Offer::parse(offer_of!("firefox")).unwrap(), &set(vec![h264(0x7a_00_1f)]));
    assert_eq!(refused.unwrap_err().left_out[0].reason, "the viewer takes no H.264 of high 4:2:2 profile");
}

/// A viewer of one kind of picture.
fn viewer_of(format: &str) -> Offer {
    let text = "v=0\na=ice-ufrag:abcd\na=ice-pwd:0123456789012345678901\na=fingerprint:sha-256 FP\na=setup:actpass\n\
                a=group:BUNDLE v\nm=video 9 UDP/TLS/RTP/SAVPF 96\na=mid:v\na=recvonly\na=rtcp-mux\n";
    let text = text.replace("FP", &["0a"; 32].join(":")) + &format.replace(';', "\n").replace('+', ";");
    Offer::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn other_pictures_are_taken_when_their_profile_is() {
    let h265 = |profile: u8| {
        let sps = match profile {
            1 => "420101016000000300900000030000030078a003c0801107cb965654a4c2f0168080000003008000000c84",
            _ => {
                "42010102200000030090000003000003003fa005220171c448d96e929385e02d0100000303e900007530600c965e001e840007a122"
            }
        };
        CodecParameters::H265(H265Parameters { sps: vec![hex(sps).into()], ..H265Parameters::default() })
    };
    let vp9 = |profile| CodecParameters::Vp9(Vp9Parameters { profile, ..Vp9Parameters::default() });
    let av1 = |profile| CodecParameters::Av1(Av1Parameters { profile, ..Av1Parameters::default() });
    let vp8 = || CodecParameters::Vp8(PictureSize::default());
    type Case<'a> = (&'a str, CodecParameters, Result<Option<&'a str>, &'a str>);
    let table: [Case<'_>; 15] = [
        ("a=rtpmap:96 VP8/90000", vp8(), Ok(None)),
        ("a=rtpmap:96 vp8/90000;a=fmtp:96 max-fs=12288+max-fr=60", vp8(), Ok(Some("max-fs=12288;max-fr=60"))),
        ("a=rtpmap:96 VP9/90000", vp9(0), Ok(None)),
        ("a=rtpmap:96 VP9/90000;a=fmtp:96 profile-id=2", vp9(2), Ok(Some("profile-id=2"))),
        ("a=rtpmap:96 VP9/90000;a=fmtp:96 profile-id=2", vp9(0), Err("the viewer does not take VP9 of profile 0")),
        (
            "a=rtpmap:96 AV1/90000;a=fmtp:96 level-idx=5+profile=0+tier=0",
            av1(0),
            Ok(Some("level-idx=5;profile=0;tier=0")),
        ),
        ("a=rtpmap:96 AV1/90000", av1(1), Err("the viewer does not take AV1 of profile 1")),
        ("a=rtpmap:96 H265/90000", h265(1), Ok(None)),
        (
            "a=rtpmap:96 H265/90000;a=fmtp:96 level-id=93+profile-id=1+tier-flag=0+tx-mode=SRST",
            h265(1),
            Ok(Some("level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST")),
        ),
        ("a=rtpmap:96 H265/90000;a=fmtp:96 profile-id=2", h265(1), Ok(Some("profile-id=2"))),
        ("a=rtpmap:96 H265/90000;a=fmtp:96 profile-id=1", h265(2), Err("the viewer does not take H.265 of profile 2")),
        ("a=rtpmap:96 H265/90000;a=fmtp:96 tx-mode=MRST", h265(1), Err("the viewer does not take H.265 of profile 1")),
        ("a=rtpmap:96 VP8/90000", h265(1), Err("the viewer does not take H.265; it takes VP8")),
        (
            "a=rtpmap:96 H264/90000;a=fmtp:96 packetization-mode=0+profile-level-id=42e01f",
            h264(0x42_c0_1f),
            Err("the viewer takes H.264 only with `packetization-mode=0`, without fragments"),
        ),
        (
            "a=rtpmap:96 VP8/90000",
            CodecParameters::Jpeg(PictureSize::default()),
            Err("the viewer does not take MJPEG; it takes VP8"),
        ),
    ];
    for (format, parameters, expected) in table {
        let found = choose(&viewer_of(format), &set(vec![parameters]));
        match (&found, expected) {
            (Ok(chosen), Ok(said)) => assert_eq!(chosen.lines[0].parameters.as_deref(), said, "{format}"),
            (Err(refused), Err(reason)) => assert_eq!(refused.left_out[0].reason, reason, "{format}"),
            _ => panic!("{format}: {found:?}"),
        }
    }
}

#[test]
fn sound_goes_through_where_it_can_and_becomes_opus_where_it_must() {
    let offer = Offer::parse(CHROMIUM).unwrap();
    let codec_of = |tracks: Vec<CodecParameters>, opus_possible: bool| {
        let chosen = choose(&offer, &if opus_possible { set_with_opus(tracks) } else { set(tracks) });
        chosen.map(|chosen| {
            let line = chosen.lines.iter().find(|line| line.kind == MediaKind::Audio).cloned();
            let left_out: Vec<_> = chosen.left_out.iter().map(|left| (left.track.0, left.reason.clone())).collect();
            (line.map(|line| (line.track.0, line.codec, line.payload_type, line.transcoded)), left_out)
        })
    };
    let picture = || h264(0x42_c0_1f);
    let none: Vec<(u8, String)> = Vec::new();
    let ok = |line, left_out| Ok((line, left_out));
    let a_law = || CodecParameters::G711A(pcm(1));
    assert_eq!(codec_of(vec![picture(), a_law()], true), ok(Some((1, Codec::G711A, 8, false)), none.clone()));
    let u_law = CodecParameters::G711U(pcm(1));
    assert_eq!(codec_of(vec![picture(), u_law], false), ok(Some((1, Codec::G711U, 0, false)), none.clone()));
    let g722 = CodecParameters::G722(PcmParameters { sample_rate: 16_000, channels: 1 });
    assert_eq!(codec_of(vec![picture(), g722], false), ok(Some((1, Codec::G722, 9, false)), none.clone()));
    assert_eq!(codec_of(vec![picture(), aac()], true), ok(Some((2, Codec::Opus, 111, true)), none));
    let takes = "it takes Opus, G.722, G.711 µ-law, G.711 A-law";
    let absent = |id, name: &str| vec![(id, format!("the viewer does not take {name}; {takes}"))];
    assert_eq!(codec_of(vec![picture(), aac()], false), ok(None, absent(1, "AAC")));
    // What goes through as it is comes before what must be made.
    assert_eq!(
        codec_of(vec![picture(), aac(), a_law()], true),
        ok(Some((2, Codec::G711A, 8, false)), absent(1, "AAC"))
    );
    let second = vec![(2, "one track of each kind is carried, and track 1 is".to_owned())];
    assert_eq!(codec_of(vec![picture(), opus(1), a_law()], true), ok(Some((1, Codec::Opus, 111, false)), second));
}

#[test]
fn tracks_that_are_not_carried_are_named_with_the_reason() {
    let offer = Offer::parse(offer_of!("libdatachannel")).unwrap();
    let tracks = set(vec![
        opaque("vnd.onvif.metadata"),
        opaque("MP2P"),
        h264(0x42_c0_1f),
        h264(0x64_00_1f),
        CodecParameters::G711A(pcm(1)),
    ]);
    let chosen = choose(&offer, &tracks).unwrap();
    let named: Vec<_> =
        chosen.left_out.iter().map(|left| (left.track.0, left.codec.as_str(), left.reason.as_str())).collect();
    assert_eq!(
        named,
        [
            (0, "vnd.onvif.metadata", "WebRTC carries pictures and sound only"),
            (1, "MP2P", "MP2P is passed on as it comes, which only RTSP can do"),
            (3, "H.264", "one track of each kind is carried, and track 2 is"),
            (4, "G.711 A-law", "the viewer does not take G.711 A-law; it takes Opus"),
        ]
    );
    let muted = CHROMIUM.split("m=audio").next().unwrap();
    let chosen = choose(&Offer::parse(muted).unwrap(), &camera()).unwrap();
    assert_eq!(chosen.left_out[0].reason, "the viewer does not ask for sound");
}

#[test]
fn nothing_in_common_names_both_lists() {
    let offer = Offer::parse(offer_of!("firefox")).unwrap();
    let h265 = CodecParameters::H265(H265Parameters::default());
    let refused = choose(&offer, &set(vec![h265, aac()])).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "nothing in common: the path has H.265, AAC; the viewer takes VP8, VP9, H.264, Opus, G.722, G.711 µ-law, \
         G.711 A-law"
    );
    assert_eq!(refused.left_out.len(), 2);
}

#[test]
fn pictures_out_of_order_are_sent_with_a_word_about_it() {
    let offer = Offer::parse(offer_of!("safari")).unwrap();
    let (main, sub) = (set(vec![with_b_frames()]), set(vec![h264(0x64_00_1f)]));
    assert_eq!((reorders_pictures(&main), reorders_pictures(&sub)), (true, false));
    let chosen = choose(&offer, &main).unwrap();
    assert!(chosen.notices.iter().any(|notice| notice.code == "reordered_pictures"), "{:?}", chosen.notices);
    assert!(carries(&chosen.lines[0], &sub.tracks[0]), "the other rendition may go over the same line");
    assert!(!carries(&chosen.lines[0], &camera().tracks[1]));
}

#[test]
fn the_first_section_of_a_group_stays_for_its_transport_chromium() {
    // A camera without sound, and one whose pictures the viewer cannot take.
    let silent = set(vec![h264(0x42_c0_1f)]);
    let blind = set(vec![CodecParameters::H265(H265Parameters::default()), opus(2)]);
    for (text, tracks, word) in [(offer_of!("safari"), silent, "m=audio"), (CHROMIUM, blind, "m=video")] {
        let offer = Offer::parse(text).unwrap();
        let chosen = choose(&offer, &tracks).unwrap();
        assert_eq!((chosen.lines.len(), chosen.lines[0].mid.as_str(), transport_section(&offer)), (1, "1", Some("0")));
        let answer = answer_to(&offer, &chosen);
        let sections = sections(&answer);
        assert!(sections[0][0].starts_with(&format!("{word} 8189 ")), "{}", sections[0][0]);
        assert!(sections[0].contains(&"a=inactive") && sections[0].contains(&"a=end-of-candidates"), "{answer}");
        assert!(!sections[0].iter().any(|line| line.starts_with("a=ssrc") || line.starts_with("a=msid")), "{answer}");
        assert!(sections[1].contains(&"a=sendonly") && !sections[1].contains(&"a=end-of-candidates"), "{answer}");
        assert!(answer.contains("a=group:BUNDLE 0 1\r\n"), "{answer}");
    }
}

#[test]
fn without_a_group_there_is_one_section_the_one_of_pictures() {
    let text = offer_of!("safari").replace("a=group:BUNDLE 0 1\r\n", "");
    let offer = Offer::parse(&text).unwrap();
    let chosen = choose(&offer, &camera()).unwrap();
    assert_eq!(chosen.lines.iter().map(|line| line.mid.as_str()).collect::<Vec<_>>(), ["1"]);
    assert!(chosen.left_out[0].reason.contains("a=group:BUNDLE"), "{:?}", chosen.left_out);
    let answer = answer_to(&offer, &chosen);
    assert!(!answer.contains("a=group"), "{answer}");
    assert!(answer.contains("m=audio 0 UDP/TLS/RTP/SAVPF 111\r\n"), "{answer}");
}

#[test]
fn a_viewer_only_takes_wh_11() {
    for (direction, taken) in [("recvonly", true), ("sendrecv", true), ("sendonly", false), ("inactive", false)] {
        let text = CHROMIUM.replace("a=recvonly", &format!("a={direction}"));
        let found = Offer::parse(&text);
        assert_eq!(found.is_ok(), taken, "{direction}");
        assert_eq!(found.is_err_and(|error| error.is_direction()), !taken, "{direction}");
    }
    // One of two is enough to refuse; one that is refused already is not.
    let half = CHROMIUM.replacen("a=recvonly", "a=sendonly", 1);
    assert!(Offer::parse(&half).unwrap_err().is_direction());
    let stopped = half.replacen("m=video 9", "m=video 0", 1);
    let offer = Offer::parse(&stopped).unwrap();
    assert_eq!(choose(&offer, &camera()).unwrap().lines.len(), 1);
}

#[test]
fn what_cannot_work_is_refused_in_words() {
    let without = |line: &str| {
        let kept = CHROMIUM.lines().filter(|found| !found.starts_with(line)).collect::<Vec<_>>();
        kept.join("\n")
    };
    let missing = "the offer has no section for pictures or sound that can be used: `a=ice-ufrag`, `a=ice-pwd` or \
                   `a=fingerprint` is missing";
    let table = [
        (String::new(), "the offer is empty"),
        (" \r\n\r\n".into(), "the offer is empty"),
        ("hello".into(), "line 1 of the offer: expected a letter, `=` and a value"),
        ("s=-\n".into(), "line 1 of the offer: expected `v=0`, the beginning of a session description"),
        (
            "v=0\nm=video\n".into(),
            "line 2 of the offer: expected a media line such as `m=video 9 UDP/TLS/RTP/SAVPF 96`",
        ),
        ("v=0\na=x\u{7}\n".into(), "line 2 of the offer: expected no control characters"),
        ("v=0\n".into(), "the offer has no section for pictures or sound that can be used: there is no `m=` line"),
        (without("a=fingerprint"), missing),
        (without("a=ice-ufrag"), missing),
        (
            without("a=rtcp-mux"),
            "section \"0\" of the offer: `a=rtcp-mux` is missing: RTP and RTCP share one port here",
        ),
        (
            CHROMIUM.replace("t=0 0", "t=0 0\r\na=ice-lite"),
            "the offer has no section for pictures or sound that can be used: `a=ice-lite` on both sides cannot work, \
             and this server has it",
        ),
        (
            CHROMIUM.replace("a=setup:actpass", "a=setup:passive"),
            "section \"0\" of the offer: `a=setup` should be `actpass` or `active`: this server is the passive side",
        ),
        (
            CHROMIUM.replace("a=fingerprint:sha-256", "a=fingerprint:sha-1"),
            "section \"0\" of the offer: `a=fingerprint` should be that of a sha-256, sha-384 or sha-512",
        ),
        (CHROMIUM.replace("a=mid:1", "a=mid:0"), "section \"0\" of the offer: another section has the same `a=mid`"),
        (
            CHROMIUM.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP"),
            "the offer has no section for pictures or sound that can be used: every section is refused, or wants \
             something else than RTP over DTLS",
        ),
        (CHROMIUM.replace(" 96 97", " 96 96"), "section \"0\" of the offer: a payload type stands there twice"),
        (CHROMIUM.replace(" 96 97", " 96 197"), "section \"0\" of the offer: a payload type is 0 to 127"),
    ];
    for (text, words) in table {
        assert_eq!(Offer::parse(&text).expect_err(words).to_string(), words);
    }
}

#[test]
fn an_offer_is_bounded() {
    let many = |line: &str, count: usize| format!("{CHROMIUM}{}", line.repeat(count));
    for text in [
        many("a=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\n", 5000),
        many("m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n", 40),
        many("a=x\r\n", 2100),
        format!("v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF{}\r\n", " 96".repeat(200)),
    ] {
        assert!(Offer::parse(&text).is_err(), "{}", text.len());
    }
}

#[test]
fn a_fragment_is_trickle_or_restart() {
    let trickle = "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n\
                   a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw network-id 1\r\n\
                   a=candidate:1 1 udp 2113937151 24fd4035-5a7e-4180-81cb-5ede7702d2da.local 54578 typ host\r\n\
                   a=end-of-candidates\r\n";
    let fragment = Fragment::parse(trickle).unwrap();
    assert_eq!((fragment.ufrag.as_deref(), fragment.candidates.len()), (Some("EsAw"), 2));
    assert!(fragment.end_of_candidates && fragment.pwd.is_some());
    // What browsers pass on as the last candidate, and a fragment with credentials alone.
    assert!(Fragment::parse("m=audio 9 RTP/AVP 0\na=mid:0\na=candidate:\n").unwrap().end_of_candidates);
    assert!(Fragment::parse("a=ice-ufrag:EsAw\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\n").unwrap().pwd.is_some());
    let table = [
        ("", "the fragment is empty"),
        ("hello", "line 1 of the fragment: expected `a=` and an attribute, or `m=` and a media line"),
        ("{}", "line 1 of the fragment: expected `a=` and an attribute, or `m=` and a media line"),
        ("m=audio\n", "line 1 of the fragment: expected a media line such as `m=audio 9 UDP/TLS/RTP/SAVPF 0`"),
        ("a=ice-ufrag:x\n", "line 1 of the fragment: expected 4 to 256 letters and digits in `a=ice-ufrag`"),
        ("a=ice-pwd:x\n", "line 1 of the fragment: expected 22 to 256 letters and digits in `a=ice-pwd`"),
        (
            "a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\n",
            "the fragment has one of `a=ice-ufrag` and `a=ice-pwd`, and both belong together",
        ),
        (
            "a=ice-ufrag:abcd\na=ice-ufrag:efgh\n",
            "line 2 of the fragment: other ICE credentials than before, and there is one transport",
        ),
    ];
    for (text, words) in table {
        assert_eq!(Fragment::parse(text).expect_err(words).to_string(), words);
    }
    assert_eq!(Fragment::parse(&"a=candidate:1\n".repeat(200)), Err(FragmentError::TooMany));
    assert!(matches!(Fragment::parse(&"a=x\n".repeat(20_000)), Err(FragmentError::TooLong(_))));
}

#[test]
fn our_half_of_a_restart_is_a_fragment_that_reads_back() {
    let address = ["192.0.2.1:8189".parse().unwrap()];
    let text = answer_fragment(&credentials(), "0", &Candidate::gather(&address, &address, &[], &[]));
    let fragment = Fragment::parse(&text).unwrap();
    assert_eq!(fragment.ufrag.as_deref(), Some("campanile0"));
    assert_eq!(fragment.pwd.unwrap().reveal(), "0123456789abcdef0123456789abcdef");
    assert!(fragment.end_of_candidates && fragment.candidates.len() == 2);
    assert!(text.starts_with("a=ice-lite\r\na=group:BUNDLE 0\r\nm="), "{text}");
}

/// What holds for every offer that is taken, whoever wrote it.
fn hold(text: &str) {
    let Ok(offer) = Offer::parse(text) else { return };
    for tracks in
        [camera(), set(vec![h264(0x64_00_28), aac()]), set(vec![CodecParameters::Vp8(PictureSize::default())])]
    {
        let Ok(chosen) = choose(&offer, &tracks) else { continue };
        let answer = answer_to(&offer, &chosen);
        assert_eq!(sections(&answer).len(), offer.sections.len(), "{answer}");
        for line in answer.split_terminator("\r\n") {
            let (kind, value) = line.split_once('=').unwrap_or_else(|| panic!("{line:?}"));
            assert!(["v", "o", "s", "t", "a", "m", "c"].contains(&kind), "{line:?}");
            assert!(!value.chars().any(|c| c.is_control() && c != '\t'), "{line:?}");
        }
        assert!(answer.len() < 64 * 1024);
        assert!(chosen.lines.len() <= 2);
    }
}

proptest! {
    #[test]
    fn offers_with_lines_lost_doubled_and_damaged_are_answered_or_refused(
        which in 0..REAL.len(),
        edits in proptest::collection::vec((any::<u16>(), 0..5_u8, any::<u8>()), 1..12),
    ) {
        let mut lines: Vec<Vec<u8>> = REAL[which].1.lines().map(|line| line.as_bytes().to_vec()).collect();
        for (place, edit, byte) in edits {
            let place = usize::from(place) % lines.len();
            match edit {
                0 => drop(lines.remove(place)),
                1 => lines.insert(place, lines[place].clone()),
                2 => lines.swap(place, usize::from(byte) % place.max(1)),
                3 => {
                    let at = usize::from(byte) % (lines[place].len() + 1);
                    lines[place].insert(at, byte);
                }
                _ => lines[place].truncate(usize::from(byte) % 40),
            }
            if lines.is_empty() {
                break;
            }
        }
        hold(&String::from_utf8_lossy(&lines.join(&b'\n')));
    }

    #[test]
    fn arbitrary_texts_do_not_panic(text in "(v=0\r?\n)?([vamoc]=[ -~]{0,60}\r?\n){0,30}\\PC{0,20}") {
        hold(&text);
        let _ = Fragment::parse(&text);
    }
}
