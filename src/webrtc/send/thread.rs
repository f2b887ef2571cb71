//! What one send thread does: it drives its viewers.
//!
//! A thread hears each ring once, whatever the number of its viewers. Each turn: orders; the viewers of the rings that
//! struck, ring by ring; then at most a millisecond of bursts and retransmissions, in turn. Nothing is allocated for a
//! viewer and unit: runs are sealed in the thread's one buffer, units are read into its one batch.

use std::{
    collections::{HashMap, VecDeque},
    future::poll_fn,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    Joining, Key, Order, SendEnd,
    chime::{Chime, Chimes},
    viewer::{Outcome, Turn, Viewer},
    wire::{Way, Wire},
};
use crate::{
    base::{Clock, Monotonic},
    hub::{Ears, RingKey},
    media::Unit,
    stats::Delays,
    webrtc::srtp::Sealer,
};

/// Orders taken in one turn.
const ORDERS_PER_TURN: usize = 256;
/// How long bursts and retransmissions may take before the rings are looked at again.
const SPARE_TIME: Duration = Duration::from_millis(1);
/// How often viewers that wait for another rendition are looked at, whatever their rings do.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// How viewers are sent to.
#[derive(Clone, Copy, Debug)]
pub(in crate::webrtc) struct SendOptions {
    /// The rate of a start burst, in bits a second.
    pub(in crate::webrtc) burst_rate: u64,
}

impl Default for SendOptions {
    fn default() -> Self {
        Self { burst_rate: 60_000_000 }
    }
}

/// A ring that viewers of this thread read.
#[derive(Debug)]
struct Heard {
    ears: Ears,
    chime: Arc<Chime>,
    waker: Waker,
    viewers: Vec<Key>,
}

/// A viewer and what belongs to its seat.
struct Seated {
    viewer: Viewer<Sealer>,
    way: Way,
    rings: Vec<RingKey>,
    /// It has more to send, and is in the list of those.
    busy: bool,
    due: Monotonic,
    ended: Option<oneshot::Sender<SendEnd>>,
}

/// What one thread does.
pub(super) struct Driver {
    orders: mpsc::Receiver<Order>,
    wire: Wire,
    options: SendOptions,
    clock: Clock,
    chimes: Arc<Chimes>,
    viewers: HashMap<Key, Box<Seated>>,
    rings: HashMap<RingKey, Heard>,
    /// Viewers with more to send, in turn.
    busy: VecDeque<Key>,
    buffer: Vec<u8>,
    batch: Vec<Arc<Unit>>,
    /// When the oldest live picture arrived whose last packet was sent since this was last looked at.
    sent: Option<Monotonic>,
    delays: Arc<Delays>,
}

impl Driver {
    pub(super) fn new(
        orders: mpsc::Receiver<Order>,
        wire: Wire,
        options: SendOptions,
        clock: Clock,
        delays: Arc<Delays>,
    ) -> Self {
        Self {
            orders,
            wire,
            options,
            clock,
            chimes: Arc::default(),
            viewers: HashMap::new(),
            rings: HashMap::new(),
            busy: VecDeque::new(),
            buffer: Vec::with_capacity(crate::net::udp::CALL_MAX + 4096),
            batch: Vec::with_capacity(crate::hub::BATCH),
            sent: None,
            delays,
        }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        let (mut struck, mut hearers) = (Vec::new(), Vec::new());
        let mut sweep = self.clock.now() + SWEEP_EVERY;
        loop {
            for _ in 0..ORDERS_PER_TURN {
                match self.orders.try_recv() {
                    Ok(order) => self.take(order),
                    Err(_) => break,
                }
            }
            self.chimes.take(&mut struck);
            for ring in struck.drain(..) {
                self.serve(ring, &mut hearers);
            }
            self.work_off();
            let now = self.clock.now();
            if now >= sweep {
                sweep = now + SWEEP_EVERY;
                self.sweep(&mut hearers);
            }
            let due = self.busy.iter().filter_map(|key| self.viewers.get(key)).map(|seated| seated.due).min();
            if due.is_some_and(|due| due <= now) {
                // Others on this thread have their turn too.
                tokio::task::yield_now().await;
                if stop.is_cancelled() {
                    break;
                }
                continue;
            }
            let timer = tokio::time::sleep_until(self.clock.instant(due.map_or(sweep, |due| due.min(sweep))));
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                order = self.orders.recv() => match order {
                    Some(order) => self.take(order),
                    None => break,
                },
                () = poll_fn(|cx| self.chimes.poll_struck(cx)) => {}
                () = timer, if due.is_some() || !self.viewers.is_empty() => {}
            }
        }
        for (_, mut seated) in self.viewers.drain() {
            tell(&mut seated.ended, SendEnd::Closed);
        }
    }

    fn take(&mut self, order: Order) {
        let now = self.clock.now();
        match order {
            Order::Join(joining) => self.join(*joining, now),
            Order::Leave(key) => self.leave(key),
            Order::Route(key, route) => {
                let way = self.wire.way(route);
                if let Some(seated) = self.viewers.get_mut(&key) {
                    seated.way = way;
                }
            }
            Order::Silent(key, silent) => {
                if let Some(seated) = self.viewers.get_mut(&key) {
                    seated.viewer.set_silent(silent, now);
                    self.enlist(key, now);
                }
            }
            Order::Feedback(key, compound) => {
                if let Some(seated) = self.viewers.get_mut(&key) {
                    let more = seated.viewer.handle_feedback(&compound, now);
                    self.listen(key);
                    if more {
                        self.enlist(key, now);
                    }
                }
            }
        }
    }

    fn join(&mut self, mut joining: Joining, now: Monotonic) {
        let (key, way, sealer) = (joining.key, self.wire.way(joining.route), Sealer::new(&joining.keys));
        let (never, _) = oneshot::channel();
        let mut ended = Some(std::mem::replace(&mut joining.ended, never));
        let Some(viewer) = Viewer::new(joining, sealer, self.options.burst_rate, now) else {
            tell(&mut ended, SendEnd::TracksChanged);
            return;
        };
        self.leave(key);
        let seated = Seated { viewer, way, rings: Vec::with_capacity(2), busy: false, due: now, ended };
        self.viewers.insert(key, Box::new(seated));
        self.listen(key);
        self.enlist(key, now);
    }

    fn leave(&mut self, key: Key) {
        if let Some(seated) = self.viewers.remove(&key) {
            for ring in seated.rings {
                self.unlisten(key, ring);
            }
        }
    }

    fn unlisten(&mut self, key: Key, ring: RingKey) {
        if let Some(heard) = self.rings.get_mut(&ring) {
            heard.viewers.retain(|viewer| *viewer != key);
            if heard.viewers.is_empty() {
                self.rings.remove(&ring);
            }
        }
    }

    /// Makes the thread hear the rings a viewer reads, and those alone.
    fn listen(&mut self, key: Key) {
        let Some(seated) = self.viewers.get_mut(&key) else { return };
        if seated.viewer.rings().map(|(ring, _)| ring).eq(seated.rings.iter().copied()) {
            return;
        }
        let before = std::mem::take(&mut seated.rings);
        for (ring, reader) in seated.viewer.rings() {
            if seated.rings.contains(&ring) {
                continue;
            }
            seated.rings.push(ring);
            if before.contains(&ring) {
                continue;
            }
            let heard = self.rings.entry(ring).or_insert_with(|| {
                let chime = Arc::new(Chime::struck(ring, self.chimes.clone()));
                Heard { ears: reader.ears(), waker: chime.clone().into(), chime, viewers: Vec::new() }
            });
            heard.viewers.push(key);
        }
        let gone: Vec<_> = before.into_iter().filter(|ring| !seated.rings.contains(ring)).collect();
        for ring in gone {
            self.unlisten(key, ring);
        }
    }

    /// Puts a viewer among those that have more to send.
    fn enlist(&mut self, key: Key, due: Monotonic) {
        let Some(seated) = self.viewers.get_mut(&key) else { return };
        seated.due = due;
        if !seated.busy {
            seated.busy = true;
            self.busy.push_back(key);
        }
    }

    /// A ring struck: its viewers have their turn.
    fn serve(&mut self, ring: RingKey, hearers: &mut Vec<Key>) {
        let Some(heard) = self.rings.get_mut(&ring) else { return };
        // Order is: arm, look, sleep.
        heard.chime.reset();
        heard.ears.arm();
        hearers.clear();
        hearers.extend_from_slice(&heard.viewers);
        for key in hearers.drain(..) {
            self.turn(key, false);
        }
        self.count_delay();
        if let Some(heard) = self.rings.get_mut(&ring)
            && heard.ears.poll_heard(&Context::from_waker(&heard.waker)).is_ready()
        {
            heard.waker.wake_by_ref();
        }
    }

    /// A viewer's turn; one that has more to send is enlisted. Retransmissions belong to the spare time.
    fn turn(&mut self, key: Key, spare: bool) {
        let Some(seated) = self.viewers.get_mut(&key) else { return };
        let Seated { viewer, way, rings, .. } = &mut **seated;
        let wire = &self.wire;
        let mut turn = Turn {
            now: self.clock.now(),
            wall: self.clock.wall(),
            segments: wire.segments(way),
            room: Wire::room(way),
            buffer: &mut self.buffer,
            batch: &mut self.batch,
            sent: &mut self.sent,
            out: |run: &[u8], segment: usize| wire.send(way, run, segment),
        };
        let now = turn.now;
        let repairs = spare && viewer.repair(&mut turn);
        let outcome = viewer.turn(&mut turn);
        let moved = !viewer.rings().map(|(ring, _)| ring).eq(rings.iter().copied());
        if moved {
            self.listen(key);
        }
        match outcome {
            Outcome::Due(due) => self.enlist(key, if repairs { now } else { due }),
            Outcome::Waits if repairs => self.enlist(key, now),
            Outcome::Waits => {}
            Outcome::End(end) => {
                debug!(viewer = key.0, ?end, "a viewer ends");
                if let Some(seated) = self.viewers.get_mut(&key) {
                    tell(&mut seated.ended, end);
                }
                self.leave(key);
            }
        }
    }

    /// Bursts and retransmissions, in turn, for as long as there is time to spare.
    fn work_off(&mut self) {
        let began = self.clock.now();
        for _ in 0..self.busy.len() {
            let Some(key) = self.busy.pop_front() else { break };
            let Some(seated) = self.viewers.get_mut(&key) else { continue };
            let now = self.clock.now();
            if now.since(began) >= SPARE_TIME {
                self.busy.push_front(key);
                break;
            }
            if seated.due > now {
                self.busy.push_back(key);
                continue;
            }
            seated.busy = false;
            self.turn(key, true);
        }
        self.count_delay();
    }

    /// Counts how long the oldest picture that was sent since the last call has been here.
    fn count_delay(&mut self) {
        if let Some(arrived) = self.sent.take() {
            self.delays.count(self.clock.now().since(arrived));
        }
    }

    /// Looks at viewers whose rings may be silent.
    fn sweep(&mut self, hearers: &mut Vec<Key>) {
        hearers.clear();
        for (key, seated) in &self.viewers {
            if seated.viewer.awaits_candidate() {
                hearers.push(*key);
            }
        }
        for key in hearers.drain(..) {
            self.turn(key, false);
        }
    }
}

fn tell(ended: &mut Option<oneshot::Sender<SendEnd>>, end: SendEnd) {
    if let Some(ended) = ended.take() {
        // A session that is gone already needs no reason.
        let _ = ended.send(end);
    }
}
