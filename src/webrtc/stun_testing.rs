//! A full agent's connectivity checks, for tests.

use super::*;

/// A check under construction (RFC 8445 §7.2).
#[derive(Clone)]
pub(in crate::webrtc) struct Check {
    username: String,
    password: Option<String>,
    nominates: bool,
    controlled: bool,
    unknown: Option<u16>,
}

impl Check {
    pub(in crate::webrtc) fn new(username: &str, password: &str) -> Self {
        let (username, password) = (username.to_owned(), Some(password.to_owned()));
        Self { username, password, nominates: false, controlled: false, unknown: None }
    }

    pub(in crate::webrtc) fn nominating(self) -> Self {
        Self { nominates: true, ..self }
    }

    pub(in crate::webrtc) fn controlled(self) -> Self {
        Self { controlled: true, ..self }
    }

    pub(in crate::webrtc) fn without_integrity(self) -> Self {
        Self { password: None, ..self }
    }

    pub(in crate::webrtc) fn with_unknown(self, kind: u16) -> Self {
        Self { unknown: Some(kind), ..self }
    }

    pub(in crate::webrtc) fn build(&self) -> Vec<u8> {
        let mut message = Answer::begin(method::BINDING_REQUEST, b"transaction.");
        message.attribute(attribute::USERNAME, |value| value.put_slice(self.username.as_bytes()));
        message.attribute(attribute::PRIORITY, |value| value.put_u32(1));
        // ICE-CONTROLLING and ICE-CONTROLLED, each with a tie-breaker.
        let role = if self.controlled { attribute::ICE_CONTROLLED } else { 0x802a };
        message.attribute(role, |value| value.put_u64(7));
        if self.nominates {
            message.attribute(attribute::USE_CANDIDATE, |_| {});
        }
        if let Some(kind) = self.unknown {
            message.attribute(kind, |_| {});
        }
        message.finish(self.password.as_deref().map(short_term_key).as_ref()).to_vec()
    }
}
