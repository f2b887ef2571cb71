//! Hostile peers of the running server, made by bending real dialogue: clients at its listeners, a camera that answers and
//! sends nonsense. Nothing may panic, hang or grow; a panic in the server's log fails its test. (Parsers on their own:
//! `robustness`.)
//!
//! `CAMPANILE_FUZZ_SEED` chooses the dice, `CAMPANILE_SCALE` how often they are thrown; a failure prints both.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::support::{
    relay,
    rtsp_client::RtspReader,
    scale,
    scripted_camera::{Behaviour, Fault, Reply, ScriptedCamera},
    server::Server,
};

/// SplitMix64: numbers that only the seed decides.
#[derive(Clone)]
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let seed = std::env::var("CAMPANILE_FUZZ_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
        eprintln!("CAMPANILE_FUZZ_SEED={seed} CAMPANILE_SCALE={}", scale());
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, most: usize) -> usize {
        (self.next() % most.max(1) as u64) as usize
    }

    /// `input` with a few of its bytes changed, removed, repeated or cut off.
    fn bent(&mut self, input: &[u8]) -> Vec<u8> {
        let mut bytes = input.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            match self.below(7) {
                _ if bytes.is_empty() => bytes = self.next().to_le_bytes().to_vec(),
                0 => bytes[at] ^= 1 << self.below(8),
                1 => bytes[at] = [0, 0xff, 0x7f, 0x80, b'\r', b'\n', b'$'][self.below(7)],
                2 => bytes.truncate(at),
                3 => drop(bytes.drain(at..(at + 1 + self.below(8)).min(bytes.len()))),
                4 => {
                    let piece = bytes[at..(at + 1 + self.below(32)).min(bytes.len())].to_vec();
                    bytes.splice(at..at, piece);
                }
                5 => bytes.splice(at..at, self.next().to_le_bytes()).for_each(drop),
                _ => bytes.splice(at..at, vec![b'9'; 1 + self.below(40)]).for_each(drop),
            }
        }
        bytes
    }
}

/// Sends what a client might to a listener, and reads what comes back for a moment.
async fn knock(address: std::net::SocketAddr, bytes: &[u8]) {
    let Ok(mut socket) = TcpStream::connect(address).await else { panic!("nobody listens at {address}") };
    if socket.write_all(bytes).await.is_ok() {
        let mut buffer = [0; 4096];
        let _ = timeout(Duration::from_millis(5), socket.read(&mut buffer)).await;
    }
}

#[tokio::test]
async fn listeners_survive_bent_requests() {
    let (_camera, server) = relay(Behaviour::default()).await;
    let reader = RtspReader::play(&server.rtsp("cam")).await;
    let url = server.rtsp("cam");
    let transport = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1";
    let rtsp = [
        format!("OPTIONS {url} RTSP/1.0\r\nCSeq: 1\r\n\r\nDESCRIBE {url} RTSP/1.0\r\nCSeq: 2\r\n\r\n"),
        format!(
            "SETUP {url}/trackID=0 RTSP/1.0\r\nCSeq: 1\r\n{transport}\r\n\r\nPLAY {url} RTSP/1.0\r\nCSeq: 2\r\nRange: npt=0-\r\n\r\n"
        ),
        format!(
            "SETUP {url}/trackID=1 RTSP/1.0\r\nCSeq: 1\r\nTransport: RTP/AVP;unicast;client_port=5000-5001\r\n\r\n"
        ),
        format!("GET_PARAMETER {url} RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 8\r\n\r\nabcdefgh$\x00\x00\x08abcdefgh"),
        "GET /cam HTTP/1.1\r\nx-sessioncookie: abc\r\nAccept: application/x-rtsp-tunnelled\r\n\r\n".to_owned(),
        format!(
            "ANNOUNCE {url} RTSP/1.0\r\nCSeq: 1\r\nContent-Type: application/sdp\r\nContent-Length: 10\r\n\r\nv=0\r\nm=abc"
        ),
    ];
    let http = [
        "GET /cam/index.m3u8?_HLS_msn=3&_HLS_part=1&_HLS_skip=YES&tracks=video HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET /cam/hls/../../state HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1\r\n\r\n".to_owned(),
        "GET /api/v1/paths/%63am?limit=1&after=x HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n".to_owned(),
        "POST /api/v1/paths HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}"
            .to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_owned(),
    ];
    let mut dice = Dice::new();
    let memory = server.resident_bytes();
    for round in 0..300 * scale() {
        let (address, seeds) =
            if round % 2 == 0 { (server.address("rtsp"), &rtsp[..]) } else { (server.address("http"), &http[..]) };
        let seed = &seeds[dice.below(seeds.len())];
        let bent = dice.bent(seed.as_bytes());
        knock(address, &bent).await;
    }
    reader.more(60).await;
    assert_eq!(server.get("/readyz").await.status(), 200);
    let grown = server.resident_bytes().saturating_sub(memory);
    assert!(grown < 32 * 1024 * 1024, "{grown} bytes more");
}

#[tokio::test]
async fn server_survives_a_camera_that_answers_nonsense() {
    let (_good, bad) = (ScriptedCamera::start().await, ScriptedCamera::start().await);
    let quick = |source: String| {
        json!({ "source": source, "request_timeout": "1s", "reconnect_after": "1s", "stalled_after": "500ms",
        "backoff": { "first": "50ms", "most": "50ms" } })
    };
    let server = Server::start(json!({ "paths": { "good": quick(_good.url()), "bad": quick(bad.url()) } })).await;
    server.state("good", "ready").await;
    let reader = RtspReader::play(&server.rtsp("good")).await;
    let dice = std::sync::Mutex::new(Dice::new());
    bad.change(|camera| {
        camera.reply = Arc::new(move |_, reply| {
            let mut dice = dice.lock().unwrap();
            // One answer in three is bent, so that some dialogues come far.
            if dice.below(3) > 0 {
                return reply;
            }
            let whole = reply.to_bytes();
            Reply { raw: Some(dice.bent(&whole)), ..reply }
        });
    });
    let wanted = bad.connections() + 20 * scale();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60 * scale() as u64);
    while bad.connections() < wanted && tokio::time::Instant::now() < deadline {
        bad.strike(Fault::Close);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    reader.more(60).await;
    let path = server.path("bad").await;
    assert!(path["state"].is_string(), "{path:#}");
}

#[tokio::test]
async fn server_survives_a_camera_that_sends_nonsense() {
    let (camera, server) = relay(Behaviour::default()).await;
    let mut dice = Dice::new();
    let rtp = [0x80, 96, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4, 0x7c, 0x85, 1, 2, 3, 4, 5, 6, 7, 8];
    for _ in 0..100 * scale() {
        let packet = dice.bent(&rtp);
        let mut frame = vec![b'$', dice.below(4) as u8];
        frame.extend((packet.len() as u16).to_be_bytes());
        frame.extend(packet);
        let frame = if dice.below(5) == 0 { dice.bent(&frame) } else { frame };
        camera.strike(Fault::Inject(frame));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.state("cam", "ready").await;
    let reader = RtspReader::play(&server.rtsp("cam")).await;
    reader.more(60).await;
}
