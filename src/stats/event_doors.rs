//! What the doors of events do, door by door: who is there, what was told, what was not, who was sent away and why.
//! Counting takes no lock; whoever comes takes two for a moment, since users and addresses have only so many places, all
//! doors together.

use std::{
    net::IpAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use super::places::{Place, Places, network};

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

/// How many may follow at once, all doors together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowerLimits {
    /// Of one user; those who are known by no name are no user.
    pub per_user: usize,
    /// From one address.
    pub per_address: usize,
}

/// Whose places are all taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crowd {
    /// The user's.
    User,
    /// The address's.
    Address,
    /// The door's.
    Door,
}

/// A client that was let in; dropping it lets it out.
#[derive(Debug)]
pub struct Admitted {
    doors: Arc<EventDoors>,
    door: EventDoor,
    _user: Option<Place<Box<str>>>,
    _address: Place<IpAddr>,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.doors.doors[self.door as usize].open.fetch_sub(1, ORDER);
    }
}

/// The counters, and the places.
#[derive(Debug)]
pub struct EventDoors {
    doors: [Counters; EventDoor::ALL.len()],
    users: Arc<Places<Box<str>>>,
    addresses: Arc<Places<IpAddr>>,
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

/// No limits but those of the doors.
impl Default for EventDoors {
    fn default() -> Self {
        Self::new(FollowerLimits { per_user: usize::MAX, per_address: usize::MAX })
    }
}

impl EventDoors {
    /// Doors with places for so many.
    pub fn new(limits: FollowerLimits) -> Self {
        let (users, addresses) = (Places::new(limits.per_user), Places::new(limits.per_address));
        Self { doors: Default::default(), users, addresses, at_the_end: OnceLock::new() }
    }

    /// A client of this user, if it is one, comes from an address, unless `most` are at the door already.
    ///
    /// # Errors
    /// Whose places are all taken; that is counted.
    pub fn admit(
        self: &Arc<Self>,
        door: EventDoor,
        most: usize,
        user: Option<&str>,
        address: IpAddr,
    ) -> Result<Admitted, Crowd> {
        let admitted = self.places(door, most, user, address);
        if admitted.is_err() {
            self.refused(door, Refusal::Limit);
        }
        admitted
    }

    fn places(
        self: &Arc<Self>,
        door: EventDoor,
        most: usize,
        user: Option<&str>,
        address: IpAddr,
    ) -> Result<Admitted, Crowd> {
        let _address = self.addresses.take(network(address)).ok_or(Crowd::Address)?;
        let _user = match user {
            Some(user) => Some(self.users.take(user.into()).ok_or(Crowd::User)?),
            None => None,
        };
        let room = |open| (open < most as u64).then_some(open + 1);
        let counters = &self.doors[door as usize];
        counters.open.fetch_update(ORDER, ORDER, room).map_err(|_| Crowd::Door)?;
        counters.opened.fetch_add(1, ORDER);
        Ok(Admitted { doors: self.clone(), door, _user, _address })
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

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn doors_are_counted_apart() {
        let doors = Arc::<EventDoors>::default();
        assert!(EventDoor::ALL.iter().enumerate().all(|(i, door)| *door as usize == i));
        assert!(Refusal::ALL.iter().enumerate().all(|(i, refusal)| *refusal as usize == i));
        let come = |door, most| doors.admit(door, most, None, HERE);
        let socket = come(EventDoor::WebSocket, 9).unwrap();
        drop(come(EventDoor::WebSocket, 9).unwrap());
        doors.delivered(EventDoor::WebSocket, 7);
        doors.dropped(EventDoor::WebSocket, 2);
        doors.refused(EventDoor::WebSocket, Refusal::Limit);
        let figures = doors.figures(EventDoor::WebSocket);
        assert_eq!((figures.open, figures.opened, figures.delivered, figures.dropped), (1, 2, 7, 2));
        assert_eq!(figures.refused.iter().find(|(name, _)| *name == "limit"), Some(&("limit", 1)));
        assert_eq!(doors.figures(EventDoor::ServerSent).opened, 0);
        let _stream = come(EventDoor::ServerSent, 1).unwrap();
        assert_eq!(come(EventDoor::ServerSent, 1).unwrap_err(), Crowd::Door);
        let figures = doors.figures(EventDoor::ServerSent);
        assert_eq!((figures.open, figures.opened, figures.refused[Refusal::Limit as usize]), (1, 1, ("limit", 1)));
        let _sender = come(EventDoor::Ingest, 9).unwrap();
        assert_eq!((doors.followers(), doors.dismissed()), (2, 2), "a sender follows nothing");
        drop(socket);
        assert_eq!((doors.followers(), doors.dismissed()), (1, 2));
    }

    #[test]
    fn a_user_and_an_address_have_so_many_places_whatever_the_doors() {
        let doors = Arc::new(EventDoors::new(FollowerLimits { per_user: 2, per_address: 3 }));
        let come = |door, user, last: u8| doors.admit(door, 9, user, [10, 0, 0, last].into());
        let first = come(EventDoor::WebSocket, Some("anna"), 1).unwrap();
        let _second = come(EventDoor::ServerSent, Some("anna"), 2).unwrap();
        assert_eq!(come(EventDoor::GraphQl, Some("anna"), 3).unwrap_err(), Crowd::User);
        let _guests = [(); 2].map(|()| come(EventDoor::LongPoll, None, 1).unwrap());
        assert_eq!(come(EventDoor::LongPoll, None, 1).unwrap_err(), Crowd::Address);
        drop(first);
        assert!(come(EventDoor::GraphQl, Some("anna"), 1).is_ok(), "what was refused took no place");
        assert_eq!(doors.figures(EventDoor::GraphQl).refused[Refusal::Limit as usize], ("limit", 1));
    }
}
