//! The durable change that a Verdict leads to.

use super::{BounceClass, DeliveryId, EventKind, Fence, LastReply, SourceId, State, SuppressionReason, Timestamp, Why};

/// Where the Delivery goes next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// The end.
    Final(State),
    /// It waits in this state.
    Wait {
        /// Deferred, held, queued or quarantined.
        state: State,
        /// Until then.
        due_at: Timestamp,
        /// For this reason.
        why: Why,
    },
}

/// One change of one Delivery: applied whole and durably together with its Event, or not at all.
#[derive(Debug, Clone, PartialEq)]
pub struct Settlement {
    /// Which Delivery.
    pub delivery: DeliveryId,
    /// The lease under which it happened. A stale one changes nothing.
    pub fence: Fence,
    /// When.
    pub at: Timestamp,
    /// Where it goes.
    pub next: Next,
    /// Added to its attempts.
    pub attempts: u32,
    /// Added to its ambiguous attempts.
    pub ambiguous: u32,
    /// Added to its panics.
    pub panics: u32,
    /// Kept for its next attempt.
    pub source: Option<SourceId>,
    /// What was said.
    pub reply: Option<LastReply>,
    /// For a bounce: what kind.
    pub bounce: Option<BounceClass>,
    /// Put the address on the suppression list, in the same step.
    pub suppress: Option<SuppressionReason>,
    /// What customers are told, in this order.
    pub events: Vec<EventKind>,
}
