//! Writes the answer to an offer (RFC 8829 §5.3, RFC 9143 §7.3, RFC 8839, RFC 8842 §5.3, RFC 5576). Sans-IO.
//!
//! Complete in one round trip: our candidates are all there. Every section of the offer is answered in its place, with
//! port 0 where nothing goes over it; but for the first one of a group, whose transport all use: it stays, inactive.

use std::{
    fmt::Write,
    hash::{DefaultHasher, Hash, Hasher},
    net::{IpAddr, Ipv4Addr},
};

use super::{Chosen, ChosenLine, Extension, Format, Offer, Section};
use crate::{
    base::id::SessionId,
    webrtc::{
        candidates::{Candidate, CandidateTransport},
        ice::Credentials,
        identity::Fingerprint,
    },
};

/// Our side of a session.
#[derive(Clone, Copy, Debug)]
pub struct Answering<'a> {
    /// Our ICE credentials.
    pub local: &'a Credentials,
    /// The hash of our certificate.
    pub fingerprint: &'a Fingerprint,
    /// Where we can be reached.
    pub candidates: &'a [Candidate],
    /// The session, which tells this description from others.
    pub session: SessionId,
    /// The canonical name of RTCP, the same on all lines of the session.
    pub cname: &'a str,
}

/// The one MediaStream of a session (WHEP §4.3.5).
const STREAM: &str = "campanile";

/// The answer to `offer` that carries what was `chosen` from it.
pub fn answer(offer: &Offer, chosen: &Chosen, ours: &Answering<'_>) -> String {
    let mut out = Text(String::with_capacity(2048));
    let line_of = |section: &Section| chosen.lines.iter().find(|line| line.mid == section.mid);
    // RFC 9143 §7.3.1 lets the group go on with another section when its first one is refused; Chromium does not
    // ("Failed to setup RTCP mux").
    let tagged = transport_section(offer).filter(|_| offer.bundled);
    let mut hasher = DefaultHasher::new();
    ours.session.hash(&mut hasher);
    out.line(format_args!("v=0"));
    // RFC 8829 §5.2.1: a number of 63 bits.
    out.line(format_args!("o=- {} 1 IN IP4 127.0.0.1", hasher.finish() >> 1));
    out.line(format_args!("s=-"));
    out.line(format_args!("t=0 0"));
    if offer.bundled {
        let kept = |section: &&Section| line_of(section).is_some() || Some(section.mid.as_str()) == tagged;
        let mids: Vec<&str> = offer.sections.iter().filter(kept).map(|section| section.mid.as_str()).collect();
        out.line(format_args!("a=group:BUNDLE {}", mids.join(" ")));
    }
    out.line(format_args!("a=msid-semantic:WMS {STREAM}"));
    out.line(format_args!("a=ice-lite"));
    let mut first = true;
    for section in &offer.sections {
        let line = line_of(section);
        if line.is_none() && Some(section.mid.as_str()) != tagged {
            refused(&mut out, section);
            continue;
        }
        accepted(&mut out, section, line, ours);
        // RFC 9143 §7.1.2: the transport's own attributes stand with the first of the group.
        if first {
            candidates(&mut out, ours.candidates);
        }
        first = false;
    }
    out.0
}

/// The name of the section whose transport the session uses: the first of the group, or the only one.
pub fn transport_section(offer: &Offer) -> Option<&str> {
    offer.sections.iter().find(|section| section.usable).map(|section| section.mid.as_str())
}

/// Lines that end as RFC 8866 §5 wants.
struct Text(String);

impl Text {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = self.0.write_fmt(line);
        self.0.push_str("\r\n");
    }
}

/// RFC 8829 §5.3.1: port 0, and one format, since there must be one.
fn refused(out: &mut Text, section: &Section) {
    out.line(format_args!("m={} 0 {} {}", section.word, section.protocol, section.first_format));
    out.line(format_args!("c=IN IP4 0.0.0.0"));
    out.line(format_args!("a=mid:{}", section.mid));
    out.line(format_args!("a=inactive"));
}

/// A section that media go over, or, without a `line`, only the transport.
fn accepted(out: &mut Text, section: &Section, line: Option<&ChosenLine>, ours: &Answering<'_>) {
    // RFC 8839 §4.2.1.2: the default destination is one of the candidates.
    let udp = ours.candidates.iter().find(|candidate| candidate.transport == CandidateTransport::Udp);
    let (ip, port) = udp.map_or((IpAddr::V4(Ipv4Addr::UNSPECIFIED), 9), |udp| (udp.address.ip(), udp.address.port()));
    let family = if ip.is_ipv4() { 4 } else { 6 };
    let payload_type = line.map(|line| line.payload_type);
    let rtx = line.and_then(|line| line.rtx_payload_type);
    let payload_types = [payload_type, rtx].into_iter().flatten().map(|number| number.to_string());
    let formats: Vec<String> = payload_types.collect();
    let formats = if formats.is_empty() { section.first_format.clone() } else { formats.join(" ") };
    out.line(format_args!("m={} {port} {} {formats}", section.word, section.protocol));
    out.line(format_args!("c=IN IP{family} {ip}"));
    out.line(format_args!("a=mid:{}", section.mid));
    out.line(format_args!("a=ice-ufrag:{}", ours.local.ufrag));
    out.line(format_args!("a=ice-pwd:{}", ours.local.pwd.reveal()));
    out.line(format_args!("a=fingerprint:{}", ours.fingerprint));
    // RFC 8842 §5.3: the viewer begins, so that it need not wait for our first flight.
    out.line(format_args!("a=setup:passive"));
    out.line(format_args!("a={}", if line.is_some() { "sendonly" } else { "inactive" }));
    out.line(format_args!("a=rtcp-mux"));
    if section.reduced_rtcp {
        out.line(format_args!("a=rtcp-rsize"));
    }
    let Some(line) = line else {
        if let Some(format) = section.formats.iter().find(|format| format.payload_type.to_string() == formats) {
            rtpmap(out, format);
        }
        return;
    };
    for Extension { id, uri } in &section.extensions {
        if [line.abs_capture_time, line.playout_delay, line.transport_cc].contains(&Some(*id)) {
            out.line(format_args!("a=extmap:{id} {uri}"));
        }
    }
    if let Some(format) = section.formats.iter().find(|format| format.payload_type == line.payload_type) {
        describe(out, format, line);
    }
    let (name, ssrc) = (line.kind.name(), line.ssrc);
    out.line(format_args!("a=msid:{STREAM} {name}"));
    // RFC 5576 §4: the viewer knows whose packets are whose before the first one, so no packet has to say so.
    if rtx.is_some() {
        out.line(format_args!("a=ssrc-group:FID {ssrc} {}", line.rtx_ssrc));
    }
    for ssrc in [Some(ssrc), rtx.map(|_| line.rtx_ssrc)].into_iter().flatten() {
        out.line(format_args!("a=ssrc:{ssrc} cname:{}", ours.cname));
        out.line(format_args!("a=ssrc:{ssrc} msid:{STREAM} {name}"));
    }
}

fn rtpmap(out: &mut Text, format: &Format) {
    let Format { payload_type, encoding, clock_rate, channels, .. } = format;
    // RFC 8866 §6.6: one channel goes without saying.
    match channels {
        0 | 1 => out.line(format_args!("a=rtpmap:{payload_type} {encoding}/{clock_rate}")),
        _ => out.line(format_args!("a=rtpmap:{payload_type} {encoding}/{clock_rate}/{channels}")),
    }
}

fn describe(out: &mut Text, format: &Format, line: &ChosenLine) {
    let Format { payload_type, clock_rate, feedback, .. } = format;
    rtpmap(out, format);
    if let Some(parameters) = &line.parameters {
        out.line(format_args!("a=fmtp:{payload_type} {parameters}"));
    }
    // RFC 4585 §4.2.2: of what the viewer may send, what is acted on here. A lost packet is repeated on its own SSRC.
    let said = [
        ("nack", feedback.nack && line.rtx_payload_type.is_some()),
        ("nack pli", feedback.pli),
        ("ccm fir", feedback.fir),
        ("goog-remb", feedback.remb),
        ("transport-cc", feedback.transport_cc && line.transport_cc.is_some()),
    ];
    for (name, _) in said.iter().filter(|(_, acted_on)| *acted_on) {
        out.line(format_args!("a=rtcp-fb:{payload_type} {name}"));
    }
    if let Some(rtx) = line.rtx_payload_type {
        out.line(format_args!("a=rtpmap:{rtx} rtx/{clock_rate}"));
        out.line(format_args!("a=fmtp:{rtx} apt={payload_type}"));
    }
}

/// Our candidates, and that there are no others (RFC 8838 §13).
fn candidates(out: &mut Text, candidates: &[Candidate]) {
    for candidate in candidates {
        out.line(format_args!("a=candidate:{candidate}"));
    }
    out.line(format_args!("a=end-of-candidates"));
}

/// Our side of an ICE restart (RFC 8840 §9, RFC 9725 §4.3.3). `mid` is that of the first section of the bundle.
pub fn answer_fragment(local: &Credentials, mid: &str, ours: &[Candidate]) -> String {
    let mut out = Text(String::with_capacity(512));
    out.line(format_args!("a=ice-lite"));
    out.line(format_args!("a=group:BUNDLE {mid}"));
    out.line(format_args!("m=video 9 UDP/TLS/RTP/SAVPF 0"));
    out.line(format_args!("a=mid:{mid}"));
    out.line(format_args!("a=ice-ufrag:{}", local.ufrag));
    out.line(format_args!("a=ice-pwd:{}", local.pwd.reveal()));
    candidates(&mut out, ours);
    out.0
}
