//! The history of a sensor that reads every five seconds: what a month of it costs to ask for. The gate is 50 ms.

#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::sync::LazyLock;

use campanile::{
    base::Clock,
    store::{ReadingRow, Readings, Store},
};
use divan::Bencher;
use tempfile::TempDir;
use tokio::runtime::Runtime;

fn main() {
    divan::main();
}

const DAY_MS: i64 = 86_400_000;
const NOW_MS: i64 = 1_795_169_700_000;

struct Kept {
    runtime: Runtime,
    readings: Readings,
    _folder: TempDir,
}

/// Thirty days, written as they would have come.
static KEPT: LazyLock<Kept> = LazyLock::new(|| {
    let (runtime, folder) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let readings = runtime.block_on(async {
        let (store, _) = Store::open(folder.path(), Clock).await;
        let readings = store.readings();
        for day in (0..30).rev() {
            let end = NOW_MS - day * DAY_MS;
            let row = |at: i64| ReadingRow {
                sensor: "cellar".into(),
                time_ms: end - at * 5_000,
                value: 20.0 + (at % 100) as f64 / 10.0,
            };
            readings.record((0..17_280).map(row).collect(), end).await.unwrap();
        }
        readings
    });
    Kept { runtime, readings, _folder: folder }
});

fn ask(bencher: Bencher<'_, '_>, days: i64, step_ms: i64, least: usize) {
    let kept = &*KEPT;
    bencher.bench(|| {
        let span = (NOW_MS - days * DAY_MS, NOW_MS);
        let asked = kept.readings.summed_up("cellar".into(), span, step_ms, NOW_MS, 100_000);
        let (_, buckets) = kept.runtime.block_on(asked).unwrap();
        assert!(buckets.len() >= least, "{}", buckets.len());
    });
}

#[divan::bench]
fn a_month_by_the_hour(bencher: Bencher<'_, '_>) {
    ask(bencher, 30, 3_600_000, 700);
}

#[divan::bench]
fn a_month_by_five_minutes(bencher: Bencher<'_, '_>) {
    ask(bencher, 30, 300_000, 8_000);
}

#[divan::bench]
fn a_day_by_ten_seconds(bencher: Bencher<'_, '_>) {
    ask(bencher, 1, 10_000, 8_000);
}
