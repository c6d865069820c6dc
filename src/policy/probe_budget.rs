//! How often a lane may try a faster pace: probes are paid for by deliveries.
//!
//! Takes refusals with `now`, and says which of them a probe caused; gives the wait until the next probe. The price of a
//! probe is the refusals it brought, averaged; the wait is the time in which enough is delivered to keep refusals within a
//! share of deliveries. Refusals that no probe caused make probes no dearer: what fell by itself may rise by itself.

use std::time::Duration;

use crate::domain::Timestamp;

/// Refused messages per delivered one that probes may cost.
const SHARE: f64 = 0.0004;
/// The same while the pace was faster not long ago: what came down may go up again.
const SHARE_LOWERED: f64 = 0.0012;
/// The same below `SLOW` messages a second, where a refusal is a larger part of what is sent.
const SHARE_SLOW: f64 = 0.0025;
const SLOW: f64 = 1.85;
/// Time between two probes at least and at most.
pub const PROBE_SOONEST: Duration = Duration::from_secs(40);
const PROBE_LATEST: Duration = Duration::from_secs(3600);
/// Refusals that follow one of a probe this closely are its price too.
const COUNTED_FOR: Duration = Duration::from_secs(30);

/// The price of probes.
#[derive(Debug, Clone, Copy)]
pub struct ProbeBudget {
    price: f64,
    refused: f64,
    counted_until: Timestamp,
    open: bool,
}

impl Default for ProbeBudget {
    fn default() -> Self {
        Self {
            price: 1.0,
            refused: 0.0,
            counted_until: Timestamp(0),
            open: false,
        }
    }
}

impl ProbeBudget {
    /// A message was refused.
    pub fn on_refused(&mut self, now: Timestamp) {
        if now < self.counted_until {
            self.refused += 1.0;
            self.counted_until = now.plus(COUNTED_FOR);
        }
    }

    /// The first refusal of a probe.
    pub fn on_probe_refused(&mut self, now: Timestamp) {
        self.open = true;
        self.refused = 1.0;
        self.counted_until = now.plus(COUNTED_FOR);
    }

    /// The rate fell by itself: what is refused now is not the price of the last probe.
    pub fn void(&mut self) {
        self.open = false;
        self.counted_until = Timestamp(0);
    }

    /// The next probe begins: the account of the last one is closed.
    pub fn on_probe(&mut self) {
        if std::mem::take(&mut self.open) {
            // One dear surprise, as when capacity falls just then, is not the price of probes.
            let price = self.refused.min(3.0 * self.price + 3.0);
            self.price = (self.price + (price - self.price) / 3.0).max(1.0);
        }
    }

    /// How long to wait at this pace.
    #[must_use]
    pub fn wait(&self, rate: f64, is_lowered: bool) -> Duration {
        let share = match (rate < SLOW, is_lowered) {
            (true, _) => SHARE_SLOW,
            (false, true) => SHARE_LOWERED,
            (false, false) => SHARE,
        };
        let seconds = (self.price / (share * rate.max(1e-6))).min(PROBE_LATEST.as_secs_f64());
        Duration::from_secs_f64(seconds).clamp(PROBE_SOONEST, PROBE_LATEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dear_probes_are_rarer_and_refusals_that_no_probe_caused_do_not_count() {
        let mut budget = ProbeBudget::default();
        let cheap = budget.wait(10.0, false);
        (0..100).for_each(|_| budget.on_refused(Timestamp(1_000)));
        budget.on_probe();
        assert_eq!(budget.wait(10.0, false), cheap);
        budget.on_probe_refused(Timestamp(2_000));
        (0..5).for_each(|_| budget.on_refused(Timestamp(2_100)));
        budget.on_probe();
        assert!(budget.wait(10.0, false) > cheap);
        assert!(budget.wait(10.0, true) < budget.wait(10.0, false));
    }
}
