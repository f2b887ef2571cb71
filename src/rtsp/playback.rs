//! The media of one session: its entry in the list, its permission, what it is sent and what sends it. A driver. It
//! belongs to a connection, or goes on without one if its media travel by themselves.

use std::{
    future::pending,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tracing::{debug, info, warn};

use super::{
    Shared,
    agreement::{Agreement, Position},
    alarms::Alarms,
    claims::{Claim, Claimable},
    ending::End,
    lookup::Pulled,
    outbox::{Outbox, Written},
    player::{PlayEvent, Player},
    reports,
    sending::Sending,
    transport::Lower,
};
use crate::{
    auth::{Caller, Grant, View},
    base::{Error, Kind, Monotonic, Result, complaints::Complaints, id::SessionId},
    hub::{EndReason, Read},
    media::{MediaTime, TrackId},
    stats::{Protocol, SessionDetails, SessionGuard},
};

/// Between two sender reports (RT-13: at most 5 s).
const REPORTS_EVERY: Duration = Duration::from_millis(4500);

/// Why a session leaves its holder.
pub(super) enum Call {
    /// The permission ended, or an operator ended the session.
    Revoked(&'static str),
    /// Somebody who may have the session asks for it.
    Claimed(Claim),
}

/// Where calls come from.
pub(super) struct Calls {
    revoked: Alarms<&'static str>,
    /// Only a session that may change hands has this.
    claimable: Option<Claimable>,
}

impl Calls {
    /// The next call. `yields` says that the session may change hands now.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn next(&mut self, yields: bool) -> Call {
        let Self { revoked, claimable } = self;
        let claimed = async {
            match claimable {
                Some(claimable) if yields => claimable.claimed().await,
                _ => pending().await,
            }
        };
        tokio::select! {
            biased;
            why = revoked.next() => Call::Revoked(why),
            claim = claimed => Call::Claimed(claim),
        }
    }
}

/// What a session is to those who look at it from outside.
pub(super) struct Client<'a> {
    pub(super) caller: &'a Caller,
    pub(super) user_agent: Option<&'a str>,
    /// What carries the media, for the list.
    pub(super) transport: &'static str,
    pub(super) lower: Lower,
}

/// The media of one session.
pub(super) struct Playback {
    shared: Arc<Shared>,
    pulled: Pulled,
    entry: SessionGuard,
    calls: Calls,
    sending: Sending,
    player: Option<Player>,
    /// When the first `PLAY` was answered: time zero of the reader's timeline.
    began: Option<Monotonic>,
    next_report: Option<Monotonic>,
    /// Packets that were sent when the timer last looked.
    packets_seen: u64,
    complaints: Complaints,
    /// It was said that packets are too large.
    told_of_refused: bool,
}

impl Playback {
    /// Enters a session for what was pulled into the list.
    ///
    /// # Errors
    /// [`Kind::ResourceExhausted`] when a limit is reached.
    pub(super) fn enter(shared: Arc<Shared>, pulled: Pulled, client: &Client<'_>) -> Result<Self> {
        let target = &pulled.target;
        let entry = shared.sessions.open(SessionDetails {
            protocol: Protocol::Rtsp,
            transport: client.transport,
            path: target.path.clone(),
            rendition: target.rendition,
            peer: client.caller.peer,
            user_agent: client.user_agent.map(str::to_owned),
            since: shared.clock.wall(),
        })?;
        info!(session = %entry.id, path = %target.path, rendition = %target.rendition, "a reader set up");
        let claimable = (client.lower == Lower::Udp)
            .then(|| shared.claims.enter(entry.id, client.caller, pulled.grant.subject(), &target.path));
        Ok(Self {
            calls: Calls { revoked: revoked(&pulled.grant, &entry), claimable },
            shared,
            pulled,
            entry,
            sending: Sending::default(),
            player: None,
            began: None,
            next_report: None,
            packets_seen: 0,
            complaints: Complaints::new(Duration::from_secs(10)),
            told_of_refused: false,
        })
    }

    /// Ends the session; what was pulled for it is left.
    pub(super) fn into_pulled(self) -> Pulled {
        self.pulled
    }

    /// The name of the session.
    pub(super) fn id(&self) -> SessionId {
        self.entry.id
    }

    /// Begins to play for a client at `peer` who called `local`, or goes on; where its packets begin.
    ///
    /// # Errors
    /// [`Kind::FailedPrecondition`] if the tracks are no longer those that were described.
    pub(super) fn play(&mut self, agreement: &Agreement, peer: SocketAddr, local: SocketAddr) -> Result<Position> {
        let (now, wall) = (self.shared.clock.now(), self.shared.clock.wall());
        let npt = MediaTime::from(now.since(*self.began.get_or_insert(now)));
        if self.player.is_none() {
            let (found, setups) = (&agreement.found, &agreement.setups);
            let shown = found.tracks.leading().is_none_or(|track| setups.iter().any(|setup| setup.track == track.id));
            let options = self.shared.options.reader_options(agreement.target.choice.start, shown);
            let reader = self.pulled.stream.open(self.pulled.grant.clone(), options);
            if reader.tracks().generation != found.tracks.generation {
                let words = "the tracks are no longer those that were described";
                return Err(Error::new(Kind::FailedPrecondition, words).with_code("tracks_changed"));
            }
            self.sending.set_up(setups, reader.tracks());
            self.sending.begin(npt, reader.backlog());
            self.player = Some(Player::new(&self.shared, reader, &self.sending, &self.entry, peer, local)?);
            // The first report follows the first live picture.
            self.next_report = Some(now);
        }
        Ok(Position { npt, wall, tracks: self.sending.positions(npt) })
    }

    /// Stops sending; what was begun is finished.
    pub(super) fn pause(&mut self, outbox: &mut Outbox) {
        let sending = &mut self.sending;
        outbox.shed(|stamped| sending.take_back(stamped));
        if let Some(mut player) = self.player.take() {
            player.shed(|stamped| sending.take_back(stamped));
        }
        self.next_report = None;
    }

    /// Stops sending a track.
    pub(super) fn remove(&mut self, track: TrackId, outbox: &mut Outbox) {
        if let Some(out) = self.sending.tracks().iter().find(|out| out.track == track) {
            outbox.drop_track(out.ssrc);
        }
        self.sending.remove(track);
    }

    /// Where calls come from, and what plays; two halves that are waited for at the same time.
    pub(super) fn halves(&mut self) -> (&mut Calls, Option<&mut Player>) {
        (&mut self.calls, self.player.as_mut())
    }

    /// The ring gave something, or datagrams left.
    ///
    /// # Errors
    /// The stream ended, or is no longer what was described.
    pub(super) fn on_play(&mut self, event: PlayEvent, outbox: &mut Outbox) -> std::result::Result<(), End> {
        match event {
            PlayEvent::Read(Read::Units) | PlayEvent::Due => {
                // Before the units: a report speaks of what was sent.
                self.report_if_due(self.shared.clock.now(), outbox);
                if let Some(player) = &mut self.player {
                    player.take_batch(&mut self.sending, outbox);
                }
                let oversized = self.sending.take_oversized();
                self.count_refused(oversized);
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
                self.count_written(written);
                Ok(())
            }
        }
    }

    /// Counts what was written for the session.
    pub(super) fn count_written(&mut self, written: Written) {
        if written.bytes > 0 {
            self.entry.sent(written.packets, written.bytes);
        }
        self.count_refused(written.refused);
    }

    fn count_refused(&mut self, packets: u64) {
        if packets == 0 {
            return;
        }
        self.entry.packets_refused.fetch_add(packets, Ordering::Relaxed);
        if !std::mem::replace(&mut self.told_of_refused, true) {
            let (session, path, transport) = (self.entry.id, &self.entry.details.path, self.entry.details.transport);
            let hint = if transport == "udp" {
                "play it over tcp: ffmpeg -rtsp_transport tcp, vlc --rtsp-tcp, gstreamer protocols=tcp"
            } else {
                "the camera sends packets of more than 64 KiB, which RTSP cannot carry"
            };
            warn!(%session, %path, hint, "packets are too large for {transport} and are left out");
        }
    }

    fn count_dropped(&mut self, dropped: u64) {
        self.entry.units_dropped.fetch_add(dropped, Ordering::Relaxed);
        if let Some(times) = self.complaints.note(self.shared.clock.now()) {
            debug!(session = %self.entry.id, dropped, times, "a reader lagged and was moved on");
        }
    }

    /// The socket takes nothing: what was not begun is dropped, and pictures go on with a random access point.
    pub(super) fn shed(&mut self, outbox: &mut Outbox) {
        let Some(player) = &mut self.player else { return };
        // What is held back for its time would follow what is dropped.
        let mut dropped = player.drop_held();
        outbox.shed(|stamped| {
            self.sending.take_back(stamped);
            dropped += 1;
        });
        if dropped > 0 {
            player.skip_to_random_access();
            self.count_dropped(dropped);
        }
    }

    /// A `$` frame from the client: reports on one of the channels. Whether it is one of the session's.
    pub(super) fn on_data(&self, channel: u8, payload: &[u8], now: Monotonic) -> bool {
        let own = self.sending.tracks().iter().any(|out| out.is_control_channel(channel));
        if own {
            reports::note(payload, now, |ssrc| {
                let out = self.sending.tracks().iter().find(|out| out.ssrc == ssrc)?;
                Some((out.feedback.clone(), Arc::clone(&self.entry)))
            });
        }
        own
    }

    /// Puts a sender report of each track into its way, when it is time and there is something to say. Whether it was.
    pub(super) fn report_if_due(&mut self, now: Monotonic, outbox: &mut Outbox) -> bool {
        let Some(player) = &self.player else { return false };
        if self.next_report.is_none_or(|at| now < at) || !self.sending.can_report() {
            return false;
        }
        let (wall, cname) = (self.shared.clock.wall(), self.entry.id.to_string());
        for (out, report) in self.sending.reports(now, wall) {
            player.send_control(out, outbox, &reports::sender_report(&report, &cname));
        }
        self.next_report = Some(now + REPORTS_EVERY);
        true
    }

    /// When the session has something to do by itself.
    pub(super) fn deadline(&self, now: Monotonic) -> Option<Monotonic> {
        // A report that is due waits for a live unit, not for the timer.
        self.next_report.map(|at| at.max(now + REPORTS_EVERY / 8))
    }

    /// Signs of life that come without a request: the client takes what it is sent, or reports by UDP.
    pub(super) fn last_life(&mut self, now: Monotonic) -> Option<Monotonic> {
        let player = self.player.as_ref()?;
        player.last_heard(&self.sending).or_else(|| {
            let packets = self.entry.packets_sent.load(Ordering::Relaxed);
            (packets > std::mem::replace(&mut self.packets_seen, packets)).then_some(now)
        })
    }

    /// Ends every track in the words of the protocol (RFC 3550 §6.6).
    pub(super) fn say_goodbye(&mut self, reason: &str, outbox: &mut Outbox) {
        let Some(player) = &self.player else { return };
        let sending = &mut self.sending;
        outbox.shed(|stamped| sending.take_back(stamped));
        for out in sending.tracks() {
            player.send_control(out, outbox, &reports::goodbye(out.ssrc, &self.entry.id.to_string(), reason));
        }
    }
}

impl std::fmt::Debug for Playback {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Playback({})", self.entry.id)
    }
}

/// Fires when the permission ends or an operator ends the session.
fn revoked(grant: &Grant<View>, entry: &SessionGuard) -> Alarms<&'static str> {
    let (ended, kicked) = (grant.ended().clone(), entry.kicked().clone());
    Alarms::new([(ended, "the permission ended"), (kicked, "an operator ended the session")])
}
