//! Tests of the room as a whole: playlists over simulated hours, and requests against running muxers.

mod hours;
mod linter;
