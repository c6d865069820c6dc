//! The part of the queue seam that tells who waits, and where: for people who ask, and for the watchdog.
//!
//! Takes a Delivery, or a place in the order of all that wait; gives what stands there at that moment. Nothing is changed
//! and nothing is locked: between two pages work goes on. What every implementation promises is in
//! `tests/it/contract/waits.rs`.

use async_trait::async_trait;

use super::QueueError;
use crate::domain::{Delivery, DeliveryId, Lane, Place, Timestamp};

/// Nobody counts further than this to tell how many stand before one under a lane.
pub const AHEAD_MAX: u64 = 100_000;

/// Up to where a reader has come. Only the store that gave it can read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitersCursor(pub Vec<u8>);

/// One that waits.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiter {
    /// The Delivery as stored.
    pub delivery: Delivery,
    /// Under which lane it is parked, leased or not.
    pub parked: Option<Lane>,
}

/// Some of all that wait.
#[derive(Debug, Clone, PartialEq)]
pub struct WaitersPage {
    /// They.
    pub waiters: Vec<Waiter>,
    /// Where to go on; none at the end.
    pub next: Option<WaitersCursor>,
}

/// Who waits, and where.
#[async_trait]
pub trait Waits: Send + Sync + std::fmt::Debug {
    /// Where a Delivery stands at `now`; none when it is final or unknown.
    async fn place(&self, delivery: DeliveryId, now: Timestamp) -> Result<Option<Place>, QueueError>;

    /// Some of the deliveries that are not final, after `after`. Reads about `max` records and no body, so a page may be
    /// empty before the end. Who waits through a whole round, from no cursor to none, while nothing else changes, is in
    /// exactly one of its pages; while work goes on one may be passed over, and comes with the next round.
    async fn waiters(&self, after: Option<&WaitersCursor>, max: usize) -> Result<WaitersPage, QueueError>;
}
