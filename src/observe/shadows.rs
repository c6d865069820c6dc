//! What shadow rules would have done.
//!
//! Takes two Verdicts of one reply, the one that counted and the one that a shadow rule would have given; gives counts by
//! rule and by what would have changed. Bounded by the number of rules; what does not fit is counted with its rule alone in
//! the metric. A restart begins anew: a shadow rule is on trial for days, not for ever.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::domain::{ProviderId, Reply, Timestamp};
use crate::policy::classify::{Meaning, without_addresses};

/// Pairs of rule and what it would have changed.
const PAIRS_MAX: usize = 1_000;

/// One shadow rule and one thing that it would have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WouldHave {
    /// What the shadow rule would have said.
    pub shadow: Meaning,
    /// What was said.
    pub instead_of: Meaning,
    /// How often.
    pub count: u64,
    /// When for the first time.
    pub first_seen: Timestamp,
    /// When for the last time.
    pub last_seen: Timestamp,
    /// Who gave the last such reply.
    pub provider: ProviderId,
    /// Its code.
    pub code: u16,
    /// Its text, without addresses.
    pub example: String,
}

/// The list. One for each engine.
#[derive(Debug, Default)]
pub struct Shadows(Mutex<HashMap<(String, String), WouldHave>>);

impl Shadows {
    /// A shadow rule matched.
    pub fn note(&self, provider: &ProviderId, reply: &Reply, shadow: Meaning, instead_of: Meaning, now: Timestamp) {
        let key = (
            format!("{shadow} {}", shadow.rule),
            format!("{instead_of} {}", instead_of.rule),
        );
        let mut pairs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pairs.len() >= PAIRS_MAX && !pairs.contains_key(&key) {
            return;
        }
        let pair = pairs.entry(key).or_insert_with(|| WouldHave {
            shadow,
            instead_of,
            count: 0,
            first_seen: now,
            last_seen: now,
            provider: provider.clone(),
            code: reply.code,
            example: String::new(),
        });
        pair.count = pair.count.saturating_add(1);
        pair.last_seen = now;
        pair.provider = provider.clone();
        pair.code = reply.code;
        pair.example = without_addresses(&reply.text);
    }

    /// All of them, the most frequent first.
    #[must_use]
    pub fn list(&self) -> Vec<WouldHave> {
        let pairs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut list: Vec<WouldHave> = pairs.values().cloned().collect();
        list.sort_by(|left, right| (right.count, &left.shadow.rule).cmp(&(left.count, &right.shadow.rule)));
        list
    }
}
