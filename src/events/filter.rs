//! What a subscriber gets: what it asked for ([`Filter`]) and may see ([`Scope`]). Looked at before anything is
//! serialised.

use std::collections::BTreeSet;

use tokio_util::sync::CancellationToken;

use super::{
    envelope::{EventType, SensorId, Severity},
    event::Topic,
};
use crate::{
    auth::{Action, Grant, Permission, Proof},
    base::{Error, Kind, PathName, Result},
};

/// Entries of one list of a filter.
const ENTRIES: usize = 256;

/// A set of types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Types(u8);

impl Types {
    /// Every one.
    pub const ALL: Self = Self((1 << EventType::ALL.len()) - 1);

    /// Those that are facts.
    pub const FACTS: Self =
        Self(0).with(EventType::Alert).with(EventType::CameraEvent).with(EventType::Audit).with(EventType::Security);

    /// These.
    pub fn of(kinds: &[EventType]) -> Self {
        kinds.iter().fold(Self::default(), |types, kind| types.with(*kind))
    }

    /// These and one more.
    #[must_use]
    pub const fn with(self, kind: EventType) -> Self {
        Self(self.0 | 1 << kind as u8)
    }

    /// Whether a type is among them.
    pub const fn has(self, kind: EventType) -> bool {
        self.0 & 1 << kind as u8 != 0
    }

    /// Those that are in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether a value is among them.
    pub fn have_values(self) -> bool {
        EventType::ALL.into_iter().any(|kind| !kind.is_fact() && self.has(kind))
    }
}

/// What was asked for. The lists narrow each other: an event passes if every list that was given lets it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Types and finer words, in lower case; with a type all its words pass.
    kinds: Option<(Types, BTreeSet<String>)>,
    paths: Option<BTreeSet<PathName>>,
    sensors: Option<BTreeSet<SensorId>>,
    severity: Severity,
}

impl Filter {
    /// Everything.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Events whose type or finer word is among these, whatever the case.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`]: too many, or none could be a word.
    pub fn event_types<W: AsRef<str>>(mut self, words: impl IntoIterator<Item = W>) -> Result<Self> {
        let (mut types, mut names) = (Types::default(), BTreeSet::new());
        for word in words {
            let word = word.as_ref();
            if word.is_empty() || word.len() > 100 {
                return Err(unfit("event_types", "a word has 1 to 100 bytes"));
            }
            match EventType::parse(word) {
                Some(kind) => types = types.with(kind),
                None => drop(names.insert(word.to_ascii_lowercase())),
            }
            bounded("event_types", names.len())?;
        }
        self.kinds = Some((types, names));
        Ok(self)
    }

    /// Events of these cameras.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`]: too many, or one is no name of a path.
    pub fn paths<W: AsRef<str>>(mut self, names: impl IntoIterator<Item = W>) -> Result<Self> {
        self.paths = Some(read("paths", names)?);
        Ok(self)
    }

    /// Events of these sensors.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`]: too many, or one is no id of a sensor.
    pub fn sensors<W: AsRef<str>>(mut self, ids: impl IntoIterator<Item = W>) -> Result<Self> {
        self.sensors = Some(read("sensors", ids)?);
        Ok(self)
    }

    /// Events at least as bad as this. What has no severity is as mild as can be.
    #[must_use]
    pub const fn severity(mut self, least: Severity) -> Self {
        self.severity = least;
        self
    }

    /// Whether an event was asked for.
    pub fn wants(&self, topic: &Topic) -> bool {
        let kind = self.kinds.as_ref().is_none_or(|(types, names)| {
            types.has(topic.kind) || names.iter().any(|name| name.eq_ignore_ascii_case(&topic.name))
        });
        kind && topic.severity.unwrap_or_default() >= self.severity
            && self.paths.as_ref().is_none_or(|paths| topic.path.as_ref().is_some_and(|path| paths.contains(path)))
            && self.sensors.as_ref().is_none_or(|ids| topic.sensor.as_ref().is_some_and(|id| ids.contains(id)))
    }

    /// Whether any value can pass.
    pub fn wants_values(&self) -> bool {
        self.kinds.as_ref().is_none_or(|(types, names)| types.have_values() || !names.is_empty())
    }
}

fn read<T: std::str::FromStr<Err: std::fmt::Display> + Ord, W: AsRef<str>>(
    list: &str,
    texts: impl IntoIterator<Item = W>,
) -> Result<BTreeSet<T>> {
    let mut found = BTreeSet::new();
    for text in texts {
        found.insert(text.as_ref().parse().map_err(|error: T::Err| unfit(list, error))?);
        bounded(list, found.len())?;
    }
    Ok(found)
}

fn bounded(list: &str, count: usize) -> Result<()> {
    if count <= ENTRIES { Ok(()) } else { Err(unfit(list, format_args!("it has at most {ENTRIES} entries"))) }
}

fn unfit(list: &str, why: impl std::fmt::Display) -> Error {
    Error::new(Kind::InvalidArgument, format!("{list}: {why}")).with_code("invalid_filter")
}

/// What the caller may see: one rule for each grant. It narrows by itself the moment a grant ends.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    types: Types,
    proof: Proof,
}

impl Scope {
    /// Nothing.
    pub const fn nothing() -> Self {
        Self { rules: Vec::new() }
    }

    /// What this server shows itself.
    pub fn house() -> Self {
        Self { rules: vec![Rule { types: Types::ALL, proof: Proof::house("events") }] }
    }

    /// The same and what a grant allows: `alerts` to see alerts and what happens at cameras, `sensors` readings, `stats`
    /// statistics and status, `admin` the audit and what is a matter of security. Other grants allow nothing here.
    #[must_use]
    pub fn with<P: Permission>(mut self, grant: &Grant<P>) -> Self {
        let types = match P::ACTION {
            Action::Alerts => &[EventType::Alert, EventType::CameraEvent][..],
            Action::Sensors => &[EventType::SensorReading],
            Action::Stats => &[EventType::StatisticsUpdate, EventType::SystemStatus],
            Action::Admin => &[EventType::Audit, EventType::Security],
            Action::View | Action::Publish | Action::Playback | Action::Ack | Action::Control => &[],
        };
        let types = Types::of(types);
        if types != Types::default() {
            self.rules.push(Rule { types, proof: grant.proof().clone() });
        }
        self
    }

    /// The same, but nothing of other types than these.
    #[must_use]
    pub fn within(mut self, types: Types) -> Self {
        self.rules.iter_mut().for_each(|rule| rule.types = rule.types.and(types));
        self
    }

    /// Whether the caller may see an event now.
    pub fn sees(&self, topic: &Topic) -> bool {
        self.rules.iter().any(|rule| {
            rule.types.has(topic.kind)
                && !rule.proof.ended().is_cancelled()
                && rule.proof.reach().covers(topic.path.as_ref())
        })
    }

    /// Whether the caller may see any value.
    pub fn sees_values(&self) -> bool {
        self.rules.iter().any(|rule| rule.types.have_values())
    }

    /// Waits until the caller may see nothing any more.
    pub fn over(&self) -> impl Future<Output = ()> + Send + Sync + 'static {
        let tokens: Vec<CancellationToken> = self.rules.iter().map(|rule| rule.proof.ended().clone()).collect();
        async move {
            for token in tokens {
                token.cancelled_owned().await;
            }
        }
    }

    /// Whether the caller may see nothing at all, or no more.
    pub fn is_over(&self) -> bool {
        self.rules.iter().all(|rule| rule.proof.ended().is_cancelled())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Alerts, Caller, Gate, View};

    fn topic(kind: EventType, name: &str, path: Option<&str>, severity: Option<Severity>) -> Topic {
        Topic { kind, name: name.into(), path: path.map(|path| path.parse().unwrap()), sensor: None, severity }
    }

    #[test]
    fn a_filter_matches_type_or_word_whatever_the_case_and_every_list_narrows() {
        let raised = topic(EventType::Alert, "raised", Some("gate"), Some(Severity::Warning));
        let motion = topic(EventType::CameraEvent, "motion", None, None);
        let all = Filter::everything;
        let table = [
            (all(), true, true),
            (all().event_types(["ALERT"]).unwrap(), true, false),
            (all().event_types(["Motion", "x"]).unwrap(), false, true),
            (all().event_types(["camera_event", "raised"]).unwrap(), true, true),
            (all().event_types([""; 0]).unwrap(), false, false),
            (all().paths(["gate"]).unwrap(), true, false),
            (all().paths(["yard"]).unwrap(), false, false),
            (all().paths(["gate"]).unwrap().sensors(["cellar"]).unwrap(), false, false),
            (all().severity(Severity::Warning), true, false),
            (all().severity(Severity::Critical), false, false),
        ];
        for (filter, raised_passes, motion_passes) in table {
            assert_eq!((filter.wants(&raised), filter.wants(&motion)), (raised_passes, motion_passes), "{filter:?}");
        }
        assert!(!all().event_types(["alert", "audit"]).unwrap().wants_values());
        assert!(all().event_types(["statistics_update"]).unwrap().wants_values());
    }

    #[test]
    fn filters_that_make_no_sense_or_no_end_are_refused() {
        let all = Filter::everything;
        let many: Vec<String> = (0..300).map(|number| format!("p{number}")).collect();
        for error in [
            all().paths(["../etc"]).unwrap_err(),
            all().sensors(["a/b"]).unwrap_err(),
            all().event_types(["x".repeat(101)]).unwrap_err(),
            all().paths(&many).unwrap_err(),
            all().event_types(&many).unwrap_err(),
        ] {
            assert_eq!(error.code(), "invalid_filter");
        }
    }

    #[test]
    fn a_scope_shows_what_its_grants_allow_until_they_end() {
        let caller = Caller::direct("127.0.0.1:9".parse().unwrap());
        let gate = Gate::default();
        let path = "gate".parse().unwrap();
        let alerts = gate.check::<Alerts>(&caller, &path).unwrap();
        let view = gate.check_server::<View>(&caller).unwrap();
        let scope = Scope::nothing().with(&alerts).with(&view);
        let here = topic(EventType::Alert, "raised", Some("gate"), None);
        let there = topic(EventType::Alert, "raised", Some("yard"), None);
        let figures = topic(EventType::StatisticsUpdate, "", Some("gate"), None);
        assert_eq!([&here, &there, &figures].map(|topic| scope.sees(topic)), [true, false, false]);
        assert!(!scope.sees_values() && !scope.is_over());
        assert!(EventType::ALL.iter().all(|kind| Types::FACTS.has(*kind) == kind.is_fact()));
        assert!(!Scope::house().within(Types::FACTS).sees(&figures) && Scope::house().sees(&figures));
        alerts.ended().cancel();
        assert!(!scope.sees(&here) && scope.is_over() && Scope::nothing().is_over());
    }
}
