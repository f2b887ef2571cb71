//! The newest statistics, for those who ask and those who follow: told on the board when they changed, serialised once a
//! second for everybody who polls.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::to_raw_value;
use tokio::sync::watch;

use super::{Draft, EventType, Events, payload::Statistics, steadiness::Steadiness};
use crate::{
    base::{Monotonic, Result, WallTime},
    store::{FigureHistory, Figures, STEPS},
};

/// What pollers get.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// The statistics as JSON; empty before the first ones.
    pub body: Bytes,
    /// The same, for those who get a part of them.
    pub statistics: Arc<Statistics>,
    /// Counts the changes that are worth telling.
    pub version: u64,
}

/// Where the newest statistics are put.
#[derive(Debug)]
pub struct StatisticsWriter {
    events: Events,
    steadiness: Steadiness,
    shown: watch::Sender<Shown>,
}

/// Where they are read. Clones share it.
#[derive(Clone, Debug)]
pub struct StatisticsReader {
    shown: watch::Receiver<Shown>,
    history: FigureHistory,
}

/// Both ends.
pub fn statistics(events: Events, history: FigureHistory) -> (StatisticsWriter, StatisticsReader) {
    let (shown, reader) = watch::channel(Shown::default());
    let writer = StatisticsWriter { events, steadiness: Steadiness::default(), shown };
    (writer, StatisticsReader { shown: reader, history })
}

impl StatisticsWriter {
    /// Takes the statistics as they are now.
    ///
    /// # Errors
    /// The board is full.
    pub fn put(&mut self, statistics: &Statistics, now: Monotonic, wall: WallTime) -> Result<()> {
        let Ok(data) = to_raw_value(statistics) else { return Ok(()) };
        let changed = self.steadiness.handle(statistics, now);
        let (body, whole) = (Bytes::copy_from_slice(data.get().as_bytes()), Arc::new(statistics.clone()));
        self.shown.send_modify(|shown| {
            (shown.body, shown.statistics) = (body, whole);
            shown.version += u64::from(changed);
        });
        if !changed {
            return Ok(());
        }
        let kind = EventType::StatisticsUpdate;
        let name = kind.name().into();
        self.events.set(Draft { kind, name, time: wall, path: None, sensor: None, severity: None, data })
    }
}

impl StatisticsReader {
    /// The newest ones.
    pub fn newest(&self) -> Shown {
        self.shown.borrow().clone()
    }

    /// How it was from `from_ms` to `to_ms`, in the finest stretches that are kept so long and no finer than `step_ms`;
    /// and the length of those stretches.
    ///
    /// # Errors
    /// The disk.
    pub async fn over_time(
        &self,
        now_ms: i64,
        from_ms: i64,
        to_ms: i64,
        step_ms: Option<i64>,
    ) -> Result<(i64, Vec<Figures>)> {
        let fits = |&&(step, kept): &&(i64, i64)| {
            from_ms >= now_ms - kept && step_ms.map_or((to_ms - from_ms) / step <= 1500, |asked| step >= asked)
        };
        let coarsest = STEPS[STEPS.len() - 1].0;
        let step = STEPS.iter().find(fits).map_or(coarsest, |(step, _)| *step);
        self.history.read(step, from_ms, to_ms).await.map(|figures| (step, figures))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        base::{Clock, Tasks},
        events::{Filter, Scope},
        store::Store,
    };

    #[tokio::test]
    async fn a_change_is_told_on_the_board_and_what_rides_along_is_only_shown() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::lazy(directory.path(), Clock);
        let events = Events::lazy(&store, Clock, &Tasks::new());
        let (mut writer, reader) = statistics(events.clone(), store.figures());
        let told = || {
            let values = events.values(&Scope::house(), &Filter::everything());
            String::from_utf8(values[0].body.to_vec()).unwrap()
        };
        let now = Clock.now();
        let mut statistics = Statistics { viewers: 1, ..Statistics::default() };
        writer.put(&statistics, now, Clock.wall()).unwrap();
        assert!(told().contains(r#""viewers":1"#) && told().contains(r#""uptime_s":0"#));
        statistics.uptime_s = 5;
        writer.put(&statistics, now + Duration::from_secs(5), Clock.wall()).unwrap();
        assert!(told().contains(r#""uptime_s":0"#));
        let shown = reader.newest();
        assert!(shown.version == 1 && String::from_utf8_lossy(&shown.body).contains(r#""uptime_s":5"#));
        statistics.viewers = 2;
        writer.put(&statistics, now + Duration::from_secs(6), Clock.wall()).unwrap();
        assert!(told().contains(r#""uptime_s":5"#) && reader.newest().version == 2);
    }

    #[tokio::test]
    async fn the_stretches_are_the_finest_that_are_kept_for_so_long() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), Clock).await.0;
        let events = Events::lazy(&store, Clock, &Tasks::new());
        let (_writer, reader) = statistics(events, store.figures());
        let (hour, day) = (3_600_000, 86_400_000);
        let now = 400 * day;
        for (from, asked, step) in [
            (now - hour, None, 10_000),
            (now - hour, Some(60_000), 300_000),
            (now - 20 * hour, None, 300_000),
            (now - 30 * day, None, 3_600_000),
            (now - 2 * day, Some(1), 300_000),
            (now - 300 * day, None, 3_600_000),
        ] {
            assert_eq!(reader.over_time(now, from, now, asked).await.unwrap().0, step, "{from} {asked:?}");
        }
    }
}
