//! Frames that go out: a header and a payload in one piece of shared bytes. Sans-IO. RFC 6455 §5.2.
//!
//! A server masks nothing (§5.1), so a frame is the same for every client and is made once.

use bytes::{BufMut, Bytes, BytesMut};

/// What a frame carries (§11.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Opcode {
    pub(super) const fn of(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    pub(super) const fn is_control(self) -> bool {
        self as u8 & 8 != 0
    }
}

pub(super) const FIN: u8 = 0x80;
/// RFC 7692 §6: the payload is deflated.
pub(super) const RSV1: u8 = 0x40;
pub(super) const MASK: u8 = 0x80;

/// One whole frame, unfragmented and unmasked.
pub(super) fn frame(opcode: Opcode, deflated: bool, payload: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(10 + payload.len());
    out.put_u8(FIN | if deflated { RSV1 } else { 0 } | opcode as u8);
    // §5.2: the shortest form of the length.
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(len @ ..=125), _) => out.put_u8(len),
        (_, Ok(len)) => {
            out.put_u8(126);
            out.put_u16(len);
        }
        _ => {
            out.put_u8(127);
            out.put_u64(payload.len() as u64);
        }
    }
    out.put_slice(payload);
    out.freeze()
}

/// Masks or unmasks a payload in place (§5.3).
pub(super) fn mask(payload: &mut [u8], key: [u8; 4]) {
    let wide = u64::from_ne_bytes([key[0], key[1], key[2], key[3], key[0], key[1], key[2], key[3]]);
    let mut words = payload.chunks_exact_mut(8);
    for word in &mut words {
        if let Ok(bytes) = <[u8; 8]>::try_from(&*word) {
            word.copy_from_slice(&(u64::from_ne_bytes(bytes) ^ wide).to_ne_bytes());
        }
    }
    for (byte, key) in words.into_remainder().iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_their_shortest_form() {
        for (len, head) in [
            (0, &b"\x81\x00"[..]),
            (125, b"\x81\x7d"),
            (126, b"\x81\x7e\x00\x7e"),
            (127, b"\x81\x7e\x00\x7f"),
            (128, b"\x81\x7e\x00\x80"),
            (65535, b"\x81\x7e\xff\xff"),
            (65536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
        ] {
            let made = frame(Opcode::Text, false, &vec![b'x'; len]);
            assert!(made.starts_with(head) && made.len() == head.len() + len, "{len}");
        }
        assert_eq!(&frame(Opcode::Binary, true, b"ab")[..], b"\xc2\x02ab");
    }

    #[test]
    fn masking_twice_gives_back_what_went_in_whatever_the_length() {
        for len in 0..40_u8 {
            let original: Vec<u8> = (0..len).collect();
            let mut payload = original.clone();
            mask(&mut payload, [1, 2, 3, 4]);
            assert!(payload.iter().zip(&original).enumerate().all(|(i, (m, o))| m ^ o == [1, 2, 3, 4][i % 4]));
            mask(&mut payload, [1, 2, 3, 4]);
            assert_eq!(payload, original);
        }
    }
}
