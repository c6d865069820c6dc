//! Whether the final dot may leave, as far as lease and Source are concerned.
//!
//! Takes until when the lease is held, whether the Source is ours, and the time; gives yes or no, before INTENT is asked for
//! and again after the store said yes. A yes that comes late is a no: whoever slept over it may have lost its lease, and the
//! Delivery may have expired or gone out from elsewhere. Never asks the store.

use std::time::Duration;

use super::ownership::{margin, still_ours};
use crate::domain::Timestamp;

/// A yes to an INTENT counts for this part of a lease, from when it was asked for: leases are renewed at a third, so that
/// two thirds were left.
const INTENT_GOOD_FOR: u32 = 3;

/// What a session knows of the Delivery in its hand, at one look at the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding {
    /// The end of the lease.
    pub until: Timestamp,
    /// Whether the Source is ours.
    pub source_is_ours: bool,
    /// How long a lease lasts.
    pub lease: Duration,
}

impl Holding {
    /// Whether INTENT may be asked for.
    #[must_use]
    pub fn is_safe(&self, now: Timestamp) -> bool {
        self.source_is_ours && still_ours(self.until, margin(self.lease), now)
    }

    /// Whether a yes to an INTENT that was asked for at `asked_at` counts at `now`.
    #[must_use]
    pub fn counts(&self, asked_at: Timestamp, now: Timestamp) -> bool {
        self.is_safe(now) && now.since(asked_at) < self.lease / INTENT_GOOD_FOR
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000;

    fn holding(until: u64, source_is_ours: bool) -> Holding {
        Holding {
            until: Timestamp(until * SECOND),
            source_is_ours,
            lease: Duration::from_secs(60),
        }
    }

    #[test]
    fn a_lease_near_its_end_and_a_source_of_others_keep_the_dot() {
        let at = |second: u64| Timestamp(second * SECOND);
        assert!(holding(100, true).is_safe(at(84)));
        assert!(!holding(100, true).is_safe(at(85)), "a quarter of the lease is margin");
        assert!(!holding(100, false).is_safe(at(0)));
        assert!(!holding(0, true).is_safe(at(0)), "a lease that was lost");
    }

    #[test]
    fn a_yes_that_was_slept_over_is_a_no_although_the_lease_was_renewed() {
        let (asked, ours) = (Timestamp(10 * SECOND), holding(1_000, true));
        assert!(ours.counts(asked, Timestamp(29 * SECOND)));
        assert!(!ours.counts(asked, Timestamp(30 * SECOND)));
        assert!(
            !holding(40, true).counts(asked, Timestamp(29 * SECOND)),
            "nor near the lease's end"
        );
    }
}
