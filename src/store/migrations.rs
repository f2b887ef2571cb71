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

/// Of `history.db`.
pub(super) const HISTORY: &[Migration] = &[];
