//! AAC out of RTP (RFC 3640, modes AAC-hbr and AAC-lbr): several access units in one packet, or one over several.
//!
//! The lengths of the header fields come from the format's parameters, so that cameras which choose others are
//! understood. Interleaving (an index that does not count on) is not done, nor are the optional time fields.

use bytes::{Bytes, BytesMut};

/// The lengths of the fields of an AU header in bits (RFC 3640 §3.2.1, §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuHeaderLayout {
    /// `sizeLength`.
    pub size_bits: u8,
    /// `indexLength`.
    pub index_bits: u8,
    /// `indexDeltaLength`.
    pub index_delta_bits: u8,
}

impl AuHeaderLayout {
    /// Mode AAC-hbr (§3.3.6).
    pub const HIGH_BIT_RATE: Self = Self { size_bits: 13, index_bits: 3, index_delta_bits: 3 };
    /// Mode AAC-lbr (§3.3.5).
    pub const LOW_BIT_RATE: Self = Self { size_bits: 6, index_bits: 2, index_delta_bits: 2 };
}

/// Why a packet could not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AacError {
    /// It ends within its headers, or they announce more than there is.
    #[error("aac packet of {0} bytes ends within what it announces")]
    Short(usize),
    /// Access units in another order than they are sent.
    #[error("aac access units are interleaved")]
    Interleaved,
    /// A fragment that does not go on with the one before.
    #[error("aac fragment without a beginning")]
    NoBeginning,
    /// An access unit larger than any can be.
    #[error("aac access unit of {0} bytes")]
    TooLarge(usize),
}

/// One access unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AacUnit {
    /// Its RTP timestamp.
    pub timestamp: i64,
    /// The raw access unit.
    pub payload: Bytes,
    /// Something before it is missing.
    pub after_loss: bool,
}

/// 48 channels of 768 bytes (ISO 14496-3 §4.5.1.1).
const UNIT_MAX: usize = 48 * 768;

/// Turns the packets of one track into access units.
#[derive(Debug)]
pub struct AacAssembler {
    layout: AuHeaderLayout,
    /// Ticks from one access unit to the next.
    unit_ticks: i64,
    /// A unit that goes on: its timestamp, its whole size, what there is.
    partial: Option<(i64, usize, BytesMut)>,
    after_loss: bool,
}

impl AacAssembler {
    /// Begins; `unit_ticks` is how many ticks of the RTP clock an access unit lasts.
    pub fn new(layout: AuHeaderLayout, unit_ticks: u32) -> Self {
        Self { layout, unit_ticks: i64::from(unit_ticks), partial: None, after_loss: false }
    }

    /// Takes the next packet and gives its units to `out`; `lost` says that packets before it are missing.
    ///
    /// # Errors
    /// The packet is of no use; the next ones are taken as ever.
    pub fn push(
        &mut self,
        timestamp: i64,
        lost: bool,
        mut packet: Bytes,
        mut out: impl FnMut(AacUnit),
    ) -> Result<(), AacError> {
        if lost {
            self.after_loss = true;
            self.partial = None;
        }
        let result = self.take(timestamp, &mut packet, &mut out);
        if result.is_err() {
            self.after_loss = true;
            self.partial = None;
        }
        result
    }

    fn take(&mut self, timestamp: i64, packet: &mut Bytes, out: &mut impl FnMut(AacUnit)) -> Result<(), AacError> {
        let short = AacError::Short(packet.len());
        let mut sizes = [0_usize; UNITS_MAX];
        let count = self.read_headers(packet, &mut sizes)?;
        for (i, size) in sizes[..count].iter().copied().enumerate() {
            if size > UNIT_MAX {
                return Err(AacError::TooLarge(size));
            }
            if size > packet.len() {
                // §3.2.3.1: a fragment is alone in its packet, and its header gives the size of the whole unit.
                return if count == 1 { self.take_fragment(timestamp, size, packet, out) } else { Err(short) };
            }
            let payload = packet.split_to(size);
            let timestamp = timestamp + i as i64 * self.unit_ticks;
            if let Some((began, whole, mut partial)) = self.partial.take() {
                // The last fragment may carry its own size, or that of the whole.
                if began == timestamp && partial.len() + payload.len() == whole {
                    partial.extend_from_slice(&payload);
                    self.give(timestamp, partial.freeze(), out);
                    continue;
                }
                self.after_loss = true;
            }
            if !payload.is_empty() {
                self.give(timestamp, payload, out);
            }
        }
        Ok(())
    }

    fn take_fragment(
        &mut self,
        timestamp: i64,
        whole: usize,
        packet: &Bytes,
        out: &mut impl FnMut(AacUnit),
    ) -> Result<(), AacError> {
        match &mut self.partial {
            Some((began, size, partial)) if *began == timestamp && *size == whole => {
                partial.extend_from_slice(packet);
                if partial.len() > whole {
                    return Err(AacError::Short(packet.len()));
                }
                if partial.len() == whole {
                    let (_, _, partial) = self.partial.take().ok_or(AacError::NoBeginning)?;
                    self.give(timestamp, partial.freeze(), out);
                }
            }
            Some(_) => return Err(AacError::NoBeginning),
            None => {
                let mut partial = BytesMut::with_capacity(whole);
                partial.extend_from_slice(packet);
                self.partial = Some((timestamp, whole, partial));
            }
        }
        Ok(())
    }

    fn give(&mut self, timestamp: i64, payload: Bytes, out: &mut impl FnMut(AacUnit)) {
        out(AacUnit { timestamp, payload, after_loss: std::mem::take(&mut self.after_loss) });
    }

    /// §3.2.1: the length of the headers in bits, then the headers; leaves the data in `packet`.
    fn read_headers(&self, packet: &mut Bytes, sizes: &mut [usize; UNITS_MAX]) -> Result<usize, AacError> {
        let short = AacError::Short(packet.len());
        if self.layout.size_bits == 0 {
            // §3.3.4: a constant size, one unit per packet here.
            sizes[0] = packet.len();
            return Ok(1);
        }
        let length = packet.first_chunk::<2>().copied().ok_or(short)?;
        let bits = usize::from(u16::from_be_bytes(length));
        let bytes = bits.div_ceil(8);
        let _ = packet.split_to(2);
        if bytes > packet.len() {
            return Err(short);
        }
        let headers = packet.split_to(bytes);
        let (mut at, mut count) = (0, 0);
        let mut read = |width: u8| {
            let bit = |at: usize| headers.get(at / 8).map_or(0, |byte| usize::from(byte >> (7 - at % 8) & 1));
            let value = (at..at + usize::from(width)).fold(0, |value, at| value << 1 | bit(at));
            at += usize::from(width);
            (value, at)
        };
        loop {
            let index_bits = if count == 0 { self.layout.index_bits } else { self.layout.index_delta_bits };
            let (size, _) = read(self.layout.size_bits);
            let (index, end) = read(index_bits);
            if end > bits {
                break;
            }
            if index != 0 {
                return Err(AacError::Interleaved);
            }
            *sizes.get_mut(count).ok_or(short)? = size;
            count += 1;
        }
        Ok(count)
    }
}

/// Access units in one packet at most: 64 KiB of the smallest.
const UNITS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(sizes: &[usize], data: &[u8]) -> Bytes {
        let mut bytes = ((sizes.len() * 16) as u16).to_be_bytes().to_vec();
        for size in sizes {
            bytes.extend_from_slice(&((*size as u16) << 3).to_be_bytes());
        }
        bytes.extend_from_slice(data);
        bytes.into()
    }

    fn assembler() -> AacAssembler {
        AacAssembler::new(AuHeaderLayout::HIGH_BIT_RATE, 1024)
    }

    type Row = (i64, bool, Bytes);

    type Unit = (i64, Vec<u8>, bool);

    fn run(rows: Vec<Row>) -> (Vec<Unit>, Vec<AacError>) {
        let (mut assembler, mut units, mut errors) = (assembler(), Vec::new(), Vec::new());
        for (timestamp, lost, packet) in rows {
            let out = |unit: AacUnit| units.push((unit.timestamp, unit.payload.to_vec(), unit.after_loss));
            errors.extend(assembler.push(timestamp, lost, packet, out).err());
        }
        (units, errors)
    }

    #[test]
    fn several_units_in_a_packet_are_timed_one_after_another() {
        let (units, errors) = run(vec![(5000, false, packet(&[2, 1], &[1, 2, 3])), (7048, false, packet(&[1], &[4]))]);
        assert_eq!(errors, []);
        assert_eq!(units, [(5000, vec![1, 2], false), (6024, vec![3], false), (7048, vec![4], false)]);
    }

    #[test]
    fn a_unit_over_several_packets_comes_together() {
        let rows =
            vec![(0, false, packet(&[5], &[1, 2])), (0, false, packet(&[5], &[3, 4])), (0, false, packet(&[5], &[5]))];
        assert_eq!(run(rows).0, [(0, vec![1, 2, 3, 4, 5], false)]);
    }

    #[test]
    fn a_lost_fragment_costs_its_unit_and_the_next_one_says_so() {
        let rows =
            vec![(0, false, packet(&[5], &[1, 2])), (0, true, packet(&[5], &[5])), (1024, false, packet(&[1], &[9]))];
        let (units, _) = run(rows);
        assert_eq!(units, [(1024, vec![9], true)]);
    }

    #[test]
    fn headers_that_lie_are_refused_and_harm_nothing_else() {
        for bad in
            [Bytes::new(), Bytes::from_static(&[0]), Bytes::from_static(&[0, 32, 0, 8]), packet(&[1, 9], &[1, 2])]
        {
            let (units, errors) = run(vec![(0, false, bad), (1024, false, packet(&[1], &[7]))]);
            assert_eq!(errors.len(), 1);
            assert_eq!(units.last(), Some(&(1024, vec![7], true)));
        }
        let interleaved = Bytes::from_static(&[0, 16, 0, 8 | 1, 1]);
        assert_eq!(run(vec![(0, false, interleaved)]).1, [AacError::Interleaved]);
    }

    #[test]
    fn the_low_bit_rate_layout_is_read_by_its_lengths() {
        let mut assembler = AacAssembler::new(AuHeaderLayout::LOW_BIT_RATE, 1024);
        let mut units = Vec::new();
        let packet = Bytes::from_static(&[0, 16, 2 << 2, 1 << 2, 1, 2, 3]);
        assembler.push(0, false, packet, |unit| units.push((unit.timestamp, unit.payload.to_vec()))).unwrap();
        assert_eq!(units, [(0, vec![1, 2]), (1024, vec![3])]);
    }

    proptest! {
        #[test]
        fn arbitrary_packets_are_taken_without_a_panic(
            size_bits in 0_u8..20, index_bits in 0_u8..5,
            packets in proptest::collection::vec((0_i64..3, any::<bool>(), proptest::collection::vec(any::<u8>(), 0..60)), 0..20),
        ) {
            let layout = AuHeaderLayout { size_bits, index_bits, index_delta_bits: index_bits };
            let mut assembler = AacAssembler::new(layout, 1024);
            for (timestamp, lost, packet) in packets {
                let _ = assembler.push(timestamp, lost, packet.into(), |_| {});
            }
        }
    }
}
