//! How many things may happen a second: a token bucket with made-up time.
//!
//! Takes a rate and `now`; gives "yes" or "not before". The burst is half a second of rate and at least one, so that a
//! pause is never followed by a flood. Never sleeps.

use std::time::Duration;

use crate::domain::Timestamp;

/// Tokens that refill at a steady rate.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    per_second: f64,
    burst: f64,
    tokens: f64,
    filled_at: Timestamp,
}

impl TokenBucket {
    /// A full bucket. `per_second` must be above zero; values below one in a day are raised to that.
    #[must_use]
    pub fn new(per_second: f64, now: Timestamp) -> Self {
        let per_second = if per_second.is_finite() {
            per_second.max(1.0 / 86_400.0)
        } else {
            1.0
        };
        let burst = (per_second / 2.0).max(1.0);
        Self {
            per_second,
            burst,
            tokens: burst,
            filled_at: now,
        }
    }

    /// Takes one token, or tells when one will be there.
    pub fn take(&mut self, now: Timestamp) -> Result<(), Timestamp> {
        let elapsed = now.since(self.filled_at).as_secs_f64();
        self.tokens = (self.tokens + elapsed * self.per_second).min(self.burst);
        self.filled_at = self.filled_at.max(now);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        let wait = (1.0 - self.tokens) / self.per_second;
        // A millisecond more: rounding must not make the caller ask again at the same instant.
        Err(now.plus(Duration::from_secs_f64(wait) + Duration::from_millis(1)))
    }

    /// Gives back a token that was taken and not used.
    pub fn put_back(&mut self) {
        self.tokens = (self.tokens + 1.0).min(self.burst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_a_minute_it_gives_the_rate_and_no_more_than_one_burst() {
        for rate in [0.5, 2.0, 20.0, 333.0] {
            let mut bucket = TokenBucket::new(rate, Timestamp(0));
            let mut given = 0.0;
            let mut now = Timestamp(0);
            while now < Timestamp(60_000) {
                match bucket.take(now) {
                    Ok(()) => given += 1.0,
                    Err(until) => {
                        assert!(until > now, "it must name a later time");
                        now = until;
                    }
                }
            }
            assert!(
                given <= rate * 60.0 + (rate / 2.0).max(1.0) + 1.0,
                "{rate}/s gave {given}"
            );
            assert!(given >= rate * 60.0 * 0.9, "{rate}/s gave only {given}");
        }
    }

    #[test]
    fn a_long_pause_is_not_followed_by_a_flood() {
        let mut bucket = TokenBucket::new(10.0, Timestamp(0));
        let later = Timestamp(3_600_000);
        let burst = (0..100).take_while(|_| bucket.take(later).is_ok()).count();
        assert_eq!(burst, 5);
    }

    #[test]
    fn a_clock_that_stands_still_gives_nothing_and_a_returned_token_is_there_again() {
        let mut bucket = TokenBucket::new(1.0, Timestamp(9_000));
        assert!(bucket.take(Timestamp(9_000)).is_ok());
        assert!(bucket.take(Timestamp(5_000)).is_err());
        bucket.put_back();
        assert!(bucket.take(Timestamp(9_000)).is_ok());
    }
}
