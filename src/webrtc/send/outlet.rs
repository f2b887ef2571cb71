//! What waits to be written to the connection of a viewer whose UDP is blocked: framed datagrams (RFC 4571), bounded.
//!
//! The send thread puts runs in, the connection's task takes bytes out. What does not fit is refused as a whole, so
//! that the machine leaves pictures out up to the next random access point; nothing that was taken is dropped.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{BufMut, BytesMut};
use tokio::sync::Notify;

/// Bytes that may wait: a key frame of a large picture, or half a second of a small one.
const WAITING_MAX: usize = 512 << 10;

/// The outgoing queue of one connection.
#[derive(Debug, Default)]
pub(in crate::webrtc) struct Outlet {
    waiting: Mutex<BytesMut>,
    filled: Notify,
}

impl Outlet {
    fn waiting(&self) -> MutexGuard<'_, BytesMut> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes there is room for, frames included.
    pub(in crate::webrtc) fn room(&self) -> usize {
        WAITING_MAX.saturating_sub(self.waiting().len())
    }

    /// Adds datagrams of `segment` bytes, the last of which may be shorter; `false`, and none is added, if there is no
    /// room for them.
    pub(in crate::webrtc) fn put(&self, datagrams: &[u8], segment: usize) -> bool {
        let segment = segment.clamp(1, usize::from(u16::MAX));
        let mut waiting = self.waiting();
        let framed = datagrams.len() + datagrams.len().div_ceil(segment) * 2;
        if waiting.len() + framed > WAITING_MAX {
            return false;
        }
        for datagram in datagrams.chunks(segment) {
            // RFC 4571 §2: the length in 16 bits, then the packet.
            waiting.put_u16(datagram.len() as u16);
            waiting.put_slice(datagram);
        }
        drop(waiting);
        self.filled.notify_one();
        true
    }

    /// Takes all that waits, as soon as something does. One task waits here, the connection's.
    ///
    /// # Cancel safety
    /// Nothing is lost: bytes are taken and returned without a wait in between.
    pub(in crate::webrtc) async fn take(&self) -> BytesMut {
        loop {
            let taken = self.waiting().split();
            if !taken.is_empty() {
                return taken;
            }
            self.filled.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn datagrams_are_framed_and_taken_in_one_piece() {
        let outlet = Outlet::default();
        assert!(outlet.put(b"aabbc", 2));
        assert!(outlet.put(b"d", 1));
        assert_eq!(outlet.take().await[..], *b"\0\x02aa\0\x02bb\0\x01c\0\x01d");
        assert!(tokio::time::timeout(std::time::Duration::from_millis(1), outlet.take()).await.is_err());
    }

    #[test]
    fn what_does_not_fit_is_refused_as_a_whole() {
        let outlet = Outlet::default();
        let half = vec![0; WAITING_MAX / 2];
        assert!(outlet.put(&half, 1200));
        assert!(!outlet.put(&half, 1200));
        let room = outlet.room();
        assert!(outlet.put(&half[..1000], 1200));
        assert_eq!(outlet.room(), room - 1002);
    }
}
