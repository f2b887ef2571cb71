//! A socket that takes nothing of what waits for it: since when, and what that leads to. Sans-IO.
//!
//! First what was not begun is dropped, once; later the client is given up. Timers of a busy thread fire late, and
//! other events may come before them: what is due stays due until it was done.

use std::time::Duration;

use crate::base::Monotonic;

/// How long a socket may take nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Before what waits is dropped.
    pub(super) shed_after: Duration,
    /// Before the client is gone.
    pub(super) give_up_after: Duration,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// To drop what was not begun.
    Shed,
    /// To give the client up.
    GiveUp,
}

/// Whether a socket is blocked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Blockage {
    blocked: Option<Blocked>,
}

#[derive(Clone, Copy, Debug)]
struct Blocked {
    since: Monotonic,
    shed: bool,
}

impl Blockage {
    /// Everything was written.
    pub(super) fn clear(&mut self) {
        self.blocked = None;
    }

    /// Something waits after a write at `now`; `progress` says that some of it was taken. Whether this is where the
    /// blockage begins: there is a new deadline.
    pub(super) fn note(&mut self, progress: bool, now: Monotonic) -> bool {
        let begins = self.blocked.is_none();
        if begins || progress {
            self.blocked = Some(Blocked { since: now, shed: false });
        }
        begins
    }

    /// When something is due next; earlier than now if it is overdue.
    pub(super) fn deadline(&self, patience: Patience) -> Option<Monotonic> {
        let Blocked { since, shed } = self.blocked?;
        let give_up = since + patience.give_up_after;
        Some(if shed { give_up } else { give_up.min(since + patience.shed_after) })
    }

    /// What is due at `now`. [`Due::Shed`] comes once until the socket takes something.
    pub(super) fn poll_due(&mut self, patience: Patience, now: Monotonic) -> Option<Due> {
        let blocked = self.blocked.as_mut()?;
        if now >= blocked.since + patience.give_up_after {
            return Some(Due::GiveUp);
        }
        (now >= blocked.since + patience.shed_after && !std::mem::replace(&mut blocked.shed, true)).then_some(Due::Shed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience { shed_after: Duration::from_secs(2), give_up_after: Duration::from_secs(10) };

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_nanos((1000 + seconds) * 1_000_000_000)
    }

    #[test]
    fn what_waits_is_dropped_once_and_then_the_client_is_given_up() {
        let mut blockage = Blockage::default();
        assert_eq!((blockage.deadline(PATIENCE), blockage.poll_due(PATIENCE, at(0))), (None, None));
        assert!(blockage.note(false, at(0)));
        assert!(!blockage.note(false, at(1)), "it goes on");
        assert_eq!((blockage.deadline(PATIENCE), blockage.poll_due(PATIENCE, at(1))), (Some(at(2)), None));
        assert_eq!(blockage.poll_due(PATIENCE, at(2)), Some(Due::Shed));
        assert_eq!((blockage.deadline(PATIENCE), blockage.poll_due(PATIENCE, at(9))), (Some(at(10)), None));
        assert_eq!(blockage.poll_due(PATIENCE, at(10)), Some(Due::GiveUp));
    }

    #[test]
    fn a_timer_that_is_set_late_does_not_pass_over_what_is_due() {
        let mut blockage = Blockage::default();
        blockage.note(true, at(0));
        // The thread was away for longer than the first wait; whatever else happens first sets the timer anew.
        assert_eq!(blockage.deadline(PATIENCE), Some(at(2)), "overdue, whatever the time is");
        assert_eq!(blockage.poll_due(PATIENCE, at(5)), Some(Due::Shed));
    }

    #[test]
    fn a_socket_that_takes_a_little_has_all_its_time_again() {
        let mut blockage = Blockage::default();
        blockage.note(false, at(0));
        assert_eq!(blockage.poll_due(PATIENCE, at(3)), Some(Due::Shed));
        assert!(!blockage.note(true, at(9)));
        assert_eq!((blockage.deadline(PATIENCE), blockage.poll_due(PATIENCE, at(10))), (Some(at(11)), None));
        assert_eq!(blockage.poll_due(PATIENCE, at(11)), Some(Due::Shed));
        blockage.clear();
        assert_eq!(blockage.deadline(PATIENCE), None);
    }

    #[test]
    fn who_is_given_up_before_anything_would_be_dropped_is_given_up() {
        let hasty = Patience { give_up_after: Duration::from_secs(1), ..PATIENCE };
        let mut blockage = Blockage::default();
        blockage.note(false, at(0));
        assert_eq!((blockage.deadline(hasty), blockage.poll_due(hasty, at(1))), (Some(at(1)), Some(Due::GiveUp)));
    }
}
