//! How the servers are reached that we dial beside cameras: brokers, receivers of alerts, URLs with readings. A name is
//! looked up, a TCP connection made, TLS shaken over it; every step has a time-out. [`super::trust`] judges certificates.

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::base::{Error, Kind, Result};

/// How long each step may take: the look-up, each attempt to connect, the handshake.
pub const STEP: Duration = Duration::from_secs(10);
/// Addresses of one name that are tried.
const ADDRESSES: usize = 4;

/// A connection, with TLS or without.
pub trait Stream: AsyncRead + AsyncWrite + fmt::Debug + Send + Sync + Unpin {}

impl<S: AsyncRead + AsyncWrite + fmt::Debug + Send + Sync + Unpin> Stream for S {}

/// Looks a host up.
///
/// # Errors
/// [`Kind::Unavailable`], [`Kind::DeadlineExceeded`].
pub async fn look_up(host: &str, port: u16) -> Result<Vec<SocketAddr>> {
    let found = timeout(STEP, tokio::net::lookup_host((host, port))).await;
    let found = found.map_err(|_| Error::new(Kind::DeadlineExceeded, format!("{host}: not looked up in time")))?;
    let unknown = |error| Error::new(Kind::Unavailable, format!("{host}: no such host")).caused_by(error);
    let addresses: Vec<_> = found.map_err(unknown)?.take(ADDRESSES).collect();
    if addresses.is_empty() {
        return Err(Error::new(Kind::Unavailable, format!("{host}: no such host")));
    }
    Ok(addresses)
}

/// Connects to the first of the addresses that answers.
///
/// # Errors
/// [`Kind::Unavailable`], [`Kind::DeadlineExceeded`], of the last one.
pub async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream> {
    let mut last = Error::new(Kind::Unavailable, "there is no address");
    for address in addresses {
        last = match timeout(STEP, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Small packets, each of which somebody waits for.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => Error::new(Kind::Unavailable, format!("{address}: {}", in_words(&error))),
            Err(_) => Error::new(Kind::DeadlineExceeded, format!("{address}: does not answer")),
        };
    }
    Err(last)
}

fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "unreachable".to_owned(),
        _ => error.to_string(),
    }
}

/// Shakes hands.
///
/// # Errors
/// [`Kind::Unavailable`] with what TLS says; [`Kind::DeadlineExceeded`].
pub async fn secure<S>(stream: S, host: &str, config: Arc<ClientConfig>) -> Result<Box<dyn Stream>>
where
    S: Stream + 'static,
{
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Error::new(Kind::InvalidArgument, format!("{host}: no name for a certificate")))?;
    match timeout(STEP, TlsConnector::from(config).connect(name, stream)).await {
        Ok(Ok(stream)) => Ok(Box::new(stream)),
        Ok(Err(error)) => Err(Error::new(Kind::Unavailable, format!("{host}: tls: {error}"))),
        Err(_) => Err(Error::new(Kind::DeadlineExceeded, format!("{host}: tls: not done in time"))),
    }
}
