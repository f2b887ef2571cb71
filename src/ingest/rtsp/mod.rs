//! Cameras over RTSP, pulled with `retina` and supervised: every step has a time-out, silence is seen, every way to fail
//! is named, and the camera is called again after a wait that grows.
//!
//! ```text
//! mod       the source: call, receive, say what is wrong, wait, call again     driver
//! session   URL → session that plays                                            driver
//! receive   items of a session → feed                                           driver
//! probe     one call, measured: what a camera sends                             driver
//! inquiry   a DESCRIBE of our own, to find out why                              driver
//! bridge    the way to cameras behind TLS, over UDP, and to those that err      driver
//! mender    what the bridge puts right                                          machine
//! datagrams media over UDP put in order, as if it came over TCP                 machine
//! guard     where a camera may stand that was named over the API                value
//! intake    packets and reports of a session → what the hub is told             machine
//! track     one track: packets → units with their times                         machine
//! form      how the packets of a track become units                             machine
//! alignment the tracks of a session on one timeline                             machine
//! ```
//!
//! Quirks of cameras and their cures: `docs/cameras.md`.

mod alignment;
mod bridge;
mod datagrams;
mod depacketizer;
mod failure;
mod form;
mod guard;
mod head;
mod hosts;
mod inquiry;
mod intake;
mod mender;
mod parameters;
pub mod probe;
mod receive;
mod sdp;
mod session;
mod tls;
mod track;

use std::{sync::atomic::Ordering, time::Duration};

use futures_util::future::BoxFuture;
use tokio::time::{sleep_until, timeout};
use url::Url;

use self::{
    bridge::Bridge,
    failure::Failure,
    receive::{Ended, Receiver},
    session::Call,
};
pub use self::{
    guard::{Forbidden, SourceGuard},
    hosts::CameraHosts,
};
use crate::{
    base::{
        Monotonic,
        backoff::{Backoff, BackoffPolicy},
        secret::without_passwords,
    },
    config::{CameraOptions, PathConfig, SourceTransport, StrayDataQuirk},
    hub::{Feed, Source},
};

/// How a camera is pulled.
#[derive(Clone, Debug)]
pub struct RtspSourceOptions {
    /// The camera, and how it is called.
    pub camera: CameraOptions,
    /// Silence after which it is called anew.
    pub reconnect_after: Duration,
    /// Waits between calls.
    pub backoff: BackoffPolicy,
    /// Judges where the camera stands; cameras of the file stand anywhere.
    pub guard: Option<SourceGuard>,
}

impl RtspSourceOptions {
    /// As a path of the configuration has it.
    pub fn new(camera: CameraOptions, path: &PathConfig) -> Self {
        Self { camera, reconnect_after: path.reconnect_after.duration(), backoff: path.backoff.policy(), guard: None }
    }
}

/// A camera that is pulled over RTSP.
#[derive(Clone, Debug)]
pub struct RtspSource {
    options: RtspSourceOptions,
    hosts: CameraHosts,
}

/// How long the goodbye to a camera may take; longer would delay the next call, or the end of the process.
const GOODBYE: Duration = Duration::from_secs(2);

/// Redirects that are followed in a row.
const REDIRECTS_MAX: u32 = 3;

impl RtspSource {
    /// A source; `hosts` is shared by all of them.
    pub fn new(mut options: RtspSourceOptions, hosts: CameraHosts) -> Self {
        // The URL is shown to people; a login belongs beside it.
        let url = &mut options.camera.url;
        let _ = url.set_username("");
        let _ = url.set_password(None);
        Self { options, hosts }
    }
}

impl Source for RtspSource {
    fn run(&self, feed: Feed) -> BoxFuture<'static, ()> {
        let puller = Puller {
            options: self.options.clone(),
            hosts: self.hosts.clone(),
            feed,
            redirected: None,
            mending: false,
            udp: false,
            failed_at: Monotonic::default(),
        };
        Box::pin(puller.run())
    }

    fn description(&self) -> String {
        without_passwords(self.options.camera.url.as_str())
    }
}

/// One run of the source.
struct Puller {
    options: RtspSourceOptions,
    hosts: CameraHosts,
    feed: Feed,
    /// Where the camera sent us, and how often in a row.
    redirected: Option<(Url, u32)>,
    /// Its answers could not be read: they are mended on their way.
    mending: bool,
    /// It refused TCP.
    udp: bool,
    failed_at: Monotonic,
}

impl Puller {
    async fn run(mut self) {
        if self.options.camera.url.scheme() == "rtsps" && self.options.camera.tls.insecure {
            tracing::warn!("any certificate is accepted (`tls.insecure`): whoever stands between can watch and change");
        }
        let mut backoff = Backoff::new(self.options.backoff);
        loop {
            let failure = match self.run_once(&mut backoff).await {
                Ended::Stopped => return,
                Ended::Failed(Failure::Redirect(Some(url))) if self.follow(&url) => continue,
                Ended::Failed(failure) if self.turns_to_udp(&failure) => continue,
                Ended::Failed(failure) => failure,
            };
            if matches!(failure, Failure::Redirect(Some(_))) {
                self.report(&Failure::TooManyRedirects).await;
            }
            // The way back to the camera begins where the configuration says.
            self.redirected = None;
            self.mending = self.mends_next(&failure);
            self.udp = false;
            let clock = self.feed.clock();
            let wait = backoff.failed(clock.now(), rand::random()).max(failure.least_wait());
            // The goodbye took its time, too.
            let next = clock.instant(self.failed_at + wait);
            let stopping = self.feed.stopping().clone();
            tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                () = sleep_until(next) => {}
            }
            self.feed.counters().reconnects.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Says what is wrong, at once: before the goodbye, and before the wait.
    async fn report(&mut self, failure: &Failure) {
        self.failed_at = self.feed.now();
        let stopping = self.feed.stopping().clone();
        tokio::select! {
            biased;
            () = stopping.cancelled() => {}
            () = self.feed.lost(failure.error(&self.options.camera.url), failure.outlook()) => {}
        }
    }

    /// Calls the camera and receives until that ends.
    async fn run_once(&mut self, backoff: &mut Backoff) -> Ended {
        let mut call = self.call();
        let stopping = self.feed.stopping().clone();
        if call.url.scheme() != "rtsps" && !self.mending && !call.udp {
            let pinned = tokio::select! {
                biased;
                () = stopping.cancelled() => return Ended::Stopped,
                pinned = call.pin() => pinned,
            };
            if let Err(failure) = pinned {
                self.report(&failure).await;
                return Ended::Failed(failure);
            }
            return self.converse(&call, backoff).await;
        }
        let opened = tokio::select! {
            biased;
            () = stopping.cancelled() => return Ended::Stopped,
            opened = Bridge::open(&call) => opened,
        };
        let bridge = match opened {
            Ok(bridge) => bridge,
            Err(failure) => {
                self.report(&failure).await;
                return Ended::Failed(failure);
            }
        };
        call.cross(&bridge);
        let carry = async {
            bridge.run().await;
            // What it ended with is seen at the other end.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            ended = self.converse(&call, backoff) => ended,
            () = carry => Ended::Stopped,
        }
    }

    /// One conversation: open, receive, say goodbye.
    async fn converse(&mut self, call: &Call, backoff: &mut Backoff) -> Ended {
        let stopping = self.feed.stopping().clone();
        let mut mixes_sessions = call.quirks.stray_data == StrayDataQuirk::StaleSession;
        let ended = tokio::select! {
            biased;
            () = stopping.cancelled() => Ended::Stopped,
            opened = session::open(call) => match opened {
                Ok(mut opened) => {
                    for left_out in &opened.left_out {
                        tracing::warn!("a track is left out: {left_out}");
                    }
                    tracing::debug!(udp = call.udp, bridged = call.bridged, "playing");
                    mixes_sessions |= !call.udp && opened.mixes_sessions();
                    let mut started = |now| backoff.succeeded(now);
                    Receiver::new(&self.feed, &mut opened, self.options.reconnect_after, &mut started).run().await
                }
                Err(failure) => Ended::Failed(failure),
            },
        };
        match &ended {
            // Not wrong, only elsewhere.
            Ended::Stopped | Ended::Failed(Failure::Redirect(Some(_))) => {}
            Ended::Failed(failure) if is_for_udp(&self.options.camera, call, failure) => {}
            Ended::Failed(failure) => self.report(failure).await,
        }
        // The session was dropped, and its TEARDOWN is on its way; cameras with few places need it before the next call.
        if timeout(GOODBYE, call.group.await_teardown()).await.is_err() {
            tracing::debug!("the camera does not answer the TEARDOWN");
        }
        let stale = call.group.stale_sessions();
        if mixes_sessions && stale.num_sessions > 0 && matches!(ended, Ended::Failed(_)) {
            tracing::info!("waiting for an old session to end: the camera would send it into the next one");
            tokio::select! {
                biased;
                () = stopping.cancelled() => return Ended::Stopped,
                // Each of them ends by its own time-out, a minute at most.
                () = call.group.await_stale_sessions(&stale) => {}
            }
        }
        ended
    }

    /// A camera that refuses TCP is asked for UDP, where that is left to us.
    fn turns_to_udp(&mut self, failure: &Failure) -> bool {
        let turns = is_for_udp(&self.options.camera, &self.call(), failure);
        self.udp |= turns;
        turns
    }

    /// Whether the next call goes over the bridge that mends what is said: after answers that could not be read, and as
    /// long as that helps. With media over UDP every call does.
    fn mends_next(&self, failure: &Failure) -> bool {
        if self.call().udp {
            return self.mending;
        }
        let next = match failure {
            Failure::Protocol(..) | Failure::Garbled(_) => !self.mending,
            // `retina` would keep all of it; the bridge has bounds.
            Failure::TooLong(_) => true,
            _ => self.mending,
        };
        if next && !self.mending {
            tracing::info!("the camera breaks the protocol: its answers are mended from now on");
        }
        next
    }

    fn call(&self) -> Call {
        let elsewhere = self.redirected.as_ref().map(|(url, _)| url);
        let call = call(&self.options.camera, elsewhere, self.udp, &self.hosts);
        Call { guard: self.options.guard.clone(), ..call }
    }

    /// Takes note of a redirect; `false` when it was one too many, or leads away from RTSP.
    fn follow(&mut self, url: &Url) -> bool {
        let count = self.redirected.as_ref().map_or(0, |(_, count)| *count) + 1;
        let allowed = count <= REDIRECTS_MAX && matches!(url.scheme(), "rtsp" | "rtsps");
        if allowed {
            tracing::info!(to = %failure::place(url), "the camera sends us elsewhere");
            self.redirected = Some((url.clone(), count));
        }
        allowed
    }
}

/// How a camera is called, or who it sent us to.
fn call(camera: &CameraOptions, elsewhere: Option<&Url>, udp: bool, hosts: &CameraHosts) -> Call {
    let mut url = elsewhere.unwrap_or(&camera.url).clone();
    // What stands in a URL that a camera sends us to is no login of ours, and `retina` takes none.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    let credentials = camera.credentials.clone().filter(|_| keeps_login(&camera.url, &url));
    Call {
        dial: url.clone(),
        bridged: false,
        guard: None,
        // Within TLS media is encrypted, beside it it would not be.
        udp: url.scheme() != "rtsps" && (udp || camera.transport == SourceTransport::Udp),
        group: hosts.group(&url, credentials.as_ref().map(|login| login.username.as_str())),
        url,
        credentials,
        quirks: camera.quirks.clone(),
        tls: camera.tls.clone(),
        limit: camera.request_timeout.duration(),
    }
}

/// Whether a call failed because the camera refuses TCP, and may be asked for UDP.
fn is_for_udp(camera: &CameraOptions, call: &Call, failure: &Failure) -> bool {
    let may = camera.transport == SourceTransport::Auto && call.url.scheme() != "rtsps" && !call.udp;
    may && matches!(failure, Failure::Transport(_))
}

/// Whether a login for `from` may be shown to where it sends us: the same host, or from one private address to another
/// (a recorder that sends us to its camera); never from TLS to plain.
fn keeps_login(from: &Url, to: &Url) -> bool {
    let private = |url: &Url| match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
        // RTSP is no scheme whose hosts the URL standard reads as addresses.
        Some(url::Host::Domain(name)) => {
            name.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.is_private() || ip.is_loopback() || ip.is_link_local())
        }
        None => false,
    };
    let downgraded = from.scheme() == "rtsps" && to.scheme() != "rtsps";
    !downgraded && (from.host_str() == to.host_str() || private(from) && private(to))
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
