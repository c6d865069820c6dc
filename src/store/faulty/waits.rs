//! The faults before the part of the queue seam that tells who waits.

use async_trait::async_trait;

use super::queue::{Faulty, pass};
use crate::domain::{DeliveryId, Place, Timestamp};
use crate::queue::{QueueError, WaitersCursor, WaitersPage, Waits};

#[async_trait]
impl Waits for Faulty {
    async fn place(&self, delivery: DeliveryId, now: Timestamp) -> Result<Option<Place>, QueueError> {
        pass!(self.queue.place(delivery, now) as Place)
    }

    async fn waiters(&self, after: Option<&WaitersCursor>, max: usize) -> Result<WaitersPage, QueueError> {
        pass!(self.queue.waiters(after, max) as Waiters)
    }
}
