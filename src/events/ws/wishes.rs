//! What one client asked for so far: the door's own choice, its `subscribe`, its `unsubscribe`. Sans-IO.

use std::collections::BTreeSet;

use super::messages::Subscribe;
use crate::{
    base::{Error, Kind, Result},
    events::{EventType, Filter, Severity},
};

/// Which door: what a client gets before its first `subscribe`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// `/ws/events`: everything.
    Events,
    /// `/ws/alerts`
    Alerts,
    /// `/ws/statistics`
    Statistics,
}

impl Preset {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Events, Self::Alerts, Self::Statistics];

    /// The last part of the URL.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Alerts => "alerts",
            Self::Statistics => "statistics",
        }
    }

    fn types(self) -> Option<&'static [EventType]> {
        match self {
            Self::Events => None,
            Self::Alerts => Some(&[EventType::Alert]),
            Self::Statistics => Some(&[EventType::StatisticsUpdate]),
        }
    }
}

/// The word in `event_types` that stands for who is online.
const PRESENCE: &str = "users_online";

/// The wishes as they stand.
#[derive(Clone, Debug, Default)]
pub(super) struct Wishes {
    asked: Subscribe,
    pub(super) presence: bool,
}

impl Wishes {
    pub(super) fn of(preset: Preset) -> Self {
        let words = preset.types().map(|types| types.iter().map(|kind| kind.name().to_owned()).collect());
        Self { asked: Subscribe { event_types: words, ..Subscribe::default() }, presence: false }
    }

    /// These and nothing else from now on.
    pub(super) fn subscribed(mut asked: Subscribe) -> Self {
        let presence = asked.event_types.as_mut().is_some_and(|words| {
            let before = words.len();
            words.retain(|word| !word.eq_ignore_ascii_case(PRESENCE));
            words.len() < before
        });
        Self { asked, presence }
    }

    /// The same without these words; without any if none is named.
    pub(super) fn without(&self, words: &[String]) -> Self {
        let gone: BTreeSet<String> = words.iter().map(|word| word.to_ascii_lowercase()).collect();
        let all = || EventType::ALL.map(|kind| kind.name().to_owned()).to_vec();
        let mut rest = self.asked.event_types.clone().unwrap_or_else(all);
        rest.retain(|word| !gone.is_empty() && !gone.contains(&word.to_ascii_lowercase()));
        let presence = self.presence && !gone.is_empty() && !gone.contains(PRESENCE);
        Self { asked: Subscribe { event_types: Some(rest), ..self.asked.clone() }, presence }
    }

    /// What the log and the board are looked at with.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`]: something in it can be no name, or there is too much of it.
    pub(super) fn filter(&self) -> Result<Filter> {
        let Subscribe { event_types, paths, sensors, severity, thumbnails: _ } = &self.asked;
        let mut filter = Filter::everything();
        if let Some(words) = event_types {
            filter = filter.event_types(words)?;
        }
        if let Some(names) = paths {
            filter = filter.paths(names)?;
        }
        if let Some(ids) = sensors {
            filter = filter.sensors(ids)?;
        }
        if let Some(word) = severity {
            let unknown = || {
                let message = "severity: it is `info`, `warning` or `critical`";
                Error::new(Kind::InvalidArgument, message).with_code("invalid_filter")
            };
            filter = filter.severity(Severity::parse(word).ok_or_else(unknown)?);
        }
        Ok(filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Topic;

    fn passes(wishes: &Wishes) -> Vec<&'static str> {
        let filter = wishes.filter().unwrap();
        let topic = |kind| Topic { kind, name: "x".into(), path: None, sensor: None, severity: None };
        EventType::ALL.into_iter().filter(|kind| filter.wants(&topic(*kind))).map(EventType::name).collect()
    }

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn a_door_chooses_until_the_client_does() {
        assert_eq!(passes(&Wishes::of(Preset::Events)).len(), EventType::ALL.len());
        assert_eq!(passes(&Wishes::of(Preset::Alerts)), ["alert"]);
        assert!(!Wishes::of(Preset::Alerts).filter().unwrap().wants_values(), "no statistics work");
        assert_eq!(passes(&Wishes::of(Preset::Statistics)), ["statistics_update"]);
        assert_eq!(passes(&Wishes::subscribed(Subscribe::default())).len(), EventType::ALL.len());
    }

    #[test]
    fn unsubscribe_takes_words_away_or_everything() {
        let all = Wishes::of(Preset::Events);
        let rest = all.without(&words(&["ALERT", "audit"]));
        assert_eq!(passes(&rest), ["camera_event", "security", "statistics_update", "sensor_reading", "system_status"]);
        assert!(passes(&all.without(&[])).is_empty());
    }

    #[test]
    fn who_is_online_is_no_word_of_the_log() {
        let asked = Subscribe { event_types: Some(words(&["Users_Online", "alert"])), ..Subscribe::default() };
        let wishes = Wishes::subscribed(asked);
        assert!(wishes.presence && !wishes.filter().unwrap().wants_values());
        assert_eq!(passes(&wishes), ["alert"]);
        assert!(!wishes.without(&words(&["users_online"])).presence && !wishes.without(&[]).presence);
        assert!(wishes.without(&words(&["alert"])).presence);
    }

    #[test]
    fn what_can_be_no_name_is_refused() {
        for asked in [
            Subscribe { severity: Some("loud".into()), ..Subscribe::default() },
            Subscribe { paths: Some(words(&["../x"])), ..Subscribe::default() },
            Subscribe { sensors: Some(words(&["a b"])), ..Subscribe::default() },
        ] {
            assert_eq!(Wishes::subscribed(asked).filter().unwrap_err().code(), "invalid_filter");
        }
    }
}
