//! Listening sockets. They are bound before any task starts, so that a taken port ends the process with one line that
//! names the option; the rooms above take them over and accept.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener as StdListener},
    time::Duration,
};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::base::{Clock, Error, Kind, Result, complaints::Complaints};

/// Connections the system holds for us until they are accepted.
const BACKLOG: i32 = 1024;

/// Binds a TCP listener on every address; `option` names them in errors. Port 0 lets the system choose.
///
/// # Errors
/// [`Kind::FailedPrecondition`] with code `address_in_use` and a hint; [`Kind::InvalidArgument`] for an address this
/// machine does not have; [`Kind::PermissionDenied`] for a port it may not use.
pub fn bind_tcp(option: &str, addresses: &[SocketAddr]) -> Result<Vec<StdListener>> {
    addresses.iter().map(|address| bind_one(*address, addresses).map_err(|e| refused(option, *address, e))).collect()
}

fn bind_one(address: SocketAddr, all: &[SocketAddr]) -> io::Result<StdListener> {
    let socket = open(address, Type::STREAM, Protocol::TCP, all)?;
    // A restart may listen again while connections of the last run linger.
    socket.set_reuse_address(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A non-blocking socket for `address`. `[::]` also takes IPv4, unless the list has `0.0.0.0` on the same port.
pub(super) fn open(address: SocketAddr, kind: Type, protocol: Protocol, all: &[SocketAddr]) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        let any_v4 = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port());
        socket.set_only_v6(!address.ip().is_unspecified() || all.contains(&any_v4))?;
    }
    Ok(socket)
}

/// Why a socket could not be bound, with the option that asked for it.
pub(super) fn refused(option: &str, address: SocketAddr, error: io::Error) -> Error {
    let (kind, code, what) = match error.kind() {
        io::ErrorKind::AddrInUse => (Kind::FailedPrecondition, "address_in_use", "is taken by another program"),
        io::ErrorKind::AddrNotAvailable => {
            (Kind::InvalidArgument, "address_not_available", "is no address of this machine")
        }
        io::ErrorKind::PermissionDenied => (Kind::PermissionDenied, "address_not_permitted", "may not be listened on"),
        _ => (Kind::Unavailable, "listen_failed", "cannot be listened on"),
    };
    let hint = match code {
        "address_in_use" => format!("stop the other program, or set {option} to another port (0 takes any free one)"),
        "address_not_permitted" => format!("ports below 1024 need a privilege; set {option} to a higher one"),
        _ => format!("set {option} to an address of this machine, 127.0.0.1 or 0.0.0.0"),
    };
    Error::new(kind, format!("{option}: {address} {what}")).with_code(code).with_hint(hint).caused_by(error)
}

/// Two UDP sockets, RTP on an even port and RTCP on the next.
#[derive(Debug)]
pub struct UdpPair {
    /// Where RTP leaves from.
    pub rtp: std::net::UdpSocket,
    /// Where RTCP leaves from and comes in.
    pub rtcp: std::net::UdpSocket,
}

/// What a burst may put into the socket at once; the system gives what it allows.
const UDP_BUFFER: usize = 4 << 20;
/// Attempts to find a free pair of ports.
const PAIR_ATTEMPTS: usize = 64;

/// Binds a pair of UDP ports on an address; `[0, 0]` takes any free pair, the first of them even.
///
/// # Errors
/// As [`bind_tcp`].
pub fn bind_udp_pair(option: &str, ip: IpAddr, ports: [u16; 2], all: &[SocketAddr]) -> Result<UdpPair> {
    let bind = |port| bind_udp(SocketAddr::new(ip, port), all);
    let refused = |port, error| refused(option, SocketAddr::new(ip, port), error);
    if ports != [0, 0] {
        let rtp = bind(ports[0]).map_err(|error| refused(ports[0], error))?;
        return Ok(UdpPair { rtp, rtcp: bind(ports[1]).map_err(|error| refused(ports[1], error))? });
    }
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..PAIR_ATTEMPTS {
        let pair = bind(0).and_then(|first| {
            let port = first.local_addr()?.port();
            // RFC 3550 §11: RTP has the even one.
            let second = bind(port ^ 1)?;
            Ok(if port.is_multiple_of(2) { (first, second) } else { (second, first) })
        });
        match pair {
            Ok((rtp, rtcp)) => return Ok(UdpPair { rtp, rtcp }),
            Err(error) => last = error,
        }
    }
    Err(refused(0, last))
}

/// Binds a UDP socket on every address, with buffers that hold a burst.
///
/// # Errors
/// As [`bind_tcp`].
pub fn bind_udp_each(option: &str, addresses: &[SocketAddr]) -> Result<Vec<std::net::UdpSocket>> {
    let bind = |address: &SocketAddr| bind_udp(*address, addresses).map_err(|error| refused(option, *address, error));
    addresses.iter().map(bind).collect()
}

fn bind_udp(address: SocketAddr, all: &[SocketAddr]) -> io::Result<std::net::UdpSocket> {
    let socket = open(address, Type::DGRAM, Protocol::UDP, all)?;
    // A smaller buffer works too, with more loss under bursts.
    let _ = socket.set_send_buffer_size(UDP_BUFFER);
    let _ = socket.set_recv_buffer_size(UDP_BUFFER);
    socket.bind(&SockAddr::from(address))?;
    Ok(socket.into())
}

/// Where listeners really listen.
pub fn addresses(listeners: &[StdListener]) -> Vec<SocketAddr> {
    listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
}

/// A listener in the hands of its task.
#[derive(Debug)]
pub struct Acceptor {
    listener: TcpListener,
    clock: Clock,
    complaints: Complaints,
}

impl Acceptor {
    /// Takes a bound listener over, on the current runtime.
    ///
    /// # Errors
    /// The runtime takes no more sockets.
    pub fn new(listener: StdListener, clock: Clock) -> io::Result<Self> {
        let complaints = Complaints::new(Duration::from_secs(10));
        Ok(Self { listener: TcpListener::from_std(listener)?, clock, complaints })
    }

    /// The next connection. Failures to accept are waited out: they are the peer's, or the machine has no descriptor
    /// left and gets one back when somebody leaves.
    ///
    /// # Cancel safety
    /// No connection is lost.
    pub async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            let error = match self.listener.accept().await {
                Ok(accepted) => return accepted,
                Err(error) => error,
            };
            if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
                continue;
            }
            if let Some(times) = self.complaints.note(self.clock.now()) {
                tracing::warn!(%error, times, "a connection could not be accepted");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_an_error_that_names_the_option_and_the_port() {
        let first = bind_tcp("rtsp.address", &["127.0.0.1:0".parse().unwrap()]).unwrap();
        let taken = addresses(&first)[0];
        let error = bind_tcp("http.address", &[taken]).unwrap_err();
        assert_eq!(error.code(), "address_in_use");
        assert!(error.message().contains("http.address") && error.message().contains(&taken.port().to_string()));
        assert!(error.hint().unwrap().contains("http.address"));
    }

    #[test]
    fn an_address_of_another_machine_is_refused_with_a_hint() {
        let error = bind_tcp("rtsp.address", &["192.0.2.1:0".parse().unwrap()]).unwrap_err();
        assert_eq!((error.kind(), error.code()), (Kind::InvalidArgument, "address_not_available"));
    }

    #[test]
    fn both_wildcards_may_share_a_port() {
        let Ok(v6) = bind_tcp("a", &["[::]:0".parse().unwrap()]) else { return };
        let port = addresses(&v6)[0].port();
        drop(v6);
        let both = [format!("0.0.0.0:{port}").parse().unwrap(), format!("[::]:{port}").parse().unwrap()];
        assert_eq!(bind_tcp("a", &both).unwrap().len(), 2);
    }

    #[test]
    fn any_free_pair_of_udp_ports_is_an_even_one_and_the_next() {
        let pair = bind_udp_pair("rtsp.udp_ports", Ipv4Addr::LOCALHOST.into(), [0, 0], &[]).unwrap();
        let ports = [&pair.rtp, &pair.rtcp].map(|socket| socket.local_addr().unwrap().port());
        assert!(ports[0].is_multiple_of(2) && ports[1] == ports[0] + 1, "{ports:?}");
        let error = bind_udp_pair("rtsp.udp_ports", Ipv4Addr::LOCALHOST.into(), ports, &[]).unwrap_err();
        assert_eq!(error.code(), "address_in_use");
    }

    #[tokio::test]
    async fn a_bound_listener_accepts_what_came_before_its_task() {
        let listeners = bind_tcp("a", &["127.0.0.1:0".parse().unwrap()]).unwrap();
        let client = std::net::TcpStream::connect(addresses(&listeners)[0]).unwrap();
        let mut acceptor = Acceptor::new(listeners.into_iter().next().unwrap(), Clock).unwrap();
        assert_eq!(acceptor.accept().await.1, client.local_addr().unwrap());
    }
}
