//! Which domains of tenants stand still at which provider, for all sessions of the engine.
//!
//! Takes answers that blame a domain, and sessions that ask whether a message may go; gives passage, or the message back to
//! the queue until its time; and words of other nodes (`domain_held` carries them). While no domain is held, which is nearly always, it costs a look at a number. Decides nothing:
//! `policy::domain_hold` does. Outlives the actors.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dashmap::DashMap;

use super::returns;
use super::tools::Tools;
use crate::domain::{Blame, LaneAction, ProviderId, Timestamp, Verdict, Why};
use crate::policy::domain_hold::{DomainHold, HoldMemory, Passage};
use crate::queue::Leased;

/// Domains remembered at most, over all providers; beyond it those that are free are forgotten, then nothing more is held.
pub(super) const HOLDS_MAX: usize = 10_000;

/// Of which domain, at which provider.
pub(super) type Key = (ProviderId, Arc<str>);

/// The holds.
#[derive(Debug)]
pub struct DomainHolds {
    longest_ms: AtomicU64,
    by_key: DashMap<Key, Entry>,
    count: AtomicUsize,
    /// Forgotten here, and not by the store.
    gone: Mutex<Vec<Key>>,
}

#[derive(Debug)]
struct Entry {
    hold: DomainHold,
    /// As the store has it.
    written: Option<HoldMemory>,
}

impl DomainHolds {
    /// None yet. No stop will be longer than `longest`.
    #[must_use]
    pub fn new(longest: Duration) -> Self {
        Self {
            longest_ms: AtomicU64::new(millis(longest)),
            by_key: DashMap::new(),
            count: AtomicUsize::new(0),
            gone: Mutex::default(),
        }
    }

    fn longest(&self) -> Duration {
        Duration::from_millis(self.longest_ms.load(Ordering::Relaxed))
    }

    /// No stop is longer from now on, nor is one that holds already.
    pub fn set_longest(&self, longest: Duration, now: Timestamp) {
        if self.longest_ms.swap(millis(longest), Ordering::Relaxed) != millis(longest) {
            self.by_key
                .iter_mut()
                .for_each(|mut entry| entry.hold.set_longest(longest, now));
        }
    }

    /// Whether any domain is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// Whether a message of this domain may go to this provider now.
    #[must_use]
    pub fn ask(&self, provider: &ProviderId, domain: &Arc<str>, now: Timestamp) -> Passage {
        let key = (provider.clone(), Arc::clone(domain));
        self.by_key
            .get_mut(&key)
            .map_or(Passage::Go, |mut entry| entry.hold.ask(now))
    }

    /// A message for which there was passage was not sent, or nothing is known of it.
    pub fn unsent(&self, provider: &ProviderId, domain: &Arc<str>, started: Timestamp) {
        let key = (provider.clone(), Arc::clone(domain));
        if let Some(mut entry) = self.by_key.get_mut(&key) {
            entry.hold.on_unsent(started);
        }
    }

    /// What the provider answered to a message of this domain. Gives the end of a new stop.
    pub fn tell(
        &self,
        provider: &ProviderId,
        domain: &Arc<str>,
        verdict: &Verdict,
        started: Timestamp,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let blamed = super::told::cause(verdict).filter(|cause| cause.blame == Blame::TenantDomain);
        let asked = blamed.map_or(LaneAction::None, |cause| cause.action);
        if self.is_empty() && asked == LaneAction::None {
            return None;
        }
        let key = (provider.clone(), Arc::clone(domain));
        if asked != LaneAction::None {
            self.begin(&key, now);
        }
        let mut entry = self.by_key.get_mut(&key)?;
        if *verdict == Verdict::Delivered {
            entry.hold.on_delivered(started, now);
            return None;
        }
        entry.hold.on_blamed(asked, started, now)
    }

    /// A note says this of a domain: another node met a stop or saw it end, or this one did before a restart. Gives the end of
    /// a stop that was not known here.
    pub(super) fn hear(&self, key: &Key, memory: &HoldMemory, now: Timestamp) -> Option<Timestamp> {
        self.begin(key, now);
        let mut entry = self.by_key.get_mut(key)?;
        let until = entry.hold.hear(memory, now);
        if entry.hold.memory().turned == memory.turned {
            // What was only heard is not written: the note is about who met it.
            entry.written = Some(entry.hold.memory());
        }
        until
    }

    /// Up to `max` domains whose state the store does not have; none means that its note is to be taken away. From now on
    /// they count as written.
    pub(super) fn take_changed(&self, max: usize, now: Timestamp) -> Vec<(Key, Option<HoldMemory>)> {
        self.forget(|hold| hold.is_over(now));
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        let left = gone.len().saturating_sub(max);
        let mut changed: Vec<_> = gone.drain(left..).map(|key| (key, None)).collect();
        drop(gone);
        for mut entry in self.by_key.iter_mut() {
            if changed.len() >= max {
                break;
            }
            let memory = entry.hold.memory();
            // A domain that was never held is nothing to tell of.
            if memory.turned > Timestamp(0) && entry.written != Some(memory) {
                entry.written = Some(memory);
                changed.push((entry.key().clone(), Some(memory)));
            }
        }
        changed
    }

    /// The store did not take these.
    pub(super) fn write_again(&self, changed: Vec<(Key, Option<HoldMemory>)>) {
        for (key, memory) in changed {
            match (memory, self.by_key.get_mut(&key)) {
                (_, Some(mut entry)) => entry.written = None,
                (None, None) => self.note_gone(key),
                (Some(_), None) => {}
            }
        }
    }

    fn begin(&self, key: &Key, now: Timestamp) {
        if self.by_key.contains_key(key) {
            return;
        }
        if self.by_key.len() >= HOLDS_MAX {
            self.forget(|hold| hold.is_over(now));
        }
        if self.by_key.len() >= HOLDS_MAX {
            self.forget(DomainHold::is_free);
        }
        if self.by_key.len() < HOLDS_MAX {
            let hold = DomainHold::new(self.longest(), now);
            self.by_key.insert(key.clone(), Entry { hold, written: None });
            self.count.store(self.by_key.len(), Ordering::Relaxed);
        }
    }

    fn forget(&self, which: impl Fn(&DomainHold) -> bool) {
        self.by_key.retain(|key, entry| {
            let goes = which(&entry.hold);
            if goes && entry.written.is_some() {
                self.note_gone(key.clone());
            }
            !goes
        });
        self.count.store(self.by_key.len(), Ordering::Relaxed);
    }

    fn note_gone(&self, key: Key) {
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        if gone.len() < HOLDS_MAX {
            gone.push(key);
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Whether this Delivery may go to its provider as far as its sending domain is concerned. One that may not goes back to the
/// queue until its time.
pub(super) async fn may_go(tools: &Tools, provider: &ProviderId, leased: &Leased) -> bool {
    let holds = &tools.lanes.domains;
    if holds.is_empty() {
        return true;
    }
    // Without its domain it fails a moment later, and says why.
    let Some(domain) = tools.crafter.sending_domain(&leased.delivery).await else {
        return true;
    };
    match holds.ask(provider, &domain, tools.surroundings.clock.now()) {
        Passage::Go => true,
        Passage::Wait(until) => {
            returns::wait(tools, leased.lease(), until, Why::DomainHeld).await;
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{BounceClass, Cause};

    fn verdict(blame: Blame, action: LaneAction) -> Verdict {
        Verdict::Retry {
            cause: Cause {
                class: BounceClass::DomainReputation,
                blame,
                action,
                rule: Arc::from("rule"),
            },
            after: None,
            counts: true,
        }
    }

    #[test]
    fn only_the_domain_that_was_blamed_is_held_and_only_there() {
        let (holds, now) = (DomainHolds::new(Duration::from_secs(3600)), Timestamp(1_000));
        let (google, yahoo) = (ProviderId::from("google"), ProviderId::from("yahoo"));
        let (bad, good): (Arc<str>, Arc<str>) = (Arc::from("bad.example"), Arc::from("good.example"));
        let stop = LaneAction::Stop(Duration::from_secs(60));
        holds.tell(&google, &bad, &verdict(Blame::SourceIp, stop), now, now);
        assert!(holds.is_empty(), "the lane's affair");
        assert!(
            holds
                .tell(&google, &bad, &verdict(Blame::TenantDomain, stop), now, now)
                .is_some()
        );
        for (provider, domain, expect) in [(&google, &bad, false), (&google, &good, true), (&yahoo, &bad, true)] {
            assert_eq!(
                holds.ask(provider, domain, now) == Passage::Go,
                expect,
                "{provider} {domain}"
            );
        }
    }

    #[test]
    fn only_what_was_met_here_is_written_and_what_is_over_is_taken_away() {
        let (one, two) = (
            DomainHolds::new(Duration::from_secs(3600)),
            DomainHolds::new(Duration::from_secs(3600)),
        );
        let (google, bad): (_, Arc<str>) = (ProviderId::from("google"), Arc::from("bad.example"));
        let (now, stop) = (Timestamp(1_000), LaneAction::Stop(Duration::from_secs(60)));
        one.tell(&google, &bad, &verdict(Blame::TenantDomain, stop), now, now);
        let changed = one.take_changed(10, now);
        assert_eq!(changed.len(), 1);
        assert!(one.take_changed(10, now).is_empty(), "once");
        one.write_again(changed.clone());
        assert_eq!(one.take_changed(10, now), changed, "it was not taken");
        let (key, memory) = &changed[0];
        assert!(two.hear(key, &memory.expect("it is held"), now).is_some());
        assert_ne!(two.ask(&google, &bad, now), Passage::Go);
        assert!(two.take_changed(10, now).is_empty(), "it was only heard");
        // Free again, and for long: nobody needs the note.
        let mut at = memory.expect("it is held").until.expect("a stop");
        for _ in 0..70 {
            assert_eq!(one.ask(&google, &bad, at), Passage::Go);
            one.tell(&google, &bad, &Verdict::Delivered, at, at);
            at = at.plus(Duration::from_secs(1));
        }
        let later = at.plus(Duration::from_secs(5 * 3600));
        assert_eq!(one.take_changed(10, later), [(key.clone(), None)]);
        assert!(one.is_empty());
    }
}
