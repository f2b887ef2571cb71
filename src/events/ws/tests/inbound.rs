//! Tests of the incoming side, after the case list of the Autobahn suite (sections 1 to 7, 9, 12 and 13).

use proptest::prelude::*;

use super::*;
use crate::events::ws::{close::CloseCode, deflate::deflate, testing::masked};

/// Everything that comes out of `bytes`, pushed in pieces of `piece`.
fn read(deflate: bool, bytes: &[u8], piece: usize) -> (Vec<Incoming>, Option<CloseCode>) {
    let (mut inbound, mut read) = (Inbound::new(deflate), Vec::new());
    for bytes in bytes.chunks(piece.max(1)) {
        inbound.push(bytes);
        loop {
            match inbound.next_incoming() {
                Ok(Some(incoming)) => read.push(incoming),
                Ok(None) => break,
                Err(violation) => return (read, Some(violation.code)),
            }
        }
        assert!(inbound.pending() <= MESSAGE_MAX * 2 + HEADER_MAX, "{}", inbound.pending());
    }
    (read, None)
}

fn all(bytes: &[u8]) -> (Vec<Incoming>, Option<CloseCode>) {
    let whole = read(false, bytes, bytes.len());
    assert_eq!(whole, read(false, bytes, 1), "the same in pieces of one byte");
    whole
}

fn text(text: &str) -> Incoming {
    Incoming::Text(text.to_owned())
}

#[test]
fn section_1_messages_of_every_length_form() {
    for len in [0, 1, 125, 126, 127, 128, 65_535, 65_536] {
        let payload = "*".repeat(len);
        assert_eq!(all(&masked(0x81, payload.as_bytes())), (vec![text(&payload)], None), "{len}");
        let binary = masked(0x82, payload.as_bytes());
        assert_eq!(all(&binary), (vec![Incoming::Binary(payload.into_bytes())], None), "{len}");
    }
}

#[test]
fn section_2_pings_and_pongs() {
    for len in [0, 1, 125] {
        let payload = vec![0xfe; len];
        assert_eq!(all(&masked(0x89, &payload)), (vec![Incoming::Ping(payload)], None), "{len}");
    }
    assert_eq!(all(&masked(0x89, &[0; 126])), (vec![], Some(CloseCode::PROTOCOL)));
    assert_eq!(all(&masked(0x8a, b"unasked")), (vec![Incoming::Pong], None));
}

#[test]
fn section_3_reserved_bits_and_section_4_reserved_opcodes() {
    for bits in [0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70] {
        for opcode in [1, 2, 8, 9, 10] {
            let sent = [masked(0x81, b"before"), masked(0x80 | bits | opcode, b"")].concat();
            assert_eq!(all(&sent), (vec![text("before")], Some(CloseCode::PROTOCOL)), "{bits:x} {opcode}");
        }
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        assert_eq!(all(&masked(0x80 | opcode, b"x")), (vec![], Some(CloseCode::PROTOCOL)), "{opcode}");
    }
}

#[test]
fn section_5_fragments_with_control_frames_between_them() {
    let sent = [masked(0x01, b"frag"), masked(0x89, b"ping"), masked(0x00, b"me"), masked(0x80, b"nt")].concat();
    let expected = vec![Incoming::Fragment, Incoming::Ping(b"ping".to_vec()), Incoming::Fragment, text("fragment")];
    assert_eq!(all(&sent), (expected, None));
    // A control frame in pieces; a message within a message; a continuation of nothing.
    let breaches: [Vec<u8>; 5] = [
        [masked(0x09, b"pi"), masked(0x80, b"ng")].concat(),
        [masked(0x01, b"a"), masked(0x81, b"b")].concat(),
        [masked(0x01, b"a"), masked(0x02, b"b")].concat(),
        masked(0x80, b"x"),
        masked(0x00, b"x"),
    ];
    for sent in breaches {
        assert_eq!(all(&sent).1, Some(CloseCode::PROTOCOL), "{sent:x?}");
    }
}

#[test]
fn section_6_text_is_utf_8_and_binary_is_anything() {
    for good in ["", "Hello-µ@ßöäüàá-UTF-8!!", "κόσμε", "\u{0}", "\u{10FFFF}", "\u{FFFE}", "\u{D7FF}\u{E000}"]
    {
        assert_eq!(all(&masked(0x81, good.as_bytes())), (vec![text(good)], None), "{good}");
    }
    // A character in two fragments is one.
    assert_eq!(all(&[masked(0x01, b"\xce"), masked(0x80, b"\xba")].concat()).0.last(), Some(&text("κ")));
    let bad: [&[u8]; 6] =
        [b"\xce", b"\x80", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xce\xba\xe1\xbd\xb9\xff"];
    for bad in bad {
        assert_eq!(all(&masked(0x81, bad)), (vec![], Some(CloseCode::INVALID_DATA)), "{bad:x?}");
        assert_eq!(all(&masked(0x82, bad)), (vec![Incoming::Binary(bad.to_vec())], None));
    }
}

#[test]
fn section_7_close_frames() {
    let close = |code: Option<u16>, reason: &str| {
        Incoming::Close(Close { code: code.map(CloseCode), reason: reason.to_owned() })
    };
    assert_eq!(all(&masked(0x88, b"")), (vec![close(None, "")], None));
    assert_eq!(all(&masked(0x88, b"\x03\xe8ok")), (vec![close(Some(1000), "ok")], None));
    assert_eq!(all(&masked(0x88, b"\x03")).1, Some(CloseCode::PROTOCOL));
    assert_eq!(all(&masked(0x88, &[b'x'; 126])).1, Some(CloseCode::PROTOCOL));
    assert_eq!(all(&masked(0x88, b"\x03\xe8\xff")).1, Some(CloseCode::INVALID_DATA));
    assert_eq!(all(&masked(0x88, b"\x03\xed")).1, Some(CloseCode::PROTOCOL), "1005 never stands on the wire");
}

#[test]
fn section_9_a_message_is_bounded_whatever_its_fragments() {
    let (half, more) = (vec![b'x'; MESSAGE_MAX / 2], vec![b'x'; MESSAGE_MAX / 2 + 1]);
    let fits = [masked(0x01, &half), masked(0x80, &half)].concat();
    assert_eq!(read(false, &fits, 4096).1, None);
    let too_big = [masked(0x01, &half), masked(0x80, &more)].concat();
    assert_eq!(read(false, &too_big, 4096).1, Some(CloseCode::TOO_BIG));
    assert_eq!(read(false, &masked(0x82, &vec![0; MESSAGE_MAX + 1]), 4096), (vec![], Some(CloseCode::TOO_BIG)));
}

#[test]
fn a_length_of_two_to_the_63_is_too_big_at_once() {
    // The mask and the payload need not come.
    for length in [u64::MAX, 1 << 63, 1 << 40, 65_537] {
        let header = [&[0x82, 0xff][..], &length.to_be_bytes()].concat();
        assert_eq!(all(&header), (vec![], Some(CloseCode::TOO_BIG)), "{length}");
    }
}

#[test]
fn an_unmasked_frame_and_a_length_in_a_long_form_are_breaches() {
    for sent in [&b"\x81\x01x"[..], b"\x81\xfe\x00\x05", b"\x81\xff\x00\x00\x00\x00\x00\x00\xff\xff"] {
        assert_eq!(all(sent), (vec![], Some(CloseCode::PROTOCOL)), "{sent:x?}");
    }
}

#[test]
fn sections_12_and_13_deflated_messages_whole_and_in_fragments() {
    let message = r#"{"type":"subscribe","event_types":["alert","alert","alert","alert"]}"#.to_owned();
    let small = deflate(message.as_bytes()).unwrap();
    let (head, tail) = small.split_at(5);
    let whole = masked(0xc1, &small);
    let pieces = [masked(0x41, head), masked(0x89, b""), masked(0x80, tail)].concat();
    assert_eq!(read(true, &whole, 3), (vec![text(&message)], None));
    assert_eq!(read(true, &pieces, 3).0.last(), Some(&text(&message)));
    // A plain one is fine where deflated ones are agreed; RSV1 stands on the first frame alone.
    assert_eq!(read(true, &masked(0x81, b"{}"), 9), (vec![text("{}")], None));
    let marked_later = [masked(0x41, head), masked(0xc0, tail)].concat();
    assert_eq!(read(true, &marked_later, 99).1, Some(CloseCode::PROTOCOL));
    assert_eq!(read(true, &masked(0xc9, b""), 99).1, Some(CloseCode::PROTOCOL), "a control frame");
    assert_eq!(read(false, &whole, 99).1, Some(CloseCode::PROTOCOL), "not agreed");
    assert_eq!(read(true, &masked(0xc1, b"\xff\xff\xff"), 99).1, Some(CloseCode::INVALID_DATA));
    let no_text = deflate(&[0xff; 40]).unwrap();
    assert_eq!(read(true, &masked(0xc1, &no_text), 99).1, Some(CloseCode::INVALID_DATA));
}

#[test]
fn ws_04_a_compression_bomb_is_too_big_before_it_is_inflated() {
    let bomb = deflate(&vec![b' '; 50 << 20]).unwrap();
    assert!(bomb.len() < MESSAGE_MAX);
    assert_eq!(read(true, &masked(0xc1, &bomb), 4096), (vec![], Some(CloseCode::TOO_BIG)));
}

#[test]
fn a_connection_that_says_nothing_holds_nothing() {
    let mut inbound = Inbound::new(true);
    inbound.push(&masked(0x81, &[b'x'; 60_000]));
    assert!(matches!(inbound.next_incoming(), Ok(Some(Incoming::Text(_)))));
    assert_eq!((inbound.pending(), inbound.buffer.capacity()), (0, 0));
}

proptest! {
    #[test]
    fn any_bytes_end_within_the_bounds_and_alike_in_any_pieces(
        deflate: bool, bytes in prop::collection::vec(any::<u8>(), 0..2000), piece in 1..70_usize
    ) {
        prop_assert_eq!(read(deflate, &bytes, bytes.len()), read(deflate, &bytes, piece));
    }

    #[test]
    fn any_frames_end_within_the_bounds_and_alike_in_any_pieces(
        deflate: bool,
        frames in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..300)), 0..20),
        piece in 1..70_usize
    ) {
        let bytes: Vec<u8> = frames.iter().flat_map(|(first, payload)| masked(first & 0xcf, payload)).collect();
        prop_assert_eq!(read(deflate, &bytes, bytes.len()), read(deflate, &bytes, piece));
    }
}
