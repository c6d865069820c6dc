//! What happens to a tenant whose mail bounces, or is complained about: slowed down, then paused.
//!
//! Takes counts of a stream of a tenant, thresholds and `now`; gives a change of its grade, if there is one. `none` never does
//! anything; `standard` looks at the broadcast stream alone; `strict` looks at both streams and at the tenant as a whole, and
//! stops everything but codes. The worse of the hour and the day counts, each with a least number of sends; complaints also
//! need [`COMPLAINTS_MIN`] of them, since one in three hundred is no rate.
//!
//! A slowed stream is free again when its rates are at half the thresholds and some time has passed; a paused one stays
//! paused until an operator resumes it, and is then counted anew. So there are few changes an hour whatever happens.

use std::collections::BTreeMap;
use std::time::Duration;

use super::engagement::ENGAGED_MAX;
use super::reputation::{Counts, Tally};
use super::shares::Weights;
use crate::domain::{Class, Stream, TenantId, Timestamp};

/// Fewer complaints than this change nothing.
pub const COMPLAINTS_MIN: f64 = 3.0;
/// A stream stays slow for at least this long.
pub const SLOW_SHORTEST: Duration = Duration::from_secs(30 * 60);
/// A slowed stream still sends so many messages a second.
pub const SLOW_RATE_MIN: f64 = 0.1;
/// Bytes of a reason at most.
pub const REASON_BYTES_MAX: usize = 200;

/// How closely a tenant is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Not at all.
    None,
    /// Its broadcast stream.
    Standard,
    /// All its mail; codes alone go on.
    Strict,
}

impl Policy {
    /// The name that config and API use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Standard => "standard",
            Self::Strict => "strict",
        }
    }
}

/// Rates, each from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// Hard bounces at which a stream is slowed.
    pub bounce_slow: f64,
    /// Hard bounces at which it is paused.
    pub bounce_pause: f64,
    /// Complaints at which it is slowed.
    pub complaint_slow: f64,
    /// Complaints at which it is paused.
    pub complaint_pause: f64,
    /// Sends in a window below which it says nothing.
    pub sends_min: f64,
    /// The part of its pace that a slowed stream keeps.
    pub slow_share: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            bounce_slow: 0.05,
            bounce_pause: 0.10,
            complaint_slow: 0.001,
            complaint_pause: 0.003,
            sends_min: 200.0,
            slow_share: 0.1,
        }
    }
}

/// What is configured for one tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OneTenant {
    /// Instead of the policy of all.
    pub policy: Option<Policy>,
    /// Its share against other tenants; none means 1.
    pub weight: Option<u32>,
    /// The pool that it sends from instead of the one of its class.
    pub pool: Option<String>,
    /// The region of Sources that it rather sends from.
    pub region: Option<String>,
}

/// What is configured for tenants.
#[derive(Debug, Clone, PartialEq)]
pub struct TenantSettings {
    /// For all that have none of their own.
    pub policy: Policy,
    /// For all.
    pub thresholds: Thresholds,
    /// Single ones.
    pub each: BTreeMap<TenantId, OneTenant>,
    /// Engaged recipients that are remembered.
    pub engaged_max: usize,
}

impl Default for TenantSettings {
    fn default() -> Self {
        Self {
            policy: Policy::Standard,
            thresholds: Thresholds::default(),
            each: BTreeMap::new(),
            engaged_max: ENGAGED_MAX,
        }
    }
}

impl TenantSettings {
    /// The policy of a tenant.
    #[must_use]
    pub fn policy(&self, tenant: TenantId) -> Policy {
        let own = self.each.get(&tenant).and_then(|one| one.policy);
        own.unwrap_or(self.policy)
    }

    /// The weights of all tenants.
    #[must_use]
    pub fn weights(&self) -> Weights {
        let weight = |(tenant, one): (&TenantId, &OneTenant)| one.weight.map(|weight| (*tenant, weight));
        Weights::new(self.each.iter().filter_map(weight))
    }
}

/// How a stream of a tenant is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// Like everybody's.
    Free,
    /// With a part of its pace.
    Slow,
    /// Not at all, until somebody resumes it.
    Paused,
}

impl Grade {
    /// The name that API and metrics use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Slow => "slow",
            Self::Paused => "paused",
        }
    }
}

/// Where a stream of a tenant stands, since when and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// How it is treated.
    pub grade: Grade,
    /// Since then.
    pub since: Timestamp,
    /// Why: rates and threshold, or an operator's words.
    pub reason: String,
    /// Whether an operator did it.
    pub by_hand: bool,
    /// Messages a second that it may send while it is slow.
    pub slow_rate: f64,
}

impl Default for Standing {
    fn default() -> Self {
        Self {
            grade: Grade::Free,
            since: Timestamp(0),
            reason: String::new(),
            by_hand: false,
            slow_rate: 0.0,
        }
    }
}

/// What a stream is judged by.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Record {
    /// The stream's own counts.
    pub stream: Tally,
    /// Those of the tenant as a whole.
    pub tenant: Tally,
}

/// Whether mail of this class is under the grade of its stream. Codes never are.
#[must_use]
pub fn concerns(class: Class) -> bool {
    class != Class::Critical
}

/// Looks at a stream again. Gives where it stands from now on, if that changed.
#[must_use]
pub fn judge(
    policy: Policy,
    stream: Stream,
    record: &Record,
    standing: &Standing,
    thresholds: &Thresholds,
    now: Timestamp,
) -> Option<Standing> {
    let windows: Vec<&Counts> = match (policy, stream) {
        (Policy::None, _) | (Policy::Standard, Stream::Transactional) => Vec::new(),
        (Policy::Standard, Stream::Broadcast) => record.stream.windows.iter().collect(),
        (Policy::Strict, _) => record.stream.windows.iter().chain(&record.tenant.windows).collect(),
    };
    if standing.grade == Grade::Paused {
        return None;
    }
    let found = windows
        .iter()
        .map(|counts| graded(counts, thresholds))
        .max_by_key(|(grade, _)| *grade);
    let (grade, reason) = found.unwrap_or((Grade::Free, String::new()));
    let enough = standing.grade < grade;
    let calm = standing.grade == Grade::Slow
        && windows.iter().all(|counts| is_calm(counts, thresholds))
        && now.since(standing.since) >= SLOW_SHORTEST;
    if !enough && !calm {
        return None;
    }
    Some(Standing {
        grade: if enough { grade } else { Grade::Free },
        since: now,
        reason: match enough {
            true => reason,
            false => "its rates have fallen below half of what slows a stream".to_owned(),
        },
        by_hand: false,
        slow_rate: slow_rate(&record.stream, thresholds),
    })
}

/// What one window calls for, and why.
fn graded(counts: &Counts, thresholds: &Thresholds) -> (Grade, String) {
    if counts.sent() < thresholds.sends_min {
        return (Grade::Free, String::new());
    }
    let bounces = counts.bounce_rate();
    let complaints = match counts.complained >= COMPLAINTS_MIN {
        true => counts.complaint_rate(),
        false => 0.0,
    };
    let check = |grade, what: &str, rate: f64, at: f64| {
        let reason = || {
            format!(
                "{:.2} % of its mail {what}; the limit is {:.2} %",
                rate * 100.0,
                at * 100.0
            )
        };
        (rate >= at).then(|| (grade, reason()))
    };
    check(
        Grade::Paused,
        "was complained about",
        complaints,
        thresholds.complaint_pause,
    )
    .or_else(|| check(Grade::Paused, "bounced", bounces, thresholds.bounce_pause))
    .or_else(|| {
        check(
            Grade::Slow,
            "was complained about",
            complaints,
            thresholds.complaint_slow,
        )
    })
    .or_else(|| check(Grade::Slow, "bounced", bounces, thresholds.bounce_slow))
    .unwrap_or((Grade::Free, String::new()))
}

fn is_calm(counts: &Counts, thresholds: &Thresholds) -> bool {
    counts.sent() < thresholds.sends_min
        || (counts.bounce_rate() < thresholds.bounce_slow / 2.0
            && counts.complaint_rate() < thresholds.complaint_slow / 2.0)
}

/// The pace of a slowed stream: a part of what it sent in the last hour, in messages a second.
fn slow_rate(stream: &Tally, thresholds: &Thresholds) -> f64 {
    // A steady pace for long makes a decaying count of pace × half-life / ln 2.
    let mean_life = super::reputation::HALF_LIVES[0].as_secs_f64() / std::f64::consts::LN_2;
    (stream.windows[0].answered() / mean_life * thresholds.slow_share).max(SLOW_RATE_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counts(delivered: f64, bounced: f64, complained: f64) -> Counts {
        Counts {
            delivered,
            bounced,
            complained,
            ..Counts::default()
        }
    }

    fn record(stream: Counts) -> Record {
        let tally = Tally {
            windows: [stream; 2],
            ..Tally::default()
        };
        Record {
            stream: tally,
            tenant: tally,
        }
    }

    fn judged(policy: Policy, stream: Stream, counts: Counts, standing: &Standing, now: Timestamp) -> Option<Standing> {
        judge(policy, stream, &record(counts), standing, &Thresholds::default(), now)
    }

    #[test]
    fn a_stream_is_slowed_at_the_first_threshold_and_paused_at_the_second() {
        let check = |delivered: f64, bounced: f64, complained: f64, expect: Grade| {
            let counts = counts(delivered, bounced, complained);
            let standing = judged(
                Policy::Standard,
                Stream::Broadcast,
                counts,
                &Standing::default(),
                Timestamp(1),
            );
            let grade = standing.map_or(Grade::Free, |standing| standing.grade);
            assert_eq!(grade, expect, "{counts:?}");
        };
        check(1_000.0, 0.0, 0.0, Grade::Free);
        check(960.0, 40.0, 0.0, Grade::Free);
        check(950.0, 50.0, 0.0, Grade::Slow);
        check(901.0, 99.0, 0.0, Grade::Slow);
        check(900.0, 100.0, 0.0, Grade::Paused);
        // Half of them bounced, but of too few.
        check(99.0, 99.0, 0.0, Grade::Free);
        check(100.0, 100.0, 0.0, Grade::Paused);
        check(10_000.0, 0.0, 9.0, Grade::Free);
        check(10_000.0, 0.0, 10.0, Grade::Slow);
        check(10_000.0, 0.0, 30.0, Grade::Paused);
        // One complaint in three hundred is no rate.
        check(300.0, 0.0, 1.0, Grade::Free);
        check(300.0, 0.0, 3.0, Grade::Paused);
    }

    #[test]
    fn the_policy_says_which_streams_are_looked_at() {
        let bad = counts(500.0, 500.0, 0.0);
        let check = |policy: Policy, expect: [bool; 2]| {
            let streams = [Stream::Transactional, Stream::Broadcast];
            let paused =
                streams.map(|stream| judged(policy, stream, bad, &Standing::default(), Timestamp(1)).is_some());
            assert_eq!(paused, expect, "{policy:?}");
        };
        check(Policy::None, [false, false]);
        check(Policy::Standard, [false, true]);
        check(Policy::Strict, [true, true]);
    }

    #[test]
    fn strict_looks_at_the_tenant_as_a_whole() {
        let good_stream = Record {
            stream: Tally::default(),
            tenant: record(counts(500.0, 500.0, 0.0)).tenant,
        };
        let judged = |policy| {
            let thresholds = Thresholds::default();
            judge(
                policy,
                Stream::Broadcast,
                &good_stream,
                &Standing::default(),
                &thresholds,
                Timestamp(1),
            )
        };
        assert_eq!(
            judged(Policy::Strict).map(|standing| standing.grade),
            Some(Grade::Paused)
        );
        assert_eq!(judged(Policy::Standard), None);
    }

    #[test]
    fn a_bad_hour_after_a_good_day_is_enough() {
        let mut record = record(counts(100_000.0, 10.0, 0.0));
        record.stream.windows[0] = counts(300.0, 100.0, 0.0);
        let thresholds = Thresholds::default();
        let found = judge(
            Policy::Standard,
            Stream::Broadcast,
            &record,
            &Standing::default(),
            &thresholds,
            Timestamp(1),
        );
        let found = found.expect("paused");
        assert_eq!(found.grade, Grade::Paused);
        assert_eq!(found.reason, "25.00 % of its mail bounced; the limit is 10.00 %");
    }

    #[test]
    fn a_slowed_stream_is_free_after_a_while_and_a_paused_one_never_by_itself() {
        let slow = judged(
            Policy::Standard,
            Stream::Broadcast,
            counts(950.0, 50.0, 0.0),
            &Standing::default(),
            Timestamp(5),
        );
        let slow = slow.expect("slowed");
        let at = |minutes: u64, counts| {
            let now = Timestamp(5).plus(Duration::from_secs(minutes * 60));
            judged(Policy::Standard, Stream::Broadcast, counts, &slow, now).map(|standing| standing.grade)
        };
        let (good, middling) = (counts(1_000.0, 10.0, 0.0), counts(960.0, 40.0, 0.0));
        assert_eq!(at(29, good), None);
        assert_eq!(at(30, good), Some(Grade::Free));
        assert_eq!(at(300, middling), None, "between the thresholds nothing changes");
        assert_eq!(at(1, counts(500.0, 500.0, 0.0)), Some(Grade::Paused));
        let paused = Standing {
            grade: Grade::Paused,
            ..slow.clone()
        };
        let later = Timestamp(u64::MAX / 2);
        assert_eq!(judged(Policy::Standard, Stream::Broadcast, good, &paused, later), None);
    }

    #[test]
    fn a_slowed_stream_keeps_a_part_of_its_pace() {
        // Ten a second for a long time.
        let mean_life = 3_600.0 / std::f64::consts::LN_2;
        let total = 10.0 * mean_life;
        let slow = judged(
            Policy::Standard,
            Stream::Broadcast,
            counts(total * 0.94, total * 0.06, 0.0),
            &Standing::default(),
            Timestamp(1),
        );
        let rate = slow.expect("slowed").slow_rate;
        assert!((rate - 1.0).abs() < 1e-6, "{rate}");
        let little = judged(
            Policy::Standard,
            Stream::Broadcast,
            counts(190.0, 12.0, 0.0),
            &Standing::default(),
            Timestamp(1),
        );
        assert!((little.expect("slowed").slow_rate - SLOW_RATE_MIN).abs() < 1e-9);
    }

    proptest! {
        /// I17: whatever is counted, the grade of a stream changes at most six times an hour.
        #[test]
        fn a_stream_does_not_flap(looks in proptest::collection::vec((0.0_f64..0.2, 0.0_f64..0.005, 1_u64..300_000), 1..200)) {
            let mut standing = Standing::default();
            let mut now = Timestamp(1);
            let mut changes = Vec::new();
            for (bounced, complained, pause) in looks {
                now = now.plus(Duration::from_millis(pause));
                let counts = counts(10_000.0 * (1.0 - bounced), 10_000.0 * bounced, 10_000.0 * complained);
                if let Some(next) = judged(Policy::Strict, Stream::Broadcast, counts, &standing, now) {
                    prop_assert_ne!(next.grade, standing.grade);
                    standing = next;
                    changes.push(now);
                }
            }
            for window in changes.windows(7) {
                prop_assert!(window[6].since(window[0]) > Duration::from_secs(3_600), "{:?}", changes);
            }
        }
    }
}
