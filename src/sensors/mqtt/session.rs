//! One connection to a broker, as a machine: bytes and time in, bytes, messages and a deadline out. Sans-IO.
//!
//! It subscribes anew with every connection (the session is clean: a broker that kept our messages while we were away
//! would give us the past for the present), acknowledges what wants it, and tests a silent connection (MQTT 5 §3.1.2.10).
//! Of a message that must arrive it says when the broker has it. What was not acknowledged ends with the connection:
//! whoever wanted it sent keeps it, and brings it again.

use std::{collections::BTreeMap, time::Duration};

use bytes::{Buf, Bytes, BytesMut};

use super::wire::{Hello, Incoming, Outgoing, Terms, Wire, WireError};
use crate::base::Monotonic;

/// How long a broker may take to answer our greeting.
const GREETING: Duration = Duration::from_secs(10);
/// How often a connection is tested when the broker asks for no test.
const UNTESTED: Duration = Duration::from_secs(60);
/// Filters in one request: some brokers bound them.
const FILTERS: usize = 50;
/// Messages the broker has not acknowledged, at most, if it wants no fewer.
pub const IN_FLIGHT: u16 = 16;
/// How long a broker may take to acknowledge a message.
pub const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(20);
/// Bytes that may wait to be written before messages of ours are dropped. Acknowledgements are few and small.
pub const OUT_MAX: usize = 1 << 20;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The broker takes us.
    Connected,
    /// The broker does not let us read these.
    Refused(Vec<String>),
    /// A message of so many bytes, more than are taken; it was passed over.
    TooLarge(usize),
    /// The broker has our message of this number, or why it does not take it.
    Taken(u16, Result<(), String>),
    /// A message.
    Message {
        /// The topic.
        topic: String,
        /// What it says.
        payload: Bytes,
        /// The broker had kept it.
        retained: bool,
    },
}

/// Why a message that must arrive is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsendable {
    /// The broker acknowledges none.
    #[error("the broker acknowledges no message")]
    AtMostOnce,
    /// It is to be kept, and the broker keeps none.
    #[error("the broker keeps no message")]
    KeepsNone,
    /// It is too large.
    #[error("the message is larger than the broker takes")]
    TooLarge,
}

/// Why a connection is over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The broker does not take us.
    #[error("the broker refuses: {0}")]
    Refused(String),
    /// The broker ends it.
    #[error("the broker ended the connection: {0}")]
    Closed(String),
    /// It says nothing.
    #[error("the broker does not answer")]
    Silent,
    /// It does not say that it has a message of ours.
    #[error("the broker does not acknowledge our messages")]
    Unacknowledged,
    /// What it says is no MQTT.
    #[error("{0}")]
    Wire(#[from] WireError),
    /// It answered before it was asked.
    #[error("the broker breaks the protocol")]
    OutOfOrder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Greeting,
    Open,
}

/// The machine.
#[derive(Debug)]
pub struct Session {
    wire: Box<dyn Wire>,
    hello: Hello,
    state: State,
    incoming: BytesMut,
    /// Bytes of a message that is too large which are still to come.
    passing_over: usize,
    outgoing: BytesMut,
    next_id: u16,
    /// What was asked for and not yet answered.
    asked: BTreeMap<u16, Vec<String>>,
    /// What must arrive and is not acknowledged, and since when.
    in_flight: BTreeMap<u16, Monotonic>,
    terms: Terms,
    keep_alive: Duration,
    /// When something was last written, and when the broker must have been heard of.
    written: Monotonic,
    answer_by: Option<Monotonic>,
    dropped: u64,
}

impl Session {
    /// A connection that was just made.
    ///
    /// # Errors
    /// [`SessionError::Wire`]: the greeting cannot be said in MQTT.
    pub fn new(wire: Box<dyn Wire>, hello: Hello, now: Monotonic) -> Result<Self, SessionError> {
        let keep_alive = Duration::from_secs(u64::from(hello.keep_alive));
        let mut session = Self {
            wire,
            hello,
            state: State::Greeting,
            incoming: BytesMut::new(),
            passing_over: 0,
            outgoing: BytesMut::new(),
            next_id: 0,
            asked: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            terms: Terms::default(),
            keep_alive,
            written: now,
            answer_by: Some(now + GREETING),
            dropped: 0,
        };
        session.wire.write(&Outgoing::Connect(&session.hello), &mut session.outgoing)?;
        Ok(session)
    }

    /// Bytes came.
    ///
    /// # Errors
    /// [`SessionError`]: the connection is over.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Monotonic) -> Result<Vec<Event>, SessionError> {
        let (passed, bytes) = bytes.split_at(self.passing_over.min(bytes.len()));
        self.passing_over -= passed.len();
        self.incoming.extend_from_slice(bytes);
        let mut events = Vec::new();
        loop {
            let packet = match self.wire.read(&mut self.incoming, self.hello.max_packet) {
                Ok(Some(packet)) => packet,
                Ok(None) => break,
                Err(WireError::TooLarge(size)) if self.pass_over(size) => {
                    events.push(Event::TooLarge(size));
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            match (self.state, packet) {
                (State::Greeting, Incoming::Connected(Ok(terms))) => {
                    self.state = State::Open;
                    self.answer_by = None;
                    // MQTT 5 §3.2.2.3.14: the broker's keep-alive is the one.
                    if let Some(seconds) = terms.keep_alive {
                        self.keep_alive = match seconds {
                            // It asks for no test; we want to know all the same.
                            0 => UNTESTED,
                            seconds => Duration::from_secs(u64::from(seconds)),
                        };
                    }
                    self.terms = terms;
                    events.push(Event::Connected);
                }
                (State::Greeting, Incoming::Connected(Err(why))) => return Err(SessionError::Refused(why)),
                (_, Incoming::Closed(why)) => return Err(SessionError::Closed(why)),
                (State::Greeting, _) | (_, Incoming::Connected(..)) => return Err(SessionError::OutOfOrder),
                (_, Incoming::Message { topic, payload, retained, ack }) => {
                    if let Some(id) = ack {
                        self.write(&Outgoing::Ack(id), now)?;
                    }
                    events.push(Event::Message { topic, payload, retained });
                }
                (_, Incoming::Subscribed(id, refused)) => {
                    let asked = self.asked.remove(&id).unwrap_or_default();
                    let refused: Vec<String> =
                        refused.into_iter().filter_map(|place| asked.get(place).cloned()).collect();
                    if !refused.is_empty() {
                        events.push(Event::Refused(refused));
                    }
                }
                (_, Incoming::Taken(id, taken)) => {
                    if self.in_flight.remove(&id).is_some() {
                        events.push(Event::Taken(id, taken));
                    }
                }
                (_, Incoming::Pong | Incoming::Other) => {}
            }
            if self.state == State::Open {
                self.answer_by = None;
            }
        }
        Ok(events)
    }

    /// Asks for topics.
    ///
    /// # Errors
    /// [`SessionError::Wire`].
    pub fn subscribe(&mut self, filters: &[String], now: Monotonic) -> Result<(), SessionError> {
        for filters in filters.chunks(FILTERS) {
            let id = self.id();
            self.write(&Outgoing::Subscribe(id, filters), now)?;
            self.asked.insert(id, filters.to_vec());
        }
        Ok(())
    }

    /// Asks for topics no longer.
    ///
    /// # Errors
    /// [`SessionError::Wire`].
    pub fn unsubscribe(&mut self, filters: &[String], now: Monotonic) -> Result<(), SessionError> {
        for filters in filters.chunks(FILTERS) {
            let id = self.id();
            self.write(&Outgoing::Unsubscribe(id, filters), now)?;
        }
        Ok(())
    }

    /// Sends a message, unless too much waits already: then it is dropped and counted.
    ///
    /// # Errors
    /// [`SessionError::Wire`].
    pub fn publish(&mut self, topic: &str, payload: &Bytes, retain: bool, now: Monotonic) -> Result<(), SessionError> {
        if self.outgoing.len() + payload.len() > OUT_MAX {
            self.dropped += 1;
            return Ok(());
        }
        self.write(&Outgoing::Publish { id: None, topic, payload, retain }, now)
    }

    /// Whether a message that must arrive may be sent now (MQTT 5 §4.9).
    pub fn has_room(&self) -> bool {
        let most = self.terms.in_flight.map_or(IN_FLIGHT, |most| most.min(IN_FLIGHT));
        self.state == State::Open && self.in_flight.len() < usize::from(most) && self.outgoing.len() < OUT_MAX
    }

    /// Sends a message that must arrive, under the number that [`Event::Taken`] will name.
    ///
    /// # Errors
    /// [`SessionError::Wire`]; within, [`Unsendable`]: the broker would end the connection over it.
    pub fn publish_surely(
        &mut self,
        topic: &str,
        payload: &Bytes,
        retain: bool,
        now: Monotonic,
    ) -> Result<Result<u16, Unsendable>, SessionError> {
        // The head of a packet: its type and length, the topic's length, the number, properties of none (§3.3).
        const HEAD: usize = 5 + 2 + 2 + 1;
        // §3.2.2.3: what the broker said it does not take.
        let most = self.terms.max_packet.map_or(usize::MAX, |most| most as usize);
        if self.terms.at_most_once {
            return Ok(Err(Unsendable::AtMostOnce));
        } else if retain && self.terms.keeps_none {
            return Ok(Err(Unsendable::KeepsNone));
        } else if HEAD + topic.len() + payload.len() > most {
            return Ok(Err(Unsendable::TooLarge));
        }
        let id = self.id();
        self.write(&Outgoing::Publish { id: Some(id), topic, payload, retain }, now)?;
        self.in_flight.insert(id, now);
        Ok(Ok(id))
    }

    /// Says goodbye, so that the broker keeps our will to itself.
    ///
    /// # Errors
    /// [`SessionError::Wire`].
    pub fn disconnect(&mut self, now: Monotonic) -> Result<(), SessionError> {
        self.write(&Outgoing::Disconnect, now)
    }

    /// The deadline has come.
    ///
    /// # Errors
    /// [`SessionError::Silent`], [`SessionError::Unacknowledged`].
    pub fn handle_deadline(&mut self, now: Monotonic) -> Result<(), SessionError> {
        if self.answer_by.is_some_and(|by| now >= by) {
            return Err(SessionError::Silent);
        }
        // Its number cannot be used again before the broker says so (§2.2.1): a new connection begins anew.
        if self.acknowledged_by().is_some_and(|by| now >= by) {
            return Err(SessionError::Unacknowledged);
        }
        if self.state == State::Open && now.since(self.written) >= self.keep_alive / 2 {
            self.write(&Outgoing::Ping, now)?;
            self.answer_by.get_or_insert(now + self.keep_alive);
        }
        Ok(())
    }

    /// When [`Session::handle_deadline`] is due.
    pub fn deadline(&self) -> Monotonic {
        let ping = self.written + self.keep_alive / 2;
        let next = match self.answer_by {
            Some(by) if self.state == State::Greeting => by,
            Some(by) => by.min(ping.max(self.written + Duration::from_millis(100))),
            None => ping,
        };
        self.acknowledged_by().map_or(next, |by| by.min(next))
    }

    /// When the oldest message must be acknowledged. There are a few, at most.
    fn acknowledged_by(&self) -> Option<Monotonic> {
        self.in_flight.values().min().map(|since| *since + ACKNOWLEDGED_WITHIN)
    }

    /// What is to be written.
    pub fn outgoing(&mut self) -> &mut BytesMut {
        &mut self.outgoing
    }

    /// Messages of ours that were dropped because the broker does not take them.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// A message that is too large is no reason to leave: Zigbee2MQTT keeps a list of all its devices among the rest.
    fn pass_over(&mut self, size: usize) -> bool {
        let message = self.incoming.first().is_some_and(|first| first >> 4 == 3);
        // §2.2.3: a length has at most four bytes, all but the last with their top bit set.
        let header = 1 + self.incoming.iter().skip(1).take(3).take_while(|byte| *byte & 0x80 != 0).count() + 1;
        if !message || self.state != State::Open {
            return false;
        }
        let here = (header + size).min(self.incoming.len());
        self.incoming.advance(here);
        self.passing_over = header + size - here;
        true
    }

    fn write(&mut self, packet: &Outgoing<'_>, now: Monotonic) -> Result<(), SessionError> {
        self.written = now;
        Ok(self.wire.write(packet, &mut self.outgoing)?)
    }

    fn id(&mut self) -> u16 {
        // §2.2.1: never zero, and not one that is in use.
        loop {
            self.next_id = self.next_id.checked_add(1).unwrap_or(1);
            if !self.asked.contains_key(&self.next_id) && !self.in_flight.contains_key(&self.next_id) {
                return self.next_id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::wire::wire, *};
    use crate::config::MqttVersion;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_nanos(seconds * 1_000_000_000)
    }

    fn session() -> Session {
        let hello = Hello { client_id: "c".into(), login: None, keep_alive: 30, will: None, max_packet: 1024 };
        Session::new(wire(MqttVersion::V311), hello, at(0)).unwrap()
    }

    fn open() -> Session {
        let mut session = session();
        assert_eq!(session.handle_bytes(&[0x20, 2, 0, 0], at(0)), Ok(vec![Event::Connected]));
        session.outgoing().clear();
        session
    }

    fn sent(session: &mut Session) -> Vec<u8> {
        let sent = session.outgoing().to_vec();
        session.outgoing().clear();
        sent
    }

    #[test]
    fn it_greets_and_waits_for_ten_seconds() {
        let mut session = session();
        assert_eq!(sent(&mut session)[0], 0x10);
        assert_eq!(session.deadline(), at(10));
        assert_eq!(session.handle_deadline(at(9)), Ok(()));
        assert_eq!(session.handle_deadline(at(10)), Err(SessionError::Silent));
    }

    #[test]
    fn what_wants_it_is_acknowledged() {
        let mut session = open();
        let events = session.handle_bytes(&[0x32, 6, 0, 1, b'a', 0, 9, b'x'], at(1)).unwrap();
        let message = Event::Message { topic: "a".into(), payload: Bytes::from_static(b"x"), retained: false };
        assert_eq!(events, [message]);
        assert_eq!(sent(&mut session), [0x40, 2, 0, 9]);
    }

    #[test]
    fn topics_that_are_refused_are_named() {
        let mut session = open();
        let filters: Vec<String> = (0..60).map(|n| format!("t{n}")).collect();
        session.subscribe(&filters, at(1)).unwrap();
        let mut first = vec![0x90, 52, 0, 1];
        first.extend([1; 49]);
        first.push(0x80);
        assert_eq!(session.handle_bytes(&first, at(1)), Ok(vec![Event::Refused(vec!["t49".into()])]));
        assert_eq!(session.handle_bytes(&[0x90, 12, 0, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1], at(1)), Ok(vec![]));
    }

    #[test]
    fn a_silent_connection_is_tested_and_given_up() {
        let mut session = open();
        assert_eq!(session.deadline(), at(15));
        session.handle_deadline(at(15)).unwrap();
        assert_eq!(sent(&mut session), [0xc0, 0]);
        assert_eq!(session.handle_bytes(&[0xd0, 0], at(16)), Ok(vec![]));
        session.handle_deadline(at(30)).unwrap();
        assert_eq!(sent(&mut session), [0xc0, 0]);
        session.handle_deadline(at(45)).unwrap();
        assert_eq!(session.handle_deadline(at(60)), Err(SessionError::Silent));
    }

    #[test]
    fn a_broker_that_wants_no_test_is_tested_all_the_same() {
        let hello = Hello { client_id: "c".into(), login: None, keep_alive: 30, will: None, max_packet: 1024 };
        let mut session = Session::new(wire(MqttVersion::V5), hello, at(0)).unwrap();
        session.handle_bytes(&[0x20, 6, 0, 0, 3, 0x13, 0, 0], at(0)).unwrap();
        assert_eq!(session.deadline(), at(30), "half of a minute, and not at once");
    }

    #[test]
    fn messages_of_ours_do_not_pile_up() {
        let mut session = open();
        let payload = Bytes::from(vec![b'x'; 1000]);
        for _ in 0..2_000 {
            session.publish("t", &payload, true, at(1)).unwrap();
        }
        assert!(session.outgoing().len() <= OUT_MAX + 100_000 && session.dropped() > 900);
    }

    #[test]
    fn a_message_that_must_arrive_is_told_when_it_has() {
        let mut session = open();
        let payload = Bytes::from_static(b"x");
        assert_eq!(session.publish_surely("t", &payload, true, at(1)), Ok(Ok(1)));
        assert_eq!(sent(&mut session), [0x33, 6, 0, 1, b't', 0, 1, b'x']);
        assert_eq!(session.handle_bytes(&[0x40, 2, 0, 9], at(1)), Ok(vec![]), "another's");
        assert_eq!(session.handle_bytes(&[0x40, 2, 0, 1], at(1)), Ok(vec![Event::Taken(1, Ok(()))]));
        assert_eq!(session.handle_bytes(&[0x40, 2, 0, 1], at(1)), Ok(vec![]), "once");
    }

    #[test]
    fn so_many_wait_for_the_broker_and_no_number_is_given_twice() {
        let mut session = open();
        session.next_id = u16::MAX - 3;
        let mut ids = std::collections::BTreeSet::new();
        while session.has_room() {
            assert!(ids.insert(session.publish_surely("t", &Bytes::new(), false, at(1)).unwrap().unwrap()));
        }
        assert_eq!((ids.len(), ids.contains(&0)), (usize::from(IN_FLIGHT), false));
        session.handle_bytes(&[0x40, 2, 0, 1], at(1)).unwrap();
        assert!(session.has_room());
        assert_eq!(session.deadline(), at(16), "the test of the connection comes first");
        session.handle_deadline(at(16)).unwrap();
        session.handle_bytes(&[0xd0, 0], at(16)).unwrap();
        assert_eq!(session.deadline(), at(21));
        assert_eq!(session.handle_deadline(at(21)), Err(SessionError::Unacknowledged));
    }

    #[test]
    fn what_the_broker_does_not_take_is_not_sent() {
        let hello = Hello { client_id: "c".into(), login: None, keep_alive: 30, will: None, max_packet: 1024 };
        let open = |properties: &[u8]| {
            let mut session = Session::new(wire(MqttVersion::V5), hello.clone(), at(0)).unwrap();
            let length = properties.len() as u8;
            let head = [0x20, 3 + length, 0, 0, length];
            session.handle_bytes(&[&head, properties].concat(), at(0)).unwrap();
            session
        };
        let payload = Bytes::from(vec![b'x'; 300]);
        let publish = |properties: &[u8]| open(properties).publish_surely("t", &payload, true, at(0)).unwrap();
        assert_eq!(publish(&[0x24, 0]), Err(Unsendable::AtMostOnce));
        assert_eq!(publish(&[0x25, 0]), Err(Unsendable::KeepsNone));
        assert_eq!(publish(&[0x27, 0, 0, 1, 0]), Err(Unsendable::TooLarge));
        assert_eq!(publish(&[]), Ok(1));
        let mut narrow = open(&[0x21, 0, 1]);
        assert!(narrow.has_room());
        narrow.publish_surely("t", &payload, false, at(0)).unwrap().unwrap();
        assert!(!narrow.has_room());
    }

    #[test]
    fn a_message_that_is_too_large_is_passed_over() {
        for piece in [1, 7, 4000] {
            let mut session = open();
            let large = [&[0x30, 0xd0, 0x0f][..], &[0, 1, b'a'], &[b'x'; 1997]].concat();
            let small = [0x30, 4, 0, 1, b'b', b'1'];
            let mut events = Vec::new();
            for bytes in [&large[..], &small].concat().chunks(piece) {
                events.extend(session.handle_bytes(bytes, at(1)).unwrap());
            }
            let message = Event::Message { topic: "b".into(), payload: Bytes::from_static(b"1"), retained: false };
            assert_eq!(events, [Event::TooLarge(2000), message], "in pieces of {piece}");
        }
    }

    #[test]
    fn a_broker_that_breaks_the_protocol_is_left() {
        assert_eq!(session().handle_bytes(&[0x30, 3, 0, 1, b'a'], at(0)), Err(SessionError::OutOfOrder));
        assert!(matches!(open().handle_bytes(&[0xff, 0xff, 0xff, 0xff, 0xff], at(0)), Err(SessionError::Wire(_))));
        let refused = session().handle_bytes(&[0x20, 2, 0, 5], at(0)).unwrap_err();
        assert_eq!(refused.to_string(), "the broker refuses: not authorised");
    }
}
