//! What customers are told: one per change of state, committed with it.

use std::net::IpAddr;

use super::{BounceClass, DeliveryId, LastReply, MessageId, Timestamp, Why};

/// One thing that happened to one Delivery.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Place in the order of all events of the store; 0 until it is committed.
    pub sequence: u64,
    /// To which Delivery.
    pub delivery: DeliveryId,
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: EventKind,
}

impl Event {
    /// The Message it is about.
    #[must_use]
    pub fn message(&self) -> MessageId {
        self.delivery.message
    }
}

/// The kinds of events.
#[derive(Debug, Clone, PartialEq)]
pub enum EventKind {
    /// On stable storage.
    Accepted,
    /// On stable storage, to go at this time.
    Scheduled {
        /// When.
        until: Timestamp,
    },
    /// Another attempt later.
    Deferred {
        /// Why.
        why: Why,
        /// When it is tried next.
        until: Timestamp,
        /// What was said.
        reply: Option<LastReply>,
    },
    /// The provider took responsibility.
    Delivered {
        /// What it said.
        reply: LastReply,
        /// The address we gave it to.
        address: Option<IpAddr>,
        /// Encrypted on the way.
        tls: bool,
        /// Attempts it took.
        attempts: u32,
    },
    /// Refused for good.
    Bounced {
        /// What kind.
        class: BounceClass,
        /// What was said.
        reply: Option<LastReply>,
    },
    /// Its time ran out.
    Expired {
        /// The last reason it waited.
        why: Option<Why>,
    },
    /// Not sent: the address is on the suppression list.
    Suppressed,
    /// Withdrawn by its sender.
    Cancelled,
    /// It may have been delivered: the reply to the final dot was lost.
    Ambiguous {
        /// What follows.
        next: Why,
        /// When.
        until: Timestamp,
        /// At which host.
        host: String,
    },
    /// No evidence came; it may or may not have arrived.
    Unknown,
    /// It broke us three times and is put aside.
    Quarantined,
}

impl EventKind {
    /// `email.<name>` in the API and in webhooks.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Scheduled { .. } => "scheduled",
            Self::Deferred { .. } => "deferred",
            Self::Delivered { .. } => "delivered",
            Self::Bounced { .. } => "bounced",
            Self::Expired { .. } => "expired",
            Self::Suppressed => "suppressed",
            Self::Cancelled => "cancelled",
            Self::Ambiguous { .. } => "ambiguous",
            Self::Unknown => "unknown",
            Self::Quarantined => "quarantined",
        }
    }
}
