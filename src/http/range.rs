//! Which bytes of a body a client wants (RFC 9110 §14), and a body of shared pieces that can be cut.

use std::{
    collections::VecDeque,
    convert::Infallible,
    ops::Range,
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::{Frame, SizeHint};

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it.
    Whole,
    /// These bytes.
    Part(Range<u64>),
    /// Bytes that are not there: 416.
    Nothing,
}

/// What these headers of a GET want of a body of so many bytes. A range that is not understood is ignored (§14.2), and
/// so are several at once, which may be, and one with `If-Range`: what is served here in parts never changes.
pub(super) fn wanted(headers: &HeaderMap, length: u64) -> Wanted {
    let range = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let Some(range) = range.filter(|_| !headers.contains_key(header::IF_RANGE)) else { return Wanted::Whole };
    let Some((unit, set)) = range.split_once('=') else { return Wanted::Whole };
    if !unit.eq_ignore_ascii_case("bytes") {
        return Wanted::Whole;
    }
    let Some((first, last)) = set.trim().split_once('-') else { return Wanted::Whole };
    let number = |text: &str| -> Option<Option<u64>> {
        if text.is_empty() {
            return Some(None);
        }
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| Some(text.parse().unwrap_or(u64::MAX)))
    };
    match (number(first), number(last)) {
        (Some(Some(first)), Some(last)) => {
            if last.is_some_and(|last| last < first) {
                return Wanted::Whole;
            }
            let end = last.map_or(length, |last| last.saturating_add(1).min(length));
            if first < end { Wanted::Part(first..end) } else { Wanted::Nothing }
        }
        (Some(None), Some(Some(count))) => {
            if count == 0 || length == 0 {
                return Wanted::Nothing;
            }
            Wanted::Part(length.saturating_sub(count)..length)
        }
        _ => Wanted::Whole,
    }
}

/// How many bytes these pieces have.
pub(super) fn total(pieces: &[Bytes]) -> u64 {
    pieces.iter().map(|piece| piece.len() as u64).sum()
}

/// The pieces of a range, still shared.
pub(super) fn cut(pieces: Vec<Bytes>, range: &Range<u64>) -> Vec<Bytes> {
    let mut at = 0;
    let mut kept = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let end = at + piece.len() as u64;
        let (from, to) = (range.start.max(at), range.end.min(end));
        if from < to {
            // Both lie within the piece.
            kept.push(piece.slice((from - at) as usize..(to - at) as usize));
        }
        at = end;
    }
    kept
}

/// A body of shared pieces.
pub(super) fn body(mut pieces: Vec<Bytes>) -> Body {
    match pieces.len() {
        0 => Body::empty(),
        1 => pieces.pop().map_or_else(Body::empty, Body::from),
        _ => Body::new(Pieces { left: total(&pieces), pieces: pieces.into() }),
    }
}

struct Pieces {
    pieces: VecDeque<Bytes>,
    left: u64,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.pieces.pop_front();
        self.left -= next.as_ref().map_or(0, |piece| piece.len() as u64);
        Poll::Ready(next.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use proptest::prelude::*;

    use super::*;

    fn ask(range: &str, length: u64) -> Wanted {
        let headers = HeaderMap::from_iter([(header::RANGE, range.parse().unwrap())]);
        wanted(&headers, length)
    }

    #[test]
    fn one_range_of_bytes_is_understood_and_everything_else_ignored() {
        let table = [
            ("bytes=0-0", Wanted::Part(0..1)),
            ("bytes=0-", Wanted::Part(0..10)),
            ("bytes=3-5", Wanted::Part(3..6)),
            ("Bytes=3-99", Wanted::Part(3..10)),
            ("bytes=9-99999999999999999999999", Wanted::Part(9..10)),
            ("bytes=-3", Wanted::Part(7..10)),
            ("bytes=-99", Wanted::Part(0..10)),
            ("bytes=10-", Wanted::Nothing),
            ("bytes=99999999999999999999999-", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=5-3", Wanted::Whole),
            ("bytes=0-1,3-4", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("bytes=", Wanted::Whole),
            ("seconds=1-2", Wanted::Whole),
            ("nonsense", Wanted::Whole),
        ];
        for (range, expected) in table {
            assert_eq!(ask(range, 10), expected, "{range}");
        }
        assert_eq!(ask("bytes=0-", 0), Wanted::Nothing);
        let mut headers = HeaderMap::from_iter([(header::RANGE, "bytes=0-1".parse().unwrap())]);
        headers.insert(header::IF_RANGE, "\"x\"".parse().unwrap());
        assert_eq!(wanted(&headers, 10), Wanted::Whole);
    }

    proptest! {
        #[test]
        fn a_cut_is_that_of_the_joined_bytes(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5), 0..6),
            first in 0_u64..12,
            last in 0_u64..12,
        ) {
            let whole = pieces.concat();
            let pieces: Vec<Bytes> = pieces.into_iter().map(Bytes::from).collect();
            prop_assert_eq!(total(&pieces), whole.len() as u64);
            if let Wanted::Part(range) = ask(&format!("bytes={first}-{last}"), whole.len() as u64) {
                let expected = &whole[range.start as usize..range.end as usize];
                prop_assert_eq!(cut(pieces, &range).concat(), expected);
            }
        }
    }

    #[tokio::test]
    async fn a_body_of_pieces_knows_its_length_and_sends_them_in_order() {
        for count in 0..4_u8 {
            let pieces: Vec<Bytes> = (0..count).map(|i| Bytes::from(vec![i; 3])).collect();
            let whole = pieces.concat();
            let body = body(pieces);
            assert_eq!(http_body::Body::size_hint(&body).exact(), Some(whole.len() as u64));
            assert_eq!(body.collect().await.unwrap().to_bytes(), whole);
        }
    }
}
