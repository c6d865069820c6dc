//! The ledger behind the queue seam.
//!
//! Each method takes the lock, makes one whole change and lets go before it answers; none awaits anything.

use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use tokio::sync::Notify;

use super::super::claims::ClaimBook;
use super::ledger::Ledger;
use crate::domain::Next;
use crate::domain::{Class, DeliveryId, Lane, Settlement, Timestamp};
use crate::queue::{
    Accept, Accepted, Depth, Intent, IntentAnswer, LeaseRef, Leased, Parking, Queue, QueueError, Release, SettleAnswer,
};

/// A backend in memory. Implements [`Queue`] and `Store`; share it as an `Arc`.
#[derive(Debug, Default)]
pub struct Memory {
    ledger: Mutex<Ledger>,
    pub(super) claims: Mutex<ClaimBook>,
    wake: Arc<Notify>,
}

impl Memory {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets all leases, as the death of the process does, and keeps everything else: what waits, what is settled
    /// and which INTENTs are open. Fences go on growing.
    pub fn crash(&self) {
        self.ledger().crash();
        self.wake.notify_one();
    }

    /// Checks the books: counters against a recount, every Delivery in exactly one place.
    ///
    /// # Panics
    /// When they do not balance. For tests.
    pub fn check(&self) {
        self.ledger().check();
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("nothing panics while it holds the ledger")
    }
}

#[async_trait]
impl Queue for Memory {
    async fn accept(&self, accept: Accept) -> Result<Accepted, QueueError> {
        let accepted = self.ledger().accept(accept);
        if accepted == Accepted::New {
            self.wake.notify_one();
        }
        Ok(accepted)
    }

    async fn lease(
        &self,
        class: Class,
        max: usize,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Leased>, QueueError> {
        Ok(self.ledger().lease(class, max, now, until))
    }

    async fn lease_parked(
        &self,
        lane: &Lane,
        max: usize,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Leased>, QueueError> {
        Ok(self.ledger().lease_parked(lane, max, now, until))
    }

    async fn lease_expired(&self, max: usize, now: Timestamp, until: Timestamp) -> Result<Vec<Leased>, QueueError> {
        Ok(self.ledger().lease_expired(max, now, until))
    }

    async fn park(&self, parkings: Vec<Parking>) -> Result<(), QueueError> {
        let mut ledger = self.ledger();
        parkings.into_iter().for_each(|parking| ledger.park(parking));
        Ok(())
    }

    async fn release(&self, releases: Vec<Release>) -> Result<(), QueueError> {
        let released = {
            let mut ledger = self.ledger();
            releases.into_iter().filter(|release| ledger.release(release)).count()
        };
        if released > 0 {
            self.wake.notify_one();
        }
        Ok(())
    }

    async fn renew(&self, leases: Vec<LeaseRef>, until: Timestamp) -> Result<Vec<LeaseRef>, QueueError> {
        let mut ledger = self.ledger();
        let lost = leases.into_iter().filter(|lease| !ledger.line.renew(*lease, until));
        Ok(lost.collect())
    }

    async fn intent(&self, intent: Intent) -> Result<IntentAnswer, QueueError> {
        Ok(self.ledger().intent(intent))
    }

    async fn refund(&self, lane: &Lane, day: u32) -> Result<(), QueueError> {
        self.ledger().refund(lane, day);
        Ok(())
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<Vec<SettleAnswer>, QueueError> {
        let waits = settlements
            .iter()
            .any(|settlement| matches!(settlement.next, Next::Wait { .. }));
        let answers = {
            let mut ledger = self.ledger();
            settlements
                .into_iter()
                .map(|settlement| ledger.settle(settlement))
                .collect()
        };
        if waits {
            self.wake.notify_one();
        }
        Ok(answers)
    }

    async fn cancel(&self, delivery: DeliveryId, now: Timestamp) -> Result<bool, QueueError> {
        Ok(self.ledger().cancel(delivery, now))
    }

    async fn next_due(&self, class: Class) -> Result<Option<Timestamp>, QueueError> {
        Ok(self.ledger().line.next_due(class))
    }

    async fn parked_lanes(&self, max: usize) -> Result<Vec<(Lane, u64)>, QueueError> {
        let ledger = self.ledger();
        let lanes = ledger.line.lanes().take(max);
        Ok(lanes.map(|(lane, number)| (lane.clone(), number)).collect())
    }

    async fn depth(&self, now: Timestamp) -> Result<Depth, QueueError> {
        Ok(self.ledger().depth(now))
    }

    fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }
}
