//! A viewer's offer, read and bounded.

use super::Fingerprint;
use crate::base::Secret;

/// What a viewer offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The viewer's ICE user name.
    pub ufrag: String,
    /// The viewer's ICE password.
    pub pwd: Secret,
    /// The hash of the viewer's certificate.
    pub fingerprint: Fingerprint,
    /// The media sections in order; never empty.
    pub sections: Vec<Section>,
}

/// One `m=` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Its name in the BUNDLE group.
    pub mid: String,
    /// Pictures, sound or else.
    pub kind: SectionKind,
    /// Whether it is in the BUNDLE group and can carry media.
    pub usable: bool,
    /// Who sends.
    pub direction: Direction,
    /// The formats in the viewer's order, retransmission folded into the format it belongs to.
    pub formats: Vec<Format>,
    /// The header extensions it understands.
    pub extensions: Vec<Extension>,
    /// The `m=` line after the port, for repeating it in a refusal: protocol and formats.
    pub(super) rest: String,
    /// The media word of the `m=` line.
    pub(super) word: String,
}

/// What a section is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SectionKind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
    /// Data channels and whatever else: refused.
    Other,
}

/// Who sends (RFC 8866 §6.7), from the viewer's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the attributes' own")]
pub enum Direction {
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

/// One format of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// 0 to 127.
    pub payload_type: u8,
    /// The encoding's name, as the viewer spells it.
    pub encoding: String,
    /// The RTP clock.
    pub clock_rate: u32,
    /// Channels, for sound.
    pub channels: u8,
    /// The parameters of its `fmtp` lines, as the viewer spells them.
    pub parameters: Vec<(String, String)>,
    /// What the viewer may send back.
    pub feedback: Feedback,
    /// The payload type of its retransmissions (RFC 4588).
    pub rtx: Option<u8>,
}

/// RTCP feedback of one format (RFC 4585, RFC 5104).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the messages' own")]
pub struct Feedback {
    pub nack: bool,
    pub pli: bool,
    pub fir: bool,
    pub remb: bool,
    pub transport_cc: bool,
}

/// A header extension (RFC 8285).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// Its number on the wire.
    pub id: u8,
    /// Its meaning.
    pub uri: String,
}

/// Why an offer is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OfferError {
    /// Nothing was sent.
    #[error("the offer is empty")]
    Empty,
}

impl Offer {
    /// Reads an offer.
    ///
    /// # Errors
    /// What is wrong with it, in words for the one who wrote it.
    pub fn parse(text: &str) -> Result<Self, OfferError> {
        let _ = text;
        Err(OfferError::Empty)
    }
}
