//! Where mail for a domain goes: routes first, then MX records, cached.
//!
//! Takes domains and hosts, gives [`Destination`]s and addresses. What MX records mean is decided in `policy::mx`, what
//! an answer is worth in `known`. Never dials, and never judges addresses: `transport/` refuses forbidden ones.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::cache::{Cache, CacheLimits};
use super::hosts::{interleave, no_host_left, order};
use super::known::{Looked, NEGATIVE_TTL_MAX};
use super::routes::{Route, RouteTable, is_route};
use super::{Answer, Mx, Resolver};
use crate::clock::Clock;
use crate::current::Current;
use crate::domain::{Destination, DnsFailure, Host, LaneLimits, ProviderId, TlsPolicy};
use crate::policy::mx::{MxPlan, no_records, plan};
use crate::policy::provider_map::ProviderMap;
use crate::policy::seed::seed_of;
use crate::sabotage::{self, Bug};

/// Addresses kept of one host; an answer may hold a thousand.
pub const ADDRESSES_MAX: usize = 20;
/// Addresses of one host that are tried when the domain has other hosts: one of each family, as a rule.
const ADDRESSES_PER_HOST: usize = 2;
/// The port of MX hosts (RFC 5321 section 4.5.4.2).
const SMTP_PORT: u16 = 25;
/// Longest domain (RFC 1035 section 2.3.4), without the trailing dot.
const DOMAIN_BYTES_MAX: usize = 253;
/// Longest label of a domain.
const LABEL_BYTES_MAX: usize = 63;
/// Names that no name server is to be asked for, themselves and all under them (RFC 6761, RFC 7686).
const NEVER_ASKED: [&str; 3] = ["localhost", "invalid", "onion"];

/// The limits of [`Destinations`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationSettings {
    /// Domains kept, and as many hosts.
    pub entries_max: usize,
    /// Lookups at the same time; each may hold two sockets.
    pub lookups_max: usize,
    /// Time for one lookup, with its wait for a turn.
    pub lookup_timeout: Duration,
    /// Port of MX hosts: 25 (RFC 5321 section 4.5.4.2).
    pub port: u16,
    /// Encryption towards MX hosts.
    pub tls: TlsPolicy,
}

impl Default for DestinationSettings {
    fn default() -> Self {
        Self {
            entries_max: 100_000,
            lookups_max: 128,
            lookup_timeout: Duration::from_secs(30),
            port: SMTP_PORT,
            tls: TlsPolicy::Opportunistic,
        }
    }
}

/// Knows who runs which MX hosts: `policy`'s provider map, or a made-up one in tests.
pub trait Providers: Send + Sync + std::fmt::Debug {
    /// Who runs these hosts, all of them.
    fn provider_of(&self, hosts: &[&str]) -> ProviderId;
    /// How much a lane to this provider may do.
    fn limits(&self, provider: &ProviderId) -> LaneLimits;
}

impl Providers for ProviderMap {
    fn provider_of(&self, hosts: &[&str]) -> ProviderId {
        Self::provider_of(self, hosts)
    }

    fn limits(&self, provider: &ProviderId) -> LaneLimits {
        Self::limits(self, provider)
    }
}

/// One thing to dial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The host, for TLS and records.
    pub host: String,
    /// Where it is.
    pub address: IpAddr,
}

/// Finds where mail for a domain goes. Shared by all that send.
#[derive(Debug)]
pub struct Destinations {
    asker: Asker,
    routes: Current<RouteTable>,
    domains: Cache<Destination>,
    hosts: Cache<Vec<IpAddr>>,
}

/// What a lookup needs; cloned into its task.
#[derive(Debug, Clone)]
struct Asker {
    resolver: Arc<dyn Resolver>,
    /// Asked when the first says that a domain does not exist.
    second: Option<Arc<dyn Resolver>>,
    map: Arc<Current<Arc<dyn Providers>>>,
    port: u16,
    tls: TlsPolicy,
}

impl Destinations {
    /// With an empty cache. `second` confirms what `resolver` says does not exist; without it, ten minutes do.
    #[must_use]
    pub fn new(
        resolver: Arc<dyn Resolver>,
        second: Option<Arc<dyn Resolver>>,
        routes: Vec<Route>,
        map: Arc<dyn Providers>,
        settings: DestinationSettings,
        clock: Clock,
    ) -> Self {
        let limits = CacheLimits {
            entries_max: settings.entries_max.max(1),
            lookup_timeout: settings.lookup_timeout,
            slots: Arc::new(Semaphore::new(settings.lookups_max.clamp(1, Semaphore::MAX_PERMITS))),
        };
        Self {
            asker: Asker {
                resolver,
                second,
                map: Arc::new(Current::new(map)),
                port: settings.port,
                tls: settings.tls,
            },
            routes: Current::new(RouteTable::new(&routes)),
            domains: Cache::new(limits.clone(), clock.clone()),
            hosts: Cache::new(limits, clock),
        }
    }

    /// From now on these routes and providers count, for what is known already too. No name server is asked anew.
    pub fn replace(&self, routes: &[Route], map: Arc<dyn Providers>) {
        self.routes.replace(Arc::new(RouteTable::new(routes)));
        self.asker.map.replace(Arc::new(map));
        self.domains.revise(|destination| self.renewed(destination));
    }

    /// A destination with the provider and the limits that count now; as it was when its route is gone.
    #[must_use]
    pub fn renewed(&self, destination: &Destination) -> Destination {
        let routes = self.routes.get();
        if let Some(route) = routes.of_site(&destination.site) {
            return Destination::clone(route);
        }
        if is_route(&destination.site) {
            return destination.clone();
        }
        let map = self.asker.map.get();
        let names: Vec<&str> = destination.hosts.iter().map(|host| host.name.as_str()).collect();
        let provider = map.provider_of(&names);
        Destination {
            limits: map.limits(&provider),
            provider,
            ..destination.clone()
        }
    }

    /// What is known of a domain without asking anybody; none means: ask [`Destinations::find`].
    #[must_use]
    pub fn cached(&self, domain: &str) -> Option<Result<Arc<Destination>, DnsFailure>> {
        let domain = match self.route_or_name(domain) {
            Ok(domain) => domain,
            Err(known) => return Some(known),
        };
        self.domains.fresh(&domain)
    }

    /// Where mail for a domain goes. One lookup runs for a domain, however many ask.
    ///
    /// Returns within the lookup timeout, and within two seconds when an old answer may be served.
    pub async fn find(&self, domain: &str) -> Result<Arc<Destination>, DnsFailure> {
        let domain = match self.route_or_name(domain) {
            Ok(domain) => domain,
            Err(known) => return known,
        };
        self.domains
            .get(&domain, || self.asker.clone().destination(domain.clone().into_owned()))
            .await
    }

    /// The hosts of a destination in the order in which a session tries them; one seed per session.
    #[must_use]
    pub fn ordered_hosts(&self, destination: &Destination, seed: u64) -> Vec<Host> {
        order(&destination.hosts, seed).into_iter().cloned().collect()
    }

    /// The addresses of a host: those of a route as they are, others in a chance order with both families in turn.
    pub async fn addresses(&self, host: &Host, seed: u64) -> Result<Vec<IpAddr>, DnsFailure> {
        if !host.addresses.is_empty() {
            return Ok(host.addresses.clone());
        }
        let resolver = &self.asker.resolver;
        let found = self
            .hosts
            .get(&host.name, || addresses_of(Arc::clone(resolver), host.name.clone()))
            .await?;
        Ok(interleave(&found, seed))
    }

    /// What a session dials, in order: at most `max` addresses, and of a domain with several hosts at most two of each, so
    /// that a dead host leaves tries for the others. Fails when no host has an address.
    pub async fn targets(&self, destination: &Destination, seed: u64, max: usize) -> Result<Vec<Target>, DnsFailure> {
        let per_host = if destination.hosts.len() > 1 {
            ADDRESSES_PER_HOST
        } else {
            max
        };
        let mut targets = Vec::new();
        let mut failures = Vec::new();
        for (turn, host) in (0u64..).zip(order(&destination.hosts, seed)) {
            if targets.len() >= max {
                break;
            }
            match self.addresses(host, seed_of(&[seed, turn])).await {
                Ok(addresses) => targets.extend(addresses.into_iter().take(per_host).map(|address| Target {
                    host: host.name.clone(),
                    address,
                })),
                Err(failure) => failures.push(failure),
            }
        }
        targets.truncate(max);
        if targets.is_empty() {
            return Err(no_host_left(&failures));
        }
        Ok(targets)
    }

    /// The name to look up, or what is known of it without: a route's destination, or that it cannot exist.
    fn route_or_name<'a>(&self, domain: &'a str) -> Result<Cow<'a, str>, Result<Arc<Destination>, DnsFailure>> {
        let name = normal(domain).ok_or(Err(DnsFailure::NoDomain))?;
        if let Some(destination) = self.routes.get().find(&name) {
            return Err(Ok(Arc::clone(destination)));
        }
        if can_be_asked(&name) {
            Ok(name)
        } else {
            Err(Err(DnsFailure::NoDomain))
        }
    }
}

impl Asker {
    async fn destination(self, domain: String) -> Looked<Destination> {
        let (answer, confirmed) = self.mx(&domain).await;
        match answer {
            Answer::Found(records, ttl) => {
                let records: Vec<(u16, String)> = records.into_iter().map(|mx| (mx.preference, mx.host)).collect();
                // Any seed: the order of equal hosts is drawn for each session.
                self.planned(plan(&domain, &records, 0), &records, ttl)
            }
            // It rests on the absence of records, so it holds no longer than that.
            Answer::Empty(ttl) => self.planned(no_records(&domain), &[], ttl.min(NEGATIVE_TTL_MAX)),
            Answer::NoDomain(ttl) => Looked::NoDomain { ttl, confirmed },
            Answer::Loop => Looked::Nothing(DnsFailure::CnameLoop, Duration::ZERO),
            Answer::Failed if sabotage::is(Bug::ServfailIsNxdomain) => Looked::NoDomain {
                ttl: NEGATIVE_TTL_MAX,
                confirmed: true,
            },
            Answer::Failed => Looked::Failed,
        }
    }

    /// The MX records, and whether their absence is confirmed. A second resolver that knows better is believed: false
    /// NXDOMAINs exist (hickory-dns #3503), false records do not.
    async fn mx(&self, domain: &str) -> (Answer<Mx>, bool) {
        let first = self.resolver.mx(domain).await;
        let (Answer::NoDomain(_), Some(second)) = (&first, &self.second) else {
            return (first, false);
        };
        match second.mx(domain).await {
            Answer::NoDomain(_) => (first, true),
            Answer::Failed => (first, false),
            other => (other, false),
        }
    }

    fn planned(&self, plan: MxPlan, records: &[(u16, String)], ttl: Duration) -> Looked<Destination> {
        let names = match plan {
            MxPlan::Hosts(names) => names,
            MxPlan::Implicit(name) => vec![name],
            MxPlan::Failed(failure) => return Looked::Nothing(failure, ttl),
        };
        let preference_of = |name: &str| {
            let own = records.iter().filter(|(_, host)| same_name(host, name));
            own.map(|(preference, _)| *preference).min().unwrap_or(0)
        };
        let mut hosts: Vec<Host> = names
            .into_iter()
            .map(|name| Host {
                preference: preference_of(&name),
                name,
                addresses: Vec::new(),
            })
            .collect();
        // One order for one set, so that equal sets have equal destinations.
        hosts.sort_by(|left, right| (left.preference, &left.name).cmp(&(right.preference, &right.name)));
        let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
        let map = self.map.get();
        let provider = map.provider_of(&names);
        let destination = Destination {
            limits: map.limits(&provider),
            site: site_of(&hosts),
            provider,
            hosts,
            port: self.port,
            tls: self.tls,
            auth: None,
            allow_private: false,
        };
        Looked::Found(destination, ttl)
    }
}

/// The set of hosts as a name: each with its preference, in order.
fn site_of(hosts: &[Host]) -> Arc<str> {
    let parts: Vec<String> = hosts
        .iter()
        .map(|host| format!("{}:{}", host.preference, host.name))
        .collect();
    Arc::from(parts.join(","))
}

async fn addresses_of(resolver: Arc<dyn Resolver>, host: String) -> Looked<Vec<IpAddr>> {
    match resolver.addresses(&host).await {
        Answer::Found(mut addresses, ttl) if !addresses.is_empty() => {
            addresses.sort_unstable();
            addresses.dedup();
            // Both families stay, whichever sorts first.
            let mut kept = interleave(&addresses, 0);
            kept.truncate(ADDRESSES_MAX);
            Looked::Found(kept, ttl)
        }
        // A host that does not exist has no address: temporary, so nothing needs to be confirmed.
        Answer::Found(_, ttl) | Answer::Empty(ttl) | Answer::NoDomain(ttl) => {
            Looked::Nothing(DnsFailure::NoAddress, ttl)
        }
        Answer::Loop => Looked::Nothing(DnsFailure::CnameLoop, Duration::ZERO),
        Answer::Failed => Looked::Failed,
    }
}

/// Lower case, A-labels, no trailing dot; none when it is no domain at all.
fn normal(domain: &str) -> Option<Cow<'_, str>> {
    let bare = domain.strip_suffix('.').unwrap_or(domain);
    if !bare.is_ascii() {
        return idna::domain_to_ascii(bare).ok().map(Cow::Owned);
    }
    if bare.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Some(Cow::Owned(bare.to_ascii_lowercase()));
    }
    Some(Cow::Borrowed(bare))
}

fn same_name(left: &str, right: &str) -> bool {
    left.strip_suffix('.').unwrap_or(left).eq_ignore_ascii_case(right)
}

/// Whether a name server may know the domain.
fn can_be_asked(domain: &str) -> bool {
    let label_fits = |label: &str| {
        !label.is_empty()
            && label.len() <= LABEL_BYTES_MAX
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let last = domain.rsplit('.').next().unwrap_or(domain);
    domain.len() <= DOMAIN_BYTES_MAX && domain.split('.').all(label_fits) && !NEVER_ASKED.contains(&last)
}

#[cfg(test)]
mod tests;
