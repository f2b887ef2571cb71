//! A byte stream to a client: TCP, or TLS over it. It can move from the runtime it was accepted on to another one,
//! since handshakes and media have threads of their own.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

/// Bytes a socket holds that the network has not taken: what a slow client costs the kernel, and how stale what it
/// gets can be.
const UNSENT_MAX: u32 = 128 << 10;

/// A TCP socket, registered with a runtime or on its way to another.
#[derive(Debug)]
pub enum Socket {
    /// Registered.
    Here(TcpStream),
    /// Between two runtimes; it can neither be read nor written.
    Between(std::net::TcpStream),
    /// Only while it changes.
    Gone,
}

/// A stream to a client.
#[derive(Debug)]
pub enum Stream {
    /// In the clear.
    Plain(Socket),
    /// Encrypted.
    Tls(Box<TlsStream<Socket>>),
}

impl Stream {
    /// A stream in the clear over a connection that was just accepted.
    pub fn accepted(tcp: TcpStream) -> Self {
        Self::Plain(Socket::accepted(tcp))
    }

    /// Whether it is encrypted.
    pub fn is_encrypted(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// The address of ours that the client called.
    ///
    /// # Errors
    /// The connection was reset meanwhile.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let socket = match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => tls.get_ref().0,
        };
        match socket {
            Socket::Here(tcp) => tcp.local_addr(),
            Socket::Between(tcp) => tcp.local_addr(),
            Socket::Gone => Err(between()),
        }
    }

    /// Leaves the current runtime.
    ///
    /// # Errors
    /// The runtime does not give the socket back.
    pub fn leave(mut self) -> io::Result<Self> {
        let socket = self.socket();
        *socket = match std::mem::replace(socket, Socket::Gone) {
            Socket::Here(tcp) => Socket::Between(tcp.into_std()?),
            other => other,
        };
        Ok(self)
    }

    /// Enters the current runtime.
    ///
    /// # Errors
    /// The runtime takes no more sockets.
    pub fn enter(mut self) -> io::Result<Self> {
        let socket = self.socket();
        *socket = match std::mem::replace(socket, Socket::Gone) {
            Socket::Between(tcp) => Socket::Here(TcpStream::from_std(tcp)?),
            other => other,
        };
        Ok(self)
    }

    fn socket(&mut self) -> &mut Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => tls.get_mut().0,
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn bound_unsent(tcp: &TcpStream) {
    let _ = socket2::SockRef::from(tcp).set_tcp_notsent_lowat(UNSENT_MAX);
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn bound_unsent(tcp: &TcpStream) {
    let _ = socket2::SockRef::from(tcp).set_send_buffer_size(4 * UNSENT_MAX as usize);
}

fn between() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the socket is on its way to another runtime")
}

impl Socket {
    /// A connection that was just accepted: small writes leave at once, and what the network has not taken is bounded.
    pub(super) fn accepted(tcp: TcpStream) -> Self {
        // A socket that was reset meanwhile takes no option; the next read says so.
        let _ = tcp.set_nodelay(true);
        bound_unsent(&tcp);
        Self::Here(tcp)
    }

    fn here(self: Pin<&mut Self>) -> io::Result<Pin<&mut TcpStream>> {
        match self.get_mut() {
            Self::Here(tcp) => Ok(Pin::new(tcp)),
            Self::Between(_) | Self::Gone => Err(between()),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.here()?.poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.here()?.poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.here()?.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.here()?.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.here()?.poll_shutdown(cx)
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Self::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
