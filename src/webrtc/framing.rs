//! RFC 4571 framing, sans-IO: datagrams over the stream of an ICE-TCP connection (RFC 6544 §3), each behind its length.
//!
//! It owns the bytes of the datagram that is not complete yet, no more. It knows nothing of what is in them but for the
//! very first: a connection that does not begin with a STUN request of a viewer is none of ours.

use bytes::{Buf as _, BufMut, Bytes, BytesMut};

/// The most bytes of a datagram from a viewer. What WebRTC sends fits in an Ethernet frame; RFC 4571 would allow 64 KiB.
pub const DATAGRAM_MAX: usize = 2048;
/// The bytes of a length.
pub const PREFIX_LEN: usize = 2;

/// A frame announced more than [`DATAGRAM_MAX`] bytes: the stream is of no use any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("frame of {0} bytes is longer than {DATAGRAM_MAX}")]
pub struct TooLong(pub usize);

/// Cuts a stream into datagrams.
#[derive(Debug, Default)]
pub struct Frames {
    buffer: BytesMut,
}

impl Frames {
    /// Takes what came. At most [`DATAGRAM_MAX`] and what one call brings is held, if every call is followed by
    /// [`Frames::next_datagram`] until there is none.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete datagram. Empty ones, which some stacks send to keep the way open, are passed over.
    ///
    /// # Errors
    /// [`TooLong`]; the connection should be closed.
    pub fn next_datagram(&mut self) -> Result<Option<BytesMut>, TooLong> {
        loop {
            let Some(length) = self.buffer.first_chunk().map(|length| usize::from(u16::from_be_bytes(*length))) else {
                return Ok(None);
            };
            if length > DATAGRAM_MAX {
                return Err(TooLong(length));
            }
            if self.buffer.len() < PREFIX_LEN + length {
                return Ok(None);
            }
            self.buffer.advance(PREFIX_LEN);
            let datagram = self.buffer.split_to(length);
            if !datagram.is_empty() {
                return Ok(Some(datagram));
            }
        }
    }

    /// Bytes that wait for the rest of their datagram.
    pub fn pending(&self) -> usize {
        self.buffer.len()
    }
}

/// Appends a datagram behind its length.
///
/// # Panics
/// The datagram has more bytes than 16 bits can say.
pub fn frame(datagram: &[u8], out: &mut impl BufMut) {
    out.put_u16(u16::try_from(datagram.len()).expect("a datagram should have at most 65535 bytes"));
    out.put_slice(datagram);
}

/// A datagram behind its length, on its own.
///
/// # Panics
/// As [`frame`].
pub fn framed(datagram: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(PREFIX_LEN + datagram.len());
    frame(datagram, &mut out);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(frames: &mut Frames) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| frames.next_datagram().unwrap().map(|datagram| datagram.to_vec())).collect()
    }

    #[test]
    fn a_frame_that_is_too_long_ends_the_stream_at_its_length() {
        let mut frames = Frames::default();
        frames.push(&framed(&[7; DATAGRAM_MAX]));
        assert_eq!(all(&mut frames), [[7; DATAGRAM_MAX]]);
        frames.push(&[0x08, 0x01]);
        assert_eq!(frames.next_datagram(), Err(TooLong(DATAGRAM_MAX + 1)));
    }

    proptest! {
        #[test]
        fn datagrams_come_out_as_they_went_in_whatever_the_pieces(
            datagrams in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..20),
            piece in 1..700_usize,
        ) {
            let mut stream = Vec::new();
            for datagram in &datagrams {
                frame(datagram, &mut stream);
            }
            let (mut frames, mut out) = (Frames::default(), Vec::new());
            for bytes in stream.chunks(piece) {
                frames.push(bytes);
                out.extend(all(&mut frames));
                prop_assert!(frames.pending() < PREFIX_LEN + DATAGRAM_MAX);
            }
            let sent: Vec<_> = datagrams.into_iter().filter(|datagram| !datagram.is_empty()).collect();
            prop_assert_eq!(out, sent);
        }
    }
}
