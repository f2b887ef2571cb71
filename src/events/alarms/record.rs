//! One alarm: the record that goes over the wire, and what is kept beside it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Reason;
use crate::{
    base::{Severity, WallTime},
    config::{
        Rule, RuleId,
        rules::{Placeholder, Wording},
    },
    events::{
        Cursor,
        payload::{AlertEvent, AlertRecord, AlertState},
        rules::{Finding, Subject, Transition},
    },
};

/// Why an alarm is kept quiet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Muted {
    /// By the silence of this id.
    Silence(String),
    /// By an alert of this rule about the same camera.
    Inhibited(RuleId),
}

/// An alarm, as it is kept. Moments are nanoseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alarm {
    /// What goes over the wire.
    pub record: AlertRecord,
    /// What bundles it with others.
    pub group: Option<String>,
    /// Why it is quiet, if it is.
    pub muted: Option<Muted>,
    /// How many further levels were told.
    pub level: u8,
    /// As bad as it ever was.
    #[serde(default)]
    pub(super) peak: Severity,
    /// It waits for others of its group before people are told.
    #[serde(default)]
    pub(super) bundled: bool,
    pub(super) rule: RuleId,
    pub(super) subject: Subject,
    pub(super) device: String,
    /// Its beginning went out.
    pub(super) told: bool,
    /// When it began here, whatever the reading says.
    pub(super) since: i64,
    pub(super) repeat_at: Option<i64>,
    pub(super) ack_until: Option<i64>,
    /// It comes from a part of the server that is no rule.
    pub(super) foreign: bool,
    /// The last fact that the rules had heard by then.
    #[serde(default, with = "heard", skip_serializing_if = "Option::is_none")]
    pub(super) heard: Option<Cursor>,
    /// What it does; known again when the rules are.
    #[serde(skip)]
    pub(super) policy: Option<Arc<Rule>>,
}

/// A place in the log, as its text.
mod heard {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::events::Cursor;

    pub(super) fn serialize<S: Serializer>(cursor: &Option<Cursor>, serializer: S) -> Result<S::Ok, S::Error> {
        cursor.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cursor>, D::Error> {
        Ok(Option::<String>::deserialize(deserializer)?.and_then(|text| text.parse().ok()))
    }
}

/// The same for every alert of the same rule about the same thing.
pub(super) fn fingerprint(rule: &RuleId, subject: &Subject) -> String {
    let about = match subject {
        Subject::Sensor(sensor) => format!("{rule}\0sensor\0{sensor}"),
        Subject::Path(path) => format!("{rule}\0path\0{path}"),
        Subject::Server => format!("{rule}\0server"),
    };
    Sha256::digest(about).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

impl Alarm {
    /// It begins.
    pub(super) fn new(transition: &Transition, finding: &Finding) -> Self {
        let rule = &transition.rule;
        let record = AlertRecord {
            fingerprint: fingerprint(&rule.id, &transition.subject),
            rule: rule.id.to_string(),
            severity: finding.severity,
            state: AlertState::Active,
            title: String::new(),
            message: String::new(),
            path: transition.path.clone(),
            sensor: match &transition.subject {
                Subject::Sensor(sensor) => Some(sensor.clone()),
                Subject::Path(_) | Subject::Server => None,
            },
            value: None,
            unit: None,
            threshold: None,
            started_at: finding.time.to_string(),
            updated_at: String::new(),
            ended_at: None,
            ack: None,
            evidence: Vec::new(),
        };
        let mut alarm = Self {
            record,
            group: None,
            muted: None,
            level: 0,
            peak: finding.severity,
            bundled: false,
            rule: rule.id.clone(),
            subject: transition.subject.clone(),
            device: transition.device.clone(),
            told: false,
            since: transition.at.unix_nanos(),
            repeat_at: None,
            ack_until: None,
            foreign: false,
            heard: None,
            policy: Some(rule.clone()),
        };
        alarm.find(finding);
        alarm.group = rule.group.as_ref().map(|group| alarm.word(group, finding));
        alarm
    }

    /// One that a part of the server raised by itself.
    pub(super) fn foreign(event: &AlertEvent, rule: RuleId, at: WallTime) -> Self {
        Self {
            record: event.alert.clone(),
            group: None,
            muted: None,
            level: 0,
            peak: event.alert.severity,
            bundled: false,
            rule,
            subject: Subject::Server,
            device: "server".to_owned(),
            told: true,
            since: at.unix_nanos(),
            repeat_at: None,
            ack_until: None,
            foreign: true,
            heard: None,
            policy: None,
        }
    }

    /// One that a rule raised, as far as the log tells.
    pub(super) fn told(event: &AlertEvent, rule: &Arc<Rule>, at: WallTime) -> Option<Self> {
        let record = &event.alert;
        let subject = match (&record.sensor, &record.path) {
            (Some(sensor), _) => Subject::Sensor(sensor.clone()),
            (None, Some(path)) => Subject::Path(path.clone()),
            (None, None) => Subject::Server,
        };
        if fingerprint(&rule.id, &subject) != record.fingerprint {
            return None;
        }
        let policy = Some(rule.clone());
        Some(Self { subject, foreign: false, policy, ..Self::foreign(event, rule.id.clone(), at) })
    }

    /// It goes on, and rests on this now. Its words stay those of the reading that made it as severe as it is: a value that
    /// is on its way back is not above the limit any more.
    pub(super) fn find(&mut self, finding: &Finding) {
        let record = &mut self.record;
        let says_it = record.severity == finding.severity && !record.title.is_empty();
        record.severity = finding.severity;
        self.peak = self.peak.max(finding.severity);
        record.value.clone_from(&finding.value);
        record.unit.clone_from(&finding.unit);
        record.threshold = finding.threshold;
        record.updated_at = finding.time.to_string();
        if let Some(rule) = self.policy.clone().filter(|_| !says_it) {
            self.record.title = self.word(&rule.title, finding);
            self.record.message = self.word(&rule.message, finding);
        }
    }

    fn word(&self, wording: &Wording, finding: &Finding) -> String {
        let record = &self.record;
        let text = |text: Option<String>| text.unwrap_or_default();
        wording.fill(|placeholder| match placeholder {
            Placeholder::Device => self.device.clone(),
            Placeholder::Sensor => text(record.sensor.as_ref().map(ToString::to_string)),
            Placeholder::Path => text(record.path.as_ref().map(ToString::to_string)),
            Placeholder::Rule => record.rule.clone(),
            Placeholder::Severity => record.severity.name().to_owned(),
            Placeholder::Value => text(record.value.as_ref().map(ToString::to_string)),
            Placeholder::Unit => text(record.unit.clone()),
            Placeholder::Threshold => text(record.threshold.map(|threshold| threshold.to_string())),
            Placeholder::Time => finding.time.to_string(),
        })
    }

    /// It goes on.
    pub fn is_active(&self) -> bool {
        self.record.state == AlertState::Active
    }

    /// When the next level is told, if nobody takes note.
    pub(super) fn escalates_at(&self) -> Option<i64> {
        let span = self.policy.as_ref()?.escalate_after.get(usize::from(self.level))?;
        Some(after(WallTime::from_unix_nanos(self.since), *span))
    }

    /// Its beginning went out, and nothing keeps it quiet.
    pub const fn is_told(&self) -> bool {
        self.told && self.muted.is_none()
    }

    /// Nobody took note of it, and nothing keeps it quiet.
    pub(super) const fn is_open(&self) -> bool {
        self.is_told() && self.record.ack.is_none()
    }
}

/// The name of what people are told of these alerts for this reason, in the order of time.
pub(super) fn notice_id(reason: Reason, alerts: &[String], at: WallTime) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{reason:?}"));
    alerts.iter().for_each(|fingerprint| hash.update(fingerprint));
    let tail: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{:016x}{tail}", at.unix_nanos())
}

/// A moment so much later.
pub(super) fn after(at: WallTime, span: std::time::Duration) -> i64 {
    at.unix_nanos().saturating_add(i64::try_from(span.as_nanos()).unwrap_or(i64::MAX))
}
