//! The one file that reads clocks: a monotonic age for limits, a wall time for records.
//!
//! Takes nothing, gives ages and Unix milliseconds. Never sleeps and never decides.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A clock that counts from when it was made. Under `tokio::time::pause` its age stands still with tokio's timers.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    started: tokio::time::Instant,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
    pub(crate) fn start() -> Self {
        Self {
            started: tokio::time::Instant::now(),
        }
    }

    /// How long ago the clock was started.
    pub(crate) fn age(&self) -> Duration {
        self.started.elapsed()
    }
}

/// The wall time, in milliseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub(crate) fn unix_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}
