//! AV1 over RTP (AV1 RTP payload specification 1.0).

use std::iter::Peekable;

use bytes::{Bytes, BytesMut};

use super::{
    depacketise::{Assembled, Assembly, DepacketiseError, MAX_UNIT, Position},
    slices,
};
use crate::media::{
    CodecParameters, Fragment,
    av1::{Obu, ObuHeader, is_key_frame, obu_type, obus, push_sized, read_leb128, write_leb128},
    plan::{Body, PAYLOAD_MAX},
    track::Av1Parameters,
};

const CONTINUES_EARLIER: u8 = 0x80;
const CONTINUED_LATER: u8 = 0x40;
const ONE_ELEMENT: u8 = 0x10;
const NEW_SEQUENCE: u8 = 0x08;

/// Elements of one packet that may do without a length field for the last of them (§4.4: W).
const COUNTED: u8 = 3;

/// Cuts a temporal unit of OBUs with size fields. Each packet carries one OBU or a piece of one, so that its length
/// needs no field of its own; size fields are taken off (§4.5 of the payload specification). The sequence header heads
/// a random access point that does not bring its own.
pub(super) fn plan(parameters: &Av1Parameters, payload: &Bytes, random_access: bool) -> (Bytes, Box<[Fragment]>) {
    let mut fragments = Vec::with_capacity(payload.len() / (PAYLOAD_MAX / 2) + 4);
    let travels = |obu: &Obu| {
        !matches!(obu.header.kind(), obu_type::TEMPORAL_DELIMITER | obu_type::TILE_LIST | obu_type::PADDING)
    };
    let mut kept = obus(payload).filter(travels).peekable();
    let mut lead = Bytes::new();
    if random_access && kept.peek().is_some() {
        let own_header = obus(payload).any(|obu| obu.header.kind() == obu_type::SEQUENCE_HEADER);
        let added = if own_header { Bytes::new() } else { without_size(&parameters.sequence_header) };
        lead = open(&mut fragments, payload, &added, &mut kept);
    }
    while let Some(obu) = kept.next() {
        cut(&mut fragments, obu, kept.peek().is_none());
    }
    (lead, fragments.into_boxed_slice())
}

/// The first packet of a random access point, written out: what stands before the frame, and the frame's beginning.
/// Browsers take a packet that no OBU of goes on in the next one for a whole frame, and decode no sequence header
/// alone (libwebrtc's `VideoRtpDepacketizerAv1`).
fn open(
    fragments: &mut Vec<Fragment>,
    payload: &Bytes,
    added: &[u8],
    kept: &mut Peekable<impl Iterator<Item = Obu>>,
) -> Bytes {
    const SMALL: usize = PAYLOAD_MAX / 2;
    let mut lead = BytesMut::new();
    let mut elements = 1;
    if !added.is_empty() && added.len() <= SMALL {
        write_leb128(&mut lead, added.len() as u32);
        lead.extend_from_slice(added);
        elements += 1;
    }
    let is_picture = |obu: &Obu| matches!(obu.header.kind(), obu_type::FRAME | obu_type::TILE_GROUP);
    while let Some(obu) =
        kept.next_if(|obu| elements < COUNTED && !is_picture(obu) && lead.len() + obu.body.len() + 4 <= SMALL)
    {
        let (header, header_len) = obu.header.bytes(false);
        write_leb128(&mut lead, (header_len + obu.body.len()) as u32);
        lead.extend_from_slice(&header[..header_len]);
        lead.extend_from_slice(&payload[obu.body]);
        elements += 1;
    }
    // §4.4: N; and with W 0 each element has a length.
    let mut aggregation = if is_key_frame(payload) { NEW_SEQUENCE } else { 0 };
    let Some(obu) = kept.next() else {
        fragments.extend(Fragment::new(&[aggregation], Body::Lead, 0..lead.len(), true));
        return lead.freeze();
    };
    let (header, header_len) = obu.header.bytes(false);
    let room = PAYLOAD_MAX - 1 - header_len - lead.len();
    let rest = obu.body.start + obu.body.len().min(room)..obu.body.end;
    lead.extend_from_slice(&header[..header_len]);
    lead.extend_from_slice(&payload[obu.body.start..rest.start]);
    let last = kept.peek().is_none();
    aggregation |= elements << 4 | if rest.is_empty() { 0 } else { CONTINUED_LATER };
    fragments.extend(Fragment::new(&[aggregation], Body::Lead, 0..lead.len(), last && rest.is_empty()));
    if !rest.is_empty() {
        for slice in slices(rest, PAYLOAD_MAX - 1, 0) {
            let head = ONE_ELEMENT | CONTINUES_EARLIER | if slice.last { 0 } else { CONTINUED_LATER };
            fragments.extend(Fragment::new(&[head], Body::Payload, slice.range, last && slice.last));
        }
    }
    lead.freeze()
}

fn cut(fragments: &mut Vec<Fragment>, obu: Obu, last: bool) {
    let (header, header_len) = obu.header.bytes(false);
    for slice in slices(obu.body, PAYLOAD_MAX - 1, header_len) {
        // §4.4: Z, Y and W.
        let mut aggregation = ONE_ELEMENT;
        aggregation |= if slice.first { 0 } else { CONTINUES_EARLIER };
        aggregation |= if slice.last { 0 } else { CONTINUED_LATER };
        let head = [aggregation, header[0], header[1]];
        let head_len = if slice.first { 1 + header_len } else { 1 };
        fragments.extend(Fragment::new(&head[..head_len], Body::Payload, slice.range, last && slice.last));
    }
}

/// The first OBU of some bytes with its size field taken off.
fn without_size(bytes: &Bytes) -> Bytes {
    let Some(obu) = obus(bytes).next() else { return Bytes::new() };
    let (header, len) = obu.header.bytes(false);
    let mut out = BytesMut::with_capacity(len + obu.body.len());
    out.extend_from_slice(&header[..len]);
    out.extend_from_slice(&bytes[obu.body]);
    out.freeze()
}

/// Strings temporal units together from their packets.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    assembly: Assembly,
    /// An OBU that goes on in the next packet.
    partial: Option<BytesMut>,
    /// Timestamp and marker of the packet before this one, if there was no gap.
    previous: Option<(i64, bool)>,
    parameters: Option<Av1Parameters>,
}

impl Assembler {
    pub(super) fn parameters(&self) -> Option<CodecParameters> {
        self.parameters.clone().map(CodecParameters::Av1)
    }

    pub(super) fn push(&mut self, position: Position, payload: &Bytes) -> Result<Vec<Assembled>, DepacketiseError> {
        if position.after_gap {
            self.partial = None;
            self.previous = None;
        }
        let previous = self.previous.replace((position.timestamp, position.marker));
        let at_boundary = previous.is_some_and(|(timestamp, marker)| marker || timestamp != position.timestamp);
        let mut done = Vec::from_iter(self.assembly.arrive(&position).and_then(|unit| self.finish(unit)));
        if let Err(error) = self.read(&position, at_boundary, payload) {
            self.partial = None;
            self.assembly.lose();
            return Err(error);
        }
        if position.marker {
            self.partial = None;
            done.extend(self.assembly.end().and_then(|unit| self.finish(unit)));
        }
        Ok(done)
    }

    fn read(&mut self, position: &Position, at_boundary: bool, payload: &[u8]) -> Result<(), DepacketiseError> {
        let (&aggregation, mut rest) = payload.split_first().ok_or(malformed("aggregation header"))?;
        let continues = aggregation & CONTINUES_EARLIER != 0;
        // An OBU that was to go on and does not, or goes on and never began: the unit is lost.
        if continues != self.partial.is_some() {
            self.partial = None;
            self.assembly.lose();
        }
        let count = aggregation >> 4 & 3;
        let mut index = 0;
        while !rest.is_empty() {
            index += 1;
            // §4.4: the last of W elements has no length; with W 0 each has one.
            let element = if count != 0 && index == count {
                std::mem::take(&mut rest)
            } else {
                let (len, after) = read_leb128(rest).ok_or(malformed("element length"))?;
                let (element, after) = after.split_at_checked(len as usize).ok_or(malformed("element length"))?;
                rest = after;
                element
            };
            let continued = rest.is_empty() && aggregation & CONTINUED_LATER != 0;
            if index == 1 && continues {
                self.go_on(element, continued)?;
            } else {
                if !self.assembly.is_open() && may_begin(at_boundary && index == 1, element) {
                    self.assembly.begin(position);
                }
                self.start(element, continued)?;
            }
        }
        Ok(())
    }

    /// An element that is the next piece of an OBU.
    fn go_on(&mut self, element: &[u8], continued: bool) -> Result<(), DepacketiseError> {
        let Some(partial) = &mut self.partial else { return Ok(()) };
        if partial.len() + element.len() > MAX_UNIT {
            return Err(DepacketiseError::TooLarge);
        }
        partial.extend_from_slice(element);
        if continued {
            return Ok(());
        }
        let whole = self.partial.take().unwrap_or_default();
        self.keep(&whole)
    }

    /// An element that is an OBU, or the first piece of one.
    fn start(&mut self, element: &[u8], continued: bool) -> Result<(), DepacketiseError> {
        if continued {
            self.partial = Some(BytesMut::from(element));
            return Ok(());
        }
        self.keep(element)
    }

    /// A whole OBU: into the unit, with a size field.
    fn keep(&mut self, obu: &[u8]) -> Result<(), DepacketiseError> {
        let Some((header, ..)) = ObuHeader::parse(obu) else { return Err(malformed("OBU header")) };
        if matches!(header.kind(), obu_type::TEMPORAL_DELIMITER | obu_type::TILE_LIST | obu_type::PADDING) {
            return Ok(());
        }
        // A size field may be there although it should not (§4.5), and then must hold.
        if obus(obu).next().is_none_or(|first| first.whole.end != obu.len()) {
            return Err(malformed("OBU size"));
        }
        // Eight bytes are more than a size field takes.
        let Some(unit) = self.assembly.bytes() else { return self.assembly.append(obu) };
        if unit.len() + obu.len() + 8 > MAX_UNIT {
            return Err(DepacketiseError::TooLarge);
        }
        push_sized(unit, obu);
        Ok(())
    }

    /// A unit of which nothing is left is none.
    fn finish(&mut self, (timestamp, payload): (i64, Bytes)) -> Option<Assembled> {
        if payload.is_empty() {
            return None;
        }
        let parameters = Av1Parameters::of_unit(&payload);
        let changed = parameters.is_some() && parameters != self.parameters;
        if changed {
            self.parameters.clone_from(&parameters);
        }
        Some(Assembled {
            timestamp,
            random_access: self.parameters.is_some() && is_key_frame(&payload),
            payload,
            after_loss: self.assembly.take_loss(),
            parameters: parameters.filter(|_| changed).map(CodecParameters::Av1),
        })
    }
}

/// Nothing marks the first packet of a temporal unit. It follows one that ended, or shows by what it begins with.
fn may_begin(at_boundary: bool, element: &[u8]) -> bool {
    let kind = ObuHeader::parse(element).map(|(header, ..)| header.kind());
    at_boundary || matches!(kind, Some(obu_type::TEMPORAL_DELIMITER | obu_type::SEQUENCE_HEADER))
}

const fn malformed(what: &'static str) -> DepacketiseError {
    DepacketiseError::Malformed { format: "AV1", what }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        media::testing::hex,
        rtp::{
            packet::Header,
            testing::{Sent, assembled, assert_marker_ends, assert_way_through, depacketiser, push_arbitrary, sent},
        },
    };

    const SEQUENCE_HEADER: &str = "0a0b000000043cffbcdaf90040";

    fn parameters() -> CodecParameters {
        CodecParameters::Av1(Av1Parameters::parse(&hex(SEQUENCE_HEADER)).unwrap())
    }

    /// An OBU with a size field; a frame begins as a shown key frame does, or as none.
    fn obu(kind: u8, len: usize, key: bool) -> Vec<u8> {
        let mut out = BytesMut::new();
        let body: Vec<u8> = (0..len).map(|i| if i == 0 { if key { 0x10 } else { 0x30 } } else { i as u8 }).collect();
        push_sized(&mut out, &[&[kind << 3][..], &body].concat());
        out.to_vec()
    }

    fn key_unit(len: usize) -> Bytes {
        [hex(SEQUENCE_HEADER), obu(obu_type::FRAME, len, true)].concat().into()
    }

    fn headers(packets: &[Sent]) -> Vec<u8> {
        packets.iter().map(|packet| packet.payload[0]).collect()
    }

    #[test]
    fn size_fields_are_taken_off_and_pieces_say_so() {
        let packets = sent(&parameters(), &key_unit(3000), true);
        assert_marker_ends(&packets);
        assert_eq!(headers(&packets), [0x68, 0xd0, 0x90], "no packet of a key frame ends with an OBU but the last");
        assert_eq!(packets[0].payload[1..17], hex("0c 08 000000043cffbcdaf90040 30 10 01"));
        assert_eq!(packets[0].payload.len(), PAYLOAD_MAX);
        assert!(packets[1].payload.len().abs_diff(packets[2].payload.len()) < 2);
        let packets = sent(&parameters(), &obu(obu_type::FRAME, 3000, false).into(), false);
        assert_eq!(headers(&packets), [0x50, 0xd0, 0x90]);
        assert_eq!(packets[0].payload[1..4], [0x30, 0x30, 1]);
        assert_eq!(packets[0].payload.len(), packets[1].payload.len());
    }

    #[test]
    fn a_key_frame_of_many_parts_begins_with_as_many_as_can_be_counted() {
        let parts = [obu(5, 3, false), obu(obu_type::FRAME_HEADER, 4, true), obu(obu_type::TILE_GROUP, 5, false)];
        let unit: Bytes = [hex(SEQUENCE_HEADER), parts.concat()].concat().into();
        let packets = sent(&parameters(), &unit, true);
        assert_eq!(headers(&packets), [0x38, 0x10]);
        assert_marker_ends(&packets);
        let alone = sent(&parameters(), &hex(SEQUENCE_HEADER).into(), true);
        assert_eq!(
            (headers(&alone), alone[0].payload[1]),
            (vec![0x00], 0x0c),
            "and nothing but a header has its length"
        );
    }

    #[test]
    fn the_sequence_header_heads_a_random_access_point_that_lacks_it() {
        let frame: Bytes =
            [hex("1200"), obu(obu_type::FRAME, 9, true), obu(obu_type::PADDING, 9, false)].concat().into();
        let packets = sent(&parameters(), &frame, true);
        assert_eq!(headers(&packets), [0x28]);
        assert_eq!(packets[0].payload[1..3], [0x0c, 0x08]);
        assert_marker_ends(&packets);
        assert_eq!(headers(&sent(&parameters(), &frame, false)), [0x10]);
    }

    fn packet(sequence: u16, timestamp: u32, marker: bool, payload: &str) -> (Header, Bytes) {
        (Header { marker, payload_type: 96, sequence, timestamp, ssrc: 1 }, hex(payload).into())
    }

    #[test]
    fn elements_of_every_layout_come_apart() {
        // Delimiter, header and the frame's beginning with W 0 and with W 3; then the rest.
        for first in ["48 01 10 0c 08000000043cffbcdaf90040 03 301001", "78 01 10 0c 08000000043cffbcdaf90040 301001"] {
            let packets = [packet(1, 9, false, first), packet(2, 9, true, "90 0203")];
            let units = assembled(&mut depacketiser("AV1"), &packets);
            assert_eq!(units.len(), 1, "{first}");
            assert_eq!(units[0].payload, [hex(SEQUENCE_HEADER), hex("3204 10010203")].concat());
            assert!(units[0].random_access && units[0].parameters.is_some());
        }
    }

    #[test]
    fn a_unit_that_was_joined_in_the_middle_is_left_out() {
        let packets = [packet(1, 9, false, "10 2099"), packet(2, 9, true, "10 2098"), packet(3, 10, true, "10 303099")];
        let units = assembled(&mut depacketiser("AV1"), &packets);
        assert_eq!(units.iter().map(|unit| unit.timestamp).collect::<Vec<_>>(), [10]);
        assert!(units[0].after_loss && !units[0].random_access);
    }

    #[test]
    fn lengths_that_lie_are_refused_and_the_next_unit_is_taken() {
        let mut depacketiser = depacketiser("AV1");
        for (sequence, bad) in [(1, "00 05 10"), (2, "20 ff"), (3, ""), (4, "10 80"), (5, "10 3205 10")] {
            let (header, payload) = packet(sequence, sequence.into(), true, bad);
            assert!(depacketiser.push(&header, &payload).is_err(), "{bad}");
        }
        let units = assembled(&mut depacketiser, &[packet(6, 6, true, "10 303099")]);
        assert!(units[0].after_loss);
    }

    proptest! {
        #[test]
        fn units_survive_the_way_through_and_losses_are_marked(
            lens in proptest::collection::vec((1_usize..3000, proptest::option::of(1_usize..2000)), 1..10),
            sequence: u16,
            fates in proptest::collection::vec(prop_oneof![6 => Just(9_u8), 1 => 0_u8..3], 1..40),
        ) {
            let unit = |(i, (frame, more)): (usize, (usize, Option<usize>))| -> Bytes {
                let mut unit = if i == 0 { key_unit(frame).to_vec() } else { obu(obu_type::FRAME, frame, false) };
                unit.extend(more.into_iter().flat_map(|len| obu(obu_type::TILE_GROUP, len, false)));
                unit.into()
            };
            let units: Vec<Bytes> = lens.into_iter().enumerate().map(unit).collect();
            assert_way_through("AV1", &parameters(), &units, sequence, &fates);
        }

        #[test]
        fn arbitrary_packets_are_taken_without_a_panic(stream in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..20)), 0..20)) {
            push_arbitrary("AV1", stream);
        }

        #[test]
        fn arbitrary_payloads_are_cut_without_a_panic(payload in proptest::collection::vec(any::<u8>(), 0..60), key: bool) {
            sent(&parameters(), &payload.into(), key);
        }
    }
}
