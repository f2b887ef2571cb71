//! Writes the answer to an offer.

use super::{Chosen, Credentials, Fingerprint, Offer};
use crate::{base::id::SessionId, webrtc::candidates::Candidate};

/// Our side of a session.
#[derive(Clone, Copy, Debug)]
pub struct Answering<'a> {
    /// Our ICE credentials.
    pub local: &'a Credentials,
    /// The hash of our certificate.
    pub fingerprint: &'a Fingerprint,
    /// Where we can be reached.
    pub candidates: &'a [Candidate],
    /// The session, which names the stream.
    pub session: SessionId,
    /// The canonical name of RTCP, the same on all lines of the session.
    pub cname: &'a str,
}

/// The answer to `offer` that carries what was `chosen` from it.
pub fn answer(offer: &Offer, chosen: &Chosen, ours: &Answering<'_>) -> String {
    let _ = (offer, chosen, ours);
    String::new()
}
