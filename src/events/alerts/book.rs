//! The rules there are: those of the file, and those that were added over the API. Values only.

use crate::{
    base::{Error, Kind, Result},
    config::{Rule, RuleConfig, RuleId},
    events::alarms,
};

/// Where a rule stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In the file, which the server does not write.
    File,
    /// In the store, put there over the API.
    Api,
}

/// A rule as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleEntry {
    /// Its name.
    pub id: RuleId,
    /// What was written.
    pub config: RuleConfig,
    /// Where.
    pub origin: Origin,
}

/// All of them, each name once.
#[derive(Debug, Default)]
pub(super) struct RuleBook {
    entries: Vec<RuleEntry>,
    revision: u64,
}

impl RuleBook {
    /// The rules of the file, then those kept. A kept one that has a name of the file, or is not right any more, is left
    /// out, and said.
    pub(super) fn new(file: Vec<RuleConfig>, kept: Vec<RuleConfig>) -> Self {
        let mut book = Self::default();
        for config in file {
            if let Some(id) = config.name() {
                book.entries.push(RuleEntry { id, config, origin: Origin::File });
            }
        }
        for config in kept {
            if let Err(error) = book.put(config, true) {
                tracing::warn!("a rule that was added over the API is left out: {error}");
            }
        }
        book
    }

    /// Takes a change back.
    pub(super) fn restore(&mut self, entries: Vec<RuleEntry>) {
        self.entries = entries;
        self.revision += 1;
    }

    /// Another number: something changed.
    pub(super) const fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn entries(&self) -> &[RuleEntry] {
        &self.entries
    }

    /// What is evaluated.
    pub(super) fn resolved(&self) -> Vec<Rule> {
        let enabled = self.entries.iter().filter(|entry| entry.config.enabled);
        enabled.filter_map(|entry| entry.config.resolve()).collect()
    }

    /// Adds a rule, or puts it in the place of the one of its name.
    pub(super) fn put(&mut self, config: RuleConfig, new: bool) -> Result<RuleId> {
        let others: Vec<RuleConfig> = {
            let name = config.name();
            let others = self.entries.iter().filter(|entry| new || Some(&entry.id) != name.as_ref());
            others.map(|entry| entry.config.clone()).collect()
        };
        let named = config.name().filter(|id| !alarms::FOREIGN.contains(&id.as_str()));
        let before = named.as_ref().and_then(|id| self.entries.iter().position(|entry| entry.id == *id));
        if let (Some(id), Some(at)) = (&named, before) {
            if self.entries[at].origin == Origin::File {
                return Err(in_file(id, if new { Kind::AlreadyExists } else { Kind::FailedPrecondition }));
            }
            if new {
                let message = format!("the rule `{id}` is there already");
                return Err(Error::new(Kind::AlreadyExists, message).with_code("rule_exists"));
            }
        }
        if let Some(complaint) = config.check(&others).first() {
            let place = if complaint.key().is_empty() { String::new() } else { format!("{}: ", complaint.key()) };
            let error = Error::new(Kind::InvalidArgument, format!("{place}{}", complaint.message()));
            let error = error.with_code("invalid_rule");
            return Err(match complaint.hint() {
                Some(hint) => error.with_hint(hint.to_owned()),
                None => error,
            });
        }
        let Some(id) = named else {
            let message = "id: the server speaks of itself under this name";
            return Err(Error::new(Kind::InvalidArgument, message).with_code("invalid_rule"));
        };
        let entry = RuleEntry { id: id.clone(), config, origin: Origin::Api };
        self.revision += 1;
        match before {
            Some(at) => self.entries[at] = entry,
            None if new => self.entries.push(entry),
            None => return Err(unknown(&id)),
        }
        Ok(id)
    }

    pub(super) fn remove(&mut self, id: &RuleId) -> Result<()> {
        let at = self.entries.iter().position(|entry| entry.id == *id).ok_or_else(|| unknown(id))?;
        if self.entries[at].origin == Origin::File {
            return Err(in_file(id, Kind::FailedPrecondition));
        }
        self.entries.remove(at);
        self.revision += 1;
        Ok(())
    }
}

fn unknown(id: &RuleId) -> Error {
    Error::new(Kind::NotFound, format!("there is no rule `{id}`")).with_code("rule_not_found")
}

fn in_file(id: &RuleId, kind: Kind) -> Error {
    Error::new(kind, format!("the rule `{id}` stands in the configuration file"))
        .with_code("rule_in_file")
        .with_hint("change it there, or give the new one another id")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(yaml: &str) -> RuleConfig {
        serde_saphyr::from_str(yaml).unwrap()
    }

    #[test]
    fn rules_are_added_changed_and_removed_but_never_those_of_the_file() {
        let mut book =
            RuleBook::new(vec![config("preset: smoke")], vec![config("preset: smoke"), config("preset: door")]);
        let names = |book: &RuleBook| book.entries().iter().map(|entry| entry.id.to_string()).collect::<Vec<_>>();
        assert_eq!(names(&book), ["smoke", "door"], "the kept one of the same name is left out");
        let table = [
            ("preset: motion", true, Ok("motion")),
            ("preset: motion", true, Err("rule_exists")),
            ("{ preset: motion, severity: critical }", false, Ok("motion")),
            ("preset: smoke", true, Err("rule_in_file")),
            ("preset: smoke", false, Err("rule_in_file")),
            ("preset: doorbell", false, Err("rule_not_found")),
            ("{ id: x, when: { all: [] } }", true, Err("invalid_rule")),
            ("title: x", true, Err("invalid_rule")),
            ("{ id: disk, preset: disk_low }", true, Err("invalid_rule")),
        ];
        for (yaml, new, expected) in table {
            let put = book.put(config(yaml), new);
            let put = put.as_ref().map(RuleId::as_str).map_err(Error::code);
            assert_eq!(put, expected, "{yaml} {new}");
        }
        assert_eq!(book.remove(&"smoke".parse().unwrap()).unwrap_err().code(), "rule_in_file");
        assert_eq!(book.remove(&"none".parse().unwrap()).unwrap_err().code(), "rule_not_found");
        book.remove(&"door".parse().unwrap()).unwrap();
        assert_eq!(names(&book), ["smoke", "motion"]);
        book.put(config("{ id: idle, enabled: false, preset: door }"), true).unwrap();
        assert_eq!(book.resolved().len(), 2, "one is switched off");
    }
}
