//! The one place that reads the clock.

use std::{sync::LazyLock, time::Instant};

/// The monotonic time now.
#[expect(clippy::disallowed_methods, reason = "a meter reads the clock; here and nowhere else")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Microseconds since `start`, at least one, so that zero can mean "not yet".
pub(crate) fn micros_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX).max(1)
}

/// One moment that all threads of this process count from.
pub(crate) fn zero() -> Instant {
    static ZERO: LazyLock<Instant> = LazyLock::new(now);
    *ZERO
}
