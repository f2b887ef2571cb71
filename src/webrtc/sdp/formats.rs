//! The formats and header extensions of one section of an offer (RFC 8866 §6.6, §6.15, RFC 4588 §8, RFC 8285 §5).
//! Sans-IO.

use super::{
    Extension, Feedback, Format, OfferError,
    lines::{Attributes, RawSection, is_token},
};

/// The most parameters of one format.
const PARAMETERS_MAX: usize = 32;
/// The longest value of a parameter, in bytes: parameter sets in base64 are the longest there are.
const VALUE_MAX: usize = 1024;
/// The longest name of an extension that we know or could be interested in.
const URI_MAX: usize = 128;

/// Formats that mean something without an `rtpmap` (RFC 3551 §6).
const STATIC: [(u8, &str, u32); 3] = [(0, "PCMU", 8000), (8, "PCMA", 8000), (9, "G722", 8000)];

/// The formats in the viewer's order; `rtx` is folded into what it repeats, what has no meaning here is left in for
/// [`super::choose`] to pass over.
pub(super) fn formats(
    raw: &RawSection<'_>,
    wrong: &impl Fn(&'static str) -> OfferError,
) -> Result<Vec<Format>, OfferError> {
    let own = &raw.attributes;
    let mut found: Vec<Format> = Vec::with_capacity(raw.formats.len());
    for text in &raw.formats {
        let payload_type: u8 =
            text.parse().ok().filter(|number| *number < 128).ok_or_else(|| wrong("a payload type is 0 to 127"))?;
        if found.iter().any(|format| format.payload_type == payload_type) {
            return Err(wrong("a payload type stands there twice"));
        }
        let map = of(own, "rtpmap", payload_type).next().and_then(rtpmap);
        let fixed =
            || STATIC.into_iter().find(|(number, ..)| *number == payload_type).map(|(_, name, rate)| (name, rate, 1));
        // A number without a meaning is no format: old stacks list some.
        let Some((encoding, clock_rate, channels)) = map.or_else(fixed) else { continue };
        found.push(Format {
            payload_type,
            encoding: encoding.to_owned(),
            clock_rate,
            channels,
            parameters: of(own, "fmtp", payload_type).flat_map(parameters).take(PARAMETERS_MAX).collect(),
            feedback: feedback(own, payload_type),
            rtx: None,
        });
    }
    let repeats: Vec<(u8, u8, u32)> = found
        .iter()
        .filter(|format| format.is("rtx"))
        .filter_map(|rtx| Some((rtx.parameter("apt")?.parse().ok()?, rtx.payload_type, rtx.clock_rate)))
        .collect();
    found.retain(|format| !format.is("rtx"));
    for format in &mut found {
        let own = repeats.iter().find(|(of, _, rate)| *of == format.payload_type && *rate == format.clock_rate);
        format.rtx = own.map(|(_, rtx, _)| *rtx);
    }
    Ok(found)
}

/// The values of the attributes `name:payload_type value`.
fn of<'a>(own: &Attributes<'a>, name: &'static str, payload_type: u8) -> impl Iterator<Item = &'a str> {
    own.all(name).filter_map(move |value| {
        let (number, rest) = value.split_once([' ', '\t'])?;
        (number.parse() == Ok(payload_type)).then_some(rest.trim())
    })
}

/// `H264/90000`, `opus/48000/2`
fn rtpmap(value: &str) -> Option<(&str, u32, u8)> {
    let mut parts = value.split('/');
    let (encoding, rate) = (parts.next()?, parts.next()?.parse().ok()?);
    let channels = parts.next().map_or(Some(1), |channels| channels.parse().ok())?;
    (is_token(encoding) && rate > 0).then_some((encoding, rate, channels))
}

/// `a=1; b=2`, or words that are no pairs, which keep an empty name away from the answer.
fn parameters(value: &str) -> impl Iterator<Item = (String, String)> {
    value.split(';').filter_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        (is_token(name) && value.len() <= VALUE_MAX).then(|| (name.to_owned(), value.to_owned()))
    })
}

/// RFC 4585 §4.2: the number may be `*`, for all formats.
fn feedback(own: &Attributes<'_>, payload_type: u8) -> Feedback {
    let mut found = Feedback::default();
    for value in own.all("rtcp-fb") {
        let Some((number, words)) = value.split_once([' ', '\t']) else { continue };
        if number != "*" && number.parse() != Ok(payload_type) {
            continue;
        }
        let mut words = words.split_ascii_whitespace();
        match (words.next(), words.next()) {
            (Some("nack"), None) => found.nack = true,
            (Some("nack"), Some("pli")) => found.pli = true,
            (Some("ccm"), Some("fir")) => found.fir = true,
            (Some("goog-remb"), None) => found.remb = true,
            (Some("transport-cc"), None) => found.transport_cc = true,
            _ => {}
        }
    }
    found
}

/// The extensions the viewer reads, with numbers that fit the one-byte form (RFC 8285 §4.2), the first of each number.
pub(super) fn extensions(own: &Attributes<'_>, session: &Attributes<'_>) -> Vec<Extension> {
    let mut found: Vec<Extension> = Vec::new();
    for value in own.all("extmap").chain(session.all("extmap")) {
        let mut words = value.split_ascii_whitespace();
        let (Some(number), Some(uri)) = (words.next(), words.next()) else { continue };
        // §5: `4/recvonly`: the viewer only reads it.
        let (number, direction) = number.split_once('/').unwrap_or((number, "sendrecv"));
        let Ok(id @ 1..=14) = number.parse::<u8>() else { continue };
        let reads = matches!(direction, "sendrecv" | "recvonly");
        if reads && uri.len() <= URI_MAX && !found.iter().any(|other| other.id == id) {
            found.push(Extension { id, uri: uri.to_owned() });
        }
    }
    found
}
