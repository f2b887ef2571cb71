//! MQTT packets, 3.1.1 and 5, as the session knows them. The only file that names `rumqttc`, of which this is the codec:
//! its client brings `ring` with its TLS, and a queue of its own.

use bytes::{Bytes, BytesMut};
use rumqttc::{
    mqttbytes::{self, v4},
    v5::mqttbytes::{self as five, v5},
};

use crate::{base::Secret, config::MqttVersion};

/// What begins a connection.
#[derive(Clone, Debug)]
pub struct Hello {
    /// Our name at the broker.
    pub client_id: String,
    /// User and password.
    pub login: Option<(String, Secret)>,
    /// Seconds of silence after which either side gives up, and half more.
    pub keep_alive: u16,
    /// What the broker says in our place when we are gone: topic and payload, kept.
    pub will: Option<(String, Bytes)>,
    /// The largest packet we take.
    pub max_packet: u32,
}

/// A packet to the broker.
#[derive(Clone, Debug)]
pub enum Outgoing<'a> {
    /// CONNECT.
    Connect(&'a Hello),
    /// SUBSCRIBE with these filters, at most once: within a connection TCP loses nothing, and no broker waits for us.
    Subscribe(u16, &'a [String]),
    /// UNSUBSCRIBE.
    Unsubscribe(u16, &'a [String]),
    /// PUBLISH, kept by the broker or not.
    Publish {
        /// At least once, under this number; at most once without one.
        id: Option<u16>,
        /// The topic.
        topic: &'a str,
        /// The message.
        payload: &'a Bytes,
        /// The broker keeps it for those who subscribe later.
        retain: bool,
    },
    /// PUBACK.
    Ack(u16),
    /// PINGREQ.
    Ping,
    /// DISCONNECT.
    Disconnect,
}

/// What a broker wants of those it takes (MQTT 5 §3.2.2.3). One of 3.1.1 says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// The keep-alive instead of ours.
    pub keep_alive: Option<u16>,
    /// Messages it has not acknowledged, at most.
    pub in_flight: Option<u16>,
    /// The largest packet it takes.
    pub max_packet: Option<u32>,
    /// It acknowledges no message.
    pub at_most_once: bool,
    /// It keeps no message.
    pub keeps_none: bool,
}

/// A packet from the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// CONNACK: on which terms, or why not.
    Connected(Result<Terms, String>),
    /// PUBLISH.
    Message {
        /// The topic.
        topic: String,
        /// The message.
        payload: Bytes,
        /// The broker had kept it.
        retained: bool,
        /// It wants this number acknowledged.
        ack: Option<u16>,
    },
    /// SUBACK: which of the filters were refused.
    Subscribed(u16, Vec<usize>),
    /// PUBACK: the broker has the message of this number, or why it does not take it.
    Taken(u16, Result<(), String>),
    /// PINGRESP.
    Pong,
    /// DISCONNECT, with its reason (MQTT 5).
    Closed(String),
    /// What needs no answer.
    Other,
}

/// What came is no MQTT, or too large.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Larger than we said we take.
    #[error("a packet of {0} bytes, which is more than `max_packet_size`")]
    TooLarge(usize),
    /// Broken.
    #[error("broken packet: {0}")]
    Broken(String),
}

/// A version of the protocol.
pub trait Wire: Send + std::fmt::Debug {
    /// Takes the next packet off the front; nothing if it is not there yet.
    ///
    /// # Errors
    /// [`WireError`]: the connection is of no use any more.
    fn read(&self, bytes: &mut BytesMut, max: u32) -> Result<Option<Incoming>, WireError>;

    /// Writes a packet.
    ///
    /// # Errors
    /// [`WireError::Broken`]: it cannot be said in MQTT.
    fn write(&self, packet: &Outgoing<'_>, bytes: &mut BytesMut) -> Result<(), WireError>;
}

/// The wire of a version.
pub fn wire(version: MqttVersion) -> Box<dyn Wire> {
    match version {
        MqttVersion::V311 => Box::new(V311),
        MqttVersion::V5 => Box::new(V5),
    }
}

/// MQTT 3.1.1.
#[derive(Debug)]
struct V311;

impl Wire for V311 {
    fn read(&self, bytes: &mut BytesMut, max: u32) -> Result<Option<Incoming>, WireError> {
        let packet = match v4::Packet::read(bytes, max as usize) {
            Ok(packet) => packet,
            Err(mqttbytes::Error::InsufficientBytes(_)) => return Ok(None),
            Err(mqttbytes::Error::PayloadSizeLimitExceeded(size)) => return Err(WireError::TooLarge(size)),
            Err(error) => return Err(WireError::Broken(error.to_string())),
        };
        Ok(Some(match packet {
            v4::Packet::ConnAck(ack) => {
                let refused = match ack.code {
                    v4::ConnectReturnCode::Success => Ok(Terms::default()),
                    // §3.2.2.3, in its words.
                    v4::ConnectReturnCode::RefusedProtocolVersion => Err("it does not speak MQTT 3.1.1"),
                    v4::ConnectReturnCode::BadClientId => Err("it does not like the client id"),
                    v4::ConnectReturnCode::ServiceUnavailable => Err("it is not available"),
                    v4::ConnectReturnCode::BadUserNamePassword => Err("wrong user or password"),
                    v4::ConnectReturnCode::NotAuthorized => Err("not authorised"),
                };
                Incoming::Connected(refused.map_err(str::to_owned))
            }
            v4::Packet::Publish(publish) => Incoming::Message {
                topic: publish.topic,
                payload: publish.payload,
                retained: publish.retain,
                ack: (publish.qos != mqttbytes::QoS::AtMostOnce).then_some(publish.pkid),
            },
            v4::Packet::SubAck(ack) => {
                let refused = |code: &v4::SubscribeReasonCode| matches!(code, v4::SubscribeReasonCode::Failure);
                Incoming::Subscribed(ack.pkid, places(&ack.return_codes, refused))
            }
            v4::Packet::PubAck(ack) => Incoming::Taken(ack.pkid, Ok(())),
            v4::Packet::PingResp => Incoming::Pong,
            _ => Incoming::Other,
        }))
    }

    fn write(&self, packet: &Outgoing<'_>, bytes: &mut BytesMut) -> Result<(), WireError> {
        let qos = mqttbytes::QoS::AtMostOnce;
        let packet = match packet {
            Outgoing::Connect(hello) => {
                let login =
                    hello.login.as_ref().map(|(user, password)| v4::Login::new(user.as_str(), password.reveal()));
                v4::Packet::Connect(v4::Connect {
                    protocol: mqttbytes::Protocol::V4,
                    keep_alive: hello.keep_alive,
                    client_id: hello.client_id.clone(),
                    clean_session: true,
                    last_will: hello.will.as_ref().map(|(topic, message)| v4::LastWill {
                        topic: topic.clone(),
                        message: message.clone(),
                        qos,
                        retain: true,
                    }),
                    login,
                })
            }
            Outgoing::Subscribe(id, filters) => {
                let filter = |path: &String| v4::SubscribeFilter::new(path.clone(), qos);
                v4::Packet::Subscribe(v4::Subscribe { pkid: *id, filters: filters.iter().map(filter).collect() })
            }
            Outgoing::Unsubscribe(id, filters) => {
                v4::Packet::Unsubscribe(v4::Unsubscribe { pkid: *id, topics: filters.to_vec() })
            }
            Outgoing::Publish { id, topic, payload, retain } => v4::Packet::Publish(v4::Publish {
                dup: false,
                qos: if id.is_some() { mqttbytes::QoS::AtLeastOnce } else { qos },
                retain: *retain,
                topic: (*topic).to_owned(),
                pkid: id.unwrap_or_default(),
                payload: (*payload).clone(),
            }),
            Outgoing::Ack(id) => v4::Packet::PubAck(v4::PubAck::new(*id)),
            Outgoing::Ping => v4::Packet::PingReq,
            Outgoing::Disconnect => v4::Packet::Disconnect,
        };
        packet.write(bytes, usize::MAX).map(drop).map_err(|error| WireError::Broken(error.to_string()))
    }
}

/// MQTT 5.
#[derive(Debug)]
struct V5;

impl Wire for V5 {
    fn read(&self, bytes: &mut BytesMut, max: u32) -> Result<Option<Incoming>, WireError> {
        let packet = match v5::Packet::read(bytes, Some(max)) {
            Ok(packet) => packet,
            Err(five::Error::InsufficientBytes(_)) => return Ok(None),
            Err(five::Error::PayloadSizeLimitExceeded { pkt_size, .. }) => return Err(WireError::TooLarge(pkt_size)),
            Err(error) => return Err(WireError::Broken(error.to_string())),
        };
        Ok(Some(match packet {
            v5::Packet::ConnAck(ack) => {
                let properties = ack.properties.as_ref();
                let said = properties.and_then(|properties| properties.reason_string.as_deref());
                let refused = match ack.code {
                    v5::ConnectReturnCode::Success => Ok(properties.map_or_else(Terms::default, |properties| Terms {
                        keep_alive: properties.server_keep_alive,
                        in_flight: properties.receive_max,
                        max_packet: properties.max_packet_size,
                        at_most_once: properties.max_qos == Some(0),
                        keeps_none: properties.retain_available == Some(0),
                    })),
                    code => Err(reason(&format!("{code:?}"), said)),
                };
                Incoming::Connected(refused)
            }
            v5::Packet::Publish(publish) => Incoming::Message {
                topic: String::from_utf8(publish.topic.to_vec())
                    .map_err(|_| WireError::Broken("the topic is not UTF-8".into()))?,
                payload: publish.payload,
                retained: publish.retain,
                ack: (publish.qos != five::QoS::AtMostOnce).then_some(publish.pkid),
            },
            v5::Packet::SubAck(ack) => {
                let refused = |code: &v5::SubscribeReasonCode| !matches!(code, v5::SubscribeReasonCode::Success(_));
                Incoming::Subscribed(ack.pkid, places(&ack.return_codes, refused))
            }
            v5::Packet::PubAck(ack) => {
                let said = ack.properties.as_ref().and_then(|properties| properties.reason_string.as_deref());
                // §3.4.2.1: that nobody listens is no failure.
                let taken = match ack.reason {
                    v5::PubAckReason::Success | v5::PubAckReason::NoMatchingSubscribers => Ok(()),
                    code => Err(reason(&format!("{code:?}"), said)),
                };
                Incoming::Taken(ack.pkid, taken)
            }
            v5::Packet::PingResp(_) => Incoming::Pong,
            v5::Packet::Disconnect(end) => {
                let said = end.properties.as_ref().and_then(|properties| properties.reason_string.as_deref());
                Incoming::Closed(reason(&format!("{:?}", end.reason_code), said))
            }
            _ => Incoming::Other,
        }))
    }

    fn write(&self, packet: &Outgoing<'_>, bytes: &mut BytesMut) -> Result<(), WireError> {
        let qos = five::QoS::AtMostOnce;
        let packet = match packet {
            Outgoing::Connect(hello) => {
                let mut properties = v5::ConnectProperties::new();
                properties.max_packet_size = Some(hello.max_packet);
                // No alias is taken (§3.1.2.11.5): every message names its topic.
                let connect = v5::Connect {
                    keep_alive: hello.keep_alive,
                    client_id: hello.client_id.clone(),
                    clean_start: true,
                    properties: Some(properties),
                };
                let will = hello.will.as_ref().map(|(topic, message)| v5::LastWill {
                    topic: Bytes::from(topic.clone()),
                    message: message.clone(),
                    qos,
                    retain: true,
                    properties: None,
                });
                let login =
                    hello.login.as_ref().map(|(user, password)| v5::Login::new(user.as_str(), password.reveal()));
                v5::Packet::Connect(connect, will, login)
            }
            Outgoing::Subscribe(id, filters) => {
                let filter = |path: &String| v5::Filter::new(path.as_str(), qos);
                let filters = filters.iter().map(filter).collect();
                v5::Packet::Subscribe(v5::Subscribe { pkid: *id, filters, properties: None })
            }
            Outgoing::Unsubscribe(id, filters) => {
                v5::Packet::Unsubscribe(v5::Unsubscribe { pkid: *id, filters: filters.to_vec(), properties: None })
            }
            Outgoing::Publish { id, topic, payload, retain } => v5::Packet::Publish(v5::Publish {
                dup: false,
                qos: if id.is_some() { five::QoS::AtLeastOnce } else { qos },
                retain: *retain,
                topic: Bytes::copy_from_slice(topic.as_bytes()),
                pkid: id.unwrap_or_default(),
                payload: (*payload).clone(),
                properties: None,
            }),
            Outgoing::Ack(id) => v5::Packet::PubAck(v5::PubAck::new(*id, None)),
            Outgoing::Ping => v5::Packet::PingReq(v5::PingReq),
            Outgoing::Disconnect => {
                v5::Packet::Disconnect(v5::Disconnect::new(v5::DisconnectReasonCode::NormalDisconnection))
            }
        };
        packet.write(bytes, None).map(drop).map_err(|error| WireError::Broken(error.to_string()))
    }
}

fn places<T>(codes: &[T], refused: impl Fn(&T) -> bool) -> Vec<usize> {
    codes.iter().enumerate().filter(|(_, code)| refused(code)).map(|(place, _)| place).collect()
}

/// `BadUserNamePassword` as words, and what the broker says beside it.
fn reason(code: &str, said: Option<&str>) -> String {
    let mut words = String::new();
    for c in code.chars() {
        if c.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(c.to_ascii_lowercase());
    }
    match said {
        Some(said) => format!("{words}: {}", said.chars().filter(|c| !c.is_control()).take(200).collect::<String>()),
        None => words,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Hello {
        Hello {
            client_id: "campanile-1".into(),
            login: Some(("me".into(), Secret::new("hunter2"))),
            keep_alive: 30,
            will: Some(("campanile/status".into(), Bytes::from_static(b"offline"))),
            max_packet: 1024,
        }
    }

    /// What a broker of the same codec reads.
    fn both(packet: &Outgoing<'_>) -> (v4::Packet, v5::Packet) {
        let (mut four, mut five) = (BytesMut::new(), BytesMut::new());
        V311.write(packet, &mut four).unwrap();
        V5.write(packet, &mut five).unwrap();
        let read = (v4::Packet::read(&mut four, 1 << 20).unwrap(), v5::Packet::read(&mut five, None).unwrap());
        assert!(four.is_empty() && five.is_empty());
        read
    }

    #[test]
    fn a_connection_begins_clean_with_login_and_will() {
        let (four, five) = both(&Outgoing::Connect(&hello()));
        let v4::Packet::Connect(four) = four else { panic!("{four:?}") };
        assert!(four.clean_session && four.keep_alive == 30);
        assert_eq!(four.login.unwrap().password, "hunter2");
        assert!(four.last_will.is_some_and(|will| will.retain && will.topic == "campanile/status"));
        let v5::Packet::Connect(five, will, login) = five else { panic!("{five:?}") };
        assert_eq!(five.properties.unwrap().max_packet_size, Some(1024));
        assert!(five.clean_start && will.unwrap().message == "offline" && login.unwrap().username == "me");
    }

    #[test]
    fn messages_come_through_with_what_is_to_be_acknowledged() {
        let mut bytes = BytesMut::new();
        let publish = v4::Publish {
            dup: false,
            qos: mqttbytes::QoS::AtLeastOnce,
            retain: true,
            topic: "a/b".into(),
            pkid: 7,
            payload: Bytes::from_static(b"21.5"),
        };
        v4::Packet::Publish(publish).write(&mut bytes, 1 << 20).unwrap();
        let whole = bytes.clone();
        let mut part = BytesMut::from(&whole[..whole.len() - 1]);
        assert_eq!(V311.read(&mut part, 1024), Ok(None));
        let message = Incoming::Message {
            topic: "a/b".into(),
            payload: Bytes::from_static(b"21.5"),
            retained: true,
            ack: Some(7),
        };
        assert_eq!(V311.read(&mut bytes, 1024), Ok(Some(message)));
        let mut large = BytesMut::from(&whole[..]);
        assert_eq!(V311.read(&mut large, 8), Err(WireError::TooLarge(whole.len() - 2)));
    }

    #[test]
    fn a_message_that_must_arrive_has_a_number_and_comes_back_with_it() {
        let payload = Bytes::from_static(b"{}");
        let (four, five) = both(&Outgoing::Publish { id: Some(7), topic: "a", payload: &payload, retain: true });
        let v4::Packet::Publish(four) = four else { panic!("{four:?}") };
        assert_eq!((four.qos, four.pkid, four.dup, four.retain), (mqttbytes::QoS::AtLeastOnce, 7, false, true));
        let v5::Packet::Publish(five) = five else { panic!("{five:?}") };
        assert_eq!((five.qos, five.pkid, five.retain), (five::QoS::AtLeastOnce, 7, true));
        let read = |wire: &dyn Wire, bytes: &[u8]| wire.read(&mut BytesMut::from(bytes), 64).unwrap().unwrap();
        assert_eq!(read(&V311, &[0x40, 2, 0, 7]), Incoming::Taken(7, Ok(())));
        assert_eq!(read(&V5, &[0x40, 2, 0, 7]), Incoming::Taken(7, Ok(())));
        assert_eq!(read(&V5, &[0x40, 3, 0, 7, 0x10]), Incoming::Taken(7, Ok(())), "nobody listens");
        assert_eq!(read(&V5, &[0x40, 3, 0, 7, 0x87]), Incoming::Taken(7, Err("not authorized".into())));
    }

    #[test]
    fn a_broker_says_its_terms() {
        // CONNACK with receive maximum 3, maximum QoS 0, no retained messages, packets of 256 bytes, keep-alive 9.
        let said = [0x20, 18, 0, 0, 15, 0x21, 0, 3, 0x24, 0, 0x25, 0, 0x27, 0, 0, 1, 0, 0x13, 0, 9];
        let terms = Terms {
            keep_alive: Some(9),
            in_flight: Some(3),
            max_packet: Some(256),
            at_most_once: true,
            keeps_none: true,
        };
        assert_eq!(V5.read(&mut BytesMut::from(&said[..]), 64), Ok(Some(Incoming::Connected(Ok(terms)))));
    }

    #[test]
    fn a_refusal_says_why() {
        let mut four = BytesMut::from(&[0x20, 2, 0, 4][..]);
        assert_eq!(V311.read(&mut four, 64), Ok(Some(Incoming::Connected(Err("wrong user or password".into())))));
        // CONNACK 0x87 with the reason string `no`.
        let mut five = BytesMut::from(&[0x20, 8, 0, 0x87, 5, 0x1f, 0, 2, b'n', b'o'][..]);
        assert_eq!(V5.read(&mut five, 64), Ok(Some(Incoming::Connected(Err("not authorized: no".into())))));
        let mut subscribed = BytesMut::from(&[0x90, 4, 0, 9, 1, 0x80][..]);
        assert_eq!(V311.read(&mut subscribed, 64), Ok(Some(Incoming::Subscribed(9, vec![1]))));
        assert!(V5.read(&mut BytesMut::from(&[0xf0, 0, 0][..]), 64).is_err());
    }
}
