//! What a sensor has beyond its fields in the API: its history.

use async_graphql::{ComplexObject, Context};

use super::{
    super::api::{
        sensor_history::{Asked, History, Shown},
        sensors::{Sensor, find},
    },
    scalars::DateTime,
    schema::asker,
};

/// What one history costs beside its points: a look into the store.
const LOOK: usize = 100;

#[ComplexObject]
impl Sensor {
    /// What it read over time, summed up by stretches. A gap is a stretch that is missing.
    #[graphql(complexity = "LOOK + child_complexity")]
    async fn history(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "From when; a day before `to` if absent.")] from: Option<DateTime>,
        #[graphql(desc = "Until when; now if absent.")] to: Option<DateTime>,
        #[graphql(desc = "Seconds that a stretch has at least; such that some 500 come if absent.")] step: Option<f64>,
        #[graphql(desc = "Which sums; all if absent.")] agg: Option<Shown>,
    ) -> async_graphql::Result<History> {
        let asker = asker(context)?;
        let (from, to) = (from.map(|from| from.wall()).transpose()?, to.map(|to| to.wall()).transpose()?);
        let now = asker.front.rooms.clock.wall();
        let asked = Asked::of(from, to, step, agg.unwrap_or(Shown::All), now)?;
        // It was seen, so that it may be seen; it may have gone since.
        let (room, sensor) = find(&asker.front, &asker.somewhere()?, &self.id)?;
        Ok(asked.look_up(room, &sensor).await?)
    }
}
