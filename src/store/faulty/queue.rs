//! The faults before the queue seam.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::Notify;

use super::plan::{Calls, Fault, Method, Plan};
use crate::domain::{Class, DeliveryId, Lane, Settlement, Timestamp};
use crate::queue::{
    Accept, Accepted, Depth, Intent, IntentAnswer, LeaseRef, Leased, Parking, Queue, QueueError, Release, SettleAnswer,
};
use crate::store::Store;

/// A backend that fails on demand. Implements [`Queue`] and [`Store`]; share it as an `Arc`.
#[derive(Debug)]
pub struct Faulty {
    pub(super) queue: Arc<dyn Queue>,
    pub(super) store: Arc<dyn Store>,
    pub(super) plan: Plan,
    /// Deliveries whose records cannot be read.
    damaged: Mutex<HashSet<DeliveryId>>,
}

impl Faulty {
    /// Around a backend; sound until told otherwise.
    #[must_use]
    pub fn around<B: Queue + Store + 'static>(backend: Arc<B>) -> Self {
        Self {
            queue: Arc::clone(&backend) as Arc<dyn Queue>,
            store: backend,
            plan: Plan::new(),
            damaged: Mutex::default(),
        }
    }

    /// From now on each batch of settlements with this Delivery in it fails whole, because its record cannot be read.
    pub fn damage(&self, delivery: DeliveryId) {
        self.damaged().insert(delivery);
    }

    fn damaged(&self) -> MutexGuard<'_, HashSet<DeliveryId>> {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Orders a fault for calls that are yet to come.
    pub fn order(&self, method: Method, calls: Calls, fault: Fault) {
        self.plan.order(method, calls, fault);
    }

    /// Takes all orders back. Calls that hang go on.
    pub fn heal(&self) {
        self.plan.heal();
    }

    /// How often a method was called so far, whatever came of it.
    #[must_use]
    pub fn calls(&self, method: Method) -> u64 {
        self.plan.calls(method)
    }
}

/// Lets a call meet its fault and passes it on.
macro_rules! pass {
    ($faulty:ident . $seam:ident . $call:ident ( $($argument:expr),* ) as $method:ident) => {{
        let after = $faulty.plan.meet($crate::store::faulty::Method::$method).await?;
        let answer = $faulty.$seam.$call($($argument),*).await;
        after.pass(answer).await
    }};
}
pub(super) use pass;

#[async_trait]
impl Queue for Faulty {
    async fn accept(&self, accept: Accept) -> Result<Accepted, QueueError> {
        pass!(self.queue.accept(accept) as Accept)
    }

    async fn lease(
        &self,
        class: Class,
        max: usize,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Leased>, QueueError> {
        pass!(self.queue.lease(class, max, now, until) as Lease)
    }

    async fn lease_parked(
        &self,
        lane: &Lane,
        max: usize,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Leased>, QueueError> {
        pass!(self.queue.lease_parked(lane, max, now, until) as LeaseParked)
    }

    async fn lease_expired(&self, max: usize, now: Timestamp, until: Timestamp) -> Result<Vec<Leased>, QueueError> {
        pass!(self.queue.lease_expired(max, now, until) as LeaseExpired)
    }

    async fn park(&self, parkings: Vec<Parking>) -> Result<(), QueueError> {
        pass!(self.queue.park(parkings) as Park)
    }

    async fn release(&self, releases: Vec<Release>) -> Result<(), QueueError> {
        pass!(self.queue.release(releases) as Release)
    }

    async fn renew(&self, leases: Vec<LeaseRef>, until: Timestamp) -> Result<Vec<LeaseRef>, QueueError> {
        pass!(self.queue.renew(leases, until) as Renew)
    }

    async fn intent(&self, intent: Intent) -> Result<IntentAnswer, QueueError> {
        pass!(self.queue.intent(intent) as Intent)
    }

    async fn refund(&self, lane: &Lane, day: u32) -> Result<(), QueueError> {
        pass!(self.queue.refund(lane, day) as Refund)
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<Vec<SettleAnswer>, QueueError> {
        let damaged = settlements.iter().map(|one| one.delivery);
        if let Some(id) = damaged.into_iter().find(|id| self.damaged().contains(id)) {
            return Err(QueueError::Damaged(format!("delivery {id}, ordered by a test")));
        }
        pass!(self.queue.settle(settlements) as Settle)
    }

    async fn cancel(&self, delivery: DeliveryId, now: Timestamp) -> Result<bool, QueueError> {
        pass!(self.queue.cancel(delivery, now) as Cancel)
    }

    async fn next_due(&self, class: Class) -> Result<Option<Timestamp>, QueueError> {
        pass!(self.queue.next_due(class) as NextDue)
    }

    async fn parked_lanes(&self, max: usize) -> Result<Vec<(Lane, u64)>, QueueError> {
        pass!(self.queue.parked_lanes(max) as ParkedLanes)
    }

    async fn depth(&self, now: Timestamp) -> Result<Depth, QueueError> {
        pass!(self.queue.depth(now) as Depth)
    }

    fn wake(&self) -> Arc<Notify> {
        self.queue.wake()
    }
}
