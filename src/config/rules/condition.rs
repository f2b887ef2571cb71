//! What has to be so for an alert: a tree with one condition in each object.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DiskLimit, Levels, Number, StateValue, Word, Words};
use crate::{
    base::{PathName, SensorId},
    config::HumanDuration,
};

/// One condition: exactly one of the keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Condition {
    /// A number is above or below a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<ThresholdCondition>,
    /// A sensor shows a state: smoke, an open door, a word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<StateCondition>,
    /// A number changes fast.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<RateCondition>,
    /// A sensor is silent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub absent: Option<AbsentCondition>,
    /// Something happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<EventCondition>,
    /// Somebody may be trying to get in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security: Option<SecurityCondition>,
    /// A camera is not well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub camera: Option<CameraCondition>,
    /// The disk of `state_dir` fills up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskCondition>,
    /// Every one of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all: Option<Vec<Self>>,
    /// At least one of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub any: Option<Vec<Self>>,
    /// The opposite of this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not: Option<Box<Self>>,
}

/// The keys of [`Condition`], in its order.
pub(in crate::config) const KINDS: [&str; 11] =
    ["threshold", "state", "rate", "absent", "event", "security", "camera", "disk", "all", "any", "not"];

/// `sensor: cellar`, or `kind: temperature`: each sensor of that kind for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ThresholdCondition {
    /// This sensor.
    #[schemars(with = "Option<String>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensor: Option<SensorId>,
    /// Each sensor of this kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Word>,
    /// More than this, or than one of these by severity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub above: Option<Levels>,
    /// Less than this, or than one of these by severity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub below: Option<Levels>,
    /// How far the number has to come back behind the limit before it is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hysteresis: Option<Number>,
    /// The number at which it is over, instead of `hysteresis`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clear: Option<Number>,
}

/// A sensor shows exactly this.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StateCondition {
    /// This sensor.
    #[schemars(with = "Option<String>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensor: Option<SensorId>,
    /// Each sensor of this kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Word>,
    /// `true`, `false` or a word.
    pub is: StateValue,
}

/// The newest number is far from the lowest, or the highest, of a span of time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RateCondition {
    /// This sensor.
    #[schemars(with = "Option<String>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensor: Option<SensorId>,
    /// Each sensor of this kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Word>,
    /// At least this much above the lowest number of the span.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rises: Option<Number>,
    /// At least this much below the highest number of the span.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub falls: Option<Number>,
    /// The span.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<HumanDuration>,
}

/// No reading for a multiple of the expected interval (`no_data`), or what brings the readings is broken
/// (`source_error`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AbsentCondition {
    /// This sensor.
    #[schemars(with = "Option<String>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensor: Option<SensorId>,
    /// Each sensor of this kind. Without it and `sensor`: each sensor that has an interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Word>,
    /// How many expected intervals.
    #[schemars(range(min = 1, max = 1000))]
    pub times: u32,
    /// The interval, for sensors that have none of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<HumanDuration>,
    /// Only one of the two; both if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<SilentState>,
}

impl Default for AbsentCondition {
    fn default() -> Self {
        Self { sensor: None, kind: None, times: 3, every: None, state: None }
    }
}

/// Why nothing comes from a sensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SilentState {
    /// Nothing came, and nobody knows why.
    NoData,
    /// What brings the readings says that it is broken.
    SourceError,
}

impl SilentState {
    /// The word of the file, which is also the value of the alert.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoData => "no_data",
            Self::SourceError => "source_error",
        }
    }
}

/// Something happened at a camera, or was said to have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EventCondition {
    /// The kind of the event, or several.
    pub kind: Words,
    /// Only at this camera; at each if absent.
    #[schemars(with = "Option<String>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathName>,
    /// How long after the last such event it goes on.
    pub hold: HumanDuration,
}

impl Default for EventCondition {
    fn default() -> Self {
        Self { kind: Words::default(), path: None, hold: HumanDuration::from_secs(30) }
    }
}

/// Somebody may be trying to get in, as the server itself says in a `security` event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SecurityCondition {
    /// What.
    pub kind: SecurityKind,
    /// How long after the last such event it goes on.
    pub hold: HumanDuration,
}

impl Default for SecurityCondition {
    fn default() -> Self {
        // Whoever goes on is told of once a minute.
        Self { kind: SecurityKind::Refusals, hold: HumanDuration::from_secs(300) }
    }
}

/// What a `security` event tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecurityKind {
    /// One address was refused ten times or more within a minute.
    Refusals,
}

impl SecurityKind {
    /// The word of the file and of the event.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refusals => "refusals",
        }
    }
}

/// A camera is not as it should be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CameraCondition {
    /// In which way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<CameraTrouble>,
    /// Only this camera; each if absent.
    #[schemars(with = "Option<String>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathName>,
}

/// What may be wrong with a camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CameraTrouble {
    /// Not connected.
    Offline,
    /// Connected and silent.
    Stalled,
    /// Pictures come in, and nothing moves in them.
    Frozen,
    /// Less than half the pictures a second that are usual.
    LowFrameRate,
    /// Less than a fifth of the bit rate that is usual.
    BitRateCollapse,
    /// The camera's timestamps jump.
    ClockJump,
}

impl CameraTrouble {
    /// Every one.
    pub const ALL: [Self; 6] =
        [Self::Offline, Self::Stalled, Self::Frozen, Self::LowFrameRate, Self::BitRateCollapse, Self::ClockJump];

    /// The word of the file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Stalled => "stalled",
            Self::Frozen => "frozen",
            Self::LowFrameRate => "low_frame_rate",
            Self::BitRateCollapse => "bit_rate_collapse",
            Self::ClockJump => "clock_jump",
        }
    }
}

/// Less room is left than this.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DiskCondition {
    /// A share of the disk, or a size.
    pub free_below: DiskLimit,
}

impl Condition {
    /// Whether everything it looks at is one of these sensors or cameras, by its name. What is about each of a kind, or about
    /// the server, is not.
    pub fn is_within(&self, sensors: &dyn Fn(&SensorId) -> bool, paths: &dyn Fn(&PathName) -> bool) -> bool {
        let of_sensor = |id: &Option<SensorId>| id.as_ref().is_some_and(sensors);
        let of_path = |name: &Option<PathName>| name.as_ref().is_some_and(paths);
        let leaves = [
            self.threshold.as_ref().map(|leaf| of_sensor(&leaf.sensor)),
            self.state.as_ref().map(|leaf| of_sensor(&leaf.sensor)),
            self.rate.as_ref().map(|leaf| of_sensor(&leaf.sensor)),
            self.absent.as_ref().map(|leaf| of_sensor(&leaf.sensor)),
            self.event.as_ref().map(|leaf| of_path(&leaf.path)),
            self.camera.as_ref().map(|leaf| of_path(&leaf.path)),
            self.security.as_ref().map(|_| false),
            self.disk.as_ref().map(|_| false),
        ];
        let below = self.below().map(|condition| condition.is_within(sensors, paths));
        leaves.into_iter().flatten().chain(below).all(|within| within)
    }

    /// The conditions right below this one.
    pub fn below(&self) -> impl Iterator<Item = &Self> {
        let lists = self.all.iter().chain(&self.any).flatten();
        lists.chain(self.not.as_deref())
    }

    /// Which of the keys are there, in the order of [`KINDS`].
    pub(in crate::config) fn given(&self) -> Vec<&'static str> {
        let there = [
            self.threshold.is_some(),
            self.state.is_some(),
            self.rate.is_some(),
            self.absent.is_some(),
            self.event.is_some(),
            self.security.is_some(),
            self.camera.is_some(),
            self.disk.is_some(),
            self.all.is_some(),
            self.any.is_some(),
            self.not.is_some(),
        ];
        KINDS.into_iter().zip(there).filter(|(_, there)| *there).map(|(kind, _)| kind).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_within_a_place_if_everything_it_looks_at_is_named_and_there() {
        let (sensors, paths) = (|id: &SensorId| id.as_str() == "attic", |path: &PathName| path.as_str() == "yard");
        for (text, within) in [
            ("threshold: { sensor: attic, above: 1 }", true),
            ("threshold: { sensor: cellar, above: 1 }", false),
            ("threshold: { kind: temperature, above: 1 }", false),
            ("state: { sensor: attic, is: true }", true),
            ("rate: { sensor: attic, rises: 1 }", true),
            ("absent: { times: 3 }", false),
            ("absent: { sensor: attic }", true),
            ("event: { kind: motion, path: yard }", true),
            ("event: { kind: motion }", false),
            ("camera: { state: offline, path: yard }", true),
            ("camera: { state: offline, path: gate }", false),
            ("security: {}", false),
            ("disk: { free_below: 5% }", false),
            ("all: [{ event: { kind: a, path: yard } }, { not: { state: { sensor: attic } } }]", true),
            ("any: [{ event: { kind: a, path: yard } }, { event: { kind: a, path: gate } }]", false),
            ("not: { any: [{ event: { kind: a, path: yard } }, { disk: {} }] }", false),
        ] {
            let condition: Condition = serde_saphyr::from_str(&format!("{{ {text} }}")).unwrap();
            assert_eq!(condition.is_within(&sensors, &paths), within, "{text}");
        }
    }
}
