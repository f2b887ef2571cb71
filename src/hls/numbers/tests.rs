//! Tests of what outlives the process: restarts and kills over a store of files, pages of earlier versions, a store that
//! was damaged.

use std::path::Path;

use super::{book::FIRST, *};
use crate::{base::Rendition, cmaf::Selection, store::Store};

const GOP: Duration = Duration::from_secs(2);

fn key(path: &str) -> MuxerKey {
    MuxerKey { path: path.parse().unwrap(), rendition: Rendition::Main, selection: Selection::Muxed }
}

/// A run of the server: the store and the numbers over it.
struct Run {
    numbers: Numbers,
    tasks: Tasks,
}

impl Run {
    async fn begin(state: &Path) -> Self {
        let (store, _) = Store::open(state, Clock).await;
        let tasks = Tasks::new();
        let numbers = Numbers::new(store.documents().clone(), state.join("hls"), 2 * GOP, Clock, &tasks);
        Self { numbers, tasks }
    }

    /// A playlist begins, and makes so many segments.
    async fn play(&self, path: &str, segments: u64) -> Recalled {
        let recalled = self.numbers.open(&key(path), GOP).await;
        for next in 1..=segments {
            self.numbers.note(&key(path), recalled.next_sequence + next, recalled.discontinuity_sequence, GOP);
        }
        recalled
    }

    /// Everything that was begun is written.
    async fn end(self) {
        self.tasks.stop();
        assert_eq!(self.tasks.drained(Duration::from_secs(60)).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn numbers_go_on_where_they_ended_and_above_after_a_kill() {
    let state = tempfile::tempdir().unwrap();
    let run = Run::begin(state.path()).await;
    let first = run.play("site/gate", 10).await;
    assert_eq!((first.next_sequence, first.known), (FIRST, false));
    run.numbers.close(&key("site/gate"), FIRST + 10, 3);
    run.end().await;
    let run = Run::begin(state.path()).await;
    let second = run.play("site/gate", 700).await;
    assert_eq!((second.next_sequence, second.discontinuity_sequence, second.known), (FIRST + 10, 3, true));
    // Killed: nothing is closed; what was begun may be written or not.
    drop(run);
    let third = Run::begin(state.path()).await.play("site/gate", 0).await;
    assert!(third.next_sequence > second.next_sequence, "{third:?}");
    assert!(!Run::begin(state.path()).await.play("other", 0).await.known, "each path by itself");
}

#[tokio::test]
async fn a_page_of_an_earlier_version_is_taken_over_once() {
    let state = tempfile::tempdir().unwrap();
    let file = state.path().join("hls/site~gate.json");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let page =
        r#"{"version": 1, "discontinuity_sequence": 7, "longest_gop_ms": 10000, "next_sequence": {"main": 4711}}"#;
    fs::write(&file, page).unwrap();
    fs::write(file.with_file_name("torn.json"), "{\"version\": 1, \"disc").unwrap();
    let run = Run::begin(state.path()).await;
    let recalled = run.play("site/gate", 5).await;
    assert_eq!((recalled.next_sequence, recalled.discontinuity_sequence, recalled.known), (4711, 7, true));
    assert_eq!(recalled.target_duration, Duration::from_secs(10));
    assert!(!file.exists(), "it is in the store now");
    assert!(run.play("torn", 0).await.next_sequence > 1_000_000, "for the worst");
}

#[tokio::test]
async fn numbers_of_a_store_that_was_damaged_go_on_from_the_clock_for_ever() {
    let state = tempfile::tempdir().unwrap();
    let run = Run::begin(state.path()).await;
    run.play("cam", 100).await;
    run.end().await;
    let file = state.path().join("documents.db");
    // What is in the journal would mend it.
    let _ = fs::remove_file(state.path().join("documents.db-wal"));
    let length = fs::metadata(&file).unwrap().len() as usize;
    fs::write(&file, vec![0x5a; length.max(8192)]).unwrap();
    for (run, path) in [(1, "cam"), (2, "another"), (2, "cam")] {
        let recalled = Run::begin(state.path()).await.play(path, 0).await;
        assert!(recalled.known && recalled.next_sequence > 1_000_000, "run {run}, {path}: {recalled:?}");
    }
}
