//! The seam that holds work: what was accepted waits here until it is settled.
//!
//! Two stages. *When may it go*: deliveries wait by class and due time. *Through which door*: one whose lane is full is
//! parked under the lane. A Lease takes a Delivery out of either, in memory, until a deadline and under a fencing token.
//! The journal is part of the contract: `accept` is ACCEPT, `intent` is INTENT and must be durable before the final dot
//! leaves, `settle` is OUTCOME and commits state and events together.
//!
//! What every implementation promises is in `tests/it/contract/`, which runs against all of them. Backends implement
//! this seam and `store::Store` with one type, so they live in `store/`.

mod claims;
mod types;
mod waits;

pub use claims::{Claim, Claims};
pub use types::{
    Accept, Accepted, Charge, Depth, IdempotencyKey, Intent, IntentAnswer, IntentRefusal, LeaseRef, Leased, OpenIntent,
    Parking, QueueError, Release, SettleAnswer, Spent, StoredResponse, newest_of,
};
pub use waits::{AHEAD_MAX, Waiter, WaitersCursor, WaitersPage, Waits};

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Notify;

use crate::domain::{Class, DeliveryId, Lane, Settlement, Timestamp};

/// Durable work. All methods are safe to call from many tasks; each answers after its change is durable.
#[async_trait]
pub trait Queue: Claims + Waits + Send + Sync + std::fmt::Debug {
    /// ACCEPT: stores messages, bodies, deliveries, idempotency key and the first events in one durable step.
    async fn accept(&self, accept: Accept) -> Result<Accepted, QueueError>;

    /// Leases up to `max` deliveries of `class` whose due time has come, oldest first, until `until`. Where more are due, the
    /// last [`newest_of`] may be those who became due last, newest first; a line that is a stream has the oldest alone.
    /// A Delivery whose former lease ended with its INTENT open comes with that [`OpenIntent`]: it is ambiguous.
    /// Deliveries that have expired, or are held and due, are leased like all others; policy decides what becomes of them.
    async fn lease(
        &self,
        class: Class,
        max: usize,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Leased>, QueueError>;

    /// Leases up to `max` deliveries that are parked under `lane`: most urgent class first, then soonest to expire.
    async fn lease_parked(
        &self,
        lane: &Lane,
        max: usize,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Leased>, QueueError>;

    /// Leases up to `max` parked deliveries, under any lane, that have expired by `now`.
    async fn lease_expired(&self, max: usize, now: Timestamp, until: Timestamp) -> Result<Vec<Leased>, QueueError>;

    /// Gives leased deliveries back to wait under a lane. Stale leases are passed over.
    async fn park(&self, parkings: Vec<Parking>) -> Result<(), QueueError>;

    /// Gives leased deliveries back to wait for a due time, without an attempt. Stale leases are passed over.
    async fn release(&self, releases: Vec<Release>) -> Result<(), QueueError>;

    /// Extends leases; gives back those that were lost.
    async fn renew(&self, leases: Vec<LeaseRef>, until: Timestamp) -> Result<Vec<LeaseRef>, QueueError>;

    /// INTENT: records durably that the dot is about to leave, unless a guard forbids it. Checked in the same step:
    /// the lease's fence, the state, expiry, cancellation, suppression, the warm-up budget, which is charged.
    async fn intent(&self, intent: Intent) -> Result<IntentAnswer, QueueError>;

    /// Takes back what an INTENT of `lane` was charged for that day: its dot did not leave, and never will. Asked once for each
    /// charge. What is not of the last day that the lane was charged for stays as it is, and so does what a backend cannot
    /// tell to be the first try: a refund may get lost, and is never made twice.
    async fn refund(&self, lane: &Lane, day: u32) -> Result<(), QueueError>;

    /// OUTCOME: applies each Settlement with its events, and answers for each. One with a stale fence changes nothing.
    async fn settle(&self, settlements: Vec<Settlement>) -> Result<Vec<SettleAnswer>, QueueError>;

    /// Cancels a Delivery that is not on its way. `false` when it is final, unknown, or has an open INTENT, whether its
    /// lease has ended or not: it may have gone out.
    async fn cancel(&self, delivery: DeliveryId, now: Timestamp) -> Result<bool, QueueError>;

    /// The earliest due time of `class` among deliveries that are neither leased nor parked.
    async fn next_due(&self, class: Class) -> Result<Option<Timestamp>, QueueError>;

    /// Lanes with parked deliveries, with their number; at most `max`.
    async fn parked_lanes(&self, max: usize) -> Result<Vec<(Lane, u64)>, QueueError>;

    /// How much waits.
    async fn depth(&self, now: Timestamp) -> Result<Depth, QueueError>;

    /// Notified whenever something may have become due.
    fn wake(&self) -> Arc<Notify>;
}
