//! How many want a rendition: a count that the path task waits on.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::Notify;

#[derive(Debug, Default)]
struct Shared {
    count: AtomicUsize,
    changed: Notify,
}

/// The demand for one rendition, as its path sees it.
#[derive(Clone, Debug, Default)]
pub(super) struct Demands {
    shared: Arc<Shared>,
}

impl Demands {
    /// Somebody wants the rendition until the result is dropped.
    pub(super) fn raise(&self) -> Demand {
        self.shared.count.fetch_add(1, Ordering::AcqRel);
        self.shared.changed.notify_one();
        Demand { demands: self.clone() }
    }

    pub(super) fn count(&self) -> usize {
        self.shared.count.load(Ordering::Acquire)
    }

    /// Waits for the count to change. One task waits here, the path's.
    pub(super) async fn changed(&self) {
        self.shared.changed.notified().await;
    }
}

/// One who wants a rendition; dropping it lowers the demand.
#[derive(Debug)]
pub struct Demand {
    demands: Demands,
}

impl Demand {
    pub(super) fn count(&self) -> usize {
        self.demands.count()
    }
}

impl Drop for Demand {
    fn drop(&mut self) {
        self.demands.shared.count.fetch_sub(1, Ordering::AcqRel);
        self.demands.shared.changed.notify_one();
    }
}
