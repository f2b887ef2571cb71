//! JPEG over RTP: the planner (RFC 2435). `retina` takes incoming streams apart.
//!
//! Only the coded scan travels, with the tables in the first packet (`Q` 255); the headers are rebuilt by the receiver,
//! who takes baseline, annex K's Huffman tables, three components and 4:2:2 or 4:2:0 for granted. A picture that is
//! anything else has no packets.

use bytes::{BufMut, Bytes, BytesMut};

use super::slices;
use crate::media::{
    Fragment,
    jpeg::{Jpeg, QuantisationTable},
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        media::{CodecParameters, PictureSize, testing::jpeg},
        rtp::testing::{Sent, assert_marker_ends, assert_one_size, sent},
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
    }
}
