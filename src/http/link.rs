//! What whoever has only a link gets at: a token for one path stands in its URL, and in those that the answers name. Sans-IO.
//!
//! Players keep no header and no cookie on the way from a playlist to its pieces that all of them agree on; a URL they do.

use std::fmt::Write as _;

use http::request::Parts;
use url::form_urlencoded;

use super::caller::query_token;
use crate::auth::{Caller, Identity, Purpose};

/// The token in a request's URL, if that is how the caller is known: what the answer names carries it on.
pub(super) fn carried(parts: &Parts, caller: &Caller) -> Option<String> {
    let by_link = match &caller.identity {
        Identity::Known(known) => known.token().is_some_and(|token| token.purpose == Purpose::Media),
        Identity::Outside(outsider) => outsider.came_by_link(),
        Identity::Nobody | Identity::Refused => false,
    };
    by_link.then(|| query_token(&parts.uri)).flatten()
}

/// Whether a request's URL holds what nobody else should see.
pub(super) fn is_secret(parts: &Parts) -> bool {
    let Some(query) = parts.uri.query() else { return false };
    // A name may be written with percent signs, too.
    let named = || form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "token");
    query.contains("token=") || (query.contains('%') && named())
}

/// A relative URL with the token.
pub(super) fn with_token(url: &str, token: &str) -> String {
    let sign = if url.contains('?') { '&' } else { '?' };
    let token: String = form_urlencoded::byte_serialize(token.as_bytes()).collect();
    format!("{url}{sign}token={token}")
}

/// A playlist whose every URI carries the token: lines that are one, and attributes `URI` of tags (RFC 8216 §4.1, §4.2).
pub(super) fn playlist(text: &str, token: &str) -> String {
    const URI: &str = "URI=\"";
    let mut out = String::with_capacity(text.len() + text.len() / 40 * (token.len() + 7));
    for line in text.lines() {
        match line.find(URI).filter(|_| line.starts_with("#EXT-X-")) {
            Some(at) => {
                let (head, rest) = line.split_at(at + URI.len());
                let (uri, rest) = rest.split_at(rest.find('"').unwrap_or(rest.len()));
                // Writing to a string never fails.
                let _ = writeln!(out, "{head}{}{rest}", with_token(uri, token));
            }
            None if line.is_empty() || line.starts_with('#') => {
                let _ = writeln!(out, "{line}");
            }
            None => {
                let _ = writeln!(out, "{}", with_token(line, token));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_uri_of_a_playlist_carries_the_token_and_nothing_else_changes() {
        let text = "#EXTM3U\n#EXT-X-PART-INF:PART-TARGET=0.2\n#EXT-X-MAP:URI=\"init.mp4\",BYTERANGE=\"1@0\"\n\
                    #EXT-X-PART:DURATION=0.2,URI=\"p1.mp4\",INDEPENDENT=YES\n#EXTINF:2,\nseg1.mp4\n\n\
                    #EXT-X-RENDITION-REPORT:URI=\"sub.m3u8?a=1\",LAST-MSN=4\n#a comment with URI=\"x\"\nmain.m3u8?a=1\n";
        let expected = "#EXTM3U\n#EXT-X-PART-INF:PART-TARGET=0.2\n#EXT-X-MAP:URI=\"init.mp4?token=T\",BYTERANGE=\"1@0\"\n\
                        #EXT-X-PART:DURATION=0.2,URI=\"p1.mp4?token=T\",INDEPENDENT=YES\n#EXTINF:2,\nseg1.mp4?token=T\n\n\
                        #EXT-X-RENDITION-REPORT:URI=\"sub.m3u8?a=1&token=T\",LAST-MSN=4\n#a comment with URI=\"x\"\n\
                        main.m3u8?a=1&token=T\n";
        assert_eq!(playlist(text, "T"), expected);
    }

    /// A server that decides elsewhere has tokens of any kind, and a `+` in a query is a space.
    #[test]
    fn a_token_comes_back_from_the_url_as_it_went_there() {
        for token in ["abc.def-g_h", "a+b/c==", "~"] {
            let (mut parts, ()) = http::Request::new(()).into_parts();
            parts.uri = with_token("/cam/hls/a.mp4?x=1", token).parse().unwrap();
            assert_eq!(query_token(&parts.uri).as_deref(), Some(token));
            assert!(is_secret(&parts));
        }
    }

    #[test]
    fn a_url_with_a_token_is_a_secret_however_it_is_written() {
        for (url, secret) in [
            ("/cam/index.m3u8?token=a", true),
            ("/cam/index.m3u8?x=1&t%6Fken=a", true),
            ("/cam/index.m3u8?x=1%20", false),
            ("/cam/index.m3u8", false),
        ] {
            let (mut parts, ()) = http::Request::new(()).into_parts();
            parts.uri = url.parse().unwrap();
            assert_eq!(is_secret(&parts), secret, "{url}");
        }
    }
}
