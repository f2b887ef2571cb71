//! Who sits at the door: sockets, counted in all and by address.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    events::ws::close::{CloseCode, Violation},
    stats::{EventDoor, EventDoors, Refusal},
};

/// The addresses of those who are there.
#[derive(Debug, Default)]
pub(super) struct Seats(Mutex<HashMap<IpAddr, u32>>);

/// A place at the door; it is given back when it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    doors: Arc<EventDoors>,
    address: IpAddr,
}

impl Seats {
    fn addresses(&self) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a socket in.
    ///
    /// # Errors
    /// The limit that is in the way.
    pub(super) fn take(
        self: &Arc<Self>,
        doors: &Arc<EventDoors>,
        address: IpAddr,
        (total, per_address): (u32, u32),
    ) -> Result<Seat, Violation> {
        let mut addresses = self.addresses();
        let here = addresses.get(&address).copied().unwrap_or_default();
        if here >= per_address {
            doors.refused(EventDoor::GraphQl, Refusal::Limit);
            return Err(Violation { code: CloseCode::TOO_MANY, reason: "too many connections from this address" });
        }
        if !doors.enter(EventDoor::GraphQl, total.into()) {
            let reason = "the server has as many connections as it takes";
            return Err(Violation { code: CloseCode::TRY_LATER, reason });
        }
        addresses.insert(address, here + 1);
        Ok(Seat { seats: self.clone(), doors: doors.clone(), address })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut addresses = self.seats.addresses();
        if let Some(here) = addresses.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                addresses.remove(&self.address);
            }
        }
        self.doors.closed(EventDoor::GraphQl);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_free_again_when_its_socket_is_gone() {
        let (seats, doors) = (Arc::<Seats>::default(), Arc::<EventDoors>::default());
        let take = |last: u8| seats.take(&doors, IpAddr::from([10, 0, 0, last]), (3, 2));
        let first = take(1).unwrap();
        let _second = take(1).unwrap();
        assert_eq!(take(1).unwrap_err().code, CloseCode::TOO_MANY);
        let _third = take(2).unwrap();
        assert_eq!(take(3).unwrap_err().code, CloseCode::TRY_LATER);
        drop(first);
        assert!(take(1).is_ok());
        assert_eq!(seats.addresses().len(), 2);
    }
}
