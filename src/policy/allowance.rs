//! How many messages a provider lets through at once before its rate bites: the size of its bucket, as far as it can be seen.
//!
//! Takes deliveries and the times of climbs (probes one after the other, none refused); gives messages. What went through on a
//! climb beyond the pace that was found afterwards came out of the bucket. A guess, and used as one: for how long a probe
//! must last to mean anything.

use crate::domain::Timestamp;

/// What was seen of a provider's bucket.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    messages: f64,
    delivered: u64,
    climb: Option<(Timestamp, u64)>,
    climbed: Option<(f64, f64)>,
}

impl Allowance {
    /// Nothing is known; the first climb begins.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self {
            messages: 0.0,
            delivered: 0,
            climb: Some((now, 0)),
            climbed: None,
        }
    }

    /// A message was delivered.
    pub fn on_delivered(&mut self) {
        self.delivered += 1;
    }

    /// A probe begins while this was the pace. Gives the messages that must go out on top of the pace to mean anything.
    pub fn on_probe(&mut self, pace: f64, now: Timestamp) -> f64 {
        if let Some((seconds, delivered)) = self.climbed.take() {
            let beyond = (delivered - seconds * pace).max(0.0);
            self.messages += (beyond - self.messages) / 2.0;
        }
        self.climb.get_or_insert((now, self.delivered));
        self.messages
    }

    /// A message was refused: the climb, if there was one, is over.
    pub fn on_refused(&mut self, now: Timestamp) {
        #[expect(clippy::cast_precision_loss, reason = "counts of messages")]
        let climbed = |(since, delivered): (Timestamp, u64)| {
            (now.since(since).as_secs_f64(), (self.delivered - delivered) as f64)
        };
        self.climbed = self.climb.take().map(climbed).or(self.climbed);
    }

    /// The climb means nothing.
    pub fn forget_climb(&mut self) {
        self.climb = None;
        self.climbed = None;
    }
}
