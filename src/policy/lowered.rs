//! Whether a pace has come down not long ago: what came down may go up again.
//!
//! Takes each change of a pace with `now`; gives yes or no. A pace that was kept for a while and left for one well below it is
//! remembered for an hour. Steps of one fall count from where it began.

use std::time::Duration;

use crate::domain::Timestamp;

/// A pace below this part of an earlier one has been lowered.
const LOWERED: f64 = 0.75;
/// For so long that is remembered.
const REMEMBERED: Duration = Duration::from_secs(3600);
/// A pace that was kept for this long counts.
const KEPT: Duration = Duration::from_secs(40);

/// The pace before the last fall.
#[derive(Debug, Clone, Copy)]
pub struct Lowered {
    before: Option<(f64, Timestamp)>,
    kept_since: Timestamp,
}

impl Lowered {
    /// Nothing has come down.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self {
            before: None,
            kept_since: now,
        }
    }

    /// The pace changed.
    pub fn on_change(&mut self, old: f64, new: f64, now: Timestamp) {
        let was_kept = now.since(self.kept_since) >= KEPT;
        if was_kept && new < old && !self.is_lowered(new, now) {
            self.before = Some((old, now));
        }
        if new < LOWERED * old || !was_kept {
            self.kept_since = now;
        }
    }

    /// Whether this pace is well below an earlier one.
    #[must_use]
    pub fn is_lowered(&self, pace: f64, now: Timestamp) -> bool {
        self.before
            .is_some_and(|(before, at)| now.since(at) < REMEMBERED && pace < LOWERED * before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fall_in_steps_counts_from_where_it_began_and_is_forgotten_after_an_hour() {
        let mut lowered = Lowered::new(Timestamp(0));
        lowered.on_change(40.0, 38.0, Timestamp(100_000));
        lowered.on_change(38.0, 10.0, Timestamp(101_000));
        lowered.on_change(10.0, 9.5, Timestamp(102_000));
        assert!(lowered.is_lowered(9.5, Timestamp(200_000)));
        assert!(!lowered.is_lowered(39.0, Timestamp(200_000)));
        assert!(!lowered.is_lowered(9.5, Timestamp(3_800_000)));
    }
}
