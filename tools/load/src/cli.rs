//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use url::Url;

use crate::{
    clients::Kind, hls::HlsOptions, measure::MeasureOptions, network::NetworkOptions, rtsp::RtspOptions,
    rtsp::Transport, whep::WhepOptions,
};

/// Loads a media server with viewers that count, and measures what that costs it.
#[derive(Debug, Parser)]
#[command(name = "campanile-load", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Print JSON instead of a table.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Write the JSON to this file too.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Readers over RTSP.
    Rtsp {
        #[command(flatten)]
        load: Load,
        /// How the packets travel.
        #[arg(long, value_enum, default_value = "tcp")]
        transport: Transport,
    },
    /// Viewers over Low-Latency HLS: blocking reloads, hinted parts, keep-alive connections.
    Hls {
        #[command(flatten)]
        load: Load,
        #[command(flatten)]
        hls: HlsChoices,
    },
    /// Viewers over WebRTC (WHEP), over UDP.
    Whep {
        #[command(flatten)]
        load: Load,
    },
    /// Followers of events over WebSocket, and somebody who posts events.
    Events {
        #[command(flatten)]
        load: Load,
        /// Where events are posted; `/api/v1/events` of the same server if absent.
        #[arg(long)]
        post: Option<Url>,
        /// Events posted in a second; with 0 the clients only sit there.
        #[arg(long, default_value_t = 10.0, value_name = "N")]
        rate: f64,
        /// Bytes of filling in each event.
        #[arg(long, default_value_t = 200, value_name = "BYTES")]
        padding: usize,
        /// Offer permessage-deflate.
        #[arg(long)]
        deflate: bool,
    },
    /// Pollers of one URL that ask again and again, each over a connection of its own.
    Poll {
        #[command(flatten)]
        load: Load,
        /// From one request of a poller to its next, in seconds.
        #[arg(long, default_value_t = 5.0, value_name = "S")]
        every: f64,
        /// Ask as if nothing were known: every answer is a whole one.
        #[arg(long)]
        no_etag: bool,
    },
    /// Joins alone, one after another, at random moments, and reports the time to the first picture.
    Start {
        /// rtsp:// or http:// (an HLS playlist, or a URL that ends in `/whep`).
        #[arg(long)]
        url: Url,
        #[arg(long, value_enum, default_value = "tcp")]
        transport: Transport,
        #[arg(long, default_value_t = 50)]
        joins: usize,
        /// The longest pause between two joins, in milliseconds; at least the GOP.
        #[arg(long, default_value_t = 2000, value_name = "MS")]
        pause: u64,
        /// How long a join may take, in seconds.
        #[arg(long, default_value_t = 20, value_name = "S")]
        patience: u64,
        #[command(flatten)]
        hls: HlsChoices,
    },
    /// Viewers that connect and leave, over and over, and what memory and descriptors that leaves in the server.
    Cycles {
        /// As in `start`.
        #[arg(long)]
        url: Url,
        #[arg(long, value_enum, default_value = "tcp")]
        transport: Transport,
        /// How many viewers, after a few hundred that warm the server up.
        #[arg(long, default_value_t = 1000, value_name = "N")]
        count: usize,
        /// How many at a time.
        #[arg(long, default_value_t = 4, value_name = "N")]
        at_once: usize,
        /// The server's process; may be given several times.
        #[arg(long, required = true)]
        pid: Vec<u32>,
        #[command(flatten)]
        hls: HlsChoices,
    },
    /// Passes UDP on to a server as a bad network does, until standard input ends; prints where it listens.
    Network {
        #[command(flatten)]
        network: NetworkOptions,
    },
    /// CPU and memory of a process over a window, without any load from here.
    Idle {
        /// The process; may be given several times.
        #[arg(long, required = true)]
        pid: Vec<u32>,
        /// The window, in seconds.
        #[arg(long, default_value_t = 20.0, value_name = "S")]
        seconds: f64,
    },
    /// Two runs against each other, in pairs; each side is a command line of `rtsp` or `hls` in quotes.
    Compare {
        #[arg(long, value_name = "ARGUMENTS")]
        a: String,
        #[arg(long, value_name = "ARGUMENTS")]
        b: String,
        #[arg(long, default_value_t = 6)]
        pairs: usize,
        /// Pairs of A against itself: their spread is the noise.
        #[arg(long, default_value_t = 2)]
        null_pairs: usize,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Load {
    /// What to play or follow: `rtsp://[user:password@]host:port/path`, `http://host:port/path/index.m3u8`,
    /// `http://host:port/path/whep`, `ws://host:port/ws/events`, or what is polled.
    #[arg(long)]
    pub(crate) url: Url,
    #[arg(long, default_value_t = 100, value_name = "N")]
    clients: usize,
    /// Threads of the generator; with one it can be pinned beside the server.
    #[arg(long, default_value_t = 1, value_name = "N")]
    threads: usize,
    /// The measured window, in seconds.
    #[arg(long, default_value_t = 20.0, value_name = "S")]
    seconds: f64,
    /// Between the last join and the window, in seconds.
    #[arg(long, default_value_t = 5.0, value_name = "S")]
    warmup: f64,
    /// Between two joins, in milliseconds.
    #[arg(long, default_value_t = 10.0, value_name = "MS")]
    ramp: f64,
    /// The server's process; may be given several times.
    #[arg(long)]
    pid: Vec<u32>,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct HlsChoices {
    /// Do not ask for hinted parts before they are listed.
    #[arg(long)]
    no_hints: bool,
    /// Do not accept gzip for playlists.
    #[arg(long)]
    no_gzip: bool,
    /// Do not ask for delta updates.
    #[arg(long)]
    no_delta: bool,
}

impl Load {
    pub(crate) fn options(&self) -> MeasureOptions {
        MeasureOptions {
            clients: self.clients,
            threads: self.threads,
            ramp: seconds(self.ramp / 1000.0),
            warmup: seconds(self.warmup),
            window: seconds(self.seconds),
            pids: self.pid.clone(),
        }
    }
}

impl HlsChoices {
    pub(crate) fn kind(self, url: &Url) -> Kind {
        let Self { no_hints, no_gzip, no_delta } = self;
        Kind::Hls(HlsOptions { url: url.clone(), hints: !no_hints, gzip: !no_gzip, delta: !no_delta })
    }
}

/// The kind of client that plays this URL.
pub(crate) fn kind_of(url: &Url, transport: Transport, hls: HlsChoices) -> Result<Kind, String> {
    match url.scheme() {
        "rtsp" => Ok(Kind::Rtsp(RtspOptions { url: url.clone(), transport })),
        "http" if url.path().ends_with("/whep") => Ok(Kind::Whep(WhepOptions { url: url.clone() })),
        "http" => Ok(hls.kind(url)),
        other => Err(format!("`{other}://` is not measured: rtsp:// or http:// is")),
    }
}

/// Where events are posted for followers at `url`.
pub(crate) fn post_url(url: &Url, post: Option<&Url>) -> Result<Url, String> {
    let post = post.cloned().or_else(|| {
        let http = url.as_str().strip_prefix("ws")?;
        let mut url = Url::parse(&format!("http{http}")).ok()?;
        url.set_path("/api/v1/events");
        url.set_query(None);
        Some(url)
    });
    post.filter(|url| url.scheme() == "http").ok_or_else(|| "followers have ws:// URLs, posts http:// ones".to_owned())
}

/// A duration from the command line; what is no time is none.
pub(crate) fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn events_are_posted_at_the_server_they_are_followed_at() {
        let url = Url::parse("ws://10.0.0.1:8080/ws/events?after=1-2").unwrap();
        assert_eq!(post_url(&url, None).unwrap().as_str(), "http://10.0.0.1:8080/api/v1/events");
        let other = Url::parse("http://10.0.0.2/pub").unwrap();
        assert_eq!(post_url(&url, Some(&other)).unwrap(), other);
        assert!(post_url(&other, None).is_err());
    }

    #[test]
    fn the_kind_follows_the_url() {
        let hls = HlsChoices { no_hints: false, no_gzip: true, no_delta: false };
        let kind = |url: &str| kind_of(&Url::parse(url).unwrap(), Transport::Udp, hls);
        assert!(matches!(kind("rtsp://x/y"), Ok(Kind::Rtsp(RtspOptions { transport: Transport::Udp, .. }))));
        assert!(matches!(kind("http://x/y.m3u8"), Ok(Kind::Hls(HlsOptions { gzip: false, hints: true, .. }))));
        assert!(matches!(kind("http://x/y/whep"), Ok(Kind::Whep(_))));
        assert!(kind("https://x/").is_err());
    }
}
