//! The unit that is queued, attempted and settled.

use std::fmt;

use super::{BounceClass, Class, DeliveryId, EnhancedCode, SourceId, Stream, TenantId, Timestamp, Why};

/// Where a Delivery stands. The last six are final: no way leads out of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Waits for the time its sender asked for.
    Scheduled,
    /// Waits for its first attempt.
    Queued,
    /// Waits for another attempt.
    Deferred,
    /// May have been delivered; waits for evidence.
    Held,
    /// Broke us three times; waits for an operator.
    Quarantined,
    /// The provider took responsibility.
    Delivered,
    /// Refused for good.
    Bounced,
    /// Its time ran out.
    Expired,
    /// Not sent, because the recipient is on the suppression list.
    Suppressed,
    /// Withdrawn by its sender.
    Cancelled,
    /// May have been delivered, and no evidence came.
    Unknown,
}

impl State {
    /// All states.
    pub const ALL: [Self; 11] = [
        Self::Scheduled,
        Self::Queued,
        Self::Deferred,
        Self::Held,
        Self::Quarantined,
        Self::Delivered,
        Self::Bounced,
        Self::Expired,
        Self::Suppressed,
        Self::Cancelled,
        Self::Unknown,
    ];

    /// Whether nothing will happen any more.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(
            self,
            Self::Delivered | Self::Bounced | Self::Expired | Self::Suppressed | Self::Cancelled | Self::Unknown
        )
    }

    /// The name that API and metrics use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Queued => "queued",
            Self::Deferred => "deferred",
            Self::Held => "held",
            Self::Quarantined => "quarantined",
            Self::Delivered => "delivered",
            Self::Bounced => "bounced",
            Self::Expired => "expired",
            Self::Suppressed => "suppressed",
            Self::Cancelled => "cancelled",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a provider said last about a Delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastReply {
    /// When.
    pub at: Timestamp,
    /// Who said it: the MX host; empty when we never got that far.
    pub host: String,
    /// SMTP code; 0 when there was no reply.
    pub code: u16,
    /// Enhanced status code (RFC 3463), if the reply had one.
    pub enhanced: Option<EnhancedCode>,
    /// The text of the reply, or what went wrong; at most 512 bytes.
    pub text: String,
}

/// One Message to one Recipient.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Its id.
    pub id: DeliveryId,
    /// Whose.
    pub tenant: TenantId,
    /// How urgent.
    pub class: Class,
    /// The recipient's address.
    pub address: String,
    /// Where it stands.
    pub state: State,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it is looked at next: the next attempt, or the end of its life if that comes first.
    pub due_at: Timestamp,
    /// When it is worthless.
    pub expires_at: Timestamp,
    /// Attempts that reached a provider and were answered or lost.
    pub attempts: u32,
    /// How many of them ended between the final dot and its reply: each may have left a copy.
    pub ambiguous: u32,
    /// Attempts that ended by a panic of ours. The third quarantines.
    pub panics: u32,
    /// The Source of the first attempt. Later ones keep it, so that greylisting can pass.
    pub source: Option<SourceId>,
    /// Why it waits.
    pub why: Option<Why>,
    /// What was said last.
    pub last_reply: Option<LastReply>,
    /// For bounced ones: what kind of bounce.
    pub bounce: Option<BounceClass>,
    /// When the state last changed.
    pub updated_at: Timestamp,
}

impl Delivery {
    /// The stream it belongs to.
    #[must_use]
    pub fn stream(&self) -> Stream {
        self.class.stream()
    }

    /// The recipient's domain.
    #[must_use]
    pub fn domain(&self) -> &str {
        self.address.rsplit_once('@').map_or("", |(_, domain)| domain)
    }
}
