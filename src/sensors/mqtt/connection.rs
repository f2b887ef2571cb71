//! Drives one broker: dials, runs the session, hands its messages to the inlet, waits and dials again. The broker's
//! messages are taken as fast as they are read: what we do not read waits in its socket, not in a queue of ours.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::BytesMut;
use futures_util::future::{Either, pending};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{mpsc, oneshot, watch},
    time::{sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{
    announce::{Announcer, House},
    publisher::Publication,
    routes::{Heard, Routes},
    session::{Event, Session, SessionError},
    wire::{Hello, wire},
};
use crate::{
    base::{
        Clock, Error, Kind, Result,
        backoff::{Backoff, BackoffPolicy},
    },
    config::{BrokerConfig, BrokerUrl},
    net::{
        dial::{self, Stream},
        trust,
    },
    sensors::{brokers::Link, inlet::Inlet},
};

/// How long the goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);
/// The least between two rounds of announcements: readings may change faster than anybody wants to be told.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(1);

/// One broker of the configuration.
pub(in crate::sensors) struct Broker {
    pub(in crate::sensors) name: String,
    pub(in crate::sensors) origin: Arc<str>,
    pub(in crate::sensors) url: BrokerUrl,
    pub(in crate::sensors) config: BrokerConfig,
    pub(in crate::sensors) client_id: String,
    pub(in crate::sensors) inlet: Inlet,
    /// What there is to announce, and a number that changes with it.
    pub(in crate::sensors) house: Arc<dyn House>,
    pub(in crate::sensors) changed: watch::Receiver<u64>,
    /// What others publish through it.
    pub(in crate::sensors) publications: mpsc::Receiver<Publication>,
    pub(in crate::sensors) clock: Clock,
}

impl Broker {
    /// Keeps connected until told to stop.
    pub(in crate::sensors) async fn run(mut self, stopping: CancellationToken) {
        let mut backoff = Backoff::new(BackoffPolicy::default());
        let mut routes = Routes::new(&self.config);
        let url = self.url.to_string();
        self.inlet.broker(&self.name, |state| state.seen.url = url);
        loop {
            let ended = tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                dialled = self.dial() => match dialled {
                    Ok(stream) => self.talk(stream, &mut routes, &mut backoff, &stopping).await,
                    Err(error) => Err(error),
                },
            };
            let Err(error) = ended else { return };
            let told = error.chain();
            let wait = backoff.failed(self.clock.now(), rand::random());
            let at = self.clock.wall();
            let known = error.message().to_owned();
            self.inlet.broker(&self.name, |state| state.link(Link::Lost, Some(known.clone()), at));
            self.inlet.source_error(&self.origin, Some(&format!("mqtt broker {}: {known}", self.name)));
            if backoff.failures() == 1 {
                warn!("{told}; tried again in {:.1} s", wait.as_secs_f64());
            } else {
                debug!("{told}; tried again in {:.1} s", wait.as_secs_f64());
            }
            tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                () = sleep(wait) => {}
            }
        }
    }

    async fn dial(&self) -> Result<Box<dyn Stream>> {
        let (host, port) = (self.url.host(), self.url.port());
        let stream = dial::connect(&dial::look_up(host, port).await?).await?;
        if !self.url.is_tls() {
            return Ok(Box::new(stream));
        }
        dial::secure(stream, host, trust::client_config(&self.config.tls)?).await
    }

    fn hello(&self, announcer: Option<&Announcer>) -> Hello {
        let login = self.config.username.clone();
        Hello {
            client_id: self.client_id.clone(),
            login: login.map(|user| (user, self.config.password.clone().unwrap_or_default())),
            keep_alive: u16::try_from(self.config.keep_alive.duration().as_secs()).unwrap_or(u16::MAX),
            will: announcer.map(Announcer::will),
            max_packet: u32::try_from(self.config.max_packet_size.bytes()).unwrap_or(u32::MAX),
        }
    }

    /// One connection, to its end. `Ok` when we were told to stop.
    async fn talk(
        &mut self,
        stream: Box<dyn Stream>,
        routes: &mut Routes,
        backoff: &mut Backoff,
        stopping: &CancellationToken,
    ) -> Result<()> {
        let mut announcer = self.config.announce.as_ref().map(Announcer::new);
        let lost = |error: SessionError| Error::new(Kind::Unavailable, error.to_string());
        let hello = self.hello(announcer.as_ref());
        let mut session = Session::new(wire(self.config.version), hello, self.clock.now()).map_err(lost)?;
        let (mut reading, mut writing) = tokio::io::split(stream);
        let mut buffer = BytesMut::with_capacity(16 * 1024);
        let (mut open, mut announce_at) = (false, None);
        // Who waits for the broker's word. With the connection it is given up, and they hear of that.
        let mut waiting = BTreeMap::new();
        loop {
            buffer.clear();
            let (deadline, has_room) = (self.clock.instant(session.deadline()), session.has_room());
            let write = if session.outgoing().is_empty() {
                Either::Left(pending())
            } else {
                Either::Right(writing.write_buf(session.outgoing()))
            };
            let announcing = announce_at.map_or_else(
                || Either::Left(pending()),
                |at: crate::base::Monotonic| Either::Right(sleep_until(self.clock.instant(at))),
            );
            // What is borrowed for writing is the session: everything else of it happens after the wait.
            let happened = tokio::select! {
                biased;
                () = stopping.cancelled() => Happened::Stop,
                written = write => Happened::Wrote(written.and_then(|length: usize| {
                    if length == 0 { Err(std::io::ErrorKind::WriteZero.into()) } else { Ok(()) }
                })),
                read = reading.read_buf(&mut buffer) => Happened::Read(read),
                changed = self.changed.changed(), if open && announcer.is_some() && announce_at.is_none() => {
                    if changed.is_err() { Happened::Stop } else { Happened::Changed }
                }
                Some(publication) = self.publications.recv(), if open && has_room => {
                    Happened::Publish(publication)
                }
                () = announcing => Happened::Announce,
                () = sleep_until(deadline) => Happened::Deadline,
            };
            let now = self.clock.now();
            match happened {
                Happened::Stop => {
                    if open {
                        if let Some((topic, payload)) = announcer.as_ref().map(Announcer::will) {
                            session.publish(&topic, &payload, true, now).map_err(lost)?;
                        }
                        session.disconnect(now).map_err(lost)?;
                        let goodbye = async {
                            writing.write_all_buf(session.outgoing()).await?;
                            writing.shutdown().await
                        };
                        // Nobody is left who would want to know that it failed.
                        let _ = timeout(GOODBYE, goodbye).await;
                    }
                    return Ok(());
                }
                Happened::Wrote(Err(error)) | Happened::Read(Err(error)) => {
                    return Err(Error::new(Kind::Unavailable, "the connection broke").caused_by(error));
                }
                Happened::Read(Ok(0)) => {
                    return Err(Error::new(Kind::Unavailable, "the broker closed the connection"));
                }
                Happened::Wrote(Ok(())) => {}
                Happened::Deadline => session.handle_deadline(now).map_err(lost)?,
                Happened::Changed => announce_at = Some(now + ANNOUNCE_EVERY),
                Happened::Publish(publication) => {
                    if let Some((id, told)) = publish(&mut session, publication, now).map_err(lost)? {
                        waiting.insert(id, told);
                    }
                }
                Happened::Announce => {
                    announce_at = None;
                    self.announce(&mut session, announcer.as_mut())?;
                }
                Happened::Read(Ok(_)) => {
                    for event in session.handle_bytes(&buffer, now).map_err(lost)? {
                        if event == Event::Connected {
                            open = true;
                            backoff.succeeded(now);
                            self.connected(&mut session, routes, announcer.as_ref())?;
                            self.announce(&mut session, announcer.as_mut())?;
                        }
                        if let Event::Taken(id, taken) = event {
                            if let Some(told) = waiting.remove(&id) {
                                // Whoever waited may have given up.
                                let _ = told.send(taken.map_err(|why| refused(&why)));
                            }
                            continue;
                        }
                        self.handle(event, &mut session, routes, announcer.as_mut(), &mut announce_at)?;
                    }
                }
            }
        }
    }
}

/// What the loop of a connection woke up for.
enum Happened {
    Stop,
    Wrote(std::io::Result<()>),
    Read(std::io::Result<usize>),
    Changed,
    Publish(Publication),
    Announce,
    Deadline,
}

/// The number of a message, and who waits for the broker's word on it.
type InFlight = (u16, oneshot::Sender<Result<()>>);

/// Sends what somebody still waits for.
fn publish(
    session: &mut Session,
    publication: Publication,
    now: crate::base::Monotonic,
) -> Result<Option<InFlight>, SessionError> {
    let Publication { topic, payload, retain, told } = publication;
    if told.is_closed() {
        return Ok(None);
    }
    match session.publish_surely(&topic, &payload, retain, now)? {
        Ok(id) => Ok(Some((id, told))),
        Err(unsendable) => {
            let _ = told.send(Err(refused(&unsendable.to_string())));
            Ok(None)
        }
    }
}

fn refused(why: &str) -> Error {
    Error::new(Kind::FailedPrecondition, format!("message refused: {why}"))
}

impl Broker {
    fn connected(&self, session: &mut Session, routes: &Routes, announcer: Option<&Announcer>) -> Result<()> {
        let (url, at, now) = (&self.url, self.clock.wall(), self.clock.now());
        info!(%url, "connected");
        self.inlet.broker(&self.name, |state| state.link(Link::Connected, None, at));
        self.inlet.source_error(&self.origin, None);
        let mut filters = routes.filters();
        filters.extend(announcer.map(Announcer::birth));
        let lost = |error: SessionError| Error::new(Kind::Unavailable, error.to_string());
        session.subscribe(&filters, now).map_err(lost)
    }

    fn announce(&self, session: &mut Session, announcer: Option<&mut Announcer>) -> Result<()> {
        let Some(announcer) = announcer else { return Ok(()) };
        let lost = |error: SessionError| Error::new(Kind::Unavailable, error.to_string());
        for message in announcer.messages(&self.house.state(&self.inlet.snapshot())) {
            session.publish(&message.topic, &message.payload, message.retain, self.clock.now()).map_err(lost)?;
        }
        let dropped = session.dropped();
        self.inlet.broker(&self.name, |state| state.seen.dropped = dropped);
        Ok(())
    }

    fn handle(
        &self,
        event: Event,
        session: &mut Session,
        routes: &mut Routes,
        announcer: Option<&mut Announcer>,
        announce_at: &mut Option<crate::base::Monotonic>,
    ) -> Result<()> {
        let now = self.clock.now();
        let lost = |error: SessionError| Error::new(Kind::Unavailable, error.to_string());
        match event {
            Event::Connected | Event::Taken(..) => {}
            Event::Refused(filters) => {
                let at = self.clock.wall();
                let message = format!("the broker does not let us read {}", filters.join(", "));
                warn!("{message}");
                self.inlet.broker(&self.name, |state| state.fault(message, at));
            }
            Event::TooLarge(size) => {
                let at = self.clock.wall();
                let message = format!("a message of {size} bytes is larger than `max_packet_size`");
                self.inlet.broker(&self.name, |state| state.fault(message, at));
            }
            Event::Message { topic, payload, retained } => {
                if let Some(announcer) = announcer
                    && announcer.is_birth(&topic, &payload)
                    && !retained
                {
                    // Home Assistant began anew, and knows nothing of us.
                    announcer.forget();
                    announce_at.get_or_insert(now + ANNOUNCE_EVERY);
                }
                let heard = routes.handle_message(&topic, &payload);
                for left in self.inlet.hear(&self.name, &self.origin, retained, heard) {
                    match left {
                        Heard::Subscribe(topics) => session.subscribe(&topics, now).map_err(lost)?,
                        Heard::Unsubscribe(topics) => session.unsubscribe(&topics, now).map_err(lost)?,
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }
}
