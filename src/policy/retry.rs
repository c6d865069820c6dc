//! When the next attempt is made.
//!
//! Takes the class, how many attempts there were, what the provider asked for and a seed; gives a time, or none when the
//! mail would be worthless by then. RFC 5321 section 4.5.4.1 asks for two tries in the first hour and then one every two or
//! three hours; codes are worth nothing after minutes and are tried in seconds. Every wait gets up to 20 % jitter either way,
//! so that what failed together does not come back together. Never asks a clock or a random number.

use std::time::Duration;

use super::seed::Seeded;
use crate::domain::{BounceClass, Class, Timestamp};
use crate::sabotage::{self, Bug};

/// Waits are this much longer or shorter, in per cent.
const JITTER_PERCENT: u32 = 20;

/// Times between attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetrySettings {
    /// By [`Class::index`]; the last wait repeats. An empty list counts as one wait of an hour.
    pub schedule: [Vec<Duration>; 3],
    /// A greylisting host is not asked again before this.
    pub greylist_wait_min: Duration,
    /// Wait after a connection that did not come up: no attempt was made.
    pub connection_wait: Duration,
    /// Wait after "no more on this connection": another may be opened at once.
    pub session_limit_wait: Duration,
    /// A wait that the provider named is cut to this.
    pub named_wait_max: Duration,
}

impl Default for RetrySettings {
    fn default() -> Self {
        let seconds = |seconds: &[u64]| seconds.iter().copied().map(Duration::from_secs).collect::<Vec<_>>();
        let patient = seconds(&[300, 600, 1_200, 2_400, 5_400, 10_800, 14_400]);
        Self {
            schedule: [seconds(&[20, 40, 80, 150, 300]), patient.clone(), patient],
            greylist_wait_min: Duration::from_secs(300),
            connection_wait: Duration::from_secs(60),
            session_limit_wait: Duration::from_secs(1),
            named_wait_max: Duration::from_secs(24 * 3600),
        }
    }
}

/// What a wait depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// How urgent the mail is.
    pub class: Class,
    /// Attempts so far, the one that just failed included when it counted.
    pub attempts: u32,
    /// Why it failed.
    pub reason: BounceClass,
    /// Whether it counted as an attempt.
    pub counts: bool,
    /// What the provider asked for.
    pub named: Option<Duration>,
}

impl RetrySettings {
    /// The time of the next attempt; none when it would not come before `expires_at`.
    #[must_use]
    pub fn next(&self, wait: Wait, expires_at: Timestamp, now: Timestamp, seed: u64) -> Option<Timestamp> {
        let schedule = &self.schedule[wait.class.index()];
        let step = usize::try_from(wait.attempts.saturating_sub(1)).unwrap_or(usize::MAX);
        let scheduled = schedule
            .get(step)
            .or(schedule.last())
            .copied()
            .unwrap_or(Duration::from_secs(3600));
        let nominal = match wait.reason {
            BounceClass::SessionLimit => self.session_limit_wait.min(scheduled),
            _ if wait.counts => scheduled,
            _ => self.connection_wait.min(scheduled),
        };
        let mut chance = Seeded::new(seed);
        let reach = if sabotage::is(Bug::RetryWithoutJitter) {
            0
        } else {
            JITTER_PERCENT
        };
        let jittered = chance.jitter(nominal, reach);
        // What the other side wants is a lower bound: jitter only adds to it.
        let greylisted = if wait.reason == BounceClass::Greylisted {
            self.greylist_wait_min
        } else {
            Duration::ZERO
        };
        let wanted = wait.named.unwrap_or_default().min(self.named_wait_max).max(greylisted);
        let at = now.plus(jittered.max(later(wanted, &mut chance)));
        (at < expires_at).then_some(at)
    }
}

/// `wanted`, up to 20 % longer.
fn later(wanted: Duration, chance: &mut Seeded) -> Duration {
    let reach = u64::try_from(wanted.as_millis()).unwrap_or(u64::MAX) / 100 * u64::from(JITTER_PERCENT);
    wanted + Duration::from_millis(chance.below(reach + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wait(class: Class, attempts: u32) -> Wait {
        Wait {
            class,
            attempts,
            reason: BounceClass::Capacity,
            counts: true,
            named: None,
        }
    }

    fn seconds(wait: Wait, seed: u64) -> u64 {
        RetrySettings::default()
            .next(wait, Timestamp::NEVER, Timestamp(0), seed)
            .expect("it never expires")
            .0
            / 1_000
    }

    #[test]
    fn five_days_of_refusals_follow_the_schedule_and_end() {
        let settings = RetrySettings::default();
        let expires_at = Timestamp(5 * 24 * 3_600_000);
        let (mut now, mut attempts) = (Timestamp(0), 0);
        loop {
            attempts += 1;
            match settings.next(
                wait(Class::Transactional, attempts),
                expires_at,
                now,
                u64::from(attempts),
            ) {
                Some(next) => now = next,
                None => break,
            }
        }
        assert!((30..=45).contains(&attempts), "{attempts} attempts in five days");
        assert!(now.0 > expires_at.0 - 5 * 3_600_000, "it was tried to the end");
    }

    #[test]
    fn codes_come_back_in_seconds_and_never_after_their_time() {
        assert!((16..=24).contains(&seconds(wait(Class::Critical, 1), 7)));
        assert!(
            (240..=360).contains(&seconds(wait(Class::Critical, 90), 7)),
            "the last wait repeats"
        );
        let next = RetrySettings::default().next(wait(Class::Critical, 1), Timestamp(10_000), Timestamp(0), 7);
        assert_eq!(next, None);
    }

    #[test]
    fn a_burst_of_refusals_does_not_come_back_as_a_burst() {
        let waits = (0..1_000).map(|seed| seconds(wait(Class::Transactional, 1), seed));
        let (first, last) = waits.fold((u64::MAX, 0), |(first, last), at| (first.min(at), last.max(at)));
        // Invariant I13: over at least 30 % of the five minutes.
        assert!(last - first >= 90, "from {first} s to {last} s");
    }

    #[test]
    fn greylisting_waits_at_least_five_minutes_and_a_refused_connection_about_one() {
        let greylisted = Wait {
            reason: BounceClass::Greylisted,
            ..wait(Class::Critical, 1)
        };
        assert!((300..=360).contains(&seconds(greylisted, 3)));
        let refused = Wait {
            counts: false,
            ..wait(Class::Transactional, 0)
        };
        assert!((48..=72).contains(&seconds(refused, 3)));
    }

    #[test]
    fn a_wait_that_the_provider_names_is_kept() {
        let named = Wait {
            named: Some(Duration::from_secs(3_600)),
            ..wait(Class::Transactional, 1)
        };
        assert!((3_600..=4_320).contains(&seconds(named, 3)), "kept, and spread");
        let absurd = Wait {
            named: Some(Duration::from_secs(u64::MAX / 1_000)),
            ..named
        };
        assert!((24 * 3_600..=29 * 3_600).contains(&seconds(absurd, 3)));
    }

    #[test]
    fn a_named_wait_is_cut_to_what_the_operator_allows() {
        let settings = RetrySettings {
            named_wait_max: Duration::from_secs(400),
            ..RetrySettings::default()
        };
        let named = Wait {
            named: Some(Duration::from_secs(3_600)),
            ..wait(Class::Transactional, 1)
        };
        let at = settings
            .next(named, Timestamp::NEVER, Timestamp(0), 3)
            .expect("it never expires");
        assert!((400_000..=480_000).contains(&at.0), "{at:?}");
    }

    proptest! {
        #[test]
        fn no_attempt_is_set_after_the_end_or_earlier_than_jitter_allows(
            class in 0usize..3, attempts in 0u32..100, life in 0u64..1 << 40, now in 0u64..1 << 40, seed: u64, counts: bool,
        ) {
            let settings = RetrySettings::default();
            let wait = Wait { counts, ..wait(Class::ALL[class], attempts) };
            let expires_at = Timestamp(now + life);
            if let Some(at) = settings.next(wait, expires_at, Timestamp(now), seed) {
                prop_assert!(at < expires_at);
                prop_assert!(at.0 - now >= 16_000, "the shortest wait less 20 %");
            }
        }
    }
}
