//! What stands between a socket and the HTTP codec: both report to the connection's [`Vigil`], neither decides. And what a
//! socket is told when it was accepted.

use std::{
    io,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::{Buf, Bytes};
use http_body::{Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
};

use super::vigil::Vigil;
use crate::{
    base::Clock,
    stats::{Place, Requests},
};

/// What the kernel holds for a client that it could not send yet. It calls the socket writable only when a good part of
/// its buffer is free: with megabytes in it, a slow client would look like one that takes nothing.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT: u32 = 128 * 1024;

/// What was sent and is not acknowledged for this long was sent to nobody.
#[cfg(any(target_os = "linux", target_os = "android"))]
const GONE: Duration = Duration::from_secs(45);
/// How long a connection may say nothing before the kernel asks whether the peer is there.
#[cfg(any(target_os = "linux", target_os = "android"))]
const KEEPALIVE: Duration = Duration::from_secs(30);

/// The options of a connection that was just accepted.
pub(super) fn tune(socket: &TcpStream) -> io::Result<()> {
    // A part is written at once and has to leave at once.
    socket.set_nodelay(true)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let socket = socket2::SockRef::from(socket);
        socket.set_tcp_notsent_lowat(UNSENT)?;
        // A peer that is gone without a word holds its place no longer than this, with something to say to it or not.
        socket.set_tcp_user_timeout(Some(GONE))?;
        socket.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3))?;
    }
    Ok(())
}

/// A connection's place among the others, for as long as it lasts.
#[derive(Debug)]
pub(super) struct Guest {
    requests: Arc<Requests>,
    _seat: OwnedSemaphorePermit,
    /// One of its address; a proxy has no limit.
    _place: Option<Place<IpAddr>>,
}

impl Guest {
    pub(super) fn enter(requests: Arc<Requests>, seat: OwnedSemaphorePermit, place: Option<Place<IpAddr>>) -> Self {
        requests.connected();
        Self { requests, _seat: seat, _place: place }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.requests.disconnected();
    }
}

/// A socket that tells when bytes come in and when none go out.
#[derive(Debug)]
pub(super) struct Watched<S> {
    socket: S,
    vigil: Arc<Vigil>,
    clock: Clock,
}

impl<S> Watched<S> {
    pub(super) fn new(socket: S, vigil: Arc<Vigil>, clock: Clock) -> Self {
        Self { socket, vigil, clock }
    }

    /// The socket, which nobody watches any more.
    pub(super) fn into_inner(self) -> S {
        self.socket
    }

    fn note<T>(&self, written: Poll<T>) -> Poll<T> {
        match &written {
            Poll::Pending => self.vigil.handle_blocked(self.clock.now()),
            Poll::Ready(_) => self.vigil.handle_written(),
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.vigil.handle_read(self.clock.now());
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.socket).poll_flush(cx);
        self.note(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.socket).poll_shutdown(cx);
        self.note(shut)
    }
}

/// A request, from its head to the end of its answer's body: as long as it lasts, its connection is not idle.
#[derive(Debug)]
pub(super) struct Asked {
    vigil: Arc<Vigil>,
    clock: Clock,
}

impl Asked {
    pub(super) fn new(vigil: Arc<Vigil>, clock: Clock) -> Self {
        vigil.handle_request();
        Self { vigil, clock }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.vigil.handle_answered(self.clock.now());
    }
}

/// The body of an answer whose every piece is watched until the codec has let go of it.
#[derive(Debug)]
pub(super) struct WatchedBody {
    body: Body,
    asked: Asked,
}

impl WatchedBody {
    pub(super) fn new(body: Body, asked: Asked) -> Self {
        Self { body, asked }
    }
}

impl http_body::Body for WatchedBody {
    type Data = WatchedBytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<WatchedBytes>, axum::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        let watch = |bytes| WatchedBytes::new(bytes, self.asked.vigil.clone(), self.asked.clock);
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(watch))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A piece of a body on its way out.
#[derive(Debug)]
pub(super) struct WatchedBytes {
    bytes: Bytes,
    vigil: Arc<Vigil>,
    clock: Clock,
}

impl WatchedBytes {
    fn new(bytes: Bytes, vigil: Arc<Vigil>, clock: Clock) -> Self {
        vigil.handle_body(clock.now());
        Self { bytes, vigil, clock }
    }
}

impl Buf for WatchedBytes {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.vigil.handle_progress(self.clock.now());
    }

    fn copy_to_bytes(&mut self, len: usize) -> Bytes {
        self.vigil.handle_progress(self.clock.now());
        self.bytes.copy_to_bytes(len)
    }
}

impl Drop for WatchedBytes {
    fn drop(&mut self) {
        self.vigil.handle_body_gone(self.clock.now());
    }
}
