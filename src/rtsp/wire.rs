//! The bytes of one RTSP connection: a stream, or the two streams of a tunnel. A driver: it moves bytes between the
//! sockets and the machines ([`Framing`], [`Outbox`]) and knows nothing of what they mean.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::mpsc,
};

use super::{
    framing::Framing,
    outbox::{Heads, Outbox, SLICES, Written},
    tunnel::{Decoder, Entry, Post},
};
use crate::net::stream::Stream;

/// Bytes read at a time, on the stack: clients say little.
const READ: usize = 4096;

/// The way to and from one client.
#[derive(Debug)]
pub(super) enum Wire {
    /// One stream for both directions.
    Direct(Stream),
    /// A tunnel.
    Tunnel(Box<Tunnel>),
    /// None; while it changes hands.
    Closed,
}

/// The two streams of a tunnel.
#[derive(Debug)]
pub(super) struct Tunnel {
    down: Stream,
    up: Option<Stream>,
    posts: mpsc::Receiver<Post>,
    decoder: Decoder,
    _entry: Entry,
}

impl Wire {
    /// Makes a tunnel of the connection of its `GET`.
    pub(super) fn into_tunnel(self, entry: Entry, posts: mpsc::Receiver<Post>) -> Self {
        match self {
            Self::Direct(down) => {
                let decoder = Decoder::default();
                Self::Tunnel(Box::new(Tunnel { down, up: None, posts, decoder, _entry: entry }))
            }
            other @ (Self::Tunnel(_) | Self::Closed) => other,
        }
    }

    /// What the media travel in, for the list of sessions.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Direct(stream) if stream.is_encrypted() => "tls",
            Self::Direct(_) | Self::Closed => "tcp",
            Self::Tunnel(tunnel) if tunnel.down.is_encrypted() => "https",
            Self::Tunnel(_) => "http",
        }
    }

    /// Whether the client is to get everything through this wire: nothing leaves a TLS connection in the clear, and
    /// who tunnels has no way for anything else.
    pub(super) fn keeps_media_inside(&self) -> bool {
        !matches!(self, Self::Direct(stream) if !stream.is_encrypted())
    }

    /// Whether nobody on the way can read it.
    pub(super) fn is_encrypted(&self) -> bool {
        match self {
            Self::Direct(stream) => stream.is_encrypted(),
            Self::Tunnel(tunnel) => tunnel.down.is_encrypted(),
            Self::Closed => false,
        }
    }

    fn down(&mut self) -> io::Result<Pin<&mut Stream>> {
        match self {
            Self::Direct(stream) => Ok(Pin::new(stream)),
            Self::Tunnel(tunnel) => Ok(Pin::new(&mut tunnel.down)),
            Self::Closed => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Reads what the client says into `framing`. Ready when something came, with the bytes that came in; 0 when the
    /// client has ended.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, framing: &mut Framing) -> Poll<io::Result<usize>> {
        match self {
            Self::Direct(stream) => poll_read(stream, cx, |bytes| framing.push(bytes)),
            Self::Tunnel(tunnel) => tunnel.poll_read(cx, framing),
            Self::Closed => Poll::Ready(Ok(0)),
        }
    }

    /// Writes what waits, in one system call as long as the socket takes it. Ready when all is written; `written`
    /// says what was, in any case.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        outbox: &mut Outbox,
        written: &mut Written,
    ) -> Poll<io::Result<()>> {
        while !outbox.is_empty() {
            let mut heads = Heads::new();
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = outbox.gather(&mut heads, &mut slices);
            let taken = ready!(self.down()?.poll_write_vectored(cx, &slices[..count]))?;
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let done = outbox.advance(taken);
            written.packets += done.packets;
            written.bytes += done.bytes;
        }
        self.down()?.poll_flush(cx)
    }

    /// Says that nothing more will come.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.down()?.poll_shutdown(cx)
    }

    /// The stream of a connection that is no tunnel.
    pub(super) fn into_stream(self) -> Option<Stream> {
        match self {
            Self::Direct(stream) => Some(stream),
            Self::Tunnel(_) | Self::Closed => None,
        }
    }
}

impl Tunnel {
    fn poll_read(&mut self, cx: &mut Context<'_>, framing: &mut Framing) -> Poll<io::Result<usize>> {
        // The client says nothing on its GET; its end is the end of all.
        if let Poll::Ready(read) = poll_read(&mut self.down, cx, |_| ()) {
            match read? {
                0 => return Poll::Ready(Ok(0)),
                _ => cx.waker().wake_by_ref(),
            }
        }
        if let Poll::Ready(Some(post)) = self.posts.poll_recv(cx) {
            self.up = Some(post.stream.enter()?);
            self.decoder = Decoder::default();
            if !post.rest.is_empty() {
                self.decoder.decode(&post.rest, |bytes| framing.push(bytes)).map_err(invalid)?;
                return Poll::Ready(Ok(post.rest.len()));
            }
        }
        let Some(up) = &mut self.up else { return Poll::Pending };
        let decoder = &mut self.decoder;
        let mut decoded = Ok(());
        let read = ready!(poll_read(up, cx, |bytes| decoded = decoder.decode(bytes, |bytes| framing.push(bytes))))?;
        decoded.map_err(invalid)?;
        if read == 0 {
            // Clients may end one POST and begin another.
            self.up = None;
            return self.poll_read(cx, framing);
        }
        Poll::Ready(Ok(read))
    }
}

fn invalid(error: super::tunnel::TunnelError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn poll_read(stream: &mut Stream, cx: &mut Context<'_>, take: impl FnOnce(&[u8])) -> Poll<io::Result<usize>> {
    let mut room = [std::mem::MaybeUninit::uninit(); READ];
    let mut buf = ReadBuf::uninit(&mut room);
    ready!(Pin::new(stream).poll_read(cx, &mut buf))?;
    take(buf.filled());
    Poll::Ready(Ok(buf.filled().len()))
}
