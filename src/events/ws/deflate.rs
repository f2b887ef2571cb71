//! Messages deflated without context takeover, ours and theirs: RFC 7692 §7.2. Sans-IO.
//!
//! No state outlives a message, so none is kept by connection: each thread has one deflater and one inflater. What comes
//! in is inflated up to a bound of bytes and of ratio, before anything is allocated for more.

use std::cell::RefCell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// What a deflated message ends with and does not send (§7.2.1): an empty block without compression.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// What a byte may become.
const RATIO_MAX: usize = 100;

/// Fast, since an alert waits for it; JSON is small by its repetitions alone.
const LEVEL: u32 = 3;

/// Why a payload was not inflated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InflateError {
    /// It is no deflated data.
    Corrupt,
    /// It would become more than the bound, or more than a hundred times what it is.
    TooBig,
}

thread_local! {
    static DEFLATER: RefCell<Compress> = RefCell::new(Compress::new(Compression::new(LEVEL), false));
    static INFLATER: RefCell<Decompress> = RefCell::new(Decompress::new(false));
}

/// The payload deflated; nothing if that would not make it smaller.
pub(super) fn deflate(payload: &[u8]) -> Option<Vec<u8>> {
    DEFLATER.with_borrow_mut(|deflater| {
        deflater.reset();
        let mut out = Vec::with_capacity(payload.len() + TAIL.len());
        deflater.compress_vec(payload, &mut out, FlushCompress::Sync).ok()?;
        // What fills all the room is not smaller, and perhaps not whole.
        if out.len() >= payload.len() + TAIL.len() || !out.ends_with(&TAIL) {
            return None;
        }
        out.truncate(out.len() - TAIL.len());
        Some(out)
    })
}

/// The payload inflated, to `most` bytes at most.
pub(super) fn inflate(payload: &[u8], most: usize) -> Result<Vec<u8>, InflateError> {
    let most = most.min(payload.len().saturating_mul(RATIO_MAX));
    INFLATER.with_borrow_mut(|inflater| {
        inflater.reset(false);
        let mut out = Vec::with_capacity((most + 1).min(payload.len().saturating_mul(4)).max(64));
        for input in [payload, &TAIL] {
            let mut rest = input;
            loop {
                let (taken, made) = (inflater.total_in(), out.len());
                let status = inflater
                    .decompress_vec(rest, &mut out, FlushDecompress::Sync)
                    .map_err(|_| InflateError::Corrupt)?;
                if out.len() > most {
                    return Err(InflateError::TooBig);
                }
                rest = &rest[usize::try_from(inflater.total_in() - taken).unwrap_or(rest.len()).min(rest.len())..];
                if status == Status::StreamEnd {
                    // §7.2.3.4: a final block may end a message too.
                    return Ok(out);
                }
                let full = out.len() == out.capacity();
                if rest.is_empty() && !full {
                    break;
                }
                if full {
                    // One byte beyond the bound is room enough to see that it is passed.
                    out.reserve_exact(out.len().min(most + 1 - out.len()));
                } else if out.len() == made && inflater.total_in() == taken {
                    return Err(InflateError::Corrupt);
                }
            }
        }
        Ok(out)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MOST: usize = 65536;

    #[test]
    fn the_examples_of_the_standard_inflate() {
        // RFC 7692 §7.2.3.1 one block, §7.2.3.3 no compression, §7.2.3.4 a final block, §7.2.3.5 two blocks.
        let table: [&[u8]; 4] = [
            &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00],
            &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
            &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
        ];
        for payload in table {
            assert_eq!(inflate(payload, MOST).as_deref(), Ok(&b"Hello"[..]), "{payload:x?}");
        }
        assert_eq!(inflate(&[0xff, 0xff, 0xff], MOST), Err(InflateError::Corrupt));
    }

    #[test]
    fn what_deflating_makes_no_smaller_stays_as_it_is() {
        assert_eq!(deflate(b"{}"), None);
        let text = br#"{"type":"alert","path":"front-door","severity":"warning","data":{"type":"alert"}}"#.repeat(3);
        let small = deflate(&text).unwrap();
        assert!(small.len() < text.len() / 2);
        assert_eq!(inflate(&small, MOST), Ok(text));
    }

    #[test]
    fn a_compression_bomb_stops_at_the_bound() {
        let bomb = |len: usize| deflate(&vec![0; len]).unwrap();
        assert_eq!(inflate(&bomb(16 << 20), MOST), Err(InflateError::TooBig), "bytes");
        assert_eq!(inflate(&bomb(60_000), MOST), Err(InflateError::TooBig), "ratio");
        let exact: Vec<u8> = (0..MOST).map(|i| (i * i / 7) as u8).collect();
        let exact = (deflate(&exact).unwrap(), exact);
        assert_eq!(inflate(&exact.0, MOST).as_ref(), Ok(&exact.1));
        assert_eq!(inflate(&exact.0, MOST - 1), Err(InflateError::TooBig));
    }

    proptest! {
        #[test]
        fn text_survives_and_anything_ends_within_the_bound(text in "[a-c]{0,3000}", noise: Vec<u8>) {
            if let Some(small) = deflate(text.as_bytes()) {
                // Above the ratio nothing is promised.
                if small.len() * RATIO_MAX >= text.len() {
                    prop_assert_eq!(inflate(&small, MOST).unwrap(), text.as_bytes());
                }
            }
            if let Ok(out) = inflate(&noise, 1000) {
                prop_assert!(out.len() <= 1000 && out.capacity() <= 4096);
            }
        }
    }
}
