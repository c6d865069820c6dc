//! Where mail for a domain goes: the answer of MX lookup or of a configured route.

use std::net::IpAddr;
use std::sync::Arc;

use super::ProviderId;

/// Hosts to talk to for a domain, who runs them and on which terms.
#[derive(Debug, Clone, PartialEq)]
pub struct Destination {
    /// Who runs the mailbox.
    pub provider: ProviderId,
    /// Names the set of hosts. Sessions are shared within a site only: the same provider may serve other domains elsewhere.
    pub site: Arc<str>,
    /// Hosts by ascending preference. Hosts of equal preference are shuffled for each session (`resolver::order`).
    pub hosts: Vec<Host>,
    /// TCP port: 25, or what a route says.
    pub port: u16,
    /// Encryption.
    pub tls: TlsPolicy,
    /// User and password, for smart hosts.
    pub auth: Option<Credentials>,
    /// How much a lane to it may do.
    pub limits: LaneLimits,
    /// Whether private and loopback addresses may be dialled, because an operator wrote one into a route.
    pub allow_private: bool,
}

/// One host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Name, or address literal of a route.
    pub name: String,
    /// Fixed addresses of a route; empty means: look the name up when dialling.
    pub addresses: Vec<IpAddr>,
    /// MX preference; lower is tried first, equal ones in a chance order (RFC 5321 section 5.1).
    pub preference: u16,
}

/// How a session is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlsPolicy {
    /// Never.
    Off,
    /// STARTTLS when offered, any certificate; in clear when it fails (RFC 7435).
    Opportunistic,
    /// STARTTLS or nothing; any certificate.
    Required,
    /// STARTTLS or nothing, and the certificate must be valid for the host.
    Verified,
    /// TLS from the first byte, with a valid certificate: smart hosts on port 465.
    Implicit,
}

/// User name and password for AUTH.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User name.
    pub user: String,
    /// Password.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// Fixed limits of one lane.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LaneLimits {
    /// Connections at the same time.
    pub connections: u32,
    /// Messages on one connection before it is closed.
    pub messages_per_connection: u32,
    /// Messages a second over all connections; none means no limit.
    pub messages_per_second: Option<f64>,
}

impl Default for LaneLimits {
    /// What is safe at a receiver nobody knows.
    fn default() -> Self {
        Self {
            connections: 10,
            messages_per_connection: 100,
            messages_per_second: None,
        }
    }
}
