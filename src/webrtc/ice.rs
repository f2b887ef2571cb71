//! ICE-lite (RFC 8445 §2.5), sans-IO: we answer checks, the viewer chooses the way, and its checks are its consent.
//!
//! It owns the credentials of the session, the ways that were proven, the chosen one, and when the viewer was last
//! heard. It sends no checks and needs no candidates of the other side: a full agent always controls a lite one
//! (RFC 8445 §6.1.1). Where candidates of ours come from is the answer's business.

use std::{collections::VecDeque, fmt, time::Duration};

use aws_lc_rs::hmac;
use bytes::Bytes;
use rand::RngExt as _;

use super::{
    stun::{ErrorCode, Request, short_term_key},
    transport::{Link, Route},
};
use crate::base::{Monotonic, Secret};

/// Without consent for so long, nothing is sent (RFC 7675 §5.1 allows 30 s; a viewer that left should cost less).
pub const SILENT_AFTER: Duration = Duration::from_secs(10);
/// Without a sign of life for so long, it is over. Before that, an ICE restart resumes.
pub const ENDED_AFTER: Duration = Duration::from_secs(30);
/// A chosen way without consent for so long gives way to another one that is checked, nominated or not: an address
/// translator gave the viewer another port.
const FORSAKEN_AFTER: Duration = Duration::from_secs(5);
/// Proven ways that are remembered.
const ROUTES: usize = 16;
/// Error responses in a second: a guesser is not to be served faster.
const ERRORS_A_SECOND: u32 = 10;

/// One side's half of an ICE session (RFC 8839 §5.4).
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The user name fragment.
    pub ufrag: String,
    /// The password.
    pub pwd: Secret,
}

impl Credentials {
    /// New ones of ours: 60 and 190 random bits; RFC 8839 §5.4 wants 24 and 128.
    pub fn random() -> Self {
        // RFC 8839 §5.4: ice-char. '+' and '/' are left out, which saves every escaping.
        const CHARS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let mut random = rand::rng();
        let mut text = |len: usize| (0..len).map(|_| char::from(CHARS[random.random_range(0..CHARS.len())])).collect();
        let ufrag: String = text(10);
        let pwd: String = text(32);
        Self { ufrag, pwd: Secret::new(pwd) }
    }
}

/// Our credentials as they are used.
struct Local {
    ufrag: String,
    key: hmac::Key,
}

impl From<Credentials> for Local {
    fn from(credentials: Credentials) -> Self {
        Self { key: short_term_key(credentials.pwd.reveal()), ufrag: credentials.ufrag }
    }
}

/// What an [`Agent`] tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IceEvent {
    /// The viewer chose this way.
    Selected(Route),
    /// Consent is gone.
    Silent,
    /// Consent is back.
    Heard,
    /// Nobody was heard for too long. Nothing follows.
    Ended,
}

/// Our side of the ICE session of one viewer.
pub struct Agent {
    local: Local,
    /// After a restart, until the first check that uses them.
    next: Option<Local>,
    /// Ways with an authentic check, the newest first.
    proven: VecDeque<Route>,
    selected: Option<Route>,
    /// When the viewer last consented to be sent to on the selected way.
    consent_at: Monotonic,
    /// When it was last heard at all.
    heard_at: Monotonic,
    silent: bool,
    ended: bool,
    /// Error responses in the second that began then.
    errors: (Monotonic, u32),
    events: VecDeque<IceEvent>,
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent")
            .field("ufrag", &self.local.ufrag)
            .field("selected", &self.selected)
            .finish_non_exhaustive()
    }
}

impl Agent {
    /// An agent that waits for the first check.
    pub fn new(local: Credentials, now: Monotonic) -> Self {
        Self {
            local: local.into(),
            next: None,
            proven: VecDeque::new(),
            selected: None,
            consent_at: now,
            heard_at: now,
            silent: false,
            ended: false,
            errors: (now, 0),
            events: VecDeque::new(),
        }
    }

    /// Takes a STUN datagram and gives the answer to it, if it gets one.
    pub fn handle_stun(&mut self, now: Monotonic, from: Route, datagram: &[u8]) -> Option<Bytes> {
        // RFC 8489 §6.3: what is not well-formed is dropped. Indications keep addresses alive and say nothing.
        let request = Request::parse(datagram).ok().filter(|_| !self.ended)?;
        if !request.has_credentials() {
            // RFC 8489 §9.1.3.
            return self.refuse(now, &request, ErrorCode::BadRequest);
        }
        let ufrag = request.ufrag();
        let is_next = self.next.as_ref().is_some_and(|next| ufrag == Some(&next.ufrag));
        let local = if is_next { self.next.as_ref()? } else { &self.local };
        if ufrag != Some(&local.ufrag) || !request.is_by(&local.key) {
            return self.refuse(now, &request, ErrorCode::Unauthenticated);
        }
        if request.has_unknown() {
            // RFC 8489 §6.3.1.
            return Some(request.error(ErrorCode::UnknownAttribute, Some(&local.key)));
        }
        if request.is_controlled() {
            // RFC 8445 §7.3.1.1: a lite agent cannot take over; the other side has to.
            return Some(request.error(ErrorCode::RoleConflict, Some(&local.key)));
        }
        let answer = request.success(from.peer, &local.key);
        if is_next && let Some(next) = self.next.take() {
            self.local = next;
        }
        self.prove(from);
        self.heard_at = now;
        // RFC 8445 §7.3.1.5 for the lite side: a nominated pair is chosen at once.
        let forsaken = self.selected.is_some() && now.since(self.consent_at) >= FORSAKEN_AFTER;
        if self.selected != Some(from) && (request.nominates() || forsaken) {
            self.selected = Some(from);
            self.events.push_back(IceEvent::Selected(from));
        }
        self.consent(now, from);
        Some(answer)
    }

    /// An authentic packet came that is not STUN. RFC 7675 counts checks alone; there are stacks that send none once
    /// they play (libnice by default), and who sends authentic reports of what it receives is there and wants it.
    pub fn handle_authentic(&mut self, now: Monotonic, from: Route) {
        if !self.ended {
            self.heard_at = now;
            self.consent(now, from);
        }
    }

    /// Nobody is at home there.
    pub fn handle_unreachable(&mut self, route: Route) {
        self.proven.retain(|proven| *proven != route);
        if self.selected == Some(route) {
            if matches!(route.link, Link::Tcp(_)) {
                // A connection does not come back; another one may be nominated.
                self.selected = None;
            }
            self.fall_silent();
        }
    }

    fn refuse(&mut self, now: Monotonic, request: &Request<'_>, code: ErrorCode) -> Option<Bytes> {
        if now.since(self.errors.0) >= Duration::from_secs(1) {
            self.errors = (now, 0);
        }
        self.errors.1 += 1;
        (self.errors.1 <= ERRORS_A_SECOND).then(|| request.error(code, None))
    }

    fn prove(&mut self, route: Route) {
        if let Some(at) = self.proven.iter().position(|proven| *proven == route) {
            self.proven.remove(at);
        }
        self.proven.push_front(route);
        if self.proven.len() > ROUTES {
            let spared = self.proven.iter().rposition(|proven| Some(*proven) != self.selected);
            self.proven.remove(spared.unwrap_or(ROUTES));
        }
    }

    fn consent(&mut self, now: Monotonic, from: Route) {
        if self.selected == Some(from) {
            self.consent_at = now;
            if std::mem::take(&mut self.silent) {
                self.events.push_back(IceEvent::Heard);
            }
        }
    }

    fn fall_silent(&mut self) {
        if !std::mem::replace(&mut self.silent, true) {
            self.events.push_back(IceEvent::Silent);
        }
    }

    fn silent_at(&self) -> Option<Monotonic> {
        (self.selected.is_some() && !self.silent).then_some(self.consent_at + SILENT_AFTER)
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Monotonic) {
        if self.silent_at().is_some_and(|at| at <= now) {
            self.fall_silent();
        }
        if !self.ended && self.heard_at + ENDED_AFTER <= now {
            self.ended = true;
            self.events.push_back(IceEvent::Ended);
        }
    }

    /// When [`Agent::handle_timeout`] is due next.
    pub fn poll_timeout(&self) -> Option<Monotonic> {
        let ended_at = (!self.ended).then_some(self.heard_at + ENDED_AFTER);
        self.silent_at().into_iter().chain(ended_at).min().filter(|_| !self.ended)
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<IceEvent> {
        self.events.pop_front()
    }

    /// RFC 8445 §9: new credentials. Checks with the old ones are answered until the first with the new ones, and the
    /// chosen way stays until the viewer chooses another.
    pub fn restart(&mut self, local: Credentials) {
        self.next = Some(local.into());
    }

    /// The way media go.
    pub fn selected(&self) -> Option<Route> {
        self.selected
    }

    /// Whether an authentic check came this way: other datagrams are taken from nowhere else.
    pub fn is_proven(&self, route: Route) -> bool {
        self.proven.contains(&route)
    }
}

#[cfg(test)]
#[path = "ice_tests.rs"]
mod tests;
