//! A session description cut into its session part and its media sections, each with its attributes, and the bounds
//! that keep a hostile one cheap (RFC 8866 §5, §9). Sans-IO.

use super::OfferError;

/// The longest description, in bytes. Three Chromium lines of pictures are 11 kB.
pub(super) const TEXT_MAX: usize = 128 * 1024;
/// The most media sections.
pub(super) const SECTIONS_MAX: usize = 32;
/// The most attributes of one section.
const ATTRIBUTES_MAX: usize = 2000;

/// A description in pieces that borrow from its text.
#[derive(Debug, Default)]
pub(super) struct Description<'a> {
    /// Attributes before the first section.
    pub(super) session: Attributes<'a>,
    /// The sections in order.
    pub(super) sections: Vec<RawSection<'a>>,
}

/// One `m=` line and what follows it.
#[derive(Debug)]
pub(super) struct RawSection<'a> {
    /// `video`, `audio`, `application` or else.
    pub(super) word: &'a str,
    /// 0 refuses the section, unless it is `bundle-only`.
    pub(super) port: u16,
    /// `UDP/TLS/RTP/SAVPF` and its kin.
    pub(super) protocol: &'a str,
    /// Payload types, or whatever the protocol has there.
    pub(super) formats: Vec<&'a str>,
    /// Its attributes.
    pub(super) attributes: Attributes<'a>,
}

/// `a=` lines: name and value, the value empty where there is none.
#[derive(Debug, Default)]
pub(super) struct Attributes<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Attributes<'a> {
    /// The value of the first attribute of this name.
    pub(super) fn first(&self, name: &str) -> Option<&'a str> {
        self.all(name).next()
    }

    /// The values of all attributes of this name.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(found, _)| *found == name).map(|(_, value)| *value)
    }

    /// Whether there is one.
    pub(super) fn has(&self, name: &str) -> bool {
        self.first(name).is_some()
    }

    fn push(&mut self, line: &'a str) -> Result<(), OfferError> {
        if self.0.len() >= ATTRIBUTES_MAX {
            return Err(OfferError::TooMany { what: "attributes in one section", most: ATTRIBUTES_MAX });
        }
        self.0.push(line.split_once(':').unwrap_or((line, "")));
        Ok(())
    }
}

/// Cuts `text` at its line ends; a bare line feed is one too.
pub(super) fn description(text: &str) -> Result<Description<'_>, OfferError> {
    if text.len() > TEXT_MAX {
        return Err(OfferError::TooLong { bytes: text.len(), most: TEXT_MAX });
    }
    let mut found = Description::default();
    let mut begun = false;
    for (number, line) in lines(text) {
        let Some((kind, value)) = line.split_once('=').filter(|(kind, _)| kind.len() == 1) else {
            return Err(OfferError::Line { line: number, expected: "a letter, `=` and a value" });
        };
        // What is repeated in the answer must not break out of its line.
        if value.chars().any(|c| c.is_control() && c != '\t') {
            return Err(OfferError::Line { line: number, expected: "no control characters" });
        }
        if !begun {
            // RFC 8866 §5.1
            if (kind, value.trim()) != ("v", "0") {
                return Err(OfferError::Line {
                    line: number,
                    expected: "`v=0`, the beginning of a session description",
                });
            }
            begun = true;
            continue;
        }
        match kind {
            "m" => {
                if found.sections.len() >= SECTIONS_MAX {
                    return Err(OfferError::TooMany { what: "media sections", most: SECTIONS_MAX });
                }
                let section = media(value).ok_or(OfferError::Line {
                    line: number,
                    expected: "a media line such as `m=video 9 UDP/TLS/RTP/SAVPF 96`",
                })?;
                found.sections.push(section);
            }
            "a" => match found.sections.last_mut() {
                Some(section) => section.attributes.push(value)?,
                None => found.session.push(value)?,
            },
            // o=, s=, t=, c=, b= and what else there is say nothing to one who answers with its own.
            _ => {}
        }
    }
    if begun { Ok(found) } else { Err(OfferError::Empty) }
}

/// The lines that are not empty, numbered from one.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.split('\n').enumerate().map(|(i, line)| (i + 1, line.strip_suffix('\r').unwrap_or(line)));
    lines.filter(|(_, line)| !line.trim().is_empty())
}

/// `video 9 UDP/TLS/RTP/SAVPF 96 97`; the port may have a count (RFC 8866 §5.14).
pub(super) fn media(value: &str) -> Option<RawSection<'_>> {
    let mut words = value.split_ascii_whitespace();
    let (word, port, protocol) = (words.next()?, words.next()?, words.next()?);
    let port = port.split_once('/').map_or(port, |(port, _)| port).parse().ok()?;
    let formats: Vec<_> = words.take(FORMATS_MAX + 1).collect();
    let fits = is_token(word) && formats.len() <= FORMATS_MAX && !formats.is_empty();
    fits.then(|| RawSection { word, port, protocol, formats, attributes: Attributes::default() })
}

/// The most formats of one section: there are 128 payload types.
const FORMATS_MAX: usize = 128;

/// RFC 8866 §9: `token`, not longer than anything sensible.
pub(super) fn is_token(text: &str) -> bool {
    const OTHERS: &[u8] = b"!#$%&'*+-.^_`{|}~";
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || OTHERS.contains(&b))
}

/// RFC 8839 §5.4: `ice-char`s, so many of them.
pub(super) fn is_ice(text: &str, least: usize) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    // Some stacks write `-`, `_` and `=` (base64 as it comes); they do no harm.
    let seen = |b: u8| matches!(b, b'-' | b'_' | b'=');
    (least..=256).contains(&text.len()) && text.bytes().all(|b| fits(b) || seen(b))
}
