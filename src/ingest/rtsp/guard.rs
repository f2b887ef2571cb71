//! Where a camera may stand that was named over the API. Whoever may add cameras must not make the server talk to itself, to
//! services of its machine, or to what hands out credentials in a cloud; the file, which its owner wrote, may. Every address a
//! name leads to is judged, each time it is looked up, and what was judged is what is called. Sans-IO.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use url::{Host, Url};

use crate::{config::Networks, net::reach::Reach};

/// Judges addresses. Clones share what it knows.
#[derive(Clone, Debug)]
pub struct SourceGuard {
    allowed: Arc<Networks>,
    own: Arc<[u16]>,
}

/// Why an address is none for a camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forbidden {
    /// A listener of this server: its picture would be its own.
    Itself,
    /// This machine.
    ThisMachine,
    /// Neighbours on the link, and the metadata services of clouds.
    Link,
    /// Nothing one could talk to.
    Nowhere,
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Itself => "it is this server itself",
            Self::ThisMachine => "it stands on this server's machine",
            Self::Link => "its address is link-local, or a cloud's metadata service",
            Self::Nowhere => "its address is none of a host",
        })
    }
}

impl SourceGuard {
    /// A guard that lets cameras stand in these networks, whatever they are, and nowhere at this server's own ports.
    pub fn new(allowed: Networks, own: impl IntoIterator<Item = u16>) -> Self {
        Self { allowed: Arc::new(allowed), own: own.into_iter().collect() }
    }

    /// Whether a camera may be called at an address; `here` are those of this machine.
    ///
    /// # Errors
    /// Why not.
    pub fn judge(&self, address: SocketAddr, here: &[IpAddr]) -> Result<(), Forbidden> {
        let ip = address.ip().to_canonical();
        let reach = Reach::of(ip);
        // On Linux, connecting to an unspecified address is connecting to oneself.
        let is_here = reach == Reach::Loopback || ip.is_unspecified() || here.contains(&ip);
        if is_here && self.own.contains(&address.port()) {
            return Err(Forbidden::Itself);
        }
        if self.allowed.contain(ip) {
            return Ok(());
        }
        match reach {
            _ if is_here => Err(Forbidden::ThisMachine),
            Reach::Public | Reach::Private => Ok(()),
            Reach::Loopback => Err(Forbidden::ThisMachine),
            Reach::Link => Err(Forbidden::Link),
            Reach::Nowhere => Err(Forbidden::Nowhere),
        }
    }

    /// The same of a URL, as far as it says itself where it leads: a name is judged when it is looked up.
    ///
    /// # Errors
    /// Why not.
    pub fn judge_url(&self, url: &Url, here: &[IpAddr]) -> Result<(), Forbidden> {
        let ip = match url.host() {
            Some(Host::Ipv4(ip)) => IpAddr::V4(ip),
            Some(Host::Ipv6(ip)) => IpAddr::V6(ip),
            // RTSP is no scheme whose hosts the URL standard reads as addresses. RFC 6761 §6.3 on `localhost`.
            Some(Host::Domain(name)) => match name.trim_end_matches('.').to_ascii_lowercase() {
                name if name == "localhost" || name.ends_with(".localhost") => IpAddr::from([127, 0, 0, 1]),
                name => match name.parse() {
                    Ok(ip) => ip,
                    Err(_) => return Ok(()),
                },
            },
            None => return Ok(()),
        };
        let usual = if url.scheme() == "rtsps" { super::bridge::TLS_PORT } else { super::bridge::PORT };
        self.judge(SocketAddr::new(ip, url.port().unwrap_or(usual)), here)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(allowed: &[&str]) -> SourceGuard {
        SourceGuard::new(allowed.iter().map(|network| network.parse().unwrap()).collect(), [8554, 554])
    }

    #[test]
    fn ssrf_a_camera_of_the_api_stands_in_networks_and_nowhere_on_this_machine() {
        use Forbidden::{Itself, Link, Nowhere, ThisMachine};
        let here = ["127.0.0.1".parse().unwrap(), "192.168.1.5".parse().unwrap()];
        let table: [(&str, Option<Forbidden>); 24] = [
            ("10.0.0.5:554", None),
            ("192.168.1.6:8554", None),
            ("[fd00::5]:554", None),
            ("1.1.1.1:554", None),
            ("127.0.0.1:5540", Some(ThisMachine)),
            ("127.9.9.9:5540", Some(ThisMachine)),
            ("127.0.0.1:8554", Some(Itself)),
            ("127.9.9.9:554", Some(Itself)),
            ("[::1]:8554", Some(Itself)),
            ("[::1]:80", Some(ThisMachine)),
            ("0.0.0.0:8554", Some(Itself)),
            ("0.0.0.0:80", Some(ThisMachine)),
            ("[::]:80", Some(ThisMachine)),
            ("[::ffff:127.0.0.1]:80", Some(ThisMachine)),
            ("[64:ff9b::7f00:1]:80", Some(ThisMachine)),
            ("192.168.1.5:8554", Some(Itself)),
            ("192.168.1.5:22", Some(ThisMachine)),
            ("[::ffff:192.168.1.5]:22", Some(ThisMachine)),
            ("169.254.169.254:80", Some(Link)),
            ("[fe80::1]:554", Some(Link)),
            ("[fd00:ec2::254]:80", Some(Link)),
            ("100.100.100.200:80", Some(Link)),
            ("224.0.0.1:554", Some(Nowhere)),
            ("255.255.255.255:554", Some(Nowhere)),
        ];
        for (address, forbidden) in table {
            assert_eq!(guard(&[]).judge(address.parse().unwrap(), &here).err(), forbidden, "{address}");
        }
        let wide = guard(&["127.0.0.0/8", "169.254.10.0/24"]);
        for (address, forbidden) in [
            ("127.0.0.1:5540", None),
            ("127.0.0.1:8554", Some(Itself)),
            ("192.168.1.5:22", Some(ThisMachine)),
            ("169.254.10.9:554", None),
            ("169.254.169.254:80", Some(Link)),
        ] {
            assert_eq!(wide.judge(address.parse().unwrap(), &here).err(), forbidden, "{address}");
        }
    }

    #[test]
    fn a_url_is_judged_as_far_as_it_says_where_it_leads() {
        for (url, forbidden) in [
            ("rtsp://cam.lan/1", None),
            ("rtsp://10.0.0.5/1", None),
            ("rtsp://127.0.0.1/1", Some(Forbidden::Itself)),
            ("rtsps://127.0.0.1/1", Some(Forbidden::ThisMachine)),
            ("rtsp://localhost:99/", Some(Forbidden::ThisMachine)),
            ("rtsp://LOCALHOST.:99/", Some(Forbidden::ThisMachine)),
            ("rtsp://cam.localhost:99/", Some(Forbidden::ThisMachine)),
            ("rtsp://[::1]:99/", Some(Forbidden::ThisMachine)),
            ("rtsp://169.254.169.254/latest", Some(Forbidden::Link)),
        ] {
            assert_eq!(guard(&[]).judge_url(&Url::parse(url).unwrap(), &[]).err(), forbidden, "{url}");
        }
    }
}
