//! What one connection and its client have agreed on: the state machine of RFC 2326 (appendix A) for playing live
//! streams. Sans-IO: requests and time come in, answers and wishes go out.
//!
//! A connection has at most one session, and only it controls the session (RT-10). Where the machine needs somebody
//! else — the tracks of a path, a place in the list of sessions, packets beginning to flow — it says so by a [`Step`],
//! and is told the outcome by the `handle_` function the step names. Until then no other request may be handed in:
//! answers keep the order of the requests (§9.1).
//!
//! It does not send media, look paths up or decide who may see them. Longer than most files here: one state machine
//! with a branch for every method.

use std::{fmt::Write as _, net::IpAddr, sync::Arc, time::Duration};

use rtsp_types::{HeaderName, Method, Request, Response, StatusCode, Url, Version, headers};

use super::{
    sdp,
    status::status,
    target::{self, Address, Target},
    transport::{self, Agreed, Answer, Lower, Offer, Transports},
};
use crate::{
    base::{Error, Kind, Monotonic, Result, WallTime, id::SessionId},
    media::{MediaTime, TrackId, TrackSet},
};

/// An answer to a client.
pub(super) type Reply = Response<Vec<u8>>;

/// The methods that work, for `Public` (§12.28) and `Allow` (§12.4).
const METHODS: &str = "OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, TEARDOWN, GET_PARAMETER, SET_PARAMETER";

/// What holds for the session of one connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct SessionOptions {
    /// Without a sign of life for this long the session ends.
    pub(super) timeout: Duration,
    /// What the connection allows; TLS and tunnels keep media inside.
    pub(super) transports: Transports,
    /// The server's ports of RTP and RTCP, where UDP is possible.
    pub(super) server_ports: Option<(u16, u16)>,
    /// The address the client called.
    pub(super) local: IpAddr,
    /// Where the numbers that nobody may guess come from.
    pub(super) seed: u64,
}

/// What was found behind a target.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) tracks: Arc<TrackSet>,
    /// What people call the path.
    pub(super) title: String,
    /// What the path allows.
    pub(super) transports: Transports,
}

/// A track that was set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setup {
    pub(super) track: TrackId,
    pub(super) agreed: Agreed,
    pub(super) payload_type: u8,
    pub(super) ssrc: u32,
    /// The sequence number of the first packet.
    pub(super) sequence: u16,
    /// The RTP timestamp of the start.
    pub(super) timestamp: u32,
    /// The URL its client calls it by; `RTP-Info` repeats it letter by letter, since ffmpeg compares.
    url: String,
}

#[cfg(test)]
impl Setup {
    pub(super) fn new(
        track: TrackId,
        agreed: Agreed,
        payload_type: u8,
        ssrc: u32,
        sequence: u16,
        timestamp: u32,
    ) -> Self {
        Self { track, agreed, payload_type, ssrc, sequence, timestamp, url: String::new() }
    }
}

/// Where a track stands as it begins to play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TrackPosition {
    pub(super) track: TrackId,
    /// The number of the next packet.
    pub(super) sequence: u16,
    /// The RTP timestamp of `npt`.
    pub(super) timestamp: u32,
}

/// Where a session stands as it begins to play.
#[derive(Clone, Debug)]
pub(super) struct Position {
    /// The time of the start on the reader's timeline.
    pub(super) npt: MediaTime,
    /// The same moment on the wall clock.
    pub(super) wall: WallTime,
    pub(super) tracks: Vec<TrackPosition>,
}

/// What is to be done next.
#[derive(Debug)]
pub(super) enum Step {
    /// Send this.
    Reply(Reply),
    /// Find the tracks of a target, waiting for them if need be; then [`Session::handle_found`].
    Find(Target),
    /// Enter a session into the list; then [`Session::handle_entered`].
    Enter(Target, Lower),
    /// Begin to send, or go on; then [`Session::handle_playing`]. Playing already, only tell the position.
    Play,
    /// Stop sending, then send this.
    Pause(Reply),
    /// Stop sending one track, then send this.
    Remove(TrackId, Reply),
    /// The session is over; then send this.
    End(Reply),
}

/// The request an outcome is waited for.
#[derive(Debug)]
enum Pending {
    Describe(Url, Target),
    SetUp { url: Url, address: Address, transport: String, then: Option<Offer> },
    Play { range: Option<String>, scale: bool },
}

/// What every answer repeats from its request.
#[derive(Debug, Default)]
struct Echo {
    cseq: Option<String>,
    timestamp: Option<String>,
}

/// The agreement of one connection with its client.
#[derive(Debug)]
pub(super) struct Session {
    options: SessionOptions,
    numbers: u64,
    echo: Echo,
    pending: Option<Pending>,
    /// What was found last; `SETUP` needs no second look.
    found: Option<(Target, Found)>,
    id: Option<SessionId>,
    target: Option<Target>,
    setups: Vec<Setup>,
    playing: bool,
    heard: Monotonic,
    user_agent: Option<String>,
    asked: bool,
}

impl Session {
    pub(super) fn new(options: SessionOptions, now: Monotonic) -> Self {
        Self {
            options,
            numbers: options.seed,
            echo: Echo::default(),
            pending: None,
            found: None,
            id: None,
            target: None,
            setups: Vec::new(),
            playing: false,
            heard: now,
            user_agent: None,
            asked: false,
        }
    }

    /// What the client calls itself.
    pub(super) fn user_agent(&self) -> Option<&str> {
        self.user_agent.as_deref()
    }

    /// What was found behind the target of the session, as far as it is still known.
    pub(super) fn found(&self) -> Option<&Found> {
        self.found.as_ref().map(|(_, found)| found)
    }

    /// What the session plays.
    pub(super) fn target(&self) -> Option<&Target> {
        self.target.as_ref()
    }

    /// The tracks that were set up.
    pub(super) fn setups(&self) -> &[Setup] {
        &self.setups
    }

    /// Whether a request ever came.
    pub(super) fn was_asked(&self) -> bool {
        self.asked
    }

    /// Media have to stay in the connection from now on.
    pub(super) fn keep_media_inside(&mut self) {
        self.options.transports.udp = false;
    }

    /// Whether an outcome is waited for.
    pub(super) fn is_waiting(&self) -> bool {
        self.pending.is_some()
    }

    /// A sign of life: RTCP, or bytes the client took (RT-05).
    pub(super) fn heard(&mut self, now: Monotonic) {
        self.heard = self.heard.max(now);
    }

    /// When the client was last heard.
    pub(super) fn last_heard(&self) -> Monotonic {
        self.heard
    }

    /// When the session times out (§12.37), if there is one and nothing is heard.
    pub(super) fn deadline(&self) -> Option<Monotonic> {
        self.id.map(|_| self.heard + self.options.timeout)
    }

    /// Forgets the session, as when it timed out or its stream ended.
    pub(super) fn end(&mut self) {
        (self.id, self.target, self.playing) = (None, None, false);
        self.setups.clear();
        // Whoever comes back may find other tracks.
        self.found = None;
    }

    /// A request came in.
    pub(super) fn handle_request(&mut self, request: &Request<Vec<u8>>, now: Monotonic) -> Step {
        let text = |name: &HeaderName| request.header(name).map(|value| value.as_str().to_owned());
        self.echo = Echo { cseq: text(&headers::CSEQ), timestamp: text(&headers::TIMESTAMP) };
        self.asked = true;
        // A client that says goodbye is not alive.
        if *request.method() != Method::Teardown {
            self.heard(now);
        }
        if self.user_agent.is_none() {
            self.user_agent = text(&headers::USER_AGENT).map(|text| text.chars().take(200).collect());
        }
        if request.version() != Version::V1_0 {
            return self.refuse(StatusCode::RTSPVersionNotSupported);
        }
        // §12.17: without a number no answer finds its request.
        if self.echo.cseq.is_none() {
            return self.refuse(StatusCode::BadRequest);
        }
        // §12.32: no feature of ours has a name, so nothing that is required is there.
        if let Some(feature) = text(&headers::REQUIRE).or_else(|| text(&headers::PROXY_REQUIRE)) {
            let mut reply = self.reply(StatusCode::OptionNotSupported);
            reply.insert_header(headers::UNSUPPORTED, feature);
            return Step::Reply(reply);
        }
        match request.method() {
            Method::Options => self.options_request(),
            Method::Describe => self.describe(request),
            Method::Setup => self.set_up(request),
            Method::Play => self.play(request),
            Method::Pause => self.pause(request),
            Method::Teardown => self.tear_down(request),
            Method::GetParameter | Method::SetParameter => self.parameter(request),
            Method::Announce | Method::Record => self.refuse_method(StatusCode::MethodNotAllowed),
            _ => self.refuse_method(StatusCode::NotImplemented),
        }
    }

    /// §10.1, RT-01: what works, before any question of rights.
    fn options_request(&self) -> Step {
        let mut reply = self.reply(StatusCode::Ok);
        reply.insert_header(headers::PUBLIC, METHODS);
        Step::Reply(reply)
    }

    /// §10.2.
    fn describe(&mut self, request: &Request<Vec<u8>>) -> Step {
        let accept = request.header(&headers::ACCEPT).map_or("*/*", |value| value.as_str());
        let kinds = accept.split(',').filter_map(|kind| kind.split(';').next()).map(str::trim);
        if !kinds.into_iter().any(|kind| matches!(kind, "application/sdp" | "application/*" | "*/*" | "")) {
            return self.refuse(StatusCode::NotAcceptable);
        }
        let (url, address) = match self.address(request) {
            Ok(parsed) => parsed,
            Err(error) => return self.fail(&error),
        };
        self.pending = Some(Pending::Describe(url, address.target.clone()));
        Step::Find(address.target)
    }

    /// §10.4.
    fn set_up(&mut self, request: &Request<Vec<u8>>) -> Step {
        if !self.names_this_session(request, true) {
            return self.refuse(StatusCode::SessionNotFound);
        }
        if self.playing {
            return self.refuse(StatusCode::MethodNotValidInThisState);
        }
        let Some(transport) = request.header(&headers::TRANSPORT).map(|value| value.as_str().to_owned()) else {
            return self.refuse(StatusCode::UnsupportedTransport);
        };
        let (url, mut address) = match self.address(request) {
            Ok(parsed) => parsed,
            Err(error) => return self.fail(&error),
        };
        // Players drop the query from URLs they build from the control attribute.
        if let Some((known, _)) = &self.found
            && !address.has_query
            && same_stream(known, &address.target)
        {
            address.target = known.clone();
        }
        let target = address.target.clone();
        let known = self.found.as_ref().is_some_and(|(found, _)| *found == target);
        self.pending = Some(Pending::SetUp { url, address, transport, then: None });
        if known { self.negotiate() } else { Step::Find(target) }
    }

    /// The tracks of the target asked for, or why there are none.
    pub(super) fn handle_found(&mut self, outcome: Result<Found>) -> Step {
        let found = match outcome {
            Ok(found) => found,
            Err(error) => {
                self.pending = None;
                return self.fail(&error);
            }
        };
        match self.pending.take() {
            Some(Pending::Describe(url, target)) => self.described(&url, target, found),
            // What belongs to the session stays, whatever else its client asks for.
            Some(Pending::SetUp { address, .. }) if self.target.as_ref().is_some_and(|own| *own != address.target) => {
                self.refuse(StatusCode::AggregateOperationNotAllowed)
            }
            Some(Pending::SetUp { url, address, transport, then }) => {
                self.found = Some((address.target.clone(), found));
                self.pending = Some(Pending::SetUp { url, address, transport, then });
                self.negotiate()
            }
            Some(Pending::Play { .. }) | None => self.refuse(StatusCode::InternalServerError),
        }
    }

    fn described(&mut self, url: &Url, target: Target, found: Found) -> Step {
        if sdp::offered(&found.tracks, target.choice.tracks).next().is_none() {
            return self.refuse(StatusCode::NotFound);
        }
        let text = sdp::describe(&found.tracks, &target, &found.title, self.options.local);
        let mut reply = self.reply(StatusCode::Ok).replace_body(text);
        reply.insert_header(headers::CONTENT_TYPE, "application/sdp");
        // §12.11, C.1.1: relative control attributes are joined to this, so it ends with a slash.
        reply.insert_header(headers::CONTENT_BASE, format!("{}/", url.as_str().trim_end_matches('/')));
        // The tracks of a session stay the ones it was set up with.
        if self.id.is_none() {
            self.found = Some((target, found));
        }
        Step::Reply(reply)
    }

    /// The tracks are known; what is asked of them must fit.
    fn negotiate(&mut self) -> Step {
        let Some(Pending::SetUp { url, address, transport, .. }) = self.pending.take() else {
            return self.refuse(StatusCode::InternalServerError);
        };
        let Some((target, found)) = &self.found else {
            return self.refuse(StatusCode::InternalServerError);
        };
        let mut offered = sdp::offered(&found.tracks, target.choice.tracks);
        let track = match address.track {
            Some(id) => offered.find(|track| track.id == id),
            // The aggregate URL means the one track there is.
            None => match (offered.next(), offered.next()) {
                (Some(_), Some(_)) => return self.refuse(StatusCode::AggregateOperationNotAllowed),
                (only, _) => only,
            },
        };
        let Some(track) = track else { return self.refuse(StatusCode::NotFound) };
        let track = track.id;
        drop(offered);
        let mut allowed = self.options.transports.and(found.transports);
        allowed.udp &= self.options.server_ports.is_some();
        // One session travels one way.
        if let Some(other) = self.setups.iter().find(|setup| setup.track != track) {
            let lower = other.agreed.lower();
            allowed = allowed.and(Transports { tcp: lower == Lower::Tcp, udp: lower == Lower::Udp });
        }
        let Some(offer) = transport::choose(&transport, allowed) else {
            return self.refuse(StatusCode::UnsupportedTransport);
        };
        let address = Address { track: Some(track), ..address };
        let target = target.clone();
        self.pending = Some(Pending::SetUp { url, address, transport, then: Some(offer) });
        match self.id {
            Some(id) => self.handle_entered(Ok(id)),
            None => Step::Enter(target, offer.lower()),
        }
    }

    /// The session is in the list, or why it is not.
    pub(super) fn handle_entered(&mut self, outcome: Result<SessionId>) -> Step {
        let id = match outcome {
            Ok(id) => id,
            Err(error) => {
                self.pending = None;
                return self.fail(&error);
            }
        };
        let Some(Pending::SetUp { url, address: Address { track: Some(id_of_track), .. }, then: Some(offer), .. }) =
            self.pending.take()
        else {
            return self.refuse(StatusCode::InternalServerError);
        };
        let known = self.found.as_ref().and_then(|(target, found)| Some((target, found.tracks.track(id_of_track)?)));
        let Some((target, track)) = known else { return self.refuse(StatusCode::InternalServerError) };
        let (target, payload_type) = (target.clone(), sdp::payload_type(track));
        self.setups.retain(|setup| setup.track != id_of_track);
        let agreed = match offer {
            Offer::Tcp(wanted) => {
                let taken: Vec<_> = self.setups.iter().filter_map(|setup| channels_of(setup.agreed)).collect();
                transport::channels(wanted, id_of_track, &taken).map(|(rtp, rtcp)| Agreed::Tcp { rtp, rtcp })
            }
            Offer::Udp(client) => self.options.server_ports.map(|server| Agreed::Udp { client, server }),
        };
        let Some(agreed) = agreed else { return self.refuse(StatusCode::UnsupportedTransport) };
        (self.id, self.target) = (Some(id), Some(target));
        let setup = Setup {
            track: id_of_track,
            agreed,
            payload_type,
            ssrc: self.number() as u32,
            sequence: self.number() as u16,
            timestamp: self.number() as u32,
            url: url.into(),
        };
        let mut reply = self.reply(StatusCode::Ok);
        reply.insert_header(headers::TRANSPORT, Answer { agreed, ssrc: setup.ssrc }.to_string());
        reply.insert_header(headers::SESSION, format!("{id};timeout={}", self.options.timeout.as_secs()));
        self.setups.push(setup);
        Step::Reply(reply)
    }

    /// §10.5.
    fn play(&mut self, request: &Request<Vec<u8>>) -> Step {
        if !self.names_this_session(request, false) {
            return self.refuse(StatusCode::SessionNotFound);
        }
        if self.setups.is_empty() {
            return self.refuse(StatusCode::MethodNotValidInThisState);
        }
        let range = request.header(&headers::RANGE).map(|value| value.as_str().to_owned());
        self.pending = Some(Pending::Play { range, scale: request.header(&headers::SCALE).is_some() });
        Step::Play
    }

    /// Packets flow from this position on, or why they do not.
    pub(super) fn handle_playing(&mut self, outcome: Result<Position>) -> Step {
        let Some(Pending::Play { range, scale }) = self.pending.take() else {
            return self.refuse(StatusCode::InternalServerError);
        };
        let position = match outcome {
            Ok(position) => position,
            Err(error) => return self.fail(&error),
        };
        self.playing = true;
        let mut info = String::new();
        for setup in &self.setups {
            let Some(at) = position.tracks.iter().find(|at| at.track == setup.track) else { continue };
            let comma = if info.is_empty() { "" } else { "," };
            let (url, sequence, timestamp) = (&setup.url, at.sequence, at.timestamp);
            // Writing into memory does not fail.
            let _ = write!(info, "{comma}url={url};seq={sequence};rtptime={timestamp}");
        }
        let mut reply = self.reply(StatusCode::Ok);
        reply.insert_header(headers::RANGE, range_played(range.as_deref(), &position));
        reply.insert_header(headers::RTP_INFO, info);
        if scale {
            // §12.34: what really happens is told.
            reply.insert_header(headers::SCALE, "1.000");
        }
        Step::Reply(reply)
    }

    /// §10.6. A live stream that is played again goes on at the live edge.
    fn pause(&mut self, request: &Request<Vec<u8>>) -> Step {
        if !self.names_this_session(request, false) {
            return self.refuse(StatusCode::SessionNotFound);
        }
        let reply = self.reply(StatusCode::Ok);
        if std::mem::take(&mut self.playing) { Step::Pause(reply) } else { Step::Reply(reply) }
    }

    /// §10.7, RT-08.
    fn tear_down(&mut self, request: &Request<Vec<u8>>) -> Step {
        if !self.names_this_session(request, false) {
            return self.refuse(StatusCode::SessionNotFound);
        }
        let track = self.address(request).ok().and_then(|(_, address)| address.track);
        let reply = self.reply(StatusCode::Ok);
        if let Some(track) = track {
            let before = self.setups.len();
            self.setups.retain(|setup| setup.track != track);
            if !self.setups.is_empty() {
                let gone = self.setups.len() < before;
                return if gone { Step::Remove(track, reply) } else { self.refuse(StatusCode::NotFound) };
            }
        }
        self.end();
        Step::End(reply)
    }

    /// §10.8, §10.9: a sign of life. There is no parameter to read or to set.
    fn parameter(&self, request: &Request<Vec<u8>>) -> Step {
        if request.header(&headers::SESSION).is_some() && !self.names_this_session(request, false) {
            return self.refuse(StatusCode::SessionNotFound);
        }
        // GET_PARAMETER with any body is answered: recorders put words of their own into their keep-alive.
        let sets = *request.method() == Method::SetParameter && !request.body().trim_ascii().is_empty();
        self.refuse(if sets { StatusCode::ParameterNotUnderstood } else { StatusCode::Ok })
    }

    /// Whether the session a request names is the one of this connection. Without the header it is meant, where there
    /// is one; `or_none` lets a request pass that comes before there is.
    fn names_this_session(&self, request: &Request<Vec<u8>>, or_none: bool) -> bool {
        let named = request.header(&headers::SESSION).map(|value| value.as_str());
        let named = named.map(|value| SessionId::parse(value.split(';').next().unwrap_or_default().trim()));
        match (named, self.id) {
            (Some(named), Some(own)) => named == Some(own),
            (Some(_), None) => false,
            (None, Some(_)) => true,
            (None, None) => or_none,
        }
    }

    fn address(&self, request: &Request<Vec<u8>>) -> Result<(Url, Address)> {
        let none = || Error::new(Kind::InvalidArgument, "rtsp request: it names no url");
        let url = request.request_uri().ok_or_else(none)?;
        Ok((url.clone(), target::parse(url)?))
    }

    /// An answer with what every answer has.
    fn reply(&self, status: StatusCode) -> Reply {
        let mut reply = Response::builder(Version::V1_0, status).build(Vec::new());
        reply.insert_header(headers::SERVER, "campanile");
        if let Some(cseq) = &self.echo.cseq {
            reply.insert_header(headers::CSEQ, cseq.as_str());
        }
        // §12.38.
        if let Some(timestamp) = &self.echo.timestamp {
            reply.insert_header(headers::TIMESTAMP, timestamp.as_str());
        }
        if let Some(id) = self.id {
            reply.insert_header(headers::SESSION, id.to_string());
        }
        reply
    }

    fn refuse(&self, status: StatusCode) -> Step {
        Step::Reply(self.reply(status))
    }

    fn refuse_method(&self, status: StatusCode) -> Step {
        let mut reply = self.reply(status);
        // §12.4.
        reply.insert_header(headers::ALLOW, METHODS);
        Step::Reply(reply)
    }

    fn fail(&self, error: &Error) -> Step {
        let mut reply = self.reply(status(error.kind()));
        if error.kind() == Kind::Unauthenticated {
            // §12.44: who refuses for want of a credential says which kind it takes.
            let nonce = self.options.seed.rotate_left(17) ^ self.numbers;
            let challenge = format!("Digest realm=\"campanile\", nonce=\"{nonce:016x}\", algorithm=MD5");
            reply.insert_header(headers::WWW_AUTHENTICATE, challenge);
        }
        if error.kind() == Kind::Unavailable {
            reply.insert_header(headers::RETRY_AFTER, "5");
        }
        Step::Reply(reply)
    }

    /// The next of a row of numbers that look random (splitmix64).
    fn number(&mut self) -> u64 {
        self.numbers = self.numbers.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.numbers ^ (self.numbers >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// An answer to bytes that are no request, before the connection closes.
pub(super) fn refusal(status: StatusCode) -> Reply {
    let mut reply = Response::builder(Version::V1_0, status).build(Vec::new());
    reply.insert_header(headers::SERVER, "campanile");
    reply.insert_header(headers::CONNECTION, "close");
    reply
}

fn same_stream(a: &Target, b: &Target) -> bool {
    a.path == b.path && a.rendition == b.rendition
}

fn channels_of(agreed: Agreed) -> Option<(u8, u8)> {
    match agreed {
        Agreed::Tcp { rtp, rtcp } => Some((rtp, rtcp)),
        Agreed::Udp { .. } => None,
    }
}

/// The range that is played (§12.29, RT-07), in the unit it was asked in.
fn range_played(asked: Option<&str>, position: &Position) -> String {
    let asked = asked.unwrap_or_default().trim();
    if asked.starts_with("clock=") {
        return format!("clock={}-", utc_time(position.wall));
    }
    if asked.replace(' ', "").starts_with("npt=now") {
        return "npt=now-".to_owned();
    }
    let millis = position.npt.millis();
    format!("npt={}.{:03}-", millis.div_euclid(1000), millis.rem_euclid(1000))
}

/// §3.7: `19961108T143720.250Z`.
fn utc_time(wall: WallTime) -> String {
    wall.to_string().chars().filter(|c| !matches!(c, '-' | ':')).collect()
}

#[cfg(test)]
mod tests {
    use rtsp_types::Message;

    use super::*;
    use crate::media::{ClockRate, CodecParameters, MediaKind, PictureSize, Track};

    const ID: &str = "0123456789abcdef0123456789abcdef";

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_nanos(seconds * 1_000_000_000)
    }

    /// A machine and somebody who does what it wishes.
    struct Desk {
        session: Session,
        tracks: usize,
        refuse: Option<Kind>,
        done: Vec<&'static str>,
    }

    impl Desk {
        fn new() -> Self {
            let options = SessionOptions {
                timeout: Duration::from_secs(60),
                transports: Transports::ALL,
                server_ports: Some((8000, 8001)),
                local: IpAddr::from([127, 0, 0, 1]),
                seed: 7,
            };
            Self { session: Session::new(options, at(0)), tracks: 2, refuse: None, done: Vec::new() }
        }

        fn found(&self) -> Result<Found> {
            if let Some(kind) = self.refuse {
                return Err(Error::new(kind, "on purpose"));
            }
            let track = |id| {
                let parameters = CodecParameters::Vp8(PictureSize::default());
                let (id, kind, clock_rate) = (TrackId(id as u8), MediaKind::Video, ClockRate::VIDEO);
                Arc::new(Track { id, kind, clock_rate, parameters, generation: 1, revision: 0 })
            };
            let tracks = Arc::new(TrackSet { generation: 1, tracks: (0..self.tracks).map(track).collect() });
            Ok(Found { tracks, title: "cam".into(), transports: Transports::ALL })
        }

        /// Asks, does what is wished, and gives the answer's status and text.
        fn ask(&mut self, text: &str) -> (u16, String) {
            let mut lines = text.split('|');
            let (line, headers) = (lines.next().unwrap(), lines.map(|header| format!("{header}\r\n")));
            let request = format!("{line} RTSP/1.0\r\nCSeq: 1\r\n{}\r\n", headers.collect::<String>());
            let (Message::Request(request), _) = Message::<Vec<u8>>::parse(request.as_bytes()).unwrap() else {
                panic!("no request: {text}");
            };
            let mut step = self.session.handle_request(&request, at(10));
            loop {
                step = match step {
                    Step::Reply(reply) => {
                        assert!(!self.session.is_waiting(), "an answer ends the wait");
                        let mut bytes = Vec::new();
                        reply.write(&mut bytes).unwrap();
                        return (reply.status().into(), String::from_utf8(bytes).unwrap());
                    }
                    Step::Find(_) => {
                        self.done.push("find");
                        assert!(self.session.is_waiting());
                        let found = self.found();
                        self.session.handle_found(found)
                    }
                    Step::Enter(..) => {
                        self.done.push("enter");
                        self.session.handle_entered(Ok(SessionId::parse(ID).unwrap()))
                    }
                    Step::Play => {
                        self.done.push("play");
                        let setups = self.session.setups().iter();
                        let position = |setup: &Setup| TrackPosition {
                            track: setup.track,
                            sequence: setup.sequence,
                            timestamp: setup.timestamp,
                        };
                        let tracks = setups.map(position).collect();
                        let (npt, wall) = (MediaTime::from_millis(1500), WallTime::from_unix_nanos(0));
                        self.session.handle_playing(Ok(Position { npt, wall, tracks }))
                    }
                    Step::Pause(reply) => {
                        self.done.push("pause");
                        Step::Reply(reply)
                    }
                    Step::Remove(_, reply) => {
                        self.done.push("remove");
                        Step::Reply(reply)
                    }
                    Step::End(reply) => {
                        self.done.push("end");
                        Step::Reply(reply)
                    }
                };
            }
        }

        fn to(state: &str) -> Self {
            let mut desk = Self::new();
            if state != "init" {
                assert_eq!(desk.ask(SETUP).0, 200);
            }
            if state == "playing" {
                assert_eq!(desk.ask(PLAY).0, 200);
            }
            desk.done.clear();
            desk
        }
    }

    const SETUP: &str = "SETUP rtsp://h/cam/trackID=0|Transport: RTP/AVP/TCP;interleaved=0-1";
    const PLAY: &str = "PLAY rtsp://h/cam|Session: 0123456789abcdef0123456789abcdef";

    #[test]
    fn the_states_of_appendix_a_2_take_their_methods_and_no_others() {
        let id = format!("|Session: {ID}");
        type Row<'a> = (String, [u16; 3], [&'a [&'a str]; 3]);
        let table: Vec<Row<'_>> = vec![
            ("OPTIONS *".into(), [200; 3], [&[]; 3]),
            ("DESCRIBE rtsp://h/cam".into(), [200; 3], [&["find"]; 3]),
            (SETUP.into(), [200, 200, 455], [&["find", "enter"], &[], &[]]),
            (format!("PLAY rtsp://h/cam{id}"), [454, 200, 200], [&[], &["play"], &["play"]]),
            ("PLAY rtsp://h/cam".into(), [454, 200, 200], [&[], &["play"], &["play"]]),
            (format!("PAUSE rtsp://h/cam{id}"), [454, 200, 200], [&[], &[], &["pause"]]),
            (format!("TEARDOWN rtsp://h/cam{id}"), [454, 200, 200], [&[], &["end"], &["end"]]),
            (format!("TEARDOWN rtsp://h/cam/trackID=0{id}"), [454, 200, 200], [&[], &["end"], &["end"]]),
            (format!("GET_PARAMETER rtsp://h/cam{id}"), [454, 200, 200], [&[]; 3]),
            ("GET_PARAMETER *".into(), [200; 3], [&[]; 3]),
            (format!("SET_PARAMETER rtsp://h/cam{id}"), [454, 200, 200], [&[]; 3]),
            ("ANNOUNCE rtsp://h/cam".into(), [405; 3], [&[]; 3]),
            ("RECORD rtsp://h/cam".into(), [405; 3], [&[]; 3]),
            ("REDIRECT rtsp://h/cam".into(), [501; 3], [&[]; 3]),
            ("JUGGLE rtsp://h/cam".into(), [501; 3], [&[]; 3]),
            ("PLAY rtsp://h/cam|Session: 00".into(), [454; 3], [&[]; 3]),
            (format!("{SETUP}|Session: 00"), [454; 3], [&[]; 3]),
            ("OPTIONS *|Require: magic".into(), [551; 3], [&[]; 3]),
        ];
        for (request, statuses, wishes) in table {
            for (state, (status, wish)) in
                ["init", "ready", "playing"].into_iter().zip(statuses.into_iter().zip(wishes))
            {
                let mut desk = Desk::to(state);
                let (answered, text) = desk.ask(&request);
                assert_eq!((answered, &desk.done[..]), (status, wish), "{request} in {state}: {text}");
                assert!(text.contains("CSeq: 1\r\n"), "{text}");
            }
        }
    }

    #[test]
    fn errors_become_statuses_and_leave_the_machine_ready() {
        for (kind, status) in [
            (Kind::NotFound, 404),
            (Kind::Unauthenticated, 401),
            (Kind::Unavailable, 503),
            (Kind::DeadlineExceeded, 504),
        ] {
            let mut desk = Desk::new();
            desk.refuse = Some(kind);
            for request in ["DESCRIBE rtsp://h/cam", SETUP] {
                let (answered, text) = desk.ask(request);
                assert_eq!(answered, status);
                assert_eq!(text.contains("WWW-Authenticate: Digest"), status == 401, "§12.44");
                assert_eq!(text.contains("Retry-After"), status == 503);
            }
            desk.refuse = None;
            assert_eq!(desk.ask(SETUP).0, 200);
        }
    }

    #[test]
    fn play_repeats_the_urls_its_client_set_up_and_the_time_of_the_start() {
        let mut desk = Desk::new();
        desk.ask("SETUP rtsp://h:8554/cam/?x=1/trackID=1|Transport: RTP/AVP/TCP");
        let (_, text) = desk.ask("PLAY rtsp://h:8554/cam/?x=1|Range: npt=1.5-");
        assert!(text.contains("Range: npt=1.500-\r\n"), "{text}");
        assert!(text.contains("RTP-Info: url=rtsp://h:8554/cam/?x=1/trackID=1;seq="), "{text}");
        let (_, text) = desk.ask("PLAY rtsp://h:8554/cam/?x=1|Range: clock=20260101T000000Z-");
        assert!(text.contains("Range: clock=19700101T000000.000Z-\r\n"), "{text}");
    }

    #[test]
    fn a_query_is_remembered_for_the_urls_a_player_makes_itself() {
        let mut desk = Desk::new();
        desk.ask("DESCRIBE rtsp://h/cam?start=live");
        assert_eq!(desk.ask(SETUP).0, 200);
        assert_eq!(desk.session.target().unwrap().choice.start, Some(target::StartChoice::Live));
        assert_eq!(desk.done, ["find", "enter"], "what DESCRIBE found is not looked for again");
    }

    #[test]
    fn what_else_a_client_asks_for_does_not_change_its_session() {
        let mut desk = Desk::new();
        desk.ask(SETUP);
        assert_eq!(desk.ask("SETUP rtsp://h/other/trackID=1|Transport: RTP/AVP/TCP").0, 459);
        desk.tracks = 1;
        assert_eq!(desk.ask("DESCRIBE rtsp://h/other").0, 200);
        assert_eq!(desk.session.target().unwrap().path.as_str(), "cam");
        assert_eq!(desk.session.found().unwrap().tracks.tracks.len(), 2);
        assert_eq!(desk.ask("SETUP rtsp://h/cam/trackID=1|Transport: RTP/AVP/TCP").0, 200);
    }

    #[test]
    fn the_aggregate_url_sets_up_the_one_track_there_is() {
        let mut desk = Desk::new();
        let setup = "SETUP rtsp://h/cam|Transport: RTP/AVP/TCP";
        assert_eq!(desk.ask(setup).0, 459);
        desk = Desk::new();
        desk.tracks = 1;
        assert_eq!(desk.ask(setup).0, 200);
        desk = Desk::new();
        desk.tracks = 0;
        assert_eq!(desk.ask("DESCRIBE rtsp://h/cam").0, 404);
    }

    #[test]
    fn a_session_lives_by_every_sign_of_life_but_its_goodbye_rt_05() {
        let mut desk = Desk::new();
        assert_eq!(desk.session.deadline(), None, "without a session nothing times out");
        desk.ask(SETUP);
        assert_eq!(desk.session.deadline(), Some(at(70)));
        desk.session.heard(at(30));
        desk.session.heard(at(20));
        assert_eq!(desk.session.deadline(), Some(at(90)));
        desk.ask("SETUP rtsp://h/cam/trackID=1|Transport: RTP/AVP/TCP");
        desk.session.heard(at(5));
        let (status, _) = desk.ask(&format!("TEARDOWN rtsp://h/cam/trackID=1|Session: {ID};timeout=60"));
        assert_eq!((status, desk.session.deadline()), (200, Some(at(90))));
        desk.session.end();
        assert_eq!(desk.session.deadline(), None);
    }

    #[test]
    fn numbers_differ_between_tracks_and_sessions() {
        let mut numbers = Vec::new();
        for seed in [7, 8] {
            let mut desk = Desk::new();
            desk.session = Session::new(SessionOptions { seed, ..desk.session.options }, at(0));
            desk.ask(SETUP);
            desk.ask("SETUP rtsp://h/cam/trackID=1|Transport: RTP/AVP/TCP");
            numbers.extend(desk.session.setups().iter().map(|setup| (setup.ssrc, setup.timestamp)));
        }
        assert_eq!(numbers.iter().collect::<std::collections::BTreeSet<_>>().len(), 4);
    }

    proptest::proptest! {
        #[test]
        fn every_request_is_answered_whatever_came_before(
            requests in proptest::collection::vec((
                "OPTIONS|DESCRIBE|SETUP|PLAY|PAUSE|TEARDOWN|GET_PARAMETER|SET_PARAMETER|RECORD|X",
                "\\*|rtsp://h(/cam|/other|)(/|/trackID=[0-3]|)(\\?start=(live|x)|)",
                "(|\\|Transport: RTP/AVP(/TCP|);(unicast|interleaved=[0-9]-[0-9]|client_port=[0-9]+))",
                "(|\\|Session: (0|0123456789abcdef0123456789abcdef))(|\\|Range: (npt|clock)=[0-9a-z]?-)",
            ), 1..30),
        ) {
            let mut desk = Desk::new();
            for (method, url, transport, session) in requests {
                let (status, _) = desk.ask(&format!("{method} {url}{transport}{session}"));
                proptest::prop_assert!((200..600).contains(&status));
                proptest::prop_assert_eq!(desk.session.setups().is_empty(), desk.session.target().is_none());
            }
        }
    }
}
