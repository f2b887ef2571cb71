//! A JPEG picture's headers (ITU-T T.81, annex B): its size, its tables and where the coded scan lies. It decodes
//! nothing.
//!
//! Only baseline pictures are read, which is what cameras send and RFC 2435 carries.

use std::ops::Range;

use super::track::PictureSize;

mod marker {
    pub(super) const SOF0: u8 = 0xc0;
    pub(super) const DHT: u8 = 0xc4;
    pub(super) const SOI: u8 = 0xd8;
    pub(super) const EOI: u8 = 0xd9;
    pub(super) const SOS: u8 = 0xda;
    pub(super) const DQT: u8 = 0xdb;
    pub(super) const DRI: u8 = 0xdd;
}

/// Why a picture could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JpegError {
    /// A segment is missing, cut off or says something impossible.
    #[error("jpeg {what} is not valid at byte {at}")]
    Invalid {
        /// What was being read.
        what: &'static str,
        /// Where.
        at: usize,
    },
    /// A coding that nothing here reads: progressive, lossless, arithmetic.
    #[error("jpeg frame type {0:#04x} is not baseline")]
    NotBaseline(u8),
}

/// A component of the picture, as the frame header gives it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "named after the standard's fields")]
pub struct Component {
    pub id: u8,
    pub horizontal: u8,
    pub vertical: u8,
    pub quantisation_table: u8,
}

/// A quantisation table: 64 coefficients of one or two bytes, in zigzag order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuantisationTable<'a> {
    /// Whether coefficients have two bytes.
    pub wide: bool,
    /// 64 or 128 bytes.
    pub coefficients: &'a [u8],
}

/// The headers of a baseline picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jpeg<'a> {
    /// Its size in pixels.
    pub size: PictureSize,
    /// Its components, three for a colour picture.
    pub components: Vec<Component>,
    /// The quantisation tables by their number.
    pub tables: [Option<QuantisationTable<'a>>; 4],
    /// Units between restart markers; 0 means there are none.
    pub restart_interval: u16,
    /// Whether its Huffman tables are those of annex K, as RFC 2435 takes for granted.
    pub standard_huffman: bool,
    /// Where the entropy coded data lies, without the marker that ends the picture.
    pub scan: Range<usize>,
}

impl<'a> Jpeg<'a> {
    /// Reads the headers of a picture.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, JpegError> {
        let mut picture = Self {
            size: PictureSize::default(),
            components: Vec::new(),
            tables: [None; 4],
            restart_interval: 0,
            standard_huffman: true,
            scan: 0..0,
        };
        let invalid = |what, at| JpegError::Invalid { what, at };
        if !bytes.starts_with(&[0xff, marker::SOI]) {
            return Err(invalid("start", 0));
        }
        let mut at = 2;
        loop {
            let (kind, body) = segment(bytes, &mut at).ok_or_else(|| invalid("segment", at))?;
            match kind {
                marker::SOF0 => picture.read_frame(body).ok_or_else(|| invalid("frame header", at))?,
                // B.1.1.3: every other frame type; DHT, JPG and DAC share their range.
                0xc1..=0xcf if !matches!(kind, marker::DHT | 0xc8 | 0xcc) => return Err(JpegError::NotBaseline(kind)),
                marker::DQT => picture.read_tables(body).ok_or_else(|| invalid("quantisation table", at))?,
                marker::DHT => picture.standard_huffman &= is_standard_huffman(body),
                marker::DRI => {
                    let interval = body.first_chunk().ok_or_else(|| invalid("restart interval", at))?;
                    picture.restart_interval = u16::from_be_bytes(*interval);
                }
                marker::SOS => break,
                _ => {}
            }
        }
        if picture.components.is_empty() {
            return Err(invalid("frame header", at));
        }
        picture.scan = at..scan_end(bytes, at);
        Ok(picture)
    }

    /// B.2.2.
    fn read_frame(&mut self, body: &[u8]) -> Option<()> {
        let (&[precision, h0, h1, w0, w1, count], rest) = body.split_first_chunk::<6>()?;
        let (height, width) = (u16::from_be_bytes([h0, h1]), u16::from_be_bytes([w0, w1]));
        if precision != 8 || width == 0 || height == 0 || !(1..=4).contains(&count) {
            return None;
        }
        let components = rest.chunks_exact(3).take(count.into()).map(|c| Component {
            id: c[0],
            horizontal: c[1] >> 4,
            vertical: c[1] & 0xf,
            quantisation_table: c[2],
        });
        self.components = components.collect();
        self.size = PictureSize { width: width.into(), height: height.into() };
        (self.components.len() == usize::from(count)).then_some(())
    }

    /// B.2.4.1.
    fn read_tables(&mut self, mut body: &'a [u8]) -> Option<()> {
        while let Some((&head, rest)) = body.split_first() {
            let wide = head >> 4 != 0;
            let (coefficients, after) = rest.split_at_checked(if wide { 128 } else { 64 })?;
            *self.tables.get_mut(usize::from(head & 0xf))? = Some(QuantisationTable { wide, coefficients });
            body = after;
        }
        Some(())
    }
}

/// The next marker segment: its marker and its content. Markers without content (TEM, RSTn) come with none.
fn segment<'a>(bytes: &'a [u8], at: &mut usize) -> Option<(u8, &'a [u8])> {
    if *bytes.get(*at)? != 0xff {
        return None;
    }
    // B.1.1.2: any number of fill bytes may stand before a marker.
    let fill = bytes.get(*at..)?.iter().take_while(|byte| **byte == 0xff).count();
    let kind = *bytes.get(*at + fill)?;
    *at += fill + 1;
    if matches!(kind, 0x01 | 0xd0..=0xd7) {
        return Some((kind, &[]));
    }
    if matches!(kind, 0 | marker::SOI | marker::EOI) {
        return None;
    }
    let length = usize::from(u16::from_be_bytes(*bytes.get(*at..)?.first_chunk()?));
    let body = bytes.get(*at + 2..*at + length.max(2))?;
    *at += length.max(2);
    Some((kind, body))
}

/// The end of the entropy coded data that starts at `at`: the first marker that is neither a restart nor a stuffed
/// byte (B.1.1.5).
fn scan_end(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    // Searched from behind: the data ends the file but for the end marker and what vendors append to it.
    let is_end = |pair: &[u8]| pair[0] == 0xff && pair[1] == marker::EOI;
    at + rest.windows(2).rposition(is_end).unwrap_or(rest.len())
}

/// Whether every table of a segment is the one that annex K gives for its class and number.
fn is_standard_huffman(mut body: &[u8]) -> bool {
    while let Some((&class, rest)) = body.split_first() {
        let table = HUFFMAN_TABLES.iter().find(|(known, _)| *known == class).map(|(_, table)| *table);
        match table.and_then(|table| rest.strip_prefix(table)) {
            Some(after) => body = after,
            None => return false,
        }
    }
    true
}

/// The tables of annex K.3 by the byte of class and number that stands before each in a segment.
pub const HUFFMAN_TABLES: [(u8, &[u8]); 4] =
    [(0x00, &LUMA_DC), (0x10, &LUMA_AC), (0x01, &CHROMA_DC), (0x11, &CHROMA_AC)];

/// Table K.3: 16 counts of code lengths, then the symbols.
#[rustfmt::skip]
const LUMA_DC: [u8; 28] = [
    0x00, 0x01, 0x05, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07,
    0x08, 0x09, 0x0a, 0x0b,
];

/// Table K.4: 16 counts of code lengths, then the symbols.
#[rustfmt::skip]
const CHROMA_DC: [u8; 28] = [
    0x00, 0x03, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07,
    0x08, 0x09, 0x0a, 0x0b,
];

/// Table K.5: 16 counts of code lengths, then the symbols.
#[rustfmt::skip]
const LUMA_AC: [u8; 178] = [
    0x00, 0x02, 0x01, 0x03, 0x03, 0x02, 0x04, 0x03, 0x05, 0x05, 0x04, 0x04, 0x00, 0x00, 0x01, 0x7d, 0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12,
    0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07, 0x22, 0x71, 0x14, 0x32, 0x81, 0x91, 0xa1, 0x08, 0x23, 0x42, 0xb1, 0xc1, 0x15, 0x52, 0xd1, 0xf0,
    0x24, 0x33, 0x62, 0x72, 0x82, 0x09, 0x0a, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39,
    0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69,
    0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98,
    0x99, 0x9a, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3, 0xc4, 0xc5,
    0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xe1, 0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea,
    0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
];

/// Table K.6: 16 counts of code lengths, then the symbols.
#[rustfmt::skip]
const CHROMA_AC: [u8; 178] = [
    0x00, 0x02, 0x01, 0x02, 0x04, 0x04, 0x03, 0x04, 0x07, 0x05, 0x04, 0x04, 0x00, 0x01, 0x02, 0x77, 0x00, 0x01, 0x02, 0x03, 0x11, 0x04, 0x05, 0x21,
    0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71, 0x13, 0x22, 0x32, 0x81, 0x08, 0x14, 0x42, 0x91, 0xa1, 0xb1, 0xc1, 0x09, 0x23, 0x33, 0x52, 0xf0,
    0x15, 0x62, 0x72, 0xd1, 0x0a, 0x16, 0x24, 0x34, 0xe1, 0x25, 0xf1, 0x17, 0x18, 0x19, 0x1a, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x35, 0x36, 0x37, 0x38,
    0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68,
    0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96,
    0x97, 0x98, 0x99, 0x9a, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3,
    0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9,
    0xea, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::media::testing::jpeg;

    #[test]
    fn the_headers_of_a_picture_are_read() {
        let bytes = jpeg((322, 240), [(2, 2), (1, 1), (1, 1)], 4, &[0x11; 30]);
        let picture = Jpeg::parse(&bytes).unwrap();
        assert_eq!(picture.size, PictureSize { width: 322, height: 240 });
        assert_eq!(picture.components.len(), 3);
        assert_eq!((picture.components[0].horizontal, picture.components[0].vertical), (2, 2));
        assert_eq!((picture.restart_interval, picture.standard_huffman), (4, true));
        assert_eq!(picture.tables.map(|table| table.is_some()), [true, true, false, false]);
        assert_eq!(&bytes[picture.scan], &[0x11; 30]);
    }

    #[test]
    fn what_follows_the_end_does_not_belong_to_the_scan() {
        let mut bytes = jpeg((16, 16), [(2, 1), (1, 1), (1, 1)], 0, &[7; 9]);
        bytes.extend_from_slice(b"vendor's tail");
        assert_eq!(Jpeg::parse(&bytes).unwrap().scan.len(), 9);
        bytes.truncate(bytes.len() - 15);
        assert_eq!(Jpeg::parse(&bytes).unwrap().scan.len(), 9, "a missing end is no fault");
    }

    #[test]
    fn other_tables_are_noticed_and_other_codings_refused() {
        let mut bytes = jpeg((16, 16), [(2, 1), (1, 1), (1, 1)], 0, &[7; 9]);
        let table = bytes.windows(2).position(|pair| pair == [0xff, marker::DHT]).unwrap();
        bytes[table + 6] ^= 1;
        assert!(!Jpeg::parse(&bytes).unwrap().standard_huffman);
        let frame = bytes.windows(2).position(|pair| pair == [0xff, marker::SOF0]).unwrap();
        bytes[frame + 1] = 0xc2;
        assert_eq!(Jpeg::parse(&bytes), Err(JpegError::NotBaseline(0xc2)));
        assert!(Jpeg::parse(b"GIF89a").is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_read_without_a_panic(mut bytes in proptest::collection::vec(any::<u8>(), 2..80), kind in 0xc0_u8..) {
            (bytes[0], bytes[1]) = (0xff, marker::SOI);
            if bytes.len() > 5 {
                (bytes[2], bytes[3], bytes[4]) = (0xff, kind, 0);
            }
            let _ = Jpeg::parse(&bytes);
        }

        #[test]
        fn a_picture_cut_off_or_flipped_anywhere_is_read_without_a_panic(cut in 0_usize..800, flip in 0_usize..800) {
            let mut bytes = jpeg((64, 64), [(2, 2), (1, 1), (1, 1)], 4, &[0xff; 60]);
            if let Some(byte) = bytes.get_mut(flip) {
                *byte ^= 0x55;
            }
            bytes.truncate(cut);
            if let Ok(picture) = Jpeg::parse(&bytes) {
                prop_assert!(picture.scan.end <= bytes.len());
            }
        }
    }
}
