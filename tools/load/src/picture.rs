//! When a decoder that joined now could show its first picture: parameter sets known, and a random access point whole.
//!
//! Looks into RTP payloads of H.264 (RFC 6184) and H.265 (RFC 7798). Of other codecs every packet is taken for a start.

use crate::rtp::Header;

/// How a video track is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    H264,
    H265,
    Other,
}

/// What a packet brought the decoder, the first time it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Nothing new.
    None,
    /// The first packet of a random access point.
    Key,
    /// The last packet of a whole random access point, with all parameter sets known.
    Picture,
}

/// The sets and slices found in one payload, or known already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) video: bool,
    pub(crate) sequence: bool,
    pub(crate) picture: bool,
    pub(crate) key: bool,
}

/// Watches one video track until its first picture.
#[derive(Debug)]
pub(crate) struct PictureWatch {
    packing: Packing,
    known: Found,
    /// The timestamp of the random access point under way, and whether it began without a gap.
    under_way: Option<u32>,
    key_seen: bool,
    done: bool,
}

impl PictureWatch {
    /// `sets_known`: the description carried the parameter sets.
    pub(crate) fn new(packing: Packing, sets_known: bool) -> Self {
        let known = Found { video: sets_known, sequence: sets_known, picture: sets_known, key: false };
        Self { packing, known, under_way: None, key_seen: false, done: false }
    }

    pub(crate) const fn is_done(&self) -> bool {
        self.done
    }

    /// `gap`: packets are missing before this one. `payload` may be cut after its first bytes.
    pub(crate) fn handle_packet(&mut self, header: Header, payload: &[u8], gap: bool) -> Progress {
        if self.done {
            return Progress::None;
        }
        let found = look(self.packing, payload);
        self.known.video |= found.video;
        self.known.sequence |= found.sequence;
        self.known.picture |= found.picture;
        let mut progress = Progress::None;
        match self.under_way {
            Some(timestamp) if timestamp != header.timestamp => {
                // The marker of the picture before was missing or not set: it is whole if nothing is missing.
                self.under_way = None;
                if !gap && self.is_ready() {
                    self.done = true;
                    return Progress::Picture;
                }
            }
            Some(_) if gap => self.under_way = None,
            _ => {}
        }
        if found.key && self.under_way.is_none() {
            self.under_way = Some(header.timestamp);
            if !self.key_seen {
                self.key_seen = true;
                progress = Progress::Key;
            }
        }
        if header.marker && self.under_way == Some(header.timestamp) && self.is_ready() {
            self.done = true;
            progress = Progress::Picture;
        }
        progress
    }

    fn is_ready(&self) -> bool {
        match self.packing {
            Packing::H264 => self.known.sequence && self.known.picture,
            Packing::H265 => self.known.video && self.known.sequence && self.known.picture,
            Packing::Other => true,
        }
    }
}

fn look(packing: Packing, payload: &[u8]) -> Found {
    let mut found = Found::default();
    match (packing, payload) {
        (Packing::Other, _) => found.key = true,
        (Packing::H264, [head, rest @ ..]) => match head & 0x1f {
            // RFC 6184 §5.7.1 STAP-A: 16 bits of size before each NAL unit.
            24 => each_sized(rest, |nal| note_h264(nal[0] & 0x1f, &mut found)),
            // §5.8 FU-A, FU-B: the start bit and the type of the whole.
            28 | 29 if rest.first().is_some_and(|fu| fu & 0x80 != 0) => note_h264(rest[0] & 0x1f, &mut found),
            kind => note_h264(kind, &mut found),
        },
        (Packing::H265, [head, _, rest @ ..]) => match head >> 1 & 0x3f {
            // RFC 7798 §4.4.2 aggregation packet.
            48 => each_sized(rest, |nal| note_h265(nal[0] >> 1 & 0x3f, &mut found)),
            // §4.4.3 fragmentation unit.
            49 if rest.first().is_some_and(|fu| fu & 0x80 != 0) => note_h265(rest[0] & 0x3f, &mut found),
            kind => note_h265(kind, &mut found),
        },
        _ => {}
    }
    found
}

fn each_sized(mut rest: &[u8], mut on: impl FnMut(&[u8])) {
    while let Some((size, tail)) = rest.split_first_chunk::<2>() {
        let size = usize::from(u16::from_be_bytes(*size));
        if size == 0 || tail.is_empty() {
            return;
        }
        on(tail);
        rest = tail.get(size..).unwrap_or_default();
    }
}

/// ITU-T H.264 table 7-1.
fn note_h264(kind: u8, found: &mut Found) {
    match kind {
        5 => found.key = true,
        7 => found.sequence = true,
        8 => found.picture = true,
        _ => {}
    }
}

/// ITU-T H.265 table 7-1: 16 to 21 are the random access points (BLA, IDR, CRA).
fn note_h265(kind: u8, found: &mut Found) {
    match kind {
        16..=21 => found.key = true,
        32 => found.video = true,
        33 => found.sequence = true,
        34 => found.picture = true,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(timestamp: u32, marker: bool) -> Header {
        Header { marker, sequence: 0, timestamp, ssrc: 0, length: 12 }
    }

    #[test]
    fn h264_nal_units_are_found_alone_together_and_in_fragments() {
        let key = Found { key: true, ..Found::default() };
        let sets = Found { sequence: true, picture: true, ..Found::default() };
        let table: [(&[u8], Found); 8] = [
            (&[0x65, 1], key),
            (&[0x41, 1], Found::default()),
            (&[0x78, 0, 2, 0x67, 1, 0, 1, 0x68], sets),
            (&[0x78, 0, 1, 0x67, 0, 200, 0x68, 1], sets),
            (&[0x78, 0, 0, 0x67], Found::default()),
            (&[0x7c, 0x85, 1], key),
            (&[0x7c, 0x05, 1], Found::default()),
            (&[], Found::default()),
        ];
        for (payload, found) in table {
            assert_eq!(look(Packing::H264, payload), found, "{payload:x?}");
        }
    }

    #[test]
    fn h265_random_access_points_include_cra() {
        let key = Found { key: true, ..Found::default() };
        let table: [(&[u8], Found); 6] = [
            (&[19 << 1, 1, 0], key),
            (&[21 << 1, 1, 0], key),
            (&[1 << 1, 1, 0], Found::default()),
            (&[49 << 1, 1, 0x80 | 19, 0], key),
            (&[49 << 1, 1, 19, 0], Found::default()),
            (
                &[48 << 1, 1, 0, 3, 32 << 1, 1, 0, 0, 3, 33 << 1, 1, 0, 0, 3, 34 << 1, 1, 0],
                Found { video: true, sequence: true, picture: true, key: false },
            ),
        ];
        for (payload, found) in table {
            assert_eq!(look(Packing::H265, payload), found, "{payload:x?}");
        }
    }

    #[test]
    fn the_picture_is_there_with_the_last_packet_of_a_whole_random_access_point() {
        let mut watch = PictureWatch::new(Packing::H264, true);
        assert_eq!(watch.handle_packet(header(0, true), &[0x41], false), Progress::None);
        assert_eq!(watch.handle_packet(header(9, false), &[0x7c, 0x85], false), Progress::Key);
        assert_eq!(watch.handle_packet(header(9, false), &[0x7c, 0x05], false), Progress::None);
        assert_eq!(watch.handle_packet(header(9, true), &[0x7c, 0x45], false), Progress::Picture);
        assert!(watch.is_done());
    }

    #[test]
    fn without_parameter_sets_there_is_no_picture() {
        let mut watch = PictureWatch::new(Packing::H264, false);
        assert_eq!(watch.handle_packet(header(9, true), &[0x65], false), Progress::Key);
        assert_eq!(watch.handle_packet(header(18, false), &[0x67], false), Progress::None);
        assert_eq!(watch.handle_packet(header(18, false), &[0x68], false), Progress::None);
        assert_eq!(watch.handle_packet(header(18, true), &[0x65], false), Progress::Picture);
    }

    #[test]
    fn a_random_access_point_with_a_hole_does_not_count() {
        let mut watch = PictureWatch::new(Packing::H264, true);
        assert_eq!(watch.handle_packet(header(9, false), &[0x7c, 0x85], false), Progress::Key);
        assert_eq!(watch.handle_packet(header(9, true), &[0x7c, 0x45], true), Progress::None);
        assert_eq!(watch.handle_packet(header(18, true), &[0x65], false), Progress::Picture);
    }

    #[test]
    fn a_missing_marker_is_made_up_for_by_the_next_timestamp() {
        let mut watch = PictureWatch::new(Packing::H264, true);
        assert_eq!(watch.handle_packet(header(9, false), &[0x65], false), Progress::Key);
        assert_eq!(watch.handle_packet(header(18, false), &[0x41], false), Progress::Picture);
    }
}
