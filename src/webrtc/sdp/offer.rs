//! A viewer's offer, read and bounded (RFC 8829 §5.8, RFC 9143 §7, RFC 8839 §5). Sans-IO.
//!
//! It knows nothing of what we have: it says what the viewer can take, or why nothing can be made of it. Candidates are
//! passed over, mDNS names and all: a lite agent learns addresses from checks. Longer by the types it fills.

use super::{
    formats::{extensions, formats},
    lines::{self, Attributes, RawSection, is_ice, is_token},
};
use crate::{base::Secret, webrtc::identity::Fingerprint};

/// What a viewer offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The viewer's ICE user name.
    pub ufrag: String,
    /// The viewer's ICE password.
    pub pwd: Secret,
    /// The hash of the viewer's certificate.
    pub fingerprint: Fingerprint,
    /// Whether the sections share one transport (RFC 9143).
    pub bundled: bool,
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
    /// Whether media can go over it.
    pub usable: bool,
    /// Who sends.
    pub direction: Direction,
    /// Whether RTCP need not be compound (RFC 5506).
    pub reduced_rtcp: bool,
    /// The formats in the viewer's order, retransmission folded into the format it belongs to.
    pub formats: Vec<Format>,
    /// The header extensions it understands.
    pub extensions: Vec<Extension>,
    /// The media word of the `m=` line.
    pub(super) word: String,
    /// The protocol of the `m=` line.
    pub(super) protocol: String,
    /// The first format of the `m=` line, which a refusal repeats.
    pub(super) first_format: String,
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

impl Direction {
    /// The attribute.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    /// Whether the viewer takes media.
    pub const fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// What stands in a section or else in the session; RFC 8866 §6.7: sendrecv if nowhere.
    fn of(section: &Attributes<'_>, session: &Attributes<'_>) -> Self {
        let all = [Self::SendRecv, Self::SendOnly, Self::RecvOnly, Self::Inactive];
        let find = |attributes: &Attributes<'_>| all.into_iter().find(|direction| attributes.has(direction.name()));
        find(section).or_else(|| find(session)).unwrap_or(Self::SendRecv)
    }
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

impl Format {
    /// The value of a parameter, whatever the case of its name.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(found, _)| found.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Whether it is this encoding, whatever the case.
    pub fn is(&self, encoding: &str) -> bool {
        self.encoding.eq_ignore_ascii_case(encoding)
    }
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
    /// Its number on the wire, 1 to 14.
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
    /// More bytes than any viewer writes.
    #[error("the offer has {bytes} bytes, {most} at most are read")]
    TooLong {
        /// Bytes of the offer.
        bytes: usize,
        /// The bound.
        most: usize,
    },
    /// More of something than any viewer writes.
    #[error("the offer has more than {most} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The bound.
        most: usize,
    },
    /// A line that cannot be read.
    #[error("line {line} of the offer: expected {expected}")]
    Line {
        /// Counted from one.
        line: usize,
        /// What should stand there.
        expected: &'static str,
    },
    /// Something is not as it must be.
    #[error("section {section:?} of the offer: {what}")]
    Section {
        /// Its `mid`, or its place where it has none.
        section: String,
        /// What is wrong.
        what: &'static str,
    },
    /// A viewer only takes (WHEP §4.3.5).
    #[error("section {section:?} of the offer is `{}`: a viewer offers `recvonly`, or `sendrecv`", .direction.name())]
    Direction {
        /// Its `mid`.
        section: String,
        /// What it is.
        direction: Direction,
    },
    /// Nothing to watch with.
    #[error("the offer has no section for pictures or sound that can be used: {0}")]
    NoMedia(&'static str),
}

impl OfferError {
    /// Whether the offer can be read and asks for what a viewer cannot ask for.
    pub const fn is_direction(&self) -> bool {
        matches!(self, Self::Direction { .. })
    }
}

/// What the sections of one transport have in common.
struct Transport {
    ufrag: String,
    pwd: Secret,
    fingerprint: Fingerprint,
}

impl Offer {
    /// Reads an offer.
    ///
    /// # Errors
    /// What is wrong with it, in words for the one who wrote it.
    pub fn parse(text: &str) -> Result<Self, OfferError> {
        let description = lines::description(text)?;
        let session = &description.session;
        // RFC 8445 §6.1.1: with two lite agents neither checks, and nobody would ever be heard.
        if session.has("ice-lite") {
            return Err(OfferError::NoMedia("`a=ice-lite` on both sides cannot work, and this server has it"));
        }
        let group: Vec<&str> = session
            .all("group")
            .find_map(|group| group.strip_prefix("BUNDLE"))
            .map(|mids| mids.split_ascii_whitespace().take(lines::SECTIONS_MAX).collect())
            .unwrap_or_default();
        let mut sections: Vec<Section> = Vec::with_capacity(description.sections.len());
        let mut transports: Vec<Option<Transport>> = Vec::with_capacity(description.sections.len());
        for (place, raw) in description.sections.iter().enumerate() {
            let (section, transport) = read_section(place, raw, session, &group)?;
            if sections.iter().any(|other| other.mid == section.mid) {
                return Err(OfferError::Section { section: section.mid, what: "another section has the same `a=mid`" });
            }
            sections.push(section);
            transports.push(transport);
        }
        let bundled = !group.is_empty();
        if !bundled {
            keep_one(&mut sections);
        }
        // RFC 9143 §7.2.1: the transport of a group is that of its first section with a port of its own; the others
        // repeat it or have none.
        let first = sections.iter().zip(&mut transports).filter(|(section, _)| section.usable);
        let transport = first.into_iter().find_map(|(_, transport)| transport.take());
        match transport {
            Some(Transport { ufrag, pwd, fingerprint }) => Ok(Self { ufrag, pwd, fingerprint, bundled, sections }),
            None if sections.is_empty() => Err(OfferError::NoMedia("there is no `m=` line")),
            None if sections.iter().any(|section| section.usable) => {
                Err(OfferError::NoMedia("`a=ice-ufrag`, `a=ice-pwd` or `a=fingerprint` is missing"))
            }
            None => Err(OfferError::NoMedia("every section is refused, or wants something else than RTP over DTLS")),
        }
    }

    /// The section of this name.
    pub fn section(&self, mid: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.mid == mid)
    }
}

/// Without a group every section would be a transport of its own; we have one: the first of pictures, else of sound.
fn keep_one(sections: &mut [Section]) {
    let place = |kind| sections.iter().position(|section| section.usable && section.kind == kind);
    let kept = place(SectionKind::Video).or_else(|| place(SectionKind::Audio));
    for (place, section) in sections.iter_mut().enumerate() {
        section.usable &= Some(place) == kept;
    }
}

fn read_section(
    place: usize,
    raw: &RawSection<'_>,
    session: &Attributes<'_>,
    group: &[&str],
) -> Result<(Section, Option<Transport>), OfferError> {
    let own = &raw.attributes;
    // RFC 8829 §5.2.1 asks for one; a lone section of an older stack has none.
    let mid = own.first("mid").map_or_else(|| place.to_string(), |mid| mid.trim().to_owned());
    let wrong = |what| OfferError::Section { section: mid.clone(), what };
    if !is_token(&mid) {
        return Err(OfferError::Section { section: place.to_string(), what: "`a=mid` should be a short token" });
    }
    let kind = match raw.word {
        "video" => SectionKind::Video,
        "audio" => SectionKind::Audio,
        _ => SectionKind::Other,
    };
    let direction = Direction::of(own, session);
    // RFC 9143 §6: port 0 refuses a section, unless it is there for the bundle only.
    let asked = kind != SectionKind::Other && (raw.port != 0 || own.has("bundle-only"));
    if asked && !direction.receives() {
        return Err(OfferError::Direction { section: mid, direction });
    }
    let secure = matches!(raw.protocol, "UDP/TLS/RTP/SAVPF" | "UDP/TLS/RTP/SAVP" | "RTP/SAVPF" | "TCP/TLS/RTP/SAVPF");
    let bundled = group.is_empty() || group.contains(&mid.as_str());
    // RFC 8829 §5.8: without rtcp-mux RTCP would need a port of its own.
    let muxed = own.has("rtcp-mux") || own.has("rtcp-mux-only");
    if asked && secure && bundled && !muxed {
        return Err(wrong("`a=rtcp-mux` is missing: RTP and RTCP share one port here"));
    }
    let usable = asked && secure && bundled;
    let transport = if usable { read_transport(own, session, wrong)? } else { None };
    let section = Section {
        kind,
        usable,
        direction,
        reduced_rtcp: own.has("rtcp-rsize"),
        formats: if usable { formats(raw, &wrong)? } else { Vec::new() },
        extensions: if usable { extensions(own, session) } else { Vec::new() },
        word: raw.word.to_owned(),
        protocol: raw.protocol.chars().take(64).collect(),
        first_format: raw.formats.first().map_or_else(String::new, |format| format.chars().take(64).collect()),
        mid,
    };
    Ok((section, transport))
}

fn read_transport(
    own: &Attributes<'_>,
    session: &Attributes<'_>,
    wrong: impl Fn(&'static str) -> OfferError,
) -> Result<Option<Transport>, OfferError> {
    let either = |name| own.first(name).or_else(|| session.first(name)).map(str::trim);
    let (Some(ufrag), Some(pwd)) = (either("ice-ufrag"), either("ice-pwd")) else { return Ok(None) };
    // RFC 8839 §5.4
    if !is_ice(ufrag, 4) || !is_ice(pwd, 22) {
        return Err(wrong("`a=ice-ufrag` has 4 to 256 letters and digits, `a=ice-pwd` 22 to 256"));
    }
    // RFC 8842 §5.2: a viewer that would wait for our handshake waits for ever, since we wait for its.
    if let Some("passive" | "holdconn") = either("setup") {
        return Err(wrong("`a=setup` should be `actpass` or `active`: this server is the passive side"));
    }
    let fingerprints = if own.has("fingerprint") { own } else { session };
    if !fingerprints.has("fingerprint") {
        return Ok(None);
    }
    // RFC 8122 §5: one per hash; the commonest will do.
    let (common, others): (Vec<_>, Vec<_>) =
        fingerprints.all("fingerprint").take(16).partition(|text| text.trim_start().starts_with("sha-256"));
    let fingerprint = common.into_iter().chain(others).find_map(|text| Fingerprint::parse(text).ok());
    let fingerprint =
        fingerprint.ok_or_else(|| wrong("`a=fingerprint` should be that of a sha-256, sha-384 or sha-512"))?;
    Ok(Some(Transport { ufrag: ufrag.to_owned(), pwd: Secret::new(pwd), fingerprint }))
}
