//! The envelope that every event has, and the identities in it. The shape on the wire is that of `docs/events.md`:
//!
//! ```json
//! {"id":"5d2b1c1e-42","type":"alert","time":"2026-11-20T10:15:00.123Z","path":"front-door","sensor":null,
//!  "severity":"warning","data":{}}
//! ```

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize, Serializer};

use crate::base::{PathName, WallTime};
pub use crate::base::{SensorId, SensorIdError, Severity};

/// Which log an offset belongs to: drawn when a store is made. A client that comes with another epoch has a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(pub u32);

/// The place right after a fact, and so the fact's id: `<epoch>-<offset>`, eight hexadecimal digits and a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// Which log.
    pub epoch: Epoch,
    /// The fact's number in it; 0 is before the first one.
    pub offset: u64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{}", self.epoch.0, self.offset)
    }
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (epoch, offset) = text.split_once('-').ok_or(())?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit());
        if epoch.len() != 8 || !digits(epoch) || !offset.bytes().all(|b| b.is_ascii_digit()) {
            return Err(());
        }
        let epoch = u32::from_str_radix(epoch, 16).map_err(|_| ())?;
        Ok(Self { epoch: Epoch(epoch), offset: offset.parse().map_err(|_| ())? })
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What an event is. The first four are facts, the next three values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventType {
    /// An alert was raised, updated, acknowledged or cleared.
    Alert,
    /// Something happened at a camera, or was said to have: motion, a doorbell, offline.
    CameraEvent,
    /// Who did what to this server. For administrators.
    Audit,
    /// Somebody may be trying to get in. For administrators.
    Security,
    /// Figures of the server and its paths.
    StatisticsUpdate,
    /// What a sensor shows.
    SensorReading,
    /// How the server is.
    SystemStatus,
}

impl EventType {
    /// Every one, in the order of [`Ord`].
    pub const ALL: [Self; 7] = [
        Self::Alert,
        Self::CameraEvent,
        Self::Audit,
        Self::Security,
        Self::StatisticsUpdate,
        Self::SensorReading,
        Self::SystemStatus,
    ];

    /// The word on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::CameraEvent => "camera_event",
            Self::Audit => "audit",
            Self::Security => "security",
            Self::StatisticsUpdate => "statistics_update",
            Self::SensorReading => "sensor_reading",
            Self::SystemStatus => "system_status",
        }
    }

    /// The type of a word, whatever its case.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(word))
    }

    /// It is numbered, durable and resumable; the others are values.
    pub const fn is_fact(self) -> bool {
        matches!(self, Self::Alert | Self::CameraEvent | Self::Audit | Self::Security)
    }
}

/// A fact or a value before it has its place in the log or on the board. Its data are serialised once, here.
#[derive(Clone, Debug)]
pub struct Draft {
    /// What it is.
    pub kind: EventType,
    /// The finer word: `raised` of an alert, `motion` of a camera event; a filter matches it too.
    pub name: Arc<str>,
    /// When it happened.
    pub time: WallTime,
    /// The camera it belongs to. A label: there need be no such path.
    pub path: Option<PathName>,
    /// The sensor it belongs to.
    pub sensor: Option<SensorId>,
    /// How bad it is, where that means something.
    pub severity: Option<Severity>,
    /// The `data` of the envelope, as JSON.
    pub data: Box<serde_json::value::RawValue>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_nothing_else_does() {
        let cursor = Cursor { epoch: Epoch(0x5d2b), offset: 42 };
        assert_eq!(cursor.to_string(), "00005d2b-42");
        assert_eq!("00005d2b-42".parse(), Ok(cursor));
        for bad in ["", "42", "5d2b-42", "00005d2b-", "00005d2b--1", "00005d2b-+1", "+0005d2b-1", "00005d2b-1-2"] {
            assert_eq!(bad.parse::<Cursor>(), Err(()), "{bad}");
        }
        assert_eq!("00005d2b-99999999999999999999".parse::<Cursor>(), Err(()));
    }

    #[test]
    fn words_match_whatever_their_case() {
        assert_eq!(EventType::parse("CAMERA_EVENT"), Some(EventType::CameraEvent));
        assert!(EventType::ALL.iter().all(|kind| EventType::parse(kind.name()) == Some(*kind)));
    }
}
