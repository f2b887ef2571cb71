//! The edge between publishing, reading and waking, over many interleavings: no stroke is ever slept through.
//!
//! The file of the house is compiled here once more, with the model's locks in place of the real ones.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../src/hub/bell.rs"]
#[expect(dead_code, reason = "the model uses the edge alone")]
mod bell;

mod sync {
    pub(super) use shuttle::sync::{Arc, Mutex, MutexGuard};

    pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

use bell::{Bell, Listener};
use shuttle::{check_pct, check_random, future, thread};
use sync::{Arc, Mutex, lock};

/// Interleavings per test.
const RUNS: usize = 1500;

fn publish_and_read(readers: usize, units: usize) {
    let (bell, ring) = (Bell::new(), Arc::new(Mutex::new(0)));
    let reading: Vec<_> = (0..readers)
        .map(|_| {
            let (bell, ring) = (bell.clone(), ring.clone());
            thread::spawn(move || {
                future::block_on(async move {
                    let mut listener = Listener::new(bell);
                    loop {
                        listener.arm();
                        if *lock(&ring) == units {
                            return;
                        }
                        listener.heard().await;
                    }
                });
            })
        })
        .collect();
    for _ in 0..units {
        *lock(&ring) += 1;
        bell.strike();
    }
    for reader in reading {
        reader.join().unwrap();
    }
    assert!(!bell.has_listeners());
}

#[test]
fn no_reader_sleeps_through_a_stroke() {
    check_random(|| publish_and_read(2, 3), RUNS);
    check_pct(|| publish_and_read(2, 2), RUNS, 3);
}

#[test]
fn a_closed_bell_lets_nobody_sleep() {
    let model = || {
        let bell = Bell::new();
        let sleeper = {
            let bell = bell.clone();
            thread::spawn(move || future::block_on(async move { Listener::new(bell).heard().await }))
        };
        bell.close();
        sleeper.join().unwrap();
    };
    check_random(model, RUNS);
}

#[test]
fn a_listener_that_leaves_in_the_middle_takes_nobody_with_it() {
    let model = || {
        let bell = Bell::new();
        let leaving = {
            let bell = bell.clone();
            thread::spawn(move || {
                let listener = Listener::new(bell);
                future::block_on(std::future::poll_fn(|cx| {
                    let _ = listener.poll_heard(cx);
                    std::task::Poll::Ready(())
                }));
            })
        };
        let staying = thread::spawn(move || {
            let listener = Listener::new(bell.clone());
            bell.strike();
            future::block_on(listener.heard());
        });
        leaving.join().unwrap();
        staying.join().unwrap();
    };
    check_random(model, RUNS);
}
