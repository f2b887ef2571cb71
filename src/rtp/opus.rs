//! Opus from RTP (RFC 7587): each packet is a unit. The planner needs no file: it puts the packet on the wire.

use bytes::Bytes;

use super::depacketise::{Assembled, DepacketiseError, Position, fmtp_value};
use crate::media::opus::packet_samples;
use crate::media::{CodecParameters, track::OpusParameters};

#[derive(Debug)]
pub(super) struct Assembler {
    channels: u8,
    after_loss: bool,
}

impl Assembler {
    /// §6.1: `rtpmap` says two channels whatever is sent; `sprop-stereo` tells, and packets may still change.
    pub(super) fn new(fmtp: Option<&str>) -> Self {
        let mono = fmtp_value(fmtp, "sprop-stereo") == Some("0");
        Self { channels: if mono { 1 } else { 2 }, after_loss: false }
    }

    pub(super) const fn parameters(&self) -> CodecParameters {
        CodecParameters::Opus(OpusParameters { channels: self.channels })
    }

    pub(super) fn push(&mut self, position: Position, payload: &Bytes) -> Result<Vec<Assembled>, DepacketiseError> {
        self.after_loss |= position.after_gap;
        if payload.is_empty() {
            return Ok(Vec::new());
        }
        if packet_samples(payload).is_none() {
            self.after_loss = true;
            return Err(DepacketiseError::Malformed { format: "opus", what: "TOC" });
        }
        Ok(vec![Assembled {
            timestamp: position.timestamp,
            payload: payload.clone(),
            random_access: true,
            after_loss: std::mem::take(&mut self.after_loss),
            parameters: None,
        }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        media::ClockRate,
        rtp::{
            depacketise::Depacketiser,
            packet::Header,
            testing::{depacketiser, sent},
        },
    };

    fn header(sequence: u16) -> Header {
        Header { marker: false, payload_type: 96, sequence, timestamp: u32::from(sequence) * 960, ssrc: 1 }
    }

    #[test]
    fn each_packet_is_a_unit_and_a_hole_is_marked() {
        let mut depacketiser = depacketiser("opus");
        let mut push =
            |sequence, bytes: &'static [u8]| depacketiser.push(&header(sequence), &Bytes::from_static(bytes));
        assert_eq!(push(1, &[0xfc, 1]).unwrap()[0].payload[..], [0xfc, 1]);
        assert!(push(2, &[]).unwrap().is_empty(), "silence");
        let after_hole = &push(4, &[0xfc, 2]).unwrap()[0];
        assert!(after_hole.after_loss && after_hole.random_access);
        assert_eq!(after_hole.timestamp, 4 * 960);
        assert!(push(4, &[0xfc, 2]).unwrap().is_empty(), "again");
        assert!(push(5, &[0x83, 0]).is_err());
        assert!(push(6, &[0xfc, 3]).unwrap()[0].after_loss);
    }

    #[test]
    fn the_channels_are_those_that_the_sender_says_it_sends() {
        for (fmtp, channels) in [(None, 2), (Some("sprop-stereo=0; useinbandfec=1"), 1), (Some("SPROP-STEREO=1"), 2)] {
            let depacketiser = Depacketiser::new("OPUS", ClockRate::OPUS, fmtp).unwrap().unwrap();
            let expected = CodecParameters::Opus(OpusParameters { channels });
            assert_eq!(depacketiser.parameters(), Some(expected), "{fmtp:?}");
        }
    }

    #[test]
    fn a_packet_goes_on_the_wire_as_it_is() {
        let parameters = CodecParameters::Opus(OpusParameters { channels: 2 });
        let packets = sent(&parameters, &Bytes::from_static(&[0xfc, 1, 2]), true);
        assert_eq!((packets.len(), packets[0].marker), (1, false));
        assert_eq!(packets[0].payload, [0xfc, 1, 2]);
    }
}
