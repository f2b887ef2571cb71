//! RTP as a receiver that counts sees it (RFC 3550): the fixed header and the run of sequence numbers.

/// The parts of an RTP header a meter needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) marker: bool,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) ssrc: u32,
    /// Where the payload begins.
    pub(crate) length: usize,
}

impl Header {
    /// RFC 3550 §5.1; `None` for what is no RTP packet of version 2. `data` may be the beginning of a packet only.
    pub(crate) fn parse(data: &[u8]) -> Option<Self> {
        let fixed = data.first_chunk::<12>()?;
        if fixed[0] >> 6 != 2 {
            return None;
        }
        let mut length = 12 + 4 * usize::from(fixed[0] & 0x0f);
        if fixed[0] & 0x10 != 0 {
            // §5.3.1: 16 bits by profile, 16 bits of length in words.
            let extension = data.get(length..length + 4)?;
            length += 4 + 4 * usize::from(u16::from_be_bytes([extension[2], extension[3]]));
        }
        Some(Self {
            marker: fixed[1] & 0x80 != 0,
            sequence: u16::from_be_bytes([fixed[2], fixed[3]]),
            timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
            length,
        })
    }
}

/// Follows the sequence numbers of one track.
#[derive(Debug, Default)]
pub(crate) struct Sequence {
    next: Option<(u32, u16)>,
}

/// How a packet continues the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The first of its source, or the one expected.
    InOrder,
    /// So many are missing before it.
    Gap(u16),
    /// It belongs before one that came already.
    Late,
}

impl Sequence {
    pub(crate) fn follow(&mut self, ssrc: u32, sequence: u16) -> Step {
        let expected = match self.next {
            Some((same, expected)) if same == ssrc => expected,
            _ => sequence,
        };
        let ahead = sequence.wrapping_sub(expected);
        if ahead >= 0x8000 {
            return Step::Late;
        }
        self.next = Some((ssrc, sequence.wrapping_add(1)));
        if ahead == 0 { Step::InOrder } else { Step::Gap(ahead) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_begins_after_sources_and_extension() {
        let plain = [0x80, 0xe0, 0x01, 0x02, 0, 0, 0, 3, 0, 0, 0, 4, 0x65];
        let header = Header::parse(&plain).unwrap();
        assert_eq!(header, Header { marker: true, sequence: 0x0102, timestamp: 3, ssrc: 4, length: 12 });
        let mut rich = plain.to_vec();
        rich[0] = 0x91;
        rich.splice(12..12, [0, 0, 0, 9, 0xbe, 0xde, 0, 1, 1, 2, 3, 4]);
        assert_eq!(Header::parse(&rich).unwrap().length, 24);
    }

    #[test]
    fn what_is_no_rtp_is_refused() {
        assert_eq!(Header::parse(&[]), None);
        assert_eq!(Header::parse(&[0x80; 11]), None);
        assert_eq!(Header::parse(&[0x40; 12]), None);
        let cut = [0x90, 0xe0, 0x01, 0x02, 0, 0, 0, 3, 0, 0, 0, 4, 0xbe, 0xde];
        assert_eq!(Header::parse(&cut), None, "the extension is cut off");
    }

    #[test]
    fn gaps_are_counted_over_the_wrap_and_late_packets_do_not_move_the_run() {
        let mut run = Sequence::default();
        let table = [
            (65_534, Step::InOrder),
            (65_535, Step::InOrder),
            (2, Step::Gap(2)),
            (0, Step::Late),
            (2, Step::Late),
            (3, Step::InOrder),
        ];
        for (sequence, step) in table {
            assert_eq!(run.follow(1, sequence), step, "{sequence}");
        }
        assert_eq!(run.follow(2, 40_000), Step::InOrder, "another source starts its own run");
    }
}
