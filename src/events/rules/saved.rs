//! What rules remember over a restart: as wall-clock times, for the monotonic clock begins anew.

use std::{collections::BTreeSet, time::Duration};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    input::{Finding, Occurrence, Subject},
    leaf::{LeafState, Memory, Shown},
    machine::Rules,
    phase::{Alarm, Phase},
};
use crate::{
    base::{Moment, WallTime},
    config::{Rule, RuleId},
    events::payload::ReadingValue,
};

/// Nanoseconds since the Unix epoch.
pub(super) mod wall {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::base::WallTime;

    pub(in crate::events) fn serialize<S: Serializer>(time: &WallTime, serializer: S) -> Result<S::Ok, S::Error> {
        time.unix_nanos().serialize(serializer)
    }

    pub(in crate::events) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<WallTime, D::Error> {
        i64::deserialize(deserializer).map(WallTime::from_unix_nanos)
    }
}

/// The memory of all rules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedRules {
    /// When it was written.
    at: i64,
    rules: Vec<SavedRule>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SavedRule {
    id: RuleId,
    /// Of its condition: the memory of another one means nothing.
    digest: String,
    leaves: Vec<SavedLeaf>,
    alarms: Vec<SavedAlarm>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SavedLeaf {
    leaf: usize,
    subject: Subject,
    memory: SavedMemory,
    value: Option<ReadingValue>,
    unit: Option<String>,
    threshold: Option<f64>,
    time: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SavedMemory {
    Level(Option<usize>),
    Flag(bool),
    Rate { extremes: Vec<(i64, f64)>, newest: f64 },
    Absent { last: i64, limit_ms: Option<u64>, broken: bool },
    Until(i64),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SavedAlarm {
    subject: Subject,
    active: bool,
    turning: Option<i64>,
    quiet_until: Option<i64>,
    finding: Option<Finding>,
}

impl SavedRules {
    /// Whether both say the same, whenever that was written.
    pub fn says(&self, other: &Self) -> bool {
        self.rules == other.rules
    }
}

fn digest(rule: &Rule) -> String {
    let text = serde_json::to_string(&rule.when).unwrap_or_default();
    Sha256::digest(text.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

impl Rules {
    /// What has to outlive the process.
    pub fn save(&self, now: Moment) -> SavedRules {
        let wall = |at| now.wall_of(at).unix_nanos();
        let rules = self.rules.iter().map(|(id, rule)| {
            let leaves = self.leaves_of(id).map(|((_, leaf, subject), state)| {
                let memory = match &state.memory {
                    Memory::Level(level) => SavedMemory::Level(*level),
                    Memory::Flag(flag) => SavedMemory::Flag(*flag),
                    Memory::Rate { extremes, newest } => SavedMemory::Rate {
                        extremes: extremes.iter().map(|(at, number)| (wall(*at), *number)).collect(),
                        newest: *newest,
                    },
                    Memory::Absent { last, limit, broken } => SavedMemory::Absent {
                        last: wall(*last),
                        limit_ms: limit.map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
                        broken: *broken,
                    },
                    Memory::Until(until) => SavedMemory::Until(wall(*until)),
                };
                let Shown { value, unit, threshold, time } = state.shown.clone();
                let (leaf, subject) = (*leaf, subject.clone());
                SavedLeaf { leaf, subject, memory, value, unit, threshold, time: time.unix_nanos() }
            });
            let alarms = self.alarms_of(id).map(|((_, subject), alarm)| SavedAlarm {
                subject: subject.clone(),
                active: alarm.phase.active,
                turning: alarm.phase.turning.map(wall),
                quiet_until: alarm.phase.quiet_until.map(wall),
                finding: alarm.finding.clone(),
            });
            SavedRule { id: id.clone(), digest: digest(&rule.rule), leaves: leaves.collect(), alarms: alarms.collect() }
        });
        SavedRules { at: now.wall.unix_nanos(), rules: rules.collect() }
    }

    /// Begins with these rules where `saved` ended. `active` is what alarms there are; they are right where the two say
    /// different things. `late` is what happened since, with the rules that know of it.
    pub fn resume(
        rules: impl IntoIterator<Item = Rule>,
        saved: Option<&SavedRules>,
        active: &[(RuleId, Subject)],
        late: impl IntoIterator<Item = (Occurrence, BTreeSet<RuleId>)>,
        now: Moment,
    ) -> Self {
        let mut resumed = Self::default();
        for rule in rules {
            resumed.install(rule, now);
        }
        if let Some(saved) = saved {
            resumed.remember(saved, now);
        }
        resumed.alarms.retain(|key, alarm| !alarm.phase.active || active.contains(key));
        for key in active.iter().filter(|(id, _)| resumed.rules.contains_key(id)) {
            let alarm = resumed.alarms.entry(key.clone()).or_default();
            if !alarm.phase.active {
                alarm.phase = Phase { active: true, ..Phase::default() };
            }
        }
        // Before anything is found to be over: perhaps it goes on.
        for (occurrence, known) in late {
            resumed.handle_past_event(&occurrence, &known, now);
        }
        let of =
            |id: &RuleId| resumed.subjects(id).into_iter().map(|subject| (id.clone(), subject)).collect::<Vec<_>>();
        for (id, subject) in resumed.rules.keys().flat_map(of).collect::<Vec<_>>() {
            resumed.evaluate(&id, &subject, now);
        }
        resumed
    }

    fn remember(&mut self, saved: &SavedRules, now: Moment) {
        let monotonic = |nanos| now.monotonic_of(WallTime::from_unix_nanos(nanos));
        // Nothing could come while nobody listened.
        let away = now.wall.nanos_since(WallTime::from_unix_nanos(saved.at)).max(0);
        for of in &saved.rules {
            let Some(rule) = self.rules.get(&of.id).filter(|rule| digest(&rule.rule) == of.digest).cloned() else {
                continue;
            };
            for kept in of.leaves.iter().filter(|kept| kept.leaf < rule.leaves.len()) {
                let memory = match &kept.memory {
                    SavedMemory::Level(level) => Memory::Level(*level),
                    SavedMemory::Flag(flag) => Memory::Flag(*flag),
                    SavedMemory::Rate { extremes, newest } => Memory::Rate {
                        extremes: extremes.iter().map(|(at, number)| (monotonic(*at), *number)).collect(),
                        newest: *newest,
                    },
                    SavedMemory::Absent { last, limit_ms, broken } => Memory::Absent {
                        last: monotonic(last.saturating_add(away)),
                        limit: limit_ms.map(Duration::from_millis),
                        broken: *broken,
                    },
                    SavedMemory::Until(until) => Memory::Until(monotonic(*until)),
                };
                let shown = Shown {
                    value: kept.value.clone(),
                    unit: kept.unit.clone(),
                    threshold: kept.threshold,
                    time: WallTime::from_unix_nanos(kept.time),
                };
                let key = (of.id.clone(), kept.leaf, kept.subject.clone());
                self.leaves.insert(key.clone(), LeafState { memory, shown });
                self.expire(&key, now);
            }
            for kept in &of.alarms {
                let phase = Phase {
                    active: kept.active,
                    turning: kept.turning.map(monotonic),
                    quiet_until: kept.quiet_until.map(monotonic),
                };
                let alarm = Alarm { phase, finding: kept.finding.clone() };
                self.alarms.insert((of.id.clone(), kept.subject.clone()), alarm);
            }
        }
    }
}
