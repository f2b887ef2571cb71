//! RTP over UDP, unicast: the pairs of ports that all readers share, and one reader's way through them.
//!
//! Whatever comes in — receiver reports, packets that only open a firewall — is a sign of life of the reader it came
//! from, never a reason to send anywhere else. Reports are told apart by the source they speak of and count only from
//! the address their session belongs to (RT-10).

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio_util::sync::CancellationToken;
use tracing::info_span;

use super::{
    outbox::Written,
    pacer::Pacer,
    reports::{self, Feedback},
    sending::{Outgoing, Sending, Stamped},
    transport::Agreed,
};
use crate::{
    base::{Clock, Error, Kind, Monotonic, Result, Tasks},
    net::{listen::UdpPair, udp::Datagrams},
    rtp::packet,
    stats,
};

/// Bytes of one system call: enough packets for segmentation offload to pay, few enough to be paced.
const RUN_MAX: usize = 32 << 10;
/// The kernel may join what it receives up to this.
const RECEIVE: usize = 64 << 10;
/// Datagrams on the port of RTP are looked at for their sender only.
const RECEIVE_PUNCH: usize = 2 << 10;

thread_local! {
    /// Where the datagrams of a run are put together; shared by the readers of a thread.
    static RUN: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The pairs of ports.
#[derive(Debug)]
pub(super) struct UdpDoor {
    pairs: Vec<Pair>,
    /// Held for an insert, a removal or a look.
    peers: Mutex<Peers>,
}

#[derive(Debug)]
struct Pair {
    address: IpAddr,
    ports: (u16, u16),
    rtp: Datagrams,
    rtcp: Datagrams,
}

#[derive(Debug, Default)]
struct Peers {
    by_source: HashMap<u32, Peer>,
    by_address: HashMap<SocketAddr, Arc<Feedback>>,
}

#[derive(Clone, Debug)]
struct Peer {
    ip: IpAddr,
    feedback: Arc<Feedback>,
    session: Arc<stats::Session>,
}

impl UdpDoor {
    /// Takes bound pairs over, on the current runtime.
    pub(super) fn open(pairs: Vec<UdpPair>) -> io::Result<Self> {
        let pair = |pair: UdpPair| {
            let (rtp, rtcp) = (Datagrams::new(pair.rtp)?, Datagrams::new(pair.rtcp)?);
            let (rtp_at, rtcp_at) = (rtp.local_addr()?, rtcp.local_addr()?);
            Ok(Pair { address: rtp_at.ip(), ports: (rtp_at.port(), rtcp_at.port()), rtp, rtcp })
        };
        let pairs = pairs.into_iter().map(pair).collect::<io::Result<_>>()?;
        Ok(Self { pairs, peers: Mutex::default() })
    }

    /// Starts what receives.
    pub(super) fn start(self: &Arc<Self>, clock: Clock, tasks: &Tasks) {
        for index in 0..self.pairs.len() {
            for (kind, control) in [("rtcp", true), ("rtp", false)] {
                let (door, stop) = (self.clone(), tasks.stopping().clone());
                let span = info_span!("rtsp/udp", port = self.pairs[index].ports.0, kind);
                tasks.spawn(format!("rtsp/udp/{index}/{kind}"), span, async move {
                    door.run(index, control, clock, stop).await;
                });
            }
        }
    }

    async fn run(&self, index: usize, control: bool, clock: Clock, stop: CancellationToken) {
        let pair = &self.pairs[index];
        let (socket, room) = if control { (&pair.rtcp, RECEIVE) } else { (&pair.rtp, RECEIVE_PUNCH) };
        let mut buffer = vec![0; room];
        loop {
            let taken = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                taken = socket.receive(&mut buffer, |from, datagram| self.take(from, datagram, clock.now())) => taken,
            };
            if let Err(error) = taken {
                // An ICMP error of some reader that left; the socket goes on, and a broken one costs little.
                tracing::trace!(%error, "a datagram was not delivered");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    /// A datagram came in.
    fn take(&self, from: SocketAddr, datagram: &[u8], now: Monotonic) {
        let from = canonical(from);
        if let Some(feedback) = self.peers().by_address.get(&from) {
            feedback.heard(now);
        }
        if packet::is_rtcp(datagram) {
            reports::note(datagram, now, |ssrc| {
                let peer = self.peers().by_source.get(&ssrc).filter(|peer| peer.ip == from.ip())?.clone();
                Some((peer.feedback, peer.session))
            });
        }
    }

    fn peers(&self) -> MutexGuard<'_, Peers> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The ports that serve connections to this address of ours.
    pub(super) fn ports(&self, local: IpAddr) -> Option<(u16, u16)> {
        self.pair(local).map(|index| self.pairs[index].ports)
    }

    fn pair(&self, local: IpAddr) -> Option<usize> {
        let local = local.to_canonical();
        let exact = |pair: &Pair| pair.address == local;
        let any = |pair: &Pair| pair.address.is_unspecified() && pair.address.is_ipv4() == local.is_ipv4();
        let dual = |pair: &Pair| pair.address.is_unspecified() && pair.address.is_ipv6();
        let find = |fits: &dyn Fn(&Pair) -> bool| self.pairs.iter().position(fits);
        find(&exact).or_else(|| find(&any)).or_else(|| find(&dual))
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// One track's way to a reader.
#[derive(Clone, Copy, Debug)]
struct Way {
    ssrc: u32,
    rtp: SocketAddr,
    rtcp: SocketAddr,
}

/// One reader's way through the door.
#[derive(Debug)]
pub(super) struct UdpMedia {
    door: Arc<UdpDoor>,
    pair: usize,
    /// The address of ours that the reader called.
    from: Option<IpAddr>,
    ways: Vec<Way>,
    feedback: Arc<Feedback>,
    queue: Vec<Stamped>,
    unit: usize,
    fragment: usize,
    pacer: Pacer,
    clock: Clock,
}

/// What one attempt to send came to.
enum Attempt {
    Sent(Written),
    /// Not before this.
    Wait(Monotonic),
    /// The system takes none now.
    Full,
}

impl UdpMedia {
    /// The way of a reader at `peer` who called `local`.
    ///
    /// # Errors
    /// No pair of ports serves that address.
    pub(super) fn new(
        door: &Arc<UdpDoor>,
        sending: &Sending,
        session: &Arc<stats::Session>,
        peer: SocketAddr,
        local: SocketAddr,
        clock: Clock,
    ) -> Result<Self> {
        let pair = door
            .pair(local.ip())
            .ok_or_else(|| Error::new(Kind::Unsupported, "rtsp: no udp ports serve this address"))?;
        let bound = door.pairs[pair].address;
        let ip = if bound.is_ipv4() { peer.ip().to_canonical() } else { peer.ip() };
        let way = |out: &Outgoing| match out.agreed {
            Agreed::Udp { client, .. } => {
                Some(Way { ssrc: out.ssrc, rtp: SocketAddr::new(ip, client.0), rtcp: SocketAddr::new(ip, client.1) })
            }
            Agreed::Tcp { .. } => None,
        };
        let ways: Vec<_> = sending.tracks().iter().filter_map(way).collect();
        let (now, feedback) = (clock.now(), Arc::new(Feedback::default()));
        feedback.heard(now);
        let mut peers = door.peers();
        for out in sending.tracks() {
            let peer = Peer { ip: ip.to_canonical(), feedback: out.feedback.clone(), session: session.clone() };
            out.feedback.heard(now);
            peers.by_source.insert(out.ssrc, peer);
        }
        for way in &ways {
            peers.by_address.insert(canonical(way.rtp), feedback.clone());
            peers.by_address.insert(canonical(way.rtcp), feedback.clone());
        }
        drop(peers);
        let from = bound.is_unspecified().then(|| local.ip());
        let (queue, pacer) = (Vec::new(), Pacer::new(now));
        Ok(Self { door: door.clone(), pair, from, ways, feedback, queue, unit: 0, fragment: 0, pacer, clock })
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// When a datagram last came from the reader's ports.
    pub(super) fn last_heard(&self) -> Monotonic {
        self.feedback.last_heard()
    }

    /// Adds the packets of a unit.
    pub(super) fn put(&mut self, stamped: Stamped) {
        self.queue.push(stamped);
    }

    /// Drops every unit of which nothing was sent, the newest first.
    pub(super) fn shed(&mut self, mut dropped: impl FnMut(&Stamped)) {
        let keep = self.unit + usize::from(self.fragment > 0);
        while self.queue.len() > keep {
            if let Some(stamped) = self.queue.pop() {
                dropped(&stamped);
            }
        }
        self.queue.clear();
        (self.unit, self.fragment) = (0, 0);
    }

    /// Sends a report; what the network does not take is lost, as any report may be.
    pub(super) fn send_control(&self, ssrc: u32, payload: &[u8]) {
        if let Some(way) = self.ways.iter().find(|way| way.ssrc == ssrc) {
            let _ = self.door.pairs[self.pair].rtcp.try_send(way.rtcp, self.from, payload, payload.len());
        }
    }

    /// Sends the next packets of what waits, as soon as they may leave.
    ///
    /// # Cancel safety
    /// Nothing is lost or sent twice: a run is sent and taken off without a wait in between.
    pub(super) async fn pump(&mut self) -> Written {
        loop {
            match self.attempt() {
                Attempt::Sent(written) => return written,
                Attempt::Wait(until) => tokio::time::sleep_until(self.clock.instant(until)).await,
                Attempt::Full => {
                    if self.door.pairs[self.pair].rtp.writable().await.is_err() {
                        // The socket is broken for good; whoever watches sees the reader's silence.
                        std::future::pending::<()>().await;
                    }
                }
            }
        }
    }

    fn attempt(&mut self) -> Attempt {
        let socket = &self.door.pairs[self.pair].rtp;
        let Some(stamped) = self.queue.get(self.unit) else {
            self.tidy();
            return Attempt::Sent(Written::default());
        };
        let run = Run::measure(stamped, self.fragment, socket.segments_max());
        let (now, due) = (self.clock.now(), self.pacer.due(run.bytes, stamped.backlog));
        if due > now {
            return Attempt::Wait(due);
        }
        let way = self.ways.iter().find(|way| way.ssrc == stamped.ssrc);
        let sent = way.map_or(Ok(()), |way| {
            RUN.with_borrow_mut(|buffer| {
                run.write(stamped, buffer);
                socket.try_send(way.rtp, self.from, buffer, run.segment)
            })
        });
        let packets = run.packets as u64;
        let written = match sent {
            Ok(()) => Written { packets, bytes: run.bytes as u64, refused: 0 },
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Attempt::Full,
            // Larger than the way there carries, or no way: lost, and the next may get through.
            Err(error) => {
                tracing::trace!(%error, bytes = run.segment, "a packet was not sent");
                Written { refused: packets, ..Written::default() }
            }
        };
        self.pacer.sent(run.bytes, stamped.backlog, now);
        self.fragment += run.packets;
        if self.fragment >= stamped.unit.plan.fragments.len() {
            (self.unit, self.fragment) = (self.unit + 1, 0);
        }
        self.tidy();
        Attempt::Sent(written)
    }

    fn tidy(&mut self) {
        if self.unit >= self.queue.len() {
            self.queue.clear();
            self.unit = 0;
        }
    }
}

impl Drop for UdpMedia {
    fn drop(&mut self) {
        let mut peers = self.door.peers();
        for way in &self.ways {
            peers.by_source.remove(&way.ssrc);
            for address in [canonical(way.rtp), canonical(way.rtcp)] {
                // Another session of the same client may have taken the ports over.
                if peers.by_address.get(&address).is_some_and(|feedback| Arc::ptr_eq(feedback, &self.feedback)) {
                    peers.by_address.remove(&address);
                }
            }
        }
    }
}

/// Packets of one unit that leave in one call: all of one size, but the last, which may be smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    first: usize,
    packets: usize,
    segment: usize,
    bytes: usize,
}

impl Run {
    fn measure(stamped: &Stamped, first: usize, segments_max: usize) -> Self {
        let size = |fragment: &crate::media::Fragment| {
            packet::HEADER_LEN + fragment.head().len() + stamped.unit.slice(fragment).len()
        };
        let mut run = Self { first, packets: 0, segment: 0, bytes: 0 };
        for fragment in stamped.unit.plan.fragments.iter().skip(first).take(segments_max.max(1)) {
            let size = size(fragment);
            if run.packets == 0 {
                run.segment = size;
            } else if size > run.segment || run.bytes + size > RUN_MAX {
                break;
            }
            run.packets += 1;
            run.bytes += size;
            if size < run.segment {
                break;
            }
        }
        run
    }

    fn write(self, stamped: &Stamped, into: &mut Vec<u8>) {
        into.clear();
        let fragments = stamped.unit.plan.fragments.iter().enumerate().skip(self.first).take(self.packets);
        for (number, fragment) in fragments {
            into.extend_from_slice(&stamped.header(number, fragment).bytes());
            into.extend_from_slice(fragment.head());
            into.extend_from_slice(stamped.unit.slice(fragment));
        }
    }
}
