//! The sockets of one connection and what waits on both sides of them. A driver: it moves bytes and knows nothing of
//! what they mean.

use std::{future::poll_fn, io, task::Poll};

use super::{
    framing::Framing,
    outbox::{Outbox, Written},
    wire::Wire,
};

/// The sockets and what waits on both sides of them.
#[derive(Debug)]
pub(super) struct Io {
    pub(super) wire: Wire,
    pub(super) framing: Framing,
    pub(super) outbox: Outbox,
    /// Something was handed to a cipher and is not flushed.
    flushing: bool,
    written: Written,
}

/// What happened.
#[derive(Debug)]
pub(super) enum IoEvent {
    /// Bytes came in.
    Input,
    /// Some of what waits was written, or all of it.
    Output,
    /// The client closed its side.
    Closed,
}

impl Io {
    /// Nothing waits yet.
    pub(super) fn new(wire: Wire) -> Self {
        let (framing, outbox) = (Framing::default(), Outbox::default());
        Self { wire, framing, outbox, flushing: false, written: Written::default() }
    }

    /// What was written since this was last asked.
    pub(super) fn take_written(&mut self) -> Written {
        std::mem::take(&mut self.written)
    }

    /// Writes what waits as far as the socket takes it, without waiting for more. Whether it took anything of packets.
    pub(super) async fn write_now(&mut self) -> io::Result<bool> {
        let before = self.written;
        if !self.outbox.is_empty()
            && let Poll::Ready(Err(error)) = poll_fn(|cx| Poll::Ready(self.poll_write(cx))).await
        {
            return Err(error);
        }
        Ok(self.written != before)
    }

    /// Writes all that waits and says that nothing more will come.
    pub(super) async fn close(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_write(cx)).await?;
        poll_fn(|cx| self.wire.poll_shutdown(cx)).await
    }

    /// Reads if `reads`, and writes what waits. Ready when something happened.
    ///
    /// # Cancel safety
    /// Nothing is lost: what was read is in the framing, what was written is off the outbox.
    pub(super) async fn progress(&mut self, reads: bool) -> io::Result<IoEvent> {
        poll_fn(|cx| {
            if !self.outbox.is_empty() || self.flushing {
                let before = self.written;
                match self.poll_write(cx) {
                    Poll::Ready(outcome) => return Poll::Ready(outcome.map(|()| IoEvent::Output)),
                    Poll::Pending if self.written != before => return Poll::Ready(Ok(IoEvent::Output)),
                    Poll::Pending => {}
                }
            }
            // A client that hangs up is noticed whatever waits.
            if !reads {
                return Poll::Pending;
            }
            self.wire.poll_read(cx, &mut self.framing).map_ok(|read| match read {
                0 => IoEvent::Closed,
                _ => IoEvent::Input,
            })
        })
        .await
    }

    fn poll_write(&mut self, cx: &mut std::task::Context<'_>) -> Poll<io::Result<()>> {
        let outcome = self.wire.poll_write(cx, &mut self.outbox, &mut self.written);
        self.flushing = outcome.is_pending();
        outcome
    }
}
