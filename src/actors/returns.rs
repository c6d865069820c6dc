//! What leaves an actor without an attempt: back to the queue, or to the settler.
//!
//! Takes leases and where they are to wait; gives tasks of their own, so that no handler waits. Nothing is lost when one
//! fails: the lease ends and the Delivery comes again.

use super::settler::SettlerMessage;
use super::tools::{Crew, Tools};
use super::warmups::Reservation;
use crate::domain::{Lane, Timestamp, Why};
use crate::queue::{LeaseRef, Parking, Release};

/// A Delivery that has to wait for its lane, with the reason: shut until then, or full.
pub(super) fn parking(lease: LeaseRef, lane: &Lane, shut_until: Option<Timestamp>) -> Parking {
    let why = if shut_until.is_some() {
        Why::BreakerOpen
    } else {
        Why::LaneFull
    };
    Parking {
        lease,
        lane: lane.clone(),
        why,
        until: shut_until,
    }
}

/// A Delivery that waits for more room in the warm-up of its lane.
pub(super) fn over_cap(lease: LeaseRef, lane: &Lane, until: Timestamp) -> Parking {
    Parking {
        lease,
        lane: lane.clone(),
        why: Why::WarmupCap,
        until: Some(until),
    }
}

/// Leaves Deliveries to wait under their lanes.
pub(super) fn park(tools: &Tools, parkings: Vec<Parking>) {
    if parkings.is_empty() {
        return;
    }
    let tools = tools.clone();
    actix::spawn(async move { park_now(&tools, parkings).await });
}

/// The same, and comes back when they wait there.
pub(super) async fn park_now(tools: &Tools, parkings: Vec<Parking>) {
    if let Err(error) = tools.queue.park(parkings).await {
        tools.surroundings.observer.store_error(&error);
    }
}

/// Leaves Deliveries in line, due at `due_at`, as if they had never been taken.
pub(super) fn give_back(tools: &Tools, leases: Vec<LeaseRef>, due_at: Timestamp) {
    give_back_for(tools, leases, due_at, Why::Queued);
}

/// The same, with the reason.
pub(super) fn give_back_for(tools: &Tools, leases: Vec<LeaseRef>, due_at: Timestamp, why: Why) {
    if leases.is_empty() {
        return;
    }
    let tools = tools.clone();
    actix::spawn(async move {
        let releases = leases.into_iter().map(|lease| Release { lease, due_at, why }).collect();
        if let Err(error) = tools.queue.release(releases).await {
            tools.surroundings.observer.store_error(&error);
        }
    });
}

/// Leaves a Delivery to wait for its time, for this reason, and comes back when it does.
pub(super) async fn wait(tools: &Tools, lease: LeaseRef, due_at: Timestamp, why: Why) {
    if let Err(error) = tools.queue.release(vec![Release { lease, due_at, why }]).await {
        tools.surroundings.observer.store_error(&error);
    }
}

/// The dot did not leave: what its INTENT has cost, if it was recorded, comes back. Not when the store does not answer.
pub(super) async fn refund(tools: &Tools, lane: &Lane, reserved: Option<&Reservation>) {
    let Some((reserved, day)) = reserved.and_then(|reserved| Some((reserved, reserved.take_charge()?))) else {
        return;
    };
    match tools.queue.refund(lane, day).await {
        Ok(()) => reserved.refunded(day, tools.surroundings.clock.now()),
        Err(error) => tools.surroundings.observer.store_error(&error),
    }
}

/// Tells the settler. One that is full loses nothing: the lease ends.
pub(super) fn settle(crew: &Crew, message: SettlerMessage) {
    if crew.settler.try_send(message).is_err() {
        tracing::debug!("the settler's mailbox is full; a lease will end instead");
    }
}
