//! What the planners' tests share: the packets of a plan as bytes, and what holds for every plan.

use bytes::Bytes;

use super::plan;
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
    Track { id: TrackId(0), kind, clock_rate: ClockRate::VIDEO, parameters, generation: 0, revision: 0 }
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
