//! Who is out: leases, in memory only.
//!
//! Takes deliveries, fences and times; knows neither tables nor places. A lease ends by being given back, by another one,
//! or with the process, not by the passing of its time alone: a lapsed one may still be settled by its holder until
//! somebody else takes it. Changes can be undone until they are confirmed, because the writer answers after its commit
//! and a commit may fail.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::super::records::StoredDelivery;
use crate::domain::{DeliveryId, Fence, Timestamp};
use crate::queue::LeaseRef;

/// Bits of a fence that count leases; those above hold the epoch, which grows with each opening of the store.
const COUNTER_BITS: u32 = 40;

/// All leases.
#[derive(Debug)]
pub(super) struct LeaseBook {
    leases: HashMap<DeliveryId, Lease>,
    /// The ends of those that have not lapsed.
    ends: BTreeSet<(Timestamp, DeliveryId)>,
    last_fence: u64,
    /// What each touched entry was before, oldest first.
    undo: Vec<(DeliveryId, Option<Lease>)>,
}

/// One lease.
#[derive(Debug, Clone)]
pub(super) struct Lease {
    /// Its token.
    pub(super) fence: Fence,
    /// It lapses then.
    pub(super) until: Timestamp,
    /// Its time has passed: the first who asks gets the delivery.
    pub(super) lapsed: bool,
    /// The delivery as stored. Nobody changes it but the writer, so it need not be read again.
    pub(super) stored: Arc<StoredDelivery>,
}

impl LeaseBook {
    /// An empty one, whose fences are above all of earlier epochs.
    pub(super) fn new(epoch: u64) -> Self {
        Self {
            leases: HashMap::new(),
            ends: BTreeSet::new(),
            last_fence: epoch << COUNTER_BITS,
            undo: Vec::new(),
        }
    }

    /// The last fence that was given.
    pub(super) fn last_fence(&self) -> u64 {
        self.last_fence
    }

    /// The lease of a delivery, lapsed or not.
    pub(super) fn get(&self, id: DeliveryId) -> Option<&Lease> {
        self.leases.get(&id)
    }

    /// The lease that `named` names, if nobody took it away.
    pub(super) fn held(&self, named: LeaseRef) -> Option<&Lease> {
        self.leases
            .get(&named.delivery)
            .filter(|lease| lease.fence == named.fence)
    }

    /// Whether a delivery is out.
    pub(super) fn is_out(&self, id: DeliveryId) -> bool {
        self.leases.get(&id).is_some_and(|lease| !lease.lapsed)
    }

    /// How many are out.
    pub(super) fn out(&self) -> u64 {
        self.ends.len() as u64
    }

    /// Those who are out.
    pub(super) fn all_out(&self) -> impl Iterator<Item = &Lease> + '_ {
        self.leases.values().filter(|lease| !lease.lapsed)
    }

    /// Takes a delivery out, away from a former holder if there is one.
    pub(super) fn take(&mut self, stored: Arc<StoredDelivery>, until: Timestamp) -> Fence {
        self.last_fence += 1;
        let fence = Fence(self.last_fence);
        self.set(
            stored.delivery.id,
            Some(Lease {
                fence,
                until,
                lapsed: false,
                stored,
            }),
        );
        fence
    }

    /// Moves the end of a lease.
    pub(super) fn renew(&mut self, id: DeliveryId, until: Timestamp) {
        if let Some(lease) = self.leases.get(&id) {
            let renewed = Lease {
                until,
                lapsed: false,
                ..lease.clone()
            };
            self.set(id, Some(renewed));
        }
    }

    /// Moves the end of all leases, whosoever they are: for [`crate::sabotage`].
    pub(super) fn renew_all(&mut self, until: Timestamp) {
        let out: Vec<DeliveryId> = self.ends.iter().map(|(_, id)| *id).collect();
        out.into_iter().for_each(|id| self.renew(id, until));
    }

    /// How many times the store was opened when the last fence was given: for [`crate::sabotage`].
    pub(super) fn epoch(&self) -> u64 {
        self.last_fence >> COUNTER_BITS
    }

    /// Ends a lease; gives it back.
    pub(super) fn end(&mut self, id: DeliveryId) -> Option<Lease> {
        let lease = self.leases.get(&id).cloned();
        if lease.is_some() {
            self.set(id, None);
        }
        lease
    }

    /// Lapses the first lease that ends by `now`; gives its delivery.
    pub(super) fn lapse_one(&mut self, now: Timestamp) -> Option<Arc<StoredDelivery>> {
        let &(until, id) = self.ends.first()?;
        if until > now {
            return None;
        }
        let lapsed = Lease {
            lapsed: true,
            ..self.leases.get(&id)?.clone()
        };
        let stored = Arc::clone(&lapsed.stored);
        self.set(id, Some(lapsed));
        Some(stored)
    }

    /// All changes so far hold.
    pub(super) fn confirm(&mut self) {
        self.undo.clear();
    }

    /// Takes back all changes since the last confirmation. Fences that were given are not given again.
    pub(super) fn undo(&mut self) {
        while let Some((id, before)) = self.undo.pop() {
            self.replace(id, before);
        }
    }

    fn set(&mut self, id: DeliveryId, lease: Option<Lease>) {
        let before = self.replace(id, lease);
        self.undo.push((id, before));
    }

    fn replace(&mut self, id: DeliveryId, lease: Option<Lease>) -> Option<Lease> {
        let end = lease.as_ref().filter(|lease| !lease.lapsed).map(|lease| lease.until);
        let before = match lease {
            Some(lease) => self.leases.insert(id, lease),
            None => self.leases.remove(&id),
        };
        if let Some(before) = before.as_ref().filter(|before| !before.lapsed) {
            self.ends.remove(&(before.until, id));
        }
        if let Some(until) = end {
            self.ends.insert((until, id));
        }
        before
    }
}
