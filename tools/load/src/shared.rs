//! What the clients of one thread have in common, and what one client shares with the meter.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Instant};

use crate::{clock, counters::Counters};

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
}

const SCRATCH: usize = 256 * 1024;
