//! The tree of a rule's conditions, and what it says of one subject. Values only.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    input::Subject,
    leaf::{Leaf, LeafState, Whose},
    phase::Truth,
};
use crate::{
    base::{Monotonic, Severity},
    config::{Rule, RuleId, rules::Condition},
};

/// Which leaf of which rule, about which subject.
pub(super) type LeafKey = (RuleId, usize, Subject);

/// A rule, taken apart.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) rule: Arc<Rule>,
    pub(super) tree: Tree,
    pub(super) leaves: Vec<Leaf>,
}

impl Compiled {
    pub(super) fn of(rule: Rule) -> Self {
        let (tree, leaves) = Tree::of(&rule.when);
        Self { rule: Arc::new(rule), tree, leaves }
    }
}

/// A node, with its leaves by number.
#[derive(Debug, PartialEq)]
pub(super) enum Tree {
    Leaf(usize),
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
}

/// What a tree says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Nothing if it is not about the subject at all: a condition about sensors, asked about a camera.
    pub(super) truth: Option<Truth>,
    /// How bad it is, where a condition itself says so.
    pub(super) severity: Option<Severity>,
    /// The leaf that decided.
    pub(super) leaf: Option<usize>,
}

impl Tree {
    /// The tree of a condition and its leaves.
    fn of(condition: &Condition) -> (Self, Vec<Leaf>) {
        let mut leaves = Vec::new();
        let tree = Self::node(condition, &mut leaves);
        (tree, leaves)
    }

    fn node(condition: &Condition, leaves: &mut Vec<Leaf>) -> Self {
        let mut list = |list: &[Condition]| list.iter().map(|below| Self::node(below, leaves)).collect();
        if let Some(below) = &condition.all {
            return Self::All(list(below));
        }
        if let Some(below) = &condition.any {
            return Self::Any(list(below));
        }
        if let Some(below) = &condition.not {
            return Self::Not(Box::new(Self::node(below, leaves)));
        }
        match Leaf::of(condition) {
            Some(leaf) => {
                leaves.push(leaf);
                Self::Leaf(leaves.len() - 1)
            }
            // The configuration's check lets none of these through.
            None => Self::Any(Vec::new()),
        }
    }

    /// What it says of `subject`, a sensor of `kind` if it is one.
    pub(super) fn verdict(
        &self,
        rule: &Compiled,
        subject: &Subject,
        kind: Option<&str>,
        states: &BTreeMap<LeafKey, LeafState>,
        now: Monotonic,
    ) -> Verdict {
        match self {
            Self::Leaf(i) => {
                let leaf = &rule.leaves[*i];
                let Some(about) = bound(&leaf.whose, subject, kind) else { return Verdict::default() };
                let said = states.get(&(rule.rule.id.clone(), *i, about)).map(|state| state.truth(leaf, now));
                let (truth, severity) = said.unwrap_or_else(|| (leaf.untold(), None));
                Verdict { truth: Some(truth), severity, leaf: Some(*i) }
            }
            Self::All(below) => {
                let verdicts = below.iter().map(|node| node.verdict(rule, subject, kind, states, now));
                let verdicts: Vec<Verdict> = verdicts.collect();
                // What is not about the subject cannot hold of it.
                let truth = verdicts.iter().map(|verdict| verdict.truth).min().flatten();
                worst(verdicts, truth)
            }
            Self::Any(below) => {
                let verdicts = below.iter().map(|node| node.verdict(rule, subject, kind, states, now));
                let verdicts: Vec<Verdict> = verdicts.collect();
                let truth = verdicts.iter().map(|verdict| verdict.truth).max().flatten();
                worst(verdicts, truth)
            }
            Self::Not(below) => {
                let verdict = below.verdict(rule, subject, kind, states, now);
                let truth = verdict.truth.map(|truth| match truth {
                    Truth::False => Truth::True,
                    Truth::Unknown => Truth::Unknown,
                    Truth::True => Truth::False,
                });
                Verdict { truth, severity: None, leaf: verdict.leaf }
            }
        }
    }
}

/// The worst of the verdicts that say `truth`, the first of equals.
fn worst(verdicts: Vec<Verdict>, truth: Option<Truth>) -> Verdict {
    let same = verdicts.into_iter().filter(|verdict| verdict.truth == truth);
    let best = same.reduce(|best, next| if next.severity > best.severity { next } else { best });
    Verdict { truth, ..best.unwrap_or_default() }
}

/// Which thing a leaf speaks of when a rule is asked about `subject`.
fn bound(whose: &Whose, subject: &Subject, kind: Option<&str>) -> Option<Subject> {
    if let Some(fixed) = whose.fixed() {
        return Some(fixed);
    }
    let fits = match (whose, subject) {
        // After a restart, before the sensors are known: what is remembered fitted.
        (Whose::Kind(wanted), Subject::Sensor(_)) => kind.is_none_or(|kind| kind == wanted.as_str()),
        (Whose::AnySensor, Subject::Sensor(_)) => true,
        (Whose::AnyPath, Subject::Path(_) | Subject::Server) => true,
        _ => false,
    };
    fits.then(|| subject.clone())
}
