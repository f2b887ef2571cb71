//! Packets of H.264 and H.265 back to access units: single NAL units, aggregation and fragmentation (RFC 6184 §5.6–5.8,
//! RFC 7798 §4.4.1–4.4.3). One machine for both: they differ in the length of the NAL unit header and in two numbers.
//!
//! A unit comes out with its parameter sets apart, without delimiters and filler, and whole: one that misses a packet
//! inside is dropped, and the next one says so. Cameras that err are understood: byte streams with start codes inside a
//! packet, markers on every slice or on none, fragments that lack their end, parameter sets with the timestamp before.
//! Interleaved H.264 (STAP-B, MTAP, FU-B) and PACI are refused packet by packet. The payload is copied once, at the end.
//! The file is longer than most: the rules of both formats stand side by side.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

use crate::media::{h264, h265, nal};

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the codecs' own")]
pub enum NalFormat {
    H264,
    H265,
}

/// A whole access unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssembledUnit {
    /// The RTP timestamp its packets carried.
    pub timestamp: i64,
    /// Length-prefixed NAL units without parameter sets, delimiters and filler.
    pub payload: Bytes,
    /// The parameter sets that came with it, in order.
    pub parameter_sets: Vec<Bytes>,
    /// Something between the unit before and this one is missing.
    pub after_loss: bool,
}

/// Why a packet could not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AssembleError {
    /// The forbidden bit is set: something on the way says the packet is damaged.
    #[error("nal unit header {0:#04x} has its forbidden bit set")]
    Forbidden(u8),
    /// A packet type that is not carried here, or that does not exist.
    #[error("nal unit type {0} is not carried")]
    Type(u8),
    /// It ends within its headers, or an aggregate's length points past its end.
    #[error("packet of {0} bytes ends within a nal unit")]
    Short(usize),
    /// A fragment whose beginning did not come.
    #[error("fragment without a beginning")]
    NoBeginning,
    /// More than a unit may hold.
    #[error("access unit is larger than {UNIT_MAX} bytes")]
    TooLarge,
}

/// An access unit holds at most this; a ring would keep nothing beside it.
pub const UNIT_MAX: usize = 8 << 20;

/// NAL units and pieces of them in an access unit at most: one per packet of the largest.
const PIECES_MAX: usize = 32 * 1024;

/// Finished units that were not pulled; pushing one packet finishes two at most.
const READY_MAX: usize = 8;

/// Turns the packets of one track into access units.
#[derive(Debug)]
pub struct NalAssembler {
    format: NalFormat,
    /// Packets carry decoding order numbers (RFC 7798 §4.4, `sprop-max-don-diff` greater than zero).
    decoding_order_numbers: bool,
    timestamp: Option<i64>,
    nals: Vec<Nal>,
    pieces: Vec<Bytes>,
    size: usize,
    has_slices: bool,
    /// The last NAL unit in `nals` waits for more fragments.
    open: bool,
    /// The rest of the packets with this timestamp is of no use.
    damaged: Option<i64>,
    /// The timestamp of the unit that a marker ended last.
    marked: Option<i64>,
    /// Markers stand on every slice: only the next timestamp ends a unit.
    markers_lie: bool,
    after_loss: bool,
    ready: VecDeque<AssembledUnit>,
}

/// A NAL unit as its pieces: a header of its own for fragments, none where the first piece begins with it.
#[derive(Clone, Copy, Debug)]
struct Nal {
    header: [u8; 2],
    header_len: u8,
    kind: u8,
    pieces: u32,
    len: usize,
}

impl NalAssembler {
    /// Begins; `decoding_order_numbers` says whether H.265 packets carry them.
    pub fn new(format: NalFormat, decoding_order_numbers: bool) -> Self {
        Self {
            format,
            decoding_order_numbers: decoding_order_numbers && format == NalFormat::H265,
            timestamp: None,
            nals: Vec::new(),
            pieces: Vec::new(),
            size: 0,
            has_slices: false,
            open: false,
            damaged: None,
            marked: None,
            markers_lie: false,
            after_loss: false,
            ready: VecDeque::with_capacity(2),
        }
    }

    /// Takes the next packet; `lost` says that packets before it are missing.
    ///
    /// # Errors
    /// The packet is of no use, and neither is the unit it belongs to; the next ones are taken as ever.
    pub fn push(&mut self, timestamp: i64, marker: bool, lost: bool, payload: Bytes) -> Result<(), AssembleError> {
        if lost {
            self.after_loss = true;
            if let Some(current) = self.timestamp {
                // The missing packets may be the end of the unit that was being assembled.
                self.discard();
                if current == timestamp {
                    self.damaged = Some(timestamp);
                }
            }
        }
        if self.damaged.is_some_and(|damaged| damaged == timestamp) {
            return Ok(());
        }
        self.damaged = None;
        if self.timestamp.is_some_and(|current| current != timestamp) {
            if self.has_slices {
                self.finish();
            } else {
                self.keep_parameter_sets();
            }
        }
        self.timestamp = Some(timestamp);
        let taken = if payload.is_empty() { Ok(()) } else { self.take(payload, lost) };
        match taken {
            Ok(()) => {}
            // RFC 6184 §5.4, RFC 7798 §4.4: receivers ignore reserved types; nothing else is harmed.
            Err(AssembleError::Type(kind)) if self.is_reserved(kind) => return taken,
            Err(_) => {
                self.discard();
                (self.damaged, self.after_loss) = (Some(timestamp), true);
                return taken;
            }
        }
        if self.damaged.is_none() && marker && self.has_slices && !self.markers_lie {
            self.finish();
            self.marked = Some(timestamp);
        }
        Ok(())
    }

    /// The next whole unit, until there is none.
    pub fn pull(&mut self) -> Option<AssembledUnit> {
        self.ready.pop_front()
    }

    const fn is_reserved(&self, kind: u8) -> bool {
        match self.format {
            NalFormat::H264 => matches!(kind, 0 | 30 | 31),
            NalFormat::H265 => kind > 50,
        }
    }

    const fn header_len(&self) -> usize {
        match self.format {
            NalFormat::H264 => 1,
            NalFormat::H265 => 2,
        }
    }

    fn kind(&self, unit: &[u8]) -> u8 {
        match self.format {
            NalFormat::H264 => h264::unit_type(unit),
            NalFormat::H265 => h265::unit_type(unit),
        }
    }

    fn take(&mut self, mut payload: Bytes, lost: bool) -> Result<(), AssembleError> {
        let first = payload[0];
        if first & 0x80 != 0 {
            return Err(AssembleError::Forbidden(first));
        }
        if payload.len() < self.header_len() {
            return Err(AssembleError::Short(payload.len()));
        }
        match (self.format, self.kind(&payload)) {
            (NalFormat::H264, 24) => self.take_aggregate(payload, 1, 0, 0),
            (NalFormat::H264, 28) => {
                let (indicator, fu) = (first, *payload.get(1).ok_or(AssembleError::Short(payload.len()))?);
                let header = [indicator & 0x60 | fu & 0x1f, 0];
                payload.advance(2);
                self.take_fragment(payload, header, fu, lost)
            }
            (NalFormat::H264, kind @ (0 | 25..)) => Err(AssembleError::Type(kind)),
            (NalFormat::H265, 48) => {
                let (donl, dond) = if self.decoding_order_numbers { (2, 1) } else { (0, 0) };
                self.take_aggregate(payload, 2, donl, dond)
            }
            (NalFormat::H265, 49) => {
                let fu = *payload.get(2).ok_or(AssembleError::Short(payload.len()))?;
                let header = [first & 0x81 | (fu & 0x3f) << 1, payload[1]];
                // §4.4.3: the number stands in the fragment that begins a NAL unit.
                let skip = if self.decoding_order_numbers && fu & FU_START != 0 { 5 } else { 3 };
                if payload.len() < skip {
                    return Err(AssembleError::Short(payload.len()));
                }
                payload.advance(skip);
                self.take_fragment(payload, header, fu, lost)
            }
            (NalFormat::H265, kind @ 50..) => Err(AssembleError::Type(kind)),
            _ if self.decoding_order_numbers => {
                if payload.len() < 5 {
                    return Err(AssembleError::Short(payload.len()));
                }
                let (header, kind) = ([first, payload[1]], self.kind(&payload));
                self.begin_nal(header, 2, kind)?;
                self.open = false;
                payload.advance(4);
                self.add_piece(payload)
            }
            _ => self.add_whole(payload),
        }
    }

    /// RFC 6184 §5.7.1, RFC 7798 §4.4.2: NAL units, each after its length in two bytes.
    fn take_aggregate(
        &mut self,
        packet: Bytes,
        head: usize,
        mut donl: usize,
        dond: usize,
    ) -> Result<(), AssembleError> {
        let short = AssembleError::Short(packet.len());
        let mut rest = packet;
        let _ = rest.split_to(head);
        while !rest.is_empty() {
            if rest.len() < donl + 2 {
                return Err(short);
            }
            let _ = rest.split_to(donl);
            donl = dond;
            let length = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
            if length > rest.len() - 2 {
                return Err(short);
            }
            let _ = rest.split_to(2);
            let unit = rest.split_to(length);
            if unit.len() >= self.header_len() {
                self.add_whole(unit)?;
            }
        }
        Ok(())
    }

    /// RFC 6184 §5.8, RFC 7798 §4.4.3.
    fn take_fragment(&mut self, body: Bytes, header: [u8; 2], fu: u8, lost: bool) -> Result<(), AssembleError> {
        if fu & FU_START != 0 {
            let (header_len, kind) = (self.header_len() as u8, self.kind(&header));
            if !self.admits(kind, body.first()) {
                return Ok(());
            }
            // A fragment that is beginning and end at once is forbidden, and sent; it is a whole NAL unit.
            self.begin_nal(header, header_len, kind)?;
        } else if !self.open {
            if self.marked.is_some() && self.marked == self.timestamp && !lost {
                self.marker_lied();
                return Ok(());
            }
            return Err(AssembleError::NoBeginning);
        }
        self.open = fu & FU_END == 0;
        self.add_piece(body)
    }

    fn add_whole(&mut self, unit: Bytes) -> Result<(), AssembleError> {
        let kind = self.kind(&unit);
        if !self.admits(kind, unit.get(self.header_len())) {
            return Ok(());
        }
        self.begin_nal([0; 2], 0, kind)?;
        self.open = false;
        self.add_piece(unit)
    }

    fn begin_nal(&mut self, header: [u8; 2], header_len: u8, kind: u8) -> Result<(), AssembleError> {
        if self.nals.len() >= PIECES_MAX {
            return Err(AssembleError::TooLarge);
        }
        self.has_slices |= self.is_slice(kind);
        self.open = true;
        let len = usize::from(header_len);
        self.size += len + nal::LENGTH_SIZE;
        self.nals.push(Nal { header, header_len, kind, pieces: 0, len });
        Ok(())
    }

    fn add_piece(&mut self, piece: Bytes) -> Result<(), AssembleError> {
        let Some(nal) = self.nals.last_mut() else { return Ok(()) };
        if self.size + piece.len() > UNIT_MAX || self.pieces.len() >= PIECES_MAX {
            return Err(AssembleError::TooLarge);
        }
        self.size += piece.len();
        nal.len += piece.len();
        nal.pieces += 1;
        // A byte stream that begins with a delimiter or a parameter set may hold the whole picture.
        if !self.has_slices && nal::holds_start_code(&piece) {
            self.has_slices = nal::annex_b_units(&piece).any(|inner| self.is_slice(self.kind(inner)));
        }
        self.pieces.push(piece);
        Ok(())
    }

    /// Whether a NAL unit with this byte after its header is wanted. A slice that goes on with a picture that a marker
    /// ended shows that markers mean nothing here.
    fn admits(&mut self, kind: u8, body: Option<&u8>) -> bool {
        let goes_on = self.is_slice(kind) && body.is_some_and(|byte| byte & FIRST_SLICE == 0);
        if goes_on && self.marked.is_some() && self.marked == self.timestamp && !self.has_slices {
            self.marker_lied();
        }
        self.damaged.is_none()
    }

    /// The unit given out last was not whole, and the rest of it is of no use; the next ones will be.
    fn marker_lied(&mut self) {
        (self.markers_lie, self.after_loss) = (true, true);
        self.discard();
        self.damaged = self.marked;
    }

    const fn is_slice(&self, kind: u8) -> bool {
        match self.format {
            NalFormat::H264 => matches!(kind, 1..=5),
            NalFormat::H265 => kind < 32,
        }
    }

    const fn is_parameter_set(&self, kind: u8) -> bool {
        match self.format {
            NalFormat::H264 => matches!(kind, 7 | 8),
            NalFormat::H265 => matches!(kind, 32..=34),
        }
    }

    /// Delimiters and filler say nothing to a decoder (H.264 §7.4.2.4, §7.4.2.7).
    const fn is_ballast(&self, kind: u8) -> bool {
        match self.format {
            NalFormat::H264 => matches!(kind, 9 | 12),
            NalFormat::H265 => matches!(kind, 35 | 38),
        }
    }

    fn discard(&mut self) {
        self.nals.clear();
        self.pieces.clear();
        (self.timestamp, self.size, self.has_slices, self.open) = (None, 0, false, false);
    }

    /// What came before any slice belongs to the next unit when it is a parameter set: some cameras send those with the
    /// timestamp of the picture before.
    fn keep_parameter_sets(&mut self) {
        let mut pieces = std::mem::take(&mut self.pieces).into_iter();
        let nals = std::mem::take(&mut self.nals);
        let complete = nals.len() - usize::from(self.open && !nals.is_empty());
        (self.size, self.open) = (0, false);
        for (i, nal) in nals.into_iter().enumerate() {
            let own = pieces.by_ref().take(nal.pieces as usize);
            if i < complete && self.is_parameter_set(nal.kind) {
                self.size += nal.len + nal::LENGTH_SIZE;
                self.pieces.extend(own);
                self.nals.push(nal);
            } else {
                own.for_each(drop);
            }
        }
    }

    /// Puts the unit together and lays it ready.
    fn finish(&mut self) {
        let Some(timestamp) = self.timestamp else { return };
        let mut out = BytesMut::with_capacity(self.size);
        let mut parameter_sets = Vec::new();
        let mut pieces = self.pieces.iter();
        for nal in &self.nals {
            let own = pieces.by_ref().take(nal.pieces as usize);
            if self.is_ballast(nal.kind) {
                own.for_each(drop);
                continue;
            }
            let start = out.len();
            out.extend_from_slice(&[0; nal::LENGTH_SIZE]);
            out.extend_from_slice(&nal.header[..usize::from(nal.header_len)]);
            own.for_each(|piece| out.extend_from_slice(piece));
            self.close_nal(&mut out, start, nal.kind, &mut parameter_sets);
        }
        let unit = AssembledUnit { timestamp, payload: out.freeze(), parameter_sets, after_loss: self.after_loss };
        let begins = !unit.after_loss || self.begins_with_first_slice(&unit.payload);
        self.discard();
        if begins && !unit.payload.is_empty() && self.ready.len() < READY_MAX {
            self.after_loss = false;
            self.ready.push_back(unit);
        } else {
            // After a loss, a unit whose first slice is missing is no picture.
            self.after_loss = true;
        }
    }

    /// Writes the length of the NAL unit that was appended at `start`, or takes it out again where it has no place.
    fn close_nal(&self, out: &mut BytesMut, start: usize, kind: u8, sets: &mut Vec<Bytes>) {
        let unit = start + nal::LENGTH_SIZE;
        let trimmed = nal::trim_zeros(&out[unit..]).len();
        out.truncate(unit + trimmed);
        if nal::holds_start_code(&out[unit..]) {
            let mut stream = vec![0, 0, 1];
            stream.extend_from_slice(&out[unit..]);
            out.truncate(start);
            for inner in nal::annex_b_units(&stream).filter(|inner| inner.len() >= self.header_len()) {
                let kind = self.kind(inner);
                if self.is_parameter_set(kind) {
                    sets.push(Bytes::copy_from_slice(inner));
                } else if !self.is_ballast(kind) {
                    nal::push(out, inner);
                }
            }
        } else if self.is_parameter_set(kind) {
            sets.push(Bytes::copy_from_slice(&out[unit..]));
            out.truncate(start);
        } else if trimmed == 0 {
            out.truncate(start);
        } else {
            let length = (trimmed as u32).to_be_bytes();
            out[start..unit].copy_from_slice(&length);
        }
    }

    /// Whether the first slice is the picture's first: `first_mb_in_slice` 0 (H.264 §7.3.3) or
    /// `first_slice_segment_in_pic_flag` (H.265 §7.3.6.1), which are both the first bit after the header.
    fn begins_with_first_slice(&self, payload: &[u8]) -> bool {
        let first = nal::units(payload).find(|unit| self.is_slice(self.kind(unit)));
        first.and_then(|unit| unit.get(self.header_len())).is_some_and(|byte| byte & FIRST_SLICE != 0)
    }
}

const FU_START: u8 = 0x80;
const FU_END: u8 = 0x40;
const FIRST_SLICE: u8 = 0x80;

/// Which format a packet is of, for those that show it: such as carry a sequence parameter set that can be read. Cameras
/// exist that announce H.264 and send H.265.
pub fn format_of(payload: &[u8]) -> Option<NalFormat> {
    let inner = |skip: usize| {
        let (length, rest) = payload.get(skip..)?.split_first_chunk::<2>()?;
        rest.get(..usize::from(u16::from_be_bytes(*length)))
    };
    match payload {
        [first, ..] if first & 0x9f == 0x07 && h264::Sps::parse(payload).is_ok() => Some(NalFormat::H264),
        // STAP-A and AP with the set in front; H.265 puts the video parameter set before it.
        [first, ..] if first & 0x9f == 0x18 => inner(1).and_then(format_of).filter(|format| *format == NalFormat::H264),
        [0x42, second, ..] if second & 0xf8 == 0 && h265::Sps::parse(payload).is_ok() => Some(NalFormat::H265),
        [0x60, second, _, _, 0x40, vps, ..] if second & 0xf8 == 0 && vps & 0xf8 == 0 => Some(NalFormat::H265),
        [0x60, second, ..] if second & 0xf8 == 0 => inner(2).and_then(format_of).filter(|f| *f == NalFormat::H265),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
