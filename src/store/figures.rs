//! How the server did over time, in `history.db`: sums by stretches of ten seconds, five minutes and an hour. A sample is
//! added to its stretch of each, so that nothing has to be gathered later, and a stretch without one stays a gap.

use rusqlite::{Row, TransactionBehavior, params};

use super::database::Database;
use crate::base::Result;

/// The stretches, in milliseconds, and for how long those of each are kept.
pub const STEPS: [(i64, i64); 3] = [(10_000, DAY_MS), (300_000, 31 * DAY_MS), (3_600_000, 2 * 366 * DAY_MS)];

const DAY_MS: i64 = 86_400_000;

/// Stretches that one reading of the file gives at most.
const MOST: i64 = 10_000;

/// How the server was at one moment; or over a stretch, on average.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// When, in milliseconds since 1970; of a stretch its beginning.
    pub time_ms: i64,
    /// Who watches.
    pub viewers: f64,
    /// Paths that show something.
    pub cameras_active: f64,
    /// What comes from cameras.
    pub received_bps: f64,
    /// What goes to viewers.
    pub sent_bps: f64,
    /// Of one core.
    pub cpu_percent: f64,
    /// In use.
    pub memory_bytes: f64,
    /// Facts a minute.
    pub events_per_minute: f64,
}

/// The table. Clones share it.
#[derive(Clone, Debug)]
pub struct FigureHistory(pub(super) Database);

impl FigureHistory {
    /// Adds a sample, and lets go of what is too old.
    ///
    /// # Errors
    /// The disk; the sample is lost.
    pub async fn add(&self, sample: Figures) -> Result<()> {
        self.0
            .write(move |connection| {
                let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
                for (step_ms, kept_ms) in STEPS {
                    transaction
                        .prepare_cached(
                            "INSERT INTO figures VALUES (?1, ?2, 1, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
                             ON CONFLICT DO UPDATE SET
                                samples = samples + 1,
                                viewers = viewers + excluded.viewers,
                                cameras_active = cameras_active + excluded.cameras_active,
                                received_bps = received_bps + excluded.received_bps,
                                sent_bps = sent_bps + excluded.sent_bps,
                                cpu_percent = cpu_percent + excluded.cpu_percent,
                                memory_bytes = memory_bytes + excluded.memory_bytes,
                                events_per_minute = events_per_minute + excluded.events_per_minute",
                        )?
                        .execute(params![
                            step_ms,
                            sample.time_ms.div_euclid(step_ms) * step_ms,
                            sample.viewers,
                            sample.cameras_active,
                            sample.received_bps,
                            sample.sent_bps,
                            sample.cpu_percent,
                            sample.memory_bytes,
                            sample.events_per_minute,
                        ])?;
                    transaction
                        .prepare_cached("DELETE FROM figures WHERE step_ms = ?1 AND start_ms < ?2")?
                        .execute(params![step_ms, sample.time_ms - kept_ms])?;
                }
                transaction.commit()
            })
            .await
    }

    /// The stretches of `step_ms`, one of [`STEPS`], that begin in `from_ms..to_ms`, the oldest first.
    ///
    /// # Errors
    /// The disk.
    pub async fn read(&self, step_ms: i64, from_ms: i64, to_ms: i64) -> Result<Vec<Figures>> {
        self.0
            .read(move |connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT start_ms, samples, viewers, cameras_active, received_bps, sent_bps, cpu_percent,
                        memory_bytes, events_per_minute
                     FROM figures WHERE step_ms = ?1 AND start_ms >= ?2 AND start_ms < ?3 ORDER BY start_ms LIMIT ?4",
                )?;
                statement.query_map(params![step_ms, from_ms, to_ms, MOST], average)?.collect()
            })
            .await
    }
}

fn average(row: &Row<'_>) -> rusqlite::Result<Figures> {
    let samples: f64 = row.get::<_, i64>(1)? as f64;
    let of = |column| row.get::<_, f64>(column).map(|sum| sum / samples);
    Ok(Figures {
        time_ms: row.get(0)?,
        viewers: of(2)?,
        cameras_active: of(3)?,
        received_bps: of(4)?,
        sent_bps: of(5)?,
        cpu_percent: of(6)?,
        memory_bytes: of(7)?,
        events_per_minute: of(8)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{base::Clock, store::Store};

    #[tokio::test]
    async fn samples_are_averaged_by_stretch_gaps_stay_and_old_ones_go() {
        let directory = tempfile::tempdir().unwrap();
        let history = Store::open(directory.path(), Clock).await.0.figures();
        let sample = |time_ms, viewers| Figures { time_ms, viewers, cpu_percent: 2.0, ..Figures::default() };
        for (time_ms, viewers) in [(0, 1.0), (4_000, 3.0), (9_999, 2.0), (40_000, 10.0)] {
            history.add(sample(time_ms, viewers)).await.unwrap();
        }
        let shown = |rows: Vec<Figures>| rows.iter().map(|row| (row.time_ms, row.viewers)).collect::<Vec<_>>();
        assert_eq!(shown(history.read(10_000, 0, 100_000).await.unwrap()), [(0, 2.0), (40_000, 10.0)]);
        assert_eq!(shown(history.read(10_000, 10_000, 40_000).await.unwrap()), []);
        assert_eq!(shown(history.read(300_000, 0, 100_000).await.unwrap()), [(0, 4.0)]);
        assert_eq!(history.read(3_600_000, 0, 1).await.unwrap()[0].cpu_percent, 2.0);
        history.add(sample(DAY_MS + 20_000, 5.0)).await.unwrap();
        assert_eq!(shown(history.read(10_000, 0, 2 * DAY_MS).await.unwrap()), [(40_000, 10.0), (DAY_MS + 20_000, 5.0)]);
    }
}
