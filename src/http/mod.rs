//! The HTTP doors: pages, API, playlists, health and metrics, over HTTP/1.1 and, with TLS, HTTP/2.
//!
//! A request goes through [`server`] (sockets, limits, drain), [`front`] (who asks, CORS, headers, the count) and
//! [`router`] to a handler; a handler gets at a path only through [`grant`]. Errors become statuses in [`problem`] and
//! nowhere else. The room owns no media and no state of paths: rooms below give bytes and errors.

mod accounts;
mod api;
pub mod assets;
mod body;
mod caller;
mod challenges;
mod cors;
mod events;
mod forwarded;
mod front;
mod grant;
mod graphql;
mod health;
mod hls;
mod hls_viewers;
mod link;
mod metrics;
mod outside;
mod pace;
mod pages;
mod path_desk;
mod problem;
mod range;
mod refusals;
mod router;
mod server;
mod shield;
mod socket;
mod target;
mod upgrade;
mod vigil;
mod whep;
mod ws;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::{net::IpAddr, sync::Arc, time::Duration};

pub use self::{
    accounts::{Account, Accounts, NewAccount},
    api::info::{OpenDoor, ServerInfo, Warning},
    caller::session_cookie,
    challenges::serve_challenges,
    events::EventDoorOptions,
    graphql::{GraphQlOptions, admit as admit_graphql},
    pace::RequestLimits,
    path_desk::{PathDesk, PathEntry},
    server::{HttpServer, serve},
    shield::HstsPolicy,
};
use crate::{
    auth::Gate,
    base::Clock,
    config::{AllowedOrigins, Networks},
    events::{Events, StatisticsReader, alerts::Alerts, ws::WebSockets},
    hls::Hls,
    hub::Hub,
    notify::{Notifier, push::Push},
    sensors::Sensors,
    stats::{EventDoors, Places, ProcessFigures, Sessions},
    webrtc::WebRtc,
};

/// The rooms behind the doors.
#[derive(Clone, Debug)]
pub struct Rooms {
    /// The paths.
    pub hub: Hub,
    /// Whoever keeps what is written of them.
    pub paths: Arc<dyn PathDesk>,
    /// HLS, unless it is switched off.
    pub hls: Option<Hls>,
    /// WebRTC, unless it is switched off.
    pub webrtc: Option<WebRtc>,
    /// What happened, and how things stand.
    pub events: Events,
    /// Events over WebSocket, unless that is switched off.
    pub websockets: Option<WebSockets>,
    /// What the doors of events count.
    pub event_doors: Arc<EventDoors>,
    /// The connections of each address, by whichever listener.
    pub connections: Arc<Places<IpAddr>>,
    /// How the server does.
    pub statistics: StatisticsReader,
    /// What sensors show.
    pub sensors: Sensors,
    /// Rules and alarms.
    pub alerts: Alerts,
    /// Alerts' ways out.
    pub notifier: Notifier,
    /// Where browsers subscribe to notifications, if that is configured.
    pub push: Option<Arc<Push>>,
    /// Who may do what.
    pub gate: Gate,
    /// Whoever keeps the users; nobody while auth is off.
    pub accounts: Option<Arc<dyn Accounts>>,
    /// Who watches what.
    pub sessions: Sessions,
    /// What the server says of itself.
    pub info: ServerInfo,
    /// Samples what the process takes of the machine, where that can be known.
    pub process: fn() -> Option<ProcessFigures>,
    /// The clocks.
    pub clock: Clock,
}

/// How the listener treats its clients.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// Pages of other sites that are let in.
    pub origins: AllowedOrigins,
    /// Proxies that are believed when they say for whom they speak.
    pub proxies: Networks,
    /// Connections at once; further ones wait to be accepted.
    pub max_connections: usize,
    /// How long the head of a request may take, from its first byte or from the beginning of the connection.
    pub header_timeout: Duration,
    /// The largest head of a request, in bytes; at least 8 KiB are taken.
    pub max_header: usize,
    /// The largest body of a request, in bytes.
    pub max_body: u64,
    /// How long a connection may stay open without a request.
    pub idle_timeout: Duration,
    /// A client that takes no byte of what is there for it for this long is gone.
    pub write_timeout: Duration,
    /// The doors of events.
    pub events: EventDoorOptions,
    /// The door of GraphQL.
    pub graphql: GraphQlOptions,
    /// How many requests a client may send.
    pub requests: RequestLimits,
    /// Browsers speak TLS to this server: their cookie never comes without.
    pub secure: bool,
    /// Whether they are told to come back over TLS alone.
    pub hsts: HstsPolicy,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            origins: AllowedOrigins::None,
            proxies: Networks::default(),
            max_connections: 10_000,
            header_timeout: Duration::from_secs(10),
            max_header: 32 * 1024,
            max_body: 1024 * 1024,
            idle_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(10),
            events: EventDoorOptions::default(),
            graphql: GraphQlOptions::default(),
            requests: RequestLimits::default(),
            secure: false,
            hsts: HstsPolicy::Never,
        }
    }
}
