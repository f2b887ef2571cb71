//! Sessions that change connections: one is claimed from whoever holds it, given up to whoever claims it, or goes on
//! without a connection.

use futures_util::future::BoxFuture;
use tracing::debug;

use super::{Connection, Outcome};
use crate::{
    auth::Deed,
    base::id::SessionId,
    rtsp::{
        agreement::Agreement,
        claims::{Claim, Held},
        ending::End,
        orphan::Orphan,
        transport::Lower,
    },
};

impl Connection {
    /// Asks whoever holds a session for it.
    pub(super) fn claim(&self, id: SessionId) -> BoxFuture<'static, Outcome> {
        let (shared, caller) = (self.shared.clone(), self.caller.clone());
        let limit = self.shared.options.request_timeout;
        Box::pin(async move {
            if let Some(path) = shared.claims.path(id) {
                // Whoever has to wait is refused below.
                let _ = shared.gate.ask(&caller, &Deed::Read(path), shared.clock.moment()).await;
            }
            let held = shared.claims.claim(id, &caller, &shared.gate);
            let Some(held) = held else { return Outcome::Claimed(None) };
            Outcome::Claimed(tokio::time::timeout(limit, held).await.ok().and_then(Result::ok))
        })
    }

    pub(super) fn on_claimed(&mut self, held: Option<Box<Held>>) -> Result<(), End> {
        let agreement = held.map(|held| self.take_up(*held));
        let step = self.session.handle_claimed(agreement);
        self.take_steps(step);
        self.on_input()
    }

    /// Takes a session over; what was agreed on is for the machine.
    fn take_up(&mut self, held: Held) -> Agreement {
        let Held { agreement, playback, heard } = held;
        debug!(session = %agreement.id, "goes on here");
        self.session.heard(heard);
        self.playback = Some(playback);
        agreement
    }

    /// Lets go of the session, if there is one.
    fn let_go(&mut self) -> Option<Box<Held>> {
        let heard = self.session.last_heard();
        match (self.session.end(), self.playback.take()) {
            (Some(agreement), Some(playback)) => Some(Box::new(Held { agreement, playback, heard })),
            _ => None,
        }
    }

    fn take_back(&mut self, held: Box<Held>) {
        let agreement = self.take_up(*held);
        self.session.adopt(agreement);
    }

    /// Somebody else goes on with the session.
    pub(super) fn hand_over(&mut self, claim: Claim) {
        self.retime = true;
        let Some(held) = self.let_go() else { return };
        // Whoever asked may be gone again.
        if let Err(held) = claim.send(held) {
            self.take_back(held);
        }
    }

    /// The connection ended; a session whose media travel by themselves goes on without it.
    pub(super) fn leave_session(&mut self, end: &End) -> Option<Orphan> {
        let lower = self.session.agreement().and_then(Agreement::lower);
        if end.ends_sessions() || lower != Some(Lower::Udp) {
            return None;
        }
        match Orphan::new(self.shared.clone(), self.let_go()?) {
            Ok(orphan) => Some(orphan),
            Err(held) => {
                self.take_back(held);
                None
            }
        }
    }
}
