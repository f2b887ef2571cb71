//! Deciding: what a request for a part of HLS costs before anything is looked up, when its credential was shown before.
//!
//! The claim it shows: at most 5 µs, for a token and for a password (`alone::gates` of the integration tests holds it).

#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

#[path = "stage/login.rs"]
mod login;

use divan::Bencher;
use login::Login;

fn main() {
    divan::main();
}

fn login() -> Login {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(Login::new())
}

#[divan::bench]
fn token_shown_before(bencher: Bencher<'_, '_>) {
    let login = login();
    bencher.bench(|| login.decide(&login.token));
}

#[divan::bench]
fn password_shown_before(bencher: Bencher<'_, '_>) {
    let login = login();
    bencher.bench(|| login.decide(&login.password));
}
