//! How many requests a key may make: a bucket of one second's worth that fills evenly.
//!
//! Takes the time, gives what is left or how long to wait. In whole numbers: a token is a million parts.

use std::time::Duration;

use crate::domain::Timestamp;

const TOKEN: u64 = 1_000_000;

/// The bucket of one key.
#[derive(Debug)]
pub(crate) struct Bucket {
    parts: u64,
    filled_at: Timestamp,
}

/// Where a key stands after a request: what the `RateLimit` headers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RateStanding {
    /// Requests a second.
    pub(crate) limit: u32,
    /// Requests that may follow at once.
    pub(crate) remaining: u32,
    /// Until the bucket is full again.
    pub(crate) reset: Duration,
    /// Until the next request may come; none when this one may go on.
    pub(crate) wait: Option<Duration>,
}

impl Bucket {
    /// A full bucket.
    pub(crate) fn full(per_second: u32, now: Timestamp) -> Self {
        Self {
            parts: u64::from(per_second) * TOKEN,
            filled_at: now,
        }
    }

    /// Takes one request out, if it is there.
    pub(crate) fn take(&mut self, per_second: u32, now: Timestamp) -> RateStanding {
        let per_second = per_second.max(1);
        let full = u64::from(per_second) * TOKEN;
        let passed = u64::try_from(now.since(self.filled_at).as_millis()).unwrap_or(u64::MAX);
        let gained = passed.saturating_mul(full / 1_000);
        self.parts = self.parts.saturating_add(gained).min(full);
        self.filled_at = self.filled_at.max(now);
        let wait = if self.parts >= TOKEN {
            self.parts -= TOKEN;
            None
        } else {
            Some(time_for(TOKEN - self.parts, full))
        };
        RateStanding {
            limit: per_second,
            remaining: u32::try_from(self.parts / TOKEN).unwrap_or(u32::MAX),
            reset: time_for(full - self.parts, full),
            wait,
        }
    }
}

fn time_for(parts: u64, per_second: u64) -> Duration {
    Duration::from_millis((parts * 1_000).div_ceil(per_second))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lets_a_second_through_at_once_and_the_rest_evenly() {
        let mut bucket = Bucket::full(10, Timestamp(0));
        for left in (0..10).rev() {
            let standing = bucket.take(10, Timestamp(0));
            assert_eq!((standing.wait, standing.remaining), (None, left));
        }
        assert_eq!(bucket.take(10, Timestamp(0)).wait, Some(Duration::from_millis(100)));
        assert_eq!(bucket.take(10, Timestamp(100)).wait, None);
        assert!(bucket.take(10, Timestamp(100)).wait.is_some());
    }

    proptest! {
        #[test]
        fn never_gives_more_than_its_rate(per_second in 1_u32..50, steps in prop::collection::vec(0_u64..300, 1..200)) {
            let mut bucket = Bucket::full(per_second, Timestamp(0));
            let (mut now, mut granted) = (0, 0_u64);
            for step in steps {
                now += step;
                granted += u64::from(bucket.take(per_second, Timestamp(now)).wait.is_none());
                prop_assert!(granted <= u64::from(per_second) * (now + 1_000) / 1_000);
            }
        }
    }
}
