//! What the tests of planners and depacketisers share: the packets of a plan as bytes, what holds for every plan, and
//! the way from units to packets and back.

use bytes::Bytes;

use super::{
    depacketise::{Assembled, Depacketiser},
    packet::Header,
    plan,
};
use crate::media::{
    ClockRate, CodecParameters, Fragment, MediaKind, Track, TrackId,
    plan::{Body, PAYLOAD_MAX},
};

/// One packet as a receiver sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) marker: bool,
    pub(crate) payload: Vec<u8>,
}

pub(crate) fn track(parameters: CodecParameters) -> Track {
    let kind = if parameters.sound().is_some() { MediaKind::Audio } else { MediaKind::Video };
    Track {
        id: TrackId(0),
        kind,
        clock_rate: ClockRate::VIDEO,
        parameters,
        derived_from: None,
        generation: 0,
        revision: 0,
    }
}

/// Plans a unit, checks what must hold of every plan, and gives the packets.
pub(crate) fn sent(parameters: &CodecParameters, payload: &Bytes, random_access: bool) -> Vec<Sent> {
    let (lead, fragments) = plan(&track(parameters.clone()), payload, random_access, false);
    let packets: Vec<Sent> = fragments.iter().map(|fragment| packet(&lead, payload, fragment)).collect();
    for packet in &packets {
        assert!(packet.payload.len() <= PAYLOAD_MAX, "{} bytes", packet.payload.len());
        assert!(!packet.payload.is_empty());
    }
    packets
}

/// The marker stands on the last packet and on no other.
pub(crate) fn assert_marker_ends(packets: &[Sent]) {
    let markers: Vec<usize> = packets.iter().enumerate().filter(|(_, sent)| sent.marker).map(|(i, _)| i).collect();
    assert_eq!(markers, packets.len().checked_sub(1).into_iter().collect::<Vec<_>>());
}

/// All payloads of a run have one size but the last, which is no larger.
pub(crate) fn assert_one_size(run: &[Sent]) {
    if let [first, .., last] = run {
        assert!(run[..run.len() - 1].iter().all(|sent| sent.payload.len() == first.payload.len()));
        assert!(last.payload.len() <= first.payload.len());
    }
}

fn packet(lead: &Bytes, payload: &Bytes, fragment: &Fragment) -> Sent {
    let body = match fragment.body() {
        Body::Lead => lead,
        Body::Payload => payload,
    };
    Sent { marker: fragment.marker(), payload: [fragment.head(), &body[fragment.range()]].concat() }
}

/// The packets of units that are `step` ticks apart, numbered from `sequence` on.
pub(crate) fn packets(parameters: &CodecParameters, units: &[Bytes], sequence: u16, step: u32) -> Vec<(Header, Bytes)> {
    let mut out: Vec<(Header, Bytes)> = Vec::new();
    for (index, unit) in (0_u32..).zip(units) {
        for packet in sent(parameters, unit, index == 0) {
            let header = Header {
                marker: packet.marker,
                payload_type: 96,
                sequence: sequence.wrapping_add(out.len() as u16),
                timestamp: (u32::MAX - 5 * step).wrapping_add(index * step),
                ssrc: 7,
            };
            out.push((header, packet.payload.into()));
        }
    }
    out
}

pub(crate) fn depacketiser(encoding: &str) -> Depacketiser {
    Depacketiser::new(encoding, ClockRate::VIDEO, None).unwrap().unwrap()
}

/// Pushes packets and gives what they became; none may be refused.
pub(crate) fn assembled(depacketiser: &mut Depacketiser, packets: &[(Header, Bytes)]) -> Vec<Assembled> {
    packets.iter().flat_map(|(header, payload)| depacketiser.push(header, payload).unwrap()).collect()
}

/// Units survive the way through a planner and a depacketiser; then packets are dropped, doubled and swapped as `fates`
/// say, and what comes out is some of the units, whole and in order, with every hole marked.
pub(crate) fn assert_way_through(
    encoding: &str,
    parameters: &CodecParameters,
    units: &[Bytes],
    sequence: u16,
    fates: &[u8],
) {
    const STEP: u32 = 3000;
    let packets = packets(parameters, units, sequence, STEP);
    let whole = assembled(&mut depacketiser(encoding), &packets);
    assert_eq!(whole.iter().map(|unit| &unit.payload).collect::<Vec<_>>(), units.iter().collect::<Vec<_>>());
    assert!(whole.iter().all(|unit| !unit.after_loss));
    assert!(whole.windows(2).all(|pair| pair[1].timestamp - pair[0].timestamp == i64::from(STEP)), "over the wrap");

    let mut lossy = Vec::new();
    for (packet, fate) in packets.into_iter().zip(fates.iter().cycle()) {
        match fate {
            0 => {}
            1 => lossy.extend([packet.clone(), packet]),
            2 if !lossy.is_empty() => lossy.insert(lossy.len() - 1, packet),
            _ => lossy.push(packet),
        }
    }
    let mut depacketiser = depacketiser(encoding);
    let mut expected = 0;
    for unit in lossy.iter().flat_map(|(header, payload)| depacketiser.push(header, payload).unwrap_or_default()) {
        let offset = unit.timestamp - whole[0].timestamp;
        // The line begins with the first timestamp that came, which may be a whole turn away.
        let at = (offset.rem_euclid(1 << 32) / i64::from(STEP)) as usize;
        assert!(at >= expected, "unit {at} after {expected}");
        assert_eq!(unit.payload, units[at], "unit {at} is not whole");
        assert!(at == expected || expected == 0 || unit.after_loss, "the hole before unit {at} is not marked");
        expected = at + 1;
    }
}

/// Pushes bytes that nobody meant as packets, in order.
pub(crate) fn push_arbitrary(encoding: &str, stream: Vec<(bool, Vec<u8>)>) {
    let mut depacketiser = depacketiser(encoding);
    for (index, (marker, payload)) in (0_u16..).zip(stream) {
        let header = Header { marker, payload_type: 96, sequence: index, timestamp: u32::from(index / 3), ssrc: 0 };
        let _ = depacketiser.push(&header, &payload.into());
    }
}
