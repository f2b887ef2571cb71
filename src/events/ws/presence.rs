//! Who is connected: seats, counted by user, found by name. That there are not too many, the doors of events see to.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    hash::Hash,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;

use super::{
    bucket::Bucket,
    encoding::Encoding,
    mailbox::Mailbox,
    messages::{OnlineUser, ServerMessage},
};
use crate::{
    base::{Monotonic, WallTime, id::SessionId},
    stats::Admitted,
};

/// In the place of a user's name: everybody.
pub(super) const EVERYBODY: &str = "*";
/// Words to everybody: so many at once, and so many by the second, whoever says them.
const BROADCAST_BURST: f32 = 5.0;
const BROADCASTS_PER_SECOND: f32 = 0.1;

/// Who wants in.
#[derive(Clone, Debug)]
pub(super) struct Guest {
    /// As whom it is known.
    pub(super) user: Arc<str>,
    pub(super) door: &'static str,
    pub(super) encoding: Encoding,
    /// It may know who the others are.
    pub(super) sees_users: bool,
    pub(super) since: WallTime,
}

/// One connection, as the others see it.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) id: SessionId,
    pub(super) guest: Guest,
    pub(super) mailbox: Mailbox,
    /// It asked to hear of the others.
    pub(super) follows: AtomicBool,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Presence {
    state: Mutex<State>,
    changes: AtomicU64,
    broadcasts: Mutex<Option<Bucket>>,
}

#[derive(Debug, Default)]
struct State {
    seats: BTreeMap<SessionId, Arc<Seat>>,
    users: HashMap<Arc<str>, usize>,
}

/// A taken seat; dropping it leaves.
#[derive(Debug)]
pub(super) struct Taken {
    presence: Arc<Presence>,
    pub(super) seat: Arc<Seat>,
    _admitted: Admitted,
}

impl Presence {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a seat, for a guest who was let in.
    pub(super) fn enter(self: &Arc<Self>, guest: Guest, admitted: Admitted) -> Taken {
        let mut state = self.state();
        *state.users.entry(guest.user.clone()).or_default() += 1;
        let id = SessionId::random();
        let seat = Arc::new(Seat { id, guest, mailbox: Mailbox::default(), follows: AtomicBool::new(false) });
        state.seats.insert(id, seat.clone());
        drop(state);
        self.changes.fetch_add(1, Ordering::Relaxed);
        Taken { presence: self.clone(), seat, _admitted: admitted }
    }

    fn leave(&self, seat: &Seat) {
        let mut state = self.state();
        state.seats.remove(&seat.id);
        less(&mut state.users, seat.guest.user.clone());
        drop(state);
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether somebody may speak to everybody now.
    pub(super) fn may_broadcast(&self, now: Monotonic) -> bool {
        let mut bucket = self.broadcasts.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.get_or_insert_with(|| Bucket::new(BROADCAST_BURST, BROADCASTS_PER_SECOND, now)).allows(now, 1.0)
    }

    /// Counts comings and goings.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// How many connections there are.
    pub(super) fn count(&self) -> usize {
        self.state().seats.len()
    }

    /// How many connections this user has, and how many users there are.
    pub(super) fn of_user(&self, user: &str) -> (usize, usize) {
        let state = self.state();
        (state.users.get(user).copied().unwrap_or(0), state.users.len())
    }

    /// How many connections each door has.
    pub(super) fn by_door(&self) -> BTreeMap<&'static str, usize> {
        let mut doors = BTreeMap::new();
        for seat in self.state().seats.values() {
            *doors.entry(seat.guest.door).or_default() += 1;
        }
        doors
    }

    /// Leaves a message at every connection of a user, at the one of an id, or at all of them. How many got it, and how many had no room.
    pub(super) fn post(&self, to: &str, frame: impl Fn(Encoding) -> Bytes) -> (usize, usize) {
        let id = SessionId::parse(to);
        let seats: Vec<_> = {
            let state = self.state();
            match id.and_then(|id| state.seats.get(&id)) {
                Some(seat) => vec![seat.clone()],
                None if to == EVERYBODY => state.seats.values().cloned().collect(),
                None => state.seats.values().filter(|seat| &*seat.guest.user == to).cloned().collect(),
            }
        };
        let mut made = Made::new(&frame);
        seats.iter().fold((0, 0), |(got, full), seat| {
            if seat.mailbox.post(made.frame(seat.guest.encoding)) { (got + 1, full) } else { (got, full + 1) }
        })
    }

    /// Tells those who asked who is there; names go to those who may know them.
    pub(super) fn announce(&self) {
        let seats: Vec<_> = self.state().seats.values().cloned().collect();
        let followers = || seats.iter().filter(|seat| seat.follows.load(Ordering::Relaxed));
        if followers().next().is_none() {
            return;
        }
        let (count, named) = (seats.len(), followers().any(|seat| seat.guest.sees_users));
        let users = named.then(|| seats.iter().take(NAMED_MOST).map(|seat| online(seat)).collect::<Vec<_>>());
        let bare = |encoding: Encoding| encoding.frame_of(&ServerMessage::UsersOnline { count, users: None });
        let full = |encoding: Encoding| encoding.frame_of(&ServerMessage::UsersOnline { count, users: users.clone() });
        let (mut bare, mut full) = (Made::new(&bare), Made::new(&full));
        for seat in followers() {
            let made = if seat.guest.sees_users { &mut full } else { &mut bare };
            seat.mailbox.post_presence(made.frame(seat.guest.encoding));
        }
    }
}

/// Names in one message.
const NAMED_MOST: usize = 500;

fn online(seat: &Seat) -> OnlineUser {
    OnlineUser {
        user: seat.guest.user.to_string(),
        connection_id: seat.id.to_string(),
        since: seat.guest.since.to_string(),
        door: seat.guest.door.to_owned(),
    }
}

fn less<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: K) {
    if let Entry::Occupied(mut entry) = counts.entry(key) {
        *entry.get_mut() -= 1;
        if *entry.get() == 0 {
            entry.remove();
        }
    }
}

/// A frame made once by encoding.
struct Made<'a> {
    make: &'a dyn Fn(Encoding) -> Bytes,
    frames: [Option<Bytes>; Encoding::COUNT],
}

impl<'a> Made<'a> {
    fn new(make: &'a dyn Fn(Encoding) -> Bytes) -> Self {
        Self { make, frames: Default::default() }
    }

    fn frame(&mut self, encoding: Encoding) -> Bytes {
        self.frames[encoding.index()].get_or_insert_with(|| (self.make)(encoding)).clone()
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.presence.leave(&self.seat);
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::stats::{EventDoor, EventDoors};

    fn guest(user: &str) -> Guest {
        Guest {
            user: user.into(),
            door: "events",
            encoding: Encoding::default(),
            sees_users: user == "admin",
            since: WallTime::from_unix_nanos(0),
        }
    }

    /// Seats for these guests, and the doors they came by.
    fn seated<const N: usize>(presence: &Arc<Presence>, users: [&str; N]) -> [Taken; N] {
        let doors = Arc::<EventDoors>::default();
        users.map(|user| {
            let admitted = doors.admit(EventDoor::WebSocket, N, Some(user), [10, 0, 0, 1].into()).unwrap();
            presence.enter(guest(user), admitted)
        })
    }

    fn mail(taken: &Taken) -> Option<String> {
        match taken.seat.mailbox.poll_mail(&Context::from_waker(Waker::noop())) {
            Poll::Ready(frame) => Some(String::from_utf8_lossy(&frame).into_owned()),
            Poll::Pending => None,
        }
    }

    #[test]
    fn who_is_there_is_counted_until_they_leave() {
        let presence = Arc::<Presence>::default();
        let [first, _second, _bert] = seated(&presence, ["anna", "anna", "bert"]);
        assert_eq!((presence.of_user("anna"), presence.count()), ((2, 2), 3));
        drop(first);
        assert_eq!((presence.of_user("anna"), presence.count()), ((1, 2), 2));
        assert_eq!((presence.by_door()["events"], presence.changes()), (2, 4));
    }

    #[test]
    fn a_message_reaches_a_user_or_one_connection() {
        let presence = Arc::<Presence>::default();
        let [one, two] = seated(&presence, ["anna", "anna"]);
        let frame = |_| Bytes::from_static(b"hello");
        assert_eq!(presence.post("anna", frame), (2, 0));
        assert_eq!(presence.post(&one.seat.id.to_string(), frame), (1, 0));
        assert_eq!(presence.post("bert", frame), (0, 0));
        let [other] = seated(&presence, ["carl"]);
        assert_eq!(presence.post("*", frame), (3, 0));
        assert_eq!([&one, &two, &other].map(|taken| mail(taken).is_some()), [true; 3]);
        assert_eq!((0..3).filter(|_| mail(&one).is_some()).count(), 2);
        assert_eq!((0..3).filter(|_| mail(&two).is_some()).count(), 1);
    }

    #[test]
    fn who_is_online_goes_to_those_who_asked_and_names_to_those_who_may_know() {
        let presence = Arc::<Presence>::default();
        let [admin, anna, deaf] = seated(&presence, ["admin", "anna", "deaf"]);
        presence.announce();
        assert_eq!(mail(&anna), None);
        for taken in [&admin, &anna] {
            taken.seat.follows.store(true, Ordering::Relaxed);
        }
        presence.announce();
        let (told, names) = (mail(&anna).unwrap(), mail(&admin).unwrap());
        assert!(told.contains(r#""type":"users_online","count":3}"#), "{told}");
        assert!(names.contains(r#""user":"deaf""#) && names.contains("1970-01-01T"), "{names}");
        assert_eq!(mail(&deaf), None);
    }
}
