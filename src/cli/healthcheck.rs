//! `campanile healthcheck`: asks the running server's `/healthz`, for container images without curl.
//!
//! The server is where its `addresses.json` says, else where the configuration says. A file that was broken after the
//! server had started does not make it unhealthy: what can still be read of it is used.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use clap::Args;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::{Failure, Shared, report};
use crate::{
    app::addresses::Addresses,
    base::{Error, Kind},
    config::{Config, HumanDuration, files},
};

#[derive(Debug, Args)]
pub(super) struct HealthcheckArguments {
    /// The server to ask [default: where the configuration's server listens]
    #[arg(long, value_name = "URL")]
    url: Option<url::Url>,
    /// How long to wait for the answer
    #[arg(long, value_name = "SPAN", default_value = "3s")]
    timeout: HumanDuration,
}

/// Where to ask.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    address: SocketAddr,
    tls: bool,
    host: String,
}

pub(super) fn run(shared: &Shared, arguments: &HealthcheckArguments) -> Result<(), Failure> {
    let targets = match &arguments.url {
        Some(url) => of_url(url)?,
        None => {
            let environment = files::environment();
            let origin = files::find(shared.config.as_deref(), &environment);
            of_server(&files::open_what_is_right(&origin, &environment))
        }
    };
    let mut last = Error::new(Kind::FailedPrecondition, "nothing says where the server listens").with_hint(
        "is it running, with this configuration and from this directory? Else say where: --url http://host:port",
    );
    for target in targets {
        match ask(&target, arguments.timeout.duration()) {
            Ok(200) => return report::print("healthy\n"),
            Ok(status) => {
                last = Error::new(Kind::Unavailable, format!("server at {}: status {status}", target.address));
            }
            Err(error) => {
                last = Error::new(Kind::Unavailable, format!("server at {}", target.address))
                    .with_hint("is it running? Another server is asked by --url http://host:port")
                    .caused_by(error);
            }
        }
    }
    Err(last.into())
}

fn of_url(url: &url::Url) -> Result<Vec<Target>, Error> {
    let invalid = || Error::new(Kind::InvalidArgument, format!("`{url}` is not the URL of an HTTP server"));
    if !matches!(url.scheme(), "http" | "https") {
        return Err(invalid());
    }
    let addresses = url.socket_addrs(|| None).map_err(|error| invalid().caused_by(error))?;
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let tls = url.scheme() == "https";
    Ok(addresses.into_iter().map(|address| Target { address, tls, host: host.clone() }).collect())
}

fn of_server(config: &Config) -> Vec<Target> {
    let bound = Addresses::read(&config.state_dir).unwrap_or_default();
    let tls = config.http.tls.is_some();
    let bound = [("http", false), ("https", true)].map(|(listener, tls)| (bound.of(listener), tls));
    let bound = bound.into_iter().flat_map(|(addresses, tls)| addresses.iter().map(move |address| (*address, tls)));
    let configured = config.http.address.into_iter().filter(|address| address.port() != 0);
    let mut targets: Vec<Target> = Vec::new();
    let host = || "localhost".to_owned();
    for (mut address, tls) in bound.chain(configured.map(|address| (address, tls))) {
        match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
            // `[::]` takes IPv4 too, and a machine may have no IPv6.
            IpAddr::V6(ip) if ip.is_unspecified() => {
                let four = SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()));
                targets.push(Target { address: four, tls, host: host() });
                address.set_ip(Ipv6Addr::LOCALHOST.into());
            }
            _ => {}
        }
        targets.push(Target { address, tls, host: host() });
    }
    targets
}

/// The status of `GET /healthz`.
fn ask(target: &Target, timeout: Duration) -> io::Result<u16> {
    let stream = TcpStream::connect_timeout(&target.address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    if !target.tls {
        return exchange(stream, target);
    }
    let name = ServerName::try_from(target.host.clone()).map_err(io::Error::other)?;
    let connection = ClientConnection::new(Arc::new(any_certificate()?), name).map_err(io::Error::other)?;
    exchange(StreamOwned::new(connection, stream), target)
}

fn exchange(mut stream: impl Read + Write, target: &Target) -> io::Result<u16> {
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", target.address);
    stream.write_all(request.as_bytes())?;
    let mut head = Vec::new();
    let mut buffer = [0; 512];
    // The status stands in the first line: `HTTP/1.1 200 OK`.
    while !head.contains(&b'\n') && head.len() < 4096 {
        match stream.read(&mut buffer)? {
            0 => break,
            read => head.extend_from_slice(&buffer[..read]),
        }
    }
    let line = String::from_utf8_lossy(&head);
    let status =
        line.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)).and_then(|code| code.parse().ok());
    status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no HTTP answer"))
}

/// Whether our own server is alive does not hang on whose name its certificate bears.
fn any_certificate() -> io::Result<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(io::Error::other)?;
    Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate)).with_no_client_auth())
}

#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_asked_where_it_says_it_listens_then_where_it_should() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("addresses.json"), r#"{"https":["127.0.0.1:41000"],"rtsp":["127.0.0.1:1"]}"#)
            .unwrap();
        let mut config = Config { state_dir: folder.path().into(), ..Config::default() };
        config.http.address = vec!["0.0.0.0:80".parse().unwrap(), "[::]:81".parse().unwrap()].into();
        let asked: Vec<_> = of_server(&config).iter().map(|target| (target.address.to_string(), target.tls)).collect();
        let expected =
            [("127.0.0.1:41000", true), ("127.0.0.1:80", false), ("127.0.0.1:81", false), ("[::1]:81", false)];
        assert_eq!(asked, expected.map(|(address, tls)| (address.to_owned(), tls)));
    }

    #[test]
    fn the_status_is_read_from_the_first_line() {
        struct Answer(io::Cursor<&'static [u8]>);
        impl Read for Answer {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0.read(buffer)
            }
        }
        impl Write for Answer {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let target = Target { address: "127.0.0.1:1".parse().unwrap(), tls: false, host: String::new() };
        let status = |answer: &'static str| exchange(Answer(io::Cursor::new(answer.as_bytes())), &target);
        assert_eq!(status("HTTP/1.1 200 OK\r\n\r\n").unwrap(), 200);
        assert_eq!(status("HTTP/1.1 503 Service Unavailable\r\n").unwrap(), 503);
        for odd in ["", "SSH-2.0-x\r\n", "HTTP/1.1 OK\r\n"] {
            assert!(status(odd).is_err(), "{odd:?}");
        }
    }
}
