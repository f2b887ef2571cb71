//! The way to a camera that `retina` cannot be sent to directly: it is sent to a port of this machine, and here the
//! conversation goes on, over TLS or in the clear, mended on its way ([`super::mender`]).
//!
//! The port is random, on the loopback, and open for one connection: the first one closes it.

use std::{io, net::Ipv4Addr, time::Duration};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use url::Url;

use super::{
    failure::{Failure, Step},
    inquiry,
    mender::Mender,
    tls,
};
use crate::config::{CameraTlsConfig, Credentials};

/// The ports of RTSP (RFC 2326 §3.2) and of RTSP over TLS (RFC 7826 §19.3).
const PORT: u16 = 554;
const TLS_PORT: u16 = 322;

/// What is read at a time.
const CHUNK: usize = 64 * 1024;

/// A side that takes nothing for so long is given up.
const WRITE_LIMIT: Duration = Duration::from_secs(10);

trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// A connection to a camera, in the clear or not.
pub(super) struct Line(Box<dyn Wire>);

/// Connects to the camera of a URL, with TLS if its scheme says so.
pub(super) async fn connect(url: &Url, tls: &CameraTlsConfig, limit: Duration) -> Result<Line, Failure> {
    if url.scheme() != "rtsps" {
        return Ok(Line(Box::new(inquiry::connect(url, PORT, limit).await?)));
    }
    let stream = inquiry::connect(url, TLS_PORT, limit).await?;
    Ok(Line(Box::new(tls::secure(stream, url, tls, limit).await?)))
}

impl Line {
    /// Asks for a description; the line is of no use afterwards.
    pub(super) async fn describe(
        &mut self,
        url: &Url,
        credentials: Option<&Credentials>,
        limit: Duration,
    ) -> Result<inquiry::Answer, Failure> {
        inquiry::describe(&mut self.0, url, credentials, limit).await
    }
}

/// A bridge that waits for its one caller.
pub(super) struct Bridge {
    listener: TcpListener,
    line: Line,
    mender: Mender,
    dial: Url,
    limit: Duration,
}

impl Bridge {
    /// Connects to the camera and opens the port on this side.
    pub(super) async fn open(
        url: &Url,
        tls: &CameraTlsConfig,
        credentials: Option<Credentials>,
        limit: Duration,
    ) -> Result<Self, Failure> {
        let line = connect(url, tls, limit).await?;
        let ours = |error: io::Error| Failure::Protocol(Step::Connect, format!("no port on this side: {error}"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(ours)?;
        let origin = format!("rtsp://127.0.0.1:{}", listener.local_addr().map_err(ours)?.port());
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        let dial = Url::parse(&format!("{origin}{}{query}", url.path()));
        let dial = dial.map_err(|error| Failure::Protocol(Step::Connect, error.to_string()))?;
        let mender = Mender::new(url, origin, credentials);
        Ok(Self { listener, line, mender, dial, limit })
    }

    /// Where to send `retina`.
    pub(super) const fn dial(&self) -> &Url {
        &self.dial
    }

    /// Carries the conversation until one side ends it.
    pub(super) async fn run(self) {
        let Self { listener, line, mut mender, limit, .. } = self;
        let Ok(Ok((client, peer))) = timeout(limit, listener.accept()).await else { return };
        drop(listener);
        if !peer.ip().is_loopback() {
            return;
        }
        if let Err(error) = carry(client, line.0, &mut mender).await {
            tracing::debug!("bridge to the camera: {error}");
        }
    }
}

async fn carry(mut client: TcpStream, mut camera: Box<dyn Wire>, mender: &mut Mender) -> io::Result<()> {
    client.set_nodelay(true)?;
    let (mut from_client, mut from_camera) = (BytesMut::new(), BytesMut::with_capacity(CHUNK));
    loop {
        from_camera.reserve(CHUNK);
        let ended = tokio::select! {
            biased;
            read = client.read_buf(&mut from_client) => {
                let ended = read? == 0;
                mender.handle_client(&mut from_client).map_err(io::Error::other)?;
                ended
            }
            read = camera.read_buf(&mut from_camera) => {
                let ended = read? == 0;
                mender.handle_camera(&mut from_camera).map_err(io::Error::other)?;
                ended
            }
        };
        let (to_camera, to_client) = (mender.take_for_camera(), mender.take_for_client());
        let write = async {
            camera.write_all(&to_camera).await?;
            camera.flush().await?;
            client.write_all(&to_client).await
        };
        timeout(WRITE_LIMIT, write).await??;
        if ended {
            // The camera's last words came first.
            let _ = timeout(WRITE_LIMIT, camera.shutdown()).await;
            return client.shutdown().await;
        }
    }
}
