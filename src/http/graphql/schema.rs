//! The schema: what can be asked, what can be done, what can be followed. The shapes are those of the API ([`super::super::api`])
//! and of events, so that every door tells the same; `docs/schema.graphql` is made from it.

use std::sync::Arc;

use async_graphql::{Context, ID, InputObject, Object, OutputType, Schema, SimpleObject};

use super::{
    super::{
        api::{
            alerts::{self, Alert, Wanted},
            info::{self, Info},
            listing::{LIMIT, PageOf},
            paths::{self, Path},
            rules::{self, Written},
            sensors::{self, Sensor},
            sent,
            sessions::{self, Session},
            statistics::Statistics,
            tending,
        },
        front::Front,
        problem::Problem,
    },
    GraphQlOptions,
    events::{EventFilter, EventPage, newest_or_after},
    scalars::{AlertStateWord, DateTime, SeverityWord},
    subscriptions::Subscription,
};
use crate::{
    auth::{Action, Caller, Grant, Permission, Sensors as SeeSensors, Stats, View},
    base::{Error, Kind, PathName, SensorId},
};

/// The schema of this server.
pub(super) type Served = Schema<Query, Mutation, Subscription>;

/// Directives on one field.
const DIRECTIVES: usize = 4;

/// Makes the schema.
pub(super) fn schema(options: &GraphQlOptions) -> Served {
    let builder = Schema::build(Query, Mutation, Subscription)
        .limit_depth(options.max_depth)
        .limit_complexity(options.max_complexity)
        .limit_directives(DIRECTIVES);
    // A guess at what was meant tells what there is.
    if options.introspection { builder } else { builder.disable_introspection().disable_suggestions() }.finish()
}

/// Who asks. It comes with each request.
#[derive(Debug)]
pub(super) struct Asker {
    pub(super) front: Arc<Front>,
    pub(super) caller: Caller,
}

/// Who asks, of a resolver.
pub(super) fn asker<'a>(context: &Context<'a>) -> Result<&'a Asker, Error> {
    let missing = |_| Error::new(Kind::Internal, "a GraphQL request should carry its caller");
    context.data::<Asker>().map_err(missing)
}

impl Asker {
    /// A grant for whatever the caller may do `P` on.
    pub(super) fn somewhere<P: Permission>(&self) -> Result<Grant<P>, Error> {
        self.front.rooms.gate.check_somewhere(&self.caller)
    }

    fn may<P: Permission>(&self) -> Result<(), Error> {
        self.front.rooms.gate.check_server::<P>(&self.caller).map(drop)
    }
}

/// One page of a list.
#[derive(Debug, SimpleObject)]
#[graphql(concrete(name = "PathPage", params(Path)))]
#[graphql(concrete(name = "AlertPage", params(Alert)))]
#[graphql(concrete(name = "SensorPage", params(Sensor)))]
#[graphql(concrete(name = "RulePage", params(Written)))]
#[graphql(concrete(name = "SessionPage", params(Session)))]
pub(super) struct Page<T: OutputType> {
    /// The entries, sorted by their key.
    items: Vec<T>,
    /// What to send as `after` for the next page; nothing on the last one.
    next: Option<String>,
}

impl<T: OutputType> From<(Vec<T>, Option<String>)> for Page<T> {
    fn from((items, next): (Vec<T>, Option<String>)) -> Self {
        Self { items, next }
    }
}

/// Which alerts; each field given narrows.
#[derive(Debug, Default, InputObject)]
pub(super) struct AlertFilter {
    /// Those that go on, or those that are over.
    state: Option<AlertStateWord>,
    /// At least as bad as this.
    severity: Option<SeverityWord>,
    /// About this camera.
    path: Option<String>,
    /// About this sensor.
    sensor: Option<String>,
    /// Of this rule.
    rule: Option<String>,
}

impl AlertFilter {
    fn read(self) -> Result<Wanted, Error> {
        let unfit = |words: &str| Error::new(Kind::InvalidArgument, words.to_owned()).with_code("invalid_filter");
        Ok(Wanted {
            state: self.state.map(Into::into),
            severity: self.severity.map(Into::into),
            path: self
                .path
                .map(|name| name.parse())
                .transpose()
                .map_err(|_| unfit("path: expected the name of a path"))?,
            sensor: self
                .sensor
                .map(|id| id.parse::<SensorId>())
                .transpose()
                .map_err(|_| unfit("sensor: expected the id of a sensor"))?,
            rule: self.rule,
        })
    }
}

/// What a list of this limit comes to.
fn list(limit: Option<u32>, each: usize) -> usize {
    limit.map_or(LIMIT, |limit| limit as usize).saturating_mul(each.max(1))
}

/// What can be asked.
#[derive(Debug)]
pub(super) struct Query;

#[Object]
impl Query {
    /// What this server is and which doors are open.
    async fn info(&self, context: &Context<'_>) -> async_graphql::Result<Info> {
        let asker = asker(context)?;
        asker.may::<Stats>()?;
        Ok(info::describe(&asker.front))
    }

    /// All paths the caller may see.
    #[graphql(complexity = "list(limit, child_complexity)")]
    async fn paths(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How many at most, 1 to 1000; 100 if absent.")] limit: Option<u32>,
        #[graphql(desc = "Begin after the entry of this key: `next` of the page before.")] after: Option<String>,
    ) -> async_graphql::Result<Page<Path>> {
        let asker = asker(context)?;
        asker.front.ask_about_all(&asker.caller).await.map_err(Problem::into_error)?;
        Ok(paths::visible(&asker.front, &asker.caller, &PageOf::of(limit, after)?)?.into())
    }

    /// One path.
    async fn path(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Its name, as it stands in every URL.")] name: String,
    ) -> async_graphql::Result<Path> {
        let asker = asker(context)?;
        let unfit = |error| Error::new(Kind::InvalidArgument, format!("name: {error}")).with_code("invalid_path_name");
        let name = name.parse::<PathName>().map_err(unfit)?;
        asker.front.ask(&asker.caller, Action::View, &name).await.map_err(Problem::into_error)?;
        let grant = asker.front.rooms.gate.check::<View>(&asker.caller, &name)?;
        Ok(paths::describe(&asker.front, &asker.front.rooms.hub.path(&grant)?))
    }

    /// Alerts that go on, and the newest that are over, sorted by fingerprint.
    #[graphql(complexity = "list(limit, child_complexity)")]
    async fn alerts(
        &self,
        context: &Context<'_>,
        filter: Option<AlertFilter>,
        #[graphql(desc = "How many at most, 1 to 1000; 100 if absent.")] limit: Option<u32>,
        #[graphql(desc = "Begin after the entry of this key: `next` of the page before.")] after: Option<String>,
    ) -> async_graphql::Result<Page<Alert>> {
        let asker = asker(context)?;
        let (wanted, page) = (filter.unwrap_or_default().read()?, PageOf::of(limit, after)?);
        let snapshot = asker.front.rooms.alerts.snapshot();
        Ok(alerts::visible(&asker.front, &asker.caller, &wanted, &page, &snapshot)?.into())
    }

    /// Facts: the newest ones, or those that followed one that is known.
    #[graphql(complexity = "list(limit, child_complexity)")]
    async fn events(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Begin after this fact: the `id` or `cursor` of an event from any door.")] after: Option<
            String,
        >,
        filter: Option<EventFilter>,
        #[graphql(desc = "How many at most, 1 to 1000; 100 if absent.")] limit: Option<u32>,
    ) -> async_graphql::Result<EventPage> {
        let limit = PageOf::of(limit, None)?.limit;
        Ok(newest_or_after(asker(context)?, after, filter.unwrap_or_default(), limit).await?)
    }

    /// All sensors.
    #[graphql(complexity = "list(limit, child_complexity)")]
    async fn sensors(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How many at most, 1 to 1000; 100 if absent.")] limit: Option<u32>,
        #[graphql(desc = "Begin after the entry of this key: `next` of the page before.")] after: Option<String>,
    ) -> async_graphql::Result<Page<Sensor>> {
        let asker = asker(context)?;
        let grant = asker.somewhere::<SeeSensors>()?;
        let snapshot = asker.front.rooms.sensors.snapshot();
        let all = sensors::visible(&snapshot, &grant);
        let (found, next) = PageOf::of(limit, after)?.cut(all, |sensor| sensor.id.to_string());
        let items = found.into_iter().map(|sensor| sensors::describe(sensor)).collect();
        Ok(Page { items, next })
    }

    /// One sensor.
    async fn sensor(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Its id, as it stands in every URL.")] id: String,
    ) -> async_graphql::Result<Sensor> {
        let asker = asker(context)?;
        let (_, sensor) = sensors::find(&asker.front, &asker.somewhere()?, &id)?;
        Ok(sensors::describe(&sensor))
    }

    /// How the server and its cameras do now.
    async fn statistics(&self, context: &Context<'_>) -> async_graphql::Result<Statistics> {
        let asker = asker(context)?;
        asker.may::<Stats>()?;
        Ok(statistics(&asker.front.rooms.statistics.newest().body)?)
    }

    /// Every rule, sorted by id; for a caller who may see alerts of some cameras, the rules about nothing but these.
    #[graphql(complexity = "list(limit, child_complexity)")]
    async fn rules(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How many at most, 1 to 1000; 100 if absent.")] limit: Option<u32>,
        #[graphql(desc = "Begin after the entry of this key: `next` of the page before.")] after: Option<String>,
    ) -> async_graphql::Result<Page<Written>> {
        let asker = asker(context)?;
        let all = rules::visible(&asker.front, &asker.front.rooms.alerts.snapshot(), &asker.somewhere()?);
        let (found, next) = PageOf::of(limit, after)?.cut(all, |entry| entry.id.to_string());
        Ok(Page { items: found.iter().map(rules::describe).collect(), next })
    }

    /// Everybody who watches.
    #[graphql(complexity = "list(limit, child_complexity)")]
    async fn sessions(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How many at most, 1 to 1000; 100 if absent.")] limit: Option<u32>,
        #[graphql(desc = "Begin after the entry of this key: `next` of the page before.")] after: Option<String>,
    ) -> async_graphql::Result<Page<Session>> {
        let asker = asker(context)?;
        let all = sessions::visible(&asker.front, &asker.somewhere()?);
        let (found, next) = PageOf::of(limit, after)?.cut(all, |entry| entry.id.to_string());
        Ok(Page { items: found.iter().map(|entry| sessions::describe(entry)).collect(), next })
    }
}

/// Statistics from their JSON, which is made once for all.
pub(super) fn statistics(body: &[u8]) -> Result<Statistics, Error> {
    if body.is_empty() {
        return Err(Error::new(Kind::Unavailable, "statistics: there are none yet"));
    }
    serde_json::from_slice(body)
        .map_err(|error| Error::new(Kind::Internal, "statistics have another shape than is told").caused_by(error))
}

/// What can be done.
#[derive(Debug)]
pub(super) struct Mutation;

#[Object]
impl Mutation {
    /// Takes note of an alert: no reminders and no further levels. True when it is noted, and in the log.
    async fn acknowledge_alert(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The alert's fingerprint.")] fingerprint: String,
        #[graphql(desc = "What there is to say.")] note: Option<String>,
        #[graphql(desc = "Until when it holds; for the rest of the alert if absent.")] until: Option<DateTime>,
    ) -> async_graphql::Result<bool> {
        let asker = asker(context)?;
        let until = until.map(|until| until.wall()).transpose()?;
        let grant = tending::tended(&asker.front, &asker.caller, &fingerprint)?;
        let by = sent::name_of(grant.subject());
        asker.front.rooms.alerts.acknowledge(fingerprint, by, sent::note(note)?, until).await?;
        Ok(true)
    }

    /// Keeps one alert quiet until a moment. The silence's id comes back.
    async fn silence_alert(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The alert's fingerprint.")] fingerprint: String,
        #[graphql(desc = "Until when.")] until: DateTime,
        #[graphql(desc = "Why.")] note: Option<String>,
    ) -> async_graphql::Result<ID> {
        let asker = asker(context)?;
        let id = alerts::hush(&asker.front, &asker.caller, fingerprint, Some(until.wall()?), note).await?;
        Ok(ID(id))
    }
}
