//! Why a Delivery waits: the answer to "why has this not gone out?".

use std::fmt;

use super::BounceClass;

/// The reason for a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Why {
    /// Its sender asked for a later time.
    NotDue,
    /// In line; nothing stands in the way.
    Queued,
    /// Its lane has more work in hand than it may hold; parked under it.
    LaneFull,
    /// Its lane takes no connections at the moment.
    BreakerOpen,
    /// In the hands of a session right now.
    InProgress,
    /// The name servers of the recipient's domain do not answer, or the answer is being fetched.
    Dns,
    /// The provider asked for a later attempt, for this reason.
    Deferred(BounceClass),
    /// It may have been delivered; we wait for evidence.
    HeldAmbiguous,
    /// It may have been delivered; a second copy goes at the time shown.
    ResendAmbiguous,
    /// It broke us three times; an operator has to look.
    Quarantined,
    /// We could not record what we were about to do.
    StoreUnavailable,
}

impl Why {
    /// The name that the API uses, e.g. `greylisted` or `lane_full`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NotDue => "not_due",
            Self::Queued => "queued",
            Self::LaneFull => "lane_full",
            Self::BreakerOpen => "breaker_open",
            Self::InProgress => "in_progress",
            Self::Dns => "dns",
            Self::Deferred(class) => class.name(),
            Self::HeldAmbiguous => "held_ambiguous",
            Self::ResendAmbiguous => "resend_ambiguous",
            Self::Quarantined => "quarantined",
            Self::StoreUnavailable => "store_unavailable",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
