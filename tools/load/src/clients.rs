//! Clients of one kind on a few threads: started one after another, watched, stopped together.
//!
//! Every thread is a one-thread runtime of its own, as in the servers it measures: waking across threads costs more than
//! the work itself.

use std::{
    io,
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::Duration,
};

use tokio::{sync::watch, task::JoinSet, time::sleep};

use crate::{
    counters::{Counter, Counters},
    events::{self, EventsOptions},
    hls::{self, HlsOptions},
    poll::{self, PollOptions},
    rtsp::{self, RtspOptions},
    shared::{Scratch, Shared, scratch},
    whep::{self, WhepOptions},
};

/// What a client does.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Rtsp(RtspOptions),
    Hls(HlsOptions),
    Whep(WhepOptions),
    Events(EventsOptions),
    Poll(PollOptions),
}

impl Kind {
    /// One client, from now until `stop`.
    async fn run(
        &self,
        counters: &Arc<Counters>,
        scratch: &Scratch,
        stop: watch::Receiver<bool>,
    ) -> Result<(), String> {
        let shared = Shared::begin(counters);
        match self {
            Self::Rtsp(options) => rtsp::run(options, &shared, scratch, stop).await.map_err(|error| error.to_string()),
            Self::Whep(options) => whep::run(options, &shared, scratch, stop).await.map_err(|error| error.to_string()),
            Self::Events(options) => {
                events::follow(options, &shared, scratch, stop).await.map_err(|error| error.to_string())
            }
            Self::Poll(options) => poll::run(options, &shared, scratch, stop).await.map_err(|error| error.to_string()),
            Self::Hls(options) => hls::run(options, &shared, scratch, stop).await.map_err(|error| error.to_string()),
        }
    }
}

/// The clients of a run; they end when this is stopped or dropped.
#[derive(Debug)]
pub(crate) struct Clients {
    pub(crate) counters: Vec<Arc<Counters>>,
    ended: Arc<Ended>,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

/// Clients that ended before they were told to.
#[derive(Debug, Default)]
struct Ended {
    count: AtomicU64,
    errors: Mutex<Vec<String>>,
}

impl Clients {
    /// Client `n` begins `ramp * n` from now.
    ///
    /// # Errors
    /// When a thread or its runtime cannot be had.
    pub(crate) fn start(kind: &Kind, count: usize, threads: usize, ramp: Duration) -> io::Result<Self> {
        let counters: Vec<Arc<Counters>> = (0..count).map(|_| Arc::default()).collect();
        let (stop, stopped) = watch::channel(false);
        let ended = Arc::<Ended>::default();
        let threads = threads.clamp(1, count.max(1));
        let mut handles = Vec::new();
        for thread in 0..threads {
            let share: Vec<(u32, Arc<Counters>)> =
                (0_u32..).zip(&counters).skip(thread).step_by(threads).map(|(n, one)| (n, one.clone())).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let (kind, stopped, ended) = (kind.clone(), stopped.clone(), ended.clone());
            let body = move || {
                let local = tokio::task::LocalSet::new();
                local.block_on(&runtime, run_share(Rc::new(kind), share, ramp, stopped, ended));
            };
            handles.push(std::thread::Builder::new().name(format!("load-{thread}")).spawn(body)?);
        }
        Ok(Self { counters, ended, stop, threads: handles })
    }

    /// Clients that play.
    pub(crate) fn playing(&self) -> usize {
        self.counters.iter().filter(|one| one.first_media_us.read() > 0).count()
    }

    /// Clients that ended on their own.
    pub(crate) fn failed(&self) -> u64 {
        self.ended.count.load(Relaxed)
    }

    /// Lets every client say goodbye; returns why some ended before.
    pub(crate) fn stop(mut self) -> Vec<String> {
        self.stop.send_replace(true);
        for thread in self.threads.drain(..) {
            // A panic of a client was printed by its thread already.
            let _ = thread.join();
        }
        std::mem::take(&mut *self.ended.errors.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn run_share(
    kind: Rc<Kind>,
    share: Vec<(u32, Arc<Counters>)>,
    ramp: Duration,
    stopped: watch::Receiver<bool>,
    ended: Arc<Ended>,
) {
    let scratch = scratch();
    let mut clients = JoinSet::new();
    for (number, counters) in share {
        let (kind, scratch, mut stop, ended) = (kind.clone(), scratch.clone(), stopped.clone(), ended.clone());
        clients.spawn_local(async move {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                () = sleep(ramp * number) => {}
            }
            let result = kind.run(&counters, &scratch, stop.clone()).await;
            if !*stop.borrow() {
                ended.count.fetch_add(1, Relaxed);
                let mut errors = ended.errors.lock().unwrap_or_else(PoisonError::into_inner);
                errors.push(result.err().unwrap_or_else(|| "ended".to_owned()));
            }
        });
    }
    while clients.join_next().await.is_some() {}
}

/// One client alone, until its first picture or until `patience` is over; says why when there was none.
pub(crate) async fn first_picture(
    kind: &Kind,
    scratch: &Scratch,
    patience: Duration,
) -> (Arc<Counters>, Option<String>) {
    until(kind, scratch, |one| &one.first_picture_us, patience).await
}

/// One client alone, until the `wanted` time is known or `patience` is over; says why when it never was.
pub(crate) async fn until(
    kind: &Kind,
    scratch: &Scratch,
    wanted: fn(&Counters) -> &Counter,
    patience: Duration,
) -> (Arc<Counters>, Option<String>) {
    let counters = Arc::<Counters>::default();
    let (stop, stopped) = watch::channel(false);
    let seen = async {
        while wanted(&counters).read() == 0 {
            sleep(Duration::from_millis(2)).await;
        }
    };
    let mut client = std::pin::pin!(kind.run(&counters, scratch, stopped));
    let error = tokio::select! {
        ended = &mut client => return (counters.clone(), Some(ended.err().unwrap_or_else(|| "ended".to_owned()))),
        () = seen => None,
        () = sleep(patience) => Some(format!("nothing in {} s", patience.as_secs())),
    };
    stop.send_replace(true);
    let _ = client.await;
    (counters.clone(), error)
}
