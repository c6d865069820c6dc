//! What this node has leased: the Delivery under each fence, so that settling it reads nothing.
//!
//! Bounded; what came first goes first. A Delivery does not change while its fence holds, so an entry is never wrong: where the
//! fence no longer holds, Redis refuses what was made of it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::{Delivery, DeliveryId, Fence};
use crate::queue::LeaseRef;

/// The cache.
#[derive(Debug)]
pub(super) struct LeaseCache {
    entries: Mutex<Entries>,
    max: usize,
}

#[derive(Debug, Default)]
struct Entries {
    by_id: HashMap<DeliveryId, (Fence, Delivery)>,
    /// In the order in which they came; may name some that are gone.
    order: VecDeque<(DeliveryId, Fence)>,
}

impl LeaseCache {
    /// One that holds up to `max` deliveries.
    pub(super) fn new(max: usize) -> Self {
        Self {
            entries: Mutex::default(),
            max,
        }
    }

    /// Remembers a Delivery under a new lease.
    pub(super) fn insert(&self, fence: Fence, delivery: &Delivery) {
        if self.max == 0 {
            return;
        }
        let mut entries = self.entries();
        entries.by_id.insert(delivery.id, (fence, delivery.clone()));
        entries.order.push_back((delivery.id, fence));
        while entries.order.len() > self.max {
            let first = entries.order.pop_front();
            if let Some((id, fence)) = first {
                entries.remove(id, fence);
            }
        }
    }

    /// The Delivery under a lease, if it is here.
    pub(super) fn get(&self, lease: LeaseRef) -> Option<Delivery> {
        let entries = self.entries();
        let (fence, delivery) = entries.by_id.get(&lease.delivery)?;
        (*fence == lease.fence).then(|| delivery.clone())
    }

    /// Forgets a lease that has ended.
    pub(super) fn remove(&self, lease: LeaseRef) {
        self.entries().remove(lease.delivery, lease.fence);
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn remove(&mut self, id: DeliveryId, fence: Fence) {
        if self.by_id.get(&id).is_some_and(|(held, _)| *held == fence) {
            self.by_id.remove(&id);
        }
        // Those that ended before the first in order are dropped with it, so that the order stays as short as the entries.
        while let Some((id, fence)) = self.order.front().copied() {
            if self.by_id.get(&id).is_some_and(|(held, _)| *held == fence) {
                break;
            }
            self.order.pop_front();
        }
    }
}
