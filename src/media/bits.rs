//! Reading and writing bits, most significant first, with every step checked; Exp-Golomb codes (H.264 §9.1, H.265
//! §9.2) and the emulation prevention of NAL units (H.264 §7.3.1, H.265 §7.3.1.1).

use std::borrow::Cow;

/// Why a bitstream could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BitstreamError {
    /// It ends before what it announces.
    #[error("bitstream ends at bit {at}")]
    Truncated {
        /// The bit at which more was wanted.
        at: usize,
    },
    /// A value that the standard forbids or that nothing can be made of.
    #[error("{what} is not valid at bit {at}")]
    Invalid {
        /// The standard's name of the element.
        what: &'static str,
        /// The bit behind it.
        at: usize,
    },
    /// Valid, and nothing here reads it.
    #[error("{what} is not supported")]
    Unsupported {
        /// What it is.
        what: &'static str,
    },
}

/// Reads bits from bytes.
#[derive(Clone, Debug)]
pub struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

type Result<T> = std::result::Result<T, BitstreamError>;

impl<'a> BitReader<'a> {
    /// Starts at the first bit.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bits were read.
    pub const fn position(&self) -> usize {
        self.at
    }

    /// How many bits are left.
    pub const fn remaining(&self) -> usize {
        self.bytes.len() * 8 - self.at
    }

    /// The error of a value just read.
    pub const fn invalid(&self, what: &'static str) -> BitstreamError {
        BitstreamError::Invalid { what, at: self.at }
    }

    /// The next `count` bits, 32 at most, as a number.
    pub fn bits(&mut self, count: u32) -> Result<u32> {
        debug_assert!(count <= 32, "a reader of ours asks for more than a number holds");
        if count as usize > self.remaining() {
            return Err(BitstreamError::Truncated { at: self.bytes.len() * 8 });
        }
        let mut value = 0_u64;
        let mut left = count as usize;
        while left > 0 {
            let offset = self.at % 8;
            let taken = left.min(8 - offset);
            let byte = u64::from(self.bytes[self.at / 8]);
            value = value << taken | (byte >> (8 - offset - taken)) & ((1 << taken) - 1);
            self.at += taken;
            left -= taken;
        }
        Ok(value as u32)
    }

    /// The next bit.
    pub fn flag(&mut self) -> Result<bool> {
        Ok(self.bits(1)? == 1)
    }

    /// The next 8 bits.
    pub fn byte(&mut self) -> Result<u8> {
        Ok(self.bits(8)? as u8)
    }

    /// Passes over `count` bits.
    pub const fn skip(&mut self, count: usize) -> Result<()> {
        if count > self.remaining() {
            return Err(BitstreamError::Truncated { at: self.bytes.len() * 8 });
        }
        self.at += count;
        Ok(())
    }

    /// Passes over bits up to the next whole byte, counted from `origin`.
    pub const fn align(&mut self, origin: usize) -> Result<()> {
        self.skip((8 - (self.at - origin) % 8) % 8)
    }

    /// The whole bytes that are left; the position must lie between bytes.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at.div_ceil(8)..).unwrap_or_default()
    }

    /// `ue(v)`: an unsigned Exp-Golomb code.
    pub fn ue(&mut self) -> Result<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return Err(self.invalid("exp-golomb code"));
            }
        }
        Ok((1_u32 << zeros) - 1 + self.bits(zeros)?)
    }

    /// `ue(v)` that may not exceed `most`.
    pub fn ue_up_to(&mut self, most: u32, what: &'static str) -> Result<u32> {
        let value = self.ue()?;
        if value > most { Err(self.invalid(what)) } else { Ok(value) }
    }

    /// `se(v)`: a signed Exp-Golomb code.
    pub fn se(&mut self) -> Result<i32> {
        let code = i64::from(self.ue()?);
        // §9.1.1: odd codes are positive, even ones negative; the range fits 32 bits.
        Ok((if code % 2 == 1 { code / 2 + 1 } else { -(code / 2) }) as i32)
    }
}

/// Writes bits.
#[derive(Clone, Debug, Default)]
pub struct BitWriter {
    bytes: Vec<u8>,
    used: usize,
}

impl BitWriter {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), used: 0 }
    }

    /// Appends the low `count` bits of a number.
    pub fn bits(&mut self, value: u32, count: u32) {
        for shift in (0..count).rev() {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= ((value >> shift & 1) as u8) << (7 - self.used % 8);
            }
            self.used += 1;
        }
    }

    /// Appends a bit.
    pub fn flag(&mut self, value: bool) {
        self.bits(u32::from(value), 1);
    }

    /// The bytes, the last filled with zeros.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// The payload of a NAL unit without emulation prevention bytes, at most `most` bytes of it. Borrowed when there are
/// none to take out.
pub fn unescape(escaped: &[u8], most: usize) -> Cow<'_, [u8]> {
    let escaped = &escaped[..escaped.len().min(most)];
    let is_escape = |window: &[u8]| window == [0, 0, 3];
    let Some(first) = escaped.windows(3).position(is_escape) else {
        return Cow::Borrowed(escaped);
    };
    let mut out = Vec::with_capacity(escaped.len());
    out.extend_from_slice(&escaped[..first]);
    let mut zeros = 0;
    for &byte in &escaped[first..] {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn exp_golomb_codes_read_as_the_standard_tables_them() {
        // H.264 tables 9-2 and 9-3: 1, 010, 011, 00100, 00101.
        let mut reader = BitReader::new(&[0b1010_0110, 0b0100_0010, 0b1000_0000]);
        assert_eq!([(); 5].map(|()| reader.ue().unwrap()), [0, 1, 2, 3, 4]);
        let mut reader = BitReader::new(&[0b1010_0110, 0b0100_0010, 0b1000_0000]);
        assert_eq!([(); 5].map(|()| reader.se().unwrap()), [0, 1, -1, 2, -2]);
    }

    #[test]
    fn the_longest_code_is_read_and_a_longer_one_refused() {
        let mut longest = BitReader::new(&[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(longest.ue(), Ok(u32::MAX - 1));
        assert!(matches!(BitReader::new(&[0; 9]).ue(), Err(BitstreamError::Invalid { .. })));
        assert_eq!(BitReader::new(&[0; 2]).ue(), Err(BitstreamError::Truncated { at: 16 }));
    }

    #[test]
    fn emulation_prevention_is_taken_out_also_in_a_row() {
        assert_eq!(&*unescape(&[1, 0, 0, 3, 1, 0, 0, 3, 0, 0, 3, 3], 99), [1, 0, 0, 1, 0, 0, 0, 0, 3]);
        assert!(matches!(unescape(&[1, 0, 3, 0, 0, 2], 99), Cow::Borrowed(_)));
        assert_eq!(&*unescape(&[1, 2, 3, 4], 2), [1, 2]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(fields in proptest::collection::vec((any::<u32>(), 1_u32..=32), 0..40)) {
            let mut writer = BitWriter::new();
            for (value, count) in &fields {
                writer.bits(*value, *count);
            }
            let bytes = writer.finish();
            let mut reader = BitReader::new(&bytes);
            for (value, count) in fields {
                let expected = (u64::from(value) & ((1 << count) - 1)) as u32;
                prop_assert_eq!(reader.bits(count).unwrap(), expected);
            }
            prop_assert!(reader.remaining() < 8);
        }
    }
}
