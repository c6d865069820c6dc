//! How long the phases of a session took.
//!
//! Takes the engine's clock, gives durations for metrics. Never decides anything: deadlines are in `deadlines.rs`.

use std::time::Duration;

use crate::clock::Clock;

/// What each phase took; none if it was not reached, or not needed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PhaseTimes {
    /// TCP.
    pub connect: Option<Duration>,
    /// Greeting, EHLO and AUTH, without the handshake between them.
    pub greeting: Option<Duration>,
    /// The TLS handshake.
    pub starttls: Option<Duration>,
    /// From MAIL to the reply to DATA, or to the refusal before it.
    pub envelope: Option<Duration>,
    /// From 354 to the final dot: recording the INTENT, and sending a large message meanwhile.
    pub body: Option<Duration>,
    /// From the final dot to the reply to it.
    pub dot: Option<Duration>,
}

/// Measures one phase after the other.
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
