//! Who runs the mailboxes of a domain, and how much one lane to them may do.
//!
//! Takes `rules/providers.yaml` once, then the MX hosts of a domain; gives a [`ProviderId`] and its [`LaneLimits`]. Never
//! asks a name server.
//!
//! Limits are counted per provider and not per domain, since thousands of domains share the hosts of a large one. All MX
//! hosts of a domain must belong to the provider: a domain with a foreign host among them is not served by it alone, and
//! is kept apart as a site of its own, with limits that are safe for anybody.

pub(super) mod lint;

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use serde::Deserialize;

use super::rules_file::{RulesError, read};
use crate::domain::{LaneLimits, ProviderId};

/// The form of the file that this program reads.
const VERSION: u32 = 1;
/// Providers in a file.
const PROVIDERS_MAX: usize = 2000;
/// Names in the id of a site; a domain with more unrelated hosts is told apart by the first of them.
const SITE_NAMES_MAX: usize = 4;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawProviders {
    version: u32,
    default: RawLimits,
    providers: Vec<serde_saphyr::Spanned<RawProvider>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawProvider {
    id: String,
    mx: Vec<String>,
    #[serde(default)]
    limits: RawLimits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLimits {
    connections: Option<u32>,
    messages_per_connection: Option<u32>,
    messages_per_second: Option<f64>,
}

/// Finds providers. Made once, shared by all.
#[derive(Debug, Clone, PartialEq)]
pub struct ProviderMap {
    /// Host, or `.suffix`, to provider.
    names: HashMap<String, ProviderId>,
    limits: HashMap<ProviderId, LaneLimits>,
    default: LaneLimits,
}

impl ProviderMap {
    /// The text of the providers that are built in.
    pub const BUILT_IN: &str = include_str!("../../rules/providers.yaml");

    /// The providers that are built in.
    #[must_use]
    pub fn built_in() -> Self {
        Self::from_yaml(Self::BUILT_IN).expect("tests read the built-in providers")
    }

    /// Providers of an operator; the form is described at the head of `rules/providers.yaml`.
    pub fn from_yaml(yaml: &str) -> Result<Self, RulesError> {
        let raw = read_raw(yaml)?;
        let mut map = Self::empty(&raw)?;
        for provider in raw.providers {
            let line = provider.defined.line();
            map.add(&provider.value, line)?;
        }
        Ok(map)
    }

    /// A map with the defaults of the file and nobody in it.
    fn empty(raw: &RawProviders) -> Result<Self, RulesError> {
        let default = raw
            .default
            .over(LaneLimits::default())
            .map_err(|problem| RulesError::rule("default", 0, problem))?;
        Ok(Self {
            names: HashMap::new(),
            limits: HashMap::new(),
            default,
        })
    }

    /// Who runs the mailboxes of a domain with these MX hosts; upper case and trailing dots do not matter, nor does the order.
    #[must_use]
    pub fn provider_of(&self, mx_hosts: &[&str]) -> ProviderId {
        let hosts: Vec<String> = mx_hosts.iter().map(|host| normal_name(host)).collect();
        let mut providers = hosts.iter().map(|host| self.provider_of_host(host));
        if let Some(Some(first)) = providers.next()
            && providers.all(|other| other == Some(first))
        {
            return first.clone();
        }
        site_of(&hosts)
    }

    /// What one lane to this provider may do.
    #[must_use]
    pub fn limits(&self, provider: &ProviderId) -> LaneLimits {
        self.limits.get(provider).copied().unwrap_or(self.default)
    }

    /// Other limits for a provider, or for a site by its id: what an operator wrote in the config wins over the file.
    pub fn set_limits(&mut self, provider: &ProviderId, limits: LaneLimits) {
        self.limits.insert(provider.clone(), limits);
    }

    /// Whether the file, or a call of [`ProviderMap::set_limits`], named this id.
    #[must_use]
    pub fn knows(&self, provider: &ProviderId) -> bool {
        self.limits.contains_key(provider)
    }

    fn add(&mut self, raw: &RawProvider, line: u64) -> Result<(), RulesError> {
        let wrong = |problem: String| RulesError::rule(&raw.id, line, problem);
        let shaped = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if raw.id.is_empty() || !raw.id.bytes().all(shaped) {
            return Err(wrong("an id has lower-case letters, digits and hyphens".to_owned()));
        }
        if raw.mx.is_empty() {
            return Err(wrong("without mx hosts nothing belongs to it".to_owned()));
        }
        let id = ProviderId::from(raw.id.as_str());
        let limits = raw.limits.over(self.default).map_err(wrong)?;
        if self.limits.insert(id.clone(), limits).is_some() {
            return Err(wrong("there is another provider of this id".to_owned()));
        }
        for name in &raw.mx {
            let host = name.strip_prefix('.').unwrap_or(name);
            let is_host = host
                .split('.')
                .all(|label| !label.is_empty() && label.bytes().all(shaped));
            if !is_host || !host.contains('.') {
                return Err(wrong(format!(
                    "mx: {name:?} is no host in lower case without a dot at the end"
                )));
            }
            if self.names.insert(name.clone(), id.clone()).is_some() {
                return Err(wrong(format!("mx: {name:?} belongs to another provider too")));
            }
        }
        Ok(())
    }

    /// The provider of one host: by its own name, then by what follows each of its dots, longest first.
    fn provider_of_host(&self, host: &str) -> Option<&ProviderId> {
        self.names.get(host).or_else(|| {
            host.match_indices('.')
                .find_map(|(dot, _)| self.names.get(&host[dot..]))
        })
    }
}

/// Reads the file and checks what is not about single providers.
fn read_raw(yaml: &str) -> Result<RawProviders, RulesError> {
    let raw: RawProviders = read(yaml)?;
    if raw.version != VERSION {
        let problem = format!("is {}, and this program reads {VERSION}", raw.version);
        return Err(RulesError::rule("version", 0, problem));
    }
    if raw.providers.len() > PROVIDERS_MAX {
        return Err(RulesError::rule("providers", 0, format!("at most {PROVIDERS_MAX}")));
    }
    Ok(raw)
}

impl RawLimits {
    /// These limits, completed from `base`.
    fn over(&self, base: LaneLimits) -> Result<LaneLimits, String> {
        let limits = LaneLimits {
            connections: self.connections.unwrap_or(base.connections),
            messages_per_connection: self.messages_per_connection.unwrap_or(base.messages_per_connection),
            messages_per_second: self.messages_per_second.or(base.messages_per_second),
        };
        if limits.connections == 0 || limits.messages_per_connection == 0 {
            return Err("limits: at least 1".to_owned());
        }
        if limits
            .messages_per_second
            .is_some_and(|rate| !rate.is_finite() || rate <= 0.0)
        {
            return Err("limits: messages_per_second is above 0".to_owned());
        }
        Ok(limits)
    }
}

/// Lower case, without the trailing dot.
fn normal_name(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// The id of hosts that belong to no provider: their registrable domains, so that a host more or less, or another order,
/// does not make another lane.
fn site_of(hosts: &[String]) -> ProviderId {
    let names: BTreeSet<&str> = hosts.iter().map(|host| registrable(host)).collect();
    let names: Vec<&str> = names.into_iter().take(SITE_NAMES_MAX).collect();
    ProviderId::from(format!("site:{}", names.join("+")).as_str())
}

/// `mx1.mail.example.co.uk` → `example.co.uk`; addresses and names without a registrable domain stay as they are.
fn registrable(host: &str) -> &str {
    if host.parse::<IpAddr>().is_ok() {
        return host;
    }
    psl::domain_str(host).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::classify::Classifier;

    fn check(map: &ProviderMap, hosts: &[&str], expected: &str) {
        assert_eq!(map.provider_of(hosts).as_str(), expected, "{hosts:?}");
    }

    #[test]
    fn hosts_lead_to_their_provider() {
        let map = ProviderMap::built_in();
        check(
            &map,
            &["gmail-smtp-in.l.google.com", "alt1.gmail-smtp-in.l.google.com"],
            "google",
        );
        check(&map, &["ASPMX.L.GOOGLE.COM.", "aspmx2.googlemail.com."], "google");
        check(&map, &["mta5.am0.yahoodns.net"], "yahoo");
        check(&map, &["mx1.mail.yahoo.co.jp"], "yahoo-japan");
        check(&map, &["hotmail-com.olc.protection.outlook.com"], "outlook-consumer");
        check(&map, &["contoso-com.mail.protection.outlook.com"], "microsoft365");
        check(&map, &["contoso-com.o-v1.mx.microsoft"], "microsoft365");
        check(&map, &["mx01.mail.icloud.com"], "apple");
        check(&map, &["mx1.qq.com", "mx2.qq.com"], "tencent");
        check(&map, &["163mx01.mxmail.netease.com"], "netease");
        check(&map, &["mxs.mail.ru"], "mailru");
    }

    #[test]
    fn a_name_within_a_name_is_no_match() {
        let map = ProviderMap::built_in();
        check(&map, &["mx.notgoogle.com"], "site:notgoogle.com");
        check(&map, &["google.com.example.net"], "site:example.net");
        check(&map, &["google.com"], "site:google.com");
        check(&map, &["other.mail.ru"], "site:mail.ru");
    }

    #[test]
    fn all_hosts_must_belong_to_the_provider() {
        let map = ProviderMap::built_in();
        check(
            &map,
            &["aspmx.l.google.com", "mx.example.net"],
            "site:example.net+google.com",
        );
        check(&map, &["aspmx.l.google.com", "mx1.qq.com"], "site:google.com+qq.com");
    }

    #[test]
    fn a_site_has_one_name_whatever_the_order_and_number_of_its_hosts() {
        let map = ProviderMap::built_in();
        check(
            &map,
            &["mx2.example.co.uk", "mx1.mail.example.co.uk."],
            "site:example.co.uk",
        );
        check(&map, &["MX1.example.CO.UK"], "site:example.co.uk");
        check(
            &map,
            &["b.example.org", "a.example.com"],
            "site:example.com+example.org",
        );
        check(
            &map,
            &["a.example.com", "b.example.org"],
            "site:example.com+example.org",
        );
        check(&map, &["mx.company.test"], "site:company.test");
        check(&map, &["mailhost"], "site:mailhost");
        check(&map, &["192.0.2.1"], "site:192.0.2.1");
        check(
            &map,
            &["mx.a.com", "mx.b.com", "mx.c.com", "mx.d.com", "mx.e.com"],
            "site:a.com+b.com+c.com+d.com",
        );
        check(&map, &[], "site:");
    }

    #[test]
    fn limits_come_from_the_file_and_are_completed_from_its_default() {
        let map = ProviderMap::built_in();
        let check = |provider: &str, connections, messages_per_connection, messages_per_second| {
            let expected = LaneLimits {
                connections,
                messages_per_connection,
                messages_per_second,
            };
            assert_eq!(map.limits(&ProviderId::from(provider)), expected, "{provider}");
        };
        check("google", 5, 50, None);
        check("yahoo", 10, 20, None);
        check("apple", 10, 5, None);
        check("yahoo-japan", 2, 20, Some(10.0));
        check("site:example.com", 10, 100, None);
        check("route:lab", 10, 100, None);
    }

    #[test]
    fn limits_of_the_config_win_and_touch_nobody_else() {
        let mut map = ProviderMap::built_in();
        let limits = LaneLimits {
            connections: 50,
            ..LaneLimits::default()
        };
        assert!(map.knows(&ProviderId::from("google")) && !map.knows(&ProviderId::from("gogle")));
        map.set_limits(&ProviderId::from("google"), limits);
        map.set_limits(&ProviderId::from("site:example.com"), limits);
        assert_eq!(map.limits(&ProviderId::from("google")), limits);
        assert_eq!(map.limits(&map.provider_of(&["mx.example.com"])), limits);
        assert_eq!(map.limits(&ProviderId::from("microsoft365")).connections, 5);
        check(&map, &["aspmx.l.google.com"], "google");
    }

    #[test]
    fn every_provider_of_the_bounce_rules_is_on_the_map() {
        let map = ProviderMap::built_in();
        let classifier = Classifier::built_in();
        let strangers: Vec<_> = classifier.providers().filter(|provider| !map.knows(provider)).collect();
        assert!(strangers.is_empty(), "rules for {strangers:?} never apply");
    }

    #[test]
    fn a_wrong_file_is_refused_with_provider_and_line() {
        let check = |providers: &str, expected: &[&str]| {
            let yaml = format!("version: 1\ndefault: {{}}\nproviders:\n{providers}");
            let error = ProviderMap::from_yaml(&yaml).expect_err(&yaml).to_string();
            for part in expected {
                assert!(error.contains(part), "{error:?} says nothing of {part:?} for\n{yaml}");
            }
        };
        check("  - {id: a, mx: [.a.com.]}\n", &["line 4", "a:", ".a.com."]);
        check("  - {id: a, mx: [.A.com]}\n", &["line 4", ".A.com"]);
        check("  - {id: a, mx: ['*.a.com']}\n", &["line 4", "*.a.com"]);
        check("  - {id: a, mx: [.com]}\n", &["line 4", ".com"]);
        check("  - {id: a, mx: []}\n", &["line 4", "nothing belongs"]);
        check("  - {id: A B, mx: [.a.com]}\n", &["line 4", "A B"]);
        check(
            "  - {id: a, mx: [.a.com]}\n  - {id: a, mx: [.b.com]}\n",
            &["line 5", "another provider"],
        );
        check(
            "  - {id: a, mx: [.a.com]}\n  - {id: b, mx: [.a.com]}\n",
            &["line 5", "b:", ".a.com"],
        );
        check(
            "  - {id: a, mx: [.a.com], limits: {connections: 0}}\n",
            &["line 4", "at least 1"],
        );
        check(
            "  - {id: a, mx: [.a.com], limits: {messages_per_second: -1}}\n",
            &["line 4", "above 0"],
        );
        check(
            "  - {id: a, mx: [.a.com], limits: {messages_per_second: .nan}}\n",
            &["line 4"],
        );
        check("  - {id: a, mx: [.a.com], limit: {}}\n", &["line 4", "limit"]);
        let error = ProviderMap::from_yaml("version: 3\ndefault: {}\nproviders: []\n").expect_err("version 3");
        assert!(error.to_string().contains('3'));
    }
}
