//! Which domains of tenants stand still at which provider, for all sessions of the engine.
//!
//! Takes answers that blame a domain, and sessions that ask whether a message may go; gives passage, or the message back to
//! the queue until its time. While no domain is held, which is nearly always, it costs a look at a number. Decides nothing:
//! `policy::domain_hold` does. Outlives the actors.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dashmap::DashMap;

use super::returns;
use super::tools::Tools;
use crate::domain::{Blame, LaneAction, ProviderId, Timestamp, Verdict, Why};
use crate::policy::domain_hold::{DomainHold, Passage};
use crate::queue::Leased;

/// Domains remembered at most, over all providers; beyond it those that are free are forgotten, then nothing more is held.
const HOLDS_MAX: usize = 10_000;

/// The holds.
#[derive(Debug)]
pub struct DomainHolds {
    longest: Duration,
    by_key: DashMap<(ProviderId, Arc<str>), DomainHold>,
    count: AtomicUsize,
}

impl DomainHolds {
    /// None yet. No stop will be longer than `longest`.
    #[must_use]
    pub fn new(longest: Duration) -> Self {
        Self {
            longest,
            by_key: DashMap::new(),
            count: AtomicUsize::new(0),
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
        self.by_key.get_mut(&key).map_or(Passage::Go, |mut hold| hold.ask(now))
    }

    /// A message for which there was passage was not sent, or nothing is known of it.
    pub fn unsent(&self, provider: &ProviderId, domain: &Arc<str>, started: Timestamp) {
        let key = (provider.clone(), Arc::clone(domain));
        if let Some(mut hold) = self.by_key.get_mut(&key) {
            hold.on_unsent(started);
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
        if asked != LaneAction::None && !self.by_key.contains_key(&key) {
            self.make_room(now);
            if self.by_key.len() >= HOLDS_MAX {
                return None;
            }
            self.by_key.insert(key.clone(), DomainHold::new(self.longest, now));
            self.count.store(self.by_key.len(), Ordering::Relaxed);
        }
        let mut hold = self.by_key.get_mut(&key)?;
        if *verdict == Verdict::Delivered {
            hold.on_delivered(started, now);
            return None;
        }
        hold.on_blamed(asked, started, now)
    }

    fn make_room(&self, now: Timestamp) {
        self.by_key.retain(|_, hold| !hold.is_over(now));
        if self.by_key.len() >= HOLDS_MAX {
            self.by_key.retain(|_, hold| !hold.is_free());
        }
    }
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
}
