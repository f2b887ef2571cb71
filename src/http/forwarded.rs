//! For whom a proxy speaks: RFC 7239 `Forwarded`, and the older `X-Forwarded-For` and `X-Forwarded-Proto`. Sans-IO.
//!
//! Only a peer that the configuration trusts is believed, and of what it says only what a trusted proxy can have written:
//! the hops are read from the right, and the first address that is not trusted is the client. What stands to the left of it
//! is the client's own word. Many a proxy writes one of the two headers and lets the other pass as the client sent it:
//! where both are there and name different clients, neither is believed.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, header};

use crate::config::Networks;

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// The client, as far as it is known. The port is 0 where a proxy did not say it.
    pub(super) peer: SocketAddr,
    /// The client speaks TLS to a trusted proxy.
    pub(super) secure: bool,
}

/// Where the request of a connection from `peer` comes from.
pub(super) fn origin(trusted: &Networks, peer: SocketAddr, headers: &HeaderMap) -> Origin {
    if trusted.is_empty() || !trusted.contain(peer.ip()) {
        return Origin { peer, secure: false };
    }
    let hops = forwarded(headers);
    let named = (client(trusted, hops.iter().map(|hop| hop.client)), client(trusted, forwarded_for(headers)));
    let client = match named {
        (Some(one), Some(other)) if one.ip() != other.ip() => peer,
        (Some(one), _) | (None, Some(one)) => one,
        (None, None) => peer,
    };
    let last = headers.get_all("x-forwarded-proto").iter().filter_map(|line| line.to_str().ok()).next_back();
    let protos = [last.and_then(|list| list.rsplit(',').next()), hops.last().and_then(|hop| hop.proto)];
    let mut said = protos.into_iter().flatten().map(|proto| proto.trim().eq_ignore_ascii_case("https")).peekable();
    Origin { peer: client, secure: said.peek().is_some() && said.all(|https| https) }
}

/// The client at the end of a chain of hops, which stand in the order they were written in.
fn client(trusted: &Networks, hops: impl DoubleEndedIterator<Item = Option<SocketAddr>>) -> Option<SocketAddr> {
    let mut client = None;
    for hop in hops.rev() {
        // RFC 7239 §6.2, §6.3: `unknown` and made-up names. Who wrote that is as far as we see.
        let Some(hop) = hop else { break };
        client = Some(hop);
        if !trusted.contain(hop.ip()) {
            break;
        }
    }
    client
}

/// The hops of `X-Forwarded-For`.
fn forwarded_for(headers: &HeaderMap) -> impl DoubleEndedIterator<Item = Option<SocketAddr>> {
    let lines = headers.get_all("x-forwarded-for").iter().map(|line| line.to_str().unwrap_or("?"));
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|hop| !hop.is_empty()).map(node)
}

/// One element of `Forwarded`.
#[derive(Debug, Default)]
struct Hop<'a> {
    client: Option<SocketAddr>,
    proto: Option<&'a str>,
}

/// The elements of `Forwarded` (RFC 7239 §4).
fn forwarded(headers: &HeaderMap) -> Vec<Hop<'_>> {
    let lines = headers.get_all(header::FORWARDED).iter().map(|line| line.to_str().unwrap_or("?"));
    // A quotation without an end takes in what a proxy appended behind it: nobody knows who wrote what.
    let lines = lines.map(|line| if quotes(line).last().is_some_and(|(_, quoted)| quoted) { "?" } else { line });
    let elements = lines.flat_map(|line| split(line, ',')).filter(|element| !element.trim().is_empty());
    let hop = |element| {
        split(element, ';').fold(Hop::default(), |hop, pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = value.trim();
            let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
            match name.trim().to_ascii_lowercase().as_str() {
                "for" => Hop { client: node(value), ..hop },
                "proto" => Hop { proto: Some(value), ..hop },
                _ => hop,
            }
        })
    };
    elements.map(hop).collect()
}

/// The pieces between separators that stand in no quoted string.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = quotes(text).map(|(_, quoted)| quoted);
    text.split(move |c| !quoted.next().unwrap_or(false) && c == separator)
}

/// The signs of a text, and whether a quoted string goes on after each (RFC 9110 §5.6.4).
fn quotes(text: &str) -> impl Iterator<Item = (char, bool)> {
    text.chars().scan((false, false), |(quoted, escaped), c| {
        match c {
            _ if *escaped => *escaped = false,
            '\\' if *quoted => *escaped = true,
            '"' => *quoted = !*quoted,
            _ => {}
        }
        Some((c, *quoted))
    })
}

/// A node (RFC 7239 §6): an address, with a port or without. IPv6 stands in brackets in `Forwarded`, and as it likes in
/// the other header.
fn node(text: &str) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let at = |ip: IpAddr, port| SocketAddr::new(ip.to_canonical(), port);
    match (bare.parse::<IpAddr>(), text.parse::<SocketAddr>()) {
        (Ok(ip), _) => Some(at(ip, 0)),
        (Err(_), Ok(address)) => Some(at(address.ip(), address.port())),
        // RFC 7239 §6.3: the port may be a made-up name.
        _ => text.rsplit_once(':').filter(|(_, port)| port.starts_with('_')).and_then(|(ip, _)| node(ip)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn trusted() -> Networks {
        ["127.0.0.1", "10.0.0.0/8", "fd00::/8"].iter().map(|text| text.parse().unwrap()).collect()
    }

    /// The lines of a head.
    type Lines<'a> = &'a [(&'static str, &'a str)];

    fn found(peer: &str, lines: Lines<'_>) -> (String, bool) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        let Origin { peer, secure } = origin(&trusted(), peer.parse().unwrap(), &headers);
        (peer.to_string(), secure)
    }

    #[test]
    fn the_client_is_the_first_address_from_the_right_that_nobody_trusts() {
        const XFF: &str = "x-forwarded-for";
        const RFC: &str = "forwarded";
        let table: &[(&str, Lines<'_>, &str)] = &[
            ("10.0.0.2:9", &[], "10.0.0.2:9"),
            ("10.0.0.2:9", &[(XFF, "203.0.113.7")], "203.0.113.7:0"),
            ("10.0.0.2:9", &[(XFF, "203.0.113.7:4711")], "203.0.113.7:4711"),
            // What the client wrote itself stands further to the left.
            ("10.0.0.2:9", &[(XFF, "127.0.0.1, 203.0.113.7, 10.0.0.3")], "203.0.113.7:0"),
            ("10.0.0.2:9", &[(XFF, "127.0.0.1"), (XFF, "203.0.113.7"), (XFF, "10.0.0.3")], "203.0.113.7:0"),
            ("10.0.0.2:9", &[(XFF, "10.0.0.9, 10.0.0.3")], "10.0.0.9:0"),
            ("10.0.0.2:9", &[(XFF, "203.0.113.7, unknown")], "10.0.0.2:9"),
            ("10.0.0.2:9", &[(XFF, "203.0.113.7, <script>, 10.0.0.3")], "10.0.0.3:0"),
            ("10.0.0.2:9", &[(XFF, "2001:db8::7")], "[2001:db8::7]:0"),
            ("10.0.0.2:9", &[(XFF, "[2001:db8::7]:4711")], "[2001:db8::7]:4711"),
            ("10.0.0.2:9", &[(XFF, "::ffff:203.0.113.7")], "203.0.113.7:0"),
            ("[fd00::2]:9", &[(XFF, " , 203.0.113.7,")], "203.0.113.7:0"),
            ("10.0.0.2:9", &[(RFC, "for=203.0.113.7;proto=https;by=10.0.0.2")], "203.0.113.7:0"),
            ("10.0.0.2:9", &[(RFC, r#"For="[2001:db8::7]:4711", for=10.0.0.3"#)], "[2001:db8::7]:4711"),
            (
                "10.0.0.2:9",
                &[(RFC, r#"for=127.0.0.1;host="a,b;for=10.0.0.9", for="203.0.113.7:_port""#)],
                "203.0.113.7:0",
            ),
            ("10.0.0.2:9", &[(RFC, "for=203.0.113.7, for=_hidden")], "10.0.0.2:9"),
            // A quotation that the client does not end takes what its proxy appends in.
            ("10.0.0.2:9", &[(RFC, r#"for=198.51.100.1;x=", for=203.0.113.7"#)], "10.0.0.2:9"),
            ("10.0.0.2:9", &[(RFC, r#"for=198.51.100.1;x=", for="[2001:db8::7]""#)], "10.0.0.2:9"),
            ("10.0.0.2:9", &[(RFC, r#"for=198.51.100.1;x="\, for=203.0.113.7"#)], "10.0.0.2:9"),
            ("10.0.0.2:9", &[(RFC, r#"for=198.51.100.1;x=""#), (RFC, "for=203.0.113.7")], "203.0.113.7:0"),
            ("10.0.0.2:9", &[(RFC, "proto=https")], "10.0.0.2:9"),
            // One of the two is the client's own.
            ("10.0.0.2:9", &[(RFC, "for=127.0.0.1"), (XFF, "203.0.113.7")], "10.0.0.2:9"),
            ("10.0.0.2:9", &[(RFC, "for=203.0.113.7"), (XFF, "203.0.113.7")], "203.0.113.7:0"),
            // Nobody whom we trust.
            ("203.0.113.7:9", &[(XFF, "127.0.0.1")], "203.0.113.7:9"),
            ("203.0.113.7:9", &[(RFC, "for=10.0.0.9")], "203.0.113.7:9"),
            ("127.0.0.2:9", &[(XFF, "198.51.100.1")], "127.0.0.2:9"),
        ];
        for (peer, lines, client) in table {
            assert_eq!(found(peer, lines).0, *client, "{peer} {lines:?}");
        }
    }

    #[test]
    fn tls_is_believed_of_trusted_proxies_that_do_not_contradict_each_other() {
        const PROTO: &str = "x-forwarded-proto";
        let table: &[(&str, Lines<'_>, bool)] = &[
            ("10.0.0.2:9", &[], false),
            ("10.0.0.2:9", &[(PROTO, "https")], true),
            ("10.0.0.2:9", &[(PROTO, "HTTPS")], true),
            ("10.0.0.2:9", &[(PROTO, "http")], false),
            ("10.0.0.2:9", &[(PROTO, "https, http")], false),
            ("10.0.0.2:9", &[("forwarded", "for=203.0.113.7;proto=https")], true),
            ("10.0.0.2:9", &[("forwarded", "for=203.0.113.7;proto=https"), (PROTO, "http")], false),
            ("203.0.113.7:9", &[(PROTO, "https")], false),
        ];
        for (peer, lines, secure) in table {
            assert_eq!(found(peer, lines).1, *secure, "{peer} {lines:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_client_writes_the_hop_of_its_proxy_counts(text in "[ -~]{0,60}") {
            let mut headers = HeaderMap::new();
            headers.append("x-forwarded-for", text.parse().unwrap());
            headers.append("x-forwarded-for", "203.0.113.7".parse().unwrap());
            let origin = origin(&trusted(), "10.0.0.2:9".parse().unwrap(), &headers);
            prop_assert_eq!(origin.peer.ip(), "203.0.113.7".parse::<IpAddr>().unwrap());
        }

        /// Proxies append to the line that came, or to a list of lines.
        #[test]
        fn whatever_a_client_writes_it_is_nobody_else_to_a_proxy_that_appends(text in "(for=1\\.2\\.3\\.4)?[ -~]{0,30}[\";=,\\\\]{0,4}") {
            for own in ["for=203.0.113.7", "for=\"203.0.113.7:80\";proto=http"] {
                let mut headers = HeaderMap::new();
                headers.append("forwarded", format!("{text}, {own}").parse().unwrap());
                let Origin { peer, secure } = origin(&trusted(), "10.0.0.2:9".parse().unwrap(), &headers);
                let known = ["203.0.113.7", "10.0.0.2"].map(|ip| ip.parse::<IpAddr>().unwrap());
                prop_assert!(known.contains(&peer.ip()) && !secure, "{}", peer);
            }
        }

        #[test]
        fn whatever_stands_in_forwarded_is_read_to_its_end(text in "[ -~]{0,60}") {
            let mut headers = HeaderMap::new();
            headers.append("forwarded", text.parse().unwrap());
            let _ = origin(&trusted(), "10.0.0.2:9".parse().unwrap(), &headers);
        }
    }
}
