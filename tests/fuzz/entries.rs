//! What strangers may send, parser by parser: plain functions on bytes, for libFuzzer (`fuzz_targets/`) and for the
//! seeded robustness tests (`tests/it/robustness.rs`). Each must come back; each asserts what holds whatever came in.
//!
//! A new parser adds a function, a line in [`ENTRIES`], a target with its `[[bin]]`, and seeds in `corpus/`.

#![allow(dead_code, reason = "a fuzz target names one entry, the robustness tests name the list")]

use std::{
    net::SocketAddr,
    sync::{Arc, LazyLock},
    time::Duration,
};

use bytes::Bytes;
use campanile::{
    auth::{Credential, DigestAnswer, DigestKeys, Gate, Identity as Known, Way},
    base::{Moment, Monotonic, PathName, Secret, WallTime, id::SessionId},
    config::{BrokerConfig, MqttPreset, MqttVersion, PathMatcher, mqtt_topic::is_topic_name},
    events::ws::{
        encoding::{Encoding, Format},
        handshake::negotiate,
        inbound::{Inbound, Incoming, MESSAGE_MAX},
        session::Session as WsSession,
    },
    http::{admit_graphql, session_cookie},
    media::{
        ClockRate, CodecParameters, MediaKind, PictureSize, Track, TrackId, TrackSet, av1, h264, h265, jpeg, nal,
        plan::{Body, PAYLOAD_MAX},
        rfc6381,
        track::{AacParameters, Av1Parameters, H264Parameters, H265Parameters, OpusParameters, Vp9Parameters},
        vp8,
    },
    rtp::{
        self,
        aac_assembler::{AacAssembler, AuHeaderLayout},
        depacketise::{Depacketiser, MAX_UNIT},
        nal_assembler::{NalAssembler, NalFormat, UNIT_MAX},
        packet::{HEADER_LEN, Header, Packet},
        rtcp, transport_feedback,
    },
    rtsp::framing::{BODY_MAX, Framing, HEAD_MAX},
    sensors::{
        formats::{self, REPORTS_MAX, Report, json, line_protocol},
        mqtt::{
            routes::{Heard, Routes},
            session::{Event, OUT_MAX, Session},
            wire::{Hello, wire},
        },
    },
    webrtc::{
        candidates::Candidate,
        dtls::Dtls,
        framing::{DATAGRAM_MAX, Frames},
        ice::{Agent, Credentials as IceCredentials},
        identity::{Fingerprint, Identity},
        sdp::{self, Answering, Fragment, Offer},
        srtp::{MediaKeys, OpenError, Profile, RtcpOpener, Sealer},
        stun,
        transport::{Link, Route},
    },
};

/// The name of a target and of its folder in `corpus/`, and what it runs.
pub type Entry = (&'static str, fn(&[u8]));

/// Every entry.
pub const ENTRIES: &[Entry] = &[
    ("aac_config", aac_config),
    ("aac_packets", aac_packets),
    ("av1_packets", av1_packets),
    ("av1_unit", av1_unit),
    ("dtls", dtls),
    ("graphql", graphql),
    ("h264_packets", h264_packets),
    ("h264_unit", h264_unit),
    ("h265_packets", h265_packets),
    ("ice_tcp", ice_tcp),
    ("jpeg", jpeg),
    ("jpeg_packets", jpeg_packets),
    ("latm_packets", latm_packets),
    ("line_protocol", line_protocol_lines),
    ("mqtt", mqtt),
    ("nal_payload", nal_payload),
    ("opus_packets", opus_packets),
    ("rtcp", rtcp),
    ("rtp_header", rtp_header),
    ("rtsp_framing", rtsp_framing),
    ("sdp_fragment", sdp_fragment),
    ("sdp_offer", sdp_offer),
    ("sensor_json", sensor_json),
    ("sensor_messages", sensor_messages),
    ("sps_h264", sps_h264),
    ("sps_h265", sps_h265),
    ("srtcp", srtcp),
    ("stun", stun),
    ("vp8_packets", vp8_packets),
    ("vp9_packets", vp9_packets),
    ("authorization", authorization),
    ("cookie", cookie),
    ("path_matcher", path_matcher),
    ("token", token),
    ("ws_handshake", ws_handshake),
    ("ws_session", ws_session),
];

/// A WebRTC viewer's offer: what is taken is answered, section by section, and nothing of it leaves its line.
pub fn sdp_offer(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(offer) = Offer::parse(text) else { return };
    let h264 =
        H264Parameters { sps: vec![Bytes::from_static(&[0x67, 0x64, 0, 0x28, 0xac])], ..H264Parameters::default() };
    let track = |id: u8, kind, hz, parameters| {
        let clock_rate = ClockRate::new(hz).unwrap_or(ClockRate::VIDEO);
        Arc::new(Track {
            id: TrackId(id),
            kind,
            clock_rate,
            parameters,
            derived_from: None,
            generation: 1,
            revision: 0,
        })
    };
    let tracks = TrackSet {
        generation: 1,
        tracks: vec![
            track(0, MediaKind::Video, 90_000, CodecParameters::H264(h264)),
            track(1, MediaKind::Audio, 48_000, CodecParameters::Opus(OpusParameters { channels: 2 })),
        ],
    };
    let Ok(chosen) = sdp::choose(&offer, &tracks) else { return };
    let address = [SocketAddr::from(([192, 0, 2, 1], 8189))];
    let ours = Answering {
        local: &IceCredentials { ufrag: "ours".into(), pwd: Secret::new("0123456789abcdef0123456789abcdef") },
        fingerprint: &Fingerprint::of(&[]),
        candidates: &Candidate::gather(&address, &address, &[], &[]),
        session: SessionId::random(),
        cname: "cn",
    };
    let answer = sdp::answer(&offer, &chosen, &ours);
    assert!(chosen.lines.len() <= 2);
    let sections = answer.split("\r\n").filter(|line| line.starts_with("m=")).count();
    assert_eq!(sections, offer.sections.len());
    for line in answer.split_terminator("\r\n") {
        let (kind, value) = line.split_once('=').unwrap_or_default();
        assert!(["v", "o", "s", "t", "a", "m", "c"].contains(&kind), "{line:?}");
        assert!(!value.chars().any(|c| c.is_control() && c != '\t'), "{line:?}");
    }
}

/// What a WebRTC viewer sends after its offer.
pub fn sdp_fragment(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(fragment) = Fragment::parse(text) else { return };
    assert!(fragment.pwd.is_none() || fragment.ufrag.is_some());
    assert!(fragment.candidates.len() <= 128);
    assert!(fragment.ufrag.is_none_or(|ufrag| (4..=256).contains(&ufrag.len())));
}

/// What comes in on an RTSP connection: cut the same way whatever pieces it comes in.
pub fn rtsp_framing(data: &[u8]) {
    let read = |piece: usize| {
        let (mut framing, mut read) = (Framing::default(), Vec::new());
        for bytes in data.chunks(piece.max(1)) {
            framing.push(bytes);
            loop {
                assert!(framing.pending() <= HEAD_MAX + BODY_MAX + data.len());
                match framing.next_message() {
                    Ok(Some(message)) => read.push(format!("{message:?}")),
                    Ok(None) => break,
                    Err(error) => {
                        read.push(format!("{error:?}"));
                        return read;
                    }
                }
            }
        }
        read
    };
    let whole = read(data.len());
    // A head without end is refused as soon as it passes its bounds, which pieces reach earlier.
    if !whole.last().is_some_and(|last| last.ends_with("TooLong")) {
        assert_eq!(whole, read(7));
    }
}

/// An RTP packet.
pub fn rtp_header(data: &[u8]) {
    let _ = rtp::packet::is_rtcp(data);
    if let Ok(packet) = Packet::parse(data) {
        assert!(HEADER_LEN + packet.payload.len() <= data.len());
        let again = [&packet.header.bytes()[..], packet.payload].concat();
        assert_eq!(Packet::parse(&again).map(|packet| packet.header), Ok(packet.header));
    }
}

/// A compound RTCP packet.
pub fn rtcp(data: &[u8]) {
    for packet in rtcp::packets(data).flatten() {
        match packet {
            rtcp::Packet::SenderReport(_, blocks) | rtcp::Packet::ReceiverReport { blocks, .. } => {
                assert!(blocks.iter().count() < 32);
                blocks.iter().for_each(|block| assert!(block.round_trip(u64::MAX).is_none_or(|time| time < 1 << 31)));
            }
            rtcp::Packet::Feedback { control, .. } => {
                assert!(rtcp::nack_sequences(control).count() <= data.len() * 5);
                assert!(transport_feedback::arrivals(control).count() <= data.len());
            }
            _ => {}
        }
    }
}

/// A sequence parameter set of H.264.
pub fn sps_h264(data: &[u8]) {
    if let Ok(parameters) = H264Parameters::parse(vec![Bytes::copy_from_slice(data)], Vec::new()) {
        assert!(parameters.size.is_some_and(|size| size.width > 0 && size.height > 0));
        assert!(parameters.reorder_depth.is_none_or(|depth| depth <= 16));
        assert!(rfc6381::codec_string(&CodecParameters::H264(parameters)).is_some());
    }
}

/// Video and sequence parameter sets of H.265.
pub fn sps_h265(data: &[u8]) {
    let _ = h265::vps_frame_rate_milli(data);
    let set = Bytes::copy_from_slice(data);
    if let Ok(parameters) = H265Parameters::parse(vec![set.clone()], vec![set], Vec::new()) {
        assert!(parameters.size.is_some_and(|size| size.width > 0 && size.height > 0));
        assert!(rfc6381::codec_string(&CodecParameters::H265(parameters)).is_some());
    }
}

/// A NAL unit of H.264: SEI and slice headers.
pub fn h264_unit(data: &[u8]) {
    let _ = h264::slice_type(data);
    let payload = nal::join([data]);
    let _ = (h264::random_access(&payload), h264::is_intra(&payload));
}

/// A payload of length-prefixed NAL units: walked, turned to start codes and back, planned for both codecs.
pub fn nal_payload(data: &[u8]) {
    let _ = (h264::random_access(data), h265::random_access(data), h265::Picture::of(data));
    let _ = nal::from_annex_b(&nal::to_annex_b(data));
    let _ = nal::from_annex_b(data);
    plan(CodecParameters::H264(H264Parameters { sps: vec![Bytes::copy_from_slice(data)], ..<_>::default() }), data);
    plan(CodecParameters::H265(H265Parameters { vps: vec![Bytes::copy_from_slice(data)], ..<_>::default() }), data);
}

/// An AudioSpecificConfig.
pub fn aac_config(data: &[u8]) {
    if let Ok(parameters) = AacParameters::parse(Bytes::copy_from_slice(data)) {
        assert!(parameters.sample_rate > 0 && parameters.channels > 0 && parameters.frame_samples > 0);
        plan(CodecParameters::Aac(parameters), data);
    }
}

/// A temporal unit of AV1.
pub fn av1_unit(data: &[u8]) {
    let payload = Bytes::copy_from_slice(data);
    let _ = av1::is_key_frame(data);
    av1::obus(data).for_each(|obu| assert!(obu.whole.end <= data.len() && obu.body.end == obu.whole.end));
    plan(CodecParameters::Av1(Av1Parameters::of_unit(&payload).unwrap_or_default()), data);
}

/// A JPEG file.
pub fn jpeg(data: &[u8]) {
    if let Ok(picture) = jpeg::Jpeg::parse(data) {
        assert!(picture.scan.end <= data.len() && picture.size.width > 0 && picture.size.height > 0);
    }
    plan(CodecParameters::Jpeg(PictureSize::default()), data);
}

/// Packets of VP8.
pub fn vp8_packets(data: &[u8]) {
    let _ = (vp8::is_key_frame(data), vp8::picture_size(data));
    plan(CodecParameters::Vp8(PictureSize::default()), data);
    push_all(Depacketiser::new("VP8", ClockRate::VIDEO, None).ok().flatten(), data);
}

/// Packets of VP9.
pub fn vp9_packets(data: &[u8]) {
    plan(CodecParameters::Vp9(Vp9Parameters::default()), data);
    push_all(Depacketiser::new("VP9", ClockRate::VIDEO, None).ok().flatten(), data);
}

/// Packets of AV1.
pub fn av1_packets(data: &[u8]) {
    push_all(Depacketiser::new("AV1", ClockRate::VIDEO, None).ok().flatten(), data);
}

/// Packets of Opus.
pub fn opus_packets(data: &[u8]) {
    plan(CodecParameters::Opus(OpusParameters { channels: 2 }), data);
    push_all(Depacketiser::new("opus", ClockRate::OPUS, None).ok().flatten(), data);
}

/// Packets of LATM: the configuration in band, and the same bytes as the one of the `fmtp` line.
pub fn latm_packets(data: &[u8]) {
    push_all(Depacketiser::new("MP4A-LATM", ClockRate::OPUS, None).ok().flatten(), data);
    let (config, packets) = data.split_at(data.len().min(12));
    let digits: String = config.iter().map(|byte| format!("{byte:02x}")).collect();
    let fmtp = format!("cpresent=0;config={digits}");
    push_all(Depacketiser::new("MP4A-LATM", ClockRate::OPUS, Some(&fmtp)).ok().flatten(), packets);
}

/// Packets of JPEG.
pub fn jpeg_packets(data: &[u8]) {
    push_all(Depacketiser::new("JPEG", ClockRate::VIDEO, None).ok().flatten(), data);
}

/// Packets of H.264.
pub fn h264_packets(data: &[u8]) {
    assemble(NalAssembler::new(NalFormat::H264, false), data);
}

/// Packets of H.265, with decoding order numbers where the first byte is odd.
pub fn h265_packets(data: &[u8]) {
    let (first, packets) = data.split_at(data.len().min(1));
    assemble(NalAssembler::new(NalFormat::H265, first.first().is_some_and(|byte| byte & 1 == 1)), packets);
}

/// Packets of RFC 3640; the first three bytes are the lengths of the header fields.
pub fn aac_packets(data: &[u8]) {
    let Some((&[size_bits, index_bits, index_delta_bits], packets)) = data.split_first_chunk::<3>() else { return };
    let [size_bits, index_bits, index_delta_bits] = [size_bits, index_bits, index_delta_bits].map(|bits| bits.min(16));
    let mut assembler = AacAssembler::new(AuHeaderLayout { size_bits, index_bits, index_delta_bits }, 1024);
    for packet in run(packets) {
        let _ = assembler.push(packet.timestamp.into(), packet.after_gap, packet.payload, |unit| {
            assert!(!unit.payload.is_empty());
        });
    }
}

fn assemble(mut assembler: NalAssembler, packets: &[u8]) {
    for packet in run(packets) {
        let _ = assembler.push(packet.timestamp.into(), packet.marker, packet.after_gap, packet.payload);
        while let Some(unit) = assembler.pull() {
            let walked: usize = nal::units(&unit.payload).map(|unit| unit.len() + nal::LENGTH_SIZE).sum();
            assert!(!unit.payload.is_empty() && walked <= unit.payload.len() && walked <= UNIT_MAX);
        }
    }
}

fn push_all(depacketiser: Option<Depacketiser>, data: &[u8]) {
    let Some(mut depacketiser) = depacketiser else { return };
    for Sent { sequence, timestamp, marker, payload, .. } in run(data) {
        let header = Header { marker, payload_type: 96, sequence, timestamp, ssrc: 1 };
        for unit in depacketiser.push(&header, &payload).unwrap_or_default() {
            assert!(!unit.payload.is_empty() && unit.payload.len() <= MAX_UNIT);
        }
        let _ = depacketiser.parameters();
    }
}

struct Sent {
    sequence: u16,
    timestamp: u32,
    marker: bool,
    after_gap: bool,
    payload: Bytes,
}

/// Bytes as a run of packets: a byte of flags, a length in two bytes, and so much payload as there is.
fn run(mut data: &[u8]) -> impl Iterator<Item = Sent> {
    const MARKER: u8 = 1;
    const AFTER_GAP: u8 = 2;
    const SAME_TIME: u8 = 4;
    let (mut sequence, mut timestamp) = (u16::MAX - 3, u32::MAX - 3000);
    std::iter::from_fn(move || {
        let (&[flags, high, low], rest) = data.split_first_chunk::<3>()?;
        let (payload, rest) = rest.split_at(rest.len().min(usize::from(u16::from_be_bytes([high, low]))));
        data = rest;
        let (marker, after_gap) = (flags & MARKER != 0, flags & AFTER_GAP != 0);
        sequence = sequence.wrapping_add(if after_gap { u16::from(flags >> 4) + 2 } else { 1 });
        timestamp = timestamp.wrapping_add(if flags & SAME_TIME != 0 { 0 } else { 3000 });
        Some(Sent { sequence, timestamp, marker, after_gap, payload: Bytes::copy_from_slice(payload) })
    })
}

/// Whatever is planned, fragments lie within their bodies, fit their packets, and the marker ends the unit.
fn plan(parameters: CodecParameters, payload: &[u8]) {
    let uncut = matches!(parameters, CodecParameters::Opus(_));
    let track = Track {
        id: TrackId(0),
        kind: MediaKind::Video,
        clock_rate: ClockRate::VIDEO,
        parameters,
        derived_from: None,
        generation: 0,
        revision: 0,
    };
    let payload = Bytes::copy_from_slice(payload);
    for random_access in [false, true] {
        let (lead, fragments) = rtp::plan(&track, &payload, random_access, false);
        for (index, fragment) in fragments.iter().enumerate() {
            let body = if fragment.body() == Body::Lead { &lead } else { &payload };
            assert!(fragment.range().end <= body.len());
            assert!(uncut || fragment.payload_len() <= PAYLOAD_MAX);
            assert!(!fragment.marker() || index + 1 == fragments.len());
        }
    }
}

/// A datagram that begins like STUN: read, and what an agent makes of it, which does not know its sender.
pub fn stun(data: &[u8]) {
    let from = Route { link: Link::Udp { socket: 0, local: None }, peer: ([192, 0, 2, 1], 9).into() };
    if let Ok(request) = stun::Request::parse(data) {
        let key = stun::short_term_key("VOkJxbRl1RmTxUk/WvJxBt");
        request.is_by(&key);
        assert_eq!(request.ufrag(), stun::asked_ufrag(data));
        for code in [stun::ErrorCode::BadRequest, stun::ErrorCode::UnknownAttribute] {
            assert!(request.error(code, Some(&key)).len() <= 128);
        }
        assert!(request.success(from.peer, &key).len() <= 128);
    }
    let mut agent = Agent::new(ice("evtj", "another password"), Monotonic::default());
    agent.handle_stun(Monotonic::default(), from, data);
    assert!(!agent.is_proven(from) && agent.selected().is_none());
}

fn ice(ufrag: &str, pwd: &str) -> IceCredentials {
    IceCredentials { ufrag: ufrag.to_owned(), pwd: Secret::new(pwd) }
}

/// The stream of an ICE-TCP connection: cut the same way whatever pieces it comes in, and never hoarded.
pub fn ice_tcp(data: &[u8]) {
    let read = |piece: usize| {
        let (mut frames, mut read) = (Frames::default(), Vec::new());
        for bytes in data.chunks(piece.max(1)) {
            frames.push(bytes);
            loop {
                match frames.next_datagram() {
                    Ok(Some(datagram)) => read.push(datagram),
                    Ok(None) => break,
                    Err(_) => return read,
                }
            }
            assert!(frames.pending() < DATAGRAM_MAX + 2);
        }
        read
    };
    let whole = read(data.len());
    assert!(whole.iter().all(|datagram| !datagram.is_empty() && datagram.len() <= DATAGRAM_MAX));
    assert_eq!(whole, read(7));
}

/// What comes as SRTCP: bytes nobody sealed are refused, sealed ones come out as they went in, once, and are read.
pub fn srtcp(data: &[u8]) {
    for profile in [Profile::AeadAes128Gcm, Profile::Aes128CmHmacSha1_80] {
        let keys = MediaKeys { profile, key: *b"0123456789abcdef", salt: *b"a salt of 14 b" };
        let mut opener = RtcpOpener::new(&keys);
        assert!(opener.open(&mut data.to_vec()).is_err());
        if data.len() >= 8 {
            let mut sealed = data.to_vec();
            Sealer::new(&keys).seal_rtcp(&mut sealed, 0);
            assert_eq!(opener.open(&mut sealed.clone()), Ok(data));
            assert_eq!(opener.open(&mut sealed), Err(OpenError::Replayed));
        }
    }
    rtcp(data);
}

/// Our certificate and the viewer's, made once.
static IDENTITIES: LazyLock<[Arc<Identity>; 2]> = LazyLock::new(|| {
    let now = WallTime::from_unix_nanos(1_795_000_000_000_000_000);
    [(); 2].map(|()| Arc::new(Identity::generate(now).expect("keys should be made").0))
});

fn dtls_server() -> Dtls {
    Dtls::new(IDENTITIES[0].clone(), IDENTITIES[1].fingerprint().clone())
}

/// The first flights of a handshake, datagrams behind their lengths: answered, refused, never finished.
pub fn dtls(data: &[u8]) {
    let (mut server, mut frames) = (dtls_server(), Frames::default());
    let (mut now, mut sent) = (Monotonic::from_nanos(1_000_000_000), 0);
    frames.push(data);
    while let Ok(Some(datagram)) = frames.next_datagram() {
        server.handle_datagram(now, &datagram);
        now = now + Duration::from_millis(30);
        server.handle_timeout(now);
        sent += std::iter::from_fn(|| server.poll_transmit()).map(|datagram| datagram.len()).sum::<usize>();
    }
    // One or two flights of ours, each sent again a few times.
    assert!(!server.is_connected() && sent <= 40_000, "{sent}");
    server.close(now);
}

/// Readings in our own form, over HTTP or MQTT.
pub fn sensor_json(data: &[u8]) {
    for entry in [json::read("s", data), json::read_any("s", data)].into_iter().flatten().flatten().flatten() {
        assert!(entry.sensor == "s" && entry.name.is_none_or(|name| name.chars().count() <= 100));
    }
}

/// InfluxDB's line protocol.
pub fn line_protocol_lines(data: &[u8]) {
    if let Ok(entries) = line_protocol::read("s", line_protocol::Precision::Milliseconds, data) {
        assert!(entries.len() <= REPORTS_MAX);
        assert!(entries.into_iter().flatten().all(|sample| sample.sensor == "s" || sample.sensor.starts_with("s.")));
    }
}

/// Messages of every system that reports over MQTT: a topic, a line break, a payload.
pub fn sensor_messages(data: &[u8]) {
    let presets = [
        MqttPreset::Zigbee2mqtt,
        MqttPreset::Tasmota,
        MqttPreset::Esphome,
        MqttPreset::Shelly,
        MqttPreset::HomeAssistant,
        MqttPreset::Frigate,
    ];
    let Some(at) = data.iter().position(|byte| *byte == b'\n') else { return };
    let Ok(topic) = std::str::from_utf8(&data[..at]) else { return };
    let mut routes = Routes::new(&BrokerConfig { presets: presets.into(), ..BrokerConfig::default() });
    let mut heard = routes.handle_message(topic, &data[at + 1..]);
    for topic in routes.filters() {
        heard.extend(routes.handle_message(&topic, &data[at + 1..]));
    }
    for one in heard {
        match one {
            Heard::Subscribe(topics) => assert!(topics.iter().all(|topic| is_topic_name(topic)), "{topics:?}"),
            Heard::Report(Report::Sample(sample)) => {
                assert!(sample.name.is_none_or(|name| name.len() <= 2 * data.len() + 100));
            }
            Heard::Fault(_, message) => assert!(message.len() <= data.len() + 400, "{message}"),
            _ => {}
        }
    }
    let _ = formats::text(data);
}

/// What a broker sends, in both versions and whatever pieces: the session takes it or ends.
pub fn mqtt(data: &[u8]) {
    for version in [MqttVersion::V311, MqttVersion::V5] {
        let hello = Hello { client_id: "c".into(), login: None, keep_alive: 30, will: None, max_packet: 1024 };
        let Ok(mut session) = Session::new(wire(version), hello, Monotonic::default()) else { return };
        let _ = session.subscribe(&["a/b".to_owned()], Monotonic::default());
        for piece in data.chunks(7) {
            let Ok(events) = session.handle_bytes(piece, Monotonic::default()) else { break };
            for event in events {
                if let Event::Message { topic, payload, .. } = event {
                    assert!(topic.len() + payload.len() <= 1024);
                }
            }
            assert!(session.outgoing().len() <= OUT_MAX);
        }
    }
}

/// A GraphQL request, as a body and as the document in one: it comes to an end, whatever its brackets and fragments do,
/// and what is refused has a word and one line.
pub fn graphql(data: &[u8]) {
    let document = serde_json::json!({ "query": String::from_utf8_lossy(data) }).to_string();
    for body in [data, document.as_bytes()] {
        if let Err(error) = admit_graphql(body) {
            assert!(!error.code().is_empty() && !error.message().contains('\n'), "{error}");
        }
    }
}

/// The headers of an opening handshake, a line each: what is agreed can be written.
pub fn ws_handshake(data: &[u8]) {
    let mut headers = http::HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(64) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = http::HeaderName::from_bytes(&line[..colon]);
        if let (Ok(name), Ok(value)) = (name, http::HeaderValue::from_bytes(line[colon + 1..].trim_ascii())) {
            headers.append(name, value);
        }
    }
    if let Ok(agreed) = negotiate(&headers, true) {
        assert!(headers.get("sec-websocket-version").is_some_and(|version| version == "13"));
        assert!(agreed.headers.len() <= 3);
    }
}

/// What comes on a WebSocket: cut the same way whatever pieces it comes in, bounded, and the connection ends. The first
/// byte says what was agreed.
pub fn ws_session(data: &[u8]) {
    let Some((agreed, data)) = data.split_first() else { return };
    let deflate = agreed & 1 != 0;
    let read = |piece: usize| {
        let (mut inbound, mut read) = (Inbound::new(deflate), Vec::new());
        for bytes in data.chunks(piece.max(1)) {
            inbound.push(bytes);
            loop {
                match inbound.next_incoming() {
                    Ok(Some(incoming)) => {
                        if let Incoming::Text(text) = &incoming {
                            assert!(text.len() <= MESSAGE_MAX);
                        }
                        read.push(format!("{incoming:?}"));
                    }
                    Ok(None) => break,
                    Err(violation) => {
                        read.push(format!("{violation:?}"));
                        return read;
                    }
                }
            }
            assert!(inbound.pending() <= 2 * MESSAGE_MAX + data.len());
        }
        read
    };
    assert_eq!(read(data.len()), read(7));

    let format = if agreed & 2 != 0 { Format::MessagePack } else { Format::Json };
    let mut now = Monotonic::from_nanos(1_000_000_000);
    let mut session = WsSession::new(Encoding { format, deflate }, now);
    for bytes in data.chunks(16) {
        if session.wants_bytes() {
            session.handle_bytes(now, bytes);
            while session.poll_request(now).is_some() {}
        }
        now = now + Duration::from_millis(u64::from(bytes[0]));
        session.handle_timeout(now);
        assert!(session.pending() <= 256 << 10);
    }
    for _ in 0..20 {
        let due = session.poll_deadline();
        session.handle_timeout(due);
    }
    assert!(session.end().is_some());
}

/// What stands in `Authorization`: a password, a token, or the answer to a challenge, which is never right by chance.
pub fn authorization(data: &[u8]) {
    if let Ok(credential) = Credential::of_header(data) {
        assert!(!format!("{credential:?}").contains("password: \""));
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(answer) = DigestAnswer::parse(text) {
        static KEYS: LazyLock<Option<DigestKeys>> =
            LazyLock::new(|| Some(DigestKeys::new(&"anna".parse().ok()?, &Secret::new("a password"))));
        assert!(!answer.is_right("DESCRIBE", KEYS.as_ref()) && !answer.is_right("DESCRIBE", None));
    }
}

/// What stands in `Cookie`, a line each: one token of ours, or none; and no token that nobody signed.
pub fn cookie(data: &[u8]) {
    let mut headers = http::HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        let Ok(line) = http::HeaderValue::from_bytes(line) else { return };
        headers.append(http::header::COOKIE, line);
    }
    let Some(text) = session_cookie(&headers) else { return };
    assert!(!text.is_empty() && !text.contains(';'));
    token(text.as_bytes());
}

/// The paths of a permission: a glob without `**` stays within its segments.
pub fn path_matcher(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(matcher) = text.parse::<PathMatcher>() else { return };
    assert_eq!(matcher.to_string().parse::<PathMatcher>().ok(), Some(matcher.clone()));
    let Ok(name) = "a/b/c/d/e/f/g".parse::<PathName>() else { return };
    let slashes = text.matches('/').count();
    if !text.starts_with('~') && !text.contains("**") && text != "*" && slashes < 6 {
        assert!(!matcher.matches(&name));
    }
}

/// A token is right only if this server signed it.
pub fn token(data: &[u8]) {
    static GATE: LazyLock<Gate> = LazyLock::new(Gate::default);
    let Ok(text) = std::str::from_utf8(data) else { return };
    let now =
        Moment { monotonic: Monotonic::from_nanos(1), wall: WallTime::from_unix_nanos(1_700_000_000_000_000_000) };
    for way in [Way::Header, Way::Cookie, Way::Query] {
        if let Ok(credential) = Credential::of_token(text, way) {
            assert!(matches!(GATE.recall(&credential, [10, 0, 0, 9].into(), now), Some(Known::Refused)));
        }
    }
}
