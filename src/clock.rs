//! Where time comes from: the seam that lets whole engines run on made-up time.
//!
//! Takes nothing, gives [`Timestamp`]s. Never goes backwards and never jumps: wall time is read once, at start, and
//! carried on by the monotonic clock, so that a corrected system clock neither releases nor expires a whole queue at once.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::domain::Timestamp;

/// A clock. Cheap to clone; all parts of one engine share one.
#[derive(Debug, Clone)]
pub struct Clock {
    inner: Arc<Anchor>,
}

#[derive(Debug)]
struct Anchor {
    wall: Timestamp,
    monotonic: tokio::time::Instant,
}

impl Clock {
    /// The time of this machine. Under `tokio::time::pause` it stands still with tokio's timers and moves with them.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    pub fn system() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self::starting_at(Timestamp(0).plus(since_epoch))
    }

    /// A clock that shows `wall` now and goes on from there.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
    pub fn starting_at(wall: Timestamp) -> Self {
        Self {
            inner: Arc::new(Anchor {
                wall,
                monotonic: tokio::time::Instant::now(),
            }),
        }
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.inner.wall.plus(self.inner.monotonic.elapsed())
    }

    /// Time since this clock was made: finer than [`Timestamp`], for measuring.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.inner.monotonic.elapsed()
    }

    /// The tokio instant at which this clock will show `at`: for timers.
    #[must_use]
    pub fn instant_of(&self, at: Timestamp) -> tokio::time::Instant {
        let ahead = at.since(self.inner.wall).min(Duration::from_secs(365 * 24 * 3600));
        self.inner.monotonic + ahead
    }
}
