//! Ports for what cannot be told to choose one itself, or must come back on the one it had.

use std::{
    fs,
    net::{TcpListener, UdpSocket},
    ops::Range,
    process,
    sync::atomic::{AtomicU32, Ordering},
};

/// A port on loopback that nobody has, for TCP and UDP alike, and that nobody else is given: it lies outside of those from
/// which the system serves port 0 and connections, and this process gives each only once.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let ports = outside(&fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default());
    // Another process of tests begins somewhere else.
    let first = process::id().wrapping_mul(397);
    for _ in ports.clone() {
        let step = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = ports.start + u16::try_from(step % u32::from(ports.end - ports.start)).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() && UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free within {ports:?}");
}

/// The larger side of what the system leaves alone.
fn outside(system: &str) -> Range<u16> {
    let mut bounds = system.split_whitespace().filter_map(|bound| bound.parse().ok());
    let (low, high): (u16, u16) = (bounds.next().unwrap_or(32_768), bounds.next().unwrap_or(60_999));
    let (below, above) = (10_000..low, high.saturating_add(1)..u16::MAX);
    if below.len() > above.len() { below } else { above }
}
