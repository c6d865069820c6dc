//! Who sends: tenants, their keys, domains and templates.

use super::{TemplateId, TenantId, Timestamp};

/// One customer or business system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its name.
    pub name: String,
    /// Since when.
    pub created_at: Timestamp,
}

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyScope {
    /// Everything about the mail of its tenant.
    Send,
    /// That, and everything about the engine: what all tenants share.
    Admin,
}

impl KeyScope {
    /// The name that API and commands use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Admin => "admin",
        }
    }
}

/// A key to the API. The key itself is shown once and never stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// SHA-256 of the key.
    pub hash: [u8; 32],
    /// Whose.
    pub tenant: TenantId,
    /// What for.
    pub name: String,
    /// The last four characters, to tell keys apart.
    pub last4: String,
    /// Since when.
    pub created_at: Timestamp,
    /// Since when it no longer works.
    pub revoked_at: Option<Timestamp>,
    /// What it may do.
    pub scope: KeyScope,
}

/// Whether mail may be sent from a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DomainStatus {
    /// Created; its records were not seen yet.
    Pending,
    /// Its DKIM record was seen, or the operator declared it in `config.yaml`.
    Verified,
    /// Looked for, and not found or wrong.
    Failed,
}

impl DomainStatus {
    /// The name that the API uses.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Verified => "verified",
            Self::Failed => "failed",
        }
    }
}

/// Signature algorithm of a DKIM key (RFC 6376, RFC 8463).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DkimAlgorithm {
    /// rsa-sha256, 2048 bits.
    Rsa2048,
    /// ed25519-sha256.
    Ed25519,
}

/// A DKIM key pair of a domain.
#[derive(Clone, PartialEq, Eq)]
pub struct DkimKey {
    /// Selector: `<selector>._domainkey.<domain>`.
    pub selector: String,
    /// Algorithm.
    pub algorithm: DkimAlgorithm,
    /// PKCS#8 DER. Sealed when stored, never logged.
    pub private_der: Vec<u8>,
    /// The value of the TXT record.
    pub record: String,
}

impl std::fmt::Debug for DkimKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DkimKey")
            .field("selector", &self.selector)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// A domain that a tenant sends from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendingDomain {
    /// Whose.
    pub tenant: TenantId,
    /// A-label, lower case.
    pub name: String,
    /// Whether it may send.
    pub status: DomainStatus,
    /// Left of the domain in the return path: `bounce` gives `…@bounce.<name>`.
    pub return_path_subdomain: String,
    /// Its keys; every one of them signs.
    pub dkim: Vec<DkimKey>,
    /// Since when.
    pub created_at: Timestamp,
    /// When its records were last looked for.
    pub checked_at: Option<Timestamp>,
}

/// One version of a stored template. Versions never change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// Its id, over all versions.
    pub id: TemplateId,
    /// Whose.
    pub tenant: TenantId,
    /// Its name for people and for `template:` in a call.
    pub alias: String,
    /// Counts from 1.
    pub version: u32,
    /// Handlebars.
    pub subject: String,
    /// Handlebars, escaped for HTML.
    pub html: Option<String>,
    /// Handlebars, not escaped.
    pub text: Option<String>,
    /// When this version was stored.
    pub created_at: Timestamp,
}
