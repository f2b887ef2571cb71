//! What types cannot say about the rules.

use std::collections::BTreeMap;

use super::{Complaints, DAY, ms, secs};
use crate::config::{
    Config, HumanDuration,
    problem::{meant, quoted},
    rules::{Condition, Levels, Preset, RuleConfig, RuleId},
    tree::Route,
};

/// The most rules: each looks at every reading and event that may be its.
const RULES_MAX: usize = 1000;
/// The most conditions of one rule, and how deep they nest.
const CONDITIONS_MAX: usize = 64;
const LEVELS_MAX: usize = 8;
/// The most spans of `escalate_after`, windows of `schedule`, and rules of `inhibited_by`.
const LIST_MAX: usize = 16;

/// The rules under which the server raises alerts about itself.
const OWN_NAMES: [&str; 2] = ["disk", "store"];

/// The range of `times`; the schema states the same, and a test compares them.
pub(in crate::config) const TIMES: std::ops::RangeInclusive<u32> = 1..=1000;

impl Config {
    pub(super) fn check_rules(&self, all: &mut Complaints) {
        check_all(&self.rules, &Route::of(["rules"]), all);
    }
}

impl RuleConfig {
    /// Everything that is wrong with this rule beside `others`, as the file would be told.
    pub fn check(&self, others: &[Self]) -> Vec<super::Complaint> {
        let mut complaints = Complaints::default();
        let all: Vec<Self> = others.iter().cloned().chain([self.clone()]).collect();
        let mut of_all = Complaints::default();
        check_all(&all, &Route::default(), &mut of_all);
        let own = Route::default().then_index(others.len());
        let about_it = of_all.0.into_iter().filter(|complaint| own.leads_to(&complaint.route));
        complaints.0.extend(about_it.map(|mut complaint| {
            complaint.route = complaint.route.without_first();
            complaint
        }));
        complaints.0
    }
}

fn check_all(rules: &[RuleConfig], base: &Route, all: &mut Complaints) {
    if rules.len() > RULES_MAX {
        all.add(base.clone(), format!("expected {RULES_MAX} rules at most, found {}", rules.len()));
        return;
    }
    let mut names: BTreeMap<RuleId, usize> = BTreeMap::new();
    for (i, rule) in rules.iter().enumerate() {
        let at = base.then_index(i);
        match rule.name() {
            None => {
                all.add(at.clone(), "the key `id` is missing")
                    .with(at.clone())
                    .hint_at("give the rule a name, such as `id: freezer-warm`, or write `preset: …`");
            }
            Some(id) if OWN_NAMES.contains(&id.as_str()) => {
                all.add(at.then("id"), format!("the server speaks of itself as `{id}`"))
                    .hint_at("give the rule another id");
            }
            Some(id) => {
                if let Some(first) = names.insert(id.clone(), i) {
                    let key = if rule.id.is_some() { "id" } else { "preset" };
                    all.add(at.then(key), format!("the rule `{id}` is there already, as number {}", first + 1))
                        .with(base.then_index(first))
                        .hint_at("give one of them another `id`");
                }
            }
        }
        check_rule(rule, &at, all);
    }
    for (i, rule) in rules.iter().enumerate() {
        for (j, id) in rule.inhibited_by.iter().flatten().enumerate() {
            // A preset may be named before it is switched on.
            let known = || names.keys().map(RuleId::as_str).chain(Preset::ALL.map(Preset::name));
            if !known().any(|known| known == id.as_str()) {
                let route = base.then_index(i).then("inhibited_by").then_index(j);
                let complaint = all.add(route, format!("no rule is called `{id}`"));
                complaint.with(base.clone());
                if let Some(meant) = meant(id.as_str(), known()) {
                    complaint.hint_at(format!("did you mean `{meant}`?"));
                }
            }
        }
    }
}

fn check_rule(rule: &RuleConfig, base: &Route, all: &mut Complaints) {
    let at = |key| base.then(key);
    match (rule.preset, &rule.when) {
        (Some(_), Some(_)) => {
            all.add(at("when"), "`preset` is given as well: one of the two").with(at("preset"));
        }
        (None, None) => {
            all.add(base.clone(), "the key `when` is missing")
                .with(base.clone())
                .hint_at("say what has to be so, such as `when: { threshold: { sensor: freezer, above: -15 } }`");
        }
        (None, Some(when)) => {
            let mut count = 0;
            check_condition(when, &at("when"), 1, &mut count, all);
            if count > CONDITIONS_MAX {
                let message = format!("expected {CONDITIONS_MAX} conditions at most, found {count}");
                all.add(at("when"), message);
            }
        }
        (Some(_), None) => {}
    }
    let narrows = [
        ("sensor", rule.sensor.is_some(), rule.preset.is_some_and(Preset::takes_sensor)),
        ("path", rule.path.is_some(), rule.preset.is_some_and(Preset::takes_path)),
        ("above", rule.above.is_some(), rule.preset == Some(Preset::Temperature)),
    ];
    for (key, given, fits) in narrows {
        if given && !fits {
            let message = match rule.preset {
                Some(preset) => format!("the preset `{}` takes no `{key}`", preset.name()),
                None => format!("`{key}` belongs into the condition, below `when`"),
            };
            all.add(at(key), message).with(at("preset"));
        }
    }
    if let Some(levels) = &rule.above {
        check_levels(levels, true, &at("above"), all);
    }
    let spans = [
        ("for", rule.holds_for, secs(0)),
        ("clear_after", rule.clear_after, secs(0)),
        ("hold_off", rule.hold_off, secs(0)),
        ("repeat", rule.repeat, secs(0)),
    ];
    for (key, span, least) in spans {
        if let Some(span) = span {
            all.range(at(key), span, least..=WEEK);
        }
    }
    if rule.repeat.is_some_and(|span| span > secs(0) && span < secs(10)) {
        all.add(at("repeat"), "expected 10s at least, or 0s for never");
    }
    if rule.time_zone.is_some() && rule.schedule.is_none() {
        all.add(at("time_zone"), "there is no `schedule` whose clock this would be").with(at("schedule"));
    }
    let lists = [
        ("schedule", rule.schedule.as_ref().map_or(0, Vec::len)),
        ("inhibited_by", rule.inhibited_by.as_ref().map_or(0, Vec::len)),
        ("escalate_after", rule.escalate_after.as_ref().map_or(0, Vec::len)),
    ];
    for (key, count) in lists {
        if count > LIST_MAX {
            all.add(at(key), format!("expected {LIST_MAX} at most, found {count}"));
        }
    }
    let levels = rule.escalate_after.as_deref().unwrap_or_default();
    for (i, span) in levels.iter().enumerate() {
        all.range(at("escalate_after").then_index(i), *span, secs(10)..=WEEK);
        if i > 0 && levels[i - 1] >= *span {
            let message = format!("`{span}` is not later than `{}` before it", levels[i - 1]);
            all.add(at("escalate_after").then_index(i), message);
        }
    }
}

const WEEK: HumanDuration = secs(7 * 86_400);

fn check_condition(condition: &Condition, base: &Route, level: usize, count: &mut usize, all: &mut Complaints) {
    *count += 1;
    if level > LEVELS_MAX {
        all.add(base.clone(), format!("conditions nest deeper than {LEVELS_MAX} levels"));
        return;
    }
    match condition.given().as_slice() {
        [_] => {}
        [] => {
            let kinds = crate::config::rules::CONDITION_KINDS;
            all.add(base.clone(), "a condition is missing")
                .with(base.clone())
                .hint_at(format!("one of {}", quoted(kinds)));
        }
        [_, second, ..] => {
            all.add(base.then(second), "one condition in each object")
                .hint_at("put several into a list: `all: [{ … }, { … }]`, or `any`");
        }
    }
    check_leaves(condition, base, all);
    for (key, list) in [("all", &condition.all), ("any", &condition.any)] {
        let Some(list) = list else { continue };
        if list.is_empty() {
            all.add(base.then(key), "the list is empty").hint_at("give it at least one condition");
        }
        for (i, below) in list.iter().enumerate() {
            check_condition(below, &base.then(key).then_index(i), level + 1, count, all);
        }
        if key == "all" {
            check_subjects(list, &base.then(key), all);
        }
    }
    if let Some(below) = &condition.not {
        check_condition(below, &base.then("not"), level + 1, count, all);
    }
}

fn check_leaves(condition: &Condition, base: &Route, all: &mut Complaints) {
    let one_of = |all: &mut Complaints, base: &Route, keys: [&str; 2], given: [bool; 2], hint: &str| match given {
        [true, true] => {
            let message = format!("`{}` is given as well: one of the two", keys[0]);
            all.add(base.then(keys[1]), message).with(base.then(keys[0]));
        }
        [false, false] => {
            all.add(base.clone(), format!("the key `{}` is missing", keys[0])).with(base.clone()).hint_at(hint);
        }
        _ => {}
    };
    let of = "one sensor, `sensor: cellar`, or each of a kind, `kind: temperature`";
    if let Some(leaf) = &condition.threshold {
        let base = base.then("threshold");
        one_of(all, &base, ["sensor", "kind"], [leaf.sensor.is_some(), leaf.kind.is_some()], of);
        one_of(all, &base, ["above", "below"], [leaf.above.is_some(), leaf.below.is_some()], "such as `above: 35`");
        for (key, levels) in [("above", &leaf.above), ("below", &leaf.below)] {
            if let Some(levels) = levels {
                check_levels(levels, key == "above", &base.then(key), all);
            }
        }
        if leaf.hysteresis.is_some_and(|number| number.value() < 0.0) {
            all.add(base.then("hysteresis"), "expected a number from zero on");
        }
        if let Some(clear) = leaf.clear {
            if leaf.hysteresis.is_some() {
                all.add(base.then("clear"), "`hysteresis` is given as well: one of the two")
                    .with(base.then("hysteresis"));
            }
            let beyond = |levels: &Option<Levels>, wrong: fn(f64, f64) -> bool| {
                levels.iter().flat_map(Levels::as_slice).any(|level| wrong(clear.value(), level.limit.value()))
            };
            if beyond(&leaf.above, |clear, limit| clear > limit) || beyond(&leaf.below, |clear, limit| clear < limit) {
                all.add(base.then("clear"), format!("`{clear}` is on the wrong side of the limit"))
                    .with(base.then("above"))
                    .with(base.then("below"));
            }
        }
    }
    if let Some(leaf) = &condition.state {
        one_of(all, &base.then("state"), ["sensor", "kind"], [leaf.sensor.is_some(), leaf.kind.is_some()], of);
    }
    if let Some(leaf) = &condition.rate {
        let base = base.then("rate");
        one_of(all, &base, ["sensor", "kind"], [leaf.sensor.is_some(), leaf.kind.is_some()], of);
        one_of(all, &base, ["rises", "falls"], [leaf.rises.is_some(), leaf.falls.is_some()], "such as `rises: 5`");
        for (key, number) in [("rises", leaf.rises), ("falls", leaf.falls)] {
            if number.is_some_and(|number| number.value() <= 0.0) {
                all.add(base.then(key), "expected a number above zero");
            }
        }
        match leaf.within {
            Some(span) => all.range(base.then("within"), span, secs(1)..=DAY),
            None => {
                all.add(base.clone(), "the key `within` is missing").with(base).hint_at("such as `within: 10m`");
            }
        }
    }
    if let Some(leaf) = &condition.absent {
        let base = base.then("absent");
        if leaf.sensor.is_some() && leaf.kind.is_some() {
            all.add(base.then("kind"), "`sensor` is given as well: one of the two").with(base.then("sensor"));
        }
        all.range(base.then("times"), leaf.times, TIMES);
        if let Some(every) = leaf.every {
            all.range(base.then("every"), every, ms(100)..=WEEK);
        }
    }
    if let Some(leaf) = &condition.event {
        let base = base.then("event");
        if leaf.kind.as_slice().is_empty() {
            all.add(base.clone(), "the key `kind` is missing").with(base.clone()).hint_at("such as `kind: motion`");
        }
        all.range(base.then("hold"), leaf.hold, secs(0)..=DAY);
    }
    if let Some(leaf) = &condition.security {
        all.range(base.then("security").then("hold"), leaf.hold, secs(0)..=DAY);
    }
    if let Some(leaf) = &condition.camera
        && leaf.state.is_none()
    {
        let base = base.then("camera");
        let words = quoted(crate::config::rules::CameraTrouble::ALL.map(crate::config::rules::CameraTrouble::name));
        all.add(base.clone(), "the key `state` is missing").with(base).hint_at(format!("one of {words}"));
    }
}

fn check_levels(levels: &Levels, rising: bool, base: &Route, all: &mut Complaints) {
    if levels.as_slice().is_empty() {
        all.add(base.clone(), "a number is missing").hint_at("such as `35`, or `{ warning: 35, critical: 45 }`");
    }
    for pair in levels.as_slice().windows(2) {
        let (mild, hard) = (pair[0].limit, pair[1].limit);
        if (rising && hard <= mild) || (!rising && hard >= mild) {
            let message = format!("the more severe limit `{hard}` is reached before `{mild}`");
            all.add(base.clone(), message);
        }
    }
}

/// Conditions about each sensor and about each camera hold of no thing at once.
fn check_subjects(list: &[Condition], base: &Route, all: &mut Complaints) {
    fn sorts(condition: &Condition, found: &mut [bool; 2]) {
        let sensors = [
            condition.threshold.as_ref().map(|leaf| leaf.sensor.is_none()),
            condition.state.as_ref().map(|leaf| leaf.sensor.is_none()),
            condition.rate.as_ref().map(|leaf| leaf.sensor.is_none()),
            condition.absent.as_ref().map(|leaf| leaf.sensor.is_none()),
        ];
        found[0] |= sensors.contains(&Some(true));
        let cameras = [
            condition.event.as_ref().map(|leaf| leaf.path.is_none()),
            condition.camera.as_ref().map(|leaf| leaf.path.is_none()),
        ];
        found[1] |= cameras.contains(&Some(true));
        condition.below().for_each(|below| sorts(below, found));
    }
    let mut found = [false; 2];
    list.iter().for_each(|condition| sorts(condition, &mut found));
    if found == [true, true] {
        all.add(
            base.clone(),
            "one condition is about each sensor and another about each camera: both never hold of one thing",
        )
        .with(base.clone())
        .hint_at("name the sensor, `sensor: …`, or the camera, `path: …`");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::rules::Wording;

    #[test]
    fn every_preset_is_a_rule_that_passes_and_whose_texts_are_read() {
        for preset in Preset::ALL {
            let rule = RuleConfig::of(preset);
            assert_eq!(rule.check(&[]), [], "{preset:?}");
            let resolved = rule.resolve().unwrap();
            assert_eq!(resolved.id.as_str(), preset.name());
            let written = RuleConfig { id: "x".parse().ok(), when: Some(resolved.when), ..RuleConfig::default() };
            assert_eq!(written.check(&[]), [], "{preset:?}");
            for text in [resolved.title, resolved.message] {
                assert!(text.to_string().parse::<Wording>().is_ok_and(|again| again == text), "{text}");
            }
            let word = serde_json::to_value(preset).unwrap();
            assert_eq!(word, preset.name());
        }
    }
}
