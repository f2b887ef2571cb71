//! One RTSP connection: the driver of its machines. It lives on a media thread from its first byte to its last, and
//! everything it owns lives there with it: the session, the reader of the ring, what waits to be written.
//!
//! Per wake-up of a playing reader there is one look into the ring and one vectored write. A reader whose socket takes
//! nothing is not fed: it holds the unit that was begun, the ring moves it on, and its list entry counts what it
//! missed. Longer than most files: one task with its events, timers and effects.

use std::{
    future::{pending, poll_fn},
    io,
    net::SocketAddr,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::{
    Shared,
    blockage::{Blockage, Due, Patience},
    framing::{Framing, FramingError, Incoming},
    outbox::{Outbox, Written},
    player::{PlayEvent, Player},
    reports,
    sending::Sending,
    session::{self, Found, Position, Session, SessionOptions, Step},
    target::Target,
    transport::{Lower, Transports},
    tunnel::{self, Post, Wish},
    wire::Wire,
};
use crate::{
    auth::{Caller, Grant, View},
    base::{Error, Kind, Monotonic, Result, complaints::Complaints},
    hub::{EndReason, Read, Stream},
    media::MediaTime,
    stats::{Protocol, SessionDetails, SessionGuard},
};

/// Answers that may wait for a client that asks and does not read.
const CONTROL_MAX: usize = 16 << 10;
/// Bytes that may wait while an answer is being found.
const UNREAD_MAX: usize = 16 << 10;
/// Between two sender reports (RT-13: at most 5 s).
const REPORTS_EVERY: Duration = Duration::from_millis(4500);
/// For the last words of a connection.
const GOODBYE: Duration = Duration::from_secs(1);

/// Why a connection ended.
#[derive(Debug)]
pub(super) enum End {
    /// The client closed it, or it broke.
    Client(io::Error),
    /// The client closed it in peace.
    Closed,
    /// It was handed over to another connection.
    HandedOver,
    /// The client sent what cannot be read.
    Unreadable,
    /// Nothing was heard, or taken, for too long.
    Silent(&'static str),
    /// The stream ended, or changed beyond what was described.
    Stream(String),
    /// The permission ended, or an operator ended the session.
    Revoked(&'static str),
    /// The server stops.
    Stopping,
}

/// What is behind the target that was found last.
#[derive(Debug)]
struct Pulled {
    target: Target,
    grant: Grant<View>,
    stream: Stream,
    found: Found,
}

/// The sockets and what waits on both sides of them.
#[derive(Debug)]
struct Io {
    wire: Wire,
    framing: Framing,
    outbox: Outbox,
    /// Something was handed to a cipher and is not flushed.
    flushing: bool,
    written: Written,
}

#[derive(Debug)]
enum IoEvent {
    /// Bytes came in.
    Input,
    /// Some of what waits was written, or all of it.
    Output,
    /// The client closed its side.
    Closed,
}

enum Event {
    Stop,
    Revoked(&'static str),
    Io(io::Result<IoEvent>),
    Found(Result<Pulled>),
    Play(PlayEvent),
    Tick,
}

/// One connection.
pub(super) struct Connection {
    shared: Arc<Shared>,
    caller: Caller,
    local: SocketAddr,
    io: Io,
    session: Session,
    finding: Option<BoxFuture<'static, Result<Pulled>>>,
    pulled: Option<Pulled>,
    entry: Option<SessionGuard>,
    revoked: Option<BoxFuture<'static, &'static str>>,
    sending: Option<Sending>,
    player: Option<Player>,
    /// When the first `PLAY` was answered: time zero of the reader's timeline.
    began: Option<Monotonic>,
    next_report: Option<Monotonic>,
    blockage: Blockage,
    /// Since when a part of a message has been waiting for the rest.
    partial_since: Option<Monotonic>,
    /// Packets that were sent when the timer last looked.
    packets_seen: u64,
    /// Timers have to be set anew.
    retime: bool,
    complaints: Complaints,
}

impl Connection {
    /// A connection that was just accepted, on its media thread.
    pub(super) fn new(shared: Arc<Shared>, wire: Wire, peer: SocketAddr, local: SocketAddr) -> Self {
        let now = shared.clock.now();
        let transports = Transports { udp: !wire.keeps_media_inside(), ..Transports::ALL };
        let options = SessionOptions {
            timeout: shared.options.session_timeout,
            transports,
            server_ports: shared.udp.as_ref().and_then(|udp| udp.ports(local.ip())),
            local: local.ip().to_canonical(),
            seed: rand::random(),
        };
        let (framing, outbox) = (Framing::default(), Outbox::default());
        Self {
            shared,
            caller: Caller::direct(peer),
            local,
            io: Io { wire, framing, outbox, flushing: false, written: Written::default() },
            session: Session::new(options, now),
            finding: None,
            pulled: None,
            entry: None,
            revoked: None,
            sending: None,
            player: None,
            began: None,
            next_report: None,
            blockage: Blockage::default(),
            partial_since: None,
            packets_seen: 0,
            retime: true,
            complaints: Complaints::new(Duration::from_secs(10)),
        }
    }

    /// Serves the connection until it ends; `stop` ends it with a goodbye.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let end = self.serve(&stop).await;
        match &end {
            End::Client(error) => debug!(%error, "closed: the connection broke"),
            End::Closed | End::HandedOver | End::Stopping => debug!("closed: {end:?}"),
            End::Unreadable | End::Silent(_) | End::Stream(_) | End::Revoked(_) => info!("closed: {end}"),
        }
        self.say_goodbye(&end).await;
    }

    async fn serve(&mut self, stop: &CancellationToken) -> End {
        let clock = self.shared.clock;
        let timer = tokio::time::sleep(Duration::ZERO);
        // Made once: a wait that is made anew for every wake-up costs a lock to begin and another to give up.
        let stopped = stop.cancelled();
        tokio::pin!(timer, stopped);
        loop {
            if self.retime {
                self.retime = false;
                timer.as_mut().reset(clock.instant(self.deadline()));
            }
            let waits = self.session.is_waiting() && self.io.framing.pending() >= UNREAD_MAX;
            let reads = !waits && self.io.outbox.control_pending() < CONTROL_MAX;
            let drained = self.io.outbox.has_no_media();
            let event = tokio::select! {
                biased;
                () = &mut stopped => Event::Stop,
                why = wait(&mut self.revoked) => Event::Revoked(why),
                event = self.io.progress(reads) => Event::Io(event),
                found = wait(&mut self.finding) => Event::Found(found),
                event = play(&mut self.player, drained) => Event::Play(event),
                () = &mut timer => Event::Tick,
            };
            let done = match event {
                Event::Stop => Err(End::Stopping),
                Event::Revoked(why) => Err(End::Revoked(why)),
                Event::Io(Err(error)) => Err(End::Client(error)),
                Event::Io(Ok(IoEvent::Closed)) => Err(End::Closed),
                Event::Io(Ok(IoEvent::Input)) => self.on_input(),
                Event::Io(Ok(IoEvent::Output)) => self.on_output(),
                Event::Found(outcome) => self.on_found(outcome),
                Event::Play(event) => self.on_play(event),
                Event::Tick => self.on_tick(),
            };
            let done = match done {
                // What was put into the box leaves at once; what the socket does not take waits for its event.
                Ok(()) => self.write_now().await,
                Err(end) => Err(end),
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    /// Bytes came in: every message that is whole, up to one whose answer has to be found first.
    fn on_input(&mut self) -> Result<(), End> {
        let (now, mut whole) = (self.shared.clock.now(), false);
        while !self.session.is_waiting() && self.io.outbox.control_pending() < CONTROL_MAX {
            let message = self.io.framing.next_message();
            whole |= matches!(message, Ok(Some(_)));
            match message {
                Ok(Some(Incoming::Request(request))) => {
                    debug!(method = <&str>::from(request.method()), url = request.request_uri().map(|url| url.path()));
                    let step = self.session.handle_request(&request, now);
                    self.take_steps(step);
                }
                Ok(Some(Incoming::Data { channel, payload })) => self.on_data(channel, &payload, now),
                Ok(Some(Incoming::Response)) => {}
                Ok(Some(Incoming::Http(head))) => return self.on_http(&head),
                Ok(None) => break,
                Err(error) => {
                    use rtsp_types::StatusCode;
                    info!(%error, "a client sent what cannot be read");
                    self.io.outbox.put_reply(&session::refusal(match error {
                        FramingError::LineTooLong => StatusCode::RequestURITooLong,
                        FramingError::BodyTooLong => StatusCode::RequestMessageBodyTooLarge,
                        _ => StatusCode::BadRequest,
                    }));
                    return Err(End::Unreadable);
                }
            }
        }
        let partial = self.io.framing.pending() > 0 && !self.session.is_waiting();
        self.partial_since = partial.then(|| self.partial_since.filter(|_| !whole).unwrap_or(now));
        self.retime = true;
        Ok(())
    }

    /// Some of what waited was written.
    fn on_output(&mut self) -> Result<(), End> {
        if self.io.outbox.control_pending() == 0 && self.io.framing.pending() > 0 {
            // Requests that waited for room.
            return self.on_input();
        }
        Ok(())
    }

    fn on_found(&mut self, outcome: Result<Pulled>) -> Result<(), End> {
        let outcome = outcome.map(|pulled| {
            let found = pulled.found.clone();
            // What belongs to the session stays, whatever else its client asks for.
            if self.session.target().is_none_or(|own| *own == pulled.target) {
                self.pulled = Some(pulled);
            }
            found
        });
        if let Err(error) = &outcome {
            debug!(code = error.code(), "refused: {}", error.chain());
        }
        let step = self.session.handle_found(outcome);
        self.take_steps(step);
        self.on_input()
    }

    /// Does what the machine wishes, until an answer is in the box or has to be waited for.
    fn take_steps(&mut self, mut step: Step) {
        self.retime = true;
        loop {
            step = match step {
                Step::Reply(reply) => return self.io.outbox.put_reply(&reply),
                Step::Find(target) => return self.finding = Some(self.find(target)),
                Step::Enter(target, lower) => {
                    let outcome = self.enter(&target, lower);
                    self.session.handle_entered(outcome)
                }
                Step::Play => {
                    let outcome = self.play();
                    self.session.handle_playing(outcome)
                }
                Step::Pause(reply) => {
                    self.stop_playing();
                    Step::Reply(reply)
                }
                Step::Remove(track, reply) => {
                    if let Some(sending) = &mut self.sending {
                        if let Some(out) = sending.tracks().iter().find(|out| out.track == track) {
                            let ssrc = out.ssrc;
                            self.io.outbox.drop_track(ssrc);
                        }
                        sending.remove(track);
                    }
                    Step::Reply(reply)
                }
                Step::End(reply) => {
                    self.end_session();
                    Step::Reply(reply)
                }
            };
        }
    }

    /// Looks the target up and waits until it has something to show, which may need a camera to be woken.
    fn find(&self, target: Target) -> BoxFuture<'static, Result<Pulled>> {
        let (shared, caller) = (self.shared.clone(), self.caller.clone());
        Box::pin(async move {
            let grant = shared.gate.check::<View>(&caller, &target.path)?;
            let path = shared.hub.path(&grant)?;
            let stream = shared.hub.stream(&grant, target.rendition)?;
            stream.ready().await.map_err(|error| error.context(format_args!("path {}", target.path)))?;
            let title = path.spec().title.clone().unwrap_or_else(|| target.path.to_string());
            let own = (shared.options.path_transports)(&target.path);
            let transports = own.unwrap_or(Transports::ALL).and(shared.options.transports);
            let found = Found { tracks: stream.tracks(), title, transports };
            Ok(Pulled { target, grant, stream, found })
        })
    }

    fn enter(&mut self, target: &Target, lower: Lower) -> Result<crate::base::id::SessionId> {
        let details = SessionDetails {
            protocol: Protocol::Rtsp,
            transport: match lower {
                Lower::Tcp => self.io.wire.name(),
                Lower::Udp => "udp",
            },
            path: target.path.clone(),
            rendition: target.rendition,
            peer: self.caller.peer,
            user_agent: self.session.user_agent().map(str::to_owned),
            since: self.shared.clock.wall(),
        };
        let entry = self.shared.sessions.open(details)?;
        self.revoked = self.pulled.as_ref().map(|pulled| revoked(&pulled.grant, &entry));
        let id = entry.id;
        info!(session = %id, path = %target.path, rendition = %target.rendition, "a reader set up");
        self.entry = Some(entry);
        Ok(id)
    }

    /// Opens the reader and says where its packets begin.
    fn play(&mut self) -> Result<Position> {
        let (now, wall) = (self.shared.clock.now(), self.shared.clock.wall());
        let npt = MediaTime::from(now.since(*self.began.get_or_insert(now)));
        let changed = || {
            Error::new(Kind::FailedPrecondition, "the tracks are no longer those that were described")
                .with_code("tracks_changed")
        };
        let (Some(pulled), Some(target), Some(found), Some(entry)) =
            (&self.pulled, self.session.target(), self.session.found(), &self.entry)
        else {
            return Err(changed());
        };
        if pulled.target != *target {
            return Err(changed());
        }
        if self.player.is_none() {
            let setups = self.session.setups();
            let shown = found.tracks.leading().is_none_or(|track| setups.iter().any(|setup| setup.track == track.id));
            let options = self.shared.options.reader_options(target.choice.start, shown);
            let reader = pulled.stream.open(pulled.grant.clone(), options);
            if reader.tracks().generation != found.tracks.generation {
                return Err(changed());
            }
            let sending = self.sending.get_or_insert_default();
            sending.set_up(setups, reader.tracks());
            sending.begin(npt, reader.backlog());
            self.player = Some(Player::new(&self.shared, reader, sending, entry, self.caller.peer, self.local)?);
            // The first report follows the first live picture.
            self.next_report = Some(now);
        }
        let tracks = self.sending.as_ref().map(|sending| sending.positions(npt)).unwrap_or_default();
        Ok(Position { npt, wall, tracks })
    }

    fn stop_playing(&mut self) {
        let Some(sending) = &mut self.sending else { return };
        self.io.outbox.shed(|stamped| sending.take_back(stamped));
        if let Some(mut player) = self.player.take() {
            player.shed(|stamped| sending.take_back(stamped));
        }
        self.next_report = None;
    }

    fn end_session(&mut self) {
        self.stop_playing();
        (self.sending, self.entry, self.revoked) = (None, None, None);
        (self.pulled, self.began) = (None, None);
        self.session.end();
    }

    /// The ring gave something, or a burst of datagrams left.
    fn on_play(&mut self, event: PlayEvent) -> Result<(), End> {
        match event {
            PlayEvent::Read(Read::Units) | PlayEvent::Due => {
                // Before the units: a report speaks of what was sent.
                self.report_if_due(self.shared.clock.now());
                if let (Some(player), Some(sending)) = (&mut self.player, &mut self.sending) {
                    player.take_batch(sending, &mut self.io.outbox);
                }
                Ok(())
            }
            PlayEvent::Read(Read::Lagged { dropped }) => {
                self.count_dropped(dropped);
                Ok(())
            }
            // In-band parameter sets head the next random access point: players go on.
            PlayEvent::Read(Read::ParametersChanged(_)) => Ok(()),
            PlayEvent::Read(Read::TracksChanged(_)) => Err(End::Stream("its tracks changed".into())),
            PlayEvent::Read(Read::End(EndReason::SourceLost(error))) => {
                Err(End::Stream(format!("its source was lost: {}", error.message())))
            }
            PlayEvent::Read(Read::End(EndReason::Closed)) => Err(End::Stream("the path was closed".into())),
            PlayEvent::Sent(written) => {
                self.io.written.packets += written.packets;
                self.io.written.bytes += written.bytes;
                self.count_written();
                Ok(())
            }
        }
    }

    fn count_dropped(&mut self, dropped: u64) {
        let Some(entry) = &self.entry else { return };
        entry.units_dropped.fetch_add(dropped, std::sync::atomic::Ordering::Relaxed);
        if let Some(times) = self.complaints.note(self.shared.clock.now()) {
            debug!(session = %entry.id, dropped, times, "a reader lagged and was moved on");
        }
    }

    /// A `$` frame from the client: reports on one of the channels.
    fn on_data(&mut self, channel: u8, payload: &[u8], now: Monotonic) {
        let Some(sending) = &self.sending else { return };
        if sending.tracks().iter().any(|out| out.is_control_channel(channel)) {
            self.session.heard(now);
            if let Some(entry) = &self.entry {
                reports::note(payload, now, |ssrc| {
                    let out = sending.tracks().iter().find(|out| out.ssrc == ssrc)?;
                    Some((out.feedback.clone(), Arc::clone(entry)))
                });
            }
        }
    }

    fn on_http(&mut self, head: &super::framing::HttpHead) -> Result<(), End> {
        let ip = self.caller.peer.ip();
        let may_tunnel = self.shared.options.http_tunnel && !self.session.was_asked();
        let wish = if may_tunnel { Wish::of(head) } else { Wish::Other("404 Not Found") };
        match wish {
            Wish::Down(cookie) => {
                let Some((entry, posts)) = self.shared.tunnels.enter(cookie, ip) else {
                    self.io.outbox.put_bytes(&tunnel::refusal("503 Service Unavailable"));
                    return Err(End::Unreadable);
                };
                self.caller.relayed |= tunnel::is_relayed(head, ip);
                let direct = std::mem::replace(&mut self.io.wire, Wire::Closed);
                self.io.wire = direct.into_tunnel(entry, posts);
                self.io.framing = Framing::default();
                self.session.keep_media_inside();
                self.io.outbox.put_bytes(tunnel::GET_ANSWER);
                self.retime = true;
                Ok(())
            }
            Wish::Up(cookie) => {
                let rest = self.io.framing.take_rest();
                let wire = std::mem::replace(&mut self.io.wire, Wire::Closed);
                let stream = wire.into_stream().and_then(|stream| stream.leave().ok());
                let Some(stream) = stream else { return Err(End::HandedOver) };
                match self.shared.tunnels.hand_over(&cookie, ip, Post { stream, rest }) {
                    Ok(()) => Err(End::HandedOver),
                    Err(post) => {
                        self.io.wire = Wire::Direct(post.stream.enter().map_err(End::Client)?);
                        self.io.outbox.put_bytes(&tunnel::refusal("404 Not Found"));
                        Err(End::Unreadable)
                    }
                }
            }
            Wish::Other(status) => {
                self.io.outbox.put_bytes(&tunnel::refusal(status));
                Err(End::Unreadable)
            }
        }
    }

    /// Writes what waits as far as the socket takes it, without waiting for more.
    async fn write_now(&mut self) -> Result<(), End> {
        let (packets, bytes) = (self.io.written.packets, self.io.written.bytes);
        if !self.io.outbox.is_empty() {
            let io = &mut self.io;
            let outcome = poll_fn(|cx| Poll::Ready(io.poll_write(cx))).await;
            if let Poll::Ready(Err(error)) = outcome {
                return Err(End::Client(error));
            }
        }
        let progress = self.io.written.packets > packets || self.io.written.bytes > bytes;
        self.count_written();
        if self.io.outbox.is_empty() {
            self.blockage.clear();
        } else {
            self.retime |= self.blockage.note(progress, self.shared.clock.now());
        }
        Ok(())
    }

    fn count_written(&mut self) {
        let written = std::mem::take(&mut self.io.written);
        if let Some(entry) = &self.entry
            && written.bytes > 0
        {
            entry.sent(written.packets, written.bytes);
        }
    }

    /// Puts a sender report of each track into its way, when it is time and there is something to say.
    fn report_if_due(&mut self, now: Monotonic) {
        if self.next_report.is_none_or(|at| now < at) || !self.sending.as_ref().is_some_and(Sending::can_report) {
            return;
        }
        let wall = self.shared.clock.wall();
        let (Some(sending), Some(entry), Some(player)) = (&mut self.sending, &self.entry, &self.player) else { return };
        let cname = entry.id.to_string();
        for (out, report) in sending.reports(now, wall) {
            player.send_control(out, &mut self.io.outbox, &reports::sender_report(&report, &cname));
        }
        self.next_report = Some(now + REPORTS_EVERY);
        self.retime = true;
    }

    fn patience(&self) -> Patience {
        let options = &self.shared.options;
        Patience { shed_after: options.max_lag, give_up_after: options.write_timeout }
    }

    /// When the next timer is due.
    fn deadline(&self) -> Monotonic {
        let options = &self.shared.options;
        let now = self.shared.clock.now();
        let session = self.session.deadline().or_else(|| {
            // Whoever waits for an answer is not idle; the search has its own time-out.
            let idle = self.session.last_heard() + options.session_timeout;
            (!self.session.is_waiting()).then_some(idle)
        });
        let first = (!self.session.was_asked()).then(|| self.session.last_heard() + options.request_timeout);
        let partial = self.partial_since.map(|since| since + options.request_timeout);
        let blocked = self.blockage.deadline(self.patience());
        // A report that is due waits for a live unit, not for the timer.
        let report = self.next_report.map(|at| at.max(now + REPORTS_EVERY / 8));
        [session, first, partial, blocked, report].into_iter().flatten().min().unwrap_or(now + options.session_timeout)
    }

    fn on_tick(&mut self) -> Result<(), End> {
        let shared = self.shared.clone();
        let (now, options) = (shared.clock.now(), &shared.options);
        self.retime = true;
        if self.partial_since.is_some_and(|since| now >= since + options.request_timeout) {
            return Err(End::Silent("a request did not come whole in time"));
        }
        if !self.session.was_asked() && now >= self.session.last_heard() + options.request_timeout {
            return Err(End::Silent("no request came"));
        }
        match self.blockage.poll_due(self.patience(), now) {
            Some(Due::GiveUp) => return Err(End::Silent("the client took no byte for too long")),
            Some(Due::Shed) => self.shed(),
            None => {}
        }
        self.note_life(now);
        if self.session.deadline().is_some_and(|at| now >= at) {
            return Err(End::Silent("the session timed out"));
        }
        if now >= self.session.last_heard() + options.session_timeout && !self.session.is_waiting() {
            return Err(End::Silent("the connection was idle"));
        }
        self.report_if_due(now);
        Ok(())
    }

    /// Signs of life that come without a request: the client takes what it is sent, or reports by UDP.
    fn note_life(&mut self, now: Monotonic) {
        let (Some(entry), Some(player), Some(sending)) = (&self.entry, &self.player, &self.sending) else { return };
        if let Some(at) = player.last_heard(sending) {
            self.session.heard(at);
        } else {
            let packets = entry.packets_sent.load(std::sync::atomic::Ordering::Relaxed);
            if packets > std::mem::replace(&mut self.packets_seen, packets) {
                self.session.heard(now);
            }
        }
    }

    /// The socket takes nothing: what was not begun is dropped, and pictures go on with a random access point.
    fn shed(&mut self) {
        let (Some(sending), Some(player)) = (&mut self.sending, &mut self.player) else { return };
        let mut dropped = 0;
        self.io.outbox.shed(|stamped| {
            sending.take_back(stamped);
            dropped += 1;
        });
        if dropped > 0 {
            player.skip_to_random_access();
            self.count_dropped(dropped);
        }
    }

    /// Ends the session in the words of the protocol and closes the connection (RFC 3550 §6.6).
    async fn say_goodbye(mut self, end: &End) {
        if let (Some(sending), Some(entry), Some(player)) = (&mut self.sending, &self.entry, &self.player) {
            let reason = end.to_string();
            self.io.outbox.shed(|stamped| sending.take_back(stamped));
            for out in sending.tracks() {
                player.send_control(
                    out,
                    &mut self.io.outbox,
                    &reports::goodbye(out.ssrc, &entry.id.to_string(), &reason),
                );
            }
        }
        if matches!(end, End::HandedOver | End::Client(_)) {
            return;
        }
        let io = &mut self.io;
        let last_words = async {
            poll_fn(|cx| io.poll_write(cx)).await?;
            poll_fn(|cx| io.wire.poll_shutdown(cx)).await
        };
        // A client that does not listen to the last words misses them.
        let _ = tokio::time::timeout(GOODBYE, last_words).await;
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Client(error) => write!(f, "the connection broke: {error}"),
            Self::Closed => f.write_str("the client closed"),
            Self::HandedOver => f.write_str("the other half of a tunnel"),
            Self::Unreadable => f.write_str("the client sent what cannot be read"),
            Self::Silent(why) | Self::Revoked(why) => f.write_str(why),
            Self::Stream(why) => write!(f, "the stream ended: {why}"),
            Self::Stopping => f.write_str("the server stops"),
        }
    }
}

impl Io {
    /// Reads if `reads`, and writes what waits. Ready when something happened.
    ///
    /// # Cancel safety
    /// Nothing is lost: what was read is in the framing, what was written is off the outbox.
    async fn progress(&mut self, reads: bool) -> io::Result<IoEvent> {
        poll_fn(|cx| {
            if !self.outbox.is_empty() || self.flushing {
                let before = self.written;
                match self.poll_write(cx) {
                    Poll::Ready(outcome) => return Poll::Ready(outcome.map(|()| IoEvent::Output)),
                    Poll::Pending if self.written != before => return Poll::Ready(Ok(IoEvent::Output)),
                    Poll::Pending => {}
                }
            }
            // A client that hangs up is noticed whatever waits.
            if !reads {
                return Poll::Pending;
            }
            self.wire.poll_read(cx, &mut self.framing).map_ok(|read| match read {
                0 => IoEvent::Closed,
                _ => IoEvent::Input,
            })
        })
        .await
    }

    fn poll_write(&mut self, cx: &mut std::task::Context<'_>) -> Poll<io::Result<()>> {
        let outcome = self.wire.poll_write(cx, &mut self.outbox, &mut self.written);
        self.flushing = outcome.is_pending();
        outcome
    }
}

/// Fires when the permission ends or an operator ends the session.
fn revoked(grant: &Grant<View>, entry: &SessionGuard) -> BoxFuture<'static, &'static str> {
    let (ended, kicked) = (grant.ended().clone(), entry.kicked().clone());
    Box::pin(async move {
        tokio::select! {
            () = ended.cancelled() => "the permission ended",
            () = kicked.cancelled() => "an operator ended the session",
        }
    })
}

/// Waits for what is awaited, if anything is, and forgets it.
async fn wait<T>(awaited: &mut Option<BoxFuture<'static, T>>) -> T {
    let Some(future) = awaited else { return pending().await };
    let outcome = future.await;
    *awaited = None;
    outcome
}

async fn play(player: &mut Option<Player>, drained: bool) -> PlayEvent {
    match player {
        Some(player) => player.next(drained).await,
        None => pending().await,
    }
}
