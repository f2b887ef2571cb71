//! All rules over all their subjects: what comes in goes to the conditions that want it, and what those say to the
//! alarm of each subject. A sans-IO machine.
//!
//! Time is caught up with first: a timer that was due before an input acts before it, at its own moment, so that a late
//! caller changes nothing.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use super::{
    camera::Health,
    input::{Device, DiskRoom, Finding, Occurrence, Reading, Subject},
    leaf::{Leaf, LeafState, Memory, Sort},
    phase::{Alarm, Spans, Step, Truth},
    timers::Timers,
    transition::{Change, Transition},
    tree::{Compiled, LeafKey, Verdict},
};
use crate::{
    base::{Moment, Monotonic, PathName, SensorId},
    config::{Rule, RuleId},
    events::payload::ReadingValue,
};

/// The most conditions times subjects that are remembered. What comes beyond is refused and counted.
const MEMORY_MAX: usize = 50_000;

/// What is known of a sensor.
#[derive(Debug)]
struct Known {
    device: Device,
    last: Option<Reading>,
    broken: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    Leaf(LeafKey),
    Alarm(RuleId, Subject),
    Schedule(RuleId),
}

/// The rules.
#[derive(Debug, Default)]
pub struct Rules {
    pub(super) rules: BTreeMap<RuleId, Arc<Compiled>>,
    devices: HashMap<SensorId, Known>,
    pub(super) cameras: HashMap<PathName, (Health, String)>,
    pub(super) leaves: BTreeMap<LeafKey, LeafState>,
    pub(super) alarms: BTreeMap<(RuleId, Subject), Alarm>,
    pub(super) timers: Timers<Timer>,
    output: VecDeque<Transition>,
    refused: u64,
    turns: u64,
}

impl Rules {
    /// These rules from now on. Those that are equal to one before go on; the alarms of those that are not end.
    pub fn set_rules(&mut self, rules: impl IntoIterator<Item = Rule>, now: Moment) {
        self.handle_timeout(now);
        let rules: BTreeMap<RuleId, Rule> = rules.into_iter().map(|rule| (rule.id.clone(), rule)).collect();
        let gone = self.rules.iter().filter(|(id, before)| rules.get(*id) != Some(&*before.rule));
        for id in gone.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.remove(&id, now);
        }
        for (id, rule) in rules {
            if self.rules.contains_key(&id) {
                continue;
            }
            self.install(rule, now);
            for subject in self.subjects(&id) {
                self.evaluate(&id, &subject, now);
            }
            for sensor in self.devices.keys().cloned().collect::<Vec<_>>() {
                self.tell_device(&sensor, Some(&id), now);
                if let Some(last) = self.devices.get(&sensor).and_then(|known| known.last.clone()) {
                    self.tell_reading(&last, Some(&id), now);
                }
            }
        }
    }

    pub(super) fn install(&mut self, rule: Rule, now: Moment) {
        let id = rule.id.clone();
        self.rules.insert(id.clone(), Arc::new(Compiled::of(rule)));
        self.arm_schedule(&id, now);
    }

    fn remove(&mut self, id: &RuleId, now: Moment) {
        for key in self.alarms_of(id).map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            if let Some(alarm) = self.alarms.remove(&key)
                && alarm.phase.active
            {
                self.tell(&key.0, &key.1, Change::Cleared, now);
            }
            self.timers.arm(Timer::Alarm(key.0, key.1), None);
        }
        for key in self.leaves_of(id).map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            self.leaves.remove(&key);
            self.timers.arm(Timer::Leaf(key), None);
        }
        self.timers.arm(Timer::Schedule(id.clone()), None);
        self.rules.remove(id);
    }

    /// A sensor is there, or is not what it was.
    pub fn handle_device(&mut self, device: Device, now: Moment) {
        self.handle_timeout(now);
        let sensor = device.sensor.clone();
        match self.devices.get_mut(&sensor) {
            Some(known) if known.device == device => return,
            Some(known) => known.device = device,
            None => drop(self.devices.insert(sensor.clone(), Known { device, last: None, broken: false })),
        }
        self.tell_device(&sensor, None, now);
    }

    /// What brings a sensor's readings is broken, or well again.
    pub fn handle_source(&mut self, sensor: &SensorId, broken: bool, now: Moment) {
        self.handle_timeout(now);
        if let Some(known) = self.devices.get_mut(sensor).filter(|known| known.broken != broken) {
            known.broken = broken;
            self.tell_device(sensor, None, now);
        }
    }

    /// A sensor showed something. `false` if no such sensor is known.
    pub fn handle_reading(&mut self, reading: Reading, now: Moment) -> bool {
        self.handle_timeout(now);
        let Some(known) = self.devices.get_mut(&reading.sensor) else { return false };
        known.broken = false;
        self.tell_reading(&reading, None, now);
        if let Some(known) = self.devices.get_mut(&reading.sensor) {
            known.last = Some(reading);
        }
        true
    }

    /// Something happened.
    pub fn handle_event(&mut self, occurrence: &Occurrence, now: Moment) {
        self.handle_timeout(now);
        let subject = occurrence.subject();
        let wants = |leaf: &Leaf| leaf.wants_event(occurrence);
        self.tell_leaves(None, wants, &subject, now, |leaf, _| LeafState::of_event(leaf, occurrence, now));
    }

    /// Something happened that these rules know of, from before a restart.
    pub(super) fn handle_past_event(&mut self, occurrence: &Occurrence, known: &BTreeSet<RuleId>, now: Moment) {
        self.handle_timeout(now);
        let subject = occurrence.subject();
        let wants = |leaf: &Leaf| leaf.wants_event(occurrence);
        for id in self.rules.keys().filter(|id| !known.contains(*id)).cloned().collect::<Vec<_>>() {
            self.tell_leaves(Some(&id), wants, &subject, now, |leaf, _| LeafState::of_event(leaf, occurrence, now));
        }
    }

    /// A look at the disk.
    pub fn handle_disk(&mut self, room: DiskRoom, now: Moment) {
        self.handle_timeout(now);
        let wants = |leaf: &Leaf| matches!(leaf.sort, Sort::Disk(_));
        self.tell_leaves(None, wants, &Subject::Server, now, |leaf, _| LeafState::of_disk(leaf, room, now));
    }

    /// Lets what is due happen, each thing at its own moment.
    pub fn handle_timeout(&mut self, now: Moment) {
        while let Some(due) = self.poll_deadline().filter(|due| *due <= now.monotonic) {
            let at = now.at(due);
            let mut touched = BTreeSet::new();
            while let Some(timer) = self.timers.pop(due) {
                match timer {
                    Timer::Leaf(key) => {
                        self.expire(&key, at);
                        touched.extend(self.touched_by(&key));
                    }
                    Timer::Alarm(rule, subject) => drop(touched.insert((rule, subject))),
                    Timer::Schedule(rule) => {
                        self.arm_schedule(&rule, at);
                        touched.extend(self.subjects(&rule).into_iter().map(|subject| (rule.clone(), subject)));
                    }
                }
            }
            for (rule, subject) in touched {
                self.evaluate(&rule, &subject, at);
            }
        }
    }

    /// When [`Rules::handle_timeout`] should be called next.
    pub fn poll_deadline(&self) -> Option<Monotonic> {
        self.timers.next()
    }

    /// What changed, in order.
    pub fn poll_output(&mut self) -> Option<Transition> {
        self.output.pop_front()
    }

    /// How much was refused because too much is remembered.
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// How often an alarm began to turn, was raised or cleared, or thought better of it: what a restart must not forget.
    pub const fn turns(&self) -> u64 {
        self.turns
    }

    fn tell_device(&mut self, sensor: &SensorId, only: Option<&RuleId>, now: Moment) {
        let Some(known) = self.devices.get(sensor) else { return };
        let (device, broken) = (known.device.clone(), known.broken);
        self.tell_leaves(
            only,
            |leaf| leaf.whose.fits_sensor(&device.sensor, &device.kind),
            &Subject::Sensor(sensor.clone()),
            now,
            |leaf, before| LeafState::of_device(leaf, before, &device, broken, now),
        );
    }

    fn tell_reading(&mut self, reading: &Reading, only: Option<&RuleId>, now: Moment) {
        let Some(known) = self.devices.get(&reading.sensor) else { return };
        let device = known.device.clone();
        self.tell_leaves(
            only,
            |leaf| leaf.whose.fits_sensor(&device.sensor, &device.kind),
            &Subject::Sensor(device.sensor.clone()),
            now,
            |leaf, before| LeafState::of_reading(leaf, before, reading, &device, now),
        );
    }

    /// Gives the leaves that want it what came, then evaluates what rests on them, each once.
    pub(super) fn tell_leaves(
        &mut self,
        only: Option<&RuleId>,
        wants: impl Fn(&Leaf) -> bool,
        subject: &Subject,
        now: Moment,
        next: impl Fn(&Leaf, Option<LeafState>) -> Option<LeafState>,
    ) {
        let mut touched = BTreeSet::new();
        let rules: Vec<Arc<Compiled>> = match only {
            Some(id) => self.rules.get(id).cloned().into_iter().collect(),
            None => self.rules.values().filter(|rule| rule.leaves.iter().any(&wants)).cloned().collect(),
        };
        for rule in rules {
            for (i, leaf) in rule.leaves.iter().enumerate().filter(|(_, leaf)| wants(leaf)) {
                let key = (rule.rule.id.clone(), i, subject.clone());
                let before = self.leaves.remove(&key);
                if before.is_none() && self.leaves.len() >= MEMORY_MAX {
                    self.refused += 1;
                    continue;
                }
                if let Some(mut state) = next(leaf, before) {
                    state.expire(leaf, now.monotonic);
                    self.timers.arm(Timer::Leaf(key.clone()), state.deadline(leaf, now.monotonic));
                    self.leaves.insert(key.clone(), state);
                    touched.extend(self.touched_by(&key));
                }
            }
        }
        for (rule, subject) in touched {
            self.evaluate(&rule, &subject, now);
        }
    }

    pub(super) fn expire(&mut self, key: &LeafKey, now: Moment) {
        let Some(leaf) = self.rules.get(&key.0).and_then(|rule| rule.leaves.get(key.1)) else { return };
        let Some(state) = self.leaves.get_mut(key) else { return };
        state.expire(leaf, now.monotonic);
        let deadline = state.deadline(leaf, now.monotonic);
        if matches!(state.memory, Memory::Until(until) if until <= now.monotonic) {
            self.leaves.remove(key);
        }
        self.timers.arm(Timer::Leaf(key.clone()), deadline);
    }

    /// The alarms that rest on what a leaf says of a subject.
    fn touched_by(&self, (id, leaf, subject): &LeafKey) -> Vec<(RuleId, Subject)> {
        let Some(rule) = self.rules.get(id) else { return Vec::new() };
        let subjects = match rule.leaves.get(*leaf).and_then(|leaf| leaf.whose.fixed()) {
            Some(_) => self.subjects(id),
            None => vec![subject.clone()],
        };
        subjects.into_iter().map(|subject| (id.clone(), subject)).collect()
    }

    /// What a rule has alarms, or may have alarms, about: the one thing it names, or each that it heard of.
    pub(super) fn subjects(&self, id: &RuleId) -> Vec<Subject> {
        let Some(rule) = self.rules.get(id) else { return Vec::new() };
        if rule.leaves.iter().all(|leaf| leaf.whose.fixed().is_some()) {
            return rule.leaves.first().and_then(|leaf| leaf.whose.fixed()).into_iter().collect();
        }
        let heard = self.leaves_of(id).filter(|((_, leaf, _), _)| rule.leaves[*leaf].whose.fixed().is_none());
        let all: BTreeSet<Subject> = heard
            .map(|((.., subject), _)| subject.clone())
            .chain(self.alarms_of(id).map(|((_, subject), _)| subject.clone()))
            .collect();
        all.into_iter().collect()
    }

    pub(super) fn leaves_of<'a>(&'a self, id: &'a RuleId) -> impl Iterator<Item = (&'a LeafKey, &'a LeafState)> {
        self.leaves.range((id.clone(), 0, Subject::lowest())..).take_while(move |((rule, ..), _)| rule == id)
    }

    pub(super) fn alarms_of<'a>(&'a self, id: &'a RuleId) -> impl Iterator<Item = (&'a (RuleId, Subject), &'a Alarm)> {
        self.alarms.range((id.clone(), Subject::lowest())..).take_while(move |((rule, _), _)| rule == id)
    }

    pub(super) fn evaluate(&mut self, id: &RuleId, subject: &Subject, now: Moment) {
        let Some(rule) = self.rules.get(id).cloned() else { return };
        let kind = match subject {
            Subject::Sensor(sensor) => self.devices.get(sensor).map(|known| known.device.kind.clone()),
            Subject::Path(_) | Subject::Server => None,
        };
        let verdict = if rule.rule.schedule.is_open(now.wall) {
            rule.tree.verdict(&rule, subject, kind.as_deref(), &self.leaves, now.monotonic)
        } else {
            Verdict::default()
        };
        let truth = verdict.truth.unwrap_or(Truth::False);
        let key = (id.clone(), subject.clone());
        let mut alarm = self.alarms.remove(&key).unwrap_or_default();
        let spans = Spans::from(&*rule.rule);
        let before = alarm.phase;
        let step = alarm.phase.step(truth, spans, now.monotonic);
        self.turns += u64::from(alarm.phase != before);
        let finding = match truth {
            Truth::True => Some(self.finding(&rule, &verdict, subject, now)),
            Truth::False | Truth::Unknown => None,
        };
        match (step, finding) {
            (Some(Step::Raise), Some(finding)) => {
                alarm.finding = Some(finding.clone());
                self.tell(id, subject, Change::Raised(finding), now);
            }
            (Some(Step::Clear), _) => {
                alarm.finding = None;
                self.tell(id, subject, Change::Cleared, now);
            }
            (None, Some(finding))
                if alarm.phase.active && !alarm.finding.as_ref().is_some_and(|before| before.says(&finding)) =>
            {
                alarm.finding = Some(finding.clone());
                self.tell(id, subject, Change::Changed(finding), now);
            }
            _ => {}
        }
        let deadline = alarm.phase.deadline(spans).filter(|due| *due > now.monotonic);
        self.timers.arm(Timer::Alarm(key.0.clone(), key.1.clone()), deadline);
        if !alarm.phase.is_idle() {
            self.alarms.insert(key, alarm);
        }
    }

    fn finding(&self, rule: &Compiled, verdict: &Verdict, subject: &Subject, now: Moment) -> Finding {
        let severity = verdict.severity.unwrap_or(rule.rule.severity);
        let decided = verdict.leaf.and_then(|leaf| {
            let about = rule.leaves.get(leaf)?.whose.fixed().unwrap_or_else(|| subject.clone());
            self.leaves.get(&(rule.rule.id.clone(), leaf, about))
        });
        let Some(state) = decided else {
            return Finding { severity, value: None, unit: None, threshold: None, time: now.wall };
        };
        let shown = state.shown.clone();
        let value = match state.silence(now.monotonic) {
            Some(Some(silent)) => Some(ReadingValue::Text(silent.name().to_owned())),
            _ => shown.value,
        };
        Finding { severity, value, unit: shown.unit, threshold: shown.threshold, time: shown.time }
    }

    fn tell(&mut self, id: &RuleId, subject: &Subject, change: Change, now: Moment) {
        let Some(rule) = self.rules.get(id).map(|rule| rule.rule.clone()) else { return };
        let (device, path) = match subject {
            Subject::Sensor(sensor) => match self.devices.get(sensor) {
                Some(known) => (known.device.name.clone(), known.device.path.clone()),
                None => (sensor.to_string(), None),
            },
            Subject::Path(path) => {
                let title = self.cameras.get(path).map(|(_, title)| title.clone());
                (title.unwrap_or_else(|| path.to_string()), Some(path.clone()))
            }
            Subject::Server => ("server".to_owned(), None),
        };
        self.output.push_back(Transition { rule, subject: subject.clone(), device, path, change, at: now.wall });
    }

    fn arm_schedule(&mut self, id: &RuleId, now: Moment) {
        let Some(rule) = self.rules.get(id) else { return };
        // Looked at every hour at least: the wall clock may step.
        let hour = std::time::Duration::from_secs(3600);
        let next =
            rule.rule.schedule.next_change(now.wall).map(|next| now.monotonic_of(next).min(now.monotonic + hour));
        self.timers.arm(Timer::Schedule(id.clone()), next);
    }
}
