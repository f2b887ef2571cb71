//! A session over UDP that no connection holds: its client's connection ended, its media go on. It lives until it is
//! claimed ([`super::claims`]), shows no sign of life for the time its client was told, or its stream ends.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::{Shared, claims::Held, ending::End, outbox::Outbox, playback::Call, player::Player};

/// A session without a connection.
pub(super) struct Orphan {
    shared: Arc<Shared>,
    held: Box<Held>,
    _room: OwnedSemaphorePermit,
}

impl Orphan {
    /// A session whose connection ended, as far as there is room.
    ///
    /// # Errors
    /// The session comes back if too many have no connection.
    pub(super) fn new(shared: Arc<Shared>, held: Box<Held>) -> Result<Self, Box<Held>> {
        match shared.claims.orphan() {
            Some(room) => Ok(Self { shared, held, _room: room }),
            None => Err(held),
        }
    }

    /// Goes on with the session until it ends or somebody takes it over; `stop` ends it with a goodbye.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        debug!(session = %self.held.agreement.id, "the session goes on without a connection");
        // Reports and media leave as datagrams; nothing waits here.
        let mut outbox = Outbox::default();
        let end = loop {
            let timeout = self.held.heard + self.shared.options.session_timeout;
            let deadline = self.held.playback.deadline(self.shared.clock.now()).map_or(timeout, |at| at.min(timeout));
            let (calls, player) = self.held.playback.halves();
            tokio::select! {
                biased;
                () = stop.cancelled() => break End::Stopping,
                call = calls.next(true) => match call {
                    Call::Revoked(why) => break End::Revoked(why),
                    Call::Claimed(claim) => match claim.send(self.held) {
                        Ok(()) => return,
                        // Whoever asked is gone again.
                        Err(held) => self.held = held,
                    },
                },
                event = Player::play(player, true) => {
                    if let Err(end) = self.held.playback.on_play(event, &mut outbox) {
                        break end;
                    }
                }
                () = tokio::time::sleep_until(self.shared.clock.instant(deadline)) => {
                    let now = self.shared.clock.now();
                    if let Some(heard) = self.held.playback.last_life(now) {
                        self.held.heard = self.held.heard.max(heard);
                    }
                    if now >= self.held.heard + self.shared.options.session_timeout {
                        break End::TimedOut;
                    }
                    self.held.playback.report_if_due(now, &mut outbox);
                }
            }
        };
        info!(session = %self.held.agreement.id, "ended: {end}");
        self.held.playback.say_goodbye(&end.to_string(), &mut outbox);
    }
}
