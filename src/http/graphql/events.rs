//! Events in GraphQL's form, the filter that all doors share, and the page of facts.

use async_graphql::{ID, InputObject, SimpleObject};
use serde::Deserialize;
use serde_json::Value as Json;

use super::{
    super::events::{gather, scope},
    scalars::{DateTime, Long, SeverityWord, long_or_none},
    schema::Asker,
};
use crate::{
    base::{Error, Kind, Result},
    events::{Cursor, Fact, Filter, From, Topic, Types, Value},
};

/// Which events; each field given narrows. The same on every door.
#[derive(Debug, Default, InputObject)]
pub(super) struct EventFilter {
    /// Types (`alert`) or kinds (`motion`), whatever the case.
    types: Option<Vec<String>>,
    /// Names of cameras.
    paths: Option<Vec<String>>,
    /// Ids of sensors.
    sensors: Option<Vec<String>>,
    /// The mildest severity. What has none is `INFO`.
    severity: Option<SeverityWord>,
}

impl EventFilter {
    pub(super) fn read(self) -> Result<Filter> {
        let mut filter = Filter::everything();
        if let Some(types) = self.types {
            filter = filter.event_types(types)?;
        }
        if let Some(paths) = self.paths {
            filter = filter.paths(paths)?;
        }
        if let Some(sensors) = self.sensors {
            filter = filter.sensors(sensors)?;
        }
        Ok(match self.severity {
            Some(least) => filter.severity(least.into()),
            None => filter,
        })
    }
}

/// The place that a client names.
pub(super) fn place(after: &str) -> Result<Cursor> {
    let unknown = |()| Error::new(Kind::InvalidArgument, "after is the id of a fact, such as `5d2b1c1e-42`");
    after.parse().map_err(|error| unknown(error).with_code("invalid_cursor"))
}

/// Something that happened, or how something stands.
#[derive(Debug, SimpleObject)]
pub(super) struct Event {
    /// Its place in the log; a value has none.
    id: Option<ID>,
    /// Facts: `alert`, `camera_event`, `audit`, `security`; values: `statistics_update`, `sensor_reading`, `system_status`.
    #[graphql(name = "type")]
    kind: &'static str,
    /// When it happened.
    time: DateTime,
    /// The camera.
    path: Option<String>,
    /// The sensor.
    sensor: Option<String>,
    /// How bad it is, where that means something.
    severity: Option<SeverityWord>,
    /// What happened; its shape goes with the type.
    data: Json,
    /// False: it was given out before it was on the disk.
    durable: bool,
    /// Where any door goes on after it.
    cursor: ID,
}

/// The part of an envelope that is not beside it.
#[derive(Debug, Deserialize)]
struct Envelope {
    data: Json,
}

impl Event {
    pub(super) fn of_fact(fact: &Fact) -> Self {
        let id = Some(ID(fact.cursor.to_string()));
        Self { id, durable: fact.durable, ..Self::new(&fact.topic, fact.time.into(), &fact.body, fact.cursor) }
    }

    pub(super) fn of_value(value: &Value, cursor: Cursor) -> Self {
        Self::new(&value.topic, value.time.into(), &value.body, cursor)
    }

    fn new(topic: &Topic, time: DateTime, body: &[u8], cursor: Cursor) -> Self {
        // Our own envelopes are JSON.
        let data = serde_json::from_slice::<Envelope>(body).map(|envelope| envelope.data).unwrap_or_default();
        Self {
            id: None,
            kind: topic.kind.name(),
            time,
            path: topic.path.as_ref().map(ToString::to_string),
            sensor: topic.sensor.as_ref().map(ToString::to_string),
            severity: topic.severity.map(Into::into),
            data,
            durable: true,
            cursor: ID(cursor.to_string()),
        }
    }
}

/// Facts are missing: they were too old, or `after` is of another log.
#[derive(Debug, SimpleObject)]
pub(super) struct Gap {
    /// The place before it.
    after: Option<ID>,
    /// How many at most; nothing if nobody knows.
    #[graphql(skip, derived(name = "lost", into = "Option<Long>", owned, with = "long_or_none"))]
    lost: Option<u64>,
    /// Where any door goes on after it.
    cursor: ID,
}

impl Gap {
    pub(super) fn new(after: Option<Cursor>, cursor: Cursor, lost: Option<u64>) -> Self {
        Self { after: after.map(|after| ID(after.to_string())), lost, cursor: ID(cursor.to_string()) }
    }
}

/// Facts, and where to go on.
#[derive(Debug, SimpleObject)]
pub(super) struct EventPage {
    /// The facts, the oldest first.
    items: Vec<Event>,
    /// What to send as `after` next.
    cursor: ID,
    /// Facts are missing before these.
    gap: Option<Gap>,
}

/// The newest facts, or those after one that is known.
pub(super) async fn newest_or_after(
    asker: &Asker,
    after: Option<String>,
    filter: EventFilter,
    limit: usize,
) -> Result<EventPage> {
    let events = &asker.front.rooms.events;
    let (scope, filter) = (scope(&asker.front.rooms.gate, &asker.caller)?, filter.read()?);
    let Some(after) = after else {
        // Before the facts, so that what comes in between is told next time.
        let cursor = events.cursor();
        let mut facts = events.recent(&scope, &filter, limit).await;
        facts.retain(|fact| fact.cursor.offset <= cursor.offset);
        let items = facts.iter().map(|fact| Event::of_fact(fact)).collect();
        return Ok(EventPage { items, cursor: ID(cursor.to_string()), gap: None });
    };
    let after = place(&after)?;
    let mut follower = events.follow(scope.within(Types::FACTS), filter, From::After(after));
    let answer = gather(&mut follower, limit).await;
    let cursor = follower.cursor();
    Ok(EventPage {
        items: answer.facts.iter().map(|fact| Event::of_fact(fact)).collect(),
        cursor: ID(cursor.to_string()),
        gap: answer.gap.map(|lost| Gap::new(Some(after), cursor, lost)),
    })
}
