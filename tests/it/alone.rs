//! What runs one test at a time: what measures time, and what drives a browser. `scripts/test` gives these a thread of
//! their own after everything else.

mod browser;
mod gates;
mod lag;
mod logins;
mod whep_browser;
mod whep_turn;
mod whep_weather;
mod ws_browser;
