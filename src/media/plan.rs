//! The plan of a unit: how it is cut into RTP packets, made once for all readers.
//!
//! A plan is values only; the rules that make one stand in `rtp/`, one file per payload format.

use std::ops::Range;

use bytes::Bytes;

/// The longest head of any payload format here: the JPEG header with its restart marker (RFC 2435 §3.1).
pub const HEAD_MAX: usize = 12;

/// The largest payload of one packet, head included. With RTP, SRTP and IPv6 headers it stays under 1280 bytes, the
/// least MTU of IPv6, which a WebRTC viewer may have. Opus packets and those of opaque tracks cannot be cut and may be
/// longer.
pub const PAYLOAD_MAX: usize = 1188;

/// One RTP packet: a head of its own and a slice of bytes that are shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    head: [u8; HEAD_MAX],
    head_len: u8,
    flags: u8,
    body_len: u16,
    body_start: u32,
}

const MARKER: u8 = 1;
const IN_LEAD: u8 = 2;

/// Where the slice of a fragment lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// In the unit's payload.
    Payload,
    /// In the plan's lead: bytes that go on the wire and do not stand in the payload.
    Lead,
}

impl Fragment {
    /// A fragment. `None` when the head is longer than [`HEAD_MAX`] or the slice lies beyond what a plan can name.
    pub fn new(head: &[u8], body: Body, range: Range<usize>, marker: bool) -> Option<Self> {
        let mut bytes = [0; HEAD_MAX];
        bytes.get_mut(..head.len())?.copy_from_slice(head);
        let flags = if marker { MARKER } else { 0 } | if body == Body::Lead { IN_LEAD } else { 0 };
        Some(Self {
            head: bytes,
            head_len: head.len() as u8,
            flags,
            body_len: u16::try_from(range.len()).ok()?,
            body_start: u32::try_from(range.start).ok()?,
        })
    }

    /// The bytes between the RTP header and the slice.
    pub fn head(&self) -> &[u8] {
        &self.head[..usize::from(self.head_len)]
    }

    /// Where the slice lies.
    pub const fn body(&self) -> Body {
        if self.flags & IN_LEAD == 0 { Body::Payload } else { Body::Lead }
    }

    /// The slice within its body.
    pub const fn range(&self) -> Range<usize> {
        let start = self.body_start as usize;
        start..start + self.body_len as usize
    }

    /// Whether the RTP marker bit is set.
    pub const fn marker(&self) -> bool {
        self.flags & MARKER != 0
    }

    /// Bytes of the RTP payload: head and slice.
    pub const fn payload_len(&self) -> usize {
        self.head_len as usize + self.body_len as usize
    }
}

/// How one unit is cut into packets.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The number of the first packet on its track; the RTP sequence number is its low 16 bits.
    pub first_packet: u64,
    /// Bytes on the wire that do not stand in the payload: parameter sets at a random access point, tables of a JPEG.
    pub lead: Bytes,
    /// One fragment per packet, in order. Empty when the codec has no payload format here.
    pub fragments: Box<[Fragment]>,
}

impl Plan {
    /// How many packets.
    pub fn packets(&self) -> u64 {
        self.fragments.len() as u64
    }

    /// Bytes of all RTP payloads.
    pub fn payload_len(&self) -> usize {
        self.fragments.iter().map(Fragment::payload_len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fragment_gives_back_what_it_was_made_of() {
        let fragment = Fragment::new(&[0x7c, 0x85], Body::Payload, 70_000..71_000, true).unwrap();
        assert_eq!(fragment.head(), [0x7c, 0x85]);
        assert_eq!((fragment.range(), fragment.body(), fragment.marker()), (70_000..71_000, Body::Payload, true));
        assert_eq!(fragment.payload_len(), 1002);
        assert_eq!(size_of::<Fragment>(), 20);
    }

    #[test]
    fn a_fragment_that_a_plan_cannot_name_is_refused() {
        assert!(Fragment::new(&[0; HEAD_MAX + 1], Body::Payload, 0..1, false).is_none());
        assert!(Fragment::new(&[], Body::Lead, 0..70_000, false).is_none());
    }
}
