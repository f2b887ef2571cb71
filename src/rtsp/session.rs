//! What one connection and its client agree on: the state machine of RFC 2326 (appendix A) for playing live streams.
//! Sans-IO: requests and time come in, answers and wishes go out.
//!
//! A connection has at most one session. Where the machine needs somebody else — the tracks of a path, a place in the
//! list of sessions, a session that another connection began, packets beginning to flow — it says so by a [`Step`],
//! and is told the outcome by the `handle_` function the step names. Until then no other request may be handed in:
//! answers keep the order of the requests (§9.1).
//!
//! It does not send media, look paths up or decide who may see them. A little longer than most files: one machine with a
//! branch for every method.

use std::{net::IpAddr, time::Duration};

use rtsp_types::{Method, Request, StatusCode, Url, Version, headers};

use super::{
    agreement::{Agreement, Found, Numbers, Position, Setup},
    answer::{self, Echo, METHODS, Reply, text},
    login::{Login, Shown},
    sdp,
    target::{self, Address, Target},
    transport::{self, Answer, Lower, Offer, Transports},
};
use crate::{
    base::{Error, Kind, Monotonic, Result, id::SessionId},
    media::TrackId,
};

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
    /// The number of the challenges.
    pub(super) nonce: u128,
    /// Passwords may be sent as they are.
    pub(super) basic: bool,
    /// Whoever decides about callers needs the password itself.
    pub(super) plain: bool,
}

/// What is to be done next.
#[derive(Debug)]
pub(super) enum Step {
    /// Send this.
    Reply(Reply),
    /// Find the tracks of a target, waiting for them if need be; then [`Session::handle_found`].
    Find(Target),
    /// Take over a session whose media travel by themselves; then [`Session::handle_claimed`].
    Claim(SessionId),
    /// Enter a session into the list, in place of the one there was; then [`Session::handle_entered`].
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
    Claim(Box<Request<Vec<u8>>>),
    SetUp { url: Url, address: Address, transport: String, named: bool, then: Option<Offer> },
    Play { range: Option<String>, scale: bool },
}

/// The agreement of one connection with its client.
#[derive(Debug)]
pub(super) struct Session {
    options: SessionOptions,
    numbers: Numbers,
    login: Login,
    echo: Echo,
    pending: Option<Pending>,
    /// What was described last, before there is a session; `SETUP` needs no second look.
    described: Option<(Target, Found)>,
    agreement: Option<Agreement>,
    heard: Monotonic,
    user_agent: Option<String>,
    asked: bool,
}

impl Session {
    pub(super) fn new(options: SessionOptions, now: Monotonic) -> Self {
        Self {
            options,
            numbers: Numbers::new(options.seed),
            login: Login::new(options.nonce, options.basic, options.plain),
            echo: Echo::default(),
            pending: None,
            described: None,
            agreement: None,
            heard: now,
            user_agent: None,
            asked: false,
        }
    }

    /// What the client calls itself.
    pub(super) fn user_agent(&self) -> Option<&str> {
        self.user_agent.as_deref()
    }

    /// What was agreed on, once something was.
    pub(super) fn agreement(&self) -> Option<&Agreement> {
        self.agreement.as_ref()
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
        self.agreement.as_ref().map(|_| self.heard + self.options.timeout)
    }

    /// Forgets the session, as when it timed out or its stream ended; it comes back, if somebody else goes on with it.
    pub(super) fn end(&mut self) -> Option<Agreement> {
        // Whoever comes back may find other tracks.
        self.described = None;
        self.agreement.take()
    }

    /// Goes on with a session that was somebody else's.
    pub(super) fn adopt(&mut self, agreement: Agreement) {
        self.agreement = Some(agreement);
    }

    /// Who the client of a request says it is; whoever knows users judges it before the request is handled.
    pub(super) fn shown(&mut self, request: &Request<Vec<u8>>) -> Shown {
        self.login.read(request)
    }

    /// A request came in.
    pub(super) fn handle_request(&mut self, request: &Request<Vec<u8>>, now: Monotonic) -> Step {
        self.echo = Echo::of(request);
        self.asked = true;
        // A client that says goodbye is not alive.
        if *request.method() != Method::Teardown {
            self.heard(now);
        }
        if self.user_agent.is_none() {
            let name = text(request, &headers::USER_AGENT);
            self.user_agent = name.map(|text| text.chars().take(200).collect());
        }
        if request.version() != Version::V1_0 {
            return self.refuse(StatusCode::RTSPVersionNotSupported);
        }
        if !self.echo.is_numbered() {
            return self.refuse(StatusCode::BadRequest);
        }
        // §12.32: no feature of ours has a name, so nothing that is required is there.
        if let Some(feature) = text(request, &headers::REQUIRE).or_else(|| text(request, &headers::PROXY_REQUIRE)) {
            let mut reply = self.reply(StatusCode::OptionNotSupported);
            reply.insert_header(headers::UNSUPPORTED, feature);
            return Step::Reply(reply);
        }
        if let Some(id) = self.names_another_session(request) {
            self.pending = Some(Pending::Claim(Box::new(request.clone())));
            return Step::Claim(id);
        }
        self.handle_method(request)
    }

    /// The session the request names, or `None` if this connection may not have it.
    pub(super) fn handle_claimed(&mut self, claimed: Option<Agreement>) -> Step {
        let Some(Pending::Claim(request)) = self.pending.take() else {
            return self.refuse(StatusCode::InternalServerError);
        };
        self.agreement = claimed;
        self.handle_method(&request)
    }

    fn handle_method(&mut self, request: &Request<Vec<u8>>) -> Step {
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

    /// §1.1: a session is no connection, and any connection may name it. Those whose media travel inside a connection
    /// belong to that one.
    fn names_another_session(&self, request: &Request<Vec<u8>>) -> Option<SessionId> {
        let about_sessions = !matches!(request.method(), Method::Describe | Method::Announce | Method::Record);
        let may_claim = self.agreement.is_none() && self.options.transports.udp && about_sessions;
        session_named(request).flatten().filter(|_| may_claim)
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
        let (url, address) = match address(request) {
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
        if self.agreement.as_ref().is_some_and(|own| own.playing) {
            return self.refuse(StatusCode::MethodNotValidInThisState);
        }
        let Some(transport) = text(request, &headers::TRANSPORT) else {
            return self.refuse(StatusCode::UnsupportedTransport);
        };
        let (url, mut address) = match address(request) {
            Ok(parsed) => parsed,
            Err(error) => return self.fail(&error),
        };
        // Players drop the query from URLs they build from the control attribute.
        if let Some((known, _)) = self.known()
            && !address.has_query
            && same_stream(known, &address.target)
        {
            address.target = known.clone();
        }
        let target = address.target.clone();
        let is_known = self.known().is_some_and(|(known, _)| *known == target);
        let named = session_named(request).is_some();
        self.pending = Some(Pending::SetUp { url, address, transport, named, then: None });
        if is_known { self.negotiate() } else { Step::Find(target) }
    }

    /// What `SETUP` may choose from without a look: what belongs to the session, or was described before.
    fn known(&self) -> Option<(&Target, &Found)> {
        let own = self.agreement.as_ref().map(|own| (&own.target, &own.found));
        own.or_else(|| self.described.as_ref().map(|(target, found)| (target, found)))
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
            Some(Pending::Describe(url, target)) => self.describe_found(&url, target, found),
            // What belongs to the session stays, whatever else its client asks for.
            Some(Pending::SetUp { .. }) if self.agreement.is_some() => {
                self.refuse(StatusCode::AggregateOperationNotAllowed)
            }
            Some(Pending::SetUp { url, address, transport, named, then }) => {
                self.described = Some((address.target.clone(), found));
                self.pending = Some(Pending::SetUp { url, address, transport, named, then });
                self.negotiate()
            }
            Some(Pending::Claim(_) | Pending::Play { .. }) | None => self.refuse(StatusCode::InternalServerError),
        }
    }

    fn describe_found(&mut self, url: &Url, target: Target, found: Found) -> Step {
        if sdp::offered(&found.tracks, target.choice.tracks).next().is_none() {
            return self.refuse(StatusCode::NotFound);
        }
        let text = sdp::describe(&found.tracks, &target, &found.title, self.options.local);
        let mut reply = self.reply(StatusCode::Ok).replace_body(text);
        reply.insert_header(headers::CONTENT_TYPE, "application/sdp");
        // §12.11, C.1.1: relative control attributes are joined to this, so it ends with a slash.
        reply.insert_header(headers::CONTENT_BASE, format!("{}/", url.as_str().trim_end_matches('/')));
        self.described = Some((target, found));
        Step::Reply(reply)
    }

    /// The tracks are known; what is asked of them must fit.
    fn negotiate(&mut self) -> Step {
        let Some(Pending::SetUp { url, address, transport, named, .. }) = self.pending.take() else {
            return self.refuse(StatusCode::InternalServerError);
        };
        let Some((target, found)) = self.known() else {
            return self.refuse(StatusCode::InternalServerError);
        };
        let track = match found.track_meant(target, address.track) {
            Ok(track) => track,
            Err(status) => return self.refuse(status),
        };
        let mut allowed = self.options.transports.and(found.transports);
        allowed.udp &= self.options.server_ports.is_some();
        let own = self.agreement.as_ref().map_or(Transports::ALL, Agreement::allows);
        // Whoever names no session begins a new one if that is what the transport takes: ffmpeg, when no datagram came,
        // pauses and sets everything up again over TCP.
        let anew = || (!named).then(|| transport::choose(&transport, allowed)).flatten();
        let Some(offer) = transport::choose(&transport, allowed.and(own)).or_else(anew) else {
            return self.refuse(StatusCode::UnsupportedTransport);
        };
        let (address, target) = (Address { track: Some(track), ..address }, target.clone());
        self.pending = Some(Pending::SetUp { url, address, transport, named, then: Some(offer) });
        match &self.agreement {
            Some(own) if own.allows().allows(offer.lower()) => self.handle_entered(Ok(own.id)),
            _ => {
                if let Some(own) = self.agreement.take() {
                    self.described = Some((own.target, own.found));
                }
                Step::Enter(target, offer.lower())
            }
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
        let Some(Pending::SetUp { url, address: Address { track: Some(track), .. }, then: Some(offer), .. }) =
            self.pending.take()
        else {
            return self.refuse(StatusCode::InternalServerError);
        };
        let known = self.known().map(|(target, found)| (target.clone(), found.clone()));
        let Some((target, found)) = known else { return self.refuse(StatusCode::InternalServerError) };
        let own = self.agreement.get_or_insert_with(|| Agreement::new(id, target, found));
        let number = || self.numbers.next();
        let setup = own.set_up(track, offer, self.options.server_ports, number, url.into());
        let Some(Setup { agreed, ssrc, .. }) = setup.cloned() else {
            return self.refuse(StatusCode::UnsupportedTransport);
        };
        let mut reply = self.reply(StatusCode::Ok);
        reply.insert_header(headers::TRANSPORT, Answer { agreed, ssrc }.to_string());
        reply.insert_header(headers::SESSION, format!("{id};timeout={}", self.options.timeout.as_secs()));
        Step::Reply(reply)
    }

    /// §10.5.
    fn play(&mut self, request: &Request<Vec<u8>>) -> Step {
        if !self.names_this_session(request, false) {
            return self.refuse(StatusCode::SessionNotFound);
        }
        if self.setups().is_empty() {
            return self.refuse(StatusCode::MethodNotValidInThisState);
        }
        let (range, scale) = (text(request, &headers::RANGE), request.header(&headers::SCALE).is_some());
        self.pending = Some(Pending::Play { range, scale });
        Step::Play
    }

    /// Packets flow from this position on, or why they do not.
    pub(super) fn handle_playing(&mut self, outcome: Result<Position>) -> Step {
        let (Some(Pending::Play { range, scale }), Some(own)) = (self.pending.take(), &mut self.agreement) else {
            return self.refuse(StatusCode::InternalServerError);
        };
        let position = match outcome {
            Ok(position) => position,
            Err(error) => return self.fail(&error),
        };
        own.playing = true;
        let info = answer::rtp_info(&own.setups, &position);
        let mut reply = self.reply(StatusCode::Ok);
        reply.insert_header(headers::RANGE, answer::range_played(range.as_deref(), &position));
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
        let played = self.agreement.as_mut().is_some_and(|own| std::mem::take(&mut own.playing));
        if played { Step::Pause(reply) } else { Step::Reply(reply) }
    }

    /// §10.7, RT-08.
    fn tear_down(&mut self, request: &Request<Vec<u8>>) -> Step {
        if !self.names_this_session(request, false) {
            return self.refuse(StatusCode::SessionNotFound);
        }
        let track = address(request).ok().and_then(|(_, address)| address.track);
        let reply = self.reply(StatusCode::Ok);
        if let (Some(track), Some(own)) = (track, &mut self.agreement) {
            let before = own.setups.len();
            own.setups.retain(|setup| setup.track != track);
            if !own.setups.is_empty() {
                let gone = own.setups.len() < before;
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
        match (session_named(request), &self.agreement) {
            (Some(named), Some(own)) => named == Some(own.id),
            (Some(_), None) => false,
            (None, Some(_)) => true,
            (None, None) => or_none,
        }
    }

    fn setups(&self) -> &[Setup] {
        self.agreement.as_ref().map_or(&[], |own| &own.setups)
    }

    fn reply(&self, status: StatusCode) -> Reply {
        self.echo.reply(status, self.agreement.as_ref().map(|own| own.id))
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
        let challenge = self.login.challenge();
        Step::Reply(self.echo.failure(error, self.agreement.as_ref().map(|own| own.id), challenge))
    }
}

#[cfg(test)]
impl Session {
    fn target(&self) -> Option<&Target> {
        self.agreement.as_ref().map(|own| &own.target)
    }

    fn found(&self) -> Option<&Found> {
        self.agreement.as_ref().map(|own| &own.found)
    }
}

/// The session a request names; `Some(None)` if that can be no name of ours.
fn session_named(request: &Request<Vec<u8>>) -> Option<Option<SessionId>> {
    let named = request.header(&headers::SESSION)?.as_str();
    Some(SessionId::parse(named.split(';').next().unwrap_or_default().trim()))
}

fn address(request: &Request<Vec<u8>>) -> Result<(Url, Address)> {
    let none = || Error::new(Kind::InvalidArgument, "rtsp request: it names no url");
    let url = request.request_uri().ok_or_else(none)?;
    Ok((url.clone(), target::parse(url)?))
}

fn same_stream(a: &Target, b: &Target) -> bool {
    a.path == b.path && a.rendition == b.rendition
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rtsp_types::Message;

    use super::{super::agreement::TrackPosition, *};
    use crate::{
        base::WallTime,
        media::{ClockRate, CodecParameters, MediaKind, MediaTime, PictureSize, TrackDescription, testing::track_set},
    };

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
                nonce: 7,
                basic: false,
                plain: false,
            };
            Self { session: Session::new(options, at(0)), tracks: 2, refuse: None, done: Vec::new() }
        }

        fn found(&self) -> Result<Found> {
            if let Some(kind) = self.refuse {
                return Err(Error::new(kind, "on purpose"));
            }
            let parameters = CodecParameters::Vp8(PictureSize::default());
            let track = TrackDescription { kind: MediaKind::Video, clock_rate: ClockRate::VIDEO, parameters };
            let tracks = Arc::new(track_set(vec![track; self.tracks]));
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
                    Step::Claim(_) => self.session.handle_claimed(None),
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
    fn who_sets_up_another_transport_begins_a_new_session_unless_it_names_the_old_one() {
        const UDP: &str = "|Transport: RTP/AVP;unicast;client_port=5000-5001";
        let mut desk = Desk::new();
        for track in [0, 1] {
            assert_eq!(desk.ask(&format!("SETUP rtsp://h/cam/trackID={track}{UDP}")).0, 200);
        }
        desk.ask(PLAY);
        assert_eq!(desk.ask(SETUP).0, 455);
        desk.ask(&format!("PAUSE rtsp://h/cam|Session: {ID}"));
        assert_eq!(desk.ask(&format!("{SETUP}|Session: {ID}")).0, 461, "one session travels one way");
        desk.done.clear();
        assert_eq!(desk.ask(SETUP).0, 200);
        assert_eq!((&desk.done[..], desk.session.setups().len()), (&["enter"][..], 1));
        assert_eq!(desk.ask("SETUP rtsp://h/cam/trackID=1|Transport: RTP/AVP/TCP").0, 200);
        assert_eq!((&desk.done[..], desk.session.setups().len()), (&["enter"][..], 2));
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
