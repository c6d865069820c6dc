//! What is known about one name, and for how long: the caching rules of DNS answers, pure.
//!
//! Takes what was known, what a new lookup gave and `now`; gives what is known from now on. Never asks, never waits.
//!
//! The rules (reliability.md 4.5). Times to live are clamped, so that neither a TTL of zero makes a query per delivery nor
//! one of a week outlives a change. A failed lookup says nothing about the name: what was known before is served for a
//! day longer, and else the name is left alone for half a minute or so, with jitter. A name that does not exist is
//! believed when a second resolver says so too, or when it is said again ten minutes later; failures in between neither
//! confirm nor refute it.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::{DnsFailure, Timestamp};
use crate::policy::seed::Seeded;

/// Shortest time for which records hold.
pub(super) const TTL_MIN: Duration = Duration::from_secs(60);
/// Longest time for which records hold.
pub(super) const TTL_MAX: Duration = Duration::from_secs(3600);
/// Longest time for which the absence of records holds; the shortest is [`TTL_MIN`].
pub(super) const NEGATIVE_TTL_MAX: Duration = Duration::from_secs(300);
/// For how long after their end records are served when nobody answers.
pub(super) const STALE_MAX: Duration = Duration::from_secs(24 * 3600);
/// How much later a second NXDOMAIN from the same resolver confirms the first.
pub(super) const CONFIRM_AFTER: Duration = Duration::from_secs(600);
/// Shortest time for which a name is left alone after a failed lookup.
pub(super) const FAILURE_TTL_MIN: Duration = Duration::from_secs(30);
/// Longest time for which a name is left alone after a failed lookup.
pub(super) const FAILURE_TTL_MAX: Duration = Duration::from_secs(60);

/// What a lookup gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Looked<T> {
    /// This, for so long.
    Found(T, Duration),
    /// A clear answer that leads nowhere, for so long.
    Nothing(DnsFailure, Duration),
    /// NXDOMAIN, for so long.
    NoDomain {
        ttl: Duration,
        /// A second resolver said so too.
        confirmed: bool,
    },
    /// No answer worth believing.
    Failed,
}

/// What is known about one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known<T> {
    result: Result<Arc<T>, DnsFailure>,
    fresh_until: Timestamp,
    /// The last good answer, and until when it may be served.
    good: Option<(Arc<T>, Timestamp)>,
    /// Since when the name is said not to exist.
    no_domain_since: Option<Timestamp>,
}

impl<T> Known<T> {
    /// What is known after a lookup ended at `now`.
    pub(super) fn after(previous: Option<&Self>, looked: Looked<T>, now: Timestamp, seed: u64) -> Self {
        let good = previous.and_then(|known| known.good.clone());
        let since = previous.and_then(|known| known.no_domain_since);
        match looked {
            Looked::Found(found, ttl) => {
                let found = Arc::new(found);
                let fresh_until = now.plus(ttl.clamp(TTL_MIN, TTL_MAX));
                Self {
                    result: Ok(Arc::clone(&found)),
                    fresh_until,
                    good: Some((found, fresh_until.plus(STALE_MAX))),
                    no_domain_since: None,
                }
            }
            Looked::Nothing(failure, ttl) => Self {
                result: Err(failure),
                fresh_until: now.plus(negative(ttl)),
                good: None,
                no_domain_since: None,
            },
            Looked::NoDomain { ttl, confirmed } => {
                let first = since.unwrap_or(now);
                let believed = confirmed || now.since(first) >= CONFIRM_AFTER;
                let (failure, good) = if believed {
                    (DnsFailure::NoDomain, None)
                } else {
                    (DnsFailure::NoDomainUnconfirmed, good)
                };
                Self {
                    result: Err(failure),
                    fresh_until: now.plus(negative(ttl)),
                    good,
                    no_domain_since: Some(first),
                }
            }
            Looked::Failed => {
                let good = good.filter(|(_, until)| now < *until);
                Self {
                    result: good
                        .as_ref()
                        .map(|(good, _)| Arc::clone(good))
                        .ok_or(DnsFailure::NoAnswer),
                    fresh_until: now.plus(failure_ttl(seed)),
                    good,
                    no_domain_since: since,
                }
            }
        }
    }

    /// The same knowledge, changed.
    pub(super) fn revise(&mut self, change: impl Fn(&T) -> T) {
        if let Some((good, _)) = &mut self.good {
            *good = Arc::new(change(good));
        }
        if let Ok(result) = &mut self.result {
            *result = match &self.good {
                Some((good, _)) => Arc::clone(good),
                None => Arc::new(change(result)),
            };
        }
    }

    /// The answer, while it holds.
    pub(super) fn fresh(&self, now: Timestamp) -> Option<Result<Arc<T>, DnsFailure>> {
        (now < self.fresh_until).then(|| self.result.clone())
    }

    /// The answer, holding or not.
    pub(super) fn result(&self) -> Result<Arc<T>, DnsFailure> {
        self.result.clone()
    }

    /// The last good answer, when it is what was last said and may still be served.
    pub(super) fn stale(&self, now: Timestamp) -> Option<Arc<T>> {
        let (good, until) = self.good.as_ref()?;
        (self.result.is_ok() && now < *until).then(|| Arc::clone(good))
    }

    /// From when on it is of no use to anybody.
    pub(super) fn keep_until(&self) -> Timestamp {
        let served = self.good.as_ref().map_or(Timestamp(0), |(_, until)| *until);
        let doubted = self.no_domain_since.map_or(Timestamp(0), |since| since.plus(STALE_MAX));
        self.fresh_until.max(served).max(doubted)
    }
}

fn negative(ttl: Duration) -> Duration {
    ttl.clamp(TTL_MIN, NEGATIVE_TTL_MAX)
}

fn failure_ttl(seed: u64) -> Duration {
    let width = FAILURE_TTL_MAX.saturating_sub(FAILURE_TTL_MIN).as_millis();
    let width = u64::try_from(width).unwrap_or(u64::MAX);
    FAILURE_TTL_MIN + Duration::from_millis(Seeded::new(seed).below(width + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp(1_000_000_000);

    fn at(seconds: u64) -> Timestamp {
        START.plus(Duration::from_secs(seconds))
    }

    fn found(ttl_seconds: u64) -> Looked<u32> {
        Looked::Found(7, Duration::from_secs(ttl_seconds))
    }

    fn no_domain(confirmed: bool) -> Looked<u32> {
        Looked::NoDomain {
            ttl: Duration::from_secs(3600),
            confirmed,
        }
    }

    /// What is known after lookups that ended so many seconds after the start.
    fn after(lookups: &[(u64, Looked<u32>)]) -> Known<u32> {
        let mut known = None;
        for (seconds, looked) in lookups {
            known = Some(Known::after(known.as_ref(), looked.clone(), at(*seconds), 3));
        }
        known.expect("at least one lookup")
    }

    fn check(lookups: &[(u64, Looked<u32>)], expected: Result<u32, DnsFailure>) {
        let result = after(lookups).result().map(|value| *value);
        assert_eq!(result, expected, "{lookups:?}");
    }

    #[test]
    fn times_to_live_are_clamped() {
        let holds_for = |looked: Looked<u32>| after(&[(0, looked)]).fresh_until.since(START).as_secs();
        for (ttl, expected) in [(0, 60), (59, 60), (300, 300), (3600, 3600), (604_800, 3600)] {
            assert_eq!(holds_for(found(ttl)), expected, "{ttl}");
        }
        for (ttl, expected) in [(0, 60), (200, 200), (3600, 300)] {
            let nothing = Looked::Nothing(DnsFailure::NullMx, Duration::from_secs(ttl));
            assert_eq!(holds_for(nothing), expected, "{ttl}");
        }
    }

    #[test]
    fn an_answer_holds_until_its_last_millisecond() {
        let known = after(&[(0, found(100))]);
        assert!(known.fresh(Timestamp(at(100).0 - 1)).is_some());
        assert!(known.fresh(at(100)).is_none());
    }

    #[test]
    fn failures_serve_what_was_known_for_a_day() {
        let day = 24 * 3600;
        check(&[(0, Looked::Failed)], Err(DnsFailure::NoAnswer));
        check(&[(0, found(100)), (200, Looked::Failed)], Ok(7));
        check(
            &[(0, found(100)), (200, Looked::Failed), (99 + day, Looked::Failed)],
            Ok(7),
        );
        check(
            &[(0, found(100)), (200, Looked::Failed), (100 + day, Looked::Failed)],
            Err(DnsFailure::NoAnswer),
        );
    }

    #[test]
    fn after_a_failure_a_name_is_left_alone_for_half_a_minute_to_one_with_jitter() {
        let times: Vec<u64> = (0..1000)
            .map(|seed| {
                Known::<u32>::after(None, Looked::Failed, START, seed)
                    .fresh_until
                    .since(START)
            })
            .map(|time| u64::try_from(time.as_millis()).unwrap())
            .collect();
        assert!(times.iter().all(|time| (30_000..=60_000).contains(time)));
        assert!(times.iter().any(|time| *time < 33_000) && times.iter().any(|time| *time > 57_000));
    }

    #[test]
    fn nxdomain_is_believed_when_two_resolvers_say_it_or_one_says_it_again_ten_minutes_later() {
        let unconfirmed = Err(DnsFailure::NoDomainUnconfirmed);
        let believed = Err(DnsFailure::NoDomain);
        check(&[(0, no_domain(false))], unconfirmed);
        check(&[(0, no_domain(true))], believed);
        check(&[(0, no_domain(false)), (599, no_domain(false))], unconfirmed);
        check(&[(0, no_domain(false)), (600, no_domain(false))], believed);
        // A failure says nothing either way.
        check(
            &[(0, no_domain(false)), (300, Looked::Failed)],
            Err(DnsFailure::NoAnswer),
        );
        check(
            &[(0, no_domain(false)), (300, Looked::Failed), (600, no_domain(false))],
            believed,
        );
        // An answer in between refutes it.
        check(
            &[(0, no_domain(false)), (300, found(60)), (600, no_domain(false))],
            unconfirmed,
        );
        check(&[(0, found(60)), (100, no_domain(false))], unconfirmed);
        // Once believed and then not answered, it is unknown.
        check(
            &[(0, no_domain(true)), (300, Looked::Failed)],
            Err(DnsFailure::NoAnswer),
        );
    }

    #[test]
    fn clear_answers_end_what_was_known() {
        let null = Looked::Nothing(DnsFailure::NullMx, Duration::from_secs(60));
        check(&[(0, found(60)), (100, null.clone())], Err(DnsFailure::NullMx));
        check(
            &[(0, found(60)), (100, null), (200, Looked::Failed)],
            Err(DnsFailure::NoAnswer),
        );
        // A doubtful NXDOMAIN does not: it may be the fault that #3503 of hickory-dns tells of.
        check(&[(0, found(60)), (100, no_domain(false)), (200, Looked::Failed)], Ok(7));
        check(
            &[(0, found(60)), (100, no_domain(true)), (200, Looked::Failed)],
            Err(DnsFailure::NoAnswer),
        );
        assert_eq!(after(&[(0, found(60)), (100, no_domain(false))]).stale(at(101)), None);
    }

    #[test]
    fn an_entry_is_kept_while_it_can_still_say_something() {
        assert_eq!(after(&[(0, found(60))]).keep_until(), at(60 + 24 * 3600));
        assert_eq!(after(&[(0, no_domain(false))]).keep_until(), at(24 * 3600));
        let failed = after(&[(0, Looked::Failed)]);
        assert_eq!(failed.keep_until(), failed.fresh_until);
    }
}
