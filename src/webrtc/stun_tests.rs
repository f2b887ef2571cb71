//! The sample messages of RFC 5769, what becomes of bent ones, and the answers.

use proptest::prelude::*;

use super::*;

/// RFC 5769 §2.1: a request with short-term credentials.
const SAMPLE: [u8; 108] = [
    0x00, 0x01, 0x00, 0x58, 0x21, 0x12, 0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf,
    0xae, 0x80, 0x22, 0x00, 0x10, 0x53, 0x54, 0x55, 0x4e, 0x20, 0x74, 0x65, 0x73, 0x74, 0x20, 0x63, 0x6c, 0x69, 0x65,
    0x6e, 0x74, 0x00, 0x24, 0x00, 0x04, 0x6e, 0x00, 0x01, 0xff, 0x80, 0x29, 0x00, 0x08, 0x93, 0x2f, 0xf9, 0xb1, 0x51,
    0x26, 0x3b, 0x36, 0x00, 0x06, 0x00, 0x09, 0x65, 0x76, 0x74, 0x6a, 0x3a, 0x68, 0x36, 0x76, 0x59, 0x20, 0x20, 0x20,
    0x00, 0x08, 0x00, 0x14, 0x9a, 0xea, 0xa7, 0x0c, 0xbf, 0xd8, 0xcb, 0x56, 0x78, 0x1e, 0xf2, 0xb5, 0xb2, 0xd3, 0xf2,
    0x49, 0xc1, 0xb5, 0x71, 0xa2, 0x80, 0x28, 0x00, 0x04, 0xe5, 0x7a, 0x3b, 0xcf,
];
const SAMPLE_PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";

fn sealed(datagram: &[u8]) -> Vec<u8> {
    let mut datagram = datagram.to_vec();
    let at = datagram.len() - 8;
    let crc = fingerprint(&datagram[..at]).to_be_bytes();
    datagram[at + 4..].copy_from_slice(&crc);
    datagram
}

#[test]
fn the_sample_request_of_rfc_5769_is_read_and_verified() {
    let request = Request::parse(&SAMPLE).unwrap();
    assert_eq!((request.ufrag(), request.is_controlled(), request.nominates()), (Some("evtj"), true, false));
    assert!(request.has_credentials() && !request.has_unknown());
    assert!(request.is_by(&short_term_key(SAMPLE_PASSWORD)));
    assert!(!request.is_by(&short_term_key("another password")));
    assert_eq!(asked_ufrag(&SAMPLE), Some("evtj"));
}

#[test]
fn the_sample_responses_of_rfc_5769_are_written() {
    let request = Request::parse(&SAMPLE).unwrap();
    let key = short_term_key(SAMPLE_PASSWORD);
    // §2.2 and §2.3 begin with a SOFTWARE attribute; the mapped addresses are the same.
    let v4 = request.success("192.0.2.1:32853".parse().unwrap(), &key);
    assert_eq!(v4[20..32], [0x00, 0x20, 0x00, 0x08, 0x00, 0x01, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43]);
    let v6 = request.success("[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().unwrap(), &key);
    assert_eq!(
        v6[20..44],
        [
            0x00, 0x20, 0x00, 0x14, 0x00, 0x02, 0xa1, 0x47, 0x01, 0x13, 0xa9, 0xfa, 0xa5, 0xd3, 0xf1, 0x79, 0xbc, 0x25,
            0xf4, 0xb5, 0xbe, 0xd2, 0xb9, 0xd9
        ]
    );
    let mapped = request.success("[::ffff:192.0.2.1]:32853".parse().unwrap(), &key);
    assert_eq!(mapped, v4);
}

/// An answer, read back.
struct ReadAnswer {
    kind: u16,
    transaction: Vec<u8>,
    /// Whether its integrity fits, if it has one.
    authentic: Option<bool>,
    attributes: Vec<(u16, Vec<u8>)>,
}

fn read_answer(answer: &[u8], key: &hmac::Key) -> ReadAnswer {
    let kind = u16::from_be_bytes([answer[0], answer[1]]);
    assert_eq!(usize::from(u16::from_be_bytes([answer[2], answer[3]])), answer.len() - 20);
    let (mut at, mut attributes, mut authentic) = (20, Vec::new(), None);
    while at < answer.len() {
        let (name, length) = (
            u16::from_be_bytes([answer[at], answer[at + 1]]),
            usize::from(u16::from_be_bytes([answer[at + 2], answer[at + 3]])),
        );
        let value = &answer[at + 4..at + 4 + length];
        match name {
            attribute::MESSAGE_INTEGRITY => authentic = Some(integrity(key, &answer[..at]) == value),
            attribute::FINGERPRINT => assert_eq!(fingerprint(&answer[..at]).to_be_bytes(), value),
            _ => attributes.push((name, value.to_vec())),
        }
        at += 4 + length.next_multiple_of(4);
    }
    ReadAnswer { kind, transaction: answer[8..20].to_vec(), authentic, attributes }
}

#[test]
fn answers_carry_the_transaction_integrity_and_fingerprint() {
    let (request, key) = (Request::parse(&SAMPLE).unwrap(), short_term_key(SAMPLE_PASSWORD));
    let success = read_answer(&request.success("192.0.2.1:1".parse().unwrap(), &key), &key);
    assert_eq!((success.kind, &success.transaction[..], success.authentic), (0x0101, &SAMPLE[8..20], Some(true)));
    for (code, number, reason) in [
        (ErrorCode::BadRequest, [4, 0], "Bad Request"),
        (ErrorCode::Unauthenticated, [4, 1], "Unauthenticated"),
        (ErrorCode::RoleConflict, [4, 87], "Role Conflict"),
    ] {
        let plain = read_answer(&request.error(code, None), &key);
        let expected = [&[0, 0], &number[..], reason.as_bytes()].concat();
        assert_eq!(
            (plain.kind, plain.authentic, plain.attributes),
            (0x0111, None, vec![(attribute::ERROR_CODE, expected)])
        );
        assert_eq!(read_answer(&request.error(code, Some(&key)), &key).authentic, Some(true));
    }
}

#[test]
fn attributes_that_have_to_be_understood_are_named_in_the_answer() {
    // PRIORITY becomes something nobody knows.
    let mut bent = SAMPLE;
    bent[40..42].copy_from_slice(&[0x7f, 0x01]);
    let bent = sealed(&bent);
    let request = Request::parse(&bent).unwrap();
    assert!(request.has_unknown());
    let key = short_term_key(SAMPLE_PASSWORD);
    let answer = read_answer(&request.error(ErrorCode::UnknownAttribute, Some(&key)), &key);
    assert_eq!(answer.attributes[1], (attribute::UNKNOWN_ATTRIBUTES, vec![0x7f, 0x01]));
}

#[test]
fn what_follows_the_integrity_is_as_if_it_were_not_there() {
    let mut longer = SAMPLE[..100].to_vec();
    longer.extend_from_slice(&[0x00, 0x25, 0, 0]);
    longer.extend_from_slice(&SAMPLE[100..]);
    longer[3] += 4;
    let longer = sealed(&longer);
    let request = Request::parse(&longer).unwrap();
    assert!(!request.nominates() && request.is_by(&short_term_key(SAMPLE_PASSWORD)));
}

#[test]
fn bent_messages_are_refused() {
    let bend = |at: usize, to: u8| {
        let mut bent = SAMPLE;
        bent[at] = to;
        Request::parse(&bent).map(|_| ()).unwrap_err()
    };
    assert_eq!(bend(0, 0x40), StunError::Malformed); // the two zero bits
    assert_eq!(bend(3, 0x5c), StunError::Malformed); // longer than it is
    assert_eq!(bend(3, 0x57), StunError::Malformed); // no whole words
    assert_eq!(bend(4, 0), StunError::Malformed); // the cookie
    assert_eq!(bend(30, b'x'), StunError::Fingerprint);
    assert_eq!(bend(23, 0xff), StunError::Malformed); // an attribute that passes the end
    let mut indication = SAMPLE;
    indication[1] = 0x11;
    assert_eq!(Request::parse(&sealed(&indication)).map(|_| ()), Err(StunError::OtherKind));
    assert!(is_indication(&indication));
    for length in 0..SAMPLE.len() {
        assert!(Request::parse(&SAMPLE[..length]).is_err());
    }
}

proptest! {
    #[test]
    fn hostile_datagrams_are_read_without_harm(
        mut datagram in proptest::collection::vec(any::<u8>(), 0..160),
        bends in proptest::collection::vec((0..SAMPLE.len(), any::<u8>()), 0..6),
    ) {
        let _ = Request::parse(&datagram);
        if datagram.len() >= 8 {
            datagram[0] = 0;
            datagram[1] = 1;
            let length = (datagram.len().saturating_sub(20) as u16).to_be_bytes();
            datagram[2..4].copy_from_slice(&length);
            datagram[4..8].copy_from_slice(&COOKIE.to_be_bytes());
            let _ = Request::parse(&datagram);
        }
        let mut bent = SAMPLE;
        for (at, to) in bends {
            bent[at] = to;
        }
        let bent = sealed(&bent);
        if let Ok(request) = Request::parse(&bent) {
            let key = short_term_key(SAMPLE_PASSWORD);
            request.is_by(&key);
            prop_assert!(request.error(ErrorCode::UnknownAttribute, Some(&key)).len() <= 128);
        }
    }
}
