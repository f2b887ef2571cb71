//! VP9 over RTP (RFC 9628), non-flexible mode, without layers.

use bytes::Bytes;

use super::{
    depacketise::{Assembled, Assembly, DepacketiseError, Position},
    slices,
};
use crate::media::{
    CodecParameters, Fragment,
    plan::{Body, PAYLOAD_MAX},
    track::Vp9Parameters,
    vp9::is_key_frame,
};

const INTER_PREDICTED: u8 = 0x40;
const START_OF_FRAME: u8 = 0x08;
const END_OF_FRAME: u8 = 0x04;
const STRUCTURE: u8 = 0x02;

/// Descriptor and scalability structure: one layer, its size given, no picture groups (§4.2.1).
const LONGEST_HEAD: usize = 6;
const ONE_LAYER_WITH_SIZE: u8 = 0x10;

/// Cuts a frame. Picture ids belong to a session and not to a plan. Key frames tell the size, which GStreamer wants.
pub(super) fn plan(payload: &[u8]) -> Box<[Fragment]> {
    if payload.is_empty() {
        return Box::default();
    }
    let predicted = if is_key_frame(payload) { 0 } else { INTER_PREDICTED };
    let size = Vp9Parameters::parse(payload).ok().flatten().and_then(|parameters| parameters.size);
    // The format has 16 bits for what the frame header counts from one.
    let side = |side: u32| u16::try_from(side).ok().map(u16::to_be_bytes);
    let sides = size.and_then(|size| Some((side(size.width)?, side(size.height)?)));
    let reserved = if sides.is_some() { LONGEST_HEAD - 1 } else { 0 };
    let fragment = |slice: super::Slice| {
        let position = if slice.first { START_OF_FRAME } else { 0 } | if slice.last { END_OF_FRAME } else { 0 };
        let descriptor = predicted | position;
        match sides {
            Some(([w0, w1], [h0, h1])) if slice.first => {
                let head = [descriptor | STRUCTURE, ONE_LAYER_WITH_SIZE, w0, w1, h0, h1];
                Fragment::new(&head, Body::Payload, slice.range, slice.last)
            }
            _ => Fragment::new(&[descriptor], Body::Payload, slice.range, slice.last),
        }
    };
    slices(0..payload.len(), PAYLOAD_MAX - 1, reserved).filter_map(fragment).collect()
}

/// Strings frames together from their packets. Frames of spatial layers that share a timestamp become one unit, which
/// decoders take one after the other.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    assembly: Assembly,
    parameters: Option<Vp9Parameters>,
}

impl Assembler {
    pub(super) fn parameters(&self) -> Option<CodecParameters> {
        self.parameters.clone().map(CodecParameters::Vp9)
    }

    pub(super) fn push(&mut self, position: Position, payload: &Bytes) -> Result<Vec<Assembled>, DepacketiseError> {
        let mut done = Vec::from_iter(self.assembly.arrive(&position).map(|unit| self.finish(unit)));
        let Some((starts, body)) = read_descriptor(payload) else {
            self.assembly.lose();
            return Err(DepacketiseError::Malformed { format: "VP9", what: "payload descriptor" });
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
        let parameters = Vp9Parameters::parse(&payload).ok().flatten();
        let changed = parameters.is_some() && parameters != self.parameters;
        if changed {
            self.parameters.clone_from(&parameters);
        }
        Assembled {
            timestamp,
            random_access: is_key_frame(&payload),
            payload,
            after_loss: self.assembly.take_loss(),
            parameters: parameters.filter(|_| changed).map(CodecParameters::Vp9),
        }
    }
}

/// §4.2: whether a picture starts in the packet, and what follows the payload descriptor.
fn read_descriptor(payload: &[u8]) -> Option<(bool, &[u8])> {
    const HAS_PICTURE_ID: u8 = 0x80;
    const HAS_LAYERS: u8 = 0x20;
    const FLEXIBLE: u8 = 0x10;
    let (&first, mut rest) = payload.split_first()?;
    if first & HAS_PICTURE_ID != 0 {
        rest = rest.get(if rest.first()? & 0x80 != 0 { 2 } else { 1 }..)?;
    }
    let mut spatial_layer = 0;
    if first & HAS_LAYERS != 0 {
        spatial_layer = rest.first()? >> 1 & 7;
        // Non-flexible mode adds the index of the temporal base layer.
        rest = rest.get(if first & FLEXIBLE != 0 { 1 } else { 2 }..)?;
    }
    if first & FLEXIBLE != 0 && first & INTER_PREDICTED != 0 {
        // Up to three references; the lowest bit says that another follows.
        for _ in 0..3 {
            let (&reference, after) = rest.split_first()?;
            rest = after;
            if reference & 1 == 0 {
                break;
            }
        }
    }
    if first & STRUCTURE != 0 {
        rest = skip_structure(rest)?;
    }
    (!rest.is_empty()).then_some((first & START_OF_FRAME != 0 && spatial_layer == 0, rest))
}

/// §4.2.1.
fn skip_structure(structure: &[u8]) -> Option<&[u8]> {
    let (&first, mut rest) = structure.split_first()?;
    if first & 0x10 != 0 {
        let layers = usize::from(first >> 5) + 1;
        rest = rest.get(layers * 4..)?;
    }
    if first & 0x08 != 0 {
        let (&groups, after) = rest.split_first()?;
        rest = after;
        for _ in 0..groups {
            let (&group, after) = rest.split_first()?;
            rest = after.get(usize::from(group >> 2 & 3)..)?;
        }
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        media::testing::hex,
        rtp::testing::{assert_marker_ends, assert_one_size, assert_way_through, push_arbitrary, sent},
    };

    fn key_frame(len: usize) -> Bytes {
        let mut frame = hex("824983420013f00ef602");
        frame.resize(len.max(10), 7);
        frame.into()
    }

    fn parameters() -> CodecParameters {
        CodecParameters::Vp9(Vp9Parameters::parse(&key_frame(10)).unwrap().unwrap())
    }

    #[test]
    fn key_frames_tell_their_size_and_others_that_they_are_predicted() {
        let packets = sent(&parameters(), &key_frame(3000), true);
        assert_marker_ends(&packets);
        assert_one_size(&packets);
        assert_eq!(packets[0].payload[..6], hex("0a 10 0140 00f0"));
        assert_eq!((packets[1].payload[0], packets[2].payload[0]), (0x00, 0x04));
        let inter = sent(&parameters(), &Bytes::from_static(&[0x86, 0, 1]), false);
        assert_eq!(inter[0].payload[0], 0x4c);
    }

    #[test]
    fn descriptors_with_every_extension_are_passed_over() {
        for (descriptor, starts) in [
            ("08", true),
            ("00", false),
            ("88 05", true),
            ("88 8005", true),
            ("28 00 07", true),                             // layer indices with the temporal base
            ("28 02 07", false),                            // the second spatial layer does not start a picture
            ("38 00", true),                                // flexible: no temporal base
            ("78 00 03 05 04", true),                       // flexible, three references
            ("0a 18 0140 00f0 02 04 00 01 08 01 02", true), // structure with two groups
        ] {
            let packet = [hex(descriptor), vec![0xaa]].concat();
            assert_eq!(read_descriptor(&packet).map(|(starts, _)| starts), Some(starts), "{descriptor}");
        }
        for packet in ["", "08", "88", "88 80", "28 00", "78 00 03", "0a", "0a 10 0140"] {
            assert_eq!(read_descriptor(&hex(packet)), None, "{packet}");
        }
    }

    #[test]
    fn a_frame_too_wide_for_the_structure_goes_without_it() {
        let packets = sent(&parameters(), &hex("82498342 0ffff00ef602").into(), true);
        assert_eq!(packets[0].payload[0], START_OF_FRAME | END_OF_FRAME);
    }

    proptest! {
        #[test]
        fn frames_survive_the_way_through_and_losses_are_marked(
            lens in proptest::collection::vec(1_usize..4000, 1..12),
            sequence: u16,
            fates in proptest::collection::vec(prop_oneof![6 => Just(9_u8), 1 => 0_u8..3], 1..40),
        ) {
            let frame = |(i, len): (usize, usize)| -> Bytes {
                if i == 0 { key_frame(len) } else { (0..len).map(|j| if j == 0 { 0x86 } else { (i + j) as u8 }).collect() }
            };
            let units: Vec<Bytes> = lens.into_iter().enumerate().map(frame).collect();
            assert_way_through("VP9", &parameters(), &units, sequence, &fates);
        }

        #[test]
        fn arbitrary_packets_are_taken_without_a_panic(stream in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..20)), 0..20)) {
            push_arbitrary("VP9", stream);
        }
    }
}
