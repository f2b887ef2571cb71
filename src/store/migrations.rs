//! The shapes of the files by version: numbered by their place in the list, forward only. A step that was shipped is
//! never changed; the next change is a new step at the end.

/// One step: what makes version `n` of version `n - 1`.
pub(super) type Migration = &'static str;

/// Of `facts.db`.
pub(super) const FACTS: &[Migration] = &[
    // `body` is the envelope as it goes over the wire; the columns before it are what filters look at.
    "CREATE TABLE facts (
        offset INTEGER PRIMARY KEY,
        time_ms INTEGER NOT NULL,
        type TEXT NOT NULL,
        name TEXT NOT NULL,
        path TEXT,
        sensor TEXT,
        severity TEXT,
        body TEXT NOT NULL
    ) STRICT;
    CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;",
];

/// Of `documents.db`.
pub(super) const DOCUMENTS: &[Migration] = &["CREATE TABLE documents (
        collection TEXT NOT NULL,
        key TEXT NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (collection, key)
    ) STRICT, WITHOUT ROWID;"];

/// Of `history.db`.
pub(super) const HISTORY: &[Migration] = &[
    // Sums over a stretch, and of how many samples.
    "CREATE TABLE figures (
        step_ms INTEGER NOT NULL,
        start_ms INTEGER NOT NULL,
        samples INTEGER NOT NULL,
        viewers REAL NOT NULL,
        cameras_active REAL NOT NULL,
        received_bps REAL NOT NULL,
        sent_bps REAL NOT NULL,
        cpu_percent REAL NOT NULL,
        memory_bytes REAL NOT NULL,
        events_per_minute REAL NOT NULL,
        PRIMARY KEY (step_ms, start_ms)
    ) STRICT, WITHOUT ROWID;",
    // `sums` has one row by step, sensor and stretch: what is asked for lies side by side.
    "CREATE TABLE sensors (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE) STRICT;
    CREATE TABLE readings (
        sensor INTEGER NOT NULL,
        time_ms INTEGER NOT NULL,
        value REAL NOT NULL,
        PRIMARY KEY (sensor, time_ms)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE sums (
        step_ms INTEGER NOT NULL,
        sensor INTEGER NOT NULL,
        start_ms INTEGER NOT NULL,
        min REAL NOT NULL,
        max REAL NOT NULL,
        sum REAL NOT NULL,
        count INTEGER NOT NULL,
        PRIMARY KEY (step_ms, sensor, start_ms)
    ) STRICT, WITHOUT ROWID;",
];
