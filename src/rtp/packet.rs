//! The RTP fixed header: written, and read with every length checked (RFC 3550 §5.1, §5.3.1, appendix A.1).

/// Bytes of the header that is written here: no contributing sources, no extension.
pub const HEADER_LEN: usize = 12;

/// The fields of the fixed header that vary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the marker means is the payload format's to say; mostly the last packet of a unit.
    pub marker: bool,
    /// 7 bits.
    pub payload_type: u8,
    /// Counts packets.
    pub sequence: u16,
    /// Ticks of the track's clock.
    pub timestamp: u32,
    /// The synchronisation source.
    pub ssrc: u32,
}

impl Header {
    /// The header's bytes.
    pub const fn bytes(self) -> [u8; HEADER_LEN] {
        let marker = if self.marker { 0x80 } else { 0 };
        let [s0, s1] = self.sequence.to_be_bytes();
        let [t0, t1, t2, t3] = self.timestamp.to_be_bytes();
        let [i0, i1, i2, i3] = self.ssrc.to_be_bytes();
        [0x80, marker | self.payload_type & 0x7f, s0, s1, t0, t1, t2, t3, i0, i1, i2, i3]
    }
}

/// A packet as it came, its parts pointing into the datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The fixed header.
    pub header: Header,
    /// How many contributing sources it names.
    pub contributors: u8,
    /// The profile's word and the bytes of a header extension (RFC 3550 §5.3.1).
    pub extension: Option<(u16, &'a [u8])>,
    /// What is carried, padding taken off. [`bytes::Bytes::slice_ref`] makes it shared.
    pub payload: &'a [u8],
}

/// Why bytes are not an RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PacketError {
    /// It ends within the header, its contributing sources or its extension.
    #[error("rtp packet of {len} bytes ends within its header")]
    Short {
        /// Bytes there are.
        len: usize,
    },
    /// Another version than 2.
    #[error("rtp version {0} is not 2")]
    Version(u8),
    /// The padding count is zero or longer than what is there.
    #[error("rtp padding of {padding} bytes does not fit into {len}")]
    Padding {
        /// The count in the last byte.
        padding: u8,
        /// Bytes after the header.
        len: usize,
    },
}

impl<'a> Packet<'a> {
    /// Reads a packet.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, PacketError> {
        let short = PacketError::Short { len: bytes.len() };
        let (fixed, rest) = bytes.split_first_chunk::<HEADER_LEN>().ok_or(short)?;
        let [b0, b1, s0, s1, t0, t1, t2, t3, i0, i1, i2, i3] = *fixed;
        // RFC 3550 A.1: the version first, it tells RTP from anything else.
        if b0 >> 6 != 2 {
            return Err(PacketError::Version(b0 >> 6));
        }
        let contributors = b0 & 0x0f;
        let mut rest = rest.get(usize::from(contributors) * 4..).ok_or(short)?;
        let mut extension = None;
        if b0 & 0x10 != 0 {
            // §5.3.1: a word of the profile's own, then the number of 32-bit words that follow.
            let (&[p0, p1, n0, n1], after) = rest.split_first_chunk::<4>().ok_or(short)?;
            let words = usize::from(u16::from_be_bytes([n0, n1]));
            let (body, after) = after.split_at_checked(words * 4).ok_or(short)?;
            extension = Some((u16::from_be_bytes([p0, p1]), body));
            rest = after;
        }
        if b0 & 0x20 != 0 {
            // §5.1: the last byte counts the padding, itself included.
            let padding = rest.last().copied().unwrap_or(0);
            let kept = rest.len().checked_sub(usize::from(padding)).filter(|_| padding > 0);
            rest = kept.and_then(|kept| rest.get(..kept)).ok_or(PacketError::Padding { padding, len: rest.len() })?;
        }
        let header = Header {
            marker: b1 & 0x80 != 0,
            payload_type: b1 & 0x7f,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([i0, i1, i2, i3]),
        };
        Ok(Self { header, contributors, extension, payload: rest })
    }
}

/// Whether a datagram on a port shared by both is RTCP: its second byte lies where no payload type with or without
/// marker may (RFC 5761 §4).
pub fn is_rtcp(datagram: &[u8]) -> bool {
    matches!(datagram, [first, 192..=223, ..] if first >> 6 == 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEADER: Header =
        Header { marker: true, payload_type: 96, sequence: 0xfffe, timestamp: 0x8000_0001, ssrc: 0xdead_beef };

    #[test]
    fn what_was_written_is_read() {
        let mut bytes = HEADER.bytes().to_vec();
        bytes.extend_from_slice(b"payload");
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!(packet, Packet { header: HEADER, contributors: 0, extension: None, payload: b"payload" });
    }

    #[test]
    fn contributing_sources_extension_and_padding_are_taken_off() {
        let mut bytes = HEADER.bytes().to_vec();
        bytes[0] |= 0x30 | 2;
        bytes.extend_from_slice(&[1; 8]);
        bytes.extend_from_slice(&[0xbe, 0xde, 0, 1, 9, 9, 9, 9]);
        bytes.extend_from_slice(b"kept");
        bytes.extend_from_slice(&[0, 0, 3]);
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!((packet.contributors, packet.extension), (2, Some((0xbede, &[9; 4][..]))));
        assert_eq!(packet.payload, b"kept");
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        let fixed = HEADER.bytes();
        assert_eq!(Packet::parse(&fixed[..11]), Err(PacketError::Short { len: 11 }));
        for first in [0x81, 0x90] {
            let mut bytes = fixed;
            bytes[0] = first;
            assert_eq!(Packet::parse(&bytes), Err(PacketError::Short { len: 12 }));
        }
        let mut version = fixed;
        version[0] = 0x40;
        assert_eq!(Packet::parse(&version), Err(PacketError::Version(1)));
        for (tail, padding) in [(&[][..], 0), (&[0], 0), (&[1, 3], 3)] {
            let mut bytes = fixed.to_vec();
            bytes[0] |= 0x20;
            bytes.extend_from_slice(tail);
            assert_eq!(Packet::parse(&bytes), Err(PacketError::Padding { padding, len: tail.len() }));
        }
    }

    #[test]
    fn rtcp_is_told_from_rtp_with_marker() {
        assert!(is_rtcp(&[0x80, 200, 0, 6]));
        assert!(!is_rtcp(&HEADER.bytes()));
        assert!(!is_rtcp(&[0x16, 200]));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(packet) = Packet::parse(&bytes) {
                prop_assert!(packet.payload.len() + HEADER_LEN <= bytes.len());
            }
        }
    }
}
