//! Bundles: alerts of one group reach people as one notice. The first one waits a little for others; after a notice the
//! next one of the group waits longer. A sans-IO machine on the wall clock.

use std::{collections::BTreeMap, time::Duration};

use super::record::after;
use crate::base::WallTime;

/// How long the first alert of a group waits for others.
const WAIT: Duration = Duration::from_secs(10);
/// The least distance of two notices of a group.
const INTERVAL: Duration = Duration::from_secs(300);

/// What waits in a group.
#[derive(Debug, Default)]
struct Bundle {
    waiting: Vec<String>,
    /// When it goes out, or, with nothing waiting, when the group is forgotten.
    due: i64,
}

/// All groups with something in them.
#[derive(Debug, Default)]
pub(super) struct Groups {
    bundles: BTreeMap<String, Bundle>,
}

impl Groups {
    /// An alert of this group began.
    pub(super) fn add(&mut self, group: &str, fingerprint: String, now: WallTime) {
        let new = || Bundle { waiting: Vec::new(), due: after(now, WAIT) };
        let bundle = self.bundles.entry(group.to_owned()).or_insert_with(new);
        if !bundle.waiting.contains(&fingerprint) {
            bundle.waiting.push(fingerprint);
        }
    }

    /// An alert ended before its turn came.
    pub(super) fn remove(&mut self, group: &str, fingerprint: &str) {
        if let Some(bundle) = self.bundles.get_mut(group) {
            bundle.waiting.retain(|waiting| waiting != fingerprint);
        }
    }

    /// The next group whose time has come, with its alerts.
    pub(super) fn poll(&mut self, now: WallTime) -> Option<(String, Vec<String>)> {
        let due = |bundle: &Bundle| bundle.due <= now.unix_nanos();
        self.bundles.retain(|_, bundle| !due(bundle) || !bundle.waiting.is_empty());
        let (group, bundle) = self.bundles.iter_mut().find(|(_, bundle)| due(bundle))?;
        bundle.due = after(now, INTERVAL);
        Some((group.clone(), std::mem::take(&mut bundle.waiting)))
    }

    /// When [`Groups::poll`] has something.
    pub(super) fn deadline(&self) -> Option<i64> {
        self.bundles.values().map(|bundle| bundle.due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_of_a_group_go_out_together() {
        let mut groups = Groups::default();
        let at = |second: i64| WallTime::from_unix_nanos(second * 1_000_000_000);
        let table: [(i64, &str, Option<&[&str]>); 8] = [
            (0, "a", None),
            (5, "b", None),
            (5, "a", None),
            (10, "", Some(&["a", "b"])),
            (20, "c", None),
            (309, "", None),
            (310, "", Some(&["c"])),
            (610, "", None),
        ];
        for (second, fingerprint, expected) in table {
            if !fingerprint.is_empty() {
                groups.add("yard", fingerprint.to_owned(), at(second));
            }
            let expected = expected.map(|list| list.iter().map(ToString::to_string).collect());
            assert_eq!(groups.poll(at(second)).map(|(_, list)| list), expected, "second {second}");
        }
        assert_eq!(groups.deadline(), None, "forgotten");
    }
}
