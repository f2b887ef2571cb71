//! All alarms. A sans-IO machine on the wall clock.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::{
    Notice, Reason, Witness, draft,
    groups::Groups,
    record::{Alarm, after, fingerprint},
    silence::Silence,
};
use crate::{
    base::WallTime,
    config::{Rule, RuleId},
    events::{
        envelope::{Cursor, Draft},
        payload::{Acknowledgement, AlertChange, AlertState, AuditEvent},
        rules::{Change, Subject, Transition},
    },
};

/// The most alarms that go on at once. Further ones are refused and counted.
const ACTIVE_MAX: usize = 10_000;
/// So many that are over are kept for those who ask.
const ENDED_MAX: usize = 500;
/// The most silences.
pub(super) const SILENCES_MAX: usize = 1000;

/// The rules under which the server speaks of itself. Nobody else's are called so.
const STORE: &str = "store";
pub(in crate::events) const FOREIGN: [&str; 2] = ["disk", STORE];

/// What comes out.
#[derive(Debug)]
pub enum Output {
    /// A fact for the log.
    Append(Draft),
    /// Something people should be told now.
    Notify(Notice),
    /// Keep this alarm over a restart.
    KeepAlarm(Arc<Alarm>),
    /// Forget the alarm of this fingerprint.
    ForgetAlarm(String),
    /// Keep this silence over a restart.
    KeepSilence(Silence),
    /// Forget the silence of this id.
    ForgetSilence(String),
}

/// Why nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlarmError {
    /// There is no such alert.
    #[error("there is no alert of this fingerprint")]
    UnknownAlert,
    /// It is over.
    #[error("the alert is over")]
    Over,
    /// There is no such silence.
    #[error("there is no silence of this id")]
    UnknownSilence,
    /// There are too many.
    #[error("there are {SILENCES_MAX} silences already")]
    TooManySilences,
}

/// The alarms.
#[derive(Debug)]
pub struct Alarms {
    pub(super) alarms: BTreeMap<String, Arc<Alarm>>,
    /// The fingerprints of those that are over, in the order of their ends.
    pub(super) ended: VecDeque<String>,
    pub(super) active: usize,
    pub(super) silences: BTreeMap<String, Silence>,
    pub(super) groups: Groups,
    pub(super) witness: Arc<dyn Witness>,
    /// The rules that keep others quiet.
    pub(super) inhibitors: BTreeSet<RuleId>,
    pub(super) output: VecDeque<Output>,
    pub(super) refused: u64,
    pub(super) revision: u64,
    /// The last fact that the rules heard.
    pub(super) heard: Option<Cursor>,
}

impl Alarms {
    /// Goes on with what was kept. Alarms whose rule is not among `rules` end.
    pub fn resume(
        kept: impl IntoIterator<Item = Alarm>,
        silences: impl IntoIterator<Item = Silence>,
        rules: &BTreeMap<RuleId, Arc<Rule>>,
        witness: Arc<dyn Witness>,
        now: WallTime,
    ) -> Self {
        let silences = silences.into_iter().map(|silence| (silence.id.clone(), silence)).collect();
        let mut alarms = Self {
            alarms: BTreeMap::new(),
            ended: VecDeque::new(),
            active: 0,
            silences,
            groups: Groups::default(),
            witness,
            inhibitors: BTreeSet::new(),
            output: VecDeque::new(),
            refused: 0,
            revision: 0,
            heard: None,
        };
        let mut kept: Vec<Alarm> = kept.into_iter().collect();
        kept.sort_by(|a, b| a.record.ended_at.cmp(&b.record.ended_at));
        for mut alarm in kept {
            let fingerprint = alarm.record.fingerprint.clone();
            alarm.policy = rules.get(&alarm.rule).cloned();
            alarms.inhibitors.extend(alarm.policy.iter().flat_map(|rule| rule.inhibited_by.iter().cloned()));
            let over = !alarm.is_active();
            if over {
                alarms.ended.push_back(fingerprint.clone());
            } else {
                alarms.active += 1;
            }
            // What raised it begins anew, but for what only taking note ends.
            let orphan = !over && alarm.policy.is_none() && !(alarm.foreign && alarm.rule.as_str() == STORE);
            if let Some(group) = alarm.group.as_ref().filter(|_| alarm.bundled) {
                alarms.groups.add(group, fingerprint.clone(), now);
            }
            alarms.alarms.insert(fingerprint.clone(), Arc::new(alarm));
            if orphan {
                alarms.clear(&fingerprint, now);
            }
        }
        alarms.handle_timeout(now);
        alarms
    }

    /// The rules' alarms that go on, for [`super::super::rules::Rules::resume`].
    pub fn active(&self) -> Vec<(RuleId, Subject)> {
        let active = self.alarms.values().filter(|alarm| alarm.is_active() && !alarm.foreign);
        active.map(|alarm| (alarm.rule.clone(), alarm.subject.clone())).collect()
    }

    /// Every alarm, those that are over among them, by fingerprint.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Alarm>> {
        self.alarms.values()
    }

    /// Every silence, by id.
    pub fn silences(&self) -> impl Iterator<Item = &Silence> {
        self.silences.values()
    }

    /// Another number: something changed.
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// How many were refused because too many go on.
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// The rules say that something changed.
    pub fn handle_transition(&mut self, transition: &Transition, now: WallTime) {
        let fingerprint = fingerprint(&transition.rule.id, &transition.subject);
        let before = self.alarms.get(&fingerprint).filter(|alarm| alarm.is_active()).cloned();
        match (&transition.change, before) {
            (Change::Raised(finding), None) => {
                if self.active >= ACTIVE_MAX {
                    self.refused += 1;
                    return;
                }
                let mut alarm = Alarm::new(transition, finding);
                if let Some(path) = &alarm.record.path {
                    alarm.record.evidence = self.witness.evidence(path, finding.time);
                }
                self.ended.retain(|ended| *ended != fingerprint);
                self.active += 1;
                self.inhibitors.extend(transition.rule.inhibited_by.iter().cloned());
                self.put(alarm);
                self.recheck_after(&fingerprint, &transition.rule.id, now);
            }
            // One that is there already goes on.
            (Change::Raised(finding) | Change::Changed(finding), Some(before)) => {
                let mut alarm = Alarm::clone(&before);
                alarm.policy = Some(transition.rule.clone());
                alarm.find(finding);
                // Whoever took note took note of something milder.
                if alarm.record.severity > before.record.severity {
                    (alarm.record.ack, alarm.ack_until) = (None, None);
                }
                let worth_telling = alarm.record.severity != before.record.severity;
                let worse = alarm.record.severity > before.record.severity && before.told && !before.bundled;
                self.put(alarm);
                if worth_telling {
                    self.recheck(Some(&fingerprint), now);
                    self.tell_update(&fingerprint, false, now);
                }
                if let Some(alarm) = self.alarms.get(&fingerprint).filter(|alarm| worse && alarm.is_told()) {
                    self.notify(Reason::Worsened, alarm.group.clone(), vec![fingerprint], now);
                }
            }
            (Change::Cleared, Some(_)) => {
                self.clear(&fingerprint, now);
                self.recheck_after(&fingerprint, &transition.rule.id, now);
            }
            (Change::Changed(_) | Change::Cleared, None) => {}
        }
    }

    /// Somebody took note of an alert, for the rest of it or until a moment.
    ///
    /// # Errors
    /// There is none of this fingerprint, or it is over.
    pub fn acknowledge(
        &mut self,
        fingerprint: &str,
        by: &str,
        note: Option<String>,
        until: Option<WallTime>,
        now: WallTime,
    ) -> Result<(), AlarmError> {
        let before = self.alarms.get(fingerprint).ok_or(AlarmError::UnknownAlert)?;
        if !before.is_active() {
            return Err(AlarmError::Over);
        }
        let mut alarm = Alarm::clone(before);
        alarm.ack_until = until.map(WallTime::unix_nanos);
        alarm.record.ack = Some(Acknowledgement {
            by: by.to_owned(),
            at: now.to_string(),
            note: note.clone(),
            until: until.map(|until| until.to_string()),
        });
        alarm.record.updated_at = now.to_string();
        let deed = AuditEvent {
            action: "alert.acknowledged".to_owned(),
            by: by.to_owned(),
            target: fingerprint.to_owned(),
            note,
            command: None,
        };
        let path = alarm.record.path.clone();
        self.append(draft::of_alarm(&alarm, AlertChange::Acknowledged, false, now));
        self.append(draft::of_deed(&deed, path, now));
        let ends = alarm.foreign && alarm.rule.as_str() == STORE;
        // Of a bundle that waits, nobody was told yet.
        let told = alarm.is_told() && !alarm.bundled;
        let group = alarm.group.clone();
        self.put(alarm);
        if ends {
            self.clear(fingerprint, now);
        } else if told {
            self.notify(Reason::Acknowledged, group, vec![fingerprint.to_owned()], now);
        }
        Ok(())
    }

    /// Writes down that somebody did something.
    pub fn deed(&mut self, action: &str, by: &str, target: &str, note: Option<String>, now: WallTime) {
        let (action, by, target) = (action.to_owned(), by.to_owned(), target.to_owned());
        let deed = AuditEvent { action, by, target, note, command: None };
        self.append(draft::of_deed(&deed, None, now));
    }

    /// Lets what is due happen.
    pub fn handle_timeout(&mut self, now: WallTime) {
        let over: Vec<String> =
            self.silences.values().filter(|silence| silence.is_over(now)).map(|silence| silence.id.clone()).collect();
        for id in over {
            self.silences.remove(&id);
            self.output.push_back(Output::ForgetSilence(id));
        }
        self.recheck(None, now);
        let due = |at: Option<i64>| at.is_some_and(|at| at <= now.unix_nanos());
        let active: Vec<Arc<Alarm>> = self.alarms.values().filter(|alarm| alarm.is_active()).cloned().collect();
        for before in active {
            let fingerprint = &before.record.fingerprint;
            if due(before.ack_until) {
                let mut alarm = Alarm::clone(&before);
                (alarm.record.ack, alarm.ack_until) = (None, None);
                alarm.repeat_at = repeat_after(&alarm, now);
                self.put(alarm);
                self.tell_update(fingerprint, false, now);
            } else if before.is_open() && due(before.escalates_at()) {
                let mut alarm = Alarm::clone(&before);
                alarm.level = alarm.level.saturating_add(1);
                let reason = Reason::Escalated(alarm.level);
                self.put(alarm);
                self.tell_update(fingerprint, false, now);
                self.notify(reason, before.group.clone(), vec![fingerprint.clone()], now);
            } else if before.is_open() && due(before.repeat_at) {
                let mut alarm = Alarm::clone(&before);
                alarm.repeat_at = repeat_after(&alarm, now);
                self.put(alarm);
                self.tell_update(fingerprint, true, now);
                self.notify(Reason::Reminder, before.group.clone(), vec![fingerprint.clone()], now);
            }
        }
        while let Some((group, alerts)) = self.groups.poll(now) {
            let going: Vec<String> = alerts
                .into_iter()
                .filter(|fingerprint| self.alarms.get(fingerprint).is_some_and(|alarm| alarm.is_active()))
                .collect();
            for fingerprint in &going {
                if let Some(before) = self.alarms.get(fingerprint) {
                    self.put(Alarm { bundled: false, ..Alarm::clone(before) });
                }
            }
            self.notify(Reason::Raised, Some(group), going, now);
        }
    }

    /// When [`Alarms::handle_timeout`] should be called next.
    pub fn poll_deadline(&self, now: WallTime) -> Option<WallTime> {
        let of_alarms = self.alarms.values().filter(|alarm| alarm.is_active()).flat_map(|alarm| {
            let open = alarm.is_open();
            let next = [alarm.escalates_at(), alarm.repeat_at].map(|at| at.filter(|_| open));
            next.into_iter().chain([alarm.ack_until]).flatten()
        });
        let of_silences = self.silences.values().filter_map(|silence| silence.next_change(now));
        let all = of_alarms.chain(of_silences).chain(self.groups.deadline());
        all.min().map(WallTime::from_unix_nanos)
    }

    /// What is to be done, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    fn clear(&mut self, fingerprint: &str, now: WallTime) {
        let Some(before) = self.alarms.get(fingerprint).filter(|alarm| alarm.is_active()) else { return };
        let mut alarm = Alarm::clone(before);
        alarm.record.state = AlertState::Cleared;
        alarm.record.ended_at = Some(now.to_string());
        alarm.record.updated_at = now.to_string();
        (alarm.muted, alarm.repeat_at, alarm.ack_until) = (None, None, None);
        let (told, group) = (alarm.told, alarm.group.clone());
        let bundled = std::mem::take(&mut alarm.bundled);
        if told {
            self.append(draft::of_alarm(&alarm, AlertChange::Cleared, false, now));
        }
        self.put(alarm);
        match &group {
            // Nobody was told of its beginning.
            Some(group) if bundled => self.groups.remove(group, fingerprint),
            _ if told => self.notify(Reason::Cleared, group, vec![fingerprint.to_owned()], now),
            _ => {}
        }
        self.end(fingerprint);
    }

    pub(super) fn end(&mut self, fingerprint: &str) {
        self.active = self.active.saturating_sub(1);
        self.ended.push_back(fingerprint.to_owned());
        while self.ended.len() > ENDED_MAX {
            let Some(oldest) = self.ended.pop_front() else { break };
            self.alarms.remove(&oldest);
            self.output.push_back(Output::ForgetAlarm(oldest));
        }
    }

    pub(super) fn put(&mut self, mut alarm: Alarm) {
        self.revision += 1;
        alarm.heard = self.heard.or(alarm.heard);
        let alarm = Arc::new(alarm);
        self.output.push_back(Output::KeepAlarm(alarm.clone()));
        self.alarms.insert(alarm.record.fingerprint.clone(), alarm);
    }
}

pub(super) fn repeat_after(alarm: &Alarm, now: WallTime) -> Option<i64> {
    let span: Duration = alarm.policy.as_ref()?.repeat?;
    Some(after(now, span))
}
