//! The section `webrtc`: the listener for WebRTC viewers (WHEP) and what they are told of the network.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BitRate, ByteSize, HumanDuration, IceServerConfig, ListenAddresses, MediaThreads};

/// The WebRTC server. Signalling (WHEP) runs over the HTTP listener, media over this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WebRtcConfig {
    /// Where media leave from, over UDP and, with `tcp`, TCP: an IP address with a port, or a list of them; `off` for no
    /// WebRTC.
    pub address: ListenAddresses,
    /// Whether viewers whose UDP is blocked may come over TCP, on the same port.
    pub tcp: bool,
    /// The addresses this server is reached at from outside, when a router or a container network stands before it.
    pub public_ips: Vec<IpAddr>,
    /// STUN and TURN servers that viewers are told of.
    pub ice_servers: Vec<IceServerConfig>,
    /// Threads that send to viewers, or `auto`: one per two cores, at least one.
    pub threads: MediaThreads,
    /// The most a new viewer gets at once to begin with; beyond it a still picture comes first.
    pub start_burst: ByteSize,
    /// How fast that burst is sent to one viewer.
    pub start_pace: BitRate,
    /// A viewer that falls further behind is moved to a newer picture; it is never disconnected for being slow.
    pub max_lag: HumanDuration,
}

impl Default for WebRtcConfig {
    fn default() -> Self {
        Self {
            address: ListenAddresses::loopback(8189),
            tcp: true,
            public_ips: Vec::new(),
            ice_servers: Vec::new(),
            threads: MediaThreads::AUTO,
            start_burst: ByteSize::from_bytes(4_000_000),
            start_pace: BitRate::from_mbit(60),
            max_lag: HumanDuration::from_secs(2),
        }
    }
}
