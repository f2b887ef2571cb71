//! What the tests of this room, and of others, share.

use std::sync::Arc;

use super::{Track, TrackDescription, TrackId, TrackSet};

/// The tracks of a source that says this of them, of its first run.
pub(crate) fn track_set(tracks: Vec<TrackDescription>) -> TrackSet {
    let track = |(id, description): (usize, TrackDescription)| {
        let TrackDescription { kind, clock_rate, parameters } = description;
        Arc::new(Track {
            id: TrackId(id as u8),
            kind,
            clock_rate,
            parameters,
            derived_from: None,
            generation: 1,
            revision: 0,
        })
    };
    TrackSet { generation: 1, tracks: tracks.into_iter().enumerate().map(track).collect() }
}

/// Bytes from hexadecimal digits; blanks are passed over.
pub(crate) fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u32> = digits.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16).unwrap()).collect();
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}

/// A baseline JPEG with standard Huffman tables around some coded data.
pub(crate) fn jpeg(
    (width, height): (u16, u16),
    sampling: [(u8, u8); 3],
    restart_interval: u16,
    scan: &[u8],
) -> Vec<u8> {
    let mut out = vec![0xff, 0xd8];
    let mut segment = |kind: u8, body: &[u8]| {
        out.extend_from_slice(&[0xff, kind]);
        out.extend_from_slice(&(body.len() as u16 + 2).to_be_bytes());
        out.extend_from_slice(body);
    };
    segment(0xe0, b"JFIF\0\x01\x02\0\0\x01\0\x01\0\0");
    for number in 0..2_u8 {
        segment(0xdb, &[&[number][..], &[16 + number; 64]].concat());
    }
    if restart_interval > 0 {
        segment(0xdd, &restart_interval.to_be_bytes());
    }
    let mut frame = vec![8];
    frame.extend_from_slice(&height.to_be_bytes());
    frame.extend_from_slice(&width.to_be_bytes());
    frame.push(3);
    for (id, (horizontal, vertical)) in (0_u8..).zip(sampling) {
        frame.extend_from_slice(&[id + 1, horizontal << 4 | vertical, id.min(1)]);
    }
    segment(0xc0, &frame);
    for (class, table) in super::jpeg::HUFFMAN_TABLES {
        segment(0xc4, &[&[class], table].concat());
    }
    segment(0xda, &[3, 1, 0, 2, 0x11, 3, 0x11, 0, 63, 0]);
    out.extend_from_slice(scan);
    out.extend_from_slice(&[0xff, 0xd9]);
    out
}
