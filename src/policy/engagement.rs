//! Which recipients are engaged: they took mail of a tenant before, and did not turn away since.
//!
//! Takes whose mail an address took or turned down; says whether it is engaged. Where a lane has less room than newsletters
//! (warm-up, a throttled provider), `shelves` lets the engaged ones go first: receivers judge a sender they do not know by how
//! its first mail is received. Being delivered to is the least sign there is, and the only one so far: whatever comes to know
//! of opens and clicks notes them here as well. Addresses are not kept, only a hash of them with a key that the caller
//! chose; a collision lets a stranger go first, nothing else. Never decides whether somebody gets mail.

use std::collections::HashSet;
use std::hash::BuildHasher;

use crate::domain::TenantId;

/// Recipients that are remembered unless configured otherwise.
pub const ENGAGED_MAX: usize = 500_000;

/// What a recipient did with a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Took it, opened it, followed a link.
    Took,
    /// Has no mailbox any more, complained, or wants no more.
    TurnedAway,
}

/// The engaged recipients of all tenants, those of whom was heard last.
#[derive(Debug)]
pub struct Engagement<S> {
    hasher: S,
    most: usize,
    /// Heard of lately. When it is half of what may be kept, it becomes `before`.
    lately: HashSet<u64>,
    /// Heard of before that, and forgotten when `lately` is full again.
    before: HashSet<u64>,
}

impl<S: BuildHasher + Default> Default for Engagement<S> {
    fn default() -> Self {
        Self::new(ENGAGED_MAX, S::default())
    }
}

impl<S: BuildHasher> Engagement<S> {
    /// Nobody is known; at most so many ever are.
    #[must_use]
    pub fn new(most: usize, hasher: S) -> Self {
        Self {
            hasher,
            most,
            lately: HashSet::new(),
            before: HashSet::new(),
        }
    }

    /// At most so many from now on.
    pub fn keep_at_most(&mut self, most: usize) {
        self.most = most;
        self.make_room();
    }

    /// A recipient did something with the tenant's mail.
    pub fn note(&mut self, tenant: TenantId, address: &str, interest: Interest) {
        let who = self.hash(tenant, address);
        match interest {
            Interest::Took => {
                self.lately.insert(who);
                self.make_room();
            }
            Interest::TurnedAway => {
                self.lately.remove(&who);
                self.before.remove(&who);
            }
        }
    }

    /// Whether the recipient is engaged, as far as is known.
    #[must_use]
    pub fn is_engaged(&self, tenant: TenantId, address: &str) -> bool {
        let who = self.hash(tenant, address);
        self.lately.contains(&who) || self.before.contains(&who)
    }

    fn make_room(&mut self) {
        if self.lately.len() > self.most / 2 {
            self.before = std::mem::take(&mut self.lately);
        }
        if self.before.len() > self.most {
            self.before = HashSet::new();
        }
    }

    /// Some write one mailbox in small letters here and in large ones there.
    fn hash(&self, tenant: TenantId, address: &str) -> u64 {
        self.hasher.hash_one((tenant, address.to_lowercase()))
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasherDefault, DefaultHasher};

    use super::*;

    type Engagement = super::Engagement<BuildHasherDefault<DefaultHasher>>;

    const ACME: TenantId = TenantId(1);
    const OTHER: TenantId = TenantId(2);

    #[test]
    fn who_took_mail_of_a_tenant_is_engaged_with_it_until_they_turn_away() {
        let mut engagement = Engagement::default();
        assert!(!engagement.is_engaged(ACME, "ada@example.test"));
        engagement.note(ACME, "ada@example.test", Interest::Took);
        assert!(engagement.is_engaged(ACME, "Ada@Example.test"));
        assert!(!engagement.is_engaged(OTHER, "ada@example.test"), "with nobody else");
        assert!(!engagement.is_engaged(ACME, "bob@example.test"));
        engagement.note(ACME, "ADA@example.test", Interest::TurnedAway);
        assert!(!engagement.is_engaged(ACME, "ada@example.test"));
    }

    #[test]
    fn no_more_are_kept_than_allowed_and_those_heard_of_last_stay() {
        let mut engagement = Engagement::new(100, BuildHasherDefault::new());
        let address = |number: u32| format!("user{number}@example.test");
        for number in 0..1_000 {
            engagement.note(ACME, &address(number), Interest::Took);
            assert!(engagement.lately.len() + engagement.before.len() <= 101);
        }
        let known = |engagement: &Engagement| {
            let engaged = |number: &u32| engagement.is_engaged(ACME, &address(*number));
            (0..1_000).filter(engaged).collect::<Vec<u32>>()
        };
        let left = known(&engagement);
        assert!((50..=101).contains(&left.len()), "{}", left.len());
        assert_eq!(left.last(), Some(&999));
        assert_eq!(
            left[0],
            1_000 - u32::try_from(left.len()).unwrap(),
            "the last ones in a row"
        );
        engagement.keep_at_most(10);
        assert!(known(&engagement).len() <= 10);
        for number in 0..20 {
            engagement.note(OTHER, &address(number), Interest::Took);
        }
        assert!(known(&engagement).is_empty());
    }

    #[test]
    fn nobody_is_kept_where_nobody_may_be() {
        let mut engagement = Engagement::new(0, BuildHasherDefault::new());
        engagement.note(ACME, "ada@example.test", Interest::Took);
        engagement.note(ACME, "bob@example.test", Interest::Took);
        assert!(!engagement.is_engaged(ACME, "bob@example.test"));
    }
}
