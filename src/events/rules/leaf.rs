//! One condition of a rule about one subject: what it remembers, and what it says now. A sans-IO machine.

use std::{collections::VecDeque, time::Duration};

use super::{
    camera::Troubles,
    input::{Device, DiskRoom, Occurrence, Reading, Subject},
    phase::Truth,
};
use crate::{
    base::{Moment, Monotonic, PathName, SensorId, Severity, WallTime},
    config::rules::{CameraTrouble, Condition, DiskLimit, Level, SecurityKind, SilentState, StateValue, Word},
    events::payload::ReadingValue,
};

/// What a condition is about.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Whose {
    Sensor(SensorId),
    Kind(Word),
    AnySensor,
    Path(PathName),
    AnyPath,
    Server,
}

impl Whose {
    /// The one thing it is about, if it is one.
    pub(super) fn fixed(&self) -> Option<Subject> {
        match self {
            Self::Sensor(sensor) => Some(Subject::Sensor(sensor.clone())),
            Self::Path(path) => Some(Subject::Path(path.clone())),
            Self::Server => Some(Subject::Server),
            Self::Kind(_) | Self::AnySensor | Self::AnyPath => None,
        }
    }

    pub(super) fn fits_sensor(&self, sensor: &SensorId, kind: &str) -> bool {
        match self {
            Self::Sensor(wanted) => wanted == sensor,
            Self::Kind(wanted) => wanted.as_str() == kind,
            Self::AnySensor => true,
            Self::Path(_) | Self::AnyPath | Self::Server => false,
        }
    }

    pub(super) fn fits_path(&self, path: Option<&PathName>) -> bool {
        match self {
            Self::Path(wanted) => Some(wanted) == path,
            Self::AnyPath => true,
            _ => false,
        }
    }
}

/// What a condition compares.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Sort {
    Threshold { rising: bool, levels: Vec<Level>, hysteresis: f64, clear: Option<f64> },
    State(StateValue),
    Rate { rising: bool, by: f64, within: Duration },
    Absent { times: u32, every: Option<Duration>, only: Option<SilentState> },
    Event { kinds: Vec<Word>, hold: Duration },
    Security { kind: SecurityKind, hold: Duration },
    Camera(CameraTrouble),
    Disk(DiskLimit),
}

/// A condition without others below it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Leaf {
    pub(super) whose: Whose,
    pub(super) sort: Sort,
}

impl Leaf {
    /// The leaf that this node of the tree is, if it is one.
    pub(super) fn of(condition: &Condition) -> Option<Self> {
        fn whose(sensor: Option<&SensorId>, kind: Option<&Word>) -> Whose {
            match (sensor, kind) {
                (Some(sensor), _) => Whose::Sensor(sensor.clone()),
                (None, Some(kind)) => Whose::Kind(kind.clone()),
                (None, None) => Whose::AnySensor,
            }
        }
        let place = |path: Option<&PathName>| path.map_or(Whose::AnyPath, |path| Whose::Path(path.clone()));
        if let Some(leaf) = &condition.threshold {
            let rising = leaf.above.is_some();
            let levels = leaf.above.as_ref().or(leaf.below.as_ref())?.as_slice().to_vec();
            let sort = Sort::Threshold {
                rising,
                levels,
                hysteresis: leaf.hysteresis.unwrap_or_default().value(),
                clear: leaf.clear.map(|number| number.value()),
            };
            return Some(Self { whose: whose(leaf.sensor.as_ref(), leaf.kind.as_ref()), sort });
        }
        if let Some(leaf) = &condition.state {
            let whose = whose(leaf.sensor.as_ref(), leaf.kind.as_ref());
            return Some(Self { whose, sort: Sort::State(leaf.is.clone()) });
        }
        if let Some(leaf) = &condition.rate {
            let sort = Sort::Rate {
                rising: leaf.rises.is_some(),
                by: leaf.rises.or(leaf.falls)?.value(),
                within: leaf.within?.duration(),
            };
            return Some(Self { whose: whose(leaf.sensor.as_ref(), leaf.kind.as_ref()), sort });
        }
        if let Some(leaf) = &condition.absent {
            let every = leaf.every.map(Into::into);
            let sort = Sort::Absent { times: leaf.times, every, only: leaf.state };
            return Some(Self { whose: whose(leaf.sensor.as_ref(), leaf.kind.as_ref()), sort });
        }
        if let Some(leaf) = &condition.event {
            let sort = Sort::Event { kinds: leaf.kind.as_slice().to_vec(), hold: leaf.hold.duration() };
            return Some(Self { whose: place(leaf.path.as_ref()), sort });
        }
        if let Some(leaf) = &condition.security {
            let sort = Sort::Security { kind: leaf.kind, hold: leaf.hold.duration() };
            return Some(Self { whose: Whose::Server, sort });
        }
        if let Some(leaf) = &condition.camera {
            return Some(Self { whose: place(leaf.path.as_ref()), sort: Sort::Camera(leaf.state?) });
        }
        condition.disk.as_ref().map(|leaf| Self { whose: Whose::Server, sort: Sort::Disk(leaf.free_below) })
    }

    /// What it says of a subject it remembers nothing of.
    pub(super) const fn untold(&self) -> Truth {
        match self.sort {
            // Nothing that is remembered happened.
            Sort::Event { .. } | Sort::Security { .. } => Truth::False,
            _ => Truth::Unknown,
        }
    }

    /// Whether it is this that it looks for.
    pub(super) fn wants_event(&self, occurrence: &Occurrence) -> bool {
        match &self.sort {
            Sort::Event { kinds, .. } => {
                !occurrence.security
                    && kinds.iter().any(|kind| kind.as_str() == occurrence.kind)
                    && self.whose.fits_path(occurrence.path.as_ref())
            }
            Sort::Security { kind, .. } => occurrence.security && kind.name() == occurrence.kind,
            _ => false,
        }
    }
}

/// What is shown of the reading that decided.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shown {
    pub(super) value: Option<ReadingValue>,
    pub(super) unit: Option<String>,
    pub(super) threshold: Option<f64>,
    pub(super) time: WallTime,
}

impl Shown {
    pub(super) const fn at(time: WallTime) -> Self {
        Self { value: None, unit: None, threshold: None, time }
    }
}

/// The most extremes that a rate remembers; with more, its span is shorter.
const SAMPLES_MAX: usize = 1024;

/// What a condition remembers of a subject.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Memory {
    /// Which level is reached, if one is.
    Level(Option<usize>),
    /// Whether it is so.
    Flag(bool),
    /// The lowest (or highest) numbers of the span, each followed by higher (lower) ones, and the newest.
    Rate { extremes: VecDeque<(Monotonic, f64)>, newest: f64 },
    /// When something last came, how long nothing may come, and whether the source says that it is broken.
    Absent { last: Monotonic, limit: Option<Duration>, broken: bool },
    /// Until when the event goes on.
    Until(Monotonic),
}

/// The state of one leaf about one subject.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LeafState {
    pub(super) memory: Memory,
    pub(super) shown: Shown,
}

impl LeafState {
    /// A sensor showed something. `before` is what was remembered.
    pub(super) fn of_reading(
        leaf: &Leaf,
        before: Option<Self>,
        reading: &Reading,
        device: &Device,
        now: Moment,
    ) -> Option<Self> {
        let number = match reading.value {
            ReadingValue::Number(number) if number.is_finite() => Some(number),
            _ => None,
        };
        let mut shown = Shown {
            value: Some(reading.value.clone()),
            unit: device.unit.clone(),
            threshold: None,
            time: reading.time,
        };
        let memory = match &leaf.sort {
            Sort::Threshold { rising, levels, hysteresis, clear } => {
                let reached = match &before {
                    Some(Self { memory: Memory::Level(reached), .. }) => *reached,
                    _ => None,
                };
                let Some(number) = number else { return before };
                let level = level(*rising, levels, *hysteresis, *clear, reached, number);
                shown.threshold = levels.get(level.unwrap_or(0)).map(|level| level.limit.value());
                Memory::Level(level)
            }
            Sort::State(wanted) => Memory::Flag(match (wanted, &reading.value) {
                (StateValue::Flag(wanted), ReadingValue::Flag(flag)) => wanted == flag,
                (StateValue::Word(wanted), ReadingValue::Text(text)) => wanted == text,
                // Sensors that count ones and noughts.
                (StateValue::Flag(wanted), ReadingValue::Number(number)) => *wanted == (*number != 0.0),
                _ => false,
            }),
            Sort::Rate { rising, by, .. } => {
                let mut extremes = match before {
                    Some(Self { memory: Memory::Rate { ref extremes, .. }, .. }) => extremes.clone(),
                    _ => VecDeque::new(),
                };
                let Some(number) = number else { return before };
                while extremes.back().is_some_and(|(_, last)| if *rising { *last >= number } else { *last <= number }) {
                    extremes.pop_back();
                }
                extremes.push_back((now.monotonic, number));
                if extremes.len() > SAMPLES_MAX {
                    extremes.pop_front();
                }
                shown.threshold = Some(*by);
                Memory::Rate { extremes, newest: number }
            }
            Sort::Absent { .. } => {
                return Some(Self {
                    shown: Shown::at(reading.time),
                    ..Self::of_device(leaf, None, device, false, now)?
                });
            }
            Sort::Event { .. } | Sort::Security { .. } | Sort::Camera(_) | Sort::Disk(_) => return before,
        };
        Some(Self { memory, shown })
    }

    /// A sensor is known, or its source is `broken` or well again.
    pub(super) fn of_device(
        leaf: &Leaf,
        before: Option<Self>,
        device: &Device,
        broken: bool,
        now: Moment,
    ) -> Option<Self> {
        let Sort::Absent { times, every, .. } = &leaf.sort else { return before };
        let limit = device.every.or(*every).map(|every| every.saturating_mul(*times));
        let (last, shown) = match before {
            Some(Self { memory: Memory::Absent { last, .. }, shown }) => (last, shown),
            _ => (now.monotonic, Shown::at(now.wall)),
        };
        Some(Self { memory: Memory::Absent { last, limit, broken }, shown })
    }

    pub(super) fn of_event(leaf: &Leaf, occurrence: &Occurrence, now: Moment) -> Option<Self> {
        let (Sort::Event { hold, .. } | Sort::Security { hold, .. }) = &leaf.sort else { return None };
        let shown = Shown { value: Some(ReadingValue::Text(occurrence.kind.clone())), ..Shown::at(occurrence.time) };
        Some(Self { memory: Memory::Until(now.monotonic + *hold), shown })
    }

    pub(super) fn of_camera(leaf: &Leaf, before: Option<&Self>, troubles: Troubles, now: Moment) -> Option<Self> {
        let Sort::Camera(wanted) = leaf.sort else { return None };
        let has = CameraTrouble::ALL.into_iter().zip(troubles).any(|(trouble, has)| has && trouble == wanted);
        if let Some(before) = before
            && before.memory == Memory::Flag(has)
        {
            return Some(before.clone());
        }
        let shown = Shown { value: Some(ReadingValue::Text(wanted.name().to_owned())), ..Shown::at(now.wall) };
        Some(Self { memory: Memory::Flag(has), shown })
    }

    pub(super) fn of_disk(leaf: &Leaf, room: DiskRoom, now: Moment) -> Option<Self> {
        let Sort::Disk(limit) = leaf.sort else { return None };
        let gigabytes = |bytes: u64| (bytes as f64 / 1e8).round() / 10.0;
        let least = limit.bytes(room.total);
        let shown = Shown {
            value: Some(ReadingValue::Number(gigabytes(room.free))),
            unit: Some("GB".to_owned()),
            threshold: Some(gigabytes(least)),
            time: now.wall,
        };
        Some(Self { memory: Memory::Flag(room.free < least), shown })
    }

    /// Forgets what lies too far back.
    pub(super) fn expire(&mut self, leaf: &Leaf, now: Monotonic) {
        if let (Memory::Rate { extremes, .. }, Sort::Rate { within, .. }) = (&mut self.memory, &leaf.sort) {
            while extremes.front().is_some_and(|(at, _)| *at + *within <= now) {
                extremes.pop_front();
            }
        }
    }

    /// What it says now, and how bad that is where the condition itself says so.
    pub(super) fn truth(&self, leaf: &Leaf, now: Monotonic) -> (Truth, Option<Severity>) {
        let known = |holds: bool| if holds { Truth::True } else { Truth::False };
        match (&self.memory, &leaf.sort) {
            (Memory::Level(level), Sort::Threshold { levels, .. }) => {
                (known(level.is_some()), level.and_then(|level| levels.get(level)?.severity))
            }
            (Memory::Flag(flag), _) => (known(*flag), None),
            (Memory::Rate { extremes, newest }, Sort::Rate { rising, by, .. }) => {
                let change =
                    extremes.front().map(|(_, extreme)| if *rising { newest - extreme } else { extreme - newest });
                (known(change.is_some_and(|change| change >= *by)), None)
            }
            (Memory::Absent { .. }, Sort::Absent { only, .. }) => match self.silence(now) {
                None => (Truth::Unknown, None),
                Some(state) => (known(state.is_some_and(|state| only.is_none_or(|only| only == state))), None),
            },
            (Memory::Until(until), _) => (known(now < *until), None),
            _ => (Truth::Unknown, None),
        }
    }

    /// Why nothing comes, if nothing comes; nothing at all if nothing is expected.
    pub(super) fn silence(&self, now: Monotonic) -> Option<Option<SilentState>> {
        let Memory::Absent { last, limit, broken } = &self.memory else { return None };
        if *broken {
            return Some(Some(SilentState::SourceError));
        }
        limit.map(|limit| (*last + limit <= now).then_some(SilentState::NoData))
    }

    /// When it says something else though nothing comes.
    pub(super) fn deadline(&self, leaf: &Leaf, now: Monotonic) -> Option<Monotonic> {
        match (&self.memory, &leaf.sort) {
            (Memory::Rate { extremes, .. }, Sort::Rate { within, .. }) => {
                let (first, _) = extremes.front()?;
                (self.truth(leaf, now).0 == Truth::True).then(|| *first + *within)
            }
            (Memory::Absent { last, limit: Some(limit), broken: false }, _) => {
                Some(*last + *limit).filter(|due| *due > now)
            }
            (Memory::Until(until), _) => Some(*until).filter(|due| *due > now),
            _ => None,
        }
    }
}

/// The level that `number` reaches, when `reached` was reached before it.
fn level(
    rising: bool,
    levels: &[Level],
    hysteresis: f64,
    clear: Option<f64>,
    reached: Option<usize>,
    number: f64,
) -> Option<usize> {
    let beyond = |limit: f64| if rising { number > limit } else { number < limit };
    let holds = |(i, level): (usize, &Level)| {
        let limit = level.limit.value();
        let back = clear.unwrap_or(if rising { limit - hysteresis } else { limit + hysteresis });
        beyond(limit) || (reached.is_some_and(|reached| i <= reached) && beyond(back))
    };
    levels.iter().enumerate().filter(|level| holds(*level)).map(|(i, _)| i).next_back()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::rules::Number;

    #[test]
    fn levels_are_left_only_behind_their_hysteresis() {
        let at = |severity, limit| Level { severity: Some(severity), limit: Number::new(limit).unwrap() };
        let levels = [at(Severity::Warning, 35.0), at(Severity::Critical, 45.0)];
        let mut reached = None;
        let table = [
            (35.0, None),
            (35.1, Some(0)),
            (34.0, Some(0)),
            (33.0, None),
            (34.9, None),
            (45.5, Some(1)),
            (44.0, Some(1)),
            (43.0, Some(0)),
            (44.9, Some(0)),
            (20.0, None),
        ];
        for (number, expected) in table {
            reached = level(true, &levels, 2.0, None, reached, number);
            assert_eq!(reached, expected, "{number}");
        }
        let low = [Level { severity: None, limit: Number::new(5.0).unwrap() }];
        assert_eq!(level(false, &low, 0.0, Some(8.0), None, 5.0), None);
        assert_eq!(level(false, &low, 0.0, Some(8.0), None, 4.9), Some(0));
        assert_eq!(level(false, &low, 0.0, Some(8.0), Some(0), 7.9), Some(0));
        assert_eq!(level(false, &low, 0.0, Some(8.0), Some(0), 8.0), None);
    }
}
