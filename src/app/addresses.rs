//! Where the server listens, written down for health checks, scripts and tests: `state_dir/addresses.json`.

use std::{
    collections::BTreeMap,
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use crate::base::{Error, Kind, Result};

/// The file's name within the state directory.
pub const FILE: &str = "addresses.json";

/// Bound addresses by listener: `http`, `https`, `rtsp`, `rtsps`, `rtp`, `webrtc`, `webrtc_tcp`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Addresses(pub BTreeMap<String, Vec<SocketAddr>>);

impl Addresses {
    /// Notes that `listener` is bound to these addresses.
    pub fn insert(&mut self, listener: &str, addresses: impl IntoIterator<Item = SocketAddr>) {
        let addresses: Vec<_> = addresses.into_iter().collect();
        if !addresses.is_empty() {
            self.0.insert(listener.to_owned(), addresses);
        }
    }

    /// The addresses of a listener; none if it is not open.
    pub fn of(&self, listener: &str) -> &[SocketAddr] {
        self.0.get(listener).map_or(&[], Vec::as_slice)
    }

    /// Whether anybody but this machine can reach a listener.
    pub fn are_open(&self) -> bool {
        self.0.values().flatten().any(|address| !address.ip().is_loopback())
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// The directory cannot be made or written.
    pub fn write(&self, state_dir: &Path) -> Result<()> {
        let write = || -> io::Result<()> {
            fs::create_dir_all(state_dir)?;
            let draft = state_dir.join(format!(".{FILE}.new"));
            fs::write(&draft, serde_json::to_vec_pretty(&self)?)?;
            fs::rename(&draft, state_dir.join(FILE))
        };
        write().map_err(|error| {
            Error::new(Kind::FailedPrecondition, format!("state directory {}: cannot be written", state_dir.display()))
                .with_hint("state_dir in the configuration names it; the server needs to write there")
                .caused_by(error)
        })
    }

    /// Reads what a running server wrote.
    ///
    /// # Errors
    /// There is no such file, or it is not one of ours.
    pub fn read(state_dir: &Path) -> Result<Self> {
        let path: PathBuf = state_dir.join(FILE);
        let unreadable = |error: io::Error| {
            Error::new(Kind::NotFound, format!("{}: cannot be read", path.display())).caused_by(error)
        };
        let bytes = fs::read(&path).map_err(unreadable)?;
        serde_json::from_slice(&bytes).map_err(|error| unreadable(error.into()))
    }
}

/// The address a person on this machine would type: an unspecified address is reached by loopback.
pub fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => ([127, 0, 0, 1], v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => ([0, 0, 0, 0, 0, 0, 0, 1], v6.port()).into(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let mut addresses = Addresses::default();
        addresses.insert("http", ["127.0.0.1:8080".parse().unwrap(), "[::1]:8080".parse().unwrap()]);
        addresses.insert("rtsps", []);
        addresses.write(&directory.path().join("deep")).unwrap();
        let read = Addresses::read(&directory.path().join("deep")).unwrap();
        assert_eq!((read.of("http").len(), read.of("rtsps").len()), (2, 0));
        assert!(!read.are_open());
        assert!(Addresses::read(directory.path()).is_err());
    }

    #[test]
    fn an_unspecified_address_is_open_and_reached_by_loopback() {
        let mut addresses = Addresses::default();
        addresses.insert("http", ["0.0.0.0:1".parse().unwrap()]);
        assert!(addresses.are_open());
        assert_eq!(reachable("0.0.0.0:1".parse().unwrap()).to_string(), "127.0.0.1:1");
        assert_eq!(reachable("[::]:1".parse().unwrap()).to_string(), "[::1]:1");
    }
}
