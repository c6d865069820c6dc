//! What a lane is told of an answer: in the words of its room, with what the other side said.
//!
//! Takes an Attempt and its Verdict; gives [`Told`]. Whoever has the Verdict makes it, the ISP actor uses it. An answer that
//! concerns no lane carries no words.

use std::sync::Arc;

use super::isp::Isp;
use super::supervisor::Handle;
use crate::domain::{Attempt, Blame, Cause, LaneAction, Verdict};
use crate::policy::classify::lane_action;
use crate::policy::controller::Evidence;
use crate::policy::lane_room::Report;

/// From where an Attempt comes: whom to tell, and what only the session knows.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The actor of the lane's provider.
    pub isp: Handle<Isp>,
    /// Messages that the connection had carried before.
    pub before: u32,
    /// The sending domain, if it got as far as that.
    pub domain: Option<Arc<str>>,
}

/// What the provider answered, for its lane.
#[derive(Debug, Clone)]
pub struct Told {
    /// For the room.
    pub report: Report,
    /// Whether it means the addresses around the lane's Source as well.
    pub is_netblock: bool,
    /// What was said.
    pub evidence: Option<Arc<Evidence>>,
}

impl Told {
    /// What came of an attempt on a connection that had carried so many messages.
    #[must_use]
    pub fn of(attempt: &Attempt, verdict: &Verdict, before: u32) -> Self {
        let cause = cause(verdict);
        let action = cause.map_or(LaneAction::None, lane_action);
        Self {
            report: Report {
                action,
                delivered: *verdict == Verdict::Delivered,
                started: attempt.started_at,
                before: Some(before),
            },
            is_netblock: cause.is_some_and(|cause| cause.blame == Blame::Netblock),
            evidence: cause
                .filter(|_| action != LaneAction::None)
                .map(|cause| Arc::new(Evidence::of(attempt, cause))),
        }
    }
}

/// Why it was no delivery.
pub(super) fn cause(verdict: &Verdict) -> Option<&Cause> {
    match verdict {
        Verdict::Retry { cause, .. } | Verdict::Bounce { cause, .. } | Verdict::Ambiguous { cause } => Some(cause),
        Verdict::Delivered => None,
    }
}
