//! From packets to units: what the payload formats share that string packets together up to the marker or take each for
//! itself, and the choice by the encoding's name. H.264, H.265 and RFC 3640 have assemblers of their own.
//!
//! A depacketiser works on packets in order; what comes late, twice or astray is dropped. A unit of which anything is
//! missing is dropped whole, and the next one is marked. What one unit may cost in memory is bounded by [`MAX_UNIT`].

use bytes::{Bytes, BytesMut};

use super::{
    av1, jpeg, latm,
    packet::Header,
    sequence::{Arrival, SequenceTracker, TimestampLine},
    vp8, vp9,
};
use crate::media::{ClockRate, CodecParameters};

/// The largest unit that is put together.
pub const MAX_UNIT: usize = 8 << 20;

/// A unit put together from packets, in the form that [`crate::media::AccessUnit`] asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assembled {
    /// Its RTP timestamp on a line that does not wrap, in ticks of the track's clock.
    pub timestamp: i64,
    /// The bytes.
    pub payload: Bytes,
    /// A decoder can start here.
    pub random_access: bool,
    /// Something before it is missing.
    pub after_loss: bool,
    /// The track's parameters from this unit on, where it brings new ones.
    pub parameters: Option<CodecParameters>,
}

/// Why a packet was dropped. The unit it belongs to is lost; what follows is put together all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DepacketiseError {
    /// It contradicts its payload format.
    #[error("{format} packet: {what} is not valid")]
    Malformed {
        /// The payload format.
        format: &'static str,
        /// What it is that makes no sense.
        what: &'static str,
    },
    /// It follows its payload format in a way that nothing here reads.
    #[error("{format} packet: {what} is not supported")]
    Unsupported {
        /// The payload format.
        format: &'static str,
        /// What it is.
        what: &'static str,
    },
    /// The unit would be larger than [`MAX_UNIT`].
    #[error("unit exceeds {MAX_UNIT} bytes")]
    TooLarge,
}

/// Takes the packets of one track apart.
#[derive(Debug)]
pub struct Depacketiser {
    sequence: SequenceTracker,
    line: TimestampLine,
    format: Format,
}

#[derive(Debug)]
enum Format {
    Av1(av1::Assembler),
    Jpeg(Box<jpeg::Assembler>),
    Vp8(vp8::Assembler),
    Vp9(vp9::Assembler),
    Opus(super::opus::Assembler),
    Latm(Box<latm::Assembler>),
}

/// What a payload format sees of a packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    pub(super) timestamp: i64,
    pub(super) marker: bool,
    /// Packets before this one are missing.
    pub(super) after_gap: bool,
}

impl Depacketiser {
    /// A depacketiser for an encoding by its name in SDP's `rtpmap`, with its clock and the parameters of its `fmtp`
    /// line. Nothing for encodings that it does not take apart.
    ///
    /// # Errors
    /// When the parameters say something that cannot be used.
    pub fn new(encoding: &str, clock: ClockRate, fmtp: Option<&str>) -> Result<Option<Self>, DepacketiseError> {
        let format = match encoding.to_ascii_uppercase().as_str() {
            "AV1" => Format::Av1(av1::Assembler::default()),
            "JPEG" => Format::Jpeg(Box::default()),
            "VP8" => Format::Vp8(vp8::Assembler::default()),
            "VP9" => Format::Vp9(vp9::Assembler::default()),
            "OPUS" => Format::Opus(super::opus::Assembler::new(fmtp)),
            "MP4A-LATM" => Format::Latm(Box::new(latm::Assembler::new(clock, fmtp)?)),
            _ => return Ok(None),
        };
        Ok(Some(Self { sequence: SequenceTracker::new(), line: TimestampLine::new(), format }))
    }

    /// The track's parameters as far as they are known before or from the units so far.
    pub fn parameters(&self) -> Option<CodecParameters> {
        match &self.format {
            Format::Av1(format) => format.parameters(),
            Format::Jpeg(format) => format.parameters(),
            Format::Vp8(format) => format.parameters(),
            Format::Vp9(format) => format.parameters(),
            Format::Opus(format) => Some(format.parameters()),
            Format::Latm(format) => format.parameters(),
        }
    }

    /// A packet: the units it completes, mostly none or one.
    ///
    /// # Errors
    /// The packet was dropped; the next may be pushed all the same.
    pub fn push(&mut self, header: &Header, payload: &Bytes) -> Result<Vec<Assembled>, DepacketiseError> {
        let after_gap = match self.sequence.push(header.sequence) {
            Arrival::Next { missing, .. } => missing > 0,
            Arrival::Restarted { .. } => true,
            Arrival::Late { .. } | Arrival::Duplicate | Arrival::Stray => return Ok(Vec::new()),
        };
        let position = Position { timestamp: self.line.push(header.timestamp), marker: header.marker, after_gap };
        match &mut self.format {
            Format::Av1(format) => format.push(position, payload),
            Format::Jpeg(format) => format.push(position, payload),
            Format::Vp8(format) => format.push(position, payload),
            Format::Vp9(format) => format.push(position, payload),
            Format::Opus(format) => format.push(position, payload),
            Format::Latm(format) => format.push(position, payload),
        }
    }

    /// What came and what is missing.
    pub const fn sequence(&self) -> &SequenceTracker {
        &self.sequence
    }

    /// Where a 32-bit timestamp lies on the line of the units, for one that comes by the way, in a sender report.
    pub const fn place(&self, timestamp: u32) -> i64 {
        self.line.place(timestamp)
    }
}

/// A unit in the making, for formats in which packets of one timestamp are strung together up to the marker.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    open: Option<(i64, BytesMut)>,
    after_loss: bool,
}

impl Assembly {
    /// A packet arrives: what was open and lost its end is dropped, what only lacks its marker is given out.
    pub(super) fn arrive(&mut self, position: &Position) -> Option<(i64, Bytes)> {
        if position.after_gap {
            self.lose();
        }
        self.open.take_if(|(timestamp, _)| *timestamp != position.timestamp).map(|(at, bytes)| (at, bytes.freeze()))
    }

    /// Begins a unit. One already open for the same timestamp goes on.
    pub(super) fn begin(&mut self, position: &Position) {
        self.open.get_or_insert_with(|| (position.timestamp, BytesMut::new()));
    }

    /// Whether a unit is open.
    pub(super) const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Appends to the open unit. Without one, bytes are from the middle of something lost.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), DepacketiseError> {
        let Some((_, open)) = &mut self.open else {
            self.after_loss = true;
            return Ok(());
        };
        if open.len() + bytes.len() > MAX_UNIT {
            self.lose();
            return Err(DepacketiseError::TooLarge);
        }
        open.extend_from_slice(bytes);
        Ok(())
    }

    /// The bytes of the open unit so far.
    pub(super) fn bytes(&mut self) -> Option<&mut BytesMut> {
        self.open.as_mut().map(|(_, bytes)| bytes)
    }

    /// Ends the open unit.
    pub(super) fn end(&mut self) -> Option<(i64, Bytes)> {
        self.open.take().map(|(at, bytes)| (at, bytes.freeze()))
    }

    /// Gives up the open unit; the next one given out comes after a loss.
    pub(super) fn lose(&mut self) {
        self.open = None;
        self.after_loss = true;
    }

    /// Whether a loss came before the unit now given out.
    pub(super) const fn take_loss(&mut self) -> bool {
        std::mem::replace(&mut self.after_loss, false)
    }
}

/// The value of a parameter of an `fmtp` line; names have no case.
pub(super) fn fmtp_value<'a>(fmtp: Option<&'a str>, name: &str) -> Option<&'a str> {
    let pairs = fmtp?.split(';').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (key.trim(), value.trim())).find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v)
}
