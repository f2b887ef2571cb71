//! Why a connection closes: codes, and the body of a close frame. Sans-IO. RFC 6455 §5.5.1, §7.4.

use bytes::Bytes;

use super::frame::{Opcode, frame};
use crate::base::{Error, Kind};

/// The number in a close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// Done.
    pub const NORMAL: Self = Self(1000);
    /// The server ends; come back within the spread that the reason names.
    pub const GOING_AWAY: Self = Self(1001);
    /// The peer broke RFC 6455.
    pub const PROTOCOL: Self = Self(1002);
    /// Text that is no UTF-8, or a body that cannot be inflated.
    pub const INVALID_DATA: Self = Self(1007);
    /// A bad token, a missing right, a flood.
    pub const POLICY: Self = Self(1008);
    /// A message beyond the bound.
    pub const TOO_BIG: Self = Self(1009);
    /// Our fault.
    pub const INTERNAL: Self = Self(1011);
    /// The house is full.
    pub const TRY_LATER: Self = Self(1013);
    /// The token of the connection ended.
    pub const TOKEN_EXPIRED: Self = Self(4401);
    /// The right to be here was withdrawn.
    pub const RIGHT_WITHDRAWN: Self = Self(4403);
    /// The client took no byte for too long; it resumes after its cursor.
    pub const TOO_SLOW: Self = Self(4408);
    /// Too many connections of one user or one address.
    pub const TOO_MANY: Self = Self(4429);

    /// Whether a peer may send it: §7.4.1 and the codes that IANA added, §7.4.2 for the ranges. 1004 to 1006 and 1015
    /// never stand on the wire.
    pub const fn may_stand_on_the_wire(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

/// What the body of a peer's close frame says; nothing if it is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// The code, if there was a body.
    pub code: Option<CloseCode>,
    /// For people.
    pub reason: String,
}

/// The peer broke a rule: the code that it is sent away with, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Violation {
    /// What the close frame says.
    pub code: CloseCode,
    /// The rule, in a few words.
    pub reason: &'static str,
}

impl Violation {
    pub(super) const fn protocol(reason: &'static str) -> Self {
        Self { code: CloseCode::PROTOCOL, reason }
    }

    pub(super) const fn data(reason: &'static str) -> Self {
        Self { code: CloseCode::INVALID_DATA, reason }
    }

    /// What somebody is told who showed a credential, and is nobody.
    pub fn of_nobody(error: &Error) -> Self {
        match error.kind() {
            // Whoever could say is not there, or too many ask.
            Kind::Unavailable => Self { code: CloseCode::TRY_LATER, reason: "nobody can say now who you are" },
            _ => Self { code: CloseCode::POLICY, reason: "the token or password is not valid" },
        }
    }

    pub(super) const TOO_BIG: Self = Self { code: CloseCode::TOO_BIG, reason: "a message has at most 65536 bytes" };
}

impl Close {
    /// Reads the body of a close frame.
    pub(super) fn parse(body: &[u8]) -> Result<Self, Violation> {
        let (code, reason) = match body {
            [] => return Ok(Self { code: None, reason: String::new() }),
            // §5.5.1: if there is a body, it begins with two bytes of code.
            [_] => return Err(Violation::protocol("a close frame has no code or a whole one")),
            [high, low, reason @ ..] => (CloseCode(u16::from_be_bytes([*high, *low])), reason),
        };
        if !code.may_stand_on_the_wire() {
            return Err(Violation::protocol("that close code is not for the wire"));
        }
        match std::str::from_utf8(reason) {
            Ok(reason) => Ok(Self { code: Some(code), reason: reason.to_owned() }),
            Err(_) => Err(Violation::data("the reason of a close frame is no UTF-8")),
        }
    }
}

/// The longest reason (§5.5: a control frame carries 125 bytes, two of them are the code).
const REASON_MAX: usize = 123;

/// A close frame of ours; a reason that is too long is cut between two characters.
pub(super) fn close_frame(code: CloseCode, reason: &str) -> Bytes {
    let reason = &reason[..reason.floor_char_boundary(REASON_MAX)];
    frame(Opcode::Close, false, &[&code.0.to_be_bytes()[..], reason.as_bytes()].concat())
}

/// The answer to a close frame: the same code (§5.5.1), or none.
pub(super) fn echo(close: &Close) -> Bytes {
    let code = close.code.map(|code| code.0.to_be_bytes());
    frame(Opcode::Close, false, code.as_ref().map_or(&[], |code| &code[..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cases of section 7 of the Autobahn suite.
    #[test]
    fn codes_that_may_not_stand_on_the_wire_are_a_breach() {
        for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999] {
            let close = Close::parse(&u16::to_be_bytes(code)).unwrap();
            assert_eq!((close.code, close.reason.as_str()), (Some(CloseCode(code)), ""), "{code}");
        }
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
            assert_eq!(Close::parse(&u16::to_be_bytes(code)).unwrap_err().code, CloseCode::PROTOCOL, "{code}");
        }
    }

    #[test]
    fn a_body_is_empty_or_a_code_and_utf_8() {
        assert_eq!(Close::parse(b"").unwrap().code, None);
        assert_eq!(Close::parse(b"\x03").unwrap_err().code, CloseCode::PROTOCOL);
        assert_eq!(Close::parse(b"\x03\xe8bye \xc3\xa4").unwrap().reason, "bye ä");
        assert_eq!(Close::parse(b"\x03\xe8\xce\xba\xff").unwrap_err().code, CloseCode::INVALID_DATA);
    }

    #[test]
    fn the_answer_repeats_the_code_and_a_long_reason_is_cut_between_characters() {
        assert_eq!(&echo(&Close { code: Some(CloseCode(4000)), reason: "x".into() })[..], b"\x88\x02\x0f\xa0");
        assert_eq!(&echo(&Close { code: None, reason: String::new() })[..], b"\x88\x00");
        let frame = close_frame(CloseCode::POLICY, &"ä".repeat(100));
        assert_eq!((frame[1], frame.len()), (124, 126), "61 characters of two bytes, and the code");
        assert!(std::str::from_utf8(&frame[4..]).is_ok());
    }
}
