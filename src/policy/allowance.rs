//! How many messages a provider lets through at once before its rate bites: the size of its bucket, as far as it can be seen.
//!
//! Takes the messages that go out and the times of climbs (probes one after the other, none refused); gives the size, how much
//! faster a probe must go to use that up, and at a climb's refusal the rate that it proves. What a climb sent beyond the pace
//! that holds afterwards came out of the bucket. Guesses, and used as such. Never decides what the pace becomes.

use std::time::Duration;

use crate::domain::Timestamp;

/// Of a climb, so many probes are remembered.
const PROBES_MOST: usize = 16;
/// A climb that sent less proves nothing.
const MESSAGES_LEAST: f64 = 3.0;
/// Until the bucket is known it may hold the messages of so many seconds.
const SECONDS_GUESSED: f64 = 1.0;
/// A climb tells of the bucket where the pace afterwards is within this part of the one before.
const SAME_PACE: f64 = 0.1;
/// The pace cruises about this far below the rate.
const MARGIN: f64 = 0.015;
/// How fast a bucket that looked larger is forgotten.
const KEPT: f64 = 0.9;
/// A probe lasts until so many times the bucket went out on top of the pace, at least a second's worth and one message,
const TIMES_BUCKET: f64 = 1.5;
/// but no longer, and goes fast enough for that,
const PROBE_LONGEST: Duration = Duration::from_secs(80);
/// as long as not more than so many messages are on their way on top when the first answer comes.
const ON_THE_WAY_MOST: f64 = 0.3;

/// What was seen of a provider's bucket.
#[derive(Debug, Clone)]
pub struct Allowance {
    messages: Option<f64>,
    sent: u64,
    climb: Option<Climb>,
    ended: Option<Ended>,
}

/// Probes of which none was refused yet: the pace before the first, and what had been sent when each began.
#[derive(Debug, Clone)]
struct Climb {
    pace: f64,
    probes: Vec<(Timestamp, u64)>,
}

#[derive(Debug, Clone, Copy)]
struct Ended {
    pace: f64,
    seconds: f64,
    sent: f64,
}

/// A climb that was refused: the pace before it, and the rate that it proves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Climbed {
    /// Messages a second.
    pub pace: f64,
    /// None: too few messages.
    pub proved: Option<f64>,
}

impl Allowance {
    /// Nothing is known; the first climb begins.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self {
            messages: None,
            sent: 0,
            climb: Some(Climb {
                pace: 0.0,
                probes: vec![(now, 0)],
            }),
            ended: None,
        }
    }

    /// A message goes out.
    pub fn on_sent(&mut self) {
        self.sent += 1;
    }

    /// A probe this part faster than the pace begins. Gives the time that it must last to mean anything.
    pub fn on_probe(&mut self, pace: f64, step: f64, now: Timestamp) -> Duration {
        if let Some(ended) = self.ended.take() {
            self.learn(ended, pace);
        }
        let climb = self.climb.get_or_insert(Climb {
            pace,
            probes: Vec::new(),
        });
        if climb.probes.len() < PROBES_MOST {
            climb.probes.push((now, self.sent));
        }
        let shortest = TIMES_BUCKET * (1.0_f64).max(1.0 / pace) / step;
        let emptied = TIMES_BUCKET * self.messages.unwrap_or(0.0) / pace / step;
        Duration::from_secs_f64(shortest.max(emptied.min(PROBE_LONGEST.as_secs_f64())))
    }

    /// Of the pace, what a probe goes faster at least, where replies take this many seconds.
    #[must_use]
    pub fn step(&self, pace: f64, latency: f64) -> f64 {
        let pace = pace.max(0.001);
        let cheap = ON_THE_WAY_MOST / (pace * latency).max(0.001);
        let needed = TIMES_BUCKET * (self.messages.unwrap_or(0.0) + 1.0) / pace / PROBE_LONGEST.as_secs_f64();
        needed.min(cheap)
    }

    /// What may have gathered in the bucket since this time, so many messages a second below the rate; and one more.
    #[must_use]
    pub fn refilled(below: f64, since: Timestamp, now: Timestamp) -> f64 {
        1.0 + below * now.since(since).as_secs_f64()
    }

    /// A message that was begun at `started` was refused; `after` it so many were begun, and the bucket held no more than
    /// `refilled`. Gives the climb that this ends, if there was one.
    pub fn on_refused(&mut self, started: Timestamp, after: f64, refilled: f64) -> Option<Climbed> {
        let climb = self.climb.take()?;
        #[expect(clippy::cast_precision_loss, reason = "counts of messages")]
        let since = |(since, sent): &(Timestamp, u64)| {
            let seconds = started.since(*since).as_secs_f64();
            (seconds, ((self.sent - sent) as f64 - 1.0 - after).max(0.0))
        };
        self.ended = climb.probes.first().map(since).map(|(seconds, sent)| Ended {
            pace: climb.pace,
            seconds,
            sent,
        });
        let bucket = self.messages.unwrap_or(0.0).min(refilled);
        let proved = |(seconds, sent): (f64, f64)| {
            let guessed = (sent - 0.5) / (seconds + SECONDS_GUESSED);
            guessed.min((sent - bucket) / seconds.max(0.1))
        };
        let telling = climb
            .probes
            .iter()
            .map(since)
            .filter(|(_, sent)| *sent >= MESSAGES_LEAST);
        Some(Climbed {
            pace: climb.pace,
            proved: telling.map(proved).reduce(f64::max),
        })
    }

    /// The climb means nothing.
    pub fn forget_climb(&mut self) {
        self.climb = None;
        self.ended = None;
    }

    fn learn(&mut self, ended: Ended, pace: f64) {
        if ended.pace > 0.0 && (pace / ended.pace - 1.0).abs() > SAME_PACE {
            return;
        }
        let beyond = (ended.sent - ended.seconds * pace * (1.0 + MARGIN)).max(0.0);
        let fading = |known: f64| beyond.max(KEPT * known + (1.0 - KEPT) * beyond);
        self.messages = Some(self.messages.map_or(beyond, fading));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A climb from 10 a second: 20 a second for as long as the bucket allows.
    fn climb(allowance: &mut Allowance, from: u64, seconds: u64) -> Option<Climbed> {
        allowance.on_probe(10.0, 1.0, Timestamp(from));
        (0..seconds * 20).for_each(|_| allowance.on_sent());
        allowance.on_refused(Timestamp(from + seconds * 1_000), 0.0, 1_000.0)
    }

    #[test]
    fn a_bucket_that_was_seen_explains_the_next_climb_but_not_a_faster_provider() {
        let mut allowance = Allowance::new(Timestamp(0));
        allowance.forget_climb();
        let first = climb(&mut allowance, 0, 4).unwrap();
        assert!(
            first.proved.is_some_and(|rate| rate > 15.0),
            "a bucket of one second is taken for granted: {first:?}"
        );
        let again = climb(&mut allowance, 600_000, 4).unwrap();
        assert!(
            again.proved.is_some_and(|rate| rate <= 10.5),
            "the same bucket: {again:?}"
        );
        let faster = climb(&mut allowance, 1_200_000, 40).unwrap();
        assert!(
            faster.proved.is_some_and(|rate| rate > 18.0),
            "no bucket lasts that long: {faster:?}"
        );
    }

    #[test]
    fn what_was_sent_while_the_provider_slowed_down_tells_nothing_of_its_bucket() {
        let mut allowance = Allowance::new(Timestamp(0));
        allowance.forget_climb();
        climb(&mut allowance, 0, 4);
        allowance.on_probe(2.0, 0.5, Timestamp(60_000));
        assert_eq!(allowance.messages, None);
    }

    #[test]
    fn a_bucket_counts_for_no_more_than_what_can_have_gathered_in_it() {
        let mut allowance = Allowance::new(Timestamp(0));
        allowance.forget_climb();
        climb(&mut allowance, 0, 4);
        allowance.on_probe(10.0, 1.0, Timestamp(60_000));
        (0..80).for_each(|_| allowance.on_sent());
        let refilled = Allowance::refilled(0.3, Timestamp(56_000), Timestamp(60_000));
        let climbed = allowance.on_refused(Timestamp(64_000), 0.0, refilled).unwrap();
        assert!(climbed.proved.is_some_and(|rate| rate > 15.0), "{climbed:?}");
    }
}
