//! The seam that finds where mail for a domain goes.
//!
//! Takes a domain, gives [`Answer`]s; hickory in production, a fixed table in tests. [`Destinations`] makes destinations of
//! them, [`check_domain`] looks for the records of a sending domain. Never dials; what an answer means for a Delivery is
//! decided in `policy::mx`.

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;

mod cache;
mod destinations;
mod domain_check;
mod fixed;
mod hickory;
mod hosts;
mod known;
mod routes;
mod source_check;

pub use destinations::{ADDRESSES_MAX, DestinationSettings, Destinations, Providers, Target};
pub use domain_check::{DomainCheck, KEYS_MAX, RecordCheck, RecordStatus, WrongRecord, check_domain};
pub use fixed::{FIXED_TTL, Fixed, mx_found};
pub use hickory::{Hickory, HickoryError, ResolverSettings};
pub use hosts::{interleave, no_host_left, order};
pub use routes::Route;
pub use source_check::check_source;

/// One MX record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mx {
    /// Lower is better.
    pub preference: u16,
    /// Host name without a trailing dot, lower case; empty for the null MX (RFC 7505).
    pub host: String,
}

/// What a name server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<T> {
    /// Records, and for how long they hold.
    Found(Vec<T>, Duration),
    /// The name exists without such records (NOERROR), and for how long that holds.
    Empty(Duration),
    /// The name does not exist (NXDOMAIN), and for how long that holds.
    NoDomain(Duration),
    /// CNAMEs do not end.
    Loop,
    /// No answer worth believing: SERVFAIL, REFUSED, timeout, malformed.
    Failed,
}

/// Asks name servers.
#[async_trait]
pub trait Resolver: Send + Sync + std::fmt::Debug {
    /// MX records of a domain.
    async fn mx(&self, domain: &str) -> Answer<Mx>;
    /// A and AAAA records of a host.
    async fn addresses(&self, host: &str) -> Answer<IpAddr>;
    /// TXT records of a name, each with its strings joined.
    async fn txt(&self, name: &str) -> Answer<String>;
    /// Names of an address (PTR), lower case, without a trailing dot.
    async fn names(&self, address: IpAddr) -> Answer<String>;
}
