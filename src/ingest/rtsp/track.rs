//! One track of a camera as a machine: packets in, units with their times out. Sans-IO.
//!
//! A track begins *known* when the announcement is enough for a decoder, else it becomes known by what its packets carry.

use bytes::Bytes;

use super::form::{Form, Offer, Piece, Yield};
use crate::{
    base::{Monotonic, WallTime},
    media::{ClockRate, CodecParameters, MediaKind, MediaTime, TrackDescription, reorder::DecodeOrder},
    rtp::capture::CaptureClock,
};

/// A packet of a track.
#[derive(Clone, Debug)]
pub(super) struct Incoming {
    /// Ticks on the track's own timeline, unwrapped.
    pub(super) timestamp: i64,
    pub(super) sequence: u16,
    pub(super) payload_type: u8,
    pub(super) marker: bool,
    /// Packets missing before this one.
    pub(super) lost: u16,
    pub(super) payload: Bytes,
    pub(super) arrived: Monotonic,
    pub(super) arrived_wall: WallTime,
}

/// A unit of a track, on the track's own timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TrackUnit {
    pub(super) pts: MediaTime,
    pub(super) dts: MediaTime,
    pub(super) captured: WallTime,
    pub(super) arrived: Monotonic,
    pub(super) random_access: bool,
    pub(super) after_loss: bool,
    pub(super) marker: bool,
    pub(super) payload: Bytes,
}

/// What a packet led to, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The track's parameters are others from the next unit on.
    Parameters,
    /// The track is of another coding than announced; what it was before is no more.
    Coding,
    Unit(TrackUnit),
    /// Timestamps jumped.
    Jump,
}

/// A track that is being received.
#[derive(Debug)]
pub(super) struct Track {
    kind: MediaKind,
    clock_rate: ClockRate,
    /// Payload types of other formats in the same section.
    others: Vec<u8>,
    form: Form,
    order: DecodeOrder,
    capture: CaptureClock,
    /// The newest unit's time and arrival, to see jumps.
    newest: Option<(MediaTime, Monotonic)>,
    yields: Vec<Yield>,
}

/// Timestamps and arrival further apart than this from one unit to the next are a jump.
const JUMP: MediaTime = MediaTime::from_millis(10_000);

impl Track {
    pub(super) fn new(offer: &Offer) -> Self {
        let kind = match offer.media.as_str() {
            "video" | "image" => MediaKind::Video,
            "audio" => MediaKind::Audio,
            _ => MediaKind::Application,
        };
        let (form, clock_rate) = Form::new(kind, offer);
        let mut track = Self {
            kind,
            clock_rate,
            others: offer.others.clone(),
            form,
            order: DecodeOrder::new(None, None),
            capture: CaptureClock::new(),
            newest: None,
            yields: Vec::new(),
        };
        track.retime();
        track
    }

    pub(super) const fn kind(&self) -> MediaKind {
        self.kind
    }

    pub(super) const fn is_opaque(&self) -> bool {
        self.form.is_opaque()
    }

    pub(super) const fn clock_rate(&self) -> ClockRate {
        self.clock_rate
    }

    /// What a decoder needs, once that is known.
    pub(super) const fn parameters(&self) -> Option<&CodecParameters> {
        self.form.parameters()
    }

    /// What the hub is told of it, once that is known.
    pub(super) fn description(&self) -> Option<TrackDescription> {
        let parameters = self.parameters().cloned()?;
        Some(TrackDescription { kind: self.kind, clock_rate: self.clock_rate, parameters })
    }

    /// A sender report: an NTP time and the same moment in ticks of the track.
    pub(super) fn handle_report(&mut self, ntp: u64, timestamp: i64, arrived: WallTime) {
        self.capture.report(ntp, MediaTime::from_ticks(timestamp, self.clock_rate), arrived);
    }

    /// Takes the next packet and adds what came of it to `out`.
    ///
    /// # Errors
    /// The packet is of no use, for the reason given; the next ones are taken as ever.
    pub(super) fn handle_packet(&mut self, packet: Incoming, out: &mut Vec<Outcome>) -> Result<(), String> {
        if self.others.contains(&packet.payload_type) {
            // Comfort noise, telephone events and the like are no part of the track.
            return Ok(());
        }
        let at = (packet.arrived, packet.arrived_wall);
        let mut yields = std::mem::take(&mut self.yields);
        let result = self.form.push(packet, &mut yields);
        for one in yields.drain(..) {
            match one {
                Yield::Parameters => {
                    self.retime();
                    out.push(Outcome::Parameters);
                }
                Yield::Coding => {
                    self.order = DecodeOrder::new(None, None);
                    out.push(Outcome::Coding);
                }
                Yield::Piece(piece) => self.give(piece, at, out),
            }
        }
        self.yields = yields;
        result
    }

    /// Decode times follow what the parameter sets say of waiting frames.
    fn retime(&mut self) {
        if let Some((depth, rate)) = self.form.reordering()
            && (depth.is_some_and(|depth| depth != self.order.depth()) || self.newest.is_none())
        {
            self.order.declare(depth, rate);
        }
    }

    fn give(&mut self, piece: Piece, (arrived, arrived_wall): (Monotonic, WallTime), out: &mut Vec<Outcome>) {
        let Piece { timestamp, payload, random_access, after_loss, marker } = piece;
        let mut pts = MediaTime::from_ticks(timestamp, self.clock_rate);
        if let Some((before, at)) = self.newest
            && ((pts - before) - MediaTime::from(arrived.since(at))).abs() > JUMP
        {
            self.order.restart();
            self.capture.restart();
            out.push(Outcome::Jump);
        }
        self.newest = Some((pts, arrived));
        let mut dts = pts;
        if self.form.reordering().is_some() {
            let timing = self.order.push(pts).or_else(|| {
                self.order.restart();
                self.order.push(pts)
            });
            if let Some(timing) = timing {
                (pts, dts) = (timing.pts, timing.dts);
            }
        }
        let captured = self.capture.unit(pts, arrived_wall);
        out.push(Outcome::Unit(TrackUnit { pts, dts, captured, arrived, random_access, after_loss, marker, payload }));
    }
}

#[cfg(test)]
mod tests;
