//! Counts what arrives on the tracks of one session: packets, bytes, gaps, and the first picture. No sockets.

use std::rc::Rc;

use super::description::Media;
use crate::{
    picture::PictureWatch,
    rtp::{Header, Sequence, Step},
    shared::Shared,
};

/// The tracks of one session.
#[derive(Debug)]
pub(super) struct Receiver {
    shared: Rc<Shared>,
    tracks: Vec<Track>,
}

#[derive(Debug)]
struct Track {
    channel: u8,
    sequence: Sequence,
    watch: Option<PictureWatch>,
}

impl Receiver {
    pub(super) const fn new(shared: Rc<Shared>) -> Self {
        Self { shared, tracks: Vec::new() }
    }

    /// The next track, and the channel its packets come by when they are interleaved.
    pub(super) fn add_track(&mut self, channel: u8, media: &Media) {
        let watch = media.video.map(|packing| PictureWatch::new(packing, media.sets_known));
        self.tracks.push(Track { channel, sequence: Sequence::default(), watch });
    }

    /// An interleaved frame: odd channels are RTCP.
    pub(super) fn handle_frame(&mut self, channel: u8, data: &[u8], length: usize) {
        if let Some(index) = self.tracks.iter().position(|track| track.channel == channel) {
            self.handle_packet(index, data, length);
        }
    }

    /// `data` may be the beginning of a packet of `length` bytes.
    pub(super) fn handle_packet(&mut self, index: usize, data: &[u8], length: usize) {
        let Some(track) = self.tracks.get_mut(index) else { return };
        let Some(header) = Header::parse(data) else { return };
        let step = track.sequence.follow(header.ssrc, header.sequence);
        self.shared.count_packet(length, step);
        let Some(watch) = track.watch.as_mut().filter(|watch| !watch.is_done()) else { return };
        let payload = data.get(header.length..).unwrap_or_default();
        self.shared.mark_progress(watch.handle_packet(header, payload, matches!(step, Step::Gap(_))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{counters::Counters, picture::Packing};
    use std::sync::Arc;

    fn packet(sequence: u16, marker: bool, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x80, if marker { 0xe0 } else { 0x60 }];
        packet.extend(sequence.to_be_bytes());
        packet.extend([0, 0, 0, 9, 0, 0, 0, 1]);
        packet.extend(payload);
        packet
    }

    #[test]
    fn packets_of_known_channels_are_counted_and_rtcp_is_not() {
        let counters = Arc::<Counters>::default();
        let mut receiver = Receiver::new(Shared::begin(&counters));
        let media = Media { control: String::new(), video: Some(Packing::H264), sets_known: true };
        receiver.add_track(4, &media);
        let frames = [
            (4, packet(1, true, &[0x41])),
            (5, packet(1, false, &[])),
            (4, packet(4, true, &[0x65])),
            (4, packet(3, true, &[0x41])),
            (4, vec![0; 3]),
        ];
        for (channel, data) in &frames {
            receiver.handle_frame(*channel, data, data.len());
        }
        assert_eq!((counters.packets.read(), counters.bytes.read()), (3, 39));
        assert_eq!((counters.gaps.read(), counters.lost.read(), counters.late.read()), (1, 1, 1));
        assert!(counters.first_picture_us.read() >= counters.first_media_us.read());
    }
}
