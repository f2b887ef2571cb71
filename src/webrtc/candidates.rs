//! The host candidates we offer (RFC 8445 §5.1.1.1, RFC 8839 §5.1): what the listeners are bound to, and the public
//! addresses of the file. Sans-IO: the addresses of the machine come in.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

/// What a candidate travels over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CandidateTransport {
    /// UDP.
    Udp,
    /// TCP, where the viewer connects to us (RFC 6544, `tcptype passive`).
    TcpPassive,
}

/// An address of ours that a viewer may send to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// Where.
    pub address: SocketAddr,
    /// Over what.
    pub transport: CandidateTransport,
    /// RFC 8445 §5.1.2: the higher the better.
    pub priority: u32,
}

/// RFC 8445 §5.1.2.2, RFC 6544 §4.2: the preferences of host candidates over UDP and over TCP.
const HOST_UDP: u32 = 126;
const HOST_TCP: u32 = 90;
/// RFC 6544 §4.2: what a passive candidate has in its local preference, in its three highest bits.
const PASSIVE: u32 = 2 << 13;
/// RFC 8445 §5.1.2: there is one component, RTP and RTCP in one.
const COMPONENT: u32 = 1;

/// More candidates cost every viewer checks, and machines with virtual networks have very many addresses.
const MOST: usize = 32;

impl Candidate {
    /// The candidates of UDP sockets bound to `udp` and TCP listeners bound to `tcp`, best first.
    ///
    /// A socket on every interface stands for each of `interfaces`, the machine's own addresses. `public` come first:
    /// they are what a viewer outside must use, and the router before us keeps the ports.
    pub fn gather(udp: &[SocketAddr], tcp: &[SocketAddr], interfaces: &[IpAddr], public: &[IpAddr]) -> Vec<Self> {
        let mut found: Vec<Self> = Vec::new();
        for (transport, bound) in [(CandidateTransport::Udp, udp), (CandidateTransport::TcpPassive, tcp)] {
            let mut addresses: Vec<SocketAddr> = Vec::new();
            let forwarded = public.iter().flat_map(|ip| {
                // A public address is forwarded to a socket that is reachable at all and speaks its family.
                let behind = bound.iter().find(|bound| !bound.ip().is_loopback() && takes(**bound, *ip));
                behind.map(|bound| SocketAddr::new(*ip, bound.port()))
            });
            let own = bound.iter().flat_map(|bound| {
                let each =
                    interfaces.iter().filter(|ip| bound.ip().is_unspecified() && takes(*bound, **ip) && is_host(**ip));
                let one = (!bound.ip().is_unspecified()).then(|| bound.ip().to_canonical());
                each.map(|ip| ip.to_canonical())
                    .chain(one)
                    .map(|ip| SocketAddr::new(ip, bound.port()))
                    .collect::<Vec<_>>()
            });
            for address in forwarded.chain(own) {
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            found.extend(addresses.iter().enumerate().map(|(place, address)| Self::new(*address, transport, place)));
        }
        found.sort_by_key(|candidate| std::cmp::Reverse(candidate.priority));
        found.truncate(MOST);
        found
    }

    fn new(address: SocketAddr, transport: CandidateTransport, place: usize) -> Self {
        // Loopback last: of no use to anybody else.
        let place = if address.ip().is_loopback() { place + 256 } else { place };
        let (kind, most) = match transport {
            CandidateTransport::Udp => (HOST_UDP, 65_535),
            CandidateTransport::TcpPassive => (HOST_TCP, PASSIVE | 8191),
        };
        let local = most - u32::try_from(place).unwrap_or(0).min(4095);
        Self { address, transport, priority: (kind << 24) | (local << 8) | (256 - COMPONENT) }
    }
}

/// Whether packets to `ip` may reach a socket bound to `bound`. `[::]` takes IPv4 too.
fn takes(bound: SocketAddr, ip: IpAddr) -> bool {
    bound.is_ipv4() == ip.is_ipv4() || (bound.ip().is_unspecified() && bound.is_ipv6())
}

/// RFC 8445 §5.1.1.1: no loopback while there is something else to listen on, no link-local addresses, which mean
/// nothing without their link.
fn is_host(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => !(ip.is_loopback() || ip.is_link_local() || ip.is_unspecified() || ip.is_multicast()),
        IpAddr::V6(ip) => !(ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unspecified() || ip.is_multicast()),
    }
}

/// The value of `a=candidate` (RFC 8839 §5.1, RFC 6544 §4.5).
impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, transport, priority } = self;
        let (ip, port) = (address.ip(), address.port());
        // RFC 8445 §5.1.1.3: one foundation for candidates of one kind, address family and transport.
        let family = if address.is_ipv4() { 1 } else { 2 };
        match transport {
            CandidateTransport::Udp => write!(f, "{family} 1 udp {priority} {ip} {port} typ host"),
            CandidateTransport::TcpPassive => {
                write!(f, "{} 1 tcp {priority} {ip} {port} typ host tcptype passive", family + 2)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(udp: &[&str], tcp: &[&str], interfaces: &[&str], public: &[&str]) -> Vec<String> {
        let sockets = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let ips = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>();
        let found = Candidate::gather(&sockets(udp), &sockets(tcp), &ips(interfaces), &ips(public));
        assert!(found.is_sorted_by(|a, b| a.priority > b.priority), "{found:?}");
        let short = |candidate: &Candidate| {
            let transport = if candidate.transport == CandidateTransport::Udp { "udp" } else { "tcp" };
            format!("{transport} {}", candidate.address)
        };
        found.iter().map(short).collect()
    }

    #[test]
    fn a_listener_on_one_address_is_one_candidate_and_loopback_will_do() {
        let loopback = ["127.0.0.1:8189"];
        assert_eq!(shown(&loopback, &loopback, &["10.0.0.1"], &[]), ["udp 127.0.0.1:8189", "tcp 127.0.0.1:8189"],);
    }

    #[test]
    fn a_listener_on_every_interface_stands_for_each_that_others_reach() {
        let interfaces = ["127.0.0.1", "10.0.0.1", "169.254.1.1", "::1", "fe80::1", "2001:db8::1"];
        assert_eq!(shown(&["[::]:8189"], &[], &interfaces, &[]), ["udp 10.0.0.1:8189", "udp [2001:db8::1]:8189"],);
        assert_eq!(shown(&["0.0.0.0:8189"], &[], &interfaces, &[]), ["udp 10.0.0.1:8189"]);
    }

    #[test]
    fn public_addresses_come_first_with_the_port_of_the_socket_behind() {
        assert_eq!(
            shown(
                &["0.0.0.0:8189", "127.0.0.1:8190"],
                &["0.0.0.0:8191"],
                &["10.0.0.1"],
                &["203.0.113.7", "2001:db8::7"]
            ),
            [
                "udp 203.0.113.7:8189",
                "udp 10.0.0.1:8189",
                "udp 127.0.0.1:8190",
                "tcp 203.0.113.7:8191",
                "tcp 10.0.0.1:8191",
            ],
        );
        assert_eq!(shown(&["127.0.0.1:8189"], &[], &[], &["203.0.113.7"]), ["udp 127.0.0.1:8189"]);
    }

    #[test]
    fn candidates_are_written_as_browsers_read_them() {
        let found =
            Candidate::gather(&["10.0.0.1:8189".parse().unwrap()], &["[2001:db8::1]:8189".parse().unwrap()], &[], &[]);
        assert_eq!(found[0].to_string(), "1 1 udp 2130706431 10.0.0.1 8189 typ host");
        assert_eq!(found[1].to_string(), "4 1 tcp 1516240895 2001:db8::1 8189 typ host tcptype passive");
    }

    #[test]
    fn a_machine_with_very_many_addresses_offers_some() {
        let many: Vec<String> = (0..200).map(|i| format!("10.0.0.{i}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(shown(&["0.0.0.0:1"], &["0.0.0.0:1"], &many, &[]).len(), MOST);
    }
}
