//! The life of one rendition as a machine: demand and news of the source in; start, stop and the fate of readers out.
//!
//! ```text
//! idle ──demand──► waiting ──first unit──► ready ◄──unit── stalled
//!   ▲                 │  ▲                   │  └─silence────▲ │
//!   └──nobody for a while┘ lost ◄────source gone─────────────┴─┘
//! ```

use std::{sync::Arc, time::Duration};

use super::source::Outlook;
use crate::base::{Error, Monotonic};

/// Where a rendition stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamState {
    /// Nobody watches, and nothing is pulled.
    Idle,
    /// The source was asked for and has not delivered yet.
    Waiting,
    /// Units come in.
    Ready,
    /// The source is connected and silent.
    Stalled,
    /// The source is gone; it is tried again.
    Lost,
}

impl StreamState {
    /// The word of the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Waiting => "waiting",
            Self::Ready => "ready",
            Self::Stalled => "stalled",
            Self::Lost => "lost",
        }
    }
}

/// When a rendition is pulled, and how long its parts wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamPolicy {
    /// Pulled only while somebody watches, and for so long after the last one left; `None` is always.
    pub close_after: Option<Duration>,
    /// How long a reader of a path that is not ready waits for it.
    pub start_timeout: Duration,
    /// Silence that counts as stalled.
    pub stalled_after: Duration,
    /// How long readers are held over a loss of the source.
    pub hold_readers: Duration,
}

impl Default for StreamPolicy {
    fn default() -> Self {
        Self {
            close_after: None,
            start_timeout: Duration::from_secs(10),
            stalled_after: Duration::from_secs(5),
            hold_readers: Duration::from_secs(30),
        }
    }
}

/// What the owner of the machine has to do.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Start the source.
    Start,
    /// Stop the source.
    Stop,
    /// Readers have been held long enough.
    EndReaders(Arc<Error>),
    /// Readers may wait again.
    HoldReaders,
}

#[derive(Debug)]
pub(super) struct StateMachine {
    policy: StreamPolicy,
    state: StreamState,
    since: Monotonic,
    demand: usize,
    running: bool,
    idle_since: Monotonic,
    newest: Option<Monotonic>,
    error: Option<Arc<Error>>,
    /// What the source expects of its next try, while it is lost.
    outlook: Outlook,
    /// Since when readers go without, and whether they were let go for it.
    without: Option<(Monotonic, bool)>,
    steps: Vec<Step>,
}

impl StateMachine {
    pub(super) fn new(policy: StreamPolicy, now: Monotonic) -> Self {
        let mut machine = Self {
            policy,
            state: StreamState::Idle,
            since: now,
            demand: 0,
            running: false,
            idle_since: now,
            newest: None,
            error: None,
            outlook: Outlook::Uncertain,
            without: None,
            steps: Vec::new(),
        };
        machine.settle(now);
        machine
    }

    pub(super) fn state(&self) -> (StreamState, Monotonic) {
        (self.state, self.since)
    }

    pub(super) fn error(&self) -> Option<&Arc<Error>> {
        self.error.as_ref()
    }

    /// Whether who comes now is told the error at once. A source that was there a moment ago is waited for whatever it
    /// answers, like its readers are held: a camera that restarts refuses connections for a while.
    pub(super) fn refuses(&self) -> bool {
        let restarts = self.newest.is_some() && !self.without.is_some_and(|(_, let_go)| let_go);
        self.state == StreamState::Lost && self.outlook == Outlook::Refusal && !restarts
    }

    fn enter(&mut self, state: StreamState, now: Monotonic) {
        if self.state != state {
            (self.state, self.since) = (state, now);
        }
    }

    /// Starts or stops the source as demand wants it.
    fn settle(&mut self, now: Monotonic) {
        let wanted = match self.policy.close_after {
            None => true,
            Some(_) if self.demand > 0 => true,
            Some(after) => self.running && now < self.idle_since + after,
        };
        if wanted && !self.running {
            self.running = true;
            self.enter(StreamState::Waiting, now);
            self.steps.push(Step::Start);
        } else if !wanted && self.running {
            self.running = false;
            (self.newest, self.error, self.without) = (None, None, None);
            self.enter(StreamState::Idle, now);
            self.steps.push(Step::Stop);
        }
    }

    /// So many readers want the rendition.
    pub(super) fn handle_demand(&mut self, readers: usize, now: Monotonic) {
        if self.demand > 0 && readers == 0 {
            self.idle_since = now;
        }
        self.demand = readers;
        self.settle(now);
    }

    /// The source delivers.
    pub(super) fn handle_live(&mut self, now: Monotonic) {
        if !self.running {
            return;
        }
        self.newest = Some(now);
        self.error = None;
        self.enter(StreamState::Ready, now);
        if self.without.take().is_some_and(|(_, let_go)| let_go) {
            self.steps.push(Step::HoldReaders);
        }
    }

    /// The source is gone.
    pub(super) fn handle_lost(&mut self, error: Arc<Error>, outlook: Outlook, now: Monotonic) {
        if !self.running {
            return;
        }
        (self.error, self.outlook) = (Some(error), outlook);
        self.enter(StreamState::Lost, now);
        self.without.get_or_insert((now, false));
    }

    /// Time passed; `newest` is when the last unit arrived.
    pub(super) fn handle_timeout(&mut self, newest: Option<Monotonic>, now: Monotonic) {
        if self.state == StreamState::Ready {
            self.newest = newest.max(self.newest);
            if self.newest.is_some_and(|newest| now.since(newest) >= self.policy.stalled_after) {
                self.enter(StreamState::Stalled, now);
                self.without.get_or_insert((now, false));
            }
        }
        if let Some((since, false)) = self.without
            && now.since(since) >= self.policy.hold_readers
        {
            self.without = Some((since, true));
            let silent = || Arc::new(Error::new(crate::base::Kind::Unavailable, "the source went silent"));
            self.steps.push(Step::EndReaders(self.error.clone().unwrap_or_else(silent)));
        }
        self.settle(now);
    }

    /// When [`StateMachine::handle_timeout`] is due next.
    pub(super) fn poll_deadline(&self) -> Option<Monotonic> {
        let stall = (self.state == StreamState::Ready)
            .then_some(())
            .and(self.newest)
            .map(|newest| newest + self.policy.stalled_after);
        let close =
            self.policy.close_after.filter(|_| self.running && self.demand == 0).map(|after| self.idle_since + after);
        let hold = self.without.filter(|(_, let_go)| !let_go).map(|(since, _)| since + self.policy.hold_readers);
        [stall, close, hold].into_iter().flatten().min()
    }

    /// What has to be done, in order.
    pub(super) fn poll_steps(&mut self) -> Vec<Step> {
        std::mem::take(&mut self.steps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Kind;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_nanos(seconds * 1_000_000_000)
    }

    fn gone() -> Arc<Error> {
        Arc::new(Error::new(Kind::Unavailable, "connection refused"))
    }

    fn steps(machine: &mut StateMachine) -> String {
        let name = |step: &Step| match step {
            Step::Start => "start",
            Step::Stop => "stop",
            Step::EndReaders(_) => "end",
            Step::HoldReaders => "hold",
        };
        machine.poll_steps().iter().map(name).collect::<Vec<_>>().join(" ")
    }

    fn on_demand() -> StreamPolicy {
        StreamPolicy { close_after: Some(Duration::from_secs(10)), ..StreamPolicy::default() }
    }

    #[test]
    fn a_path_that_is_always_on_starts_at_once_and_never_stops() {
        let mut machine = StateMachine::new(StreamPolicy::default(), at(0));
        assert_eq!(steps(&mut machine), "start");
        machine.handle_demand(1, at(1));
        machine.handle_demand(0, at(2));
        machine.handle_timeout(None, at(1000));
        assert_eq!((steps(&mut machine).as_str(), machine.state().0), ("", StreamState::Waiting));
    }

    #[test]
    fn a_path_on_demand_runs_while_watched_and_a_little_longer() {
        let mut machine = StateMachine::new(on_demand(), at(0));
        assert_eq!((steps(&mut machine).as_str(), machine.state().0), ("", StreamState::Idle));
        machine.handle_demand(1, at(1));
        assert_eq!((steps(&mut machine).as_str(), machine.state().0), ("start", StreamState::Waiting));
        machine.handle_live(at(2));
        machine.handle_demand(0, at(3));
        assert_eq!(machine.poll_deadline(), Some(at(7)), "the stall comes first");
        machine.handle_timeout(Some(at(7)), at(7));
        machine.handle_demand(1, at(8));
        machine.handle_demand(0, at(9));
        machine.handle_timeout(Some(at(18)), at(18));
        assert_eq!(steps(&mut machine), "");
        machine.handle_timeout(Some(at(19)), at(19));
        assert_eq!((steps(&mut machine).as_str(), machine.state()), ("stop", (StreamState::Idle, at(19))));
        assert_eq!(machine.poll_deadline(), None);
    }

    #[test]
    fn silence_is_seen_and_ends_with_the_next_unit() {
        let mut machine = StateMachine::new(StreamPolicy::default(), at(0));
        machine.handle_live(at(1));
        machine.handle_timeout(Some(at(3)), at(6));
        assert_eq!(machine.state().0, StreamState::Ready, "it looked at the ring");
        assert_eq!(machine.poll_deadline(), Some(at(8)));
        machine.handle_timeout(Some(at(3)), at(8));
        assert_eq!(machine.state(), (StreamState::Stalled, at(8)));
        machine.handle_live(at(9));
        assert_eq!(machine.state().0, StreamState::Ready);
        assert_eq!(machine.poll_deadline(), Some(at(14)));
    }

    #[test]
    fn readers_are_held_over_a_loss_let_go_after_it_and_held_again_on_return() {
        let mut machine = StateMachine::new(StreamPolicy::default(), at(0));
        machine.poll_steps();
        machine.handle_live(at(1));
        machine.handle_lost(gone(), Outlook::Uncertain, at(2));
        machine.handle_lost(gone(), Outlook::Uncertain, at(20));
        assert_eq!((machine.state(), machine.poll_deadline()), ((StreamState::Lost, at(2)), Some(at(32))));
        assert_eq!(machine.error().unwrap().message(), "connection refused");
        machine.handle_timeout(None, at(32));
        assert_eq!((steps(&mut machine).as_str(), machine.poll_deadline()), ("end", None));
        machine.handle_live(at(40));
        assert_eq!((steps(&mut machine).as_str(), machine.state().0), ("hold", StreamState::Ready));
        assert!(machine.error().is_none());
    }

    #[test]
    fn a_refusal_counts_at_once_and_over_a_restart_of_the_camera_only_after_the_grace() {
        let mut machine = StateMachine::new(on_demand(), at(0));
        machine.handle_demand(1, at(0));
        assert!(!machine.refuses(), "nothing is known yet");
        machine.handle_lost(gone(), Outlook::Uncertain, at(1));
        assert!(!machine.refuses(), "it may come");
        machine.handle_lost(gone(), Outlook::Refusal, at(2));
        assert!(machine.refuses());
        machine.handle_lost(gone(), Outlook::Uncertain, at(3));
        assert!(!machine.refuses(), "the newest answer counts");

        machine.handle_live(at(4));
        machine.handle_lost(gone(), Outlook::Refusal, at(5));
        assert!(!machine.refuses(), "it was there a moment ago");
        machine.handle_timeout(None, at(35));
        assert!(machine.refuses(), "its readers were let go");
        machine.handle_live(at(40));
        assert!(!machine.refuses());

        machine.handle_lost(gone(), Outlook::Refusal, at(41));
        machine.handle_demand(0, at(42));
        machine.handle_timeout(None, at(52));
        machine.handle_demand(1, at(53));
        assert_eq!(machine.state().0, StreamState::Waiting);
        assert!(!machine.refuses(), "it is asked anew");
        machine.handle_lost(gone(), Outlook::Refusal, at(54));
        assert!(machine.refuses(), "what was there before it was stopped does not count");
    }

    #[test]
    fn news_of_a_source_that_was_stopped_changes_nothing() {
        let mut machine = StateMachine::new(on_demand(), at(0));
        machine.handle_live(at(1));
        machine.handle_lost(gone(), Outlook::Uncertain, at(1));
        assert_eq!(machine.state().0, StreamState::Idle);
    }
}
