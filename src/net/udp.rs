//! UDP with segmentation offload: one system call for many datagrams of one size, where the kernel can (Linux
//! `UDP_SEGMENT`), one for each where it cannot. The difference is found out at run time.

use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll},
};

use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use tokio::{io::Interest, net::UdpSocket};

/// The most bytes of one call: what the length field of UDP can say, headers left out.
pub const CALL_MAX: usize = 65_000;

/// A UDP socket that is sent on from any thread.
#[derive(Debug)]
pub struct Datagrams {
    socket: UdpSocket,
    state: UdpSocketState,
    /// The system tells of datagrams that peers refused, also in the answers to unrelated calls.
    hears_refusals: AtomicBool,
}

/// Calls that may answer for an earlier datagram before one speaks for itself.
const STRAY_ANSWERS: usize = 3;

impl Datagrams {
    /// Takes a bound socket over, on the current runtime, which is the one that may receive.
    ///
    /// # Errors
    /// The runtime takes no more sockets, or the system lacks an option every system has.
    pub fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let state = UdpSocketState::new((&socket).into())?;
        Ok(Self { socket: UdpSocket::from_std(socket)?, state, hears_refusals: AtomicBool::new(false) })
    }

    /// From now on the system notes which datagrams found no program at their port; [`Datagrams::next_refusal`] reads
    /// that. Elsewhere than on Linux nothing is noted.
    pub fn hear_refusals(&self) {
        if refusals::enable(&self.socket) {
            self.hears_refusals.store(true, Ordering::Relaxed);
        }
    }

    /// Where a datagram was sent to that found no program there, one for each refusal noted. Nothing wakes for it.
    pub fn next_refusal(&self) -> Option<SocketAddr> {
        if self.hears_refusals.load(Ordering::Relaxed) { refusals::next(&self.socket) } else { None }
    }

    /// How many datagrams one call may send.
    pub fn segments_max(&self) -> usize {
        self.state.max_gso_segments()
    }

    /// Sends datagrams of `segment` bytes, the last of which may be shorter, at most [`Datagrams::segments_max`] and
    /// [`CALL_MAX`] bytes. `from` is the address they leave from, where the machine has several.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if the system takes none now; anything else is the network's answer.
    pub fn try_send(&self, to: SocketAddr, from: Option<IpAddr>, contents: &[u8], segment: usize) -> io::Result<()> {
        let outcome = self.send(to, from, contents, segment);
        // The kernel promised offload and the network card cannot: from now on one call each.
        let refused = outcome.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock);
        if refused && contents.len() > segment && self.segments_max() == 1 {
            return contents.chunks(segment.max(1)).try_for_each(|one| self.send(to, from, one, one.len()));
        }
        outcome
    }

    fn send(&self, to: SocketAddr, from: Option<IpAddr>, contents: &[u8], segment: usize) -> io::Result<()> {
        let transmit = Transmit {
            destination: to,
            ecn: None,
            contents,
            segment_size: (contents.len() > segment).then_some(segment),
            src_ip: from.filter(|from| from.is_ipv4() == to.is_ipv4()),
        };
        let send = || self.state.try_send((&self.socket).into(), &transmit);
        let once = || {
            let outcome = send();
            let full = outcome.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
            // The runtime learns of room when it next looks, and it may be another, busy thread's: so the system is asked
            // first. The runtime hears of a full buffer, so that whoever waits for room sleeps.
            if full { self.socket.try_io(Interest::WRITABLE, send) } else { outcome }
        };
        let mut outcome = once();
        // A refusal of an earlier datagram is told by whatever call comes next, which then has done nothing.
        for _ in 0..STRAY_ANSWERS {
            let stray = self.hears_refusals.load(Ordering::Relaxed) && outcome.as_ref().is_err_and(is_refusal);
            if !stray {
                break;
            }
            outcome = once();
        }
        outcome
    }

    /// Waits until the system takes datagrams again.
    ///
    /// # Errors
    /// The socket is broken.
    pub async fn writable(&self) -> io::Result<()> {
        self.socket.writable().await
    }

    /// Receives datagrams and hands each with its sender to `take`.
    ///
    /// # Errors
    /// The socket is broken, or the network told of a datagram that was not delivered.
    pub async fn receive(&self, buffer: &mut [u8], mut take: impl FnMut(SocketAddr, &[u8])) -> io::Result<()> {
        let mut meta = [RecvMeta::default()];
        let receive = || self.state.recv((&self.socket).into(), &mut [IoSliceMut::new(buffer)], &mut meta);
        let count = self.socket.async_io(Interest::READABLE, receive).await?;
        for meta in &meta[..count] {
            if meta.len == 0 {
                take(meta.addr, &[]);
            }
            // The kernel joins datagrams of one sender and size.
            for datagram in buffer[..meta.len].chunks(meta.stride.max(1)) {
                take(meta.addr, datagram);
            }
        }
        Ok(())
    }

    /// Ready once there is something to receive. One task asks.
    ///
    /// # Errors
    /// The runtime ends.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_recv_ready(cx)
    }

    /// Receives what is there by one call and hands each datagram with its sender, and the address of ours that it was
    /// sent to, to `take`.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if there is nothing; else the socket is broken, or the network told of a datagram
    /// that was not delivered.
    pub fn try_receive(
        &self,
        buffer: &mut [u8],
        mut take: impl FnMut(SocketAddr, Option<IpAddr>, &mut [u8]),
    ) -> io::Result<()> {
        let mut meta = [RecvMeta::default()];
        let receive = || self.state.recv((&self.socket).into(), &mut [IoSliceMut::new(buffer)], &mut meta);
        let count = self.socket.try_io(Interest::READABLE, receive)?;
        for meta in &meta[..count] {
            let filled = buffer.get_mut(..meta.len).unwrap_or_default();
            for datagram in filled.chunks_mut(meta.stride.max(1)) {
                take(meta.addr, meta.dst_ip, datagram);
            }
        }
        Ok(())
    }

    /// Where it is bound.
    ///
    /// # Errors
    /// The system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

fn is_refusal(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
    matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable)
}

/// The error queue of Linux sockets (ip(7), `IP_RECVERR`). `quinn-udp` reads it too, but keeps the address of whoever
/// sent the ICMP message, without the port that tells viewers behind one address apart.
#[cfg(target_os = "linux")]
mod refusals {
    use std::{io::IoSliceMut, net::SocketAddr, os::fd::AsRawFd};

    use nix::sys::socket::{
        ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt,
        sockopt::{Ipv4RecvErr, Ipv6RecvErr},
    };
    use tokio::net::UdpSocket;

    pub(super) fn enable(socket: &UdpSocket) -> bool {
        let v4 = setsockopt(socket, Ipv4RecvErr, &true).is_ok();
        let v6 = setsockopt(socket, Ipv6RecvErr, &true).is_ok();
        v4 || v6
    }

    pub(super) fn next(socket: &UdpSocket) -> Option<SocketAddr> {
        let mut nothing = [0; 1];
        loop {
            let mut control = nix::cmsg_space!([u8; 256]);
            let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
            let mut parts = [IoSliceMut::new(&mut nothing)];
            let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags).ok()?;
            let refused = message.cmsgs().is_ok_and(|mut parts| {
                parts.any(|part| match part {
                    ControlMessageOwned::Ipv4RecvErr(error, _) | ControlMessageOwned::Ipv6RecvErr(error, _) => {
                        error.ee_errno == nix::errno::Errno::ECONNREFUSED as u32
                    }
                    _ => false,
                })
            });
            let to = message.address.and_then(|to| match (to.as_sockaddr_in(), to.as_sockaddr_in6()) {
                (Some(v4), _) => Some(SocketAddr::V4((*v4).into())),
                (None, Some(v6)) => Some(SocketAddr::V6((*v6).into())),
                (None, None) => None,
            });
            if let (true, Some(to)) = (refused, to) {
                return Some(to);
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod refusals {
    use std::net::SocketAddr;

    use tokio::net::UdpSocket;

    pub(super) fn enable(_: &UdpSocket) -> bool {
        false
    }

    pub(super) fn next(_: &UdpSocket) -> Option<SocketAddr> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn many_datagrams_leave_in_one_call_and_arrive_one_by_one() {
        let bind = || Datagrams::new(std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        let (from, to) = (bind(), bind());
        let contents: Vec<u8> = (0..250_u8).collect();
        let run = (100 * from.segments_max()).min(contents.len());
        from.writable().await.unwrap();
        from.try_send(to.local_addr().unwrap(), None, &contents[..run], 100).unwrap();
        let (mut buffer, mut seen) = (vec![0; 65_536], Vec::<Vec<u8>>::new());
        while seen.concat().len() < run {
            to.receive(&mut buffer, |_, datagram| seen.push(datagram.to_vec())).await.unwrap();
        }
        assert_eq!(seen, contents[..run].chunks(100).map(<[u8]>::to_vec).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_datagram_leaves_although_the_runtime_of_its_socket_has_not_looked_at_it_yet() {
        let bind = || Datagrams::new(std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        let (from, to) = (bind(), bind());
        // No await since it was made: send threads share the socket of another thread's runtime.
        from.try_send(to.local_addr().unwrap(), None, b"hello", 5).unwrap();
        let (mut buffer, mut seen) = (vec![0; 65_536], Vec::new());
        to.receive(&mut buffer, |_, datagram| seen.extend_from_slice(datagram)).await.unwrap();
        assert_eq!(seen, b"hello");
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_datagram_that_found_nobody_is_told_with_its_port_and_keeps_no_other_from_leaving() {
        for local in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(socket) = std::net::UdpSocket::bind(local) else { continue };
            let from = Datagrams::new(socket).unwrap();
            from.hear_refusals();
            // It keeps its port from others, and hears but one peer.
            let deaf = std::net::UdpSocket::bind(local).unwrap();
            deaf.connect(deaf.local_addr().unwrap()).unwrap();
            let gone = deaf.local_addr().unwrap();
            let there = Datagrams::new(std::net::UdpSocket::bind(local).unwrap()).unwrap();
            from.writable().await.unwrap();
            from.try_send(gone, None, b"hello", 5).unwrap();
            from.try_send(there.local_addr().unwrap(), None, b"hello", 5).unwrap();
            let mut buffer = vec![0; 65_536];
            there.receive(&mut buffer, |_, datagram| assert_eq!(datagram, b"hello")).await.unwrap();
            assert_eq!((from.next_refusal(), from.next_refusal()), (Some(gone), None), "{local}");
        }
    }
}
