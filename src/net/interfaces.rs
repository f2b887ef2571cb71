//! The addresses of this machine, and its name.

use std::net::IpAddr;

/// The addresses of all interfaces that are up, loopback among them; none where the system does not tell.
#[cfg(target_os = "linux")]
pub fn addresses() -> Vec<IpAddr> {
    use nix::{ifaddrs::getifaddrs, net::if_::InterfaceFlags};

    let Ok(interfaces) = getifaddrs() else { return Vec::new() };
    let mut addresses: Vec<IpAddr> = interfaces
        .filter(|interface| interface.flags.contains(InterfaceFlags::IFF_UP))
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
        })
        .collect();
    addresses.sort();
    addresses.dedup();
    addresses
}

/// The addresses this machine would be reached at: those it would itself use to reach the rest of the world.
#[cfg(not(target_os = "linux"))]
pub fn addresses() -> Vec<IpAddr> {
    use std::net::UdpSocket;

    // Connecting a UDP socket sends nothing; it only asks for the way.
    let outward = |from: &str, to: &str| {
        let socket = UdpSocket::bind(from).ok()?;
        socket.connect(to).ok()?;
        socket.local_addr().ok().map(|address| address.ip())
    };
    let asked = [outward("0.0.0.0:0", "192.0.2.1:9"), outward("[::]:0", "[2001:db8::1]:9")];
    let loopback = "127.0.0.1".parse().ok();
    asked.into_iter().chain([loopback]).flatten().collect()
}

/// What the system calls this machine; nothing where it does not tell, or no certificate could hold it.
pub fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?.trim().to_ascii_lowercase();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    (!name.is_empty() && name != "localhost" && name.bytes().all(plain)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_among_the_addresses() {
        assert!(addresses().iter().any(IpAddr::is_loopback));
    }
}
