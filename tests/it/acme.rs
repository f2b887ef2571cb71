//! Certificates from an authority, with Pebble: over TLS and over plain HTTP, over an outage, and again before they end.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::{
    support::{pebble::Pebble, process::PATIENCE, server::Server},
    tls::{connect, plain},
};

/// Who the certificate of the listener is from, and what it is.
async fn shown(server: &Server, listener: &str) -> (bool, String) {
    let (stream, fingerprint) = connect(server.address(listener)).await;
    let own = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
    let (_, parsed) = x509_parser::parse_x509_certificate(&own).unwrap();
    (parsed.issuer().to_string().contains("Pebble"), plain(fingerprint))
}

/// Waits until a listener shows a certificate of the authority, another one than `before`.
async fn until_issued(server: &Server, listener: &str, before: &str) -> String {
    let deadline = Instant::now() + PATIENCE * 3;
    loop {
        let (issued, fingerprint) = shown(server, listener).await;
        if issued && fingerprint != before {
            return fingerprint;
        }
        assert!(Instant::now() < deadline, "{listener} shows no new certificate of the authority");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_certificate_is_got_over_tls_after_an_outage_and_again_before_it_ends() {
    let mut authority = Pebble::new(30);
    let config = json!({
        "http": { "address": format!("127.0.0.1:{}", authority.tls_port), "tls": "acme" },
        "acme": authority.section(),
        "webrtc": { "address": "off" },
        "paths": { "demo": { "source": "demo" } },
    });
    let mut server = Server::start(config).await;
    server
        .log_line(|line| line.contains("acme: no certificate for cams.example") && line.contains("tried again"))
        .await;
    let (issued, own) = shown(&server, "https").await;
    assert!(!issued, "until then it shows one of its own");
    authority.start().await;
    let first = until_issued(&server, "https", &own).await;
    let second = until_issued(&server, "https", &first).await;
    assert_ne!(first, second);
}

#[tokio::test]
async fn a_certificate_is_got_over_http_shown_by_both_listeners_and_kept() {
    let mut authority = Pebble::new(86_400);
    authority.start().await;
    let mut acme = authority.section();
    acme["http_address"] = json!(format!("127.0.0.1:{}", authority.http_port));
    let config = json!({
        "http": { "tls": "acme" },
        "rtsp": { "tls": "acme", "tls_address": "127.0.0.1:0" },
        "acme": acme,
        "webrtc": { "address": "off" },
        "paths": { "demo": { "source": "demo" } },
    });
    let server = Server::start(config.clone()).await;
    let got = until_issued(&server, "https", "").await;
    assert_eq!(shown(&server, "rtsps").await, (true, got.clone()));
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let url = format!("http://127.0.0.1:{}/demo/?a=b", authority.http_port);
    let sent = client.get(url).header("host", "cams.example").send().await.unwrap();
    let location = sent.headers()["location"].to_str().unwrap();
    assert_eq!((sent.status().as_u16(), location), (308, "https://cams.example/demo/?a=b"));

    authority.kill().await;
    let server = server.restart(config).await;
    assert_eq!(shown(&server, "https").await, (true, got), "the one of before is there from the beginning");
}
