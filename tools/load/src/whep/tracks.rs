//! What the answer says of the tracks, and what is counted on each. No sockets.

use std::rc::Rc;

use crate::{
    picture::{Packing, PictureWatch},
    rtp::{Header, Sequence},
    shared::Shared,
};

/// The tracks of one session, told apart by payload type.
#[derive(Debug)]
pub(super) struct Tracks {
    shared: Rc<Shared>,
    tracks: Vec<Track>,
}

#[derive(Debug)]
struct Track {
    types: Vec<u8>,
    sequence: Sequence,
    watch: Option<PictureWatch>,
}

impl Tracks {
    /// The tracks an answer takes up. Types of retransmissions are left out: what comes there was counted as lost.
    pub(super) fn of(answer: &str, shared: Rc<Shared>) -> Self {
        let mut tracks = Vec::new();
        for section in answer.split("\nm=").skip(1) {
            let line = section.lines().next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            let (Some(kind), Some(port)) = (words.next(), words.next()) else { continue };
            if port == "0" {
                continue;
            }
            let name_of = |number: u8| {
                let map = format!("a=rtpmap:{number} ");
                section.lines().find_map(|line| line.strip_prefix(&map)).unwrap_or_default().to_ascii_lowercase()
            };
            let offered: Vec<u8> = words.skip(1).filter_map(|word| word.parse().ok()).collect();
            let types: Vec<u8> = offered.into_iter().filter(|number| !name_of(*number).starts_with("rtx/")).collect();
            let packing = match types.first().map(|number| name_of(*number)) {
                Some(name) if name.starts_with("h264/") => Packing::H264,
                Some(name) if name.starts_with("h265/") => Packing::H265,
                _ => Packing::Other,
            };
            let watch = (kind == "video").then(|| PictureWatch::new(packing, false));
            tracks.push(Track { types, sequence: Sequence::default(), watch });
        }
        Self { shared, tracks }
    }

    /// Whether somebody still has to look into the payloads.
    pub(super) fn awaits_picture(&self) -> bool {
        self.tracks.iter().filter_map(|track| track.watch.as_ref()).any(|watch| !watch.is_done())
    }

    /// A packet as it arrived, sealed.
    pub(super) fn handle_sealed(&mut self, packet: &[u8]) {
        let Some(header) = Header::parse(packet) else { return };
        let kind = packet[1] & 0x7f;
        let Some(track) = self.tracks.iter_mut().find(|track| track.types.contains(&kind)) else { return };
        self.shared.count_packet(packet.len(), track.sequence.follow(header.ssrc, header.sequence));
    }

    /// The payload of a packet of type `kind`, opened.
    pub(super) fn handle_opened(&mut self, kind: u8, marker: bool, timestamp: u32, gap: bool, payload: &[u8]) {
        let Some(track) = self.tracks.iter_mut().find(|track| track.types.contains(&kind)) else { return };
        let Some(watch) = &mut track.watch else { return };
        let header = Header { marker, sequence: 0, timestamp, ssrc: 0, length: 0 };
        self.shared.mark_progress(watch.handle_packet(header, payload, gap));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::Counters;
    use std::sync::Arc;

    const ANSWER: &str = "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=rtpmap:96 H264/90000\r\na=rtpmap:97 rtx/90000\r\n\
        m=audio 0 UDP/TLS/RTP/SAVPF 111\r\na=rtpmap:111 opus/48000/2\r\n";

    #[test]
    fn media_is_counted_and_retransmissions_are_not() {
        let counters = Arc::<Counters>::default();
        let mut tracks = Tracks::of(ANSWER, Shared::begin(&counters));
        let packet = |kind: u8, sequence: u8| [0x80, kind, 0, sequence, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0];
        for (kind, sequence) in [(96, 1), (96, 2), (96, 5), (97, 1), (111, 1)] {
            tracks.handle_sealed(&packet(kind, sequence));
        }
        assert_eq!((counters.packets.read(), counters.lost.read()), (3, 2));
        assert!(tracks.awaits_picture());
        tracks.handle_opened(96, false, 9, false, &[0x78, 0, 1, 0x67, 0, 1, 0x68]);
        tracks.handle_opened(96, true, 9, false, &[0x65, 1]);
        assert!(!tracks.awaits_picture() && counters.first_picture_us.read() > 0);
    }
}
