//! Which channel is told of what. A sans-IO part.

use std::sync::Arc;

use crate::{
    base::Severity,
    config::{ChannelConfig, ChannelName, PathKey},
    events::{
        alarms::{Notice, Reason},
        payload::AlertRecord,
    },
};

/// What one channel is told of.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) name: ChannelName,
    min_severity: Severity,
    rules: Vec<String>,
    paths: Vec<PathKey>,
    level: u8,
    reminders: bool,
    acknowledged: bool,
    cleared: bool,
}

impl Route {
    pub(super) fn new(name: ChannelName, config: &ChannelConfig) -> Self {
        Self {
            name,
            min_severity: config.min_severity,
            rules: config.rules.iter().map(ToString::to_string).collect(),
            paths: config.paths.clone(),
            level: config.level,
            reminders: config.reminders,
            acknowledged: config.acknowledged,
            cleared: config.cleared,
        }
    }

    /// Whether an alert is one of those it is told of, whatever its severity.
    pub(super) fn is_about(&self, alert: &AlertRecord) -> bool {
        let of_rule = self.rules.is_empty() || self.rules.contains(&alert.rule);
        let of_path = || alert.path.as_ref().is_some_and(|path| self.paths.iter().any(|key| key.fits(path)));
        of_rule && (self.paths.is_empty() || of_path())
    }

    /// Whether an alert that goes on, so many further levels of which were told, is one it knows of.
    pub(super) fn knows(&self, alert: &AlertRecord, level: u8) -> bool {
        self.level <= level && alert.severity >= self.min_severity && self.is_about(alert)
    }

    /// What of a notice is for this channel, whatever the level.
    fn part(&self, notice: &Arc<Notice>) -> Option<Arc<Notice>> {
        let asked = match notice.reason {
            Reason::Reminder => self.reminders,
            Reason::Acknowledged => self.acknowledged,
            Reason::Cleared => self.cleared,
            _ => true,
        };
        let (own, others): (Vec<_>, Vec<_>) = notice.alerts.iter().partition(|alert| self.is_about(alert));
        let part = if others.is_empty() {
            notice.clone()
        } else {
            let first = own.first()?;
            Arc::new(Notice {
                title: first.title.clone(),
                severity: own.iter().map(|alert| alert.severity).max().unwrap_or_default(),
                count: notice.count.saturating_sub(others.len()),
                alerts: own.into_iter().cloned().collect(),
                ..Notice::clone(notice)
            })
        };
        (asked && part.severity >= self.min_severity).then_some(part)
    }
}

/// The channels that are told of a notice, each with what of it is for it. A level without a channel is told to those
/// below it: somebody has to hear of it again.
pub(super) fn addressed<'a>(routes: &'a [Route], notice: &Arc<Notice>) -> Vec<(&'a Route, Arc<Notice>)> {
    let meant = routes.iter().filter_map(|route| Some((route, route.part(notice)?)));
    let mut meant: Vec<_> = meant.filter(|(route, _)| route.level <= notice.level).collect();
    if let Reason::Escalated(level) = notice.reason
        && meant.iter().any(|(route, _)| route.level == level)
    {
        meant.retain(|(route, _)| route.level == level);
    }
    meant
}

#[cfg(test)]
mod tests {
    use super::{super::tests::notice, *};

    fn routes(configs: &[(&str, &str)]) -> Vec<Route> {
        let route = |(name, yaml): &(&str, &str)| {
            Route::new(name.parse().unwrap(), &serde_saphyr::from_str::<ChannelConfig>(yaml).unwrap())
        };
        configs.iter().map(route).collect()
    }

    #[test]
    fn severity_rules_paths_and_levels_choose_the_channels() {
        let routes = routes(&[
            ("all", "{}"),
            ("bad", "min_severity: critical"),
            ("smoke", "rules: [smoke]"),
            ("yard", "paths: ['~^yard']"),
            ("calm", "{ reminders: false, acknowledged: false, cleared: false }"),
            ("boss", "level: 1"),
            ("chief", "{ level: 2, rules: [smoke] }"),
        ]);
        use Reason::{Acknowledged, Cleared, Escalated, Raised, Reminder, Worsened};
        type Row<'a> = (Reason, u8, &'a [(&'a str, &'a str)], Severity, &'a [&'a str]);
        let table: [Row<'_>; 11] = [
            (Raised, 0, &[("motion", "yard-1")], Severity::Warning, &["all", "yard", "calm"]),
            (Raised, 0, &[("motion", "")], Severity::Info, &["all", "calm"]),
            (Raised, 0, &[("smoke", "hall")], Severity::Critical, &["all", "bad", "smoke", "calm"]),
            (Worsened, 1, &[("motion", "hall")], Severity::Critical, &["all", "bad", "calm", "boss"]),
            (Reminder, 0, &[("motion", "hall")], Severity::Warning, &["all"]),
            (Acknowledged, 1, &[("motion", "hall")], Severity::Warning, &["all", "boss"]),
            (Cleared, 1, &[("motion", "hall")], Severity::Warning, &["all", "boss"]),
            (Escalated(1), 1, &[("motion", "hall")], Severity::Warning, &["boss"]),
            (Escalated(2), 2, &[("smoke", "hall")], Severity::Warning, &["chief"]),
            // Nobody is at this level for that rule: those below hear of it again.
            (Escalated(2), 2, &[("motion", "hall")], Severity::Warning, &["all", "calm", "boss"]),
            (
                Raised,
                0,
                &[("motion", "hall"), ("smoke", "yard-2")],
                Severity::Warning,
                &["all", "smoke", "yard", "calm"],
            ),
        ];
        for (i, (reason, level, alerts, severity, expected)) in table.into_iter().enumerate() {
            let notice = Arc::new(notice(reason, level, alerts, severity));
            let found: Vec<_> = addressed(&routes, &notice).iter().map(|(route, _)| route.name.to_string()).collect();
            assert_eq!(found, expected, "row {i}");
        }
    }

    #[test]
    fn a_channel_gets_its_part_of_a_bundle() {
        let routes = routes(&[("smoke", "rules: [smoke]"), ("all", "{}")]);
        let notice = Arc::new(notice(Reason::Raised, 0, &[("motion", "a"), ("smoke", "b")], Severity::Warning));
        let found = addressed(&routes, &notice);
        let part = &found[0].1;
        assert_eq!((part.count, part.title.as_str(), part.alerts[0].rule.as_str()), (1, "smoke at b", "smoke"));
        assert!(Arc::ptr_eq(&found[1].1, &notice), "the whole is shared");
    }
}
