//! The send threads as others see them: a viewer takes a seat on one of them and gives it orders. What a thread does is
//! [`super::thread`].

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use tokio::sync::mpsc;
use tracing::Span;

use super::{
    Key, Order,
    thread::{Driver, SendOptions},
    wire::{Outlets, Wire},
};
use crate::{
    base::{Clock, Tasks},
    hub::MediaThreads,
    net::udp::Datagrams,
    stats::{Delays, DelaysSnapshot},
};

/// Orders that may wait for a thread.
const ORDERS: usize = 4096;
/// Room in the queue that feedback leaves to orders that must not be lost.
const RESERVED: usize = 1024;

/// The send threads. Clones share them.
#[derive(Clone, Debug)]
pub(in crate::webrtc) struct SendThreads {
    threads: Arc<[SendThread]>,
    delays: Arc<Delays>,
}

#[derive(Debug)]
struct SendThread {
    orders: mpsc::Sender<Order>,
    load: Arc<AtomicUsize>,
    /// Feedback that was dropped because the thread had too much to do.
    dropped: Arc<AtomicU64>,
}

/// A viewer's seat on a send thread; dropping it makes room. Tell the thread [`Order::Leave`] first.
#[derive(Debug)]
pub(in crate::webrtc) struct Seat {
    orders: mpsc::Sender<Order>,
    load: Arc<AtomicUsize>,
    dropped: Arc<AtomicU64>,
}

impl SendThreads {
    /// Starts one on each of the media threads. `sockets` are those that
    /// [`Link::Udp`](crate::webrtc::transport::Link::Udp) counts.
    pub(in crate::webrtc) fn start(
        media: &MediaThreads,
        sockets: Arc<[Arc<Datagrams>]>,
        outlets: Arc<dyn Outlets>,
        options: SendOptions,
        clock: Clock,
        tasks: &Tasks,
    ) -> Self {
        let delays = Arc::<Delays>::default();
        let thread = |(number, runtime): (usize, &tokio::runtime::Handle)| {
            let (orders_tx, orders) = mpsc::channel(ORDERS);
            let tasks = tasks.child_on(runtime.clone());
            let wire = Wire::new(sockets.clone(), outlets.clone());
            let driver = Driver::new(orders, wire, options, clock, delays.clone());
            let stop = tasks.stopping().clone();
            tasks.spawn(format!("webrtc/send/{number}"), Span::none(), driver.run(stop));
            SendThread { orders: orders_tx, load: Arc::default(), dropped: Arc::default() }
        };
        Self { threads: media.runtimes().enumerate().map(thread).collect(), delays }
    }

    /// A seat on the thread with the fewest viewers.
    pub(in crate::webrtc) fn seat(&self) -> Seat {
        let least = self.threads.iter().min_by_key(|thread| thread.load.load(Ordering::Relaxed));
        let thread = least.expect("there should be at least one send thread");
        thread.load.fetch_add(1, Ordering::Relaxed);
        Seat { orders: thread.orders.clone(), load: thread.load.clone(), dropped: thread.dropped.clone() }
    }

    /// How long pictures stayed here, from their arrival to their last packet to the last viewer of a thread.
    pub(in crate::webrtc) fn delays(&self) -> DelaysSnapshot {
        self.delays.snapshot()
    }

    /// Feedback that was dropped since the start because a thread had too much to do.
    pub(in crate::webrtc) fn feedback_dropped(&self) -> u64 {
        self.threads.iter().map(|thread| thread.dropped.load(Ordering::Relaxed)).sum()
    }
}

impl Seat {
    /// Gives the thread an order; waits while its queue is full, which takes a thousand viewers that come or go at
    /// once.
    pub(in crate::webrtc) async fn order(&self, order: Order) {
        // A thread that is gone has no viewers.
        let _ = self.orders.send(order).await;
    }

    /// Passes RTCP on, unless the thread has too much to do.
    pub(in crate::webrtc) fn feedback(&self, key: Key, compound: bytes::Bytes) {
        let passed = self.orders.capacity() > RESERVED && self.orders.try_send(Order::Feedback(key, compound)).is_ok();
        if !passed {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.load.fetch_sub(1, Ordering::Relaxed);
    }
}
