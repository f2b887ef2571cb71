//! The negotiation of a WHEP session: the viewer's offer in, our answer out (RFC 8866, RFC 8829, RFC 9143). Sans-IO.
//!
//! [`Offer::parse`] reads and bounds what the viewer wrote, [`choose`] matches it with the tracks of a path, [`answer`]
//! writes what was chosen, [`Fragment`] is what comes later (RFC 8840).

mod answer;
mod codecs;
mod fragment;
mod offer;

use std::fmt;

pub use self::{
    answer::{Answering, answer},
    codecs::{Chosen, ChosenLine, LeftOut, NothingInCommon, Notice, carries, choose, reorders_pictures},
    fragment::{Fragment, FragmentError, answer_fragment},
    offer::{Direction, Extension, Feedback, Format, Offer, OfferError, Section, SectionKind},
};
use crate::base::Secret;

/// User name and password of one side of ICE (RFC 8445 §5.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// 4 to 256 characters.
    pub ufrag: String,
    /// 22 to 256 characters.
    pub pwd: Secret,
}

/// The hash functions a fingerprint may be made with (RFC 8122 §5). Older ones are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the functions' own")]
pub enum FingerprintHash {
    Sha256,
    Sha384,
    Sha512,
}

/// The hash of a certificate (RFC 8122).
#[derive(Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// Which hash.
    pub hash: FingerprintHash,
    /// Its bytes, as many as the hash gives.
    pub bytes: Vec<u8>,
}

impl FingerprintHash {
    /// The word of SDP.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha-256",
            Self::Sha384 => "sha-384",
            Self::Sha512 => "sha-512",
        }
    }

    /// Bytes of a hash.
    pub const fn size(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.hash.name())?;
        for (i, byte) in self.bytes.iter().enumerate() {
            write!(f, "{}{byte:02X}", if i == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
