//! What sensors read over time: every reading for a week, and its minimum, maximum, sum and count by 10 seconds, 5
//! minutes and an hour for longer. The three are kept up with every reading, so that a month is read in milliseconds.
//!
//! Times are milliseconds since 1970. A stretch without a reading has no row: a gap stays one.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::database::Database;
use crate::base::Result;

/// Readings over time. Clones share the file.
#[derive(Clone, Debug)]
pub struct Readings {
    database: Database,
}

/// A reading to be kept.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadingRow {
    /// The sensor's id.
    pub sensor: String,
    /// When.
    pub time_ms: i64,
    /// What: yes is 1 and no is 0.
    pub value: f64,
}

/// The readings of a stretch of time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// Where it begins.
    pub start_ms: i64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// All together.
    pub sum: f64,
    /// How many.
    pub count: u64,
}

const SECOND: i64 = 1_000;
const DAY: i64 = 86_400 * SECOND;

/// How finely readings are summed up, and for how long that is kept.
const STEPS: [(i64, i64); 3] = [(10 * SECOND, 7 * DAY), (300 * SECOND, 90 * DAY), (3_600 * SECOND, 5 * 365 * DAY)];
/// How long every single reading is kept. One that is older when it comes is not kept at all: that it was there before
/// could not be told.
pub const SINGLE_FOR_MS: i64 = 7 * DAY;
/// While the file is larger, single readings are kept for a day.
const SIZE_MAX: i64 = 2 << 30;

impl Readings {
    pub(super) const fn new(database: Database) -> Self {
        Self { database }
    }

    /// Keeps readings. One of a sensor and a time that are there already changes nothing.
    ///
    /// # Errors
    /// As every write to the store.
    pub async fn record(&self, rows: Vec<ReadingRow>, now_ms: i64) -> Result<()> {
        self.database.write(move |connection| record(connection, &rows, now_ms)).await
    }

    /// The readings of a sensor from `from_ms` until before `to_ms`, summed up by `step_ms`, and the step that was
    /// used: at least the one asked for, and one that what is kept can serve. At most `most` buckets.
    ///
    /// # Errors
    /// As every read of the store.
    pub async fn summed_up(
        &self,
        sensor: String,
        (from_ms, to_ms): (i64, i64),
        step_ms: i64,
        now_ms: i64,
        most: usize,
    ) -> Result<(i64, Vec<Bucket>)> {
        let (kept, step_ms) = serving(step_ms, now_ms - from_ms);
        let buckets =
            self.database.read(move |connection| summed_up(connection, &sensor, (from_ms, to_ms), kept, step_ms, most));
        Ok((step_ms, buckets.await?))
    }

    /// Takes away what is too old.
    ///
    /// # Errors
    /// As every write to the store.
    pub async fn retain(&self, now_ms: i64) -> Result<()> {
        self.database.write(move |connection| retain(connection, now_ms)).await
    }
}

/// Which of what is kept serves a step (none: single readings), and the step it can serve.
fn serving(step_ms: i64, age_ms: i64) -> (Option<i64>, i64) {
    let step_ms = step_ms.max(1);
    if step_ms < STEPS[0].0 && age_ms <= SINGLE_FOR_MS {
        return (None, step_ms);
    }
    let fitting = |(kept, for_ms): &&(i64, i64)| *kept <= step_ms && age_ms <= *for_ms;
    let coarse_enough = || STEPS.iter().find(|(_, for_ms)| age_ms <= *for_ms).unwrap_or(&STEPS[STEPS.len() - 1]);
    let (kept, _) = STEPS.iter().rev().find(fitting).unwrap_or_else(coarse_enough);
    (Some(*kept), (step_ms + kept - 1) / kept * kept)
}

fn record(connection: &mut Connection, rows: &[ReadingRow], now_ms: i64) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    let mut sums: BTreeMap<(i64, i64, i64), Bucket> = BTreeMap::new();
    {
        let mut known = transaction.prepare_cached("SELECT number FROM sensors WHERE id = ?1")?;
        let mut make = transaction.prepare_cached("INSERT INTO sensors (id) VALUES (?1)")?;
        let mut keep = transaction
            .prepare_cached("INSERT OR IGNORE INTO readings (sensor, time_ms, value) VALUES (?1, ?2, ?3)")?;
        for row in rows.iter().filter(|row| row.time_ms > now_ms - SINGLE_FOR_MS && row.value.is_finite()) {
            let number: Option<i64> = known.query_row([&row.sensor], |found| found.get(0)).optional()?;
            let number = match number {
                Some(number) => number,
                None => make.insert([&row.sensor])?,
            };
            if keep.execute(params![number, row.time_ms, row.value])? == 0 {
                continue;
            }
            for (step, _) in STEPS {
                let start_ms = row.time_ms.div_euclid(step) * step;
                let first = Bucket { start_ms, min: row.value, max: row.value, sum: 0.0, count: 0 };
                let bucket = sums.entry((step, number, start_ms)).or_insert(first);
                bucket.min = bucket.min.min(row.value);
                bucket.max = bucket.max.max(row.value);
                bucket.sum += row.value;
                bucket.count += 1;
            }
        }
        let mut add = transaction.prepare_cached(
            "INSERT INTO sums (step_ms, sensor, start_ms, min, max, sum, count) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT DO UPDATE SET min = min(min, excluded.min), max = max(max, excluded.max),
                 sum = sum + excluded.sum, count = count + excluded.count",
        )?;
        for ((step, number, start), bucket) in &sums {
            add.execute(params![step, number, start, bucket.min, bucket.max, bucket.sum, bucket.count as i64])?;
        }
    }
    transaction.commit()
}

fn summed_up(
    connection: &Connection,
    sensor: &str,
    (from_ms, to_ms): (i64, i64),
    kept: Option<i64>,
    step_ms: i64,
    most: usize,
) -> rusqlite::Result<Vec<Bucket>> {
    let mut known = connection.prepare_cached("SELECT number FROM sensors WHERE id = ?1")?;
    let Some(number): Option<i64> = known.query_row([sensor], |found| found.get(0)).optional()? else {
        return Ok(Vec::new());
    };
    let bucket = |row: &rusqlite::Row<'_>| {
        let count: i64 = row.get(4)?;
        Ok(Bucket {
            start_ms: row.get(0)?,
            min: row.get(1)?,
            max: row.get(2)?,
            sum: row.get(3)?,
            count: count.unsigned_abs(),
        })
    };
    // A bucket belongs to the stretch in which it begins.
    let from_ms = from_ms.div_euclid(step_ms) * step_ms;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    match kept {
        None => connection
            .prepare_cached(
                "SELECT time_ms / ?4 * ?4 AS start, min(value), max(value), sum(value), count(*) FROM readings
                 WHERE sensor = ?1 AND time_ms >= ?2 AND time_ms < ?3 GROUP BY start ORDER BY start LIMIT ?5",
            )?
            .query_map(params![number, from_ms, to_ms, step_ms, most], bucket)?
            .collect(),
        Some(kept) => connection
            .prepare_cached(
                "SELECT start_ms / ?4 * ?4 AS start, min(min), max(max), sum(sum), sum(count) FROM sums
                 WHERE step_ms = ?6 AND sensor = ?1 AND start_ms >= ?2 AND start_ms < ?3
                 GROUP BY start ORDER BY start LIMIT ?5",
            )?
            .query_map(params![number, from_ms, to_ms, step_ms, most, kept], bucket)?
            .collect(),
    }
}

fn retain(connection: &mut Connection, now_ms: i64) -> rusqlite::Result<()> {
    let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
    let page: i64 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
    let single = if pages.saturating_mul(page) > SIZE_MAX { DAY } else { SINGLE_FOR_MS };
    let numbers: Vec<i64> = connection
        .prepare_cached("SELECT number FROM sensors")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for number in numbers {
        // A sensor at a time: nobody waits for long.
        let transaction = connection.transaction()?;
        transaction
            .prepare_cached("DELETE FROM readings WHERE sensor = ?1 AND time_ms < ?2")?
            .execute(params![number, now_ms - single])?;
        for (step, for_ms) in STEPS {
            transaction
                .prepare_cached("DELETE FROM sums WHERE step_ms = ?1 AND sensor = ?2 AND start_ms < ?3")?
                .execute(params![step, number, now_ms - for_ms])?;
        }
        transaction
            .prepare_cached(
                "DELETE FROM sensors WHERE number = ?1 AND NOT EXISTS (
                     SELECT 1 FROM sums WHERE step_ms = 3600000 AND sensor = ?1)",
            )?
            .execute([number])?;
        transaction.commit()?;
    }
    // A PRAGMA that gives rows back.
    connection.prepare("PRAGMA incremental_vacuum(1000)")?.query([])?.next().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{base::Clock, store::Store};

    const NOW: i64 = 1_795_169_700_000;

    async fn readings() -> (Readings, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let (store, incidents) = Store::open(folder.path(), Clock).await;
        assert!(incidents.is_empty(), "{incidents:?}");
        (store.readings(), folder)
    }

    fn row(ago_ms: i64, value: f64) -> ReadingRow {
        ReadingRow { sensor: "cellar".into(), time_ms: NOW - ago_ms, value }
    }

    async fn all(readings: &Readings, step_ms: i64, from_ms: i64) -> (i64, Vec<Bucket>) {
        readings.summed_up("cellar".into(), (from_ms, NOW + 1), step_ms, NOW, 10_000).await.unwrap()
    }

    #[tokio::test]
    async fn readings_are_summed_up_and_gaps_stay_gaps() {
        let (readings, _folder) = readings().await;
        let rows = vec![row(25_000, 1.0), row(21_000, 3.0), row(0, 5.0), row(400_000, 2.0)];
        readings.record(rows, NOW).await.unwrap();
        readings.record(vec![row(25_000, 9.0), row(24_000, 2.0)], NOW).await.unwrap();
        let (step, buckets) = all(&readings, 10_000, NOW - 60_000).await;
        let told: Vec<_> = buckets.iter().map(|b| ((b.start_ms - NOW) / 1000, b.min, b.max, b.sum, b.count)).collect();
        assert_eq!(
            (step, told),
            (10_000, vec![(-30, 1.0, 3.0, 6.0, 3), (0, 5.0, 5.0, 5.0, 1)]),
            "a repetition counts once"
        );
        let (step, buckets) = all(&readings, 1, NOW - 60_000).await;
        assert_eq!((step, buckets.len()), (1, 4), "single readings");
        let (step, buckets) = all(&readings, 200_000, NOW - 600_000).await;
        assert_eq!((step, buckets.iter().map(|b| b.count).sum::<u64>()), (200_000, 5));
        let (_, none) = readings.summed_up("other".into(), (0, NOW), 1, NOW, 10).await.unwrap();
        assert!(none.is_empty());
    }

    #[tokio::test]
    async fn old_readings_leave_their_sums_and_the_oldest_leave_nothing() {
        let (readings, _folder) = readings().await;
        readings.record(vec![row(0, 1.0)], NOW).await.unwrap();
        let later = NOW + 8 * DAY;
        readings.retain(later).await.unwrap();
        let (step, buckets) = readings.summed_up("cellar".into(), (NOW - DAY, later), 10_000, later, 10).await.unwrap();
        assert_eq!((step, buckets.len()), (300_000, 1), "ten seconds are gone, five minutes are there");
        readings.record(vec![ReadingRow { sensor: "late".into(), ..row(0, 1.0) }], later).await.unwrap();
        let (_, late) = readings.summed_up("late".into(), (0, later), 3_600_000, later, 10).await.unwrap();
        assert!(late.is_empty(), "what is older than single readings are kept is not kept");
        readings.retain(NOW + 6 * 365 * DAY).await.unwrap();
        let (_, gone) = readings.summed_up("cellar".into(), (0, later), 3_600_000, later, 10).await.unwrap();
        assert!(gone.is_empty());
    }

    #[test]
    fn a_step_is_served_by_what_divides_it_and_is_still_there() {
        let table = [
            (1_000, DAY, (None, 1_000)),
            (1_000, 8 * DAY, (Some(300_000), 300_000)),
            (15_000, DAY, (Some(10_000), 20_000)),
            (600_000, DAY, (Some(300_000), 600_000)),
            (400_000, DAY, (Some(300_000), 600_000)),
            (3_600_000, 30 * DAY, (Some(3_600_000), 3_600_000)),
            (10_000, 400 * DAY, (Some(3_600_000), 3_600_000)),
            (10_000, 9_999 * DAY, (Some(3_600_000), 3_600_000)),
        ];
        for (step, age, served) in table {
            assert_eq!(serving(step, age), served, "{step} {age}");
        }
    }
}
