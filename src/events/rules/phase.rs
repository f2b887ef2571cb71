//! From "it is so" to an alarm: for how long, over for how long, and the pause after an end. A sans-IO machine.

use std::time::Duration;

use super::input::Finding;
use crate::{base::Monotonic, config::Rule};

/// What a condition says of one subject.
/// The order is that of `any` (the most) and `all` (the least).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Truth {
    False,
    /// Nothing was read yet, or not since the rule is there.
    Unknown,
    True,
}

/// The spans of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spans {
    pub(super) holds_for: Duration,
    pub(super) clear_after: Duration,
    pub(super) hold_off: Duration,
}

impl From<&Rule> for Spans {
    fn from(rule: &Rule) -> Self {
        Self { holds_for: rule.holds_for, clear_after: rule.clear_after, hold_off: rule.hold_off }
    }
}

/// Where the alarm of one rule about one subject stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Phase {
    pub(super) active: bool,
    /// Since when the condition says the opposite of `active`.
    pub(super) turning: Option<Monotonic>,
    /// No alarm before this.
    pub(super) quiet_until: Option<Monotonic>,
}

/// The alarm of one rule about one subject.
#[derive(Clone, Debug, Default)]
pub(super) struct Alarm {
    pub(super) phase: Phase,
    pub(super) finding: Option<Finding>,
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Raise,
    Clear,
}

impl Phase {
    /// Nothing is going on, and nothing need be remembered.
    pub(super) const fn is_idle(&self) -> bool {
        !self.active && self.turning.is_none() && self.quiet_until.is_none()
    }

    /// The condition says this, now.
    pub(super) fn step(&mut self, truth: Truth, spans: Spans, now: Monotonic) -> Option<Step> {
        match (self.active, truth) {
            (false, Truth::True) => {
                self.turning.get_or_insert(now);
                if self.deadline(spans).is_some_and(|due| due <= now) {
                    *self = Self { active: true, turning: None, quiet_until: None };
                    return Some(Step::Raise);
                }
            }
            (false, _) => {
                self.turning = None;
                self.quiet_until = self.quiet_until.filter(|until| *until > now);
            }
            (true, Truth::False) => {
                self.turning.get_or_insert(now);
                if self.deadline(spans).is_some_and(|due| due <= now) {
                    let quiet_until = (!spans.hold_off.is_zero()).then(|| now + spans.hold_off);
                    *self = Self { active: false, turning: None, quiet_until };
                    return Some(Step::Clear);
                }
            }
            (true, _) => self.turning = None,
        }
        None
    }

    /// When [`Phase::step`] would come to something else though the condition says the same.
    pub(super) fn deadline(&self, spans: Spans) -> Option<Monotonic> {
        match (self.active, self.turning) {
            (false, Some(since)) => Some((since + spans.holds_for).max(self.quiet_until.unwrap_or_default())),
            (false, None) => self.quiet_until,
            (true, since) => since.map(|since| since + spans.clear_after),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_waits_for_its_spans() {
        use Truth::{False, True, Unknown};
        let secs = Duration::from_secs;
        let spans = Spans { holds_for: secs(10), clear_after: secs(5), hold_off: secs(60) };
        let table = [
            (0, True, None, Some(10)),
            (4, False, None, None),
            (5, True, None, Some(15)),
            (9, Unknown, None, None),
            (10, True, None, Some(20)),
            (20, True, Some(Step::Raise), None),
            (30, False, None, Some(35)),
            (33, True, None, None),
            (40, False, None, Some(45)),
            (42, Unknown, None, None),
            (43, False, None, Some(48)),
            (48, False, Some(Step::Clear), Some(108)),
            (50, True, None, Some(108)),
            (108, True, Some(Step::Raise), None),
        ];
        let at = |seconds: u64| Monotonic::from_nanos(seconds * 1_000_000_000);
        let mut phase = Phase::default();
        for (seconds, truth, step, deadline) in table {
            assert_eq!(phase.step(truth, spans, at(seconds)), step, "{seconds}");
            assert_eq!(phase.deadline(spans), deadline.map(at), "{seconds}");
        }
    }

    #[test]
    fn without_spans_an_alarm_follows_its_condition() {
        let spans = Spans { holds_for: Duration::ZERO, clear_after: Duration::ZERO, hold_off: Duration::ZERO };
        let (mut phase, now) = (Phase::default(), Monotonic::from_nanos(7));
        assert_eq!(phase.step(Truth::True, spans, now), Some(Step::Raise));
        assert_eq!(phase.step(Truth::False, spans, now), Some(Step::Clear));
        assert!(phase.is_idle());
    }
}
