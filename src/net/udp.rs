//! UDP with segmentation offload: one system call for many datagrams of one size, where the kernel can (Linux
//! `UDP_SEGMENT`), one for each where it cannot. The difference is found out at run time.

use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr},
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
}

impl Datagrams {
    /// Takes a bound socket over, on the current runtime, which is the one that may receive.
    ///
    /// # Errors
    /// The runtime takes no more sockets, or the system lacks an option every system has.
    pub fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let state = UdpSocketState::new((&socket).into())?;
        Ok(Self { socket: UdpSocket::from_std(socket)?, state })
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
        self.socket.try_io(Interest::WRITABLE, || self.state.try_send((&self.socket).into(), &transmit))
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

    /// Where it is bound.
    ///
    /// # Errors
    /// The system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
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
}
