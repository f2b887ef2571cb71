//! Sealing: what a packet costs in cipher work, in place, and beside it what the crate would cost that we do not use.
//!
//! The claim it shows: at most 0.2 µs for 1200 bytes with GCM, and nothing allocated.

#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::sync::Arc;

use campanile::webrtc::{
    srtp::{MediaKeys, Profile, Sealer},
    stun::{Request, short_term_key},
};
use divan::{Bencher, counter::BytesCount};
use rtc_crypto::{RTCCryptoProvider, providers::AwsLcRsProvider};
use rtc_srtp::{context::Context, protection_profile::ProtectionProfile};

#[global_allocator]
static ALLOCATIONS: divan::AllocProfiler = divan::AllocProfiler::system();

const HEADER: usize = 12;

fn main() {
    divan::main();
}

fn packet(length: usize) -> Vec<u8> {
    let mut packet = vec![0x5a; length];
    packet[..HEADER].copy_from_slice(&[0x80, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7]);
    packet
}

fn seal(bencher: Bencher<'_, '_>, profile: Profile, length: usize) {
    let mut sealer = Sealer::new(&MediaKeys { profile, key: [1; 16], salt: [2; 14] });
    let packet = packet(length);
    let (mut buffer, mut index) = (Vec::with_capacity(length + 16), 0);
    bencher.counter(BytesCount::new(length)).bench_local(|| {
        // The copy is part of it: payloads are shared, and each viewer's packet begins as one.
        buffer.clear();
        buffer.extend_from_slice(&packet);
        index += 1;
        sealer.seal(&mut buffer, 0, HEADER, 7, index);
    });
}

#[divan::bench(args = [1200, 200])]
fn gcm(bencher: Bencher<'_, '_>, length: usize) {
    seal(bencher, Profile::AeadAes128Gcm, length);
}

#[divan::bench(args = [1200, 200])]
fn counter_mode(bencher: Bencher<'_, '_>, length: usize) {
    seal(bencher, Profile::Aes128CmHmacSha1_80, length);
}

fn other(bencher: Bencher<'_, '_>, profile: ProtectionProfile, salt: usize) {
    let provider: Arc<dyn RTCCryptoProvider> = Arc::new(AwsLcRsProvider::new());
    let mut context = Context::new(&[1; 16], &[2; 14][..salt], profile, None, None, provider.crypto()).unwrap();
    let mut packet = packet(1200);
    let mut sequence = 0_u16;
    bencher.counter(BytesCount::new(1200_usize)).bench_local(|| {
        sequence = sequence.wrapping_add(1);
        packet[2..4].copy_from_slice(&sequence.to_be_bytes());
        context.encrypt_rtp(&packet).unwrap()
    });
}

#[divan::bench]
fn rtc_srtp_gcm(bencher: Bencher<'_, '_>) {
    other(bencher, ProtectionProfile::AeadAes128Gcm, 12);
}

#[divan::bench]
fn rtc_srtp_counter_mode(bencher: Bencher<'_, '_>) {
    other(bencher, ProtectionProfile::Aes128CmHmacSha1_80, 14);
}

/// A viewer's connectivity check: read, verified and answered.
#[divan::bench]
fn check(bencher: Bencher<'_, '_>) {
    let datagram = include_bytes!("../tests/fuzz/corpus/stun/rfc5769_request.bin");
    let key = short_term_key("VOkJxbRl1RmTxUk/WvJxBt");
    bencher.bench_local(|| {
        let request = Request::parse(datagram).unwrap();
        assert!(request.is_by(&key));
        request.success(([192, 0, 2, 1], 32853).into(), &key)
    });
}
