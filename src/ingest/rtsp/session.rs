//! From a URL to a session that plays, step by step, each with its own time-out: `retina` has none.
//!
//! A track whose SETUP fails is left out and noted; it never costs the others. What failed is asked about again in words
//! of our own ([`super::inquiry`]), since retina's errors are sentences.

use std::{future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use retina::client::{
    Described, InitialSequenceNumberPolicy, InitialTimestampPolicy, PlayOptions, Playing, Session, SessionGroup,
    SessionIdPolicy, SessionOptions, SetupOptions, TcpTransportOptions, TeardownPolicy, Transport,
    UnassignedChannelDataPolicy, UnknownRtcpSsrcPolicy,
};
use tokio::time::timeout;
use url::Url;

use super::{
    bridge::{self, Bridge},
    failure::{Failure, Step, first_line},
    form::Offer,
    guard::SourceGuard,
    inquiry::{self, USER_AGENT},
    mender::BODY_MAX,
    sdp,
};
use crate::config::{CameraTlsConfig, Credentials, QuirksConfig, SessionIdQuirk, StrayDataQuirk, UnknownSenderQuirk};

/// Whom to call, and how.
#[derive(Clone)]
pub(super) struct Call {
    /// As the camera knows it; shown to people.
    pub(super) url: Url,
    /// Where `retina` is sent.
    pub(super) dial: Url,
    /// That is a bridge, which stands between.
    pub(super) bridged: bool,
    /// Judges where the camera stands.
    pub(super) guard: Option<SourceGuard>,
    pub(super) credentials: Option<Credentials>,
    /// Media comes over UDP; a bridge stands between, and `retina` sees a session over TCP.
    pub(super) udp: bool,
    pub(super) quirks: QuirksConfig,
    pub(super) tls: CameraTlsConfig,
    /// For connecting and for each request.
    pub(super) limit: Duration,
    pub(super) group: Arc<SessionGroup>,
}

impl Call {
    /// The way goes over a bridge.
    pub(super) fn cross(&mut self, bridge: &Bridge) {
        (self.dial, self.bridged) = (bridge.dial().clone(), true);
    }

    /// `retina` looks names up by itself, and could be told another address than was judged: it is given that one.
    pub(super) async fn pin(&mut self) -> Result<(), Failure> {
        let Some(guard) = &self.guard else { return Ok(()) };
        let addresses = inquiry::look_up(&self.url, bridge::PORT, Some(guard), self.limit).await?;
        // A URL that has a host takes an address in its place.
        let _ = self.dial.set_ip_host(addresses[0].ip());
        Ok(())
    }
}

/// A session that plays.
pub(super) struct Opened {
    pub(super) session: Session<Playing>,
    /// The tracks that were set up.
    pub(super) offers: Vec<Offer>,
    /// Which of them a stream of retina's is.
    pub(super) track_of: Vec<Option<usize>>,
    /// What was left out, and why.
    pub(super) left_out: Vec<String>,
    /// Media comes over UDP.
    pub(super) udp: bool,
}

impl Opened {
    /// Whether the camera is known to send what is left of a session into the next one (live555 before 2017-06).
    pub(super) fn mixes_sessions(&self) -> bool {
        self.session.tool().is_some_and(retina::client::Tool::has_live555_tcp_bug)
    }
}

/// Connects, describes, sets up and plays.
pub(super) async fn open(call: &Call) -> Result<Opened, Failure> {
    let mut session = match describe(call).await {
        Ok(session) => session,
        Err(failure) => return Err(explain(call, failure).await),
    };
    let SetUp { offers, track_of, left_out } = set_up(call, &mut session).await?;
    let policy = PlayOptions::default()
        // Its default fails where two tracks have no `rtptime`.
        .initial_timestamp(InitialTimestampPolicy::Permissive)
        // `RTP-Info` is ahead of the first packet with GStreamer, and wrong with others.
        .initial_seq(InitialSequenceNumberPolicy::Ignore)
        .unknown_rtcp_ssrc(match call.quirks.unknown_sender {
            UnknownSenderQuirk::Drop => UnknownRtcpSsrcPolicy::DropPackets,
            UnknownSenderQuirk::Accept => UnknownRtcpSsrcPolicy::ProcessPackets,
            UnknownSenderQuirk::Reconnect => UnknownRtcpSsrcPolicy::AbortSession,
        });
    // Never `enforce_timestamps_with_max_jump_secs`: it ends every stream with B-frames.
    let session = step(call, Step::Play, session.play(policy)).await?;
    Ok(Opened { session, offers, track_of, left_out, udp: call.udp })
}

async fn describe(call: &Call) -> Result<Session<Described>, Failure> {
    // A bridge logs in by itself.
    let credentials = call.credentials.as_ref().filter(|_| !call.bridged).map(|login| retina::client::Credentials {
        username: login.username.clone(),
        password: login.password.reveal().to_owned(),
    });
    let options = SessionOptions::default()
        .creds(credentials)
        .user_agent(USER_AGENT.to_owned())
        .session_group(call.group.clone())
        .teardown(TeardownPolicy::Auto)
        .session_id(match call.quirks.session_id {
            SessionIdQuirk::Strict => SessionIdPolicy::RequireMatch,
            SessionIdQuirk::First => SessionIdPolicy::UseFirst,
        })
        .unassigned_channel_data(match call.quirks.stray_data {
            StrayDataQuirk::Auto => UnassignedChannelDataPolicy::Auto,
            StrayDataQuirk::Ignore => UnassignedChannelDataPolicy::Ignore,
            StrayDataQuirk::StaleSession => UnassignedChannelDataPolicy::AssumeStaleSession,
            StrayDataQuirk::Reconnect => UnassignedChannelDataPolicy::Error,
        });
    step(call, Step::Describe, Session::describe(call.dial.clone(), options)).await
}

struct SetUp {
    offers: Vec<Offer>,
    track_of: Vec<Option<usize>>,
    left_out: Vec<String>,
}

/// Sets up every track that is not a back channel; one that fails is left out.
async fn set_up(call: &Call, session: &mut Session<Described>) -> Result<SetUp, Failure> {
    let announced = offers(session);
    let mut set_up = SetUp { offers: Vec::new(), track_of: vec![None; announced.len()], left_out: Vec::new() };
    let mut first_failure = None;
    for (i, (offer, back_channel)) in announced.into_iter().enumerate() {
        if back_channel || set_up.offers.len() >= TRACKS_MAX {
            set_up.left_out.push(format!("{} {}: a back channel, or one too many", offer.media, offer.encoding));
            continue;
        }
        match set_up_one(call, session, i).await {
            Ok(()) => {
                set_up.track_of[i] = Some(set_up.offers.len());
                set_up.offers.push(offer);
            }
            // A camera that hung up, or does not answer, will not answer for the next track either.
            Err(failure @ (Failure::Timeout(..) | Failure::Closed(_))) => return Err(failure),
            // The first track decides: two transports in one session confuse cameras.
            Err(failure @ Failure::Transport(_)) if set_up.offers.is_empty() => return Err(failure),
            Err(failure) => {
                set_up.left_out.push(format!("{} {}: {failure}", offer.media, offer.encoding));
                first_failure.get_or_insert(failure);
            }
        }
    }
    match first_failure {
        _ if !set_up.offers.is_empty() => Ok(set_up),
        Some(failure) => Err(failure),
        None => Err(Failure::NoTracks("the answer to DESCRIBE announces no media".to_owned())),
    }
}

async fn set_up_one(call: &Call, session: &mut Session<Described>, i: usize) -> Result<(), Failure> {
    let options = SetupOptions::default().transport(Transport::Tcp(TcpTransportOptions::default()));
    match step(call, Step::Setup, session.setup(i, options)).await {
        Err(Failure::Status(_, 461)) => Err(Failure::Transport(if call.udp { "udp" } else { "tcp" })),
        result => result,
    }
}

/// Tracks in one list at most; cameras announce four.
const TRACKS_MAX: usize = 32;

/// What the SDP says of each of retina's streams, and whether it is a back channel. `retina` leaves out sections it
/// cannot read, so that the two lists are matched in order.
fn offers(session: &Session<Described>) -> Vec<(Offer, bool)> {
    let sections = sdp::parse(session.sdp());
    let back_channels = sdp::back_channels(&sections);
    let mut rest = sections.iter().zip(back_channels);
    let offer = |stream: &retina::client::Stream| {
        let payload_type = stream.rtp_payload_type();
        let mut offer = Offer {
            media: stream.media().to_owned(),
            encoding: stream.encoding_name().to_owned(),
            payload_type,
            clock_rate: stream.clock_rate_hz(),
            channels: stream.channels().map(Into::into),
            ..Offer::default()
        };
        let same = |section: &sdp::MediaSection| {
            section.media == stream.media() && section.formats.first().is_some_and(|f| f.parse() == Ok(payload_type))
        };
        let found = rest.by_ref().find(|(section, _)| same(section));
        let Some((section, back_channel)) = found else { return (offer, false) };
        if let Some(encoding) = section.encoding(payload_type) {
            offer.encoding = encoding.to_owned();
        }
        offer.fmtp = section.fmtp(payload_type).map(str::to_owned);
        offer.others = (0..128).filter(|other| section.offers_besides(payload_type, *other)).collect();
        (offer, back_channel)
    };
    session.streams().iter().map(offer).collect()
}

/// One step within its time.
async fn step<T>(
    call: &Call,
    step: Step,
    future: impl Future<Output = Result<T, retina::Error>>,
) -> Result<T, Failure> {
    // sdp-types 0.1, inside retina 0.4, panics over a line of no type among the session's. What it was reading goes with
    // the session; the bridge takes such lines out when the camera is called again.
    let future = AssertUnwindSafe(future).catch_unwind();
    match timeout(call.limit, future).await {
        Ok(Ok(Ok(done))) => Ok(done),
        Ok(Ok(Err(error))) => Err(match failed(step, &error) {
            Failure::Unauthorized { challenges, .. } => {
                Failure::Unauthorized { challenges, answered: call.credentials.is_some() }
            }
            failure => failure,
        }),
        Ok(Err(_panic)) => Err(Failure::Protocol(step, "it makes no sense".to_owned())),
        Err(_) => Err(Failure::Timeout(step, call.limit)),
    }
}

/// What retina's error says, as far as it can be asked; the rest is how its first line begins, which a test holds.
fn failed(step: Step, error: &retina::Error) -> Failure {
    let line = first_line(error);
    match error.status_code() {
        Some(200..=299) if line.contains(": No parseable streams") => {
            Failure::NoTracks("the answer to DESCRIBE announces no media".to_owned())
        }
        // A success whose content cannot be used; the line begins with the status and the method.
        Some(200..=299) => {
            Failure::Protocol(step, line.split_once(": ").map_or(line.as_str(), |(_, what)| what).into())
        }
        Some(status) => Failure::of_status(step, status),
        None if line.starts_with("Error reading from RTSP peer") || line.starts_with("Error writing to RTSP peer") => {
            Failure::Closed(step)
        }
        None => Failure::Protocol(step, line),
    }
}

/// For an answer to a question that was not answered before.
const EXPLANATION_LIMIT: Duration = Duration::from_secs(3);

/// Finds out what is behind a failed DESCRIBE by asking again, in words of our own.
async fn explain(call: &Call, failure: Failure) -> Failure {
    let answered = call.credentials.is_some();
    let login = match &failure {
        // Without a login the camera says which ones it takes.
        Failure::Unauthorized { .. } => None,
        Failure::Timeout(..) | Failure::Protocol(..) | Failure::Closed(_) | Failure::Redirect(None) => {
            call.credentials.as_ref()
        }
        _ => return failure,
    };
    let mut line = match bridge::connect(&call.url, call, call.limit).await {
        Ok(line) => line,
        Err(unreachable) => return unreachable,
    };
    // Who did not answer in all its time does not get it again.
    let limit = call.limit.min(EXPLANATION_LIMIT);
    let answer = match line.describe(&call.url, login, limit).await {
        Ok(answer) => answer,
        Err(stranger @ Failure::Stranger(_)) => return stranger,
        Err(Failure::Closed(step)) => {
            let wants_tls = call.url.scheme() != "rtsps" && bridge::expects_tls(call, limit).await;
            return if wants_tls { Failure::Stranger(Some("TLS")) } else { Failure::Closed(step) };
        }
        Err(_) => return failure,
    };
    match answer.status {
        _ if answer.body_len() > BODY_MAX as u64 => Failure::TooLong(answer.body_len()),
        401 => Failure::Unauthorized { challenges: answer.challenges(), answered },
        301..=308 => Failure::Redirect(answer.location(&call.url)),
        200..=299 => failure,
        status => Failure::of_status(Step::Describe, status),
    }
}
