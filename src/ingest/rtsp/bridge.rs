//! The way to a camera that `retina` cannot be sent to directly: it is sent to a port of this machine, and here the
//! conversation goes on, over TLS or in the clear, mended on its way ([`super::mender`]), with media that comes over
//! UDP put between ([`super::datagrams`]).
//!
//! The port is random, on the loopback, and open for one connection: the first one closes it.

use std::{
    future::poll_fn,
    io,
    net::{IpAddr, Ipv4Addr},
    task::Poll,
    time::Duration,
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpListener, TcpStream, UdpSocket},
    time::{sleep_until, timeout},
};
use url::Url;

use super::{
    datagrams::Datagrams,
    failure::{Failure, Step},
    inquiry,
    mender::Mender,
    session::Call,
    tls,
};
use crate::{
    base::{Clock, Monotonic},
    config::{CameraTlsConfig, Credentials},
    net::listen::bind_udp_pair,
};

/// The ports of RTSP (RFC 2326 §3.2) and of RTSP over TLS (RFC 7826 §19.3).
pub(super) const PORT: u16 = 554;
pub(super) const TLS_PORT: u16 = 322;

/// What is read at a time.
const CHUNK: usize = 64 * 1024;

/// A side that takes nothing for so long is given up.
const WRITE_LIMIT: Duration = Duration::from_secs(10);

trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Datagrams of one port that are taken in one go.
const BATCH: usize = 32;

/// A connection to a camera, in the clear or not.
pub(super) struct Line {
    wire: Box<dyn Wire>,
    /// The address we have there, and the camera's.
    ends: (IpAddr, IpAddr),
}

/// Connects to the camera of a URL, with TLS if its scheme says so; the rest is as for a call.
pub(super) async fn connect(url: &Url, call: &Call, limit: Duration) -> Result<Line, Failure> {
    let encrypted = url.scheme() == "rtsps";
    let stream = inquiry::connect(url, if encrypted { TLS_PORT } else { PORT }, call.guard.as_ref(), limit).await?;
    let ends = stream.local_addr().and_then(|ours| Ok((ours.ip(), stream.peer_addr()?.ip())));
    let ends = ends.map_err(|error| Failure::of_io(error, Step::Connect))?;
    let wire: Box<dyn Wire> =
        if encrypted { Box::new(tls::secure(stream, url, &call.tls, limit).await?) } else { Box::new(stream) };
    Ok(Line { wire, ends })
}

/// Whether TLS is what the port wants to hear that is called without.
pub(super) async fn expects_tls(call: &Call, limit: Duration) -> bool {
    let Ok(stream) = inquiry::connect(&call.url, PORT, call.guard.as_ref(), limit).await else { return false };
    // Nothing is said within: whose certificate it is does not matter.
    let anybody = CameraTlsConfig { insecure: true, ..CameraTlsConfig::default() };
    tls::secure(stream, &call.url, &anybody, limit).await.is_ok()
}

impl Line {
    /// Asks for a description; the line is of no use afterwards.
    pub(super) async fn describe(
        &mut self,
        url: &Url,
        credentials: Option<&Credentials>,
        limit: Duration,
    ) -> Result<inquiry::Answer, Failure> {
        inquiry::describe(&mut self.wire, url, credentials, limit).await
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
    pub(super) async fn open(call: &Call) -> Result<Self, Failure> {
        let (url, limit) = (&call.url, call.limit);
        let line = connect(url, call, limit).await?;
        let ours = |error: io::Error| Failure::Protocol(Step::Connect, format!("no port on this side: {error}"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(ours)?;
        let origin = format!("rtsp://127.0.0.1:{}", listener.local_addr().map_err(ours)?.port());
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        let dial = Url::parse(&format!("{origin}{}{query}", url.path()));
        let dial = dial.map_err(|error| Failure::Protocol(Step::Connect, error.to_string()))?;
        let mut mender = Mender::new(url, origin, call.credentials.clone());
        if call.udp {
            mender = mender.over_udp(Datagrams::new(line.ends.1.to_canonical()));
        }
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
        if let Err(error) = carry(client, line, &mut mender).await {
            tracing::debug!("bridge to the camera: {error}");
        }
    }
}

async fn carry(mut client: TcpStream, line: Line, mender: &mut Mender) -> io::Result<()> {
    let Line { wire: mut camera, ends: (ours, _) } = line;
    client.set_nodelay(true)?;
    let mut ports = Ports { ours, pairs: Vec::new(), buffer: Vec::new() };
    let (mut from_client, mut from_camera) = (BytesMut::new(), BytesMut::with_capacity(CHUNK));
    loop {
        ports.prepare(mender)?;
        from_camera.reserve(CHUNK);
        let timer = mender.datagrams().and_then(|datagrams| datagrams.poll_timeout());
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
            () = ports.receive(mender) => false,
            () = until(timer) => false,
        };
        if let Some(datagrams) = mender.datagrams() {
            datagrams.handle_timeout(Clock.now());
            ports.transmit(datagrams);
        }
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

async fn until(timer: Option<Monotonic>) {
    match timer {
        Some(at) => sleep_until(Clock.instant(at)).await,
        None => std::future::pending().await,
    }
}

/// The ports that media comes on, a pair for each track and one to spare.
struct Ports {
    ours: IpAddr,
    pairs: Vec<(UdpSocket, UdpSocket)>,
    buffer: Vec<u8>,
}

impl Ports {
    /// Opens a pair for the next track, if media comes over UDP at all.
    fn prepare(&mut self, mender: &mut Mender) -> io::Result<()> {
        let Some(datagrams) = mender.datagrams().filter(|datagrams| datagrams.wants_ports()) else { return Ok(()) };
        let pair = bind_udp_pair("ports for a camera", self.ours, [0, 0], &[]).map_err(io::Error::other)?;
        let port = |socket: &std::net::UdpSocket| socket.local_addr().map(|address| address.port());
        datagrams.offer_ports((port(&pair.rtp)?, port(&pair.rtcp)?));
        self.pairs.push((UdpSocket::from_std(pair.rtp)?, UdpSocket::from_std(pair.rtcp)?));
        self.buffer.resize(CHUNK, 0);
        Ok(())
    }

    /// Takes what came on any of them.
    async fn receive(&mut self, mender: &mut Mender) {
        let Some(datagrams) = mender.datagrams() else { return std::future::pending().await };
        let Self { pairs, buffer, .. } = self;
        poll_fn(|context| {
            let (now, mut taken) = (Clock.now(), 0);
            for (lane, (rtp, rtcp)) in pairs.iter().enumerate() {
                for socket in [rtp, rtcp] {
                    for _ in 0..BATCH {
                        let mut read = ReadBuf::new(buffer);
                        let Poll::Ready(from) = socket.poll_recv_from(context, &mut read) else { break };
                        taken += 1;
                        if let Ok(from) = from {
                            datagrams.handle_datagram(lane, from, read.filled(), now);
                        }
                    }
                }
            }
            if taken > 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    fn transmit(&self, datagrams: &mut Datagrams) {
        while let Some(transmit) = datagrams.poll_transmit() {
            let Some((rtp, rtcp)) = self.pairs.get(transmit.lane) else { continue };
            let socket = if transmit.control { rtcp } else { rtp };
            // Nothing depends on it, and the next one follows.
            let _ = socket.try_send_to(&transmit.contents, transmit.to);
        }
    }
}
