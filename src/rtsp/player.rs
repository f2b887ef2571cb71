//! A session that plays: its reader, and the way its packets take, interleaved or over UDP.

use std::{net::SocketAddr, sync::Arc};

use super::{
    Shared,
    outbox::{Outbox, Written},
    sending::{Outgoing, Sending, Stamped},
    transport::Agreed,
    udp::UdpMedia,
};
use crate::{
    base::{Clock, Error, Kind, Monotonic, Result},
    hub::{Read, Reader},
    media::Unit,
    stats,
};

/// What a player came up with.
#[derive(Debug)]
pub(super) enum PlayEvent {
    /// The reader read; units are in the batch.
    Read(Read),
    /// Units that were held may leave.
    Due,
    /// Datagrams left.
    Sent(Written),
}

/// A session that plays.
#[derive(Debug)]
pub(super) struct Player {
    reader: Reader,
    /// Emptied at every look; its room is kept.
    batch: Vec<Arc<Unit>>,
    /// How many units of the batch are on their way.
    taken: usize,
    /// When the next unit of the start burst may leave, if one is held.
    held_until: Option<Monotonic>,
    began: Monotonic,
    clock: Clock,
    /// Pictures are left out until a random access point: units that follow the last one sent were dropped here.
    skipping: bool,
    udp: Option<UdpMedia>,
}

impl Player {
    /// A player of what `reader` reads, for a client at `peer` who called `local`.
    ///
    /// # Errors
    /// The tracks were set up over UDP and there is none.
    pub(super) fn new(
        shared: &Shared,
        reader: Reader,
        sending: &Sending,
        session: &Arc<stats::Session>,
        peer: SocketAddr,
        local: SocketAddr,
    ) -> Result<Self> {
        let over_udp = sending.tracks().iter().any(|out| matches!(out.agreed, Agreed::Udp { .. }));
        let udp = match &shared.udp {
            Some(door) if over_udp => Some(UdpMedia::new(door, sending, session, peer, local, shared.clock)?),
            None if over_udp => return Err(Error::new(Kind::Unsupported, "rtsp: udp is switched off")),
            _ => None,
        };
        let (batch, began, clock) = (Vec::new(), shared.clock.now(), shared.clock);
        Ok(Self { reader, batch, taken: 0, held_until: None, began, clock, skipping: false, udp })
    }

    /// The next thing to do. `drained` says that the connection has nothing of ours left to write; until then an
    /// interleaved player reads nothing more, and the ring decides what it misses.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn next(&mut self, drained: bool) -> PlayEvent {
        match &mut self.udp {
            Some(udp) if !udp.is_empty() => PlayEvent::Sent(udp.pump().await),
            None if !drained => std::future::pending().await,
            _ if let Some(until) = self.held_until => {
                tokio::time::sleep_until(self.clock.instant(until)).await;
                PlayEvent::Due
            }
            _ => PlayEvent::Read(self.reader.read(&mut self.batch).await),
        }
    }

    /// [`Player::next`] of a session that may not play.
    pub(super) async fn play(player: Option<&mut Self>, drained: bool) -> PlayEvent {
        match player {
            Some(player) => player.next(drained).await,
            None => std::future::pending().await,
        }
    }

    /// Numbers what was read and puts it on its way; what is left of a start burst is held for its time.
    pub(super) fn take_batch(&mut self, sending: &mut Sending, outbox: &mut Outbox) {
        let leading = self.reader.tracks().leading().map(|track| track.id);
        self.held_until = None;
        while let Some(unit) = self.batch.get(self.taken) {
            let backlog = self.reader.is_backlog(unit);
            if backlog {
                let due = self.began + sending.leaves_after(unit);
                if due > self.clock.now() {
                    self.held_until = Some(due);
                    return;
                }
            }
            self.taken += 1;
            if self.skipping && leading == Some(unit.track.id) {
                if !unit.random_access {
                    continue;
                }
                self.skipping = false;
            }
            let Some(stamped) = sending.admit(unit.clone(), backlog) else { continue };
            match &mut self.udp {
                Some(udp) => udp.put(stamped),
                None => outbox.put(stamped),
            }
        }
        self.batch.clear();
        self.taken = 0;
    }

    /// Drops what was read and not put on its way: what is left of a start burst. How many units that were.
    pub(super) fn drop_held(&mut self) -> u64 {
        let held = self.batch.len() - self.taken;
        self.batch.clear();
        (self.taken, self.held_until) = (0, None);
        held as u64
    }

    /// Leaves pictures out until the next random access point.
    pub(super) fn skip_to_random_access(&mut self) {
        self.skipping = true;
    }

    /// Drops every unit of which nothing was sent, the newest first.
    pub(super) fn shed(&mut self, dropped: impl FnMut(&Stamped)) {
        if let Some(udp) = &mut self.udp {
            udp.shed(dropped);
        }
    }

    /// Sends a report of a track, in its channel or to its port.
    pub(super) fn send_control(&self, out: &Outgoing, outbox: &mut Outbox, payload: &[u8]) {
        match (&self.udp, out.agreed) {
            (Some(udp), _) => udp.send_control(out.ssrc, payload),
            (None, Agreed::Tcp { rtcp, .. }) => outbox.put_frame(rtcp, payload),
            (None, Agreed::Udp { .. }) => {}
        }
    }

    /// When the client was last heard on a way of its own; `None` if its media are in the connection.
    pub(super) fn last_heard(&self, sending: &Sending) -> Option<Monotonic> {
        let udp = self.udp.as_ref()?;
        sending.tracks().iter().map(|out| out.feedback.last_heard()).chain([udp.last_heard()]).max()
    }
}
