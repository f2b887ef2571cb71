//! Frames on their way out: shared bytes, none of them copied, written in any number of pieces. Sans-IO.

use std::{collections::VecDeque, io::IoSlice};

use bytes::{Buf, Bytes};

/// What waits at one socket.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    frames: VecDeque<Bytes>,
    bytes: usize,
    /// Some of the front frame is written.
    begun: bool,
}

/// Room for so many frames is kept when they are written.
const ROOM_KEPT: usize = 8;

impl Outbox {
    pub(super) fn push(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Fills `slices` with what is to be written next; how many it filled.
    pub(super) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let filled = self.frames.iter().zip(slices.iter_mut());
        filled.map(|(frame, slice)| *slice = IoSlice::new(frame)).count()
    }

    /// So many bytes of it were written.
    pub(super) fn written(&mut self, mut count: usize) {
        self.bytes = self.bytes.saturating_sub(count);
        while let Some(front) = self.frames.front_mut() {
            if count < front.len() {
                front.advance(count);
                self.begun |= count > 0;
                return;
            }
            count -= front.len();
            self.begun = false;
            self.frames.pop_front();
        }
        if self.frames.capacity() > ROOM_KEPT {
            self.frames = VecDeque::new();
        }
    }

    /// Drops what is not begun: only whole frames may stand on the wire.
    pub(super) fn drop_waiting(&mut self) {
        self.frames.truncate(usize::from(self.begun));
        self.bytes = self.frames.front().map_or(0, Bytes::len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(outbox: &Outbox) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 8];
        let filled = outbox.slices(&mut slices);
        slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn what_is_written_goes_and_a_begun_frame_stays_whole() {
        let mut outbox = Outbox::default();
        for frame in ["one", "two", "three"] {
            outbox.push(Bytes::from_static(frame.as_bytes()));
        }
        assert_eq!((rest(&outbox), outbox.bytes()), (b"onetwothree".to_vec(), 11));
        outbox.written(3);
        assert_eq!(rest(&outbox), b"twothree");
        outbox.written(1);
        outbox.drop_waiting();
        assert_eq!((rest(&outbox), outbox.bytes()), (b"wo".to_vec(), 2));
        outbox.written(2);
        assert!(outbox.is_empty());
        outbox.push(Bytes::from_static(b"four"));
        outbox.drop_waiting();
        assert!(outbox.is_empty() && outbox.bytes() == 0);
    }

    #[test]
    fn no_more_is_shown_than_there_is_room_for() {
        let mut outbox = Outbox::default();
        (0..100).for_each(|_| outbox.push(Bytes::from_static(b"x")));
        assert_eq!(outbox.slices(&mut [IoSlice::new(&[]); 64]), 64);
        outbox.written(100);
        assert!(outbox.frames.capacity() <= ROOM_KEPT);
    }
}
