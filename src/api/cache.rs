//! A small cache in front of the store: what many calls read and few change.
//!
//! Takes keys and values with the time they were read, gives values that are young enough. Bounded: when it is full, it is
//! emptied, which costs one look-up each. Only what exists is kept, so that nobody can fill it with names of nothing.

use std::hash::Hash;
use std::time::Duration;

use dashmap::DashMap;

use crate::domain::Timestamp;

/// Values by key, each for a while.
#[derive(Debug)]
pub(crate) struct Cache<K: Eq + Hash, V> {
    entries: DashMap<K, (V, Timestamp)>,
    life: Duration,
    entries_max: usize,
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    /// An empty cache whose entries live for `life`.
    pub(crate) fn new(life: Duration, entries_max: usize) -> Self {
        Self {
            entries: DashMap::new(),
            life,
            entries_max,
        }
    }

    /// A value that was read less than a life ago.
    pub(crate) fn get<Q>(&self, key: &Q, now: Timestamp) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let entry = self.entries.get(key)?;
        let (value, read_at) = entry.value();
        (now.since(*read_at) < self.life).then(|| value.clone())
    }

    /// Keeps a value that was read at `now`.
    pub(crate) fn put(&self, key: K, value: V, now: Timestamp) {
        if self.entries.len() >= self.entries_max {
            self.entries.clear();
        }
        self.entries.insert(key, (value, now));
    }

    /// Forgets a value that was changed.
    pub(crate) fn forget<Q>(&self, key: &Q)
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.entries.remove(key);
    }

    /// Forgets everything.
    pub(crate) fn forget_all(&self) {
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_by_age_by_hand_and_when_full() {
        let cache = Cache::new(Duration::from_secs(5), 2);
        cache.put("a".to_owned(), 1, Timestamp(0));
        assert_eq!(cache.get("a", Timestamp(4_999)), Some(1));
        assert_eq!(cache.get("a", Timestamp(5_000)), None);
        cache.put("b".to_owned(), 2, Timestamp(5_000));
        cache.forget("b");
        assert_eq!(cache.get("b", Timestamp(5_000)), None);
        cache.put("b".to_owned(), 2, Timestamp(5_000));
        cache.put("c".to_owned(), 3, Timestamp(5_000));
        assert_eq!(cache.get("b", Timestamp(5_000)), None, "it was full and emptied");
        assert_eq!(cache.get("c", Timestamp(5_000)), Some(3));
    }
}
