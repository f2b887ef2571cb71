//! VP8 over RTP (RFC 7741).

use bytes::Bytes;

use super::{
    depacketise::{Assembled, Assembly, DepacketiseError, Position},
    slices,
};
use crate::media::{
    CodecParameters, Fragment, PictureSize,
    plan::{Body, PAYLOAD_MAX},
    vp8::{is_key_frame, picture_size},
};

/// The payload descriptor without extensions: picture ids belong to a session and not to a plan.
const HEAD: usize = 1;
const START_OF_PARTITION: u8 = 0x10;

/// Cuts a frame. §4.2: partitions may be cut anywhere, and a receiver may be told of the first alone.
pub(super) fn plan(payload: &[u8]) -> Box<[Fragment]> {
    if payload.is_empty() {
        return Box::default();
    }
    let cut = slices(0..payload.len(), PAYLOAD_MAX - HEAD, 0);
    let descriptor = |first| if first { START_OF_PARTITION } else { 0 };
    cut.filter_map(|slice| Fragment::new(&[descriptor(slice.first)], Body::Payload, slice.range, slice.last)).collect()
}

/// Strings frames together from their packets.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    assembly: Assembly,
    size: Option<PictureSize>,
}

impl Assembler {
    pub(super) fn parameters(&self) -> Option<CodecParameters> {
        self.size.map(CodecParameters::Vp8)
    }

    pub(super) fn push(&mut self, position: Position, payload: &Bytes) -> Result<Vec<Assembled>, DepacketiseError> {
        let mut done = Vec::from_iter(self.assembly.arrive(&position).map(|unit| self.finish(unit)));
        let Some((starts, body)) = read_descriptor(payload) else {
            self.assembly.lose();
            return Err(DepacketiseError::Malformed { format: "VP8", what: "payload descriptor" });
        };
        if starts {
            self.assembly.begin(&position);
        }
        self.assembly.append(body)?;
        if position.marker {
            done.extend(self.assembly.end().map(|unit| self.finish(unit)));
        }
        Ok(done)
    }

    fn finish(&mut self, (timestamp, payload): (i64, Bytes)) -> Assembled {
        let size = picture_size(&payload);
        let changed = size.is_some() && size != self.size;
        self.size = size.or(self.size);
        Assembled {
            timestamp,
            random_access: is_key_frame(&payload),
            payload,
            after_loss: self.assembly.take_loss(),
            parameters: size.filter(|_| changed).map(CodecParameters::Vp8),
        }
    }
}

/// §4.2: whether a frame starts in the packet, and what follows the payload descriptor.
fn read_descriptor(payload: &[u8]) -> Option<(bool, &[u8])> {
    let (&first, mut rest) = payload.split_first()?;
    if first & 0x80 != 0 {
        let (&extensions, after) = rest.split_first()?;
        rest = after;
        if extensions & 0x80 != 0 {
            // A picture id of 7 or 15 bits.
            rest = rest.get(if rest.first()? & 0x80 != 0 { 2 } else { 1 }..)?;
        }
        let indices = usize::from(extensions & 0x40 != 0) + usize::from(extensions & 0x30 != 0);
        rest = rest.get(indices..)?;
    }
    let starts = first & START_OF_PARTITION != 0 && first & 0x07 == 0;
    (!rest.is_empty()).then_some((starts, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        media::testing::hex,
        rtp::testing::{
            assembled, assert_marker_ends, assert_one_size, assert_way_through, depacketiser, packets, sent,
        },
    };

    const PARAMETERS: CodecParameters = CodecParameters::Vp8(PictureSize { width: 320, height: 240 });

    fn key_frame(len: usize) -> Bytes {
        let mut frame = hex("706e009d012a4001f000");
        frame.resize(len.max(10), 7);
        frame.into()
    }

    #[test]
    fn the_first_packet_alone_starts_a_partition() {
        let packets = sent(&PARAMETERS, &key_frame(3000), true);
        assert_marker_ends(&packets);
        assert_one_size(&packets);
        assert_eq!(packets.iter().map(|packet| packet.payload[0]).collect::<Vec<_>>(), [0x10, 0, 0]);
    }

    #[test]
    fn descriptors_with_every_extension_are_passed_over() {
        for descriptor in ["10", "9080 05", "9080 8005", "90c0 05 01", "90f0 8005 01 40", "9030 40", "b0f0 05 01 40"] {
            let packet = [hex(descriptor), vec![0xaa]].concat();
            assert_eq!(read_descriptor(&packet), Some((true, &[0xaa][..])), "{descriptor}");
        }
        for packet in ["", "10", "90", "9080", "9080 80", "90c0 05"] {
            assert_eq!(read_descriptor(&hex(packet)), None, "{packet}");
        }
        assert_eq!(read_descriptor(&hex("11 aa")), Some((false, &[0xaa][..])), "another partition");
    }

    #[test]
    fn parameters_come_with_the_first_key_frame_and_when_they_change() {
        let mut larger = key_frame(20).to_vec();
        larger[6] = 0x80;
        let units = [key_frame(20), key_frame(30), larger.into()];
        let mut depacketiser = depacketiser("vp8");
        assert_eq!(depacketiser.parameters(), None);
        let units = assembled(&mut depacketiser, &packets(&PARAMETERS, &units, 0, 90));
        assert!(units.iter().all(|unit| unit.random_access));
        let changed = CodecParameters::Vp8(PictureSize { width: 384, height: 240 });
        assert_eq!(
            units.into_iter().map(|unit| unit.parameters).collect::<Vec<_>>(),
            [Some(PARAMETERS), None, Some(changed.clone())]
        );
        assert_eq!(depacketiser.parameters(), Some(changed));
    }

    #[test]
    fn a_frame_whose_marker_nobody_set_ends_with_the_next_timestamp() {
        let units = [key_frame(2000), Bytes::from_static(&[1, 2, 3]), Bytes::from_static(&[1, 3])];
        let mut packets = packets(&PARAMETERS, &units, 0, 90);
        packets.iter_mut().for_each(|(header, _)| header.marker = false);
        let units = assembled(&mut depacketiser("VP8"), &packets);
        assert_eq!(units.iter().map(|unit| unit.payload.len()).collect::<Vec<_>>(), [2000, 3]);
    }

    proptest! {
        #[test]
        fn frames_survive_the_way_through_and_losses_are_marked(
            lens in proptest::collection::vec(1_usize..4000, 1..12),
            sequence: u16,
            fates in proptest::collection::vec(prop_oneof![6 => Just(9_u8), 1 => 0_u8..3], 1..40),
        ) {
            let frame = |(i, len): (usize, usize)| -> Bytes {
                if i == 0 { key_frame(len) } else { (0..len).map(|j| if j == 0 { 1 } else { (i + j) as u8 }).collect() }
            };
            let units: Vec<Bytes> = lens.into_iter().enumerate().map(frame).collect();
            assert_way_through("VP8", &PARAMETERS, &units, sequence, &fates);
        }

        #[test]
        fn arbitrary_packets_are_taken_without_a_panic(stream in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..20)), 0..20)) {
            crate::rtp::testing::push_arbitrary("VP8", stream);
        }
    }
}
