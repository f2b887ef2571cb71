//! JPEG over RTP (RFC 2435).
//!
//! Only the coded scan travels, with the tables in the first packet (`Q` 255); the headers are rebuilt by the receiver,
//! who takes baseline, annex K's Huffman tables, three components and 4:2:2 or 4:2:0 for granted. A picture that is
//! anything else has no packets.

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    depacketise::{Assembled, Assembly, DepacketiseError, Position},
    slices,
};
use crate::media::{
    CodecParameters, Fragment, PictureSize,
    jpeg::{HUFFMAN_TABLES, Jpeg, QuantisationTable},
    plan::{Body, PAYLOAD_MAX},
};

const MAIN_HEADER: usize = 8;
const RESTART_HEADER: usize = 4;

/// The tables of every picture go with it (§3.1.8).
const Q_IN_BAND: u8 = 255;

/// Types that carry restart markers (§3.1.3).
const WITH_RESTARTS: u8 = 64;

/// Cuts a picture; its quantisation tables and the scan's first bytes make the lead.
pub(super) fn plan(payload: &Bytes) -> (Bytes, Box<[Fragment]>) {
    Jpeg::parse(payload).ok().and_then(|picture| plan_picture(&picture, payload)).unwrap_or_default()
}

fn plan_picture(picture: &Jpeg<'_>, payload: &[u8]) -> Option<(Bytes, Box<[Fragment]>)> {
    let with_restarts = picture.restart_interval != 0;
    let kind = sampling_type(picture)? | if with_restarts { WITH_RESTARTS } else { 0 };
    let header_len = MAIN_HEADER + if with_restarts { RESTART_HEADER } else { 0 };
    let mut lead = quantisation_header(picture)?;
    let tables_len = lead.len();
    let base = picture.scan.start;
    let mut fragments = Vec::with_capacity(picture.scan.len() / (PAYLOAD_MAX / 2) + 2);
    for slice in slices(picture.scan.clone(), PAYLOAD_MAX - header_len, tables_len) {
        let head = header(picture, kind, slice.range.start - base)?;
        let (body, range) = if slice.first {
            lead.put_slice(payload.get(slice.range)?);
            (Body::Lead, 0..lead.len())
        } else {
            (Body::Payload, slice.range)
        };
        fragments.push(Fragment::new(&head[..header_len], body, range, slice.last)?);
    }
    Some((lead.freeze(), fragments.into_boxed_slice()))
}

/// §3.1.3, §4.1: type 0 is 4:2:2, type 1 is 4:2:0, each with the tables 0 for luma and 1 for chroma.
fn sampling_type(picture: &Jpeg<'_>) -> Option<u8> {
    let [luma, blue, red] = &picture.components[..] else { return None };
    let is_plain = |chroma: &crate::media::jpeg::Component| (chroma.horizontal, chroma.vertical) == (1, 1);
    if !picture.standard_huffman
        || !is_plain(blue)
        || !is_plain(red)
        || blue.quantisation_table != red.quantisation_table
    {
        return None;
    }
    match (luma.horizontal, luma.vertical) {
        (2, 1) => Some(0),
        (2, 2) => Some(1),
        _ => None,
    }
}

/// §3.1.8: precision bits, the length, and the tables for luma and chroma.
fn quantisation_header(picture: &Jpeg<'_>) -> Option<BytesMut> {
    let table = |component: usize| -> Option<QuantisationTable<'_>> {
        *picture.tables.get(usize::from(picture.components.get(component)?.quantisation_table))?
    };
    let tables = [table(0)?, table(1)?];
    let precision = tables.iter().enumerate().fold(0, |bits, (index, table)| bits | u8::from(table.wide) << index);
    let len: usize = tables.iter().map(|table| table.coefficients.len()).sum();
    let mut out = BytesMut::with_capacity(4 + len + PAYLOAD_MAX);
    out.put_slice(&[0, precision]);
    out.put_u16(len as u16);
    tables.iter().for_each(|table| out.put_slice(table.coefficients));
    Some(out)
}

/// §3.1 and §3.1.7. `None` for an offset beyond 24 bits.
fn header(picture: &Jpeg<'_>, kind: u8, offset: usize) -> Option<[u8; MAIN_HEADER + RESTART_HEADER]> {
    let [0, o0, o1, o2] = u32::try_from(offset).ok()?.to_be_bytes() else { return None };
    // In blocks of 8; a larger side is written as 0, and said in SDP's `x-dimensions` (ONVIF streaming, §5.1.4).
    let blocks = |side: u32| u8::try_from(side.div_ceil(8)).unwrap_or(0);
    let (mut width, mut height) = (blocks(picture.size.width), blocks(picture.size.height));
    if width == 0 || height == 0 {
        (width, height) = (0, 0);
    }
    let [i0, i1] = picture.restart_interval.to_be_bytes();
    // §3.1.7: first and last set and a count of 0x3fff: packets do not follow restart intervals.
    Some([0, o0, o1, o2, kind, Q_IN_BAND, width, height, i0, i1, 0xff, 0xff])
}

/// Rebuilds pictures from their packets.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    assembly: Assembly,
    /// Bytes of the headers before the scan of the open picture.
    header_len: usize,
    size: Option<PictureSize>,
    /// Tables by their `Q`, for senders that do not repeat them (§4.2: 128 to 254 name the same tables for ever).
    known: Vec<(u8, Tables)>,
}

/// How many sets of tables of one sender are kept.
const MAX_KNOWN: usize = 8;

/// Quantisation tables for luma and chroma, coefficients of one or two bytes each.
type Tables = [Vec<u8>; 2];

/// What the headers of a packet say.
struct PacketHeader<'a> {
    offset: usize,
    kind: u8,
    size: PictureSize,
    restart_interval: u16,
    quality: u8,
    /// The tables of a first packet.
    tables: Option<Tables>,
    scan: &'a [u8],
}

impl Assembler {
    pub(super) fn parameters(&self) -> Option<CodecParameters> {
        self.size.map(CodecParameters::Jpeg)
    }

    pub(super) fn push(&mut self, position: Position, payload: &Bytes) -> Result<Vec<Assembled>, DepacketiseError> {
        let mut done = Vec::from_iter(self.assembly.arrive(&position).map(|picture| self.finish(picture)));
        self.take(&position, payload).inspect_err(|_| self.assembly.lose())?;
        if position.marker {
            done.extend(self.assembly.end().map(|picture| self.finish(picture)));
        }
        Ok(done)
    }

    fn take(&mut self, position: &Position, payload: &[u8]) -> Result<(), DepacketiseError> {
        let packet = PacketHeader::read(payload)?;
        if packet.offset == 0 {
            let header = self.file_header(&packet)?;
            // A picture that begins anew before it ended is broken off.
            if self.assembly.is_open() {
                self.assembly.lose();
            }
            self.assembly.begin(position);
            self.header_len = header.len();
            self.assembly.append(&header)?;
        } else if self.assembly.bytes().is_some_and(|open| open.len() != self.header_len + packet.offset) {
            return Err(malformed("fragment offset"));
        }
        self.assembly.append(packet.scan)
    }

    fn finish(&mut self, (timestamp, payload): (i64, Bytes)) -> Assembled {
        const END: [u8; 2] = [0xff, 0xd9];
        let payload = if payload.ends_with(&END) {
            payload
        } else {
            let mut whole = payload.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
            whole.put_slice(&END);
            whole.freeze()
        };
        let size = Jpeg::parse(&payload).ok().map(|picture| picture.size);
        let changed = size.is_some() && size != self.size;
        self.size = size.or(self.size);
        Assembled {
            timestamp,
            payload,
            random_access: true,
            after_loss: self.assembly.take_loss(),
            parameters: size.filter(|_| changed).map(CodecParameters::Jpeg),
        }
    }

    /// The headers of a file as appendix B makes them.
    fn file_header(&mut self, packet: &PacketHeader<'_>) -> Result<Vec<u8>, DepacketiseError> {
        let tables = self.tables(packet)?;
        let mut out = vec![0xff, 0xd8];
        let mut segment = |kind: u8, parts: &[&[u8]]| {
            out.put_slice(&[0xff, kind]);
            out.put_u16(parts.iter().map(|part| part.len() as u16).sum::<u16>() + 2);
            parts.iter().for_each(|part| out.put_slice(part));
        };
        segment(0xe0, &[b"JFIF\0\x01\x02\0\0\x01\0\x01\0\0"]);
        for (number, table) in (0_u8..).zip(&tables) {
            let wide = if table.len() > 64 { 0x10 } else { 0 };
            segment(0xdb, &[&[wide | number], table]);
        }
        if packet.restart_interval != 0 {
            segment(0xdd, &[&packet.restart_interval.to_be_bytes()]);
        }
        let ([_, _, w0, w1], [_, _, h0, h1]) = (packet.size.width.to_be_bytes(), packet.size.height.to_be_bytes());
        let luma = if packet.kind & 1 == 0 { 0x21 } else { 0x22 };
        segment(0xc0, &[&[8, h0, h1, w0, w1, 3, 1, luma, 0, 2, 0x11, 1, 3, 0x11, 1]]);
        for (class, table) in HUFFMAN_TABLES {
            segment(0xc4, &[&[class], table]);
        }
        segment(0xda, &[&[3, 1, 0, 2, 0x11, 3, 0x11, 0, 63, 0]]);
        Ok(out)
    }

    /// The tables of a picture, from its first packet, by its quality, or as they were sent before (§4.2).
    fn tables(&mut self, packet: &PacketHeader<'_>) -> Result<Tables, DepacketiseError> {
        let quality = packet.quality;
        match &packet.tables {
            Some(tables) if quality == Q_IN_BAND => Ok(tables.clone()),
            Some(tables) => {
                self.known.retain(|(known, _)| *known != quality);
                if self.known.len() == MAX_KNOWN {
                    self.known.remove(0);
                }
                self.known.push((quality, tables.clone()));
                Ok(tables.clone())
            }
            None if quality < 128 => scaled_tables(quality).ok_or(malformed("Q")),
            None => {
                let known = self.known.iter().find(|(known, _)| *known == quality);
                known.map(|(_, tables)| tables.clone()).ok_or(malformed("Q without tables"))
            }
        }
    }
}

impl<'a> PacketHeader<'a> {
    fn read(payload: &'a [u8]) -> Result<Self, DepacketiseError> {
        let (&[_, o0, o1, o2, kind, quality, width, height], mut rest) =
            payload.split_first_chunk::<MAIN_HEADER>().ok_or(malformed("header"))?;
        if !matches!(kind, 0 | 1 | 64 | 65) {
            return Err(unsupported("type"));
        }
        if width == 0 || height == 0 {
            return Err(unsupported("side of more than 2040 pixels"));
        }
        let offset = u32::from_be_bytes([0, o0, o1, o2]) as usize;
        let mut restart_interval = 0;
        if kind & WITH_RESTARTS != 0 {
            let (&[i0, i1, ..], after) =
                rest.split_first_chunk::<RESTART_HEADER>().ok_or(malformed("restart header"))?;
            (restart_interval, rest) = (u16::from_be_bytes([i0, i1]), after);
        }
        let mut tables = None;
        if quality >= 128 && offset == 0 {
            let (&[_, precision, l0, l1], after) = rest.split_first_chunk::<4>().ok_or(malformed("table header"))?;
            let len = usize::from(u16::from_be_bytes([l0, l1]));
            let (data, after) = after.split_at_checked(len).ok_or(malformed("table header"))?;
            tables = if len == 0 { None } else { Some(split_tables(data, precision).ok_or(malformed("tables"))?) };
            rest = after;
        }
        let size = PictureSize { width: u32::from(width) * 8, height: u32::from(height) * 8 };
        Ok(Self { offset, kind, size, restart_interval, quality, tables, scan: rest })
    }
}

/// §3.1.8: the precision bit of each table says whether coefficients have two bytes. One table alone serves both.
fn split_tables(data: &[u8], precision: u8) -> Option<Tables> {
    let len = |bit: u8| if precision >> bit & 1 == 0 { 64 } else { 128 };
    let (luma, rest) = data.split_at_checked(len(0))?;
    let chroma = if rest.is_empty() { luma } else { rest.get(..len(1))? };
    Some([luma.to_vec(), chroma.to_vec()])
}

/// §4.2 and appendix A: the tables of annex K, scaled as the Independent JPEG Group does.
fn scaled_tables(quality: u8) -> Option<Tables> {
    let factor = match u32::from(quality) {
        0 | 100.. => return None,
        quality @ ..50 => 5000 / quality,
        quality => 200 - 2 * quality,
    };
    let scale = |table: [u8; 64]| {
        table.iter().map(|base| ((u32::from(*base) * factor + 50) / 100).clamp(1, 255) as u8).collect()
    };
    Some([scale(LUMA_QUANTISATION), scale(CHROMA_QUANTISATION)])
}

const fn malformed(what: &'static str) -> DepacketiseError {
    DepacketiseError::Malformed { format: "JPEG", what }
}

const fn unsupported(what: &'static str) -> DepacketiseError {
    DepacketiseError::Unsupported { format: "JPEG", what }
}

/// ITU-T T.81, table K.1, in zigzag order.
#[rustfmt::skip]
const LUMA_QUANTISATION: [u8; 64] = [
    16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40, 26, 24, 22, 22, 24, 49,
    35, 37, 29, 40, 58, 51, 61, 60, 57, 51, 56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56,
    80, 109, 81, 87, 95, 98, 103, 104, 103, 62, 77, 113, 121, 112, 100, 120, 92, 101, 103, 99,
];

/// ITU-T T.81, table K.2, in zigzag order.
#[rustfmt::skip]
const CHROMA_QUANTISATION: [u8; 64] = [
    17, 18, 18, 24, 21, 24, 47, 26, 26, 47, 99, 66, 56, 66, 99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        media::testing::{hex, jpeg},
        rtp::{
            packet::Header,
            testing::{
                Sent, assert_marker_ends, assert_one_size, assert_way_through, depacketiser, push_arbitrary, sent,
            },
        },
    };

    fn packets(picture: &[u8]) -> Vec<Sent> {
        sent(&CodecParameters::Jpeg(PictureSize::default()), &Bytes::copy_from_slice(picture), true)
    }

    /// RFC 2435 §3.1 read backwards: the tables and the scan.
    fn reassemble(packets: &[Sent], header_len: usize) -> (Vec<u8>, Vec<u8>) {
        let (mut tables, mut scan) = (Vec::new(), Vec::new());
        for packet in packets {
            let (header, mut body) = packet.payload.split_at(header_len);
            let offset = u32::from_be_bytes([0, header[1], header[2], header[3]]) as usize;
            assert_eq!(offset, scan.len());
            if offset == 0 {
                let len = usize::from(u16::from_be_bytes([body[2], body[3]]));
                tables = body[4..4 + len].to_vec();
                body = &body[4 + len..];
            }
            scan.extend_from_slice(body);
        }
        (tables, scan)
    }

    #[test]
    fn headers_say_what_the_picture_is() {
        for (sampling, size, interval, expected) in [
            ((2, 1), (640, 480), 0, &[0, 0, 0, 0, 0, 255, 80, 60][..]),
            ((2, 2), (642, 1080), 0, &[0, 0, 0, 0, 1, 255, 81, 135]),
            ((2, 2), (2040, 2040), 4, &[0, 0, 0, 0, 65, 255, 255, 255, 0, 4, 0xff, 0xff]),
            ((2, 2), (3840, 2160), 0, &[0, 0, 0, 0, 1, 255, 0, 0]),
        ] {
            let sent = packets(&jpeg(size, [sampling, (1, 1), (1, 1)], interval, &[9; 100]));
            assert_eq!(sent[0].payload[..expected.len()], *expected);
        }
    }

    #[test]
    fn what_the_format_cannot_say_has_no_packets() {
        assert!(packets(&jpeg((64, 64), [(1, 1), (1, 1), (1, 1)], 0, &[9; 100])).is_empty(), "4:4:4");
        let mut huffman = jpeg((64, 64), [(2, 1), (1, 1), (1, 1)], 0, &[9; 100]);
        let at = huffman.windows(2).position(|pair| pair == [0xff, 0xc4]).unwrap();
        huffman[at + 6] ^= 1;
        assert!(packets(&huffman).is_empty(), "tables of its own");
        assert!(packets(b"not a picture").is_empty());
    }

    fn push(
        depacketiser: &mut crate::rtp::depacketise::Depacketiser,
        sequence: u16,
        payload: &[u8],
    ) -> Result<Vec<Assembled>, DepacketiseError> {
        let header = Header { marker: true, payload_type: 26, sequence, timestamp: sequence.into(), ssrc: 1 };
        depacketiser.push(&header, &Bytes::copy_from_slice(payload))
    }

    #[test]
    fn tables_follow_from_the_quality() {
        // RFC 2435 appendix A: at 50 the tables are annex K's own; libjpeg has 8, 6, 6, 7 … at 75 and 255 at 1.
        let [luma, chroma] = scaled_tables(50).unwrap();
        assert_eq!((luma[..4].to_vec(), chroma[..4].to_vec()), (vec![16, 11, 12, 14], vec![17, 18, 18, 24]));
        assert_eq!(scaled_tables(75).unwrap()[0][..4], [8, 6, 6, 7]);
        assert_eq!(scaled_tables(1).unwrap()[1], [255; 64]);
        assert!([0, 100, 127].map(scaled_tables).iter().all(Option::is_none));

        let mut depacketiser = depacketiser("JPEG");
        let picture = &push(&mut depacketiser, 1, &hex("00000000 01 32 02 01 aabbcc")).unwrap()[0];
        let parsed = Jpeg::parse(&picture.payload).unwrap();
        assert_eq!(parsed.size, PictureSize { width: 16, height: 8 });
        assert_eq!((parsed.components[0].horizontal, parsed.components[0].vertical), (2, 2));
        assert_eq!((&picture.payload[parsed.scan], parsed.standard_huffman), (&hex("aabbcc")[..], true));
        assert!(picture.random_access && picture.parameters.is_some());
        assert!(push(&mut depacketiser, 2, &hex("00000000 01 32 02 01 dd")).unwrap()[0].parameters.is_none());
    }

    #[test]
    fn tables_that_are_not_repeated_are_those_sent_before() {
        let mut depacketiser = depacketiser("jpeg");
        let header = hex("00000000 00 c8 02 01");
        assert!(push(&mut depacketiser, 1, &[&header[..], &[0, 0, 0, 0, 1]].concat()).is_err(), "none were sent");
        let with_tables = [&header[..], &[0, 0, 0, 128], &[7; 64], &[9; 64], &[1]].concat();
        assert!(push(&mut depacketiser, 2, &with_tables).unwrap()[0].after_loss);
        let again = &push(&mut depacketiser, 3, &[&header[..], &[0, 0, 0, 0, 1]].concat()).unwrap()[0];
        let tables = Jpeg::parse(&again.payload).unwrap().tables;
        assert_eq!(tables[..2].iter().map(|table| table.unwrap().coefficients[0]).collect::<Vec<_>>(), [7, 9]);
        let wide = [&hex("00000000 00 ff 02 01")[..], &[0, 1, 0, 192], &[0; 127], &[3], &[9; 64], &[1]].concat();
        let wide = &push(&mut depacketiser, 4, &wide).unwrap()[0];
        assert!(Jpeg::parse(&wide.payload).unwrap().tables[0].unwrap().wide);
    }

    #[test]
    fn packets_that_nothing_can_be_made_of_are_refused() {
        let mut depacketiser = depacketiser("JPEG");
        for (sequence, packet) in [
            (1, ""),
            (2, "00000000 02 32 02 01 aa"),          // an unknown type
            (3, "00000000 01 00 02 01 aa"),          // Q 0
            (4, "00000000 01 32 00 01 aa"),          // too wide to say
            (5, "00000000 41 32 02 01 0004"),        // the restart header is cut off
            (6, "00000000 01 ff 02 01 00000080 01"), // the tables are
            (7, "00000000 01 ff 02 01 00000003 010203 aa"),
        ] {
            assert!(push(&mut depacketiser, sequence, &hex(packet)).is_err(), "{packet}");
        }
        assert!(push(&mut depacketiser, 8, &hex("00000005 01 32 02 01 aa")).unwrap().is_empty(), "no beginning");
        assert!(push(&mut depacketiser, 9, &hex("00000000 01 32 02 01 aa")).unwrap()[0].after_loss);
    }

    proptest! {
        #[test]
        fn what_is_cut_comes_together_again(scan in proptest::collection::vec(0_u8..0xff, 1..9000), restarts: bool) {
            let sent = packets(&jpeg((640, 480), [(2, 2), (1, 1), (1, 1)], if restarts { 4 } else { 0 }, &scan));
            assert_marker_ends(&sent);
            assert_one_size(&sent);
            let (tables, together) = reassemble(&sent, if restarts { 12 } else { 8 });
            prop_assert_eq!(tables, [[16; 64], [17; 64]].concat());
            prop_assert_eq!(together, scan);
        }

        #[test]
        fn pictures_survive_the_way_through_and_losses_are_marked(
            scans in proptest::collection::vec(proptest::collection::vec(0_u8..0xff, 1..4000), 1..8),
            kind in 0_u8..4,
            sequence: u16,
            fates in proptest::collection::vec(prop_oneof![6 => Just(9_u8), 1 => 0_u8..3], 1..40),
        ) {
            let sampling = [(if kind & 1 == 0 { (2, 1) } else { (2, 2) }), (1, 1), (1, 1)];
            let picture = |scan: &Vec<u8>| Bytes::from(jpeg((640, 480), sampling, if kind & 2 == 0 { 0 } else { 4 }, scan));
            let units: Vec<Bytes> = scans.iter().map(picture).collect();
            assert_way_through("JPEG", &CodecParameters::Jpeg(PictureSize::default()), &units, sequence, &fates);
        }

        #[test]
        fn arbitrary_packets_are_taken_without_a_panic(stream in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..40)), 0..20)) {
            push_arbitrary("JPEG", stream);
        }
    }
}
