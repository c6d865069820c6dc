//! How a pace yields and comes back: down at once, then up on a cubic curve that is flat where it was refused.
//!
//! Takes a depth and `now`; gives the part of the pace that holds. Never above one.

use std::time::Duration;

use crate::domain::Timestamp;

/// The time in which a pace comes back.
pub const RECOVERY: Duration = Duration::from_secs(10);

/// Of what is sent, what is left after a further refusal.
const DEEPER: f64 = 0.8;

/// One yielding.
#[derive(Debug, Clone, Copy)]
pub struct Dip {
    depth: f64,
    since: Timestamp,
}

impl Dip {
    /// Down to this part of the pace, from now on.
    #[must_use]
    pub fn new(depth: f64, now: Timestamp) -> Self {
        Self {
            depth: depth.clamp(0.0, 1.0),
            since: now,
        }
    }

    /// The same from now on, but deeper than it is.
    #[must_use]
    pub fn deeper(&self, now: Timestamp) -> Self {
        Self::new(self.part(now) * DEEPER, now)
    }

    /// The part of the pace that holds now.
    #[must_use]
    pub fn part(&self, now: Timestamp) -> f64 {
        let left = 1.0 - (now.since(self.since).as_secs_f64() / RECOVERY.as_secs_f64()).min(1.0);
        1.0 - (1.0 - self.depth) * left.powi(3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_at_its_depth_rises_and_ends_at_the_whole_pace() {
        let dip = Dip::new(0.6, Timestamp(1_000));
        let parts: Vec<f64> = (0..=12)
            .map(|second| dip.part(Timestamp(1_000 + second * 1_000)))
            .collect();
        assert!((parts[0] - 0.6).abs() < 1e-9);
        assert!(parts.is_sorted(), "{parts:?}");
        assert!(parts[5] > 0.9, "half the time brings most of it back");
        assert!((parts[12] - 1.0).abs() < 1e-9);
    }
}
