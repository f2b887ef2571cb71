//! Keeps watch over one connection: what a client may take its time with, and for how long. Sans-IO.
//!
//! The socket, the requests and the answers of a connection report here; its driver asks when to look again and what
//! to do then. Three things end a connection: a head that does not come, nothing asked for a while, and a socket or an
//! answer that takes no byte. Slow alone is never a reason. Every method takes `&self`, since the answers of HTTP/2 are
//! sent from tasks of their own.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use crate::base::Monotonic;

/// How long a client may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct VigilLimits {
    /// From the first byte of a head, or from the beginning of the connection, to its end.
    pub(super) head: Duration,
    /// Without a request.
    pub(super) idle: Duration,
    /// Without taking a byte of what is there to be sent.
    pub(super) write: Duration,
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The head of a request did not come in time.
    Head,
    /// There was nothing to do.
    Idle,
    /// The client takes nothing.
    Stuck,
}

/// `0` in a time means that the thing is not so.
#[derive(Debug)]
pub(super) struct Vigil {
    limits: VigilLimits,
    /// HTTP/2 says other things between requests, so that bytes are no sign of a head.
    heads_seen_by_bytes: bool,
    requests: AtomicU32,
    answers: AtomicU32,
    head_since: AtomicU64,
    quiet_since: AtomicU64,
    blocked_since: AtomicU64,
    progress_at: AtomicU64,
}

const ORDER: Ordering = Ordering::Relaxed;

impl Vigil {
    /// A connection that begins; its first request is due.
    pub(super) fn new(limits: VigilLimits, http2: bool, now: Monotonic) -> Self {
        let now = now.as_nanos().max(1);
        Self {
            limits,
            heads_seen_by_bytes: !http2,
            requests: AtomicU32::new(0),
            answers: AtomicU32::new(0),
            head_since: AtomicU64::new(now),
            quiet_since: AtomicU64::new(now),
            blocked_since: AtomicU64::new(0),
            progress_at: AtomicU64::new(now),
        }
    }

    /// Bytes arrived.
    pub(super) fn handle_read(&self, now: Monotonic) {
        if self.heads_seen_by_bytes && self.requests.load(ORDER) == 0 && self.head_since.load(ORDER) == 0 {
            self.head_since.store(now.as_nanos(), ORDER);
        }
    }

    /// The head of a request is complete.
    pub(super) fn handle_request(&self) {
        self.requests.fetch_add(1, ORDER);
        self.head_since.store(0, ORDER);
    }

    /// A request was answered, or given up.
    pub(super) fn handle_answered(&self, now: Monotonic) {
        self.quiet_since.store(now.as_nanos(), ORDER);
        self.requests.fetch_sub(1, ORDER);
    }

    /// The socket takes nothing now.
    pub(super) fn handle_blocked(&self, now: Monotonic) {
        if self.blocked_since.load(ORDER) == 0 {
            self.blocked_since.store(now.as_nanos(), ORDER);
        }
    }

    /// The socket took something.
    pub(super) fn handle_written(&self) {
        if self.blocked_since.load(ORDER) != 0 {
            self.blocked_since.store(0, ORDER);
        }
    }

    /// The body of an answer waits to be sent.
    pub(super) fn handle_body(&self, now: Monotonic) {
        self.progress_at.store(now.as_nanos(), ORDER);
        self.answers.fetch_add(1, ORDER);
    }

    /// Some of a body was taken.
    pub(super) fn handle_progress(&self, now: Monotonic) {
        self.progress_at.store(now.as_nanos(), ORDER);
    }

    /// A body was sent to its end, or given up.
    pub(super) fn handle_body_gone(&self, now: Monotonic) {
        self.quiet_since.store(now.as_nanos(), ORDER);
        self.answers.fetch_sub(1, ORDER);
    }

    /// When to look again. It may move earlier with every report.
    pub(super) fn poll_deadline(&self) -> Monotonic {
        let mut deadline = u64::MAX;
        let mut due = |since: u64, limit: Duration| {
            deadline = deadline.min((Monotonic::from_nanos(since) + limit).as_nanos());
        };
        let (requests, answers) = (self.requests.load(ORDER), self.answers.load(ORDER));
        let (head, blocked) = (self.head_since.load(ORDER), self.blocked_since.load(ORDER));
        if head != 0 && requests == 0 {
            due(head, self.limits.head);
        }
        if blocked != 0 {
            due(blocked, self.limits.write);
        }
        if answers > 0 {
            due(self.progress_at.load(ORDER), self.limits.write);
        }
        if requests == 0 && answers == 0 {
            due(self.quiet_since.load(ORDER), self.limits.idle);
        }
        Monotonic::from_nanos(deadline)
    }

    /// Whether the connection has to end now.
    pub(super) fn handle_timeout(&self, now: Monotonic) -> Option<Ending> {
        let over = |since: u64, limit: Duration| now >= Monotonic::from_nanos(since) + limit;
        let (requests, answers) = (self.requests.load(ORDER), self.answers.load(ORDER));
        let (head, blocked) = (self.head_since.load(ORDER), self.blocked_since.load(ORDER));
        let stuck = (blocked != 0 && over(blocked, self.limits.write))
            || (answers > 0 && over(self.progress_at.load(ORDER), self.limits.write));
        if stuck {
            return Some(Ending::Stuck);
        }
        if requests > 0 {
            return None;
        }
        if head != 0 && over(head, self.limits.head) {
            return Some(Ending::Head);
        }
        (answers == 0 && over(self.quiet_since.load(ORDER), self.limits.idle)).then_some(Ending::Idle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: VigilLimits =
        VigilLimits { head: Duration::from_secs(10), idle: Duration::from_secs(60), write: Duration::from_secs(20) };

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_nanos((1000 + seconds) * 1_000_000_000)
    }

    #[test]
    fn a_head_that_trickles_in_ends_the_connection() {
        let vigil = Vigil::new(LIMITS, false, at(0));
        assert_eq!(vigil.poll_deadline(), at(10), "the first request is due from the start");
        for second in 1..10 {
            vigil.handle_read(at(second));
            assert_eq!(vigil.handle_timeout(at(second)), None);
        }
        assert_eq!(vigil.handle_timeout(at(10)), Some(Ending::Head));
    }

    #[test]
    fn between_requests_the_idle_limit_holds_until_the_next_byte() {
        let vigil = Vigil::new(LIMITS, false, at(0));
        vigil.handle_request();
        assert_eq!(vigil.handle_timeout(at(500)), None, "a request may be held as long as its handler likes");
        vigil.handle_answered(at(500));
        assert_eq!((vigil.poll_deadline(), vigil.handle_timeout(at(559))), (at(560), None));
        assert_eq!(vigil.handle_timeout(at(560)), Some(Ending::Idle));
        vigil.handle_read(at(530));
        vigil.handle_read(at(535));
        assert_eq!((vigil.poll_deadline(), vigil.handle_timeout(at(540))), (at(540), Some(Ending::Head)));
    }

    #[test]
    fn what_http_2_says_between_requests_begins_no_head() {
        let vigil = Vigil::new(LIMITS, true, at(0));
        vigil.handle_request();
        vigil.handle_answered(at(1));
        vigil.handle_read(at(2));
        assert_eq!((vigil.poll_deadline(), vigil.handle_timeout(at(20))), (at(61), None));
    }

    #[test]
    fn a_socket_that_takes_nothing_is_stuck_and_a_slow_one_is_not() {
        let vigil = Vigil::new(LIMITS, false, at(0));
        vigil.handle_request();
        vigil.handle_blocked(at(1));
        vigil.handle_blocked(at(15));
        assert_eq!(vigil.poll_deadline(), at(21));
        vigil.handle_written();
        vigil.handle_blocked(at(16));
        assert_eq!((vigil.handle_timeout(at(21)), vigil.handle_timeout(at(36))), (None, Some(Ending::Stuck)));
    }

    #[test]
    fn a_body_that_nobody_takes_is_stuck_even_if_the_socket_is_free() {
        let vigil = Vigil::new(LIMITS, true, at(0));
        vigil.handle_request();
        vigil.handle_body(at(1));
        vigil.handle_answered(at(1));
        vigil.handle_progress(at(10));
        assert_eq!((vigil.poll_deadline(), vigil.handle_timeout(at(29))), (at(30), None));
        assert_eq!(vigil.handle_timeout(at(30)), Some(Ending::Stuck));
        vigil.handle_body_gone(at(40));
        assert_eq!((vigil.poll_deadline(), vigil.handle_timeout(at(99))), (at(100), None));
        assert_eq!(vigil.handle_timeout(at(100)), Some(Ending::Idle));
    }
}
