//! How many messages a provider takes on one connection: learnt from "enough on this connection".
//!
//! Takes such answers, each with the number of messages that its connection had carried, and `now`; gives a limit. The
//! limit is the largest of the last few answers: a provider that counts says the same number each time, one that closes
//! connections when it likes says any, and a few such answers do not lower what is known. A limit that nobody confirmed for a
//! day is doubled, so that one bad afternoon does not last for ever.

use std::collections::VecDeque;
use std::time::Duration;

use crate::domain::Timestamp;

/// Answers that must agree that it is less.
const ANSWERS: usize = 3;
/// A limit that was not confirmed for so long is tried again, twice as high.
const DOUBTED_AFTER: Duration = Duration::from_secs(24 * 3600);
/// No limit worth keeping is higher.
const FORGOTTEN_ABOVE: u32 = 10_000;

/// What is known of a provider's connections.
#[derive(Debug, Clone, Default)]
pub struct SessionLimit {
    said: VecDeque<u32>,
    limit: Option<u32>,
    at: Timestamp,
}

impl SessionLimit {
    /// Messages that one connection carries, if that is known.
    #[must_use]
    pub fn limit(&self) -> Option<u32> {
        self.limit
    }

    /// As it was before a restart.
    pub fn restore(&mut self, limit: Option<u32>, now: Timestamp) {
        self.limit = limit.map(|limit| limit.max(1));
        self.said = self.limit.into_iter().collect();
        self.at = now;
    }

    /// A connection that had carried so many messages was told that it is enough. Says whether the limit changed.
    pub fn on_enough(&mut self, carried: u32, now: Timestamp) -> bool {
        let old = self.limit;
        if self.said.len() >= ANSWERS {
            self.said.pop_front();
        }
        self.said.push_back(carried.max(1));
        self.limit = self.said.iter().max().copied();
        self.at = now;
        old != self.limit
    }

    /// Time has passed. Says whether the limit changed.
    pub fn on_time(&mut self, now: Timestamp) -> bool {
        let Some(limit) = self.limit.filter(|_| now.since(self.at) >= DOUBTED_AFTER) else {
            return false;
        };
        let doubled = limit.saturating_mul(2);
        self.limit = Some(doubled).filter(|limit| *limit <= FORGOTTEN_ABOVE);
        self.said.clear();
        self.at = now;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(said: &[u32]) -> Option<u32> {
        let mut limit = SessionLimit::default();
        said.iter().for_each(|carried| {
            limit.on_enough(*carried, Timestamp(0));
        });
        limit.limit()
    }

    #[test]
    fn one_answer_is_believed_and_a_few_lower_ones_are_not() {
        for (said, expect) in [
            (&[][..], None),
            (&[20], Some(20)),
            (&[0], Some(1)),
            (&[20, 3, 7], Some(20)),
            (&[20, 3, 7, 5], Some(7)),
            (&[20, 20, 20, 10, 10, 10], Some(10)),
            (&[3, 20], Some(20)),
        ] {
            assert_eq!(after(said), expect, "{said:?}");
        }
    }

    #[test]
    fn a_limit_that_nobody_confirms_doubles_every_day_until_it_is_forgotten() {
        let day = |day: u64| Timestamp(day * 24 * 3_600_000);
        let mut limit = SessionLimit::default();
        limit.on_enough(3_000, day(0));
        assert!(!limit.on_time(Timestamp(day(1).0 - 1)));
        assert!(limit.on_time(day(1)));
        assert_eq!(limit.limit(), Some(6_000));
        assert!(limit.on_time(day(2)));
        assert_eq!(limit.limit(), None);
        assert!(!limit.on_time(day(9)));
    }
}
