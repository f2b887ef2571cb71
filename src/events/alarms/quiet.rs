//! What keeps alarms quiet, silences and inhibition, and what is told when that ends. A sans-IO part of [`Alarms`].

use std::sync::Arc;

use super::{
    Reason, draft,
    machine::{AlarmError, Alarms, Output, SILENCES_MAX, repeat_after},
    record::{Alarm, Muted, fingerprint},
    silence::Silence,
};
use crate::{
    base::WallTime,
    config::RuleId,
    events::{payload::AlertChange, rules::Subject},
};

impl Alarms {
    /// Somebody does not want to hear of something.
    ///
    /// # Errors
    /// There are too many silences.
    pub fn silence(&mut self, silence: Silence, now: WallTime) -> Result<(), AlarmError> {
        if self.silences.len() >= SILENCES_MAX {
            return Err(AlarmError::TooManySilences);
        }
        self.deed("silence.added", &silence.by, &silence.id, silence.note.clone(), now);
        self.output.push_back(Output::KeepSilence(silence.clone()));
        self.silences.insert(silence.id.clone(), silence);
        self.recheck(None, now);
        Ok(())
    }

    /// Somebody ends a silence.
    ///
    /// # Errors
    /// There is none of this id.
    pub fn unsilence(&mut self, id: &str, by: &str, now: WallTime) -> Result<(), AlarmError> {
        self.silences.remove(id).ok_or(AlarmError::UnknownSilence)?;
        self.deed("silence.removed", by, id, None, now);
        self.output.push_back(Output::ForgetSilence(id.to_owned()));
        self.recheck(None, now);
        Ok(())
    }

    /// [`Alarms::recheck`] after an alarm of a rule began or ended: others may have been waiting for that.
    pub(super) fn recheck_after(&mut self, fingerprint: &str, rule: &RuleId, now: WallTime) {
        let one = (!self.inhibitors.contains(rule)).then_some(fingerprint);
        self.recheck(one, now);
    }

    /// Finds anew what is quiet, of one alarm or of all; what is not any more, and never was told, is told now.
    pub(super) fn recheck(&mut self, one: Option<&str>, now: WallTime) {
        self.revision += 1;
        let holding: Vec<&Silence> = self.silences.values().filter(|silence| silence.holds(now)).collect();
        let inhibiting = |alarm: &Alarm| {
            let about = Subject::Path(alarm.record.path.clone()?);
            let goes_on =
                |rule: &&RuleId| self.alarms.get(&fingerprint(rule, &about)).is_some_and(|other| other.is_active());
            alarm.policy.as_ref()?.inhibited_by.iter().find(goes_on).cloned().map(Muted::Inhibited)
        };
        let quiet = |alarm: &Alarm| {
            let silence = holding.iter().find(|silence| silence.matcher.fits(alarm));
            silence.map(|silence| Muted::Silence(silence.id.clone())).or_else(|| inhibiting(alarm))
        };
        let meant: Box<dyn Iterator<Item = &Arc<Alarm>>> = match one {
            Some(one) => Box::new(self.alarms.get(one).into_iter()),
            None => Box::new(self.alarms.values()),
        };
        let turned: Vec<Alarm> = meant
            .filter(|alarm| alarm.is_active())
            .filter_map(|alarm| {
                let muted = quiet(alarm);
                let tells = muted.is_none() && !alarm.told;
                (tells || alarm.muted != muted).then(|| Alarm { muted, ..Alarm::clone(alarm) })
            })
            .collect();
        for mut alarm in turned {
            if alarm.muted.is_none() && !alarm.told {
                alarm.told = true;
                alarm.repeat_at = repeat_after(&alarm, now);
                self.append(draft::of_alarm(&alarm, AlertChange::Raised, false, now));
                let fingerprint = alarm.record.fingerprint.clone();
                let group = alarm.group.clone();
                alarm.bundled = group.is_some();
                self.put(alarm);
                match group {
                    Some(group) => self.groups.add(&group, fingerprint, now),
                    None => self.notify(Reason::Raised, None, vec![fingerprint], now),
                }
            } else {
                self.put(alarm);
            }
        }
    }
}
