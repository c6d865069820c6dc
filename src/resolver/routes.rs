//! Routes: where an operator says that mail for certain domains goes, whatever their MX records say.
//!
//! Takes routes as configured, gives the [`Destination`] of a domain if one of them names it. Pure; never asks anybody.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::domain::{Credentials, Destination, Host, LaneLimits, ProviderId, TlsPolicy};

/// One route.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Its name; the provider is `route:<name>` unless `provider` says otherwise.
    pub name: String,
    /// Which domains: `example.com` is that domain alone, `*.test` is every domain that ends in `.test` (not `test`
    /// itself), `*` is every domain. The most specific pattern wins, whatever the order of the routes; of two equal ones
    /// the first.
    pub patterns: Vec<String>,
    /// Host name, or address.
    ///
    /// An address may be private or loopback: the operator wrote it. `localhost` stands for both loopback addresses. A
    /// name is looked up when dialling, and then private addresses are as forbidden as for any other host.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Encryption.
    pub tls: TlsPolicy,
    /// User and password, for smart hosts.
    pub auth: Option<Credentials>,
    /// How much a lane to it may do.
    pub limits: LaneLimits,
    /// Whose limits and reputation it shares; none means its own.
    pub provider: Option<ProviderId>,
}

/// What the sites of routes begin with.
const SITE_PREFIX: &str = "route:";

/// Routes, ready for lookup.
#[derive(Debug, Default)]
pub(super) struct RouteTable {
    exact: HashMap<String, Arc<Destination>>,
    /// By what follows `*.`.
    under: HashMap<String, Arc<Destination>>,
    all: Option<Arc<Destination>>,
}

impl RouteTable {
    pub(super) fn new(routes: &[Route]) -> Self {
        let mut table = Self::default();
        for route in routes {
            let destination = Arc::new(destination_of(route));
            for pattern in &route.patterns {
                let pattern = normal(pattern);
                let destination = Arc::clone(&destination);
                if pattern == "*" {
                    table.all.get_or_insert(destination);
                } else if let Some(parent) = pattern.strip_prefix("*.") {
                    table.under.entry(parent.to_owned()).or_insert(destination);
                } else {
                    table.exact.entry(pattern).or_insert(destination);
                }
            }
        }
        table
    }

    /// The destination of this site.
    pub(super) fn of_site(&self, site: &str) -> Option<&Arc<Destination>> {
        let all = self.exact.values().chain(self.under.values()).chain(&self.all);
        let mut all = all.filter(|destination| &*destination.site == site);
        all.next()
    }

    /// The destination of a domain (lower case, no trailing dot), if a route names it.
    pub(super) fn find(&self, domain: &str) -> Option<&Arc<Destination>> {
        let parents = domain.match_indices('.').map(|(at, _)| &domain[at + 1..]);
        self.exact
            .get(domain)
            .or_else(|| {
                // Longer parents come first.
                let mut parents = parents;
                parents.find_map(|parent| self.under.get(parent))
            })
            .or(self.all.as_ref())
    }
}

/// Whether a site is that of a route.
pub(super) fn is_route(site: &str) -> bool {
    site.starts_with(SITE_PREFIX)
}

fn destination_of(route: &Route) -> Destination {
    let own = format!("{SITE_PREFIX}{}", route.name);
    let name = normal(&route.host);
    let addresses = fixed_addresses(&name);
    Destination {
        provider: route.provider.clone().unwrap_or_else(|| ProviderId::from(own.as_str())),
        site: Arc::from(own),
        port: route.port,
        tls: route.tls,
        auth: route.auth.clone(),
        limits: route.limits,
        allow_private: !addresses.is_empty(),
        hosts: vec![Host {
            name,
            addresses,
            preference: 0,
        }],
    }
}

/// Addresses that the operator wrote: `192.0.2.1`, `2001:db8::1`, in brackets or not, and `localhost` (RFC 6761).
fn fixed_addresses(host: &str) -> Vec<IpAddr> {
    if host == "localhost" {
        return vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    }
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host);
    bare.parse().into_iter().collect()
}

fn normal(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(name: &str, patterns: &[&str], host: &str) -> Route {
        Route {
            name: name.to_owned(),
            patterns: patterns.iter().map(|pattern| (*pattern).to_owned()).collect(),
            host: host.to_owned(),
            port: 2525,
            tls: TlsPolicy::Off,
            auth: None,
            limits: LaneLimits::default(),
            provider: None,
        }
    }

    #[test]
    fn the_most_specific_pattern_wins_whatever_the_order() {
        let mut routes = vec![
            route("all", &["*"], "192.0.2.1"),
            route("test", &["*.test", "second.example"], "192.0.2.2"),
            route("deep", &["*.a.Test."], "192.0.2.3"),
            route("exact", &["x.a.test"], "192.0.2.4"),
            route("late", &["*.test", "*", "x.a.test"], "192.0.2.5"),
        ];
        let late = routes.pop().expect("five routes");
        for turn in 0..4 {
            let mut listed = routes.clone();
            listed.rotate_left(turn);
            listed.push(late.clone());
            let table = RouteTable::new(&listed);
            for (domain, expected) in [
                ("x.a.test", "route:exact"),
                ("y.a.test", "route:deep"),
                ("z.y.a.test", "route:deep"),
                ("a.test", "route:test"),
                ("b.test", "route:test"),
                ("second.example", "route:test"),
                ("test", "route:all"),
                ("latest", "route:all"),
                ("xtest", "route:all"),
                ("example.com", "route:all"),
            ] {
                let found = table.find(domain).expect("there is a route for all");
                assert_eq!(found.provider.as_str(), expected, "{domain}");
            }
        }
    }

    #[test]
    fn other_domains_have_no_route() {
        let table = RouteTable::new(&[route("test", &["*.test", "one.example"], "192.0.2.1")]);
        for domain in ["test", "example.com", "a.one.example", "test.example", ""] {
            assert_eq!(table.find(domain), None, "{domain}");
        }
    }

    #[test]
    fn an_address_that_the_operator_wrote_may_be_private() {
        for (host, addresses, private) in [
            ("127.0.0.1", &["127.0.0.1"][..], true),
            ("[::1]", &["::1"], true),
            ("2001:db8::1", &["2001:db8::1"], true),
            ("LocalHost", &["127.0.0.1", "::1"], true),
            ("smtp.example.com", &[], false),
            ("127.0.0.1.example", &[], false),
        ] {
            let destination = destination_of(&route("one", &["*"], host));
            let expected: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(destination.hosts[0].addresses, expected, "{host}");
            assert_eq!(destination.allow_private, private, "{host}");
        }
    }

    #[test]
    fn a_route_may_share_a_provider() {
        let mut shared = route("relay", &["*"], "192.0.2.1");
        shared.provider = Some(ProviderId::from("google"));
        let destination = destination_of(&shared);
        assert_eq!(destination.provider.as_str(), "google");
        assert_eq!(&*destination.site, "route:relay");
    }
}
