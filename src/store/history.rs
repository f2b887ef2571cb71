//! `history.db`: what was read and counted over time. Its tables come with the rooms that keep them.

use std::path::Path;

use super::{Incident, database::Database, file::FileSpec, migrations};
use crate::base::Clock;

/// Opens the file.
pub(super) async fn open(state_dir: &Path, clock: Clock) -> (Database, Vec<Incident>) {
    Database::open(spec(state_dir), clock).await
}

pub(super) fn spec(state_dir: &Path) -> FileSpec {
    FileSpec { path: state_dir.join("history.db"), name: "history.db", full: false, migrations: migrations::HISTORY }
}
