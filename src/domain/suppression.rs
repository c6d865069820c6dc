//! Addresses that a tenant must not send to.

use super::{Stream, TenantId, Timestamp};

/// Why an address is on the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SuppressionReason {
    /// The provider said that there is no such mailbox.
    HardBounce,
    /// Its owner called our mail spam.
    Complaint,
    /// Its owner unsubscribed.
    Unsubscribe,
    /// The tenant put it there.
    Manual,
}

impl SuppressionReason {
    /// The name that the API uses.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::HardBounce => "hard_bounce",
            Self::Complaint => "complaint",
            Self::Unsubscribe => "unsubscribe",
            Self::Manual => "manual",
        }
    }
}

/// One entry of a tenant's suppression list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    /// Whose list.
    pub tenant: TenantId,
    /// In lower case.
    pub address: String,
    /// The stream it holds for; none means all mail of the tenant.
    pub stream: Option<Stream>,
    /// Why.
    pub reason: SuppressionReason,
    /// Since when.
    pub created_at: Timestamp,
}
