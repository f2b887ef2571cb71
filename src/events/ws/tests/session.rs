//! Tests of the session machine: a table of what comes in and when, and what must go out.

use proptest::prelude::*;

use super::*;
use crate::events::ws::{encoding::Format, testing::masked};

fn at(seconds: f64) -> Monotonic {
    Monotonic::from_nanos(1_000_000_000_000 + (seconds * 1e9) as u64)
}

fn session() -> Session {
    Session::new(Encoding::default(), at(0.0))
}

/// Everything that is to be written, as if the socket took it all.
fn written(session: &mut Session, now: Monotonic) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let mut slices = [IoSlice::new(&[]); 4];
        let filled = session.slices(&mut slices);
        let bytes: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
        if bytes.is_empty() {
            return out;
        }
        session.handle_written(now, bytes.len());
        out.extend(bytes);
    }
}

fn hear(session: &mut Session, now: Monotonic, bytes: &[u8]) -> Vec<ClientMessage> {
    session.handle_bytes(now, bytes);
    std::iter::from_fn(|| session.poll_request(now)).collect()
}

fn close_code(bytes: &[u8]) -> Option<u16> {
    let [0x88, _, high, low, ..] = bytes else { return None };
    Some(u16::from_be_bytes([*high, *low]))
}

#[test]
fn ws_02_a_ping_is_answered_with_its_payload() {
    let mut session = session();
    assert!(hear(&mut session, at(1.0), &masked(0x89, b"are you there?")).is_empty());
    assert_eq!(written(&mut session, at(1.0)), b"\x8a\x0eare you there?");
    assert!(hear(&mut session, at(1.0), &masked(0x8a, b"unasked")).is_empty());
    assert_eq!((written(&mut session, at(1.0)), session.end()), (vec![], None));
}

#[test]
fn ws_02_a_client_is_pinged_and_gone_after_two_pings_without_an_answer() {
    let mut session = session();
    assert_eq!(session.poll_deadline(), at(30.0));
    session.handle_timeout(at(30.0));
    assert_eq!((written(&mut session, at(30.0)), session.poll_deadline()), (b"\x89\x00".to_vec(), at(60.0)));
    session.handle_timeout(at(60.0));
    assert_eq!((written(&mut session, at(60.0)), session.poll_deadline()), (b"\x89\x00".to_vec(), at(75.0)));
    session.handle_timeout(at(75.0));
    assert_eq!((session.end(), SILENT_AFTER <= Duration::from_secs(90)), (Some(End::Silent), true));
}

#[test]
fn a_client_that_only_listens_and_pongs_stays_for_ever() {
    let mut session = session();
    let mut pings = 0;
    for minute in 1..10_000_u32 {
        let now = at(f64::from(minute) * 30.0);
        session.handle_timeout(now);
        pings += written(&mut session, now).len() / 2;
        hear(&mut session, now, &masked(0x8a, b""));
    }
    assert_eq!((pings, session.end()), (9999, None));
}

#[test]
fn an_hour_in_which_nothing_happens_costs_a_client_less_than_a_kilobyte() {
    let mut session = session();
    let mut bytes = 0;
    for second in 1..=3600_u32 {
        let now = at(f64::from(second));
        session.handle_timeout(now);
        let said = written(&mut session, now);
        bytes += said.len();
        if !said.is_empty() {
            hear(&mut session, now, &masked(0x8a, b""));
        }
    }
    assert!((1..=1024).contains(&bytes) && session.end().is_none(), "{bytes} bytes");
}

#[test]
fn ws_03_a_close_is_answered_with_its_code_and_the_server_hangs_up_first() {
    let mut session = session();
    session.push(Bytes::from_static(b"\x81\x01a"));
    assert!(hear(&mut session, at(1.0), &masked(0x88, b"\x03\xe8bye")).is_empty());
    assert_eq!((written(&mut session, at(1.0)), session.wants_shutdown()), (b"\x88\x02\x03\xe8".to_vec(), true));
    session.handle_end_of_stream();
    assert_eq!(session.end(), Some(End::Left(Some(CloseCode::NORMAL))));
}

#[test]
fn ws_03_our_close_waits_for_the_answer_and_no_longer_than_three_seconds() {
    let mut answered = session();
    answered.close(at(1.0), CloseCode::GOING_AWAY, "come back in 5 s");
    assert_eq!(close_code(&written(&mut answered, at(1.0))), Some(1001));
    assert!(!answered.wants_shutdown() && !answered.wants_events());
    answered.push(Bytes::from_static(b"late"));
    assert!(hear(&mut answered, at(1.5), &masked(0x81, br#"{"type":"ping"}"#)).is_empty(), "data mean nothing now");
    hear(&mut answered, at(2.0), &masked(0x88, b"\x03\xe9"));
    assert_eq!((written(&mut answered, at(2.0)), answered.wants_shutdown()), (vec![], true));

    let mut deaf = session();
    deaf.close(at(1.0), CloseCode::GOING_AWAY, "");
    assert_eq!(deaf.poll_deadline(), at(4.0));
    deaf.handle_timeout(at(4.0));
    assert_eq!(deaf.end(), Some(End::Closed(CloseCode::GOING_AWAY)));
}

#[test]
fn a_breach_is_told_by_its_code_and_nothing_more_is_read() {
    for (bytes, code) in [
        (masked(0x83, b""), 1002),
        (b"\x81\x01x".to_vec(), 1002),
        (masked(0x81, b"\xff"), 1007),
        (b"\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00".to_vec(), 1009),
        (masked(0x88, b"\x03\xed"), 1002),
    ] {
        let mut session = session();
        assert!(hear(&mut session, at(1.0), &bytes).is_empty());
        assert_eq!(close_code(&written(&mut session, at(1.0))), Some(code), "{bytes:x?}");
        assert!(session.wants_shutdown());
        assert!(hear(&mut session, at(1.1), &masked(0x81, br#"{"type":"ping"}"#)).is_empty());
        session.handle_timeout(at(4.0));
        assert_eq!(session.end(), Some(End::Closed(CloseCode(code))));
    }
}

#[test]
fn messages_come_out_and_what_is_none_gets_an_error_and_the_connection_stays() {
    let mut session = session();
    let bytes = [
        masked(0x81, br#"{"type":"dance"}"#),
        masked(0x81, br#"{"type":"ping"}"#),
        masked(0x81, b"[1,2"),
        masked(0x82, b"\x81\xa4type\xa4ping"),
    ]
    .concat();
    let heard = hear(&mut session, at(1.0), &bytes);
    assert_eq!(heard, [ClientMessage::Ping {}, ClientMessage::Ping {}], "text or binary, as the client likes");
    let said = String::from_utf8_lossy(&written(&mut session, at(1.0))).into_owned();
    assert_eq!(said.matches(r#""code":"invalid_message""#).count(), 2, "{said}");
    assert!(said.contains("dance") && session.wants_events(), "{said}");
}

#[test]
fn a_flood_ends_with_1008_and_the_same_in_a_day_does_not() {
    let ping = masked(0x81, br#"{"type":"ping"}"#);
    let nonsense = masked(0x81, b"nonsense");
    let fragment = masked(0x00, b"");
    for (first, message, at_least, at_most) in
        [(&[][..], &ping, 200, 300), (&[], &nonsense, 20, 30), (&masked(0x01, b"")[..], &fragment, 200, 300)]
    {
        let mut session = session();
        hear(&mut session, at(0.0), first);
        let endured = (0..10_000)
            .take_while(|_| {
                hear(&mut session, at(0.0), message);
                session.state == State::Open
            })
            .count();
        assert!((at_least..at_most).contains(&endured), "{endured}");
        let said = written(&mut session, at(0.0));
        assert_eq!(close_code(&said[said.len() - 2 - "too many messages".len() - 2..]), Some(1008));
    }
    let mut patient = session();
    for i in 0..10_000_u32 {
        hear(&mut patient, at(f64::from(i)), &nonsense);
        written(&mut patient, at(f64::from(i)));
    }
    assert_eq!(patient.state, State::Open);
}

#[test]
fn events_are_wanted_when_everything_before_them_is_written() {
    let mut session = session();
    assert!(session.wants_events());
    session.push(Bytes::from_static(b"\x81\x03one"));
    session.push(Bytes::from_static(b"\x81\x03two"));
    assert!(!session.wants_events());
    session.handle_written(at(0.0), 6);
    assert!(!session.wants_events());
    session.handle_written(at(0.0), 4);
    assert!(session.wants_events());
}

#[test]
fn nothing_is_read_while_too_much_waits_to_be_written() {
    let mut session = session();
    session.push(Bytes::from(vec![0; REPLIES_MAX]));
    assert!(!session.wants_bytes());
    session.handle_written(at(1.0), 1);
    assert!(session.wants_bytes());
}

#[test]
fn a_socket_that_takes_nothing_for_ten_seconds_is_closed_as_too_slow() {
    let mut session = session();
    session.push(Bytes::from_static(b"\x81\x05hello"));
    session.push(Bytes::from_static(b"\x81\x05world"));
    session.handle_written(at(0.0), 3);
    session.handle_blocked(at(1.0));
    session.handle_blocked(at(9.0));
    assert_eq!(session.poll_deadline(), at(11.0));
    session.handle_timeout(at(10.9));
    assert_eq!(session.state, State::Open);
    session.handle_timeout(at(11.0));
    // The begun frame is finished, the other one is not begun.
    let rest = written(&mut session, at(12.0));
    assert_eq!((&rest[..4], close_code(&rest[4..])), (&b"ello"[..], Some(4408)));
    session.handle_timeout(at(14.0));
    assert_eq!(session.end(), Some(End::Closed(CloseCode::TOO_SLOW)));
}

#[test]
fn slow_alone_is_never_closed() {
    let mut session = session();
    session.push(Bytes::from(vec![0; 1000]));
    for second in 0..900_u32 {
        let now = at(f64::from(second));
        session.handle_blocked(now);
        session.handle_timeout(now);
        session.handle_written(now, 1);
    }
    assert_eq!(session.state, State::Open);
}

#[test]
fn a_message_that_does_not_end_ends_the_connection() {
    let mut session = session();
    let message = masked(0x81, br#"{"type":"ping","timestamp":1795000000}"#);
    for (second, byte) in message.iter().enumerate().take(22) {
        hear(&mut session, at(second as f64), &[*byte]);
        session.handle_timeout(at(second as f64));
    }
    assert_eq!(close_code(&written(&mut session, at(21.0))), Some(1008));
    let mut brisk = self::session();
    for (tenth, byte) in message.iter().enumerate() {
        hear(&mut brisk, at(tenth as f64 / 10.0), &[*byte]);
    }
    brisk.handle_timeout(at(25.0));
    assert_eq!(brisk.state, State::Open);
}

#[test]
fn a_socket_that_ends_without_a_word_is_lost() {
    let mut session = session();
    session.handle_end_of_stream();
    assert_eq!((session.end(), session.wants_bytes()), (Some(End::Lost), false));
}

proptest! {
    /// Whatever a client sends, in whatever pieces, with whatever the socket takes: bounds hold, and it ends in time.
    #[test]
    fn any_client_stays_within_the_bounds(
        message_pack: bool,
        deflate: bool,
        steps in prop::collection::vec((0..5_u8, any::<u8>(), prop::collection::vec(any::<u8>(), 0..200)), 0..60)
    ) {
        let format = if message_pack { Format::MessagePack } else { Format::Json };
        let mut session = Session::new(Encoding { format, deflate }, at(0.0));
        let mut now = 0.0;
        for (step, first, payload) in steps {
            match step {
                0 if session.wants_bytes() => drop(hear(&mut session, at(now), &payload)),
                1 if session.wants_bytes() => drop(hear(&mut session, at(now), &masked(first & 0xcf, &payload))),
                2 => drop(session.handle_blocked(at(now))),
                3 => {
                    let taken = session.pending().min(payload.len());
                    session.handle_written(at(now), taken);
                }
                _ => {
                    now += f64::from(first) / 10.0;
                    session.handle_timeout(at(now));
                }
            }
            prop_assert!(session.pending() <= REPLIES_MAX + (64 << 10));
        }
        // Left alone it ends by itself.
        for _ in 0..20 {
            let due = session.poll_deadline();
            session.handle_timeout(due);
        }
        prop_assert!(session.end().is_some());
    }
}
