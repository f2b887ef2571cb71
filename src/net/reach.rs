//! Where an address leads, by IANA's registries of special addresses (RFC 6890): out into the Internet, or to something
//! nearer that a stranger must not make us talk to. Sans-IO.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where an address leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Into the Internet.
    Public,
    /// Into a private network.
    Private,
    /// To this machine.
    Loopback,
    /// To neighbours on the link, and to what hands out a machine's credentials in a cloud.
    Link,
    /// To nothing one could talk to over TCP: unspecified, multicast, reserved.
    Nowhere,
}

impl Reach {
    /// Where this address leads.
    pub fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => of_v4(ip),
            IpAddr::V6(ip) => of_v6(ip),
        }
    }
}

fn of_v4(ip: Ipv4Addr) -> Reach {
    let [a, b, c, d] = ip.octets();
    match (a, b, c) {
        (127, ..) => Reach::Loopback,
        // The metadata service of one cloud stands in the shared space (RFC 6598); the others' is link-local.
        (100, 100, 100) if d == 200 => Reach::Link,
        // Another one's stands at a public address that only its machines see.
        (168, 63, 129) if d == 16 => Reach::Link,
        (169, 254, _) => Reach::Link,
        (10, ..) | (100, 64..=127, _) | (172, 16..=31, _) | (192, 168, _) | (198, 18 | 19, _) => Reach::Private,
        (0 | 224..=255, ..) | (192, 0, 0 | 2) | (192, 88, 99) | (198, 51, 100) | (203, 0, 113) => Reach::Nowhere,
        _ => Reach::Public,
    }
}

fn of_v6(ip: Ipv6Addr) -> Reach {
    let inner = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        of_v4(Ipv4Addr::new(a, b, c, d))
    };
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Reach::Loopback,
        // An IPv4 address in another dress: mapped, translated (RFC 6052), 6to4 (RFC 3056).
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => inner(high, low),
        [0x2002, high, low, ..] => inner(high, low),
        [0x2001, 0xdb8, ..] | [0x2001, 0..=0x1ff, ..] => Reach::Nowhere,
        // The metadata service of a cloud, at the unique local address it gave itself.
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] => Reach::Link,
        [first, ..] if first & 0xffc0 == 0xfe80 => Reach::Link,
        [first, ..] if first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfec0 => Reach::Private,
        // Unicast to everybody is 2000::/3 (RFC 4291 §2.4); all else is special or not given out.
        [first, ..] if first & 0xe000 == 0x2000 => Reach::Public,
        _ => Reach::Nowhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_leads_where_the_registries_say_whatever_its_dress() {
        let table: [(Reach, &[&str]); 5] = [
            (Reach::Public, &["1.1.1.1", "100.128.0.1", "172.32.0.1", "2606:4700::1111", "::ffff:1.1.1.1"]),
            (
                Reach::Private,
                &[
                    "10.1.2.3",
                    "100.64.0.1",
                    "172.31.0.1",
                    "192.168.1.1",
                    "fd00::1",
                    "::ffff:10.0.0.1",
                    "2002:c0a8:101::1",
                    "fec0::1",
                ],
            ),
            (Reach::Loopback, &["127.0.0.1", "127.255.0.1", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"]),
            (
                Reach::Link,
                &[
                    "169.254.169.254",
                    "fe80::1",
                    "fd00:ec2::254",
                    "100.100.100.200",
                    "168.63.129.16",
                    "::ffff:169.254.169.254",
                ],
            ),
            (
                Reach::Nowhere,
                &["0.0.0.0", "224.0.0.1", "255.255.255.255", "::", "ff02::1", "2001:db8::1", "::127.0.0.1", "2001::1"],
            ),
        ];
        for (reach, addresses) in table {
            for address in addresses {
                assert_eq!(Reach::of(address.parse().unwrap()), reach, "{address}");
            }
        }
    }
}
