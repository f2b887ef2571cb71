//! TLS on the listeners of the real binary: certificates that are replaced while connections go on, and one of its own.

use std::{fs, net::SocketAddr, sync::Arc, time::Duration};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use campanile::{
    config::Fingerprint,
    net::trust::{Judge, Trust},
};

use crate::support::{process::PATIENCE, server::Server, tls::Identity};

/// A connection to a TLS listener, whoever it is, and the certificate it showed.
pub(crate) async fn connect(address: SocketAddr) -> (TlsStream<TcpStream>, Fingerprint) {
    let judge = Judge::new(Trust::Anybody);
    // A client of its own for each: it resumes nothing.
    let config = judge.builder().unwrap().with_no_client_auth();
    let tcp = TcpStream::connect(address).await.unwrap();
    let name = ServerName::from(address.ip());
    let stream = timeout(PATIENCE, TlsConnector::from(Arc::new(config)).connect(name, tcp)).await.unwrap().unwrap();
    (stream, judge.shown().unwrap())
}

/// The head of the answer to a request on a connection that stays.
async fn ask(stream: &mut TlsStream<TcpStream>, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let (mut seen, mut buffer) = (String::new(), [0; 4096]);
    while !seen.contains("\r\n\r\n") {
        let count = timeout(PATIENCE, stream.read(&mut buffer)).await.unwrap().unwrap();
        assert!(count > 0, "closed after {seen:?}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    seen
}

const HEAD: &str = "HEAD /healthz HTTP/1.1\r\nHost: cams.example\r\n\r\n";
const OPTIONS: &str = "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n";

/// Both listeners with this certificate.
fn both(tls: &Value) -> Value {
    json!({
        "http": { "tls": tls },
        "rtsp": { "tls": tls, "tls_address": "127.0.0.1:0" },
        "webrtc": { "address": "off" },
        "paths": { "demo": { "source": "demo" } },
    })
}

/// Waits until both listeners show the certificate.
async fn until_shown(server: &Server, fingerprint: &str) {
    let deadline = Instant::now() + PATIENCE;
    for listener in ["https", "rtsps"] {
        while plain(connect(server.address(listener)).await.1) != fingerprint {
            assert!(Instant::now() < deadline, "{listener} still shows another certificate");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

pub(crate) fn plain(fingerprint: Fingerprint) -> String {
    fingerprint.to_string().replace(':', "").to_ascii_lowercase()
}

#[tokio::test]
async fn another_certificate_in_the_files_is_shown_and_no_connection_ends_for_it() {
    let (first, second) = (Identity::new(), Identity::new());
    let tls = json!({ "certificate_file": first.certificate, "key_file": first.key });
    let mut server = Server::start(both(&tls)).await;
    let (mut web, shown) = connect(server.address("https")).await;
    let (mut rtsp, _) = connect(server.address("rtsps")).await;
    assert_eq!(plain(shown), first.fingerprint());
    let head = ask(&mut web, HEAD).await;
    assert!(head.starts_with("HTTP/1.1 200") && !head.contains("strict-transport-security"), "{head}");
    assert!(ask(&mut rtsp, OPTIONS).await.starts_with("RTSP/1.0 200"));

    // Half of it: the key of before does not fit.
    fs::copy(&second.certificate, &first.certificate).unwrap();
    server.log_line(|line| line.contains("http.tls.key_file") && line.contains("of before stays")).await;
    assert_eq!(plain(connect(server.address("https")).await.1), first.fingerprint());
    fs::copy(&second.key, &first.key).unwrap();
    until_shown(&server, &second.fingerprint()).await;

    fs::write(&first.certificate, "rubbish").unwrap();
    server.log_line(|line| line.contains("rtsp.tls.certificate_file") && line.contains("of before stays")).await;
    until_shown(&server, &second.fingerprint()).await;
    assert!(ask(&mut web, HEAD).await.starts_with("HTTP/1.1 200"), "what was open went on");
    assert!(ask(&mut rtsp, OPTIONS).await.starts_with("RTSP/1.0 200"));
}

#[tokio::test]
async fn a_certificate_of_its_own_is_for_this_machine_and_outlives_a_restart() {
    let config = both(&json!("self-signed"));
    let mut server = Server::start(config.clone()).await;
    let line = server.log_line(|line| line.contains("http.tls: self-signed certificate, SHA-256 ")).await;
    let told = line.rsplit(' ').next().unwrap().replace(':', "").to_ascii_lowercase();
    until_shown(&server, &told).await;
    // A client that took the certificate by hand sees whom it meant.
    let pem = fs::read(server.folder().join("state/tls.pem")).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config_of_client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let client = TlsConnector::from(Arc::new(config_of_client.with_root_certificates(roots).with_no_client_auth()));
    for name in ["localhost", "127.0.0.1", "::1"] {
        let tcp = TcpStream::connect(server.address("https")).await.unwrap();
        let shaken = client.connect(name.to_owned().try_into().unwrap(), tcp).await;
        let mut stream = shaken.unwrap_or_else(|error| panic!("{name}: {error}"));
        let head = ask(&mut stream, HEAD).await;
        assert!(head.starts_with("HTTP/1.1 200") && !head.contains("strict-transport-security"), "{head}");
    }
    let config = {
        let mut config = config;
        config["http"]["hsts"] = json!("1d");
        config
    };
    let server = server.restart(config).await;
    until_shown(&server, &told).await;
    let (mut stream, _) = connect(server.address("https")).await;
    let head = ask(&mut stream, HEAD).await;
    assert!(head.contains("strict-transport-security: max-age=86400\r\n"), "asked for: {head}");
}
