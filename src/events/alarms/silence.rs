//! Silences: who does not want to hear of what, until when, or in which hours of the week.

use serde::{Deserialize, Serialize};

use super::record::Alarm;
use crate::{
    base::{PathName, SensorId, Severity, WallTime},
    config::{
        RuleId,
        rules::{Schedule, TimeZoneName, WeeklyWindow},
    },
};

/// Which alerts are meant: all that fit every field that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Matcher {
    /// Of this rule.
    pub rule: Option<RuleId>,
    /// About this camera.
    pub path: Option<PathName>,
    /// About this sensor.
    pub sensor: Option<SensorId>,
    /// Exactly this alert.
    pub fingerprint: Option<String>,
    /// Not worse than this.
    pub up_to: Option<Severity>,
}

impl Matcher {
    /// Whether an alarm is meant.
    pub fn fits(&self, alarm: &Alarm) -> bool {
        let record = &alarm.record;
        self.rule.as_ref().is_none_or(|rule| *rule == alarm.rule)
            && self.path.as_ref().is_none_or(|path| record.path.as_ref() == Some(path))
            && self.sensor.as_ref().is_none_or(|sensor| record.sensor.as_ref() == Some(sensor))
            && self.fingerprint.as_ref().is_none_or(|fingerprint| *fingerprint == record.fingerprint)
            && self.up_to.is_none_or(|worst| record.severity <= worst)
    }
}

/// A silence. Moments are nanoseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// Its name.
    pub id: String,
    /// What it is about.
    pub matcher: Matcher,
    /// Its beginning.
    pub from: i64,
    /// Its end; never if absent, which only weekly ones may be.
    pub until: Option<i64>,
    /// Only in these hours of the week.
    pub weekly: Vec<WeeklyWindow>,
    /// On the clock of this place.
    pub time_zone: TimeZoneName,
    /// Who wanted it.
    pub by: String,
    /// Why.
    pub note: Option<String>,
}

impl Silence {
    /// Whether it holds now.
    pub fn holds(&self, now: WallTime) -> bool {
        let at = now.unix_nanos();
        self.from <= at && !self.is_over(now) && self.schedule().is_open(now)
    }

    /// Whether it will never hold again.
    pub fn is_over(&self, now: WallTime) -> bool {
        self.until.is_some_and(|until| until <= now.unix_nanos())
    }

    /// When [`Silence::holds`] may say something else.
    pub(super) fn next_change(&self, now: WallTime) -> Option<i64> {
        let weekly = self.schedule().next_change(now).map(WallTime::unix_nanos);
        [Some(self.from), self.until, weekly].into_iter().flatten().filter(|at| *at > now.unix_nanos()).min()
    }

    fn schedule(&self) -> Schedule {
        Schedule::new(self.weekly.clone(), self.time_zone.clone())
    }
}
