//! How many requests each HTTP door answered, by class of status. Atomics only: counting takes no lock.

use std::sync::atomic::{AtomicU64, Ordering};

/// The doors of the HTTP listener, as far as they are counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HttpDoor {
    /// `/api/…`
    Api,
    /// Playlists.
    Playlist,
    /// Init sections, segments and parts.
    Media,
    /// WebRTC's signalling.
    Whep,
    /// Streams and sockets of events.
    Events,
    /// Pages and what they are made of.
    Page,
    /// `/healthz`, `/readyz`, `/metrics`.
    Watch,
}

impl HttpDoor {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Api, Self::Playlist, Self::Media, Self::Whep, Self::Events, Self::Page, Self::Watch];

    /// The word of the metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Playlist => "playlist",
            Self::Media => "media",
            Self::Whep => "whep",
            Self::Events => "events",
            Self::Page => "page",
            Self::Watch => "watch",
        }
    }
}

/// The classes of HTTP statuses.
pub const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The codes of the problems that say a limit was reached.
pub const LIMITS: [&str; 7] = [
    "body_too_large",
    "too_many_attempts",
    "too_many_connections",
    "too_many_events",
    "too_many_followers",
    "too_many_requests",
    "too_many_sessions",
];

/// The counters.
#[derive(Debug, Default)]
pub struct Requests {
    refused: [AtomicU64; LIMITS.len()],
    counts: [[AtomicU64; CLASSES.len()]; HttpDoor::ALL.len()],
    connections: AtomicU64,
    accepted: AtomicU64,
}

impl Requests {
    /// A request at `door` was answered with `status`.
    pub fn count(&self, door: HttpDoor, status: u16) {
        let class = usize::from(status / 100).clamp(1, CLASSES.len()) - 1;
        self.counts[door as usize][class].fetch_add(1, Ordering::Relaxed);
    }

    /// Requests at `door` that were answered with this class, counted from zero.
    pub fn answered(&self, door: HttpDoor, class: usize) -> u64 {
        self.counts[door as usize].get(class).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// A request was answered with this problem.
    pub fn refused(&self, code: &str) {
        if let Some(limit) = LIMITS.iter().position(|limit| *limit == code) {
            self.refused[limit].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Requests that a limit refused, by the code of the answer.
    pub fn refusals(&self) -> [(&'static str, u64); LIMITS.len()] {
        std::array::from_fn(|limit| (LIMITS[limit], self.refused[limit].load(Ordering::Relaxed)))
    }

    /// Every counter.
    pub fn all(&self) -> Vec<(HttpDoor, &'static str, u64)> {
        let of = |door| (0..CLASSES.len()).map(move |class| (door, CLASSES[class], self.answered(door, class)));
        HttpDoor::ALL.into_iter().flat_map(of).collect()
    }

    /// A connection begins.
    pub fn connected(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection ended.
    pub fn disconnected(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// Connections open now, and accepted since the start.
    pub fn connections(&self) -> (u64, u64) {
        (self.connections.load(Ordering::Relaxed), self.accepted.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_door_and_class() {
        let requests = Requests::default();
        for (i, door) in HttpDoor::ALL.into_iter().enumerate() {
            assert_eq!(door as usize, i);
        }
        for status in [200, 206, 404, 999, 0] {
            requests.count(HttpDoor::Media, status);
        }
        let media: Vec<u64> = (0..6).map(|class| requests.answered(HttpDoor::Media, class)).collect();
        assert_eq!(media, [1, 2, 0, 1, 1, 0]);
        assert_eq!(requests.answered(HttpDoor::Api, 1), 0);
        requests.refused("too_many_requests");
        requests.refused("path_not_found");
        let refused: Vec<_> = requests.refusals().into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(refused, [("too_many_requests", 1)]);
    }
}
