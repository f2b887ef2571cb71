//! STUN binding requests and their answers (RFC 8489), as far as ICE-lite needs them (RFC 8445 §7), sans-IO.
//!
//! It reads what stands in a datagram and writes answers; whose password verifies a request, and what a request means,
//! is [`super::ice`]'s business. Nothing is allocated for what comes in.

use std::net::{IpAddr, SocketAddr};

use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac};
use bytes::{BufMut as _, Bytes, BytesMut};

/// The bytes that begin every message: type, length, cookie, transaction (RFC 8489 §5).
const HEADER_LEN: usize = 20;
const COOKIE: u32 = 0x2112_a442;
/// What FINGERPRINT is combined with (RFC 8489 §14.7).
const FINGERPRINT_XOR: u32 = 0x5354_554e;
const INTEGRITY_LEN: usize = 20;
/// Unknown attributes that an answer names.
const UNKNOWN_MAX: usize = 8;

mod method {
    pub(super) const BINDING_REQUEST: u16 = 0x0001;
    pub(super) const BINDING_INDICATION: u16 = 0x0011;
    pub(super) const BINDING_SUCCESS: u16 = 0x0101;
    pub(super) const BINDING_ERROR: u16 = 0x0111;
}

mod attribute {
    pub(super) const USERNAME: u16 = 0x0006;
    pub(super) const MESSAGE_INTEGRITY: u16 = 0x0008;
    pub(super) const ERROR_CODE: u16 = 0x0009;
    pub(super) const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
    pub(super) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    pub(super) const PRIORITY: u16 = 0x0024;
    pub(super) const USE_CANDIDATE: u16 = 0x0025;
    pub(super) const FINGERPRINT: u16 = 0x8028;
    pub(super) const ICE_CONTROLLED: u16 = 0x8029;
}

/// Why a datagram is not a binding request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StunError {
    /// Header, lengths or cookie are not those of STUN.
    #[error("datagram is no stun message")]
    Malformed,
    /// FINGERPRINT is there and another one.
    #[error("fingerprint does not fit")]
    Fingerprint,
    /// A message of another kind: an indication, an answer to nobody.
    #[error("message is no binding request")]
    OtherKind,
}

/// A binding request, as it came. Nothing in it is to be believed before [`Request::is_by`] said yes.
#[derive(Clone, Copy, Debug)]
pub struct Request<'datagram> {
    datagram: &'datagram [u8],
    transaction: [u8; 12],
    /// `ours:theirs` (RFC 8445 §7.2.2).
    username: Option<&'datagram str>,
    /// Where MESSAGE-INTEGRITY begins, if it is there.
    integrity_at: Option<usize>,
    use_candidate: bool,
    controlled: bool,
    unknown: ([u16; UNKNOWN_MAX], usize),
}

impl<'datagram> Request<'datagram> {
    /// Reads a binding request.
    ///
    /// # Errors
    /// [`StunError`].
    pub fn parse(datagram: &'datagram [u8]) -> Result<Self, StunError> {
        let (header, attributes) = datagram.split_at_checked(HEADER_LEN).ok_or(StunError::Malformed)?;
        let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let (kind, length) = (word(0), usize::from(word(2)));
        // RFC 8489 §5: two zero bits, whole words, the length without the header, the cookie.
        let cookie = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        if kind >> 14 != 0 || length % 4 != 0 || length != attributes.len() || cookie != COOKIE {
            return Err(StunError::Malformed);
        }
        let mut transaction = [0; 12];
        transaction.copy_from_slice(&header[8..]);
        let mut request = Self {
            datagram,
            transaction,
            username: None,
            integrity_at: None,
            use_candidate: false,
            controlled: false,
            unknown: ([0; UNKNOWN_MAX], 0),
        };
        let mut at = HEADER_LEN;
        while at < datagram.len() {
            // Whole words were counted above: there is always one to read.
            let (kind, length) = (
                u16::from_be_bytes([datagram[at], datagram[at + 1]]),
                usize::from(u16::from_be_bytes([datagram[at + 2], datagram[at + 3]])),
            );
            let value = datagram.get(at + 4..at + 4 + length).ok_or(StunError::Malformed)?;
            request.take(kind, value, at)?;
            at += 4 + length.next_multiple_of(4);
        }
        match kind {
            method::BINDING_REQUEST => Ok(request),
            _ => Err(StunError::OtherKind),
        }
    }

    fn take(&mut self, kind: u16, value: &'datagram [u8], at: usize) -> Result<(), StunError> {
        match kind {
            attribute::FINGERPRINT => {
                // RFC 8489 §14.7: it is the last one and covers what stands before it.
                let value: [u8; 4] = value.try_into().map_err(|_| StunError::Malformed)?;
                let fits =
                    at + 8 == self.datagram.len() && u32::from_be_bytes(value) == fingerprint(&self.datagram[..at]);
                return if fits { Ok(()) } else { Err(StunError::Fingerprint) };
            }
            // RFC 8489 §14.5: what follows MESSAGE-INTEGRITY, but for FINGERPRINT, is as if it were not there.
            _ if self.integrity_at.is_some() => {}
            attribute::MESSAGE_INTEGRITY if value.len() == INTEGRITY_LEN => self.integrity_at = Some(at),
            attribute::MESSAGE_INTEGRITY => return Err(StunError::Malformed),
            // RFC 8489 §14: of an attribute that comes twice, the first counts.
            attribute::USERNAME => {
                let name = std::str::from_utf8(value).map_err(|_| StunError::Malformed)?;
                self.username.get_or_insert(name);
            }
            attribute::USE_CANDIDATE => self.use_candidate = true,
            attribute::ICE_CONTROLLED => self.controlled = true,
            attribute::PRIORITY => {}
            // RFC 8489 §14: the lower half has to be understood.
            unknown if unknown < 0x8000 => {
                if let Some(slot) = self.unknown.0.get_mut(self.unknown.1) {
                    *slot = unknown;
                    self.unknown.1 += 1;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The user name fragment of ours in the user name.
    pub fn ufrag(&self) -> Option<&'datagram str> {
        self.username?.split(':').next()
    }

    /// Whether it has what short-term credentials need (RFC 8489 §9.1.3): a user name and a MESSAGE-INTEGRITY.
    pub fn has_credentials(&self) -> bool {
        self.username.is_some() && self.integrity_at.is_some()
    }

    /// Whether its MESSAGE-INTEGRITY was made with this key.
    pub fn is_by(&self, key: &hmac::Key) -> bool {
        let Some(at) = self.integrity_at else { return false };
        let expected = integrity(key, &self.datagram[..at]);
        verify_slices_are_equal(&expected, &self.datagram[at + 4..at + 4 + INTEGRITY_LEN]).is_ok()
    }

    /// Whether it nominates the way it came (RFC 8445 §7.3.1.5).
    pub fn nominates(&self) -> bool {
        self.use_candidate
    }

    /// Whether its sender takes itself for the controlled side, which we always are (RFC 8445 §6.1.1).
    pub fn is_controlled(&self) -> bool {
        self.controlled
    }

    /// Whether it has attributes that have to be understood and are not.
    pub fn has_unknown(&self) -> bool {
        self.unknown.1 > 0
    }

    /// The success response: where the request came from (RFC 8489 §14.2).
    pub fn success(&self, from: SocketAddr, key: &hmac::Key) -> Bytes {
        let mut answer = Answer::begin(method::BINDING_SUCCESS, &self.transaction);
        answer.mapped_address(from, &self.transaction);
        answer.finish(Some(key))
    }

    /// An error response (RFC 8489 §14.8). With a key it is authentic; RFC 8489 §9.1.3 wants those that say that a
    /// request was not authentic without.
    pub fn error(&self, code: ErrorCode, key: Option<&hmac::Key>) -> Bytes {
        let mut answer = Answer::begin(method::BINDING_ERROR, &self.transaction);
        answer.error(code);
        if code == ErrorCode::UnknownAttribute {
            let unknown = &self.unknown.0[..self.unknown.1];
            answer
                .attribute(attribute::UNKNOWN_ATTRIBUTES, |value| unknown.iter().for_each(|kind| value.put_u16(*kind)));
        }
        answer.finish(key)
    }
}

/// What an error response says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorCode {
    /// 400: no user name or no MESSAGE-INTEGRITY.
    BadRequest,
    /// 401: another user name, another password.
    Unauthenticated,
    /// 420: attributes that are not understood.
    UnknownAttribute,
    /// 487: both sides think the other one decides (RFC 8445 §7.3.1.1).
    RoleConflict,
}

impl ErrorCode {
    const fn number_and_reason(self) -> (u16, &'static str) {
        match self {
            Self::BadRequest => (400, "Bad Request"),
            Self::Unauthenticated => (401, "Unauthenticated"),
            Self::UnknownAttribute => (420, "Unknown Attribute"),
            Self::RoleConflict => (487, "Role Conflict"),
        }
    }
}

/// A response under construction; its length field holds what is there.
struct Answer(BytesMut);

impl Answer {
    fn begin(kind: u16, transaction: &[u8; 12]) -> Self {
        let mut bytes = BytesMut::with_capacity(128);
        bytes.put_u16(kind);
        bytes.put_u16(0);
        bytes.put_u32(COOKIE);
        bytes.put_slice(transaction);
        Self(bytes)
    }

    fn attribute(&mut self, kind: u16, write: impl FnOnce(&mut BytesMut)) {
        self.0.put_u16(kind);
        self.0.put_u16(0);
        let begin = self.0.len();
        write(&mut self.0);
        let length = self.0.len() - begin;
        self.0[begin - 2..begin].copy_from_slice(&(length as u16).to_be_bytes());
        self.0.put_bytes(0, length.next_multiple_of(4) - length);
        self.count(0);
    }

    /// Writes the length field as it will be when `more` bytes are appended.
    fn count(&mut self, more: usize) {
        let length = (self.0.len() - HEADER_LEN + more) as u16;
        self.0[2..4].copy_from_slice(&length.to_be_bytes());
    }

    /// RFC 8489 §14.2: port and address combined with the cookie, and with the transaction for IPv6.
    fn mapped_address(&mut self, address: SocketAddr, transaction: &[u8; 12]) {
        self.attribute(attribute::XOR_MAPPED_ADDRESS, |value| {
            let port = address.port() ^ (COOKIE >> 16) as u16;
            match address.ip().to_canonical() {
                IpAddr::V4(ip) => {
                    value.put_u16(1);
                    value.put_u16(port);
                    value.put_u32(u32::from(ip) ^ COOKIE);
                }
                IpAddr::V6(ip) => {
                    let mut mask = [0; 16];
                    mask[..4].copy_from_slice(&COOKIE.to_be_bytes());
                    mask[4..].copy_from_slice(transaction);
                    value.put_u16(2);
                    value.put_u16(port);
                    value.put_u128(u128::from(ip) ^ u128::from_be_bytes(mask));
                }
            }
        });
    }

    fn error(&mut self, code: ErrorCode) {
        let (number, reason) = code.number_and_reason();
        self.attribute(attribute::ERROR_CODE, |value| {
            value.put_u16(0);
            value.put_u8((number / 100) as u8);
            value.put_u8((number % 100) as u8);
            value.put_slice(reason.as_bytes());
        });
    }

    fn finish(mut self, key: Option<&hmac::Key>) -> Bytes {
        if let Some(key) = key {
            let integrity = integrity(key, &self.0);
            self.attribute(attribute::MESSAGE_INTEGRITY, |value| value.put_slice(&integrity));
        }
        self.count(8);
        let fingerprint = fingerprint(&self.0);
        self.0.put_u16(attribute::FINGERPRINT);
        self.0.put_u16(4);
        self.0.put_u32(fingerprint);
        self.0.freeze()
    }
}

/// The key of short-term credentials: the password (RFC 8489 §9.1.1).
pub fn short_term_key(password: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes())
}

/// RFC 8489 §14.5: over what stands before the attribute, with a length field that ends behind it.
fn integrity(key: &hmac::Key, before: &[u8]) -> [u8; INTEGRITY_LEN] {
    let length = (before.len() - HEADER_LEN + 4 + INTEGRITY_LEN) as u16;
    let mut context = hmac::Context::with_key(key);
    context.update(&before[..2]);
    context.update(&length.to_be_bytes());
    context.update(&before[4..]);
    let mut integrity = [0; INTEGRITY_LEN];
    integrity.copy_from_slice(context.sign().as_ref());
    integrity
}

/// RFC 8489 §14.7; the length field already ends behind the attribute.
fn fingerprint(before: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(before);
    crc.sum() ^ FINGERPRINT_XOR
}

/// The user name fragment of ours that a datagram asks for, if it is a STUN request with a user name: where a viewer
/// that nobody has heard of yet belongs. Nothing is verified.
pub fn asked_ufrag(datagram: &[u8]) -> Option<&str> {
    Request::parse(datagram).ok()?.ufrag()
}

/// Whether a datagram is a STUN indication, which nobody answers (RFC 8445 §11).
pub fn is_indication(datagram: &[u8]) -> bool {
    datagram.starts_with(&method::BINDING_INDICATION.to_be_bytes())
}

#[cfg(test)]
#[path = "stun_testing.rs"]
pub(super) mod testing;
#[cfg(test)]
#[path = "stun_tests.rs"]
mod tests;
