//! A client that showed nothing when it came, as browsers can set no header on a WebSocket: for a moment it may say
//! `{"type":"token","token":"…"}`, and nothing else. What is allowed to it before that is next to nothing: few wait at once,
//! few of one address, and none follows anything.

use std::{fmt, future::poll_fn, net::IpAddr, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use tokio::time::{sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    close::{CloseCode, Violation},
    door::Arrival,
    line::Line,
    messages::ClientMessage,
    session::Session,
};
use crate::{
    base::{Clock, Monotonic, Result},
    stats::{Place, Places},
};

/// How long a client may take to say who it is.
pub const GRACE: Duration = Duration::from_secs(10);
/// And how long it may take to prove that.
pub const PROOF: Duration = Duration::from_secs(10);
/// Clients that may wait at once, in all and of one address.
const STRANGERS: usize = 512;
const OF_ADDRESS: usize = 32;

/// What knows who shows a token.
pub trait Login: fmt::Debug + Send + Sync {
    /// The client, with what it may see and do.
    ///
    /// # Errors
    /// The token is not right, or allows nothing here.
    fn log_in<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Arrival>>;
}

/// The places of those who wait.
#[derive(Debug)]
pub struct Porch {
    all: Arc<Places<()>>,
    of_address: Arc<Places<IpAddr>>,
}

/// A place of one who waits.
pub type Waiting = (Place<()>, Place<IpAddr>);

/// There are no places for those who wait.
pub const CROWDED: Violation =
    Violation { code: CloseCode::TRY_LATER, reason: "too many wait here who did not say who they are" };

impl Default for Porch {
    fn default() -> Self {
        Self { all: Places::new(STRANGERS), of_address: Places::new(OF_ADDRESS) }
    }
}

impl Porch {
    /// A place, if there is one.
    pub fn take(&self, address: IpAddr) -> Option<Waiting> {
        let of_address = self.of_address.take(address)?;
        Some((self.all.take(())?, of_address))
    }
}

/// What a client may do before it said who it is. Sans-IO.
#[derive(Debug)]
struct Grace {
    until: Monotonic,
}

impl Grace {
    /// The token, if that is what was said.
    fn take(message: ClientMessage) -> std::result::Result<String, Violation> {
        match message {
            ClientMessage::Token { token } => Ok(token),
            _ => Err(Violation { code: CloseCode::POLICY, reason: "say who you are first: {\"type\":\"token\",…}" }),
        }
    }

    /// Whether it took too long.
    fn over(&self, now: Monotonic) -> std::result::Result<(), Violation> {
        if now < self.until {
            return Ok(());
        }
        Err(Violation { code: CloseCode::TOKEN_EXPIRED, reason: "no token came" })
    }
}

/// Hears who a client is.
///
/// # Errors
/// It did not say so, or that is nobody. Nothing to say: it left by itself.
pub(super) async fn hear(
    line: &mut Line,
    session: &mut Session,
    login: &dyn Login,
    clock: Clock,
    stopping: &CancellationToken,
) -> std::result::Result<Arrival, Option<Violation>> {
    let grace = Grace { until: clock.now() + GRACE };
    loop {
        let now = clock.now();
        if let Some(message) = session.poll_request(now) {
            let token = Grace::take(message)?;
            let proved = tokio::select! {
                biased;
                () = stopping.cancelled() => return Err(Some(GOING)),
                proved = timeout(PROOF, login.log_in(&token)) => proved,
            };
            return match proved {
                Ok(Ok(arrival)) => Ok(arrival),
                Ok(Err(error)) => {
                    tracing::debug!(code = error.code(), "websocket: the first message lets nobody in");
                    Err(Some(Violation::of_nobody(&error)))
                }
                Err(_elapsed) => {
                    Err(Some(Violation { code: CloseCode::TRY_LATER, reason: "nobody can say now who you are" }))
                }
            };
        }
        session.handle_timeout(now);
        if session.end().is_some() || !session.is_open() {
            return Err(None);
        }
        grace.over(now)?;
        let due = clock.instant(grace.until.min(session.poll_deadline()));
        tokio::select! {
            biased;
            () = stopping.cancelled() => return Err(Some(GOING)),
            () = poll_fn(|cx| line.poll(cx, session, clock)) => {}
            () = sleep_until(due) => {}
        }
    }
}

const GOING: Violation = Violation { code: CloseCode::GOING_AWAY, reason: "the server ends" };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_token_is_heard_and_only_for_a_moment() {
        let message =
            |text: &str| ClientMessage::read(&super::super::inbound::Incoming::Text(text.to_owned())).unwrap().unwrap();
        assert_eq!(Grace::take(message(r#"{"type":"token","token":"abc"}"#)).unwrap(), "abc");
        for other in [r#"{"type":"ping"}"#, r#"{"type":"subscribe"}"#, r#"{"type":"command","command":"x"}"#] {
            assert_eq!(Grace::take(message(other)).unwrap_err().code, CloseCode::POLICY, "{other}");
        }
        let at = |seconds: u64| Monotonic::from_nanos(seconds * 1_000_000_000);
        let grace = Grace { until: at(10) };
        assert!(grace.over(at(9)).is_ok());
        assert_eq!(grace.over(at(10)).unwrap_err().code, CloseCode::TOKEN_EXPIRED);
    }

    #[test]
    fn few_of_one_address_wait_and_a_place_comes_back() {
        let porch = Porch::default();
        let [here, there]: [IpAddr; 2] = [[10, 0, 0, 1].into(), [10, 0, 0, 2].into()];
        let mut taken: Vec<_> = (0..OF_ADDRESS).map(|_| porch.take(here).unwrap()).collect();
        assert!(porch.take(here).is_none() && porch.take(there).is_some());
        taken.pop();
        assert!(porch.take(here).is_some());
    }
}
