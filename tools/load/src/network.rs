//! A bad network before a server, for figures over loss and narrow lines: the proxy of the tests, on its own.

use std::{io, net::SocketAddr, time::Duration};

use serde::Serialize;
use tokio::io::AsyncReadExt as _;

#[expect(dead_code, unreachable_pub, clippy::unwrap_used, reason = "it is the tests' own, of which this needs a part")]
#[path = "../../../tests/it/support/bad_network.rs"]
mod bad_network;

use bad_network::{BadNetwork, Weather};

/// What the network does.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct NetworkOptions {
    /// The address datagrams are passed on to.
    #[arg(long, value_name = "ADDRESS")]
    to: SocketAddr,
    /// The share of datagrams lost in each direction, in per cent.
    #[arg(long, default_value_t = 0.0, value_name = "PERCENT")]
    loss: f64,
    /// What every datagram waits, in milliseconds.
    #[arg(long, default_value_t = 0, value_name = "MS")]
    delay: u64,
    /// What it waits beyond that, at random.
    #[arg(long, default_value_t = 0, value_name = "MS")]
    jitter: u64,
    /// Bits a second that pass in each direction; what finds a queue of a fifth of a second is lost.
    #[arg(long, value_name = "BITS")]
    rate: Option<u64>,
    /// Chooses which datagrams are lost.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Where the network is entered.
#[derive(Debug, Serialize)]
pub(crate) struct Entry {
    address: SocketAddr,
}

impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.address)
    }
}

/// Carries datagrams until standard input ends; `show` is told where to.
///
/// # Errors
/// When no runtime can be had, or what `show` says.
pub(crate) fn run(options: NetworkOptions, show: impl FnOnce(&Entry) -> Result<(), String>) -> Result<(), String> {
    let text = |error: io::Error| error.to_string();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(text)?;
    let weather = Weather {
        loss: options.loss / 100.0,
        delay: Duration::from_millis(options.delay),
        jitter: Duration::from_millis(options.jitter),
        rate: options.rate,
    };
    runtime.block_on(async {
        let network = BadNetwork::before(options.to, weather, options.seed).await;
        show(&Entry { address: network.address })?;
        let mut nothing = [0; 64];
        let mut input = tokio::io::stdin();
        while matches!(input.read(&mut nothing).await, Ok(1..)) {}
        Ok(())
    })
}
