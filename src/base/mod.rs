//! The ground floor: errors, time, identifiers, severities, secrets, private files, back-off and owned tasks. It knows no
//! other room.

pub mod backoff;
pub mod clock;
pub mod complaints;
pub mod error;
pub mod id;
pub mod name;
pub mod private_file;
pub mod secret;
pub mod sensor;
pub mod severity;
pub mod tasks;

pub use clock::{Clock, Moment, Monotonic, WallTime};
pub use error::{Error, Kind, Result};
pub use name::{PathName, Rendition};
pub use secret::Secret;
pub use sensor::{SensorId, SensorIdError};
pub use severity::Severity;
pub use tasks::Tasks;
