//! Tests of the room as a whole: a server with one path, its source in the hands of the test.

mod claims;
mod clients;
mod datagrams;
mod dialogue;
mod film;
mod logins;
mod rig;
mod slow;
mod wrapped;
