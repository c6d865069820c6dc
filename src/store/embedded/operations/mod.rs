//! What the queue seam asks for, carried out inside the writer's transaction.
//!
//! Each function is one operation: it takes the turn and what the caller sent (encoded before, where that is possible),
//! gives the seam's answer, and changes all or nothing. None of them waits, reads a clock or talks to anybody.

mod accept;
mod archive;
mod handle;
mod lease;
mod purge;
mod settle;

pub(super) use accept::{EncodedAccept, accept, answer_key};
pub(super) use archive::take_in;
pub(super) use handle::{cancel, intent, park, refund, release, renew};
pub(super) use lease::{depth, lease, lease_expired, lease_parked, next_due, parked_lanes};
pub(super) use purge::purge;
pub(super) use settle::{EncodedSettlement, leave, settle, tell};
