//! What a refusal for the rate tells: the pace from now on, and how deep to dip first.
//!
//! Takes the rate that was offered, the pace before, the climb that ended and what came through since the last refusal; gives
//! the new pace. A climb that the provider's allowance explains changes nothing; otherwise what came through between two
//! refusals is the rate, or about that. Never asks how often one may probe.

use crate::domain::Timestamp;
use crate::policy::allowance::Climbed;
use crate::policy::let_through::LetThrough;

/// Of the rate that was refused, what is sent right after.
const DIP: f64 = 0.85;
/// The same when nothing could be measured.
pub const DEEP_DIP: f64 = 0.7;
/// The margin below the measured rate is no larger than this.
const MARGIN_MOST: f64 = 0.1;
/// It grows by this factor when the pace is refused that kept it.
const MARGIN_GROWS: f64 = 1.5;
/// The pace stays this part below what was refused: on a probe, while cruising, and where nothing could be measured.
const BELOW_PROBE: f64 = 0.98;
const BELOW_CRUISE: f64 = 0.97;
const BELOW_GUESS: f64 = 0.95;
/// A pace that so many messages told is believed against a climb that proves less than this part above it.
const TOLD_BY_LEAST: u64 = 12;
const CLIMBED_LEAST: f64 = 1.05;

/// A refusal, and all that bears on it.
#[derive(Debug, Clone, Copy)]
pub struct Refusal<'a> {
    /// The rate at which the refused message was sent, in messages a second.
    pub offered: f64,
    /// The pace before, without what a probe adds.
    pub cruise: f64,
    /// How far below a measured rate the pace stays.
    pub margin: f64,
    /// Whether it met a probe.
    pub was_probe: bool,
    /// The climb that it ended.
    pub climbed: Option<Climbed>,
    /// Messages between the two refusals that told the pace.
    pub told_by: u64,
    /// What came through since the last refusal.
    pub through: &'a LetThrough,
    /// Seconds that a delivery takes.
    pub latency: f64,
}

/// What follows.
#[derive(Debug, Clone, Copy)]
pub struct Verdict {
    /// The new pace, in messages a second.
    pub cruise: f64,
    /// Of it, what is sent at first.
    pub depth: f64,
    /// How far below a measured rate the pace stays from now on.
    pub margin: f64,
    /// Whether the provider's allowance explains the refusal: nothing new was learnt.
    pub is_explained: bool,
}

impl Refusal<'_> {
    /// Judges it.
    #[must_use]
    pub fn verdict(&self, now: Timestamp) -> Verdict {
        let explained = self
            .climbed
            .filter(|climbed| self.was_probe && self.is_explained(*climbed));
        let (margin, (cruise, depth)) = match (explained, self.through.measured(self.latency, now)) {
            (Some(climbed), _) => (self.margin, self.after_climb(climbed)),
            (None, Some(rate)) if self.was_probe => (self.margin, self.after_probe(rate)),
            (None, Some(rate)) => self.after_measuring(rate),
            (None, None) if self.was_probe => (self.margin, (self.cruise.min(self.offered * BELOW_PROBE), DIP)),
            (None, None) => (self.margin, self.after_guessing(now)),
        };
        Verdict {
            cruise,
            depth,
            margin,
            is_explained: explained.is_some(),
        }
    }

    fn is_explained(&self, climbed: Climbed) -> bool {
        let slow = |proved: f64| proved <= CLIMBED_LEAST * climbed.pace;
        self.told_by >= TOLD_BY_LEAST && climbed.proved.is_none_or(slow)
    }

    fn after_climb(&self, climbed: Climbed) -> (f64, f64) {
        let proved = climbed.proved.map_or(0.0, |rate| rate * (1.0 - self.margin));
        let cruise = climbed.pace.max(proved).min(self.offered * BELOW_PROBE);
        (cruise, (DIP * self.offered / cruise).min(1.0))
    }

    fn after_probe(&self, measured: f64) -> (f64, f64) {
        let kept = measured * (1.0 - self.margin);
        let cruise = self.cruise.max(kept).min(self.offered * BELOW_PROBE);
        (cruise, DIP * self.offered / cruise)
    }

    fn after_measuring(&self, measured: f64) -> (f64, (f64, f64)) {
        let kept = measured * (1.0 - self.margin);
        // Refused although it was no faster than what went through: its own unevenness did it.
        let is_uneven = self.offered <= 1.005 * measured;
        let grown = (self.margin * MARGIN_GROWS).min(MARGIN_MOST);
        let cruise = kept.min(self.offered * BELOW_CRUISE);
        let depth = (DIP * self.offered / cruise).min(1.0);
        (if is_uneven { grown } else { self.margin }, (cruise, depth))
    }

    /// About what came through, or less than what is offered and no more than whole messages allow.
    fn after_guessing(&self, now: Timestamp) -> (f64, f64) {
        let at_most = self.through.at_most(now).unwrap_or(f64::INFINITY);
        match self.through.roughly(self.latency, now) {
            Some(rate) => (rate.min(self.offered * BELOW_GUESS), DIP),
            None => ((self.offered * BELOW_GUESS).min(at_most), DEEP_DIP / BELOW_GUESS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Met by a probe 20 % above a pace of 10 a second, after a minute at that pace.
    fn refusal(through: &LetThrough) -> Refusal<'_> {
        Refusal {
            offered: 12.0,
            cruise: 11.0,
            margin: 0.015,
            was_probe: true,
            climbed: Some(Climbed {
                pace: 10.0,
                proved: Some(10.3),
            }),
            told_by: 100,
            through,
            latency: 0.1,
        }
    }

    fn through() -> LetThrough {
        let mut through = LetThrough::new(Timestamp(0), false);
        (1..=600).for_each(|index| through.on_delivered(Timestamp(index * 100)));
        through
    }

    #[test]
    fn a_climb_that_the_allowance_explains_goes_back_to_where_it_began() {
        let through = through();
        let verdict = refusal(&through).verdict(Timestamp(60_000));
        assert!(verdict.is_explained);
        assert!((10.0..10.2).contains(&verdict.cruise), "{verdict:?}");
    }

    #[test]
    fn a_climb_that_proves_more_or_a_pace_that_was_guessed_is_kept_to_be_measured() {
        let through = through();
        let proved = Some(Climbed {
            pace: 10.0,
            proved: Some(10.8),
        });
        for refusal in [
            Refusal {
                climbed: proved,
                ..refusal(&through)
            },
            Refusal {
                told_by: 5,
                ..refusal(&through)
            },
        ] {
            let verdict = refusal.verdict(Timestamp(60_000));
            assert!(!verdict.is_explained && verdict.cruise >= 11.0, "{verdict:?}");
        }
    }

    #[test]
    fn what_came_through_between_two_refusals_is_the_rate() {
        let through = through();
        let cruising = Refusal {
            was_probe: false,
            climbed: None,
            offered: 20.0,
            cruise: 20.0,
            ..refusal(&through)
        };
        let verdict = cruising.verdict(Timestamp(60_000));
        assert!((9.7..10.0).contains(&verdict.cruise), "{verdict:?}");
    }
}
