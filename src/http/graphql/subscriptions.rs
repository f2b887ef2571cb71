//! What can be followed. Each subscription is a follower of the log and the board: it holds a place and no queue, and
//! looks for more only when the one before was taken. So a slow client reads on from the log.

use std::{collections::VecDeque, sync::Arc};

use async_graphql::{Context, Enum, ID, SimpleObject, Subscription as Following, Union};
use futures_util::stream::{BoxStream, StreamExt, unfold};
use serde::Deserialize;

use super::{
    super::{
        api::{
            alerts::{Alert, tell},
            sensors::{Sensor, describe},
            statistics::Statistics,
        },
        events::scope,
        front::Front,
    },
    events::{Event, EventFilter, Gap, place},
    scalars::DateTime,
    schema::{Asker, asker, statistics},
};
use crate::{
    auth::{Alerts, Sensors as SeeSensors, Stats},
    base::{Error, Kind, Result},
    events::{
        Cursor, Delivery, EventType, Fact, Filter, Follower, From, Scope, Types, Value,
        payload::{AlertChange, AlertEvent},
    },
    stats::EventDoor,
};

type Told<T> = async_graphql::Result<T>;

/// Something that happened, how something stands, or what is missing.
#[derive(Debug, Union)]
pub(super) enum EventDelivery {
    /// The next event.
    Event(Box<Event>),
    /// Facts are missing before what follows.
    Gap(Gap),
}

/// An alert changed, or facts are missing.
#[derive(Debug, Union)]
pub(super) enum AlertDelivery {
    /// The next change.
    Change(Box<ChangedAlert>),
    /// Facts are missing before what follows.
    Gap(Gap),
}

/// What changed of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(name = "AlertChange", remote = "AlertChange")]
pub(super) enum ChangeWord {
    /// It began.
    Raised,
    /// It goes on, with another value or severity, or as a reminder.
    Updated,
    /// Somebody took note.
    Acknowledged,
    /// It is over.
    Cleared,
}

/// An alert changed.
#[derive(Debug, SimpleObject)]
pub(super) struct ChangedAlert {
    /// Its place in the log, from which any door goes on.
    cursor: ID,
    /// When it happened.
    time: DateTime,
    /// What changed.
    change: ChangeWord,
    /// Nothing changed; it only goes on.
    reminder: bool,
    /// The alert as it stands after that.
    alert: Alert,
}

impl ChangedAlert {
    fn read(fact: &Fact) -> Result<Self> {
        #[derive(Deserialize)]
        struct Envelope {
            data: AlertEvent,
        }
        let odd = |error| Error::new(Kind::Internal, "an alert has another shape than is told").caused_by(error);
        let AlertEvent { change, alert, group, escalation, reminder } =
            serde_json::from_slice::<Envelope>(&fact.body).map_err(odd)?.data;
        Ok(Self {
            cursor: ID(fact.cursor.to_string()),
            time: fact.time.into(),
            change: change.into(),
            reminder: reminder.unwrap_or_default(),
            alert: tell(alert, group, escalation.unwrap_or_default()),
        })
    }
}

/// What a subscription makes of what a follower tells.
trait Teller: Send + Sync + 'static {
    type Item: Send;
    fn fact(&self, _: &Fact) -> Option<Told<Self::Item>> {
        None
    }
    fn value(&self, _: &Value, _: Cursor) -> Option<Told<Self::Item>> {
        None
    }
    fn gap(&self, _: Gap) -> Option<Self::Item> {
        None
    }
}

struct AllEvents;

impl Teller for AllEvents {
    type Item = EventDelivery;
    fn fact(&self, fact: &Fact) -> Option<Told<EventDelivery>> {
        Some(Ok(EventDelivery::Event(Box::new(Event::of_fact(fact)))))
    }
    fn value(&self, value: &Value, cursor: Cursor) -> Option<Told<EventDelivery>> {
        Some(Ok(EventDelivery::Event(Box::new(Event::of_value(value, cursor)))))
    }
    fn gap(&self, gap: Gap) -> Option<EventDelivery> {
        Some(EventDelivery::Gap(gap))
    }
}

struct ChangedAlerts;

impl Teller for ChangedAlerts {
    type Item = AlertDelivery;
    fn fact(&self, fact: &Fact) -> Option<Told<AlertDelivery>> {
        let change = ChangedAlert::read(fact).map(|change| AlertDelivery::Change(Box::new(change)));
        Some(change.map_err(Into::into))
    }
    fn gap(&self, gap: Gap) -> Option<AlertDelivery> {
        Some(AlertDelivery::Gap(gap))
    }
}

struct AllStatistics(Arc<Front>);

impl Teller for AllStatistics {
    type Item = Statistics;
    /// The newest, whatever the board said: it is made whole once a second.
    fn value(&self, _: &Value, _: Cursor) -> Option<Told<Statistics>> {
        Some(statistics(&self.0.rooms.statistics.newest().body).map_err(Into::into))
    }
}

struct Readings(Arc<Front>);

impl Teller for Readings {
    type Item = Sensor;
    fn value(&self, value: &Value, _: Cursor) -> Option<Told<Sensor>> {
        let snapshot = self.0.rooms.sensors.snapshot();
        // One that is gone has nothing to show.
        Some(Ok(describe(snapshot.sensor(value.topic.sensor.as_ref()?)?)))
    }
}

/// What was delivered and waits to be taken: one batch at most.
enum Batch {
    Facts(VecDeque<Arc<Fact>>),
    Values(VecDeque<Arc<Value>>),
}

struct Feed<T> {
    front: Arc<Front>,
    follower: Follower,
    batch: Batch,
    /// The place that the client knows.
    told: Option<Cursor>,
    teller: T,
    over: bool,
}

impl<T: Teller> Feed<T> {
    async fn next(&mut self) -> Option<Told<T::Item>> {
        loop {
            if self.over {
                return None;
            }
            let next = match &mut self.batch {
                Batch::Facts(facts) => facts.pop_front().and_then(|fact| {
                    self.told = Some(fact.cursor);
                    self.teller.fact(&fact)
                }),
                Batch::Values(values) => {
                    let cursor = self.told.unwrap_or_else(|| self.follower.cursor());
                    values.pop_front().and_then(|value| self.teller.value(&value, cursor))
                }
            };
            if next.is_some() {
                return next;
            }
            if !self.batch.is_empty() {
                continue;
            }
            match self.follower.next().await {
                Delivery::Facts(facts) => self.batch = Batch::Facts(facts.into()),
                Delivery::Values(values) => {
                    // Everything before the values was told or passed over.
                    self.told = Some(self.follower.cursor());
                    self.batch = Batch::Values(values.into());
                }
                Delivery::Gap { lost } => {
                    self.front.rooms.event_doors.dropped(EventDoor::GraphQl, lost.unwrap_or(1));
                    let cursor = self.follower.cursor();
                    let gap = Gap::new(self.told.replace(cursor), cursor, lost);
                    if let Some(gap) = self.teller.gap(gap) {
                        return Some(Ok(gap));
                    }
                }
                Delivery::Over => {
                    self.over = true;
                    let message = "the right to see anything here ended";
                    return Some(Err(Error::new(Kind::PermissionDenied, message).into()));
                }
            }
        }
    }
}

impl Batch {
    fn is_empty(&self) -> bool {
        match self {
            Self::Facts(facts) => facts.is_empty(),
            Self::Values(values) => values.is_empty(),
        }
    }
}

fn feed<T: Teller>(
    asker: &Asker,
    scope: Scope,
    filter: Filter,
    after: Option<Cursor>,
    teller: T,
) -> BoxStream<'static, Told<T::Item>> {
    let front = asker.front.clone();
    let follower = front.rooms.events.follow(scope, filter, after.map_or(From::Now, From::After));
    let batch = Batch::Facts(VecDeque::new());
    let feed = Feed { front, follower, batch, told: after, teller, over: false };
    unfold(feed, |mut feed| async move { Some((feed.next().await?, feed)) }).boxed()
}

/// What can be followed.
#[derive(Debug)]
pub(super) struct Subscription;

#[Following]
impl Subscription {
    /// Events as they happen: those after `after` first, in order and once; values as they are now, and as they change.
    async fn events(
        &self,
        context: &Context<'_>,
        #[graphql(
            desc = "Begin after this fact: the `id` or `cursor` of an event from any door; with what comes next if absent."
        )]
        after: Option<String>,
        filter: Option<EventFilter>,
    ) -> async_graphql::Result<BoxStream<'static, Told<EventDelivery>>> {
        let asker = asker(context)?;
        let scope = scope(&asker.front.rooms.gate, &asker.caller)?;
        let after = after.as_deref().map(place).transpose()?;
        Ok(feed(asker, scope, filter.unwrap_or_default().read()?, after, AllEvents))
    }

    /// Alerts as they are raised, updated, acknowledged and cleared.
    async fn alerts(
        &self,
        context: &Context<'_>,
        #[graphql(
            desc = "Begin after this fact: the `id` or `cursor` of an event from any door; with what comes next if absent."
        )]
        after: Option<String>,
        #[graphql(desc = "Of `types` the kinds of change count: `raised`, `cleared`.")] filter: Option<EventFilter>,
    ) -> async_graphql::Result<BoxStream<'static, Told<AlertDelivery>>> {
        let asker = asker(context)?;
        let grant = asker.front.rooms.gate.check_server::<Alerts>(&asker.caller)?;
        let scope = Scope::nothing().with(&grant).within(Types::of(&[EventType::Alert]));
        let after = after.as_deref().map(place).transpose()?;
        Ok(feed(asker, scope, filter.unwrap_or_default().read()?, after, ChangedAlerts))
    }

    /// How the server and its cameras do: now, and when it changes, at most every second.
    async fn statistics(&self, context: &Context<'_>) -> async_graphql::Result<BoxStream<'static, Told<Statistics>>> {
        let asker = asker(context)?;
        let grant = asker.front.rooms.gate.check_server::<Stats>(&asker.caller)?;
        let scope = Scope::nothing().with(&grant).within(Types::of(&[EventType::StatisticsUpdate]));
        Ok(feed(asker, scope, Filter::everything(), None, AllStatistics(asker.front.clone())))
    }

    /// Sensors: what they show now, and when that changes.
    async fn sensors(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Their ids; all of them if absent.")] ids: Option<Vec<String>>,
        #[graphql(desc = "Those of these cameras.")] paths: Option<Vec<String>>,
    ) -> async_graphql::Result<BoxStream<'static, Told<Sensor>>> {
        let asker = asker(context)?;
        let grant = asker.front.rooms.gate.check_server::<SeeSensors>(&asker.caller)?;
        let scope = Scope::nothing().with(&grant).within(Types::of(&[EventType::SensorReading]));
        let mut filter = Filter::everything();
        if let Some(ids) = ids {
            filter = filter.sensors(ids)?;
        }
        if let Some(paths) = paths {
            filter = filter.paths(paths)?;
        }
        Ok(feed(asker, scope, filter, None, Readings(asker.front.clone())))
    }
}
