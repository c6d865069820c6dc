//! One probe of a lane's pace: a time in which it goes faster, and what that proves when nothing was refused.
//!
//! Takes its rate and time and the messages that go out; gives the rate that they prove. Never decides when to probe.

use std::time::Duration;

use crate::domain::Timestamp;

/// Of the pace, what a probe must have sent to prove anything; of its own rate, what counts as all of it.
const PROVED_LEAST: f64 = 1.01;
const PROVED_WHOLE: f64 = 0.95;

/// A probe under way.
#[derive(Debug, Clone, Copy)]
pub struct Probe {
    rate: f64,
    since: Timestamp,
    sent: u64,
    until: Timestamp,
}

impl Probe {
    /// Begins at this rate, in messages a second, for so long.
    #[must_use]
    pub fn new(rate: f64, lasts: Duration, now: Timestamp) -> Self {
        Self {
            rate,
            since: now,
            sent: 0,
            until: now.plus(lasts),
        }
    }

    /// Messages a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// A message goes out.
    pub fn on_sent(&mut self) {
        self.sent += 1;
    }

    /// Whether its time is over.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        now >= self.until
    }

    /// The rate that it proves, if it sent more than the pace: no more than went out.
    #[must_use]
    pub fn proved(&self, pace: f64, now: Timestamp) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "counts of messages")]
        let sent = self.sent as f64 / now.since(self.since).as_secs_f64().max(0.001);
        let whole = if sent < PROVED_WHOLE * self.rate {
            sent
        } else {
            self.rate
        };
        Some(whole).filter(|_| sent >= pace * PROVED_LEAST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_proves_no_more_than_went_out() {
        for (sent, expect) in [(150, Some(15.0)), (146, Some(15.0)), (120, Some(12.0)), (100, None)] {
            let mut probe = Probe::new(15.0, Duration::from_secs(10), Timestamp(0));
            (0..sent).for_each(|_| probe.on_sent());
            assert!(!probe.is_over(Timestamp(9_999)) && probe.is_over(Timestamp(10_000)));
            assert_eq!(probe.proved(10.0, Timestamp(10_000)), expect, "{sent}");
        }
    }
}
