//! Alarms that come from the log instead of from a rule: what a part of the server raised by itself, and what rules had
//! told when the process was killed. Sans-IO.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Reason,
    machine::{Alarms, FOREIGN},
    record::Alarm,
};
use crate::{
    base::WallTime,
    config::{Rule, RuleId},
    events::{
        envelope::Cursor,
        payload::{AlertChange, AlertEvent},
        rules::Subject,
    },
};

impl Alarms {
    /// An alert that a part of the server put into the log by itself.
    pub fn handle_foreign(&mut self, event: &AlertEvent, now: WallTime) {
        let rule = FOREIGN.into_iter().find(|rule| *rule == event.alert.rule).and_then(|rule| rule.parse().ok());
        let Some(rule) = rule.filter(|_| event.change != AlertChange::Acknowledged) else { return };
        let before = self.alarms.get(&event.alert.fingerprint);
        if before.is_none_or(|before| before.record != event.alert && before.foreign) {
            self.adopt(Alarm::foreign(event, rule, now), now);
        }
    }

    /// An alert that a rule raised, told or ended when the process was killed: it is in the log, and was not kept. Nobody
    /// was notified either.
    pub fn handle_told(&mut self, event: &AlertEvent, heard: Cursor, rule: &Arc<Rule>, now: WallTime) {
        let Some(alarm) = Alarm::told(event, rule, now) else { return };
        self.inhibitors.extend(rule.inhibited_by.iter().cloned());
        self.handle_heard(heard);
        self.adopt(alarm, now);
    }

    /// The rules have heard what happened up to this fact.
    pub const fn handle_heard(&mut self, cursor: Cursor) {
        self.heard = Some(cursor);
    }

    /// The rules whose alarms of this subject are over, and that had heard of this fact before: it raises none of them again.
    pub fn settled(&self, subject: &Subject, fact: Cursor) -> BTreeSet<RuleId> {
        let knew = |heard: Cursor| heard.epoch == fact.epoch && heard.offset >= fact.offset;
        let of_subject = self.alarms.values().filter(|alarm| alarm.subject == *subject && !alarm.foreign);
        let over = of_subject.filter(|alarm| !alarm.is_active() && alarm.heard.is_some_and(knew));
        over.map(|alarm| alarm.rule.clone()).collect()
    }

    fn adopt(&mut self, alarm: Alarm, now: WallTime) {
        let fingerprint = &alarm.record.fingerprint.clone();
        let was_active = self.alarms.get(fingerprint).is_some_and(|before| before.is_active());
        match (was_active, alarm.is_active()) {
            (false, true) => {
                self.ended.retain(|ended| ended != fingerprint);
                self.active += 1;
                self.put(alarm);
                self.notify(Reason::Raised, None, vec![fingerprint.clone()], now);
            }
            (true, true) => self.put(alarm),
            (true, false) => {
                self.put(alarm);
                self.notify(Reason::Cleared, None, vec![fingerprint.clone()], now);
                self.end(fingerprint);
            }
            (false, false) => {}
        }
    }
}
