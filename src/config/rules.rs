//! The section `rules`: what raises an alert. [`RuleConfig`] is what the file and the API say; [`Rule`] is what that
//! means, the preset and every default filled in.

mod condition;
mod preset;
mod schedule;
mod value;
mod wording;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(super) use self::condition::KINDS as CONDITION_KINDS;
pub use self::{
    condition::{
        AbsentCondition, CameraCondition, CameraTrouble, Condition, DiskCondition, EventCondition, RateCondition,
        SecurityCondition, SecurityKind, SilentState, StateCondition, ThresholdCondition,
    },
    preset::Preset,
    schedule::{Schedule, TimeOfDay, TimeZoneName, Weekday, WeeklyWindow},
    value::{DiskLimit, Level, Levels, Number, StateValue, Word, Words},
    wording::{Placeholder, Wording},
};
use super::HumanDuration;
use crate::base::{PathName, SensorId, Severity};

super::small_name::small_name! {
    /// The name of a rule: `[a-z0-9_-]`, at most 64 bytes.
    RuleId, name: "RuleId", longest: 64, what: "a rule's id",
    expects: "a rule's id, such as `freezer-warm`", description: "The name of a rule."
}

/// One entry of `rules`. Everything but `preset`, or `id` and `when`, may be left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Rule")]
pub struct RuleConfig {
    /// A rule that is there already; what else is written here stands above it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// The rule's name; that of the preset if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<RuleId>,
    /// `false`: the rule stands here and does nothing.
    pub enabled: bool,
    /// One line for people. `{device}`, `{value}` and others are filled in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<Wording>,
    /// A sentence for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Wording>,
    /// How bad it is, where the condition does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// What has to be so. Not with `preset`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<Condition>,
    /// With `preset`: only this sensor.
    #[schemars(with = "Option<String>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensor: Option<SensorId>,
    /// With `preset`: only this camera.
    #[schemars(with = "Option<String>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathName>,
    /// With `preset: temperature`: another limit, or one for each severity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub above: Option<Levels>,
    /// It has to be so for this long.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub holds_for: Option<HumanDuration>,
    /// It has to be over for this long before the alert ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clear_after: Option<HumanDuration>,
    /// After an alert's end the next one about the same thing waits this long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_off: Option<HumanDuration>,
    /// Remind of an alert that goes on and that nobody took note of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat: Option<HumanDuration>,
    /// When the rule is at work; always if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Vec<WeeklyWindow>>,
    /// Where the times of `schedule` are those of the clock on the wall; UTC if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<TimeZoneName>,
    /// Alerts with the same text here reach people as one notice. `{path}` and others are filled in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<Wording>,
    /// No alert about a camera is raised while one of these rules has one about the same camera.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inhibited_by: Option<Vec<RuleId>>,
    /// Nobody took note for this long: the next level is told. One span for each level, from the beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub escalate_after: Option<Vec<HumanDuration>>,
}

impl Default for RuleConfig {
    fn default() -> Self {
        Self {
            preset: None,
            id: None,
            enabled: true,
            title: None,
            message: None,
            severity: None,
            when: None,
            sensor: None,
            path: None,
            above: None,
            holds_for: None,
            clear_after: None,
            hold_off: None,
            repeat: None,
            schedule: None,
            time_zone: None,
            group: None,
            inhibited_by: None,
            escalate_after: None,
        }
    }
}

/// A rule as it is evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name.
    pub id: RuleId,
    /// One line for people.
    pub title: Wording,
    /// A sentence for people.
    pub message: Wording,
    /// How bad it is, where the condition does not say.
    pub severity: Severity,
    /// What has to be so.
    pub when: Condition,
    /// For how long.
    pub holds_for: Duration,
    /// For how long it has to be over.
    pub clear_after: Duration,
    /// How long the next alert about the same thing waits.
    pub hold_off: Duration,
    /// The distance of reminders.
    pub repeat: Option<Duration>,
    /// When it is at work.
    pub schedule: Schedule,
    /// What bundles its alerts.
    pub group: Option<Wording>,
    /// The rules that keep it quiet about a camera.
    pub inhibited_by: Vec<RuleId>,
    /// When each level is told, from the beginning of the alert.
    pub escalate_after: Vec<Duration>,
}

impl RuleConfig {
    /// The short line that switches a preset on.
    pub fn of(preset: Preset) -> Self {
        Self { preset: Some(preset), ..Self::default() }
    }

    /// The name it goes by.
    pub fn name(&self) -> Option<RuleId> {
        self.id.clone().or_else(|| self.preset.map(Preset::id))
    }

    /// The rule that is meant. Nothing if it has no name or no condition, which [`super::Config::check`] complains of.
    pub fn resolve(&self) -> Option<Rule> {
        let id = self.name()?;
        let base = self.preset.map(|preset| preset.rule(self)).unwrap_or_default();
        let span = |own: Option<HumanDuration>, base: Option<HumanDuration>| {
            own.or(base).map(HumanDuration::duration).unwrap_or_default()
        };
        let escalate = self.escalate_after.iter().flatten();
        Some(Rule {
            title: self.title.clone().or(base.title).unwrap_or_else(|| Wording::plain("{rule}: {device}")),
            message: self
                .message
                .clone()
                .or(base.message)
                .unwrap_or_else(|| Wording::plain("{device} shows {value} since {time}.")),
            severity: self.severity.or(base.severity).unwrap_or(Severity::Warning),
            when: self.when.clone().or(base.when)?,
            holds_for: span(self.holds_for, base.holds_for),
            clear_after: span(self.clear_after, base.clear_after),
            hold_off: span(self.hold_off, base.hold_off),
            repeat: self.repeat.map(HumanDuration::duration).filter(|span| !span.is_zero()),
            schedule: Schedule::new(
                self.schedule.clone().unwrap_or_default(),
                self.time_zone.clone().unwrap_or_default(),
            ),
            group: self.group.clone(),
            inhibited_by: self.inhibited_by.clone().or(base.inhibited_by).unwrap_or_default(),
            escalate_after: escalate.map(|span| span.duration()).collect(),
            id,
        })
    }
}
