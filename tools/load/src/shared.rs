//! What the clients of one thread have in common, and what one client shares with the meter.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Instant};

use crate::{clock, counters::Counters, picture::Progress, rtp::Step};

/// The read buffer of a thread: between two reads a client keeps only what was cut.
pub(crate) type Scratch = Rc<RefCell<Vec<u8>>>;

/// A buffer that takes a whole picture at once.
pub(crate) fn scratch() -> Scratch {
    Rc::new(RefCell::new(vec![0; SCRATCH]))
}

/// A client's counters and the moment from which its times are counted.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) counters: Arc<Counters>,
    pub(crate) began: Instant,
}

impl Shared {
    /// A client that begins now.
    pub(crate) fn begin(counters: &Arc<Counters>) -> Rc<Self> {
        Rc::new(Self { counters: counters.clone(), began: clock::now() })
    }

    /// An RTP packet of `length` bytes arrived, and continues its run as `step` says.
    pub(crate) fn count_packet(&self, length: usize, step: Step) {
        let Self { counters, began } = self;
        counters.packets.add(1);
        counters.bytes.add(length as u64);
        match step {
            Step::InOrder => {}
            Step::Gap(missing) => {
                counters.gaps.add(1);
                counters.lost.add(u64::from(missing));
            }
            Step::Late => {
                counters.late.add(1);
                counters.lost.take_back(1);
            }
        }
        counters.first_media_us.mark(*began);
    }

    /// Notes what a packet brought the decoder.
    pub(crate) fn mark_progress(&self, progress: Progress) {
        match progress {
            Progress::None => {}
            Progress::Key => self.counters.first_key_us.mark(self.began),
            Progress::Picture => {
                self.counters.first_key_us.mark(self.began);
                self.counters.first_picture_us.mark(self.began);
            }
        }
    }
}

const SCRATCH: usize = 256 * 1024;
