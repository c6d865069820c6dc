//! What a provider let through since its allowance was last used up.
//!
//! Takes deliveries with `now`; gives messages a second. At two refusals the provider's bucket was empty: what passed between
//! them is at most its rate times that time, and about that. Where the bucket was full at the start, a second's worth of it
//! is not rate. Too few messages or too short a time give no measurement, but still a bound.

use crate::domain::Timestamp;

/// Messages that a measurement needs.
const MESSAGES_LEAST: u64 = 6;
/// The same for a rough one.
const ROUGH_MESSAGES_LEAST: u64 = 2;
/// The shortest time to measure over.
const SECONDS_LEAST: f64 = 0.8;
/// The same in latencies, because deliveries are heard of late.
const LATENCIES_LEAST: f64 = 1.5;
/// The shortest time that bounds anything.
const BOUND_SECONDS_LEAST: f64 = 1.0;

/// Deliveries since a time.
#[derive(Debug, Clone, Copy)]
pub struct LetThrough {
    from: Timestamp,
    delivered: u64,
    was_full: bool,
    /// The same from before a short hold on: too little where the bucket ran over meanwhile, but never too much.
    overall: (Timestamp, u64),
}

impl LetThrough {
    /// Counts from this time on; whether the provider's bucket may have been full then.
    #[must_use]
    pub fn new(from: Timestamp, was_full: bool) -> Self {
        Self {
            from,
            delivered: 0,
            was_full,
            overall: (from, 0),
        }
    }

    /// Begins to measure anew after a short hold, with the bucket as it was.
    #[must_use]
    pub fn resumed(self, from: Timestamp) -> Self {
        Self {
            from,
            delivered: 0,
            was_full: false,
            ..self
        }
    }

    /// The beginning.
    #[must_use]
    pub fn since(&self) -> Timestamp {
        self.from
    }

    /// Messages since then.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.delivered
    }

    /// A message was delivered.
    pub fn on_delivered(&mut self, now: Timestamp) {
        self.delivered += u64::from(now >= self.from);
        self.overall.1 += u64::from(now >= self.overall.0);
    }

    /// Whether nothing at all came through, though there was time.
    #[must_use]
    pub fn is_nothing(&self, now: Timestamp) -> bool {
        self.delivered == 0 && now >= self.from
    }

    /// Messages a second, where deliveries take this many seconds to be heard of.
    #[must_use]
    pub fn measured(&self, latency: f64, now: Timestamp) -> Option<f64> {
        let seconds = now.since(self.from).as_secs_f64();
        if self.delivered < MESSAGES_LEAST || seconds < SECONDS_LEAST.max(LATENCIES_LEAST * latency) {
            return None;
        }
        let seconds = seconds + if self.was_full { 1.0 } else { 0.0 };
        #[expect(clippy::cast_precision_loss, reason = "counts of messages")]
        let rate = (self.delivered as f64 - 0.5) / seconds;
        Some(rate)
    }

    /// About so many a second where there were too few to measure by, if at least two came through.
    #[must_use]
    pub fn roughly(&self, latency: f64, now: Timestamp) -> Option<f64> {
        let least = BOUND_SECONDS_LEAST.max(LATENCIES_LEAST * latency);
        let rate = |(from, delivered): (Timestamp, u64)| {
            let seconds = now.since(from).as_secs_f64();
            #[expect(clippy::cast_precision_loss, reason = "counts of messages")]
            let rate = delivered as f64 / seconds.max(0.001);
            Some(rate).filter(|_| delivered >= ROUGH_MESSAGES_LEAST && seconds >= least && !self.was_full)
        };
        rate((self.from, self.delivered))
            .into_iter()
            .chain(rate(self.overall))
            .reduce(f64::max)
    }

    /// No more than this a second, as whole messages go.
    #[must_use]
    pub fn at_most(&self, now: Timestamp) -> Option<f64> {
        let bound = |(from, delivered): (Timestamp, u64)| {
            let seconds = now.since(from).as_secs_f64();
            #[expect(clippy::cast_precision_loss, reason = "counts of messages")]
            let bound = (delivered + 1) as f64 / seconds.max(BOUND_SECONDS_LEAST);
            Some(bound).filter(|_| seconds >= BOUND_SECONDS_LEAST && !self.was_full)
        };
        bound((self.from, self.delivered))
            .into_iter()
            .chain(bound(self.overall))
            .reduce(f64::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_two_refusals_it_gives_the_rate_and_less_when_the_bucket_was_full() {
        for (was_full, expect) in [(false, 9.95), (true, 9.05)] {
            let mut through = LetThrough::new(Timestamp(0), was_full);
            (1..=100).for_each(|index| through.on_delivered(Timestamp(index * 100)));
            let rate = through.measured(0.5, Timestamp(10_000)).unwrap();
            assert!((rate - expect).abs() < 0.01, "{rate}");
        }
    }

    #[test]
    fn a_few_messages_are_no_measurement_but_a_bound() {
        let mut through = LetThrough::new(Timestamp(0), false);
        through.on_delivered(Timestamp(1_000));
        assert_eq!(through.measured(0.1, Timestamp(4_000)), None);
        assert_eq!(through.at_most(Timestamp(4_000)), Some(0.5));
        assert!(!through.is_nothing(Timestamp(4_000)));
        assert!(LetThrough::new(Timestamp(0), false).is_nothing(Timestamp(1)));
    }

    #[test]
    fn over_a_hold_a_canary_alone_bounds_the_rate() {
        let mut through = LetThrough::new(Timestamp(0), false);
        through.on_delivered(Timestamp(2_000));
        let mut through = through.resumed(Timestamp(2_000));
        assert_eq!(through.at_most(Timestamp(2_500)), Some(0.8));
        assert_eq!(through.roughly(0.1, Timestamp(2_500)), None);
        through.on_delivered(Timestamp(4_000));
        assert_eq!(through.roughly(0.1, Timestamp(4_000)), Some(0.5));
        assert_eq!(through.messages(), 1);
    }
}
