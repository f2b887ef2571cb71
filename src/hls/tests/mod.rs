//! Tests of the room as a whole: playlists over simulated hours, and what requests wait for.

mod hours;
mod linter;
mod waits;
