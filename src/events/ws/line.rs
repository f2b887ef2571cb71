//! Between a stream and a session machine: reads and writes what the machine wants, and decides nothing.
//!
//! What comes in is read into a place on the stack, what goes out is shared: a connection that is silent holds no buffer.

use std::{
    fmt,
    io::IoSlice,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::session::Session;
use crate::base::{Clock, Monotonic};

/// A stream that was upgraded.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// The stream, and what of it is known.
pub struct Line {
    stream: Box<dyn Stream>,
    /// What was written is not held back by TLS.
    flushed: bool,
    shut: bool,
}

/// Frames that one call writes.
const SLICES: usize = 32;
/// Bytes that one call reads.
const READ: usize = 4096;

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("flushed", &self.flushed).field("shut", &self.shut).finish_non_exhaustive()
    }
}

impl Line {
    /// A stream on which nothing was said yet.
    pub fn new(stream: Box<dyn Stream>) -> Self {
        Self { stream, flushed: true, shut: false }
    }

    /// Whether all that was written is out.
    pub const fn is_flushed(&self) -> bool {
        self.flushed
    }

    /// Writes what waits, then reads what there is; ready if either moved something, or the socket just got blocked.
    pub fn poll(&mut self, cx: &mut Context<'_>, session: &mut Session, clock: Clock) -> Poll<()> {
        let now = clock.now();
        let wrote = self.write(cx, session, now);
        if session.wants_shutdown() && self.flushed && !self.shut {
            self.shut = Pin::new(&mut self.stream).poll_shutdown(cx).is_ready();
        }
        if session.wants_bytes() && self.read(cx, session, now) {
            return Poll::Ready(());
        }
        if wrote || session.end().is_some() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Writes what waits; whether that moved something, or the socket just got blocked.
    pub fn write(&mut self, cx: &mut Context<'_>, session: &mut Session, now: Monotonic) -> bool {
        let mut moved = false;
        loop {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let filled = session.slices(&mut slices);
            if filled == 0 {
                break;
            }
            let stream = Pin::new(&mut self.stream);
            // One frame by the shorter way through the kernel.
            let written = match &slices[..filled] {
                [frame] => stream.poll_write(cx, frame),
                frames => stream.poll_write_vectored(cx, frames),
            };
            match written {
                Poll::Ready(Ok(count @ 1..)) => {
                    session.handle_written(now, count);
                    (moved, self.flushed) = (true, false);
                }
                Poll::Ready(_) => {
                    session.handle_end_of_stream();
                    return true;
                }
                Poll::Pending => return session.handle_blocked(now) || moved,
            }
        }
        if !self.flushed {
            match Pin::new(&mut self.stream).poll_flush(cx) {
                Poll::Ready(Ok(())) => {
                    session.handle_written(now, 0);
                    (moved, self.flushed) = (true, true);
                }
                Poll::Ready(Err(_)) => {
                    session.handle_end_of_stream();
                    return true;
                }
                Poll::Pending => return session.handle_blocked(now) || moved,
            }
        }
        moved
    }

    fn read(&mut self, cx: &mut Context<'_>, session: &mut Session, now: Monotonic) -> bool {
        let mut room = [MaybeUninit::uninit(); READ];
        let mut buffer = ReadBuf::uninit(&mut room);
        match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => session.handle_bytes(now, buffer.filled()),
            Poll::Ready(_) => session.handle_end_of_stream(),
            Poll::Pending => return false,
        }
        true
    }
}
