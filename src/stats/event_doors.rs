//! What the doors of events do, door by door: who is there, what was told, what was not, who was sent away and why.
//! Atomics only: counting takes no lock.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

/// The doors that hold a client, and the one that takes events in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventDoor {
    /// `/ws/…`
    WebSocket,
    /// `/stream/…`
    ServerSent,
    /// `/api/v1/events?wait=`
    LongPoll,
    /// `/graphql`, subscriptions.
    GraphQl,
    /// `POST /api/v1/events`: its clients are senders.
    Ingest,
}

impl EventDoor {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::WebSocket, Self::ServerSent, Self::LongPoll, Self::GraphQl, Self::Ingest];

    /// The word of the metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::ServerSent => "sse",
            Self::LongPoll => "longpoll",
            Self::GraphQl => "graphql",
            Self::Ingest => "ingest",
        }
    }
}

/// Why a client was sent away, or never let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// It may not.
    Forbidden,
    /// A limit of users, of addresses or of all.
    Limit,
    /// It said too much.
    Flood,
    /// It broke the protocol.
    Protocol,
    /// It took nothing for too long.
    TooSlow,
    /// It gave no sign of life.
    Silent,
    /// What it sent cannot be taken now: too much waits for the disk.
    Full,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Forbidden, Self::Limit, Self::Flood, Self::Protocol, Self::TooSlow, Self::Silent, Self::Full];

    /// The word of the metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forbidden => "forbidden",
            Self::Limit => "limit",
            Self::Flood => "flood",
            Self::Protocol => "protocol",
            Self::TooSlow => "too_slow",
            Self::Silent => "silent",
            Self::Full => "full",
        }
    }
}

/// The counters of one door.
#[derive(Debug, Default)]
struct Counters {
    open: AtomicU64,
    opened: AtomicU64,
    delivered: AtomicU64,
    dropped: AtomicU64,
    refused: [AtomicU64; Refusal::ALL.len()],
}

/// The counters.
#[derive(Debug, Default)]
pub struct EventDoors {
    doors: [Counters; EventDoor::ALL.len()],
    /// How many were there when the first was told to go.
    at_the_end: OnceLock<u64>,
}

/// The figures of one door.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventDoorFigures {
    /// Clients there now.
    pub open: u64,
    /// Clients that came since the start.
    pub opened: u64,
    /// Events told.
    pub delivered: u64,
    /// Facts that a client asked for and that were no longer there.
    pub dropped: u64,
    /// Clients sent away, by reason.
    pub refused: Vec<(&'static str, u64)>,
}

const ORDER: Ordering = Ordering::Relaxed;

impl EventDoors {
    /// A client came.
    pub fn opened(&self, door: EventDoor) {
        self.doors[door as usize].open.fetch_add(1, ORDER);
        self.doors[door as usize].opened.fetch_add(1, ORDER);
    }

    /// A client comes, unless `most` are there already; then it is sent away, and that is counted.
    pub fn enter(&self, door: EventDoor, most: u64) -> bool {
        let room = |open| (open < most).then_some(open + 1);
        let entered = self.doors[door as usize].open.fetch_update(ORDER, ORDER, room).is_ok();
        if entered {
            self.doors[door as usize].opened.fetch_add(1, ORDER);
        } else {
            self.refused(door, Refusal::Limit);
        }
        entered
    }

    /// A client left.
    pub fn closed(&self, door: EventDoor) {
        self.doors[door as usize].open.fetch_sub(1, ORDER);
    }

    /// Events were told.
    pub fn delivered(&self, door: EventDoor, events: u64) {
        self.doors[door as usize].delivered.fetch_add(events, ORDER);
    }

    /// Facts were missing.
    pub fn dropped(&self, door: EventDoor, events: u64) {
        self.doors[door as usize].dropped.fetch_add(events, ORDER);
    }

    /// A client was sent away.
    pub fn refused(&self, door: EventDoor, refusal: Refusal) {
        self.doors[door as usize].refused[refusal as usize].fetch_add(1, ORDER);
    }

    /// Clients that follow now, by whichever door.
    pub fn followers(&self) -> u64 {
        let follow = [EventDoor::WebSocket, EventDoor::ServerSent, EventDoor::LongPoll, EventDoor::GraphQl];
        follow.map(|door| self.doors[door as usize].open.load(ORDER)).iter().sum()
    }

    /// The server ends, and another client is told to go: how many there were when that began. Those who are told last
    /// come back with all others, not only with those who are still here.
    pub fn dismissed(&self) -> u64 {
        *self.at_the_end.get_or_init(|| self.followers())
    }

    /// How a door does.
    pub fn figures(&self, door: EventDoor) -> EventDoorFigures {
        let counters = &self.doors[door as usize];
        let refused = |refusal: Refusal| (refusal.name(), counters.refused[refusal as usize].load(ORDER));
        EventDoorFigures {
            open: counters.open.load(ORDER),
            opened: counters.opened.load(ORDER),
            delivered: counters.delivered.load(ORDER),
            dropped: counters.dropped.load(ORDER),
            refused: Refusal::ALL.into_iter().map(refused).collect(),
        }
    }

    /// Every door's.
    pub fn all(&self) -> Vec<(&'static str, EventDoorFigures)> {
        EventDoor::ALL.into_iter().map(|door| (door.name(), self.figures(door))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doors_are_counted_apart() {
        let doors = EventDoors::default();
        assert!(EventDoor::ALL.iter().enumerate().all(|(i, door)| *door as usize == i));
        assert!(Refusal::ALL.iter().enumerate().all(|(i, refusal)| *refusal as usize == i));
        doors.opened(EventDoor::WebSocket);
        doors.opened(EventDoor::WebSocket);
        doors.closed(EventDoor::WebSocket);
        doors.delivered(EventDoor::WebSocket, 7);
        doors.dropped(EventDoor::WebSocket, 2);
        doors.refused(EventDoor::WebSocket, Refusal::Limit);
        let figures = doors.figures(EventDoor::WebSocket);
        assert_eq!((figures.open, figures.opened, figures.delivered, figures.dropped), (1, 2, 7, 2));
        assert_eq!(figures.refused.iter().find(|(name, _)| *name == "limit"), Some(&("limit", 1)));
        assert_eq!(doors.figures(EventDoor::ServerSent).opened, 0);
        assert!(doors.enter(EventDoor::ServerSent, 1) && !doors.enter(EventDoor::ServerSent, 1));
        let figures = doors.figures(EventDoor::ServerSent);
        assert_eq!((figures.open, figures.opened, figures.refused[Refusal::Limit as usize]), (1, 1, ("limit", 1)));
        doors.opened(EventDoor::Ingest);
        assert_eq!((doors.followers(), doors.dismissed()), (2, 2), "a sender follows nothing");
        doors.closed(EventDoor::WebSocket);
        assert_eq!((doors.followers(), doors.dismissed()), (1, 2));
    }
}
