//! The opening handshake, the server's side, as a function of the request's headers. Sans-IO. RFC 6455 §4.2;
//! RFC 7692 §5, §7.1 (permessage-deflate, always without context takeover).

use aws_lc_rs::digest;
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::encoding::{Encoding, Format};

/// What both sides agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// The form of messages, both ways.
    pub encoding: Encoding,
    /// The headers of the answer 101, besides `Connection` and `Upgrade`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// Why there is no handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request asks for no WebSocket.
    #[error("this URL speaks WebSocket alone: the request has no `Upgrade: websocket`")]
    NoUpgrade,
    /// §4.2.2: another version than 13.
    #[error("this server speaks version 13 of the WebSocket protocol")]
    Version,
    /// §4.2.1: the key is not 16 bytes in base64.
    #[error("`Sec-WebSocket-Key` is not 16 bytes in base64, or stands there more than once")]
    Key,
}

/// §1.3
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What a server says that takes no context over, in either direction (RFC 7692 §7.1.1). The client keeps to it whether
/// it offered that or not (§7.1.1.2).
const DEFLATE: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
const DEFLATE_WITH_BITS: &str =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15";

/// Reads a request's headers and says what is agreed; `deflate` whether compression is offered at all.
///
/// # Errors
/// The request is no handshake of RFC 6455.
pub fn negotiate(headers: &HeaderMap, deflate: bool) -> Result<Agreed, Refusal> {
    let asks = tokens(headers, &header::UPGRADE).any(|token| token.eq_ignore_ascii_case("websocket"))
        && tokens(headers, &header::CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"));
    if !asks {
        return Err(Refusal::NoUpgrade);
    }
    if only(headers, &header::SEC_WEBSOCKET_VERSION) != Some("13") {
        return Err(Refusal::Version);
    }
    let key = only(headers, &header::SEC_WEBSOCKET_KEY).ok_or(Refusal::Key)?;
    if BASE64_STANDARD.decode(key).map(|key| key.len()) != Ok(16) {
        return Err(Refusal::Key);
    }
    let mut answer = vec![(header::SEC_WEBSOCKET_ACCEPT, accept(key))];
    // §4.2.2: the first protocol of the client's list that we know; without one we speak JSON and name none.
    let protocol = tokens(headers, &header::SEC_WEBSOCKET_PROTOCOL).find_map(Format::of_protocol);
    if let Some(format) = protocol {
        answer.push((header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(format.protocol())));
    }
    // RFC 7692 §5.1: the first offer that can be kept.
    let agreed = if deflate { tokens(headers, &header::SEC_WEBSOCKET_EXTENSIONS).find_map(keep) } else { None };
    if let Some(extension) = agreed {
        answer.push((header::SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static(extension)));
    }
    let encoding = Encoding { format: protocol.unwrap_or_default(), deflate: agreed.is_some() };
    Ok(Agreed { encoding, headers: answer })
}

/// Whether the client's list of sub-protocols has this one (RFC 6455 §4.1: names are compared as they are).
pub fn offers(headers: &HeaderMap, protocol: &str) -> bool {
    tokens(headers, &header::SEC_WEBSOCKET_PROTOCOL).any(|offered| offered == protocol)
}

/// The `Sec-WebSocket-Accept` of a key (§4.2.2).
fn accept(key: &str) -> HeaderValue {
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, [key, GUID].concat().as_bytes());
    // Base64 is visible ASCII: this never fails.
    HeaderValue::try_from(BASE64_STANDARD.encode(hash)).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// The answer to one offer of an extension, if it can be kept (RFC 7692 §7.1).
fn keep(offer: &str) -> Option<&'static str> {
    let mut parts = offer.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case("permessage-deflate") {
        return None;
    }
    let (mut seen, mut answer) = (Vec::new(), DEFLATE);
    for parameter in parts {
        let (name, value) = match parameter.split_once('=') {
            Some((name, value)) => (name.trim_end(), Some(value.trim().trim_matches('"'))),
            None => (parameter, None),
        };
        // §7.1: a parameter stands there once.
        if seen.contains(&name) || seen.len() > 4 {
            return None;
        }
        seen.push(name);
        match (name, value) {
            ("server_no_context_takeover" | "client_no_context_takeover" | "client_max_window_bits", None) => {}
            // §7.1.2.2: how much the client would need; we inflate with the whole window anyway.
            ("client_max_window_bits", Some(bits)) if window_bits(bits).is_some() => {}
            // §7.1.2.1: our deflater has one window, and that one is agreed to.
            ("server_max_window_bits", Some(bits)) if window_bits(bits) == Some(15) => answer = DEFLATE_WITH_BITS,
            _ => return None,
        }
    }
    Some(answer)
}

/// A number from 8 to 15 without leading zeros (§7.1.2).
fn window_bits(text: &str) -> Option<u8> {
    let bits = text.parse().ok().filter(|bits| (8..=15).contains(bits))?;
    (!text.starts_with(['0', '+'])).then_some(bits)
}

/// The comma-separated items of all headers of a name.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

/// The value of a header that stands there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { value.to_str().ok().map(str::trim) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BARE: [(&str, &str); 4] = [
        ("upgrade", "websocket"),
        ("connection", "keep-alive, Upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    fn headers(list: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| -> (HeaderName, HeaderValue) {
            (name.parse().unwrap(), value.parse().unwrap())
        };
        list.iter().map(pair).collect()
    }

    fn with(more: &[(&str, &str)]) -> Result<Agreed, Refusal> {
        let mut all = headers(&BARE);
        for (name, value) in headers(more) {
            all.append(name.unwrap(), value);
        }
        negotiate(&all, true)
    }

    fn answer(agreed: &Agreed, name: &HeaderName) -> Option<String> {
        let found = agreed.headers.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn the_key_of_the_standard_is_accepted_as_the_standard_says() {
        let agreed = with(&[]).unwrap();
        assert_eq!(answer(&agreed, &header::SEC_WEBSOCKET_ACCEPT).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!((agreed.headers.len(), agreed.encoding), (1, Encoding::default()));
    }

    #[test]
    fn what_is_no_handshake_of_version_13_is_refused_by_name() {
        let table: [(&str, &str, Refusal); 8] = [
            ("upgrade", "h2c", Refusal::NoUpgrade),
            ("upgrade", "", Refusal::NoUpgrade),
            ("connection", "keep-alive", Refusal::NoUpgrade),
            ("sec-websocket-version", "8", Refusal::Version),
            ("sec-websocket-version", "", Refusal::Version),
            ("sec-websocket-key", "", Refusal::Key),
            ("sec-websocket-key", "c2hvcnQ=", Refusal::Key),
            ("sec-websocket-key", "!!!!!!!!!!!!!!!!!!!!!!==", Refusal::Key),
        ];
        for (name, value, refusal) in table {
            let mut all = headers(&BARE);
            all.insert(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
            assert_eq!(negotiate(&all, true), Err(refusal), "{name}: {value}");
        }
        assert_eq!(with(&[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")]), Err(Refusal::Key), "twice");
    }

    #[test]
    fn the_first_protocol_of_the_list_that_is_known_is_spoken() {
        let table = [
            ("campanile.events.v1", Format::Json, Some("campanile.events.v1")),
            (
                "chat, campanile.events.v1+msgpack, campanile.events.v1",
                Format::MessagePack,
                Some("campanile.events.v1+msgpack"),
            ),
            ("chat", Format::Json, None),
        ];
        for (list, format, named) in table {
            let agreed = with(&[("sec-websocket-protocol", list)]).unwrap();
            assert_eq!(agreed.encoding.format, format, "{list}");
            assert_eq!(answer(&agreed, &header::SEC_WEBSOCKET_PROTOCOL).as_deref(), named, "{list}");
        }
    }

    #[test]
    fn the_first_offer_of_deflate_that_can_be_kept_is_agreed_to_without_context_takeover() {
        let table = [
            ("permessage-deflate", Some(DEFLATE)),
            ("permessage-deflate; client_max_window_bits", Some(DEFLATE)),
            ("permessage-deflate; client_max_window_bits=10; server_no_context_takeover", Some(DEFLATE)),
            ("permessage-deflate; server_max_window_bits=15", Some(DEFLATE_WITH_BITS)),
            ("permessage-deflate; server_max_window_bits=10", None),
            ("permessage-deflate; server_max_window_bits=10, permessage-deflate", Some(DEFLATE)),
            ("permessage-deflate; server_max_window_bits", None),
            ("permessage-deflate; client_max_window_bits=16", None),
            ("permessage-deflate; client_max_window_bits=08", None),
            ("permessage-deflate; server_no_context_takeover=1", None),
            ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", None),
            ("permessage-deflate; mode", None),
            ("x-webkit-deflate-frame", None),
        ];
        for (offer, expected) in table {
            let agreed = with(&[("sec-websocket-extensions", offer)]).unwrap();
            assert_eq!(agreed.encoding.deflate, expected.is_some(), "{offer}");
            assert_eq!(answer(&agreed, &header::SEC_WEBSOCKET_EXTENSIONS).as_deref(), expected, "{offer}");
        }
        let mut all = headers(&BARE);
        all.insert(header::SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static("permessage-deflate"));
        assert!(!negotiate(&all, false).unwrap().encoding.deflate, "switched off");
    }

    proptest! {
        #[test]
        fn any_header_is_read_without_a_panic(name in 0..6_usize, value in "[ -~]{0,80}") {
            let names = [
                header::UPGRADE, header::CONNECTION, header::SEC_WEBSOCKET_VERSION, header::SEC_WEBSOCKET_KEY,
                header::SEC_WEBSOCKET_PROTOCOL, header::SEC_WEBSOCKET_EXTENSIONS,
            ];
            let mut all = headers(&BARE);
            all.insert(&names[name], HeaderValue::try_from(value).unwrap());
            if let Ok(agreed) = negotiate(&all, true) {
                prop_assert!(!agreed.headers.is_empty());
            }
        }
    }
}
