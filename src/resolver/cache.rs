//! Answers that many ask for and few need to look up: a bounded cache with one lookup in flight per name.
//!
//! Takes a name and how to look it up, gives what is known. What an answer is worth is decided in `known`. Never asks
//! twice for one name at the same time, never runs more lookups at once than it has slots, never waits longer than its
//! limit.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dashmap::{DashMap, Entry};
use tokio::sync::{Semaphore, watch};

use super::known::{Known, Looked};
use crate::clock::Clock;
use crate::domain::DnsFailure;
use crate::policy::seed::seed_of;

/// How long a caller waits for a new answer when an old one may be served (RFC 8767 section 5).
const STALE_AFTER: Duration = Duration::from_millis(1800);

/// What a cache says about a name.
pub(super) type Said<T> = Result<Arc<T>, DnsFailure>;

/// The limits of a cache.
#[derive(Debug, Clone)]
pub(super) struct CacheLimits {
    /// Names kept.
    pub(super) entries_max: usize,
    /// Time for one lookup, with its wait for a slot.
    pub(super) lookup_timeout: Duration,
    /// Lookups at the same time, over all caches that share it.
    pub(super) slots: Arc<Semaphore>,
}

/// A cache. Clones share it.
#[derive(Debug)]
pub(super) struct Cache<T> {
    shared: Arc<Shared<T>>,
}

#[derive(Debug)]
struct Shared<T> {
    entries: DashMap<Arc<str>, Aged<T>>,
    flights: DashMap<Arc<str>, watch::Receiver<Option<Said<T>>>>,
    limits: CacheLimits,
    clock: Clock,
    /// Counts lookups, so that the oldest entries can be told.
    sequence: AtomicU64,
    evicting: AtomicBool,
}

#[derive(Debug)]
struct Aged<T> {
    known: Known<T>,
    sequence: u64,
}

impl<T: Send + Sync + 'static> Cache<T> {
    pub(super) fn new(limits: CacheLimits, clock: Clock) -> Self {
        Self {
            shared: Arc::new(Shared {
                entries: DashMap::new(),
                flights: DashMap::new(),
                limits,
                clock,
                sequence: AtomicU64::new(0),
                evicting: AtomicBool::new(false),
            }),
        }
    }

    /// What is known, if it holds.
    pub(super) fn fresh(&self, name: &str) -> Option<Said<T>> {
        self.shared.fresh(name)
    }

    /// What is known, looked up by `ask` if need be: one lookup at a time for a name, whoever asks for it.
    pub(super) async fn get<A, F>(&self, name: &str, ask: A) -> Said<T>
    where
        A: FnOnce() -> F,
        F: Future<Output = Looked<T>> + Send + 'static,
    {
        if let Some(said) = self.shared.fresh(name) {
            return said;
        }
        let stale = self.shared.stale(name);
        let mut flight = self.join(name, ask);
        // An error means that the lookup's task is gone: it panicked, or its runtime stopped.
        let landed = async {
            flight
                .wait_for(Option::is_some)
                .await
                .ok()
                .and_then(|said| said.clone())
        };
        let Some(good) = stale else {
            return landed.await.unwrap_or(Err(DnsFailure::NoAnswer));
        };
        match tokio::time::timeout(STALE_AFTER, landed).await {
            Ok(Some(said)) => said,
            Ok(None) | Err(_) => Ok(good),
        }
    }

    /// Changes everything that is known, for as long as it holds.
    pub(super) fn revise(&self, change: impl Fn(&T) -> T) {
        for mut entry in self.shared.entries.iter_mut() {
            entry.known.revise(&change);
        }
    }

    /// Names kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shared.entries.len()
    }

    /// The lookup that is in flight for the name, or a new one.
    fn join<A, F>(&self, name: &str, ask: A) -> watch::Receiver<Option<Said<T>>>
    where
        A: FnOnce() -> F,
        F: Future<Output = Looked<T>> + Send + 'static,
    {
        let name: Arc<str> = Arc::from(name);
        let (sender, receiver) = watch::channel(None);
        match self.shared.flights.entry(Arc::clone(&name)) {
            Entry::Occupied(flight) => return flight.get().clone(),
            Entry::Vacant(vacant) => {
                // It may have landed since the caller looked.
                if let Some(said) = self.shared.fresh(&name) {
                    return watch::channel(Some(said)).1;
                }
                vacant.insert(receiver.clone());
            }
        }
        let flight = Flight {
            shared: Arc::clone(&self.shared),
            name,
        };
        // A task of its own: callers that give up do not stop a lookup that others wait for.
        tokio::spawn(flight.fly(ask(), sender));
        receiver
    }
}

impl<T> Shared<T> {
    fn fresh(&self, name: &str) -> Option<Said<T>> {
        self.entries.get(name)?.known.fresh(self.clock.now())
    }

    fn stale(&self, name: &str) -> Option<Arc<T>> {
        self.entries.get(name)?.known.stale(self.clock.now())
    }

    fn learn(&self, name: &Arc<str>, looked: Looked<T>) -> Said<T> {
        let now = self.clock.now();
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        let letters = name
            .bytes()
            .fold(0, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
        let seed = seed_of(&[letters, now.0]);
        let said = match self.entries.entry(Arc::clone(name)) {
            Entry::Occupied(mut entry) => {
                let known = Known::after(Some(&entry.get().known), looked, now, seed);
                let said = known.result();
                entry.insert(Aged { known, sequence });
                said
            }
            Entry::Vacant(entry) => {
                let known = Known::after(None, looked, now, seed);
                let said = known.result();
                entry.insert(Aged { known, sequence });
                said
            }
        };
        self.evict();
        said
    }

    /// Keeps within the bound: first what is of no use any more goes, then what was looked up longest ago. An eighth more
    /// than needed, so that the next lookups find room.
    fn evict(&self) {
        let max = self.limits.entries_max;
        if self.entries.len() <= max || self.evicting.swap(true, Ordering::AcqRel) {
            return;
        }
        let now = self.clock.now();
        self.entries.retain(|_, aged| now < aged.known.keep_until());
        let mut ages: Vec<u64> = self.entries.iter().map(|entry| entry.sequence).collect();
        if ages.len() > max {
            let surplus = (ages.len() - (max - max / 8)).min(ages.len() - 1);
            let (_, first_kept, _) = ages.select_nth_unstable(surplus);
            let first_kept = *first_kept;
            self.entries.retain(|_, aged| aged.sequence >= first_kept);
        }
        self.evicting.store(false, Ordering::Release);
    }
}

/// One lookup under way. Its end, however it comes, makes room for the next one.
struct Flight<T> {
    shared: Arc<Shared<T>>,
    name: Arc<str>,
}

impl<T> Flight<T> {
    async fn fly(self, ask: impl Future<Output = Looked<T>>, sender: watch::Sender<Option<Said<T>>>) {
        let slots = Arc::clone(&self.shared.limits.slots);
        let lookup = async {
            // The semaphore is never closed; were it, lookups would fail.
            match slots.acquire().await {
                Ok(_slot) => ask.await,
                Err(_) => Looked::Failed,
            }
        };
        let looked = tokio::time::timeout(self.shared.limits.lookup_timeout, lookup)
            .await
            .unwrap_or(Looked::Failed);
        let said = self.shared.learn(&self.name, looked);
        // Learnt first, then off the list: whoever finds no flight finds the answer.
        drop(self);
        sender.send_replace(Some(said));
    }
}

impl<T> Drop for Flight<T> {
    fn drop(&mut self) {
        self.shared.flights.remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use futures_util::future::join_all;

    use super::*;
    use crate::domain::Timestamp;

    fn cache(entries_max: usize, lookups_max: usize) -> Cache<usize> {
        let limits = CacheLimits {
            entries_max,
            lookup_timeout: Duration::from_secs(30),
            slots: Arc::new(Semaphore::new(lookups_max)),
        };
        Cache::new(limits, Clock::starting_at(Timestamp(1_000_000)))
    }

    async fn found(value: usize) -> Looked<usize> {
        Looked::Found(value, Duration::from_secs(300))
    }

    #[tokio::test(start_paused = true)]
    async fn never_more_lookups_than_slots() {
        let cache = cache(1000, 4);
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (running, most) = (Arc::new(running), Arc::new(most));
        let names: Vec<String> = (0..100).map(|n| format!("{n}.test")).collect();
        let calls = names.iter().map(|name| {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            cache.get(name, || async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(100)).await;
                running.fetch_sub(1, Ordering::SeqCst);
                found(1).await
            })
        });
        assert!(join_all(calls).await.iter().all(Result::is_ok));
        assert_eq!(most.load(Ordering::SeqCst), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn the_bound_holds_and_the_oldest_go_first() {
        let cache = cache(80, 8);
        for n in 0..1000 {
            let said = cache.get(&format!("{n}.test"), || found(n)).await;
            assert_eq!(said.map(|value| *value), Ok(n));
            assert!(cache.len() <= 80, "{} after {n}", cache.len());
        }
        assert!(cache.len() >= 70, "an eighth goes, not more");
        assert!(cache.fresh("999.test").is_some() && cache.fresh("0.test").is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_of_no_use_goes_before_what_is() {
        let cache = cache(10, 8);
        assert!(cache.get("old.test", || found(1)).await.is_ok());
        for n in 0..9 {
            let failed = cache.get(&format!("{n}.test"), || async { Looked::Failed }).await;
            assert_eq!(failed, Err(DnsFailure::NoAnswer));
        }
        tokio::time::advance(Duration::from_secs(61)).await;
        assert!(cache.get("new.test", || found(2)).await.is_ok());
        assert_eq!(cache.len(), 2, "the nine failures are over");
        assert!(cache.fresh("old.test").is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lookup_that_hangs_or_panics_fails_and_leaves_the_name_free() {
        let cache = cache(10, 1);
        let hung = cache.get("a.test", std::future::pending).await;
        assert_eq!(hung, Err(DnsFailure::NoAnswer));
        let panicked = cache.get("b.test", || async { panic!("a bug in a resolver") }).await;
        assert_eq!(panicked, Err(DnsFailure::NoAnswer));
        assert_eq!(cache.get("b.test", || found(3)).await, Ok(Arc::new(3)));
        assert!(cache.shared.flights.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_gives_up_does_not_stop_the_lookup() {
        let cache = cache(10, 1);
        let slow = || async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            found(4).await
        };
        let impatient = tokio::time::timeout(Duration::from_secs(1), cache.get("a.test", slow)).await;
        assert!(impatient.is_err());
        let other = cache.get("a.test", || async { panic!("one lookup at a time") }).await;
        assert_eq!(other, Ok(Arc::new(4)));
    }
}
