//! Sequence numbers and timestamps on their way out of 16 and 32 bits: what is next, what is missing, what came late or
//! twice, and when a sender started anew (RFC 3550 §5.1, appendices A.1 and A.3).
//!
//! It keeps no packet. A late packet is told as such and it is the caller's to drop it: a depacketiser works on what
//! comes in order, and whoever wants to wait for the late keeps a queue in front.

/// A jump ahead of up to this many packets is loss (RFC 3550 A.1 `MAX_DROPOUT`).
const MAX_DROPOUT: u16 = 3000;

/// A packet this far behind the newest is late; further behind it belongs to another run.
const MAX_MISORDER: u16 = 512;

/// What one packet's number says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The first, or one after the newest so far.
    Next {
        /// Counts packets without wrapping.
        number: u64,
        /// How many are missing before it.
        missing: u16,
    },
    /// Behind the newest, and not seen before.
    Late {
        /// Counts packets without wrapping.
        number: u64,
    },
    /// Seen before.
    Duplicate,
    /// Far from anything expected. If its successor follows, the sender has started anew (A.1 `bad_seq`).
    Stray,
    /// The second packet of a sender that started anew: how many are missing is not known.
    Restarted {
        /// Goes on counting from the newest before.
        number: u64,
    },
}

/// Follows the sequence numbers of one sender.
#[derive(Clone, Debug, Default)]
pub struct SequenceTracker {
    newest: Option<u64>,
    /// The first of this run: what comes behind it was never missed.
    first: u64,
    /// Where a stray packet's successor would be.
    expected_restart: Option<u16>,
    /// One bit for each of the newest [`MAX_MISORDER`] packets, by its number.
    seen: [u64; MAX_MISORDER as usize / 64],
    received: u64,
    missing: u64,
    late: u64,
    duplicates: u64,
}

impl SequenceTracker {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A packet came.
    pub fn push(&mut self, sequence: u16) -> Arrival {
        let Some(newest) = self.newest else {
            // Room below, so that what comes late behind the first packet has a number too.
            let number = 0x1_0000 + u64::from(sequence);
            self.first = number;
            self.advance(number, 0);
            return Arrival::Next { number, missing: 0 };
        };
        let ahead = sequence.wrapping_sub(newest as u16);
        match ahead {
            1..=MAX_DROPOUT => {
                let number = newest + u64::from(ahead);
                self.advance(number, ahead - 1);
                Arrival::Next { number, missing: ahead - 1 }
            }
            0 => self.again(),
            _ if ahead > u16::MAX - MAX_MISORDER => self.behind(newest - u64::from(ahead.wrapping_neg())),
            _ if self.expected_restart == Some(sequence) => {
                let number = newest + 1;
                // Its low bits must stay the sequence number: the next multiple lies ahead.
                let number = number + u64::from(sequence.wrapping_sub(number as u16));
                self.seen = Default::default();
                self.first = number;
                self.advance(number, 0);
                Arrival::Restarted { number }
            }
            _ => {
                self.expected_restart = Some(sequence.wrapping_add(1));
                Arrival::Stray
            }
        }
    }

    /// Packets that came, each counted once.
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// Packets that are missing still; one that comes late is missing no more.
    pub const fn missing(&self) -> u64 {
        self.missing
    }

    /// Packets that came behind a newer one.
    pub const fn late(&self) -> u64 {
        self.late
    }

    /// Packets that came again.
    pub const fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// The newest number, the extended highest sequence number of a receiver report in its low 32 bits.
    pub const fn newest(&self) -> Option<u64> {
        self.newest
    }

    fn advance(&mut self, number: u64, missing: u16) {
        for passed in 0..=u64::from(missing.min(MAX_MISORDER - 1)) {
            self.mark(number - passed, false);
        }
        self.mark(number, true);
        self.newest = Some(number);
        self.expected_restart = None;
        self.received += 1;
        self.missing += u64::from(missing);
    }

    fn behind(&mut self, number: u64) -> Arrival {
        if self.is_marked(number) {
            return self.again();
        }
        self.mark(number, true);
        self.received += 1;
        self.late += 1;
        self.missing = self.missing.saturating_sub(u64::from(number > self.first));
        Arrival::Late { number }
    }

    fn again(&mut self) -> Arrival {
        self.duplicates += 1;
        Arrival::Duplicate
    }

    fn is_marked(&self, number: u64) -> bool {
        let bit = (number % u64::from(MAX_MISORDER)) as usize;
        self.seen[bit / 64] >> (bit % 64) & 1 == 1
    }

    fn mark(&mut self, number: u64, seen: bool) {
        let bit = (number % u64::from(MAX_MISORDER)) as usize;
        let word = &mut self.seen[bit / 64];
        *word = *word & !(1 << (bit % 64)) | u64::from(seen) << (bit % 64);
    }
}

/// Follows the 32-bit timestamps of one track on a line of 64 bits: each is taken to be the nearest to the one before.
#[derive(Clone, Copy, Debug, Default)]
pub struct TimestampLine {
    last: Option<i64>,
}

impl TimestampLine {
    /// Nothing seen yet; the line begins with the first timestamp as it stands.
    pub const fn new() -> Self {
        Self { last: None }
    }

    /// The timestamp of a packet.
    pub const fn push(&mut self, timestamp: u32) -> i64 {
        let ticks = self.place(timestamp);
        self.last = Some(ticks);
        ticks
    }

    /// Where a timestamp lies without moving on, for one that comes by the way, in a sender report.
    pub const fn place(&self, timestamp: u32) -> i64 {
        match self.last {
            Some(last) => last.wrapping_add(timestamp.wrapping_sub(last as u32) as i32 as i64),
            None => timestamp as i64,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(sequences: &[u16]) -> (SequenceTracker, Vec<Arrival>) {
        let mut tracker = SequenceTracker::new();
        let arrivals = sequences.iter().map(|sequence| tracker.push(*sequence)).collect();
        (tracker, arrivals)
    }

    const fn next(number: u64, missing: u16) -> Arrival {
        Arrival::Next { number, missing }
    }

    #[test]
    fn numbers_go_on_over_the_wrap() {
        let (tracker, arrivals) = run(&[65_534, 65_535, 0, 2]);
        assert_eq!(arrivals, [next(131_070, 0), next(131_071, 0), next(131_072, 0), next(131_074, 1)]);
        assert_eq!((tracker.received(), tracker.missing()), (4, 1));
    }

    #[test]
    fn a_late_packet_is_missing_no_more_and_a_second_one_is_a_duplicate() {
        let (tracker, arrivals) = run(&[10, 13, 11, 11, 13, 12, 14]);
        assert_eq!(arrivals[1], next(0x1_000d, 2));
        assert_eq!(arrivals[2], Arrival::Late { number: 0x1_000b });
        assert_eq!(arrivals[3..5], [Arrival::Duplicate, Arrival::Duplicate]);
        assert_eq!(arrivals[5..], [Arrival::Late { number: 0x1_000c }, next(0x1_000e, 0)]);
        assert_eq!((tracker.missing(), tracker.late(), tracker.duplicates()), (0, 2, 2));
    }

    #[test]
    fn a_stray_packet_changes_nothing_and_two_in_a_row_are_a_new_run() {
        let (tracker, arrivals) = run(&[10, 40_000, 11, 40_000, 40_001, 40_002]);
        assert_eq!(arrivals[1..4], [Arrival::Stray, next(0x1_000b, 0), Arrival::Stray]);
        assert_eq!(arrivals[4], Arrival::Restarted { number: 0x1_0000 + 40_001 });
        assert_eq!(arrivals[5], next(0x1_0000 + 40_002, 0));
        assert_eq!((tracker.received(), tracker.missing()), (4, 0));
    }

    #[test]
    fn timestamps_go_on_over_the_wrap_in_both_directions() {
        let mut line = TimestampLine::new();
        assert_eq!(line.push(u32::MAX - 10), 0xffff_fff5);
        assert_eq!(line.push(20), 0x1_0000_0014);
        assert_eq!(line.place(u32::MAX), 0xffff_ffff);
        assert_eq!(line.push(21), 0x1_0000_0015);
    }

    proptest! {
        #[test]
        fn counts_agree_with_what_came(
            start: u16,
            fates in proptest::collection::vec(prop_oneof![8 => Just(1_u8), 1 => Just(0), 1 => Just(2)], 1..400),
            swap in 0_usize..20,
        ) {
            let mut sent: Vec<u16> = Vec::new();
            for (i, fate) in fates.iter().enumerate() {
                sent.extend((0..*fate).map(|_| start.wrapping_add(i as u16)));
            }
            for at in (0..sent.len().saturating_sub(swap)).step_by(swap.max(1) * 2) {
                sent.swap(at, at + swap);
            }
            let (tracker, arrivals) = run(&sent);
            let distinct: std::collections::BTreeSet<u16> = sent.iter().copied().collect();
            prop_assert_eq!(tracker.received(), distinct.len() as u64);
            prop_assert_eq!(tracker.duplicates(), (sent.len() - distinct.len()) as u64);
            prop_assert!(!arrivals.contains(&Arrival::Stray));
            let mut newest = None;
            for arrival in arrivals {
                if let Arrival::Next { number, .. } = arrival {
                    prop_assert!(newest.is_none_or(|newest| number > newest));
                    newest = Some(number);
                }
            }
        }

        #[test]
        fn any_numbers_are_taken_without_a_panic(sequences in proptest::collection::vec(any::<u16>(), 0..300)) {
            let (tracker, arrivals) = run(&sequences);
            prop_assert!(tracker.received() + tracker.duplicates() <= arrivals.len() as u64);
        }
    }
}
