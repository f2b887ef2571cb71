//! What happened after rules last wrote down what they remember, and before this start: a server that was killed had
//! committed it, and its rules may not have heard of it. Read from the log before anything else.

use std::{collections::HashMap, sync::Arc};

use crate::events::{
    Cursor, Delivery, EventType, Events, Fact, Filter, Follower, From, Scope, payload::AlertEvent, rules::Occurrence,
};

/// Facts looked at together; what comes after these is heard as if it were new.
const MOST: usize = 4096;

/// Facts, in order.
#[derive(Debug)]
pub(super) struct Late(Vec<Arc<Fact>>);

/// Follows what rules look at, after what they `heard` of last, and reads what waits there.
pub(super) async fn follow(events: &Events, heard: Cursor) -> (Follower, Late) {
    let words = [EventType::CameraEvent, EventType::Security, EventType::Alert].map(EventType::name);
    let filter = Filter::everything().event_types(words).unwrap_or_default();
    let mut follower = events.follow(Scope::house(), filter, From::After(heard));
    let mut facts = Vec::new();
    while facts.len() < MOST
        && let Some(delivery) = follower.ready().await
    {
        match delivery {
            Delivery::Facts(more) => facts.extend(more),
            Delivery::Gap { lost } => {
                tracing::warn!(lost, "rules did not hear of some facts: the log has them no more")
            }
            Delivery::Values(_) | Delivery::Over => {}
        }
    }
    (follower, Late(facts))
}

impl Late {
    pub(super) fn facts(&self) -> &[Arc<Fact>] {
        &self.0
    }

    /// What happened at cameras and to the server, and where that stands.
    pub(super) fn occurrences(&self) -> impl Iterator<Item = (Occurrence, Cursor)> {
        self.0.iter().filter_map(|fact| Some((occurrence(fact)?, fact.cursor)))
    }

    /// The last of them.
    pub(super) fn heard(&self) -> Option<Cursor> {
        self.0.last().map(|fact| fact.cursor)
    }

    /// Alerts that are in the log beyond what was known to be there when alarms were kept, the newest of each.
    pub(super) fn told_after(&self, told: Option<Cursor>) -> Vec<(AlertEvent, Cursor)> {
        let beyond = |cursor: Cursor| told.is_none_or(|told| told.epoch == cursor.epoch && told.offset < cursor.offset);
        let mut newest = HashMap::new();
        for fact in self.0.iter().filter(|fact| fact.topic.kind == EventType::Alert && beyond(fact.cursor)) {
            if let Some(event) = alert(fact) {
                newest.insert(event.alert.fingerprint.clone(), (event, fact.cursor));
            }
        }
        let mut newest: Vec<_> = newest.into_values().collect();
        newest.sort_by_key(|(_, cursor)| cursor.offset);
        newest
    }
}

/// What an event is to the rules, if it is one that they look at.
pub(super) fn occurrence(fact: &Fact) -> Option<Occurrence> {
    let security = match fact.topic.kind {
        EventType::CameraEvent => false,
        EventType::Security => true,
        _ => return None,
    };
    let kind = fact.topic.name.to_ascii_lowercase();
    Some(Occurrence { kind, security, path: fact.topic.path.clone(), time: fact.time })
}

/// The alert that a fact tells of.
pub(super) fn alert(fact: &Fact) -> Option<AlertEvent> {
    #[derive(serde::Deserialize)]
    struct Envelope {
        data: AlertEvent,
    }
    serde_json::from_slice::<Envelope>(&fact.body).ok().map(|envelope| envelope.data)
}
