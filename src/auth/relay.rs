//! By what a request shows that somebody stands between the client and this server.

/// What proxies and delivery networks add, besides everything that begins with [`FORWARDED`]. Their mere presence
/// counts, whatever they say.
const FORWARDING: [&str; 8] = [
    "cf-connecting-ip",
    "fastly-client-ip",
    "forwarded",
    "true-client-ip",
    "via",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-real-ip",
];

/// `X-Forwarded-For`, `-Host`, `-Proto`, `-Port`, `-Prefix`, `-Ssl` and whatever comes next.
const FORWARDED: &str = "x-forwarded";

/// Whether a header of HTTP is one that only somebody in between writes; its name in lower case.
pub fn is_forwarding(name: &str) -> bool {
    name.starts_with(FORWARDED) || FORWARDING.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_proxies_add_is_known_by_its_name() {
        for name in FORWARDING.into_iter().chain(["x-forwarded-for", "x-forwarded-host", "x-forwarded-new"]) {
            assert!(is_forwarding(name), "{name}");
        }
        for name in ["user-agent", "host", "forward", "x-forward", "x-session"] {
            assert!(!is_forwarding(name), "{name}");
        }
    }
}
