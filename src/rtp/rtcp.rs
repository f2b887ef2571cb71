//! RTCP: sender and receiver reports, source descriptions and goodbyes, written and read (RFC 3550 §6), and the frame
//! of feedback messages with generic NACK (RFC 4585 §6).
//!
//! When to send what is the sessions' business.

use bytes::BufMut;

mod kind {
    pub(super) const SENDER_REPORT: u8 = 200;
    pub(super) const RECEIVER_REPORT: u8 = 201;
    pub(super) const SOURCE_DESCRIPTION: u8 = 202;
    pub(super) const GOODBYE: u8 = 203;
    pub(super) const TRANSPORT_FEEDBACK: u8 = 205;
    pub(super) const PAYLOAD_FEEDBACK: u8 = 206;
}

const HEADER_LEN: usize = 4;
const BLOCK_LEN: usize = 24;
const CNAME: u8 = 1;

/// The most of anything that the five-bit count of a header can announce.
const MAX_COUNT: usize = 31;

/// What a sender says of itself (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderReport {
    /// The sender.
    pub ssrc: u32,
    /// The wall clock at one moment, as a 64-bit NTP timestamp; 0 when the sender has none.
    pub ntp: u64,
    /// The same moment on the track's RTP clock.
    pub rtp_timestamp: u32,
    /// Packets sent since the session began.
    pub packets: u32,
    /// Payload bytes sent, modulo 2³².
    pub octets: u32,
}

/// What a receiver says of one sender (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    /// The sender it speaks of.
    pub ssrc: u32,
    /// Loss since the report before, in 256ths.
    pub fraction_lost: u8,
    /// Packets lost in all; below zero when duplicates outnumber the lost. 24 bits.
    pub cumulative_lost: i32,
    /// The highest sequence number, extended by the count of its cycles.
    pub highest_sequence: u32,
    /// Interarrival jitter in ticks of the RTP clock.
    pub jitter: u32,
    /// The middle 32 bits of the NTP timestamp of the newest sender report; 0 when none came.
    pub last_report: u32,
    /// The time since then in 1/65536 s.
    pub delay_since_last_report: u32,
}

impl ReportBlock {
    /// The round trip in 1/65536 s, given the NTP time at which the block came in (RFC 3550 §6.4.1).
    pub fn round_trip(&self, now_ntp: u64) -> Option<u32> {
        if self.last_report == 0 {
            return None;
        }
        let middle = (now_ntp >> 16) as u32;
        let elapsed = middle.wrapping_sub(self.last_report).wrapping_sub(self.delay_since_last_report);
        // A receiver's clock that runs ahead gives a little less than nothing.
        Some(if elapsed > u32::MAX / 2 { 0 } else { elapsed })
    }

    fn read(bytes: &[u8; BLOCK_LEN]) -> Self {
        let [s0, s1, s2, s3, fraction, c0, c1, c2, h0, h1, h2, h3, j0, j1, j2, j3, l0, l1, l2, l3, d0, d1, d2, d3] =
            *bytes;
        Self {
            ssrc: u32::from_be_bytes([s0, s1, s2, s3]),
            fraction_lost: fraction,
            cumulative_lost: i32::from_be_bytes([c0, c1, c2, 0]) >> 8,
            highest_sequence: u32::from_be_bytes([h0, h1, h2, h3]),
            jitter: u32::from_be_bytes([j0, j1, j2, j3]),
            last_report: u32::from_be_bytes([l0, l1, l2, l3]),
            delay_since_last_report: u32::from_be_bytes([d0, d1, d2, d3]),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.put_u32(self.ssrc);
        let lost = self.cumulative_lost.clamp(-0x80_0000, 0x7f_ffff) as u32 & 0xff_ffff;
        out.put_u32(u32::from(self.fraction_lost) << 24 | lost);
        out.put_u32(self.highest_sequence);
        out.put_u32(self.jitter);
        out.put_u32(self.last_report);
        out.put_u32(self.delay_since_last_report);
    }
}

/// Appends a compound packet of a sender: its report and its canonical name (§6.1 wants both in every one).
pub fn write_sender_report(out: &mut Vec<u8>, report: &SenderReport, blocks: &[ReportBlock], cname: &str) {
    let blocks = &blocks[..blocks.len().min(MAX_COUNT)];
    write_packet(out, kind::SENDER_REPORT, blocks.len() as u8, |out| {
        out.put_u32(report.ssrc);
        out.put_u64(report.ntp);
        out.put_u32(report.rtp_timestamp);
        out.put_u32(report.packets);
        out.put_u32(report.octets);
        blocks.iter().for_each(|block| block.write(out));
    });
    write_cname(out, report.ssrc, cname);
}

/// Appends a compound packet of a receiver: its report blocks and its canonical name.
pub fn write_receiver_report(out: &mut Vec<u8>, ssrc: u32, blocks: &[ReportBlock], cname: &str) {
    let blocks = &blocks[..blocks.len().min(MAX_COUNT)];
    write_packet(out, kind::RECEIVER_REPORT, blocks.len() as u8, |out| {
        out.put_u32(ssrc);
        blocks.iter().for_each(|block| block.write(out));
    });
    write_cname(out, ssrc, cname);
}

/// Appends a goodbye (§6.6). In a compound packet it stands last, behind a report.
pub fn write_goodbye(out: &mut Vec<u8>, ssrc: u32, reason: &str) {
    write_packet(out, kind::GOODBYE, 1, |out| {
        out.put_u32(ssrc);
        if !reason.is_empty() {
            write_text(out, reason);
        }
    });
}

fn write_cname(out: &mut Vec<u8>, ssrc: u32, cname: &str) {
    write_packet(out, kind::SOURCE_DESCRIPTION, 1, |out| {
        out.put_u32(ssrc);
        out.put_u8(CNAME);
        write_text(out, cname);
        out.put_u8(0); // §6.5: a null item ends the chunk, and padding fills the word
    });
}

/// A length byte and as much of the text as it can announce.
fn write_text(out: &mut Vec<u8>, text: &str) {
    let text = &text.as_bytes()[..text.len().min(255)];
    out.put_u8(text.len() as u8);
    out.put_slice(text);
}

fn write_packet(out: &mut Vec<u8>, kind: u8, count: u8, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.put_slice(&[0x80 | count, kind, 0, 0]);
    body(out);
    while !(out.len() - start).is_multiple_of(4) {
        out.put_u8(0);
    }
    // §6.4.1: the length counts words, less one. 31 blocks fit by far.
    let words = ((out.len() - start) / 4 - 1) as u16;
    out[start + 2..start + 4].copy_from_slice(&words.to_be_bytes());
}

/// Why bytes are not RTCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RtcpError {
    /// A packet is cut off or announces more than there is.
    #[error("rtcp packet at byte {at} ends early")]
    Short {
        /// Where the packet begins.
        at: usize,
    },
    /// Another version than 2.
    #[error("rtcp version {version} at byte {at} is not 2")]
    Version {
        /// What stands there.
        version: u8,
        /// Where the packet begins.
        at: usize,
    },
}

/// One packet of a compound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// A sender report.
    SenderReport(SenderReport, Blocks<'a>),
    /// A receiver report.
    ReceiverReport {
        /// Whose it is.
        ssrc: u32,
        /// What it says.
        blocks: Blocks<'a>,
    },
    /// The canonical name of the first source described.
    SourceDescription {
        /// The source.
        ssrc: u32,
        /// Its name, if it gives one that can be read.
        cname: Option<&'a str>,
    },
    /// Sources that leave.
    Goodbye {
        /// The first of them.
        ssrc: Option<u32>,
        /// Why.
        reason: Option<&'a str>,
    },
    /// Feedback of the transport (RFC 4585 §6.2) or on the payload (§6.3).
    Feedback {
        /// Whether it is on the payload.
        on_payload: bool,
        /// `FMT`: what it is.
        format: u8,
        /// Who says it.
        sender: u32,
        /// Of which source.
        media: u32,
        /// The rest.
        control: &'a [u8],
    },
    /// Anything else.
    Other {
        /// The packet type.
        kind: u8,
    },
}

/// The blocks of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks<'a>(&'a [u8]);

impl Blocks<'_> {
    /// The blocks.
    pub fn iter(&self) -> impl Iterator<Item = ReportBlock> {
        let (blocks, _) = self.0.as_chunks::<BLOCK_LEN>();
        blocks.iter().map(ReportBlock::read)
    }
}

/// What generic NACK asks for (RFC 4585 §6.2.1): the numbers of lost packets.
pub fn nack_sequences(control: &[u8]) -> impl Iterator<Item = u16> {
    let (pairs, _) = control.as_chunks::<4>();
    pairs.iter().flat_map(|&[p0, p1, m0, m1]| {
        let (first, following) = (u16::from_be_bytes([p0, p1]), u16::from_be_bytes([m0, m1]));
        let more = (0..16).filter(move |bit| following >> bit & 1 == 1).map(move |bit| first.wrapping_add(bit + 1));
        std::iter::once(first).chain(more)
    })
}

/// What a full intra request asks for (RFC 5104 §4.3.1.1): the sources whose picture is lost.
pub fn intra_requests(control: &[u8]) -> impl Iterator<Item = u32> {
    let (entries, _) = control.as_chunks::<8>();
    entries.iter().map(|&[s0, s1, s2, s3, ..]| u32::from_be_bytes([s0, s1, s2, s3]))
}

/// The bit rate a receiver estimates it can take, if application layer feedback is that
/// (draft-alvestrand-rmcat-remb-03 §2.2).
pub fn estimated_bitrate(control: &[u8]) -> Option<u64> {
    let &[b'R', b'E', b'M', b'B', _, exponent, m1, m2, ..] = control else { return None };
    let mantissa = u64::from(exponent & 3) << 16 | u64::from(m1) << 8 | u64::from(m2);
    let shift = u32::from(exponent >> 2);
    Some(if mantissa.leading_zeros() >= shift { mantissa << shift } else { u64::MAX })
}

/// Reads the packets of a compound one by one; an error ends the walk.
pub fn packets(compound: &[u8]) -> impl Iterator<Item = Result<Packet<'_>, RtcpError>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = compound.get(at..).filter(|rest| !rest.is_empty())?;
        let read = read_packet(rest).map_err(|fault| fault.at(at));
        at = read.as_ref().map_or(compound.len(), |(_, len)| at + len);
        Some(read.map(|(packet, _)| packet))
    })
}

enum Fault {
    Short,
    Version(u8),
}

impl Fault {
    const fn at(self, at: usize) -> RtcpError {
        match self {
            Self::Short => RtcpError::Short { at },
            Self::Version(version) => RtcpError::Version { version, at },
        }
    }
}

/// One packet and its length.
fn read_packet(bytes: &[u8]) -> Result<(Packet<'_>, usize), Fault> {
    let (&[first, kind, l0, l1], rest) = bytes.split_first_chunk::<HEADER_LEN>().ok_or(Fault::Short)?;
    if first >> 6 != 2 {
        return Err(Fault::Version(first >> 6));
    }
    let len = usize::from(u16::from_be_bytes([l0, l1])) * 4;
    let mut body = rest.get(..len).ok_or(Fault::Short)?;
    if first & 0x20 != 0 {
        // §6.4.1: the last byte counts the padding.
        let padding = body.last().copied().unwrap_or(0).into();
        body = body.len().checked_sub(padding).and_then(|kept| body.get(..kept)).ok_or(Fault::Short)?;
    }
    let packet = read_body(kind, first & 0x1f, body).ok_or(Fault::Short)?;
    Ok((packet, HEADER_LEN + len))
}

fn read_body(kind: u8, count: u8, mut body: &[u8]) -> Option<Packet<'_>> {
    let blocks = |body: &'_ [u8]| body.len() >= usize::from(count) * BLOCK_LEN;
    Some(match kind {
        kind::SENDER_REPORT => {
            let ssrc = take_u32(&mut body)?;
            let ntp = u64::from(take_u32(&mut body)?) << 32 | u64::from(take_u32(&mut body)?);
            let (rtp_timestamp, packets, octets) = (take_u32(&mut body)?, take_u32(&mut body)?, take_u32(&mut body)?);
            let report = SenderReport { ssrc, ntp, rtp_timestamp, packets, octets };
            // A count that does not fit is a camera's slip: the report itself still tells the time.
            let len = if blocks(body) { usize::from(count) * BLOCK_LEN } else { 0 };
            Packet::SenderReport(report, Blocks(&body[..len]))
        }
        kind::RECEIVER_REPORT => {
            let ssrc = take_u32(&mut body)?;
            let len = if blocks(body) { usize::from(count) * BLOCK_LEN } else { 0 };
            Packet::ReceiverReport { ssrc, blocks: Blocks(&body[..len]) }
        }
        kind::SOURCE_DESCRIPTION if count > 0 => {
            Packet::SourceDescription { ssrc: take_u32(&mut body)?, cname: read_cname(body) }
        }
        kind::GOODBYE => {
            let ssrc = if count > 0 { Some(take_u32(&mut body)?) } else { None };
            let reason = body.get(usize::from(count).saturating_sub(1) * 4..).and_then(read_text).map(|(text, _)| text);
            Packet::Goodbye { ssrc, reason: reason.and_then(|text| std::str::from_utf8(text).ok()) }
        }
        kind::TRANSPORT_FEEDBACK | kind::PAYLOAD_FEEDBACK => Packet::Feedback {
            on_payload: kind == kind::PAYLOAD_FEEDBACK,
            format: count,
            sender: take_u32(&mut body)?,
            media: take_u32(&mut body)?,
            control: body,
        },
        kind => Packet::Other { kind },
    })
}

/// §6.5: items of a kind, a length and a text, up to a null item.
fn read_cname(mut items: &[u8]) -> Option<&str> {
    loop {
        let (&kind, rest) = items.split_first()?;
        if kind == 0 {
            return None;
        }
        let (text, after) = read_text(rest)?;
        if kind == CNAME {
            return std::str::from_utf8(text).ok();
        }
        items = after;
    }
}

fn read_text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&len, rest) = bytes.split_first()?;
    rest.split_at_checked(len.into())
}

fn take_u32(body: &mut &[u8]) -> Option<u32> {
    let (value, rest) = body.split_first_chunk()?;
    *body = rest;
    Some(u32::from_be_bytes(*value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::media::testing::hex;

    const REPORT: SenderReport =
        SenderReport { ssrc: 0xdead_beef, ntp: 0xe9e9_0000_8000_0000, rtp_timestamp: 90_000, packets: 7, octets: 4096 };
    const BLOCK: ReportBlock = ReportBlock {
        ssrc: 1,
        fraction_lost: 128,
        cumulative_lost: -3,
        highest_sequence: 0x0001_0002,
        jitter: 12,
        last_report: 0x0000_8000,
        delay_since_last_report: 0x1_0000,
    };

    fn read(compound: &[u8]) -> Vec<Packet<'_>> {
        packets(compound).map(Result::unwrap).collect()
    }

    #[test]
    fn a_sender_report_with_name_and_goodbye_is_read_as_written() {
        let mut out = Vec::new();
        write_sender_report(&mut out, &REPORT, &[BLOCK], "campanile@host");
        write_goodbye(&mut out, REPORT.ssrc, "source gone");
        assert!(out.len().is_multiple_of(4));
        let [Packet::SenderReport(report, blocks), description, goodbye] = read(&out)[..] else { panic!("{out:?}") };
        assert_eq!((report, blocks.iter().collect::<Vec<_>>()), (REPORT, vec![BLOCK]));
        assert_eq!(description, Packet::SourceDescription { ssrc: REPORT.ssrc, cname: Some("campanile@host") });
        assert_eq!(goodbye, Packet::Goodbye { ssrc: Some(REPORT.ssrc), reason: Some("source gone") });
    }

    #[test]
    fn a_report_has_the_bytes_of_the_standard() {
        let mut out = Vec::new();
        write_sender_report(&mut out, &REPORT, &[], "ab");
        let expected =
            "80c80006 deadbeef e9e90000 80000000 00015f90 00000007 00001000 81ca0003 deadbeef 0102 6162 00000000";
        assert_eq!(out, hex(expected));
    }

    #[test]
    fn receiver_reports_and_feedback_are_read() {
        let mut out = Vec::new();
        write_receiver_report(&mut out, 5, &[BLOCK, BLOCK], "x");
        out.extend_from_slice(&hex("81cd0003 00000005 00000001 fffe0005"));
        out.extend_from_slice(&hex("81ce0002 00000005 00000001"));
        out.extend_from_slice(&hex("80cc0002 00000005 41424344"));
        let packets = read(&out);
        assert!(matches!(packets[0], Packet::ReceiverReport { ssrc: 5, blocks } if blocks.iter().count() == 2));
        let Packet::Feedback { on_payload: false, format: 1, media: 1, control, .. } = packets[2] else { panic!() };
        assert_eq!(nack_sequences(control).collect::<Vec<_>>(), [65_534, 65_535, 1]);
        assert!(matches!(packets[3], Packet::Feedback { on_payload: true, format: 1, control: [], .. }));
        assert_eq!(packets[4], Packet::Other { kind: 204 });
    }

    #[test]
    fn a_lost_picture_and_an_estimate_are_read() {
        assert_eq!(
            intra_requests(&hex("deadbeef 07000000 00000001 08000000 00")).collect::<Vec<_>>(),
            [0xdead_beef, 1]
        );
        assert_eq!(estimated_bitrate(&hex("52454d42 01 0a1e84 deadbeef")), Some(0x21e84 << 2));
        assert_eq!(estimated_bitrate(&hex("52454d42 01 ffffff")), Some(u64::MAX), "more than there is");
        assert_eq!(estimated_bitrate(&hex("52454d42 01 fc0000")), Some(0));
        assert_eq!(estimated_bitrate(b"REMC\x01\x00\x00\x01"), None);
        assert_eq!(estimated_bitrate(b"REM"), None);
    }

    #[test]
    fn the_round_trip_is_what_is_left_of_the_time_since_the_report() {
        // Report sent at 0.5 s, held for 1 s, back at 1.75 s.
        assert_eq!(BLOCK.round_trip(0x0001_c000_0000), Some(0x4000));
        assert_eq!(BLOCK.round_trip(0x0001_0000_0000), Some(0));
        assert_eq!(ReportBlock::default().round_trip(1), None);
    }

    #[test]
    fn lengths_and_versions_that_lie_end_the_walk() {
        let last = |bytes: &[u8]| packets(bytes).last().unwrap().map(|_| ());
        assert_eq!(last(&hex("80c80006 deadbeef")), Err(RtcpError::Short { at: 0 }));
        assert_eq!(last(&hex("80cb0000 40cb0000")), Err(RtcpError::Version { version: 1, at: 4 }));
        assert_eq!(last(&hex("a0c90001 000000ff")), Err(RtcpError::Short { at: 0 }));
        assert_eq!(last(&hex("80cb0000 80")), Err(RtcpError::Short { at: 4 }));
        // A sender report that announces a block it does not have still tells the time.
        let slip = hex("81c80006 deadbeef e9e90000 80000000 00015f90 00000007 00001000");
        assert!(matches!(read(&slip)[0], Packet::SenderReport(REPORT, Blocks([]))));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_read_without_a_panic(mut bytes in proptest::collection::vec(any::<u8>(), 4..100), kind in 199_u8..208) {
            let _ = packets(&bytes).count();
            let words = (bytes.len() / 4 - 1) as u8;
            (bytes[0], bytes[1], bytes[2], bytes[3]) = (0x80 | bytes[0] & 0x3f, kind, 0, words);
            for packet in packets(&bytes).flatten() {
                if let Packet::Feedback { control, .. } = packet {
                    let _ = nack_sequences(control).count();
                }
            }
        }
    }
}
