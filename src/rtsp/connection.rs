//! One RTSP connection: the driver of its machines. It lives on a media thread from its first byte to its last, and
//! everything it owns lives there with it: the session, its media, what waits to be written.
//!
//! Per wake-up of a playing reader there is one look into the ring and one vectored write. A reader whose socket takes
//! nothing is not fed: it holds the unit that was begun, the ring moves it on, and its list entry counts what it
//! missed. A little longer than most files: one task with its events, timers and effects.

mod handover;
mod tunnelling;

use std::{future::pending, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use rtsp_types::Request;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, debug, info, info_span};

use super::{
    Shared,
    agreement::Position,
    alarms::Alarms,
    answer,
    blockage::{Blockage, Due, Patience},
    claims::Held,
    ending::End,
    framing::{FramingError, Incoming},
    io::{Io, IoEvent},
    login::Shown,
    lookup::{self, Pulled},
    orphan::Orphan,
    playback::{Call, Calls, Client, Playback},
    player::{PlayEvent, Player},
    session::{Session, SessionOptions, Step},
    target::Target,
    transport::{Lower, Transports},
    wire::Wire,
};
use crate::{
    auth::{Caller, Credential, Identity, Knock},
    base::{Error, Kind, Monotonic, Result, Secret, id::SessionId},
};

/// Answers that may wait for a client that asks and does not read.
const CONTROL_MAX: usize = 16 << 10;
/// Bytes that may wait while an answer is being found.
const UNREAD_MAX: usize = 16 << 10;
/// For the last words of a connection.
const GOODBYE: Duration = Duration::from_secs(1);

enum Event {
    Stop,
    Called(Call),
    Io(std::io::Result<IoEvent>),
    Found(Outcome),
    Play(PlayEvent),
    Tick,
}

/// What the session machine waits for.
enum Outcome {
    Pulled(Result<Box<(Pulled, Identity)>>),
    Claimed(Option<Box<Held>>),
}

/// One connection.
pub(super) struct Connection {
    shared: Arc<Shared>,
    caller: Caller,
    /// A password that is still to be verified.
    unverified: Option<(Credential, Knock)>,
    local: SocketAddr,
    id: u128,
    span: Span,
    io: Io,
    session: Session,
    finding: Option<BoxFuture<'static, Outcome>>,
    /// What is behind the target that was found last.
    pulled: Option<Pulled>,
    /// The media of the session, if there is one.
    playback: Option<Playback>,
    blockage: Blockage,
    /// Since when a part of a message has been waiting for the rest.
    partial_since: Option<Monotonic>,
    /// Timers have to be set anew.
    retime: bool,
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
            nonce: rand::random(),
            basic: wire.is_encrypted() || shared.options.allow_basic,
            plain: shared.gate.needs_passwords(),
        };
        Self {
            shared,
            caller: Caller::direct(peer),
            unverified: None,
            local,
            id: rand::random(),
            span: info_span!("rtsp", %peer),
            io: Io::new(wire),
            session: Session::new(options, now),
            finding: None,
            pulled: None,
            playback: None,
            blockage: Blockage::default(),
            partial_since: None,
            retime: true,
        }
    }

    /// Serves the connection until it ends; `stop` ends it with a goodbye. A session that goes on without it comes
    /// back.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Option<Orphan> {
        let end = self.serve(&stop).await;
        let orphan = {
            let _entered = self.span.clone().entered();
            match &end {
                End::Client(_) | End::Closed | End::HandedOver | End::Stopping => debug!("closed: {end}"),
                End::Unreadable(_) | End::Silent(_) | End::TimedOut | End::Stream(_) | End::Revoked(_) => {
                    info!("closed: {end}");
                }
            }
            self.leave_session(&end)
        };
        self.say_goodbye(&end).await;
        orphan
    }

    async fn serve(&mut self, stop: &CancellationToken) -> End {
        let clock = self.shared.clock;
        let timer = tokio::time::sleep(Duration::ZERO);
        let mut stopped = Alarms::new([(stop.clone(), ())]);
        tokio::pin!(timer);
        loop {
            if self.retime {
                self.retime = false;
                timer.as_mut().reset(clock.instant(self.deadline()));
            }
            let waits = self.session.is_waiting() && self.io.framing.pending() >= UNREAD_MAX;
            let reads = !waits && self.io.outbox.control_pending() < CONTROL_MAX;
            let drained = self.io.outbox.has_no_media();
            let yields = !self.session.is_waiting();
            let (calls, player) = self.playback.as_mut().map(Playback::halves).unzip();
            let event = tokio::select! {
                biased;
                () = stopped.next() => Event::Stop,
                call = call(calls, yields) => Event::Called(call),
                event = self.io.progress(reads) => Event::Io(event),
                outcome = wait(&mut self.finding) => Event::Found(outcome),
                event = Player::play(player.flatten(), drained) => Event::Play(event),
                () = &mut timer => Event::Tick,
            };
            // A picture leaves without a word to the log; entering a span for it would cost more than numbering it.
            let quiet = matches!(event, Event::Play(_) | Event::Io(Ok(IoEvent::Output)));
            let done = {
                let _entered = (!quiet).then(|| self.span.clone().entered());
                self.on_event(event)
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

    fn on_event(&mut self, event: Event) -> std::result::Result<(), End> {
        match event {
            Event::Stop => Err(End::Stopping),
            Event::Called(Call::Revoked(why)) => Err(End::Revoked(why)),
            Event::Called(Call::Claimed(claim)) => {
                self.hand_over(claim);
                Ok(())
            }
            Event::Io(Err(error)) => Err(End::Client(error)),
            Event::Io(Ok(IoEvent::Closed)) => Err(End::Closed),
            Event::Io(Ok(IoEvent::Input)) => self.on_input(),
            Event::Io(Ok(IoEvent::Output)) => self.on_output(),
            Event::Found(Outcome::Pulled(outcome)) => self.on_pulled(outcome),
            Event::Found(Outcome::Claimed(held)) => self.on_claimed(held),
            Event::Play(event) => self.on_play(event),
            Event::Tick => self.on_tick(),
        }
    }

    /// Bytes came in: every message that is whole, up to one whose answer has to be found first.
    fn on_input(&mut self) -> std::result::Result<(), End> {
        let (now, mut whole) = (self.shared.clock.now(), false);
        while !self.session.is_waiting() && self.io.outbox.control_pending() < CONTROL_MAX {
            let message = self.io.framing.next_message();
            whole |= matches!(message, Ok(Some(_)));
            match message {
                Ok(Some(Incoming::Request(request))) => {
                    debug!(method = <&str>::from(request.method()), url = request.request_uri().map(|url| url.path()));
                    self.look_at(&request);
                    let step = self.session.handle_request(&request, now);
                    self.take_steps(step);
                }
                Ok(Some(Incoming::Data { channel, payload })) => self.on_data(channel, &payload, now),
                Ok(Some(Incoming::Response)) => {}
                Ok(Some(Incoming::Http(head))) => return self.on_http(&head),
                Ok(None) => break,
                Err(error) => {
                    use rtsp_types::StatusCode;
                    self.io.outbox.put_reply(&answer::refusal(match error {
                        FramingError::LineTooLong => StatusCode::RequestURITooLong,
                        FramingError::BodyTooLong => StatusCode::RequestMessageBodyTooLarge,
                        FramingError::OtherVersion => StatusCode::RTSPVersionNotSupported,
                        _ => StatusCode::BadRequest,
                    }));
                    return Err(End::Unreadable(Some(error)));
                }
            }
        }
        let partial = self.io.framing.pending() > 0 && !self.session.is_waiting();
        self.partial_since = partial.then(|| self.partial_since.filter(|_| !whole).unwrap_or(now));
        self.retime = true;
        Ok(())
    }

    /// Takes note of who the client says it is. A password that was not seen before is verified on the way to the path.
    fn look_at(&mut self, request: &Request<Vec<u8>>) {
        self.unverified = None;
        let (gate, from, id) = (&self.shared.gate, self.caller.peer.ip(), self.id);
        let knock = || Knock {
            protocol: "rtsp",
            id: Some(uuid(id)),
            query: Secret::new(request.request_uri().and_then(|url| url.query()).unwrap_or_default()),
            ..Knock::from(from)
        };
        let mut unverified = None;
        self.caller.identity = match self.session.shown(request) {
            // A client that has shown who it is stays who it is.
            Shown::Nothing if !matches!(self.caller.identity, Identity::Nobody) => return,
            Shown::Nothing => gate.meet_nobody(&self.caller, knock),
            Shown::Wrong if gate.is_off() => Identity::Nobody,
            Shown::Wrong => Identity::Refused,
            Shown::Digest(answer) => {
                gate.identify_by_digest(&answer, request.method().into(), from, self.shared.clock.moment())
            }
            Shown::Password(credential) => {
                let met = gate.meet_at_once(&credential, from, knock, self.shared.clock.moment());
                met.unwrap_or_else(|| {
                    unverified = Some((credential, knock()));
                    Identity::Refused
                })
            }
        };
        self.unverified = unverified;
    }

    /// Some of what waited was written.
    fn on_output(&mut self) -> std::result::Result<(), End> {
        if self.io.outbox.control_pending() == 0 && self.io.framing.pending() > 0 {
            // Requests that waited for room.
            return self.on_input();
        }
        Ok(())
    }

    fn on_pulled(&mut self, outcome: Result<Box<(Pulled, Identity)>>) -> std::result::Result<(), End> {
        let outcome = outcome.map(|found| {
            let (pulled, identity) = *found;
            self.caller.identity = identity;
            self.pulled.insert(pulled).found.clone()
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
                Step::Find(target) => {
                    let shown = self.unverified.take();
                    let pulled = lookup::pull(self.shared.clone(), self.caller.clone(), shown, target);
                    let found = async { Outcome::Pulled(pulled.await.map(Box::new)) };
                    return self.finding = Some(Box::pin(found.instrument(self.span.clone())));
                }
                Step::Claim(id) => return self.finding = Some(self.claim(id)),
                Step::Enter(target, lower) => {
                    let outcome = self.enter(&target, lower);
                    self.session.handle_entered(outcome)
                }
                Step::Play => {
                    let outcome = self.play();
                    self.session.handle_playing(outcome)
                }
                Step::Pause(reply) => {
                    if let Some(playback) = &mut self.playback {
                        playback.pause(&mut self.io.outbox);
                    }
                    Step::Reply(reply)
                }
                Step::Remove(track, reply) => {
                    if let Some(playback) = &mut self.playback {
                        playback.remove(track, &mut self.io.outbox);
                    }
                    Step::Reply(reply)
                }
                Step::End(reply) => {
                    if let Some(mut playback) = self.playback.take() {
                        playback.pause(&mut self.io.outbox);
                    }
                    self.pulled = None;
                    Step::Reply(reply)
                }
            };
        }
    }

    fn enter(&mut self, target: &Target, lower: Lower) -> Result<SessionId> {
        let lost = || Error::new(Kind::Internal, format!("path {}: it was found and forgotten", target.path));
        // A session that is set up anew goes on with what it had.
        let before = self.playback.take().map(Playback::into_pulled);
        let pulled = before.or_else(|| self.pulled.clone()).filter(|pulled| pulled.target == *target);
        let pulled = pulled.ok_or_else(lost)?;
        let transport = if lower == Lower::Udp { "udp" } else { self.io.wire.name() };
        let client = Client { caller: &self.caller, user_agent: self.session.user_agent(), transport, lower };
        let playback = Playback::enter(self.shared.clone(), pulled, &client)?;
        Ok(self.playback.insert(playback).id())
    }

    fn play(&mut self) -> Result<Position> {
        let (Some(playback), Some(agreement)) = (&mut self.playback, self.session.agreement()) else {
            return Err(Error::new(Kind::Internal, "there is nothing to play"));
        };
        playback.play(agreement, self.caller.peer, self.local)
    }

    /// The ring gave something, or datagrams left.
    fn on_play(&mut self, event: PlayEvent) -> std::result::Result<(), End> {
        match &mut self.playback {
            Some(playback) => playback.on_play(event, &mut self.io.outbox),
            None => Ok(()),
        }
    }

    /// A `$` frame from the client.
    fn on_data(&mut self, channel: u8, payload: &[u8], now: Monotonic) {
        if self.playback.as_ref().is_some_and(|playback| playback.on_data(channel, payload, now)) {
            self.session.heard(now);
        }
    }

    /// Writes what waits as far as the socket takes it, without waiting for more.
    async fn write_now(&mut self) -> std::result::Result<(), End> {
        let progress = self.io.write_now().await.map_err(End::Client)?;
        let written = self.io.take_written();
        if let Some(playback) = &mut self.playback {
            playback.count_written(written);
        }
        if self.io.outbox.is_empty() {
            self.blockage.clear();
        } else {
            self.retime |= self.blockage.note(progress, self.shared.clock.now());
        }
        Ok(())
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
        let media = self.playback.as_ref().and_then(|playback| playback.deadline(now));
        [session, first, partial, blocked, media].into_iter().flatten().min().unwrap_or(now + options.session_timeout)
    }

    fn on_tick(&mut self) -> std::result::Result<(), End> {
        let shared = self.shared.clone();
        let (now, options) = (shared.clock.now(), &shared.options);
        self.retime = true;
        if self.partial_since.is_some_and(|since| now >= since + options.request_timeout) {
            return Err(End::Silent("a request did not come whole in time"));
        }
        if !self.session.was_asked() && now >= self.session.last_heard() + options.request_timeout {
            return Err(End::Silent("no request came"));
        }
        match (self.blockage.poll_due(self.patience(), now), &mut self.playback) {
            (Some(Due::GiveUp), _) => return Err(End::Silent("the client took no byte for too long")),
            (Some(Due::Shed), Some(playback)) => playback.shed(&mut self.io.outbox),
            (Some(Due::Shed) | None, _) => {}
        }
        if let Some(heard) = self.playback.as_mut().and_then(|playback| playback.last_life(now)) {
            self.session.heard(heard);
        }
        if self.session.deadline().is_some_and(|at| now >= at) {
            return Err(End::TimedOut);
        }
        if now >= self.session.last_heard() + options.session_timeout && !self.session.is_waiting() {
            return Err(End::Silent("the connection was idle"));
        }
        if let Some(playback) = &mut self.playback {
            playback.report_if_due(now, &mut self.io.outbox);
        }
        Ok(())
    }

    /// Ends the session in the words of the protocol and closes the connection.
    async fn say_goodbye(mut self, end: &End) {
        if let Some(playback) = &mut self.playback {
            playback.say_goodbye(&end.to_string(), &mut self.io.outbox);
        }
        if matches!(end, End::HandedOver | End::Client(_)) {
            return;
        }
        // A client that does not listen to the last words misses them.
        let _ = tokio::time::timeout(GOODBYE, self.io.close()).await;
    }
}

/// Waits for what is awaited, if anything is, and forgets it.
async fn wait<T>(awaited: &mut Option<BoxFuture<'static, T>>) -> T {
    let Some(future) = awaited else { return pending().await };
    let outcome = future.await;
    *awaited = None;
    outcome
}

async fn call(calls: Option<&mut Calls>, yields: bool) -> Call {
    match calls {
        Some(calls) => calls.next(yields).await,
        None => pending().await,
    }
}

/// A connection by its number, for whoever decides elsewhere: a UUID of a form of its own (RFC 9562 §5.8).
fn uuid(number: u128) -> String {
    let group = |shift: u32, bits: u32| (number >> shift) & ((1 << bits) - 1);
    let (a, b, c) = (group(96, 32), group(80, 16), group(64, 12));
    format!("{a:08x}-{b:04x}-8{c:03x}-{:04x}-{:012x}", 0x8000 | group(48, 14), group(0, 48))
}
