//! The tracks of one session as a machine: packets and reports in; what the hub is told out. Sans-IO.
//!
//! It begins with the first random access point of the leading picture track, when what the pictures carry is known and
//! the announcement no longer matters. Tracks not known by then are waited for a moment, then left out, and the list
//! begins anew when they show themselves. A picture track that was announced and stays silent does not hold up the rest.

use std::{collections::VecDeque, time::Duration};

use super::{
    alignment::Alignment,
    form::Offer,
    track::{Incoming, Outcome, Track, TrackUnit},
};
use crate::{
    base::{Monotonic, WallTime},
    media::{AccessUnit, CodecParameters, MediaKind, MediaTime, TrackDescription, TrackId},
};

/// How long the rest waits for a track that does not show what it is.
const UNKNOWN_WAIT: Duration = Duration::from_millis(500);

/// How long the rest waits for a picture track that sends nothing.
const SILENT_WAIT: Duration = Duration::from_secs(5);

/// A track that said goodbye has ended when nothing followed for so long: the word may overtake the last packets, and
/// some cameras say it whenever they change their SSRC (RFC 3550 §6.6, §8.2).
const GOODBYE_WAIT: Duration = Duration::from_secs(1);

/// What is held while waiting.
const HELD_MAX: usize = 512;
const HELD_BYTES_MAX: usize = 8 << 20;

/// What the hub is to be told, in order.
#[derive(Clone, Debug)]
pub(super) enum Effect {
    Begin(Vec<TrackDescription>),
    Parameters(TrackId, CodecParameters),
    Unit(AccessUnit),
    Jump,
}

#[derive(Debug)]
struct Lane {
    track: Track,
    /// Its place in the list the hub was told.
    place: Option<TrackId>,
    newest_packet: Option<Monotonic>,
    goodbye: Option<Monotonic>,
}

#[derive(Debug)]
enum State {
    /// Waiting for what there is to begin with; since when the leading track could.
    Gathering {
        ready_since: Option<Monotonic>,
    },
    Running,
}

/// The receiving end of one session.
#[derive(Debug)]
pub(super) struct Intake {
    lanes: Vec<Lane>,
    alignment: Alignment,
    state: State,
    began_at: Monotonic,
    held: VecDeque<(usize, TrackUnit)>,
    held_bytes: usize,
    effects: VecDeque<Effect>,
    outcomes: Vec<Outcome>,
}

impl Intake {
    pub(super) fn new(offers: &[Offer], now: Monotonic) -> Self {
        let lane = |offer| Lane { track: Track::new(offer), place: None, newest_packet: None, goodbye: None };
        Self {
            lanes: offers.iter().map(lane).collect(),
            alignment: Alignment::new(offers.len()),
            state: State::Gathering { ready_since: None },
            began_at: now,
            held: VecDeque::new(),
            held_bytes: 0,
            effects: VecDeque::new(),
            outcomes: Vec::new(),
        }
    }

    /// Takes the next packet of a track.
    ///
    /// # Errors
    /// The packet is of no use, for the reason given; the next ones are taken as ever.
    pub(super) fn handle_packet(&mut self, track: usize, packet: Incoming) -> Result<(), String> {
        let Some(lane) = self.lanes.get_mut(track) else { return Err("packet of no track".to_owned()) };
        let now = packet.arrived;
        lane.newest_packet = Some(now);
        if lane.goodbye.is_some_and(|said| now.since(said) >= GOODBYE_WAIT / 2) {
            lane.goodbye = None;
        }
        let mut outcomes = std::mem::take(&mut self.outcomes);
        let result = lane.track.handle_packet(packet, &mut outcomes);
        for outcome in outcomes.drain(..) {
            self.handle_outcome(track, outcome, now);
        }
        self.outcomes = outcomes;
        result
    }

    /// A sender report of a track.
    pub(super) fn handle_report(&mut self, track: usize, ntp: u64, timestamp: i64, arrived: WallTime) {
        let Some(lane) = self.lanes.get_mut(track) else { return };
        lane.track.handle_report(ntp, timestamp, arrived);
        if lane.track.kind() != MediaKind::Application {
            let time = MediaTime::from_ticks(timestamp, lane.track.clock_rate());
            self.alignment.handle_report(track, ntp, time);
        }
    }

    /// A track's sender says that it leaves.
    pub(super) fn handle_goodbye(&mut self, track: usize, now: Monotonic) {
        if let Some(lane) = self.lanes.get_mut(track) {
            lane.goodbye = Some(now);
        }
    }

    /// Whether the camera said that it ends the stream, and did: the picture that leads, or everything.
    pub(super) fn has_ended(&self, now: Monotonic) -> bool {
        let ended = |lane: &Lane| {
            let latest = lane.goodbye.map(|said| lane.newest_packet.map_or(said, |newest| newest.max(said)));
            latest.is_some_and(|latest| now.since(latest) >= GOODBYE_WAIT)
        };
        match self.leading(now) {
            Some(leading) => ended(&self.lanes[leading]),
            None => {
                self.lanes.iter().any(ended)
                    && self.lanes.iter().all(|lane| lane.newest_packet.is_none() || ended(lane))
            }
        }
    }

    /// Time passed.
    pub(super) fn handle_timeout(&mut self, now: Monotonic) {
        self.try_begin(now);
    }

    pub(super) fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Whether the hub was told what there is.
    pub(super) const fn has_begun(&self) -> bool {
        matches!(self.state, State::Running)
    }

    /// The place of a track in the list the hub was told.
    pub(super) fn place(&self, track: usize) -> Option<TrackId> {
        self.lanes.get(track)?.place
    }

    /// When each track's newest packet came, sound and pictures only.
    pub(super) fn newest_packets(&self) -> impl Iterator<Item = Option<Monotonic>> {
        let audible = |lane: &&Lane| lane.track.kind() != MediaKind::Application;
        self.lanes.iter().filter(audible).map(|lane| lane.newest_packet)
    }

    /// When the newest packet of the picture track that leads came.
    pub(super) fn newest_of_leading(&self) -> Option<Monotonic> {
        self.leading(self.began_at).and_then(|lane| self.lanes[lane].newest_packet)
    }

    fn handle_outcome(&mut self, track: usize, outcome: Outcome, now: Monotonic) {
        let lane = &self.lanes[track];
        match outcome {
            Outcome::Jump => self.effects.push_back(Effect::Jump),
            Outcome::Coding => self.gather(),
            Outcome::Parameters => {
                if let (Some(place), Some(parameters)) = (lane.place, lane.track.parameters()) {
                    self.effects.push_back(Effect::Parameters(place, parameters.clone()));
                }
            }
            Outcome::Unit(unit) => self.handle_unit(track, unit, now),
        }
    }

    fn handle_unit(&mut self, track: usize, mut unit: TrackUnit, now: Monotonic) {
        // Not the decode time: where it is a guess, it would put sound too early.
        let offset = self.alignment.offset(track, unit.pts, unit.arrived);
        (unit.pts, unit.dts) = (unit.pts + offset, unit.dts + offset);
        let lane = &self.lanes[track];
        match lane.place {
            Some(place) if self.has_begun() => {
                self.effects.push_back(Effect::Unit(unit.at(place)));
                return;
            }
            // A track that was left out shows itself.
            _ if self.has_begun() && unit.random_access && lane.track.parameters().is_some() => self.gather(),
            _ if self.has_begun() => return,
            _ => {}
        }
        let leads = self.leading(now) == Some(track);
        if leads && unit.random_access {
            // What came before cannot be shown.
            self.held.clear();
            self.held_bytes = 0;
        }
        self.held_bytes += unit.payload.len();
        self.held.push_back((track, unit));
        if self.held.len() > HELD_MAX || self.held_bytes > HELD_BYTES_MAX {
            self.held.clear();
            self.held_bytes = 0;
        }
        self.try_begin(now);
    }

    /// The list has to be told anew.
    fn gather(&mut self) {
        self.state = State::Gathering { ready_since: None };
        self.held.clear();
        self.held_bytes = 0;
        self.lanes.iter_mut().for_each(|lane| lane.place = None);
    }

    /// The track whose random access points readers start at, as the hub will choose it; silent ones do not count.
    fn leading(&self, now: Monotonic) -> Option<usize> {
        let waited = now.since(self.began_at) >= SILENT_WAIT;
        let shows = |lane: &Lane| lane.track.kind() == MediaKind::Video && (!waited || lane.newest_packet.is_some());
        let framed = self.lanes.iter().position(|lane| shows(lane) && !lane.track.is_opaque());
        framed.or_else(|| self.lanes.iter().position(shows))
    }

    fn try_begin(&mut self, now: Monotonic) {
        let State::Gathering { ready_since } = &self.state else { return };
        let ready_since = *ready_since;
        let leading = self.leading(now);
        let ready = match leading {
            Some(leading) => {
                let known = self.lanes[leading].track.parameters().is_some();
                known && self.held.iter().any(|(track, unit)| *track == leading && unit.random_access)
            }
            None => self.held.iter().any(|(track, _)| self.lanes[*track].track.parameters().is_some()),
        };
        if !ready {
            return;
        }
        let since = ready_since.unwrap_or(now);
        self.state = State::Gathering { ready_since: Some(since) };
        let unknown = self.lanes.iter().any(|lane| lane.track.parameters().is_none() && lane.newest_packet.is_some());
        if unknown && now.since(since) < UNKNOWN_WAIT {
            return;
        }
        self.begin(leading);
    }

    fn begin(&mut self, leading: Option<usize>) {
        let mut list = Vec::new();
        for (i, lane) in self.lanes.iter_mut().enumerate() {
            // A picture track that is silent would be waited for by every reader.
            let silent = lane.track.kind() == MediaKind::Video && lane.newest_packet.is_none() && leading != Some(i);
            let description = lane.track.description().filter(|_| !silent);
            lane.place = description.as_ref().map(|_| TrackId(list.len() as u8));
            list.extend(description);
        }
        self.effects.push_back(Effect::Begin(list));
        self.state = State::Running;
        self.held_bytes = 0;
        for (track, unit) in std::mem::take(&mut self.held) {
            if let Some(place) = self.lanes[track].place {
                self.effects.push_back(Effect::Unit(unit.at(place)));
            }
        }
    }
}

impl TrackUnit {
    fn at(self, track: TrackId) -> AccessUnit {
        let Self { pts, dts, captured, arrived, random_access, after_loss, marker, payload } = self;
        AccessUnit { track, pts, dts, captured: Some(captured), arrived, random_access, after_loss, marker, payload }
    }
}

#[cfg(test)]
mod tests;
