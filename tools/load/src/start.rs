//! Time to the first picture: viewers that join alone, one after another, at moments spread over the GOP.

use std::{collections::BTreeMap, fmt, io, time::Duration};

use rand::RngExt as _;
use serde::Serialize;

use crate::{
    clients::{Kind, first_picture},
    measure,
    report::{Start, row},
    shared::scratch,
};

/// What `start` reports.
#[derive(Debug, Serialize)]
pub(crate) struct StartReport {
    pub(crate) url: String,
    pub(crate) joins: usize,
    pub(crate) start: Start,
    pub(crate) errors: BTreeMap<String, u64>,
}

/// `pause`: the longest wait between two joins; every wait is random up to it, so that joins meet the GOP anywhere.
///
/// # Errors
/// When no runtime can be had.
pub(crate) fn run(
    kind: &Kind,
    url: &str,
    joins: usize,
    pause: Duration,
    patience: Duration,
) -> io::Result<StartReport> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    let (mut counters, mut errors) = (Vec::new(), BTreeMap::new());
    local.block_on(&runtime, async {
        let scratch = scratch();
        for _ in 0..joins {
            tokio::time::sleep(pause.mul_f64(rand::rng().random_range(0.0..1.0))).await;
            let (one, error) = first_picture(kind, &scratch, patience).await;
            counters.push(one);
            if let Some(error) = error {
                *errors.entry(error).or_insert(0) += 1;
            }
        }
    });
    Ok(StartReport { url: url.to_owned(), joins, start: measure::start(&counters), errors })
}

impl fmt::Display for StartReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        row(f, "target", format_args!("{}, {} joins", self.url, self.joins))?;
        row(f, "playing, ms", self.start.playing_ms)?;
        row(f, "first media, ms", self.start.first_media_ms)?;
        row(f, "first key, ms", self.start.first_key_ms)?;
        row(f, "first picture, ms", self.start.first_picture_ms)?;
        for (error, count) in &self.errors {
            row(f, "error", format_args!("{count} × {error}"))?;
        }
        Ok(())
    }
}
