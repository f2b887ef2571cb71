//! Derived tracks: AAC, G.711 and L16 become Opus, once per rendition and only while a door needs it.
//!
//! The track itself stands in the stream's list from the beginning (`media::derived` says which), and its units flow into
//! the same ring as those it is made of; a door reads them like any other. What a door has to do is to hold a
//! [`Derived`] meanwhile. Decoding and encoding run on the ordinary runtime, never on a thread that moves media.

mod decode;
mod resample;
mod task;
mod transcode;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::info_span;

use crate::{
    base::{Clock, PathName, Rendition, Tasks},
    hub::Stream,
};

/// What makes derived tracks. Clones share it.
#[derive(Clone, Debug)]
pub struct Audio {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    tasks: Tasks,
    /// Held for a look-up or an insert.
    running: Mutex<HashMap<(PathName, Rendition), Weak<Running>>>,
}

#[derive(Debug)]
struct Running {
    /// Turns true when what the ring held has been made into Opus; closed when the task has ended.
    caught_up: watch::Receiver<bool>,
    _stop: DropGuard,
}

/// The derived track of one rendition flows as long as one of these lives.
#[derive(Clone, Debug)]
pub struct Derived(Arc<Running>);

/// How long a door waits at most for the sound of what the ring already holds.
const CATCH_UP: Duration = Duration::from_secs(1);

impl Audio {
    /// Nothing is made yet.
    pub fn new(clock: Clock, tasks: &Tasks) -> Self {
        Self { shared: Arc::new(Shared { clock, tasks: tasks.child(), running: Mutex::default() }) }
    }

    /// Lets the derived track of a rendition flow.
    pub fn derive(&self, path: &PathName, stream: &Stream) -> Derived {
        let mut running = self.shared.running.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (path.clone(), stream.rendition());
        let alive = running.get(&key).and_then(Weak::upgrade).filter(|running| running.caught_up.has_changed().is_ok());
        if let Some(alive) = alive {
            return Derived(alive);
        }
        running.retain(|_, running| running.strong_count() > 0);
        let stop = CancellationToken::new();
        let (caught_up_tx, caught_up) = watch::channel(false);
        let span = info_span!("opus", path = %path, rendition = stream.rendition().name());
        let body = task::run(path.clone(), stream.clone(), self.shared.clock, caught_up_tx, stop.clone());
        let server = self.shared.tasks.stopping().clone();
        let until_stopped = async move {
            tokio::select! {
                biased;
                () = server.cancelled() => {}
                () = body => {}
            }
        };
        self.shared.tasks.spawn(format!("audio/{path}/{}", stream.rendition()), span, until_stopped);
        let started = Arc::new(Running { caught_up, _stop: stop.drop_guard() });
        running.insert(key, Arc::downgrade(&started));
        Derived(started)
    }
}

impl Derived {
    /// Waits until what the ring held has become Opus too, for a second at most: whoever starts in the past wants it.
    pub async fn caught_up(&self) {
        let mut caught_up = self.0.caught_up.clone();
        // Late or ended: the door goes on without that sound.
        let _ = tokio::time::timeout(CATCH_UP, caught_up.wait_for(|caught_up| *caught_up)).await;
    }
}
