//! The task of one rendition, which alone owns its state: it starts and stops the source as the machine says, and tells
//! where the rendition stands.

use std::sync::{Arc, atomic::Ordering};

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, info, info_span, warn};

use super::{Stream, StreamSnapshot};
use crate::{
    base::{
        Error, Kind, PathName, Tasks,
        backoff::{Backoff, BackoffPolicy},
    },
    hub::{
        ring::EndReason,
        source::{Feed, Outlook, REPORTS, Report},
        state::{StateMachine, Step, StreamState},
    },
};

/// The task of one rendition.
pub(super) struct Owner {
    pub(super) stream: Stream,
    pub(super) path: PathName,
    pub(super) snapshot: watch::Sender<StreamSnapshot>,
    pub(super) span: Span,
}

/// One run of the source.
struct Running {
    stop: CancellationToken,
    task: crate::base::tasks::Task,
}

impl Owner {
    pub(super) async fn run(self, tasks: &Tasks, stop: CancellationToken) {
        let clock = self.stream.clock;
        let mut machine = StateMachine::new(self.stream.policy, clock.now());
        let (reports_tx, mut reports) = mpsc::channel(REPORTS);
        let mut running: Option<Running> = None;
        // For a source that gives up, or panics; one that loses its camera waits by itself.
        let mut backoff = Backoff::new(BackoffPolicy::default());
        let mut restart_at = None;
        loop {
            for step in machine.poll_steps() {
                match step {
                    Step::Start => running = Some(self.start_source(tasks, &reports_tx)),
                    Step::Stop => {
                        restart_at = None;
                        if let Some(running) = running.take() {
                            running.stop.cancel();
                        }
                        self.stream.ring.clear();
                    }
                    Step::EndReaders(error) => self.stream.ring.set_end(Some(EndReason::SourceLost(error))),
                    Step::HoldReaders => self.stream.ring.set_end(None),
                }
            }
            self.tell(&machine);
            let deadline = [machine.poll_deadline(), restart_at].into_iter().flatten().min();
            let ended = async {
                match &running {
                    Some(running) if restart_at.is_none() => running.task.ended().await,
                    _ => std::future::pending().await,
                }
            };
            let timer = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(clock.instant(at)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(report) = reports.recv() => match report {
                    Report::Live => {
                        backoff.succeeded(clock.now());
                        machine.handle_live(clock.now());
                    }
                    Report::Lost(error, outlook) => {
                        // The next unit is news again.
                        self.stream.inlet.announce.store(true, Ordering::Release);
                        machine.handle_lost(error, outlook, clock.now());
                    }
                },
                () = self.stream.demands.changed() => machine.handle_demand(self.stream.demands.count(), clock.now()),
                () = ended => {
                    let wait = backoff.failed(clock.now(), rand::random());
                    let error = Error::new(Kind::Internal, "the source ended by itself").with_code("source_ended");
                    machine.handle_lost(Arc::new(error), Outlook::Uncertain, clock.now());
                    restart_at = Some(clock.now() + wait);
                }
                () = timer => {
                    let now = clock.now();
                    if restart_at.is_some_and(|at| at <= now) && running.is_some() {
                        restart_at = None;
                        running = Some(self.start_source(tasks, &reports_tx));
                    }
                    machine.handle_timeout(self.stream.ring.newest(), now);
                    if machine.state().0 == StreamState::Stalled {
                        self.stream.inlet.announce.store(true, Ordering::Release);
                    }
                }
            }
        }
        self.stream.ring.set_end(Some(EndReason::Closed));
        if let Some(running) = running {
            running.stop.cancel();
            running.task.ended().await;
        }
    }

    fn start_source(&self, tasks: &Tasks, reports: &mpsc::Sender<Report>) -> Running {
        let stop = tasks.stopping().child_token();
        let feed = Feed {
            path: self.path.clone(),
            rendition: self.stream.rendition,
            inlet: self.stream.inlet.clone(),
            reports: reports.clone(),
            stop: stop.clone(),
            clock: self.stream.clock,
        };
        let span = info_span!(parent: &self.span, "source", source = %self.stream.source.description());
        let name = format!("source/{}/{}", self.path, self.stream.rendition);
        let task = tasks.spawn(name, span.clone(), self.stream.source.run(feed).instrument(span));
        Running { stop, task }
    }

    /// Publishes where the rendition stands, when that changed.
    fn tell(&self, machine: &StateMachine) {
        let (state, since) = machine.state();
        let (clock, error, refuses) = (self.stream.clock, machine.error().cloned(), machine.refuses());
        self.snapshot.send_if_modified(|now| {
            let same_error = now.error.as_ref().map(|e| e.message()) == error.as_ref().map(|e| e.message());
            if now.state == state && same_error && now.refuses == refuses {
                return false;
            }
            if now.state != state {
                let ago = i64::try_from(clock.now().since(since).as_nanos()).unwrap_or(0);
                now.since = clock.wall().plus_nanos(-ago);
                match (state, &error) {
                    (StreamState::Lost, Some(error)) => {
                        warn!(hint = error.hint(), "lost: {}", error.chain());
                    }
                    (StreamState::Stalled, _) => warn!("stalled: the source is connected and silent"),
                    (StreamState::Ready, _) => info!("ready"),
                    _ => tracing::debug!("{}", state.name()),
                }
            }
            (now.state, now.error, now.refuses) = (state, error, refuses);
            true
        });
    }
}
