//! What is told of alarms: facts for the log, notices for the ways out. A sans-IO part of [`Alarms`].

use super::{
    Notice, Reason, draft,
    machine::{Alarms, Output},
    record::notice_id,
};
use crate::{
    base::WallTime,
    events::{envelope::Draft, payload::AlertChange},
};

impl Alarms {
    /// The fact that an alert changed, if people know of it.
    pub(super) fn tell_update(&mut self, fingerprint: &str, reminder: bool, now: WallTime) {
        let Some(alarm) = self.alarms.get(fingerprint).filter(|alarm| alarm.told && alarm.muted.is_none()) else {
            return;
        };
        let draft = draft::of_alarm(alarm, AlertChange::Updated, reminder, now);
        self.append(draft);
    }

    /// The notice of these alerts, if there are any.
    pub(super) fn notify(&mut self, reason: Reason, group: Option<String>, alerts: Vec<String>, now: WallTime) {
        let known: Vec<_> = alerts.iter().filter_map(|fingerprint| self.alarms.get(fingerprint)).collect();
        let (Some(first), Some(severity)) = (known.first(), known.iter().map(|alarm| alarm.peak).max()) else { return };
        let notice = Notice {
            id: notice_id(reason, &alerts, now),
            at: now.to_string(),
            reason,
            level: known.iter().map(|alarm| alarm.level).max().unwrap_or_default(),
            group,
            severity,
            title: first.record.title.clone(),
            alerts: known.iter().take(Notice::ALERTS_MAX).map(|alarm| alarm.record.clone()).collect(),
            count: known.len(),
        };
        self.output.push_back(Output::Notify(notice));
    }

    /// A fact for the log.
    pub(super) fn append(&mut self, draft: Draft) {
        self.output.push_back(Output::Append(draft));
    }
}
