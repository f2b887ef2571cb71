//! Vectors of the standards, an independent opener of what we seal, and what an opener refuses.

use std::sync::Arc;

use proptest::prelude::*;
use rtc_crypto::{RTCCryptoProvider, providers::AwsLcRsProvider};
use rtc_srtp::{context::Context, protection_profile::ProtectionProfile};

use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

const PROFILES: [Profile; 2] = [Profile::AeadAes128Gcm, Profile::Aes128CmHmacSha1_80];

fn keys(profile: Profile) -> MediaKeys {
    MediaKeys { profile, key: *b"0123456789abcdef", salt: *b"a salt of 14 b" }
}

/// `rtc-srtp` on the other side.
fn other_side(profile: Profile) -> Context {
    let keys = keys(profile);
    let profile = match profile {
        Profile::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
        Profile::Aes128CmHmacSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
    };
    let salt = &keys.salt[..keys.profile.salt_len()];
    let provider: Arc<dyn RTCCryptoProvider> = Arc::new(AwsLcRsProvider::new());
    Context::new(&keys.key, salt, profile, None, None, provider.crypto()).unwrap()
}

fn packet(ssrc: u32, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 96];
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&[0, 0, 1, 2]);
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend_from_slice(payload);
    packet
}

#[test]
fn session_keys_are_those_of_rfc_3711_appendix_b_3() {
    let mut keys = keys(Profile::Aes128CmHmacSha1_80);
    keys.key.copy_from_slice(&bytes("E1F97A0D3E018BE0D64FA32C06DE4139"));
    keys.salt.copy_from_slice(&bytes("0EC675AD498AFEEBB6960B3AABE6"));
    let master = counter_mode(&keys.key);
    assert_eq!(derive::<16>(&master, &keys, Kind::Rtp, Label::Cipher)[..], bytes("C61E7A93744F39EE10734AFE3FF7A087"));
    assert_eq!(derive::<14>(&master, &keys, Kind::Rtp, Label::Salt)[..], bytes("30CBBC08863D8C85D49DB34A9AE1"));
    assert_eq!(
        derive::<20>(&master, &keys, Kind::Rtp, Label::Authentication)[..],
        bytes("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4")
    );
}

fn rfc_7714_session() -> Cipher {
    let (mut key, mut salt) = ([0; 16], [0; 12]);
    key.copy_from_slice(&bytes("000102030405060708090a0b0c0d0e0f"));
    salt.copy_from_slice(&bytes("517569642070726f2071756f"));
    Cipher::gcm(&key, salt)
}

#[test]
fn gcm_seals_the_packet_of_rfc_7714_section_16_1() {
    let mut sealer = Sealer { rtp: rfc_7714_session(), ..Sealer::new(&keys(Profile::AeadAes128Gcm)) };
    let header = bytes("8040f17b 8041f8d3 5501a0b2");
    let plain = b"Gallia est omnis divisa in partes tres";
    let mut buffer = [b"before".as_slice(), &header, plain].concat();
    sealer.seal(&mut buffer, 6, header.len(), 0x5501_a0b2, 0xf17b);
    let sealed = bytes(
        "f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a 51c7d19b 36de3adf 8833
         899d7f27 beb16a91 52cf765e e4390cce",
    );
    assert_eq!(buffer, [b"before".as_slice(), &header, &sealed].concat());
}

#[test]
fn gcm_seals_and_opens_the_report_of_rfc_7714_section_17_1() {
    let plain = bytes(
        "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61
         deadbeef deadbeef deadbeef deadbeef deadbeef",
    );
    let mut sealer =
        Sealer { rtcp: rfc_7714_session(), rtcp_index: 0x5d4, ..Sealer::new(&keys(Profile::AeadAes128Gcm)) };
    let mut buffer = plain.clone();
    sealer.seal_rtcp(&mut buffer, 0);
    let sealed = bytes(
        "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1 730d6fda 4ce09b46
         86303ded 0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4",
    );
    assert_eq!(buffer, sealed);
    let mut opener = RtcpOpener { cipher: rfc_7714_session(), ..RtcpOpener::new(&keys(Profile::AeadAes128Gcm)) };
    assert_eq!(opener.open(&mut buffer), Ok(&plain[..]));
}

#[test]
fn another_stack_opens_packets_across_a_roll_over_of_the_sequence_number() {
    for profile in PROFILES {
        let (mut sealer, mut other) = (Sealer::new(&keys(profile)), other_side(profile));
        for index in 65_530..65_545_u64 {
            for (ssrc, len) in [(7, 1200), (8, 1), (9, 0)] {
                let plain = packet(ssrc, index as u16, &vec![index as u8; len]);
                let mut sealed = plain.clone();
                sealer.seal(&mut sealed, 0, 12, ssrc, index);
                assert_eq!(sealed.len(), plain.len() + sealer.overhead());
                assert_eq!(other.decrypt_rtp(&sealed).unwrap(), plain, "{profile:?} {index}");
            }
        }
    }
}

#[test]
fn header_extensions_stay_readable_and_are_authenticated() {
    for profile in PROFILES {
        let (mut sealer, mut other) = (Sealer::new(&keys(profile)), other_side(profile));
        let mut plain = packet(7, 1, &bytes("bede0001 10aa0000"));
        plain[0] |= 0x10;
        plain.extend_from_slice(b"payload");
        let mut sealed = plain.clone();
        sealer.seal(&mut sealed, 0, 20, 7, 1);
        assert_eq!(sealed[..20], plain[..20]);
        assert_ne!(sealed[20..27], plain[20..]);
        assert_eq!(other.decrypt_rtp(&sealed).unwrap(), plain);
        let mut bent = plain.clone();
        Sealer::new(&keys(profile)).seal(&mut bent, 0, 20, 7, 1);
        bent[17] ^= 1;
        assert!(other_side(profile).decrypt_rtp(&bent).is_err());
    }
}

fn receiver_report(ssrc: u32) -> Vec<u8> {
    let mut report = bytes("81c90007");
    report.extend_from_slice(&ssrc.to_be_bytes());
    report.extend_from_slice(&[5; 24]);
    report
}

#[test]
fn reports_pass_both_ways_between_this_and_another_stack() {
    for profile in PROFILES {
        let (mut sealer, mut theirs, mut opener) =
            (Sealer::new(&keys(profile)), other_side(profile), RtcpOpener::new(&keys(profile)));
        for _ in 0..3 {
            let plain = receiver_report(99);
            let mut ours = plain.clone();
            sealer.seal_rtcp(&mut ours, 0);
            assert_eq!(ours.len(), plain.len() + sealer.overhead_rtcp());
            assert_eq!(theirs.decrypt_rtcp(&ours).unwrap()[..], plain);
            let sealed = theirs.encrypt_rtcp(&plain).unwrap();
            assert_eq!(opener.open(&mut sealed.to_vec()), Ok(&plain[..]));
        }
    }
}

#[test]
fn a_report_is_opened_once_whatever_the_order() {
    for profile in PROFILES {
        let (mut sealer, mut opener) = (Sealer::new(&keys(profile)), RtcpOpener::new(&keys(profile)));
        let sealed: Vec<Vec<u8>> = (0..100)
            .map(|number| {
                let mut report = receiver_report(number % 2);
                sealer.seal_rtcp(&mut report, 0);
                report
            })
            .collect();
        let mut open = |number: usize| opener.open(&mut sealed[number].clone()).map(|_| ());
        for number in [0, 2, 1, 3, 90] {
            assert_eq!(open(number), Ok(()));
            assert_eq!(open(number), Err(OpenError::Replayed));
        }
        // 64 behind the newest of the same sender is remembered, what is older counts as seen.
        assert_eq!((open(28), open(24), open(91)), (Ok(()), Err(OpenError::Replayed), Ok(())));
    }
}

#[test]
fn every_flipped_bit_and_every_missing_byte_is_noticed() {
    for profile in PROFILES {
        let mut sealed = receiver_report(7);
        Sealer::new(&keys(profile)).seal_rtcp(&mut sealed, 0);
        let mut opener = RtcpOpener::new(&keys(profile));
        for bit in 0..sealed.len() * 8 {
            let mut bent = sealed.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert!(opener.open(&mut bent).is_err(), "{profile:?} bit {bit}");
        }
        for len in 0..sealed.len() {
            assert!(opener.open(&mut sealed[..len].to_vec()).is_err());
        }
        assert!(opener.open(&mut sealed).is_ok());
    }
}

#[test]
fn more_senders_than_are_told_apart_cost_no_memory() {
    let (mut sealer, mut opener) =
        (Sealer::new(&keys(Profile::AeadAes128Gcm)), RtcpOpener::new(&keys(Profile::AeadAes128Gcm)));
    for ssrc in 0..1000 {
        let mut report = receiver_report(ssrc);
        sealer.seal_rtcp(&mut report, 0);
        assert!(opener.open(&mut report).is_ok());
    }
    assert_eq!(opener.seen.len(), SENDERS);
}

#[test]
fn the_same_content_may_be_sealed_again_under_its_index() {
    let mut sealer = Sealer::new(&keys(Profile::AeadAes128Gcm));
    let (mut once, mut again) = (packet(7, 1, b"same"), packet(7, 1, b"same"));
    sealer.seal(&mut once, 0, 12, 7, 1);
    sealer.seal(&mut again, 0, 12, 7, 1);
    assert_eq!(once, again);
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "packet index 1 of ssrc 00000007 is sealed over a second content")]
fn an_index_is_never_sealed_over_a_second_content() {
    let mut sealer = Sealer::new(&keys(Profile::AeadAes128Gcm));
    sealer.seal(&mut packet(7, 1, b"one"), 0, 12, 7, 1);
    sealer.seal(&mut packet(7, 1, b"two"), 0, 12, 7, 1);
}

#[test]
fn keys_do_not_show() {
    let keys = keys(Profile::AeadAes128Gcm);
    let shown = format!("{keys:?} {:?} {:?}", Sealer::new(&keys), RtcpOpener::new(&keys));
    assert!(!shown.contains("48") && shown.contains("AeadAes128Gcm"), "{shown}");
}

proptest! {
    #[test]
    fn hostile_reports_are_refused(mut datagram in proptest::collection::vec(any::<u8>(), 0..200)) {
        for profile in PROFILES {
            prop_assert!(RtcpOpener::new(&keys(profile)).open(&mut datagram.clone()).is_err());
        }
        datagram.clear();
    }
}
