//! Viewers that connect and leave, over and over: what of each stays behind in the server.

use std::{collections::BTreeMap, fmt, io, time::Duration};

use serde::Serialize;

use crate::{
    clients::{Kind, until},
    clock, measure,
    process::Usage,
    report::{Start, row},
    shared::scratch,
};

/// Before the first figures are taken: the server's pools are full by then.
const WARM_UP: usize = 400;
/// How often the server is looked at.
const LOOKS: usize = 8;
/// Before it is looked at: what the last viewers left is tidied up by then.
const SETTLING: Duration = Duration::from_secs(2);

/// What `cycles` reports.
#[derive(Debug, Serialize)]
pub(crate) struct CyclesReport {
    pub(crate) url: String,
    pub(crate) cycles: usize,
    pub(crate) at_once: usize,
    pub(crate) seconds: f64,
    pub(crate) start: Start,
    pub(crate) looks: Vec<Look>,
    /// From the first look to the last.
    pub(crate) grown_bytes: i64,
    pub(crate) grown_descriptors: i64,
    pub(crate) errors: BTreeMap<String, u64>,
}

/// The server after so many cycles.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Look {
    pub(crate) cycles: usize,
    pub(crate) own_bytes: u64,
    pub(crate) descriptors: u64,
}

/// How it is done.
#[derive(Clone, Debug)]
pub(crate) struct CyclesOptions {
    pub(crate) cycles: usize,
    pub(crate) at_once: usize,
    pub(crate) pids: Vec<u32>,
}

/// `at_once` viewers at a time, each until it plays; then they leave and the next ones come.
///
/// # Errors
/// When no runtime can be had, or a process not be read.
pub(crate) fn run(kind: &Kind, url: &str, options: &CyclesOptions) -> io::Result<CyclesReport> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    let (mut counters, mut errors, mut looks) = (Vec::new(), BTreeMap::new(), Vec::new());
    let mut seconds = 0.0;
    let at_once = options.at_once.max(1);
    local.block_on(&runtime, async {
        let scratch = scratch();
        for share in 0..=LOOKS {
            let count = if share == 0 { WARM_UP } else { options.cycles.div_ceil(LOOKS) };
            let began = clock::now();
            for _ in 0..count.div_ceil(at_once) {
                let viewers =
                    (0..at_once).map(|_| until(kind, &scratch, |one| &one.playing_us, Duration::from_secs(20)));
                for (one, error) in join_all(viewers).await {
                    if let Some(error) = error {
                        *errors.entry(error).or_insert(0) += 1;
                    }
                    counters.push(one);
                }
            }
            if share > 0 {
                seconds += began.elapsed().as_secs_f64();
            }
            tokio::time::sleep(SETTLING).await;
            let (usage, descriptors) = (Usage::of(&options.pids)?, Usage::descriptors(&options.pids)?);
            looks.push(Look { cycles: share * options.cycles / LOOKS, own_bytes: usage.own_bytes, descriptors });
        }
        Ok::<_, io::Error>(())
    })?;
    let difference = |value: fn(&Look) -> u64| {
        let [first, last] = [looks.first(), looks.last()].map(|look| look.map_or(0, value) as i64);
        last - first
    };
    Ok(CyclesReport {
        url: url.to_owned(),
        cycles: options.cycles,
        at_once,
        seconds,
        start: measure::start(&counters),
        grown_bytes: difference(|look| look.own_bytes),
        grown_descriptors: difference(|look| look.descriptors),
        looks,
        errors,
    })
}

/// All of them, side by side on this thread.
async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut waiting: Vec<_> = futures.map(Box::pin).collect();
    let mut done: Vec<Option<F::Output>> = waiting.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, done) in waiting.iter_mut().zip(&mut done) {
            if done.is_none()
                && let std::task::Poll::Ready(output) = future.as_mut().poll(context)
            {
                *done = Some(output);
            }
        }
        if done.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}

impl fmt::Display for CyclesReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        row(f, "target", &self.url)?;
        let rate = self.cycles as f64 / self.seconds.max(f64::MIN_POSITIVE);
        row(f, "cycles", format_args!("{}, {} at once, {rate:.0} a second", self.cycles, self.at_once))?;
        row(f, "playing, ms", self.start.playing_ms)?;
        for look in &self.looks {
            let mb = look.own_bytes as f64 / 1e6;
            row(f, "after", format_args!("{}: {mb:.2} MB, {} descriptors", look.cycles, look.descriptors))?;
        }
        let kb = self.grown_bytes as f64 / 1e3;
        row(f, "grown", format_args!("{kb:.0} KB, {} descriptors", self.grown_descriptors))?;
        for (error, count) in &self.errors {
            row(f, "error", format_args!("{count} × {error}"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_are_waited_for_and_keep_their_order() {
        let futures = [3_u64, 1, 2].map(|ms| async move {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            ms
        });
        assert_eq!(join_all(futures.into_iter()).await, [3, 1, 2]);
    }
}
