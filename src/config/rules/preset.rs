//! Rules that just work: `preset: temperature`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    AbsentCondition, CameraCondition, CameraTrouble, Condition, DiskCondition, EventCondition, Levels, Number,
    RuleConfig, RuleId, SecurityCondition, StateCondition, StateValue, ThresholdCondition, Wording,
};
use crate::{base::Severity, config::HumanDuration};

/// A rule that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// A temperature above 35, over at 33.
    Temperature,
    /// A motion sensor, or a camera's motion.
    Motion,
    /// A smoke sensor.
    Smoke,
    /// A water sensor.
    WaterLeak,
    /// A door stands open for half a minute.
    Door,
    /// Somebody rang.
    Doorbell,
    /// A camera saw a face.
    Face,
    /// A camera saw or knew a person.
    Person,
    /// A camera is gone for half a minute.
    CameraOffline,
    /// A camera is connected and silent.
    CameraStalled,
    /// A camera's picture does not move.
    CameraFrozen,
    /// A camera sends few pictures.
    CameraLowFrameRate,
    /// A camera's bit rate collapsed.
    CameraBitRateCollapse,
    /// A camera's timestamps jump.
    CameraClockJump,
    /// Less than a twentieth of the disk is left.
    DiskLow,
    /// Three expected readings in a row did not come.
    SensorSilent,
    /// Somebody is refused again and again.
    Refusals,
}

impl Preset {
    /// Every one.
    pub const ALL: [Self; 17] = [
        Self::Temperature,
        Self::Motion,
        Self::Smoke,
        Self::WaterLeak,
        Self::Door,
        Self::Doorbell,
        Self::Face,
        Self::Person,
        Self::CameraOffline,
        Self::CameraStalled,
        Self::CameraFrozen,
        Self::CameraLowFrameRate,
        Self::CameraBitRateCollapse,
        Self::CameraClockJump,
        Self::DiskLow,
        Self::SensorSilent,
        Self::Refusals,
    ];

    /// The word of the file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Temperature => "temperature",
            Self::Motion => "motion",
            Self::Smoke => "smoke",
            Self::WaterLeak => "water_leak",
            Self::Door => "door",
            Self::Doorbell => "doorbell",
            Self::Face => "face",
            Self::Person => "person",
            Self::CameraOffline => "camera_offline",
            Self::CameraStalled => "camera_stalled",
            Self::CameraFrozen => "camera_frozen",
            Self::CameraLowFrameRate => "camera_low_frame_rate",
            Self::CameraBitRateCollapse => "camera_bit_rate_collapse",
            Self::CameraClockJump => "camera_clock_jump",
            Self::DiskLow => "disk_low",
            Self::SensorSilent => "sensor_silent",
            Self::Refusals => "refusals",
        }
    }

    /// The name of its rule, if the file gives none.
    pub(super) fn id(self) -> RuleId {
        RuleId(self.name().into())
    }

    /// Whether it is about sensors, and `sensor` narrows it.
    pub(in crate::config) const fn takes_sensor(self) -> bool {
        matches!(
            self,
            Self::Temperature | Self::Motion | Self::Smoke | Self::WaterLeak | Self::Door | Self::SensorSilent
        )
    }

    /// Whether it is about cameras, and `path` narrows it.
    pub(in crate::config) const fn takes_path(self) -> bool {
        !matches!(
            self,
            Self::Temperature
                | Self::Smoke
                | Self::WaterLeak
                | Self::Door
                | Self::SensorSilent
                | Self::DiskLow
                | Self::Refusals
        )
    }

    /// The rule, narrowed to what `own` names.
    pub(super) fn rule(self, own: &RuleConfig) -> RuleConfig {
        let secs = HumanDuration::from_secs;
        let said = |title: &str, message: &str, severity, when| RuleConfig {
            title: Some(Wording::plain(title)),
            message: Some(Wording::plain(message)),
            severity: Some(severity),
            when: Some(when),
            ..RuleConfig::default()
        };
        let state = |kind: &str| Condition {
            state: Some(StateCondition {
                sensor: own.sensor.clone(),
                kind: if own.sensor.is_some() { None } else { kind.parse().ok() },
                is: StateValue::Flag(true),
            }),
            ..Condition::default()
        };
        let event = |kinds: &[&str], hold| Condition {
            event: Some(EventCondition {
                kind: kinds.iter().filter_map(|kind| kind.parse().ok()).collect(),
                path: own.path.clone(),
                hold: secs(hold),
            }),
            ..Condition::default()
        };
        let camera = |trouble, holds_for, words: &str| RuleConfig {
            holds_for: Some(secs(holds_for)),
            clear_after: Some(secs(10)),
            ..said(
                &format!("{{device}} {words}"),
                &format!("The camera {{device}} {words}, {{time}}."),
                Severity::Warning,
                Condition {
                    camera: Some(CameraCondition { state: Some(trouble), path: own.path.clone() }),
                    ..Condition::default()
                },
            )
        };
        // What a camera that is gone last saw says nothing of now.
        let seen = |rule: RuleConfig| RuleConfig { inhibited_by: Some(vec![Self::CameraOffline.id()]), ..rule };
        let number = |number| Number::new(number).unwrap_or_default();
        match self {
            Self::Temperature => said(
                "{device}: {value} {unit}",
                "{device} shows {value} {unit} at {time}, more than {threshold} {unit}.",
                Severity::Warning,
                Condition {
                    threshold: Some(ThresholdCondition {
                        sensor: own.sensor.clone(),
                        kind: if own.sensor.is_some() { None } else { "temperature".parse().ok() },
                        above: Some(own.above.clone().unwrap_or_else(|| Levels::one(number(35.0)))),
                        hysteresis: Some(number(2.0)),
                        ..ThresholdCondition::default()
                    }),
                    ..Condition::default()
                },
            ),
            Self::Motion => {
                let both = match (&own.sensor, &own.path) {
                    (Some(_), None) => state("motion"),
                    (None, Some(_)) => event(&["motion"], 30),
                    _ => Condition { any: Some(vec![event(&["motion"], 30), state("motion")]), ..Condition::default() },
                };
                seen(said("Motion: {device}", "Motion at {device}, {time}.", Severity::Info, both))
            }
            Self::Smoke => {
                said("Smoke: {device}", "{device} reports smoke, {time}.", Severity::Critical, state("smoke"))
            }
            Self::WaterLeak => {
                said("Water: {device}", "{device} reports water, {time}.", Severity::Critical, state("water"))
            }
            Self::Door => RuleConfig {
                holds_for: Some(secs(30)),
                ..said("Open: {device}", "{device} stands open since {time}.", Severity::Info, state("door"))
            },
            Self::Doorbell => {
                let when = event(&["doorbell_pressed"], 30);
                seen(said("Doorbell: {device}", "Somebody rang at {device}, {time}.", Severity::Info, when))
            }
            Self::Face => {
                let when = event(&["face_detected", "face_recognized"], 30);
                seen(said("Face: {device}", "{device} saw a face, {time}.", Severity::Info, when))
            }
            Self::Person => {
                let when = event(&["person_detected", "person_recognized"], 30);
                seen(said("Person: {device}", "{device} saw a person, {time}.", Severity::Info, when))
            }
            Self::CameraOffline => {
                RuleConfig { severity: Some(Severity::Critical), ..camera(CameraTrouble::Offline, 30, "is offline") }
            }
            Self::CameraStalled => camera(CameraTrouble::Stalled, 10, "is connected and sends nothing"),
            Self::CameraFrozen => camera(CameraTrouble::Frozen, 10, "sends a picture that does not move"),
            Self::CameraLowFrameRate => camera(CameraTrouble::LowFrameRate, 30, "sends few pictures"),
            Self::CameraBitRateCollapse => camera(CameraTrouble::BitRateCollapse, 30, "sends far less than usual"),
            Self::CameraClockJump => camera(CameraTrouble::ClockJump, 0, "has a clock that jumps"),
            Self::DiskLow => RuleConfig {
                holds_for: Some(secs(60)),
                clear_after: Some(secs(60)),
                ..said(
                    "The disk is nearly full",
                    "The disk of the server has {value} {unit} left.",
                    Severity::Critical,
                    Condition { disk: Some(DiskCondition::default()), ..Condition::default() },
                )
            },
            Self::SensorSilent => said(
                "{device} is silent",
                "{device} has sent nothing since {time} ({value}).",
                Severity::Warning,
                Condition {
                    absent: Some(AbsentCondition { sensor: own.sensor.clone(), ..AbsentCondition::default() }),
                    ..Condition::default()
                },
            ),
            // From where stands in the event, which administrators alone see.
            Self::Refusals => said(
                "Logins are refused",
                "One address was refused ten times or more within a minute, {time}.",
                Severity::Warning,
                Condition { security: Some(SecurityCondition::default()), ..Condition::default() },
            ),
        }
    }
}
