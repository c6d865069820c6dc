//! Measures the phases of a session, one after the other.
//!
//! Takes the engine's clock, gives durations for metrics. Never decides anything: deadlines are in `deadlines.rs`.

use std::time::Duration;

use crate::clock::Clock;

/// Runs from one lap to the next.
pub(super) struct Stopwatch {
    clock: Clock,
    last: Duration,
}

impl Stopwatch {
    /// The first phase begins.
    pub(super) fn start(clock: &Clock) -> Self {
        Self {
            last: clock.uptime(),
            clock: clock.clone(),
        }
    }

    /// A phase ended and the next one begins; what the ended one took.
    pub(super) fn lap(&mut self) -> Duration {
        let now = self.clock.uptime();
        now.saturating_sub(std::mem::replace(&mut self.last, now))
    }
}
