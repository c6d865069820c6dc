//! Why a Delivery waits: the answer to "why has this not gone out?".

use std::fmt;

use super::BounceClass;

/// The reason for a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// Its sender asked for a later time.
    NotDue,
    /// In line; nothing stands in the way.
    Queued,
    /// Its lane has more work in hand than it may hold; parked under it.
    LaneFull,
    /// Its lane takes no connections at the moment: the hosts do not answer, or not well.
    BreakerOpen,
    /// Its lane sends as fast as the provider allows.
    Rate,
    /// Its Source is being warmed up, and the provider has had its share for now.
    WarmupCap,
    /// The provider blocks its Source; the lane stands still before it tries with one.
    Stopped,
    /// The provider blocks the tenant's domain; its mail to this provider stands still.
    DomainHeld,
    /// Its tenant, or the tenant's stream, is paused.
    TenantPaused,
    /// Its tenant has used up what it may send for now.
    Quota,
    /// Its Source belongs to another node.
    SourceElsewhere,
    /// No Source that it may go from can send: they were taken out, or none is free.
    NoSource,
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
            Self::Rate => "rate",
            Self::WarmupCap => "warmup_cap",
            Self::Stopped => "stopped",
            Self::DomainHeld => "domain_held",
            Self::TenantPaused => "tenant_paused",
            Self::Quota => "quota",
            Self::SourceElsewhere => "source_elsewhere",
            Self::NoSource => "no_source",
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
