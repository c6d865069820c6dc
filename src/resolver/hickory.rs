//! Name servers through hickory.
//!
//! Takes names, gives [`Answer`]s. Uses hickory's transport (UDP, TCP when truncated) and nothing above it: CNAMEs,
//! fail-over and limits are decided here. Never caches: a second cache under the one of `destinations` would repeat the
//! first NXDOMAIN as its own confirmation, and hide a corrected DKIM record from the janitor. Never uses a search list:
//! names are asked as they are.
//!
//! Failure semantics: everything that is not a clear answer (SERVFAIL, REFUSED, an unknown code, a timeout, a malformed
//! or truncated answer, a referral, records of other names) is asked of the next server, and `Failed` when no server has
//! a clear answer. Hickory tells loops of CNAMEs from empty answers only by their absence, hence the walk of our own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::{DnsHandle, FirstAnswer};
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{DnsRequestOptions, DnsResponse, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::{NameServerPool, PoolContext, TlsConfig};

use super::{Answer, Mx, Resolver};
use crate::policy::source_health::pointer_name;

/// CNAMEs followed before they count as a loop (reliability.md 4.5).
const CNAMES_MAX: usize = 8;
/// Queries for one name and type, over all servers, attempts and CNAMEs.
const QUERIES_MAX: u32 = 24;
/// Queries in flight on one TCP connection.
const TCP_QUERIES_MAX: usize = 256;
/// Name servers used of a longer list.
const SERVERS_MAX: usize = 8;
/// For how long "no such name" or "no such record" holds when the answer does not say (no SOA).
const NEGATIVE_TTL: Duration = Duration::from_secs(60);

/// How to ask name servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolverSettings {
    /// Name servers, in order of preference; empty means those of `/etc/resolv.conf`.
    pub servers: Vec<SocketAddr>,
    /// Time for one query at one server.
    pub query_timeout: Duration,
    /// Rounds over all servers.
    pub attempts: u32,
    /// Time for one lookup with all its queries.
    pub lookup_timeout: Duration,
}

impl Default for ResolverSettings {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            query_timeout: Duration::from_secs(5),
            attempts: 2,
            lookup_timeout: Duration::from_secs(20),
        }
    }
}

/// Why there is no resolver.
#[derive(Debug, thiserror::Error)]
pub enum HickoryError {
    /// `/etc/resolv.conf` is missing, unreadable or names no server.
    #[error("no name servers: none are configured, and the system's configuration gives none: {0}")]
    SystemConfig(String),
    /// Hickory did not start.
    #[error("the resolver did not start: {0}")]
    Start(String),
}

type Server = NameServerPool<TokioRuntimeProvider>;

/// Asks name servers over UDP and TCP.
pub struct Hickory {
    /// One pool each: whether another server is asked is decided here.
    servers: Vec<Server>,
    addresses: Vec<SocketAddr>,
    /// The server that answered last; asked first, so that a dead server costs one timeout and not one per lookup.
    preferred: AtomicUsize,
    options: DnsRequestOptions,
    settings: ResolverSettings,
}

impl std::fmt::Debug for Hickory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hickory")
            .field("addresses", &self.addresses)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Hickory {
    /// A resolver; must be called and used inside a tokio runtime.
    pub fn new(settings: ResolverSettings) -> Result<Self, HickoryError> {
        let mut addresses = if settings.servers.is_empty() {
            system_servers()?
        } else {
            settings.servers.clone()
        };
        addresses.truncate(SERVERS_MAX);
        let mut pool_options = ResolverOpts::default();
        pool_options.timeout = settings.query_timeout;
        pool_options.max_active_requests = TCP_QUERIES_MAX;
        let tls = || TlsConfig::new().map_err(|error| HickoryError::Start(error.to_string()));
        let servers = addresses
            .iter()
            .map(|address| {
                let context = Arc::new(PoolContext::new(pool_options.clone(), tls()?));
                Ok(Server::from_config(
                    [server_config(*address)],
                    context,
                    TokioRuntimeProvider::default(),
                ))
            })
            .collect::<Result<Vec<_>, HickoryError>>()?;
        let mut options = DnsRequestOptions::default();
        options.recursion_desired = true;
        options.use_edns = true;
        options.edns_payload_len = pool_options.edns_payload_len;
        Ok(Self {
            servers,
            addresses,
            preferred: AtomicUsize::new(0),
            options,
            settings,
        })
    }

    /// The records of `name`, over CNAMEs, within the limits of a lookup.
    async fn lookup(&self, name: &str, record_type: RecordType) -> Answer<RData> {
        let Some(name) = absolute(name) else {
            // What cannot be written in a query cannot exist.
            return Answer::NoDomain(NEGATIVE_TTL);
        };
        // The outer limit holds whatever happens inside hickory, which once looped for ever (hickory-dns #3023).
        tokio::time::timeout(self.settings.lookup_timeout, self.follow(name, record_type))
            .await
            .unwrap_or(Answer::Failed)
    }

    async fn follow(&self, name: Name, record_type: RecordType) -> Answer<RData> {
        let mut walk = Walk::new(name);
        let mut budget = QUERIES_MAX;
        loop {
            let asked = walk.name.clone();
            match self.ask(&asked, record_type, &mut budget).await {
                Reply::Unclear => return Answer::Failed,
                Reply::NoDomain(ttl) => return Answer::NoDomain(ttl),
                Reply::Empty(ttl) => return Answer::Empty(ttl),
                Reply::Records(response) => match walk.over(&response.answers, record_type) {
                    Step::Found(records) => return Answer::Found(records, walk.ttl()),
                    Step::Loop => return Answer::Loop,
                    // Records, but neither of this name nor of one that it leads to.
                    Step::Stands if walk.name == asked => return Answer::Failed,
                    Step::Stands if response.response_code == ResponseCode::NXDomain => {
                        return Answer::NoDomain(negative_ttl(response.negative_ttl()));
                    }
                    Step::Stands => {}
                },
            }
        }
    }

    /// Asks one server after the other until one gives a clear reply.
    async fn ask(&self, name: &Name, record_type: RecordType, budget: &mut u32) -> Reply {
        for _ in 0..self.settings.attempts.max(1) {
            let first = self.preferred.load(Ordering::Relaxed);
            for offset in 0..self.servers.len() {
                let index = (first + offset) % self.servers.len();
                if *budget == 0 {
                    return Reply::Unclear;
                }
                *budget -= 1;
                let query = Query::query(name.clone(), record_type);
                let answer = self.servers[index].lookup(query, self.options).first_answer();
                let Ok(result) = tokio::time::timeout(self.settings.query_timeout, answer).await else {
                    continue;
                };
                let reply = reply_of(result);
                if !matches!(reply, Reply::Unclear) {
                    self.preferred.store(index, Ordering::Relaxed);
                    return reply;
                }
            }
        }
        Reply::Unclear
    }
}

#[async_trait]
impl Resolver for Hickory {
    async fn mx(&self, domain: &str) -> Answer<Mx> {
        convert(self.lookup(domain, RecordType::MX).await, |data| match data {
            RData::MX(mx) => Some(Mx {
                preference: mx.preference,
                host: plain(&mx.exchange),
            }),
            _ => None,
        })
    }

    async fn addresses(&self, host: &str) -> Answer<IpAddr> {
        let (four, six) = tokio::join!(self.lookup(host, RecordType::A), self.lookup(host, RecordType::AAAA));
        let address = |data| match data {
            RData::A(a) => Some(IpAddr::from(Ipv4Addr::from(a))),
            RData::AAAA(aaaa) => Some(IpAddr::from(Ipv6Addr::from(aaaa))),
            _ => None,
        };
        merge(convert(four, address), convert(six, address))
    }

    async fn txt(&self, name: &str) -> Answer<String> {
        convert(self.lookup(name, RecordType::TXT).await, |data| match data {
            RData::TXT(txt) => Some(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned()),
            _ => None,
        })
    }

    async fn names(&self, address: IpAddr) -> Answer<String> {
        let answer = self.lookup(&pointer_name(address), RecordType::PTR).await;
        convert(answer, |data| match data {
            RData::PTR(name) => Some(plain(&name.0)),
            _ => None,
        })
    }
}

/// What one query gave.
enum Reply {
    Records(Box<DnsResponse>),
    Empty(Duration),
    NoDomain(Duration),
    /// Another server may know better.
    Unclear,
}

fn reply_of(result: Result<DnsResponse, NetError>) -> Reply {
    match result {
        Ok(response) if matches!(response.response_code, ResponseCode::NoError | ResponseCode::NXDomain) => {
            Reply::Records(Box::new(response))
        }
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) => {
            let ttl = negative_ttl(none.negative_ttl);
            match none.response_code {
                ResponseCode::NXDomain => Reply::NoDomain(ttl),
                // Name servers without an SOA are a referral (RFC 2308 section 2.2): the server was not asked to recurse,
                // or will not.
                ResponseCode::NoError if none.soa.is_some() || none.ns.is_none() => Reply::Empty(ttl),
                _ => Reply::Unclear,
            }
        }
        _ => Reply::Unclear,
    }
}

/// Where following CNAMEs has led.
struct Walk {
    name: Name,
    seen: Vec<Name>,
    ttl_seconds: u32,
}

enum Step {
    /// The records at the end.
    Found(Vec<RData>),
    /// `Walk::name` is the last name that these answers lead to.
    Stands,
    /// It was there before, or it takes too long.
    Loop,
}

impl Walk {
    fn new(name: Name) -> Self {
        Self {
            seen: vec![name.clone()],
            name,
            ttl_seconds: u32::MAX,
        }
    }

    fn ttl(&self) -> Duration {
        Duration::from_secs(u64::from(self.ttl_seconds))
    }

    /// Goes over the answers of one response, in whatever order they came.
    fn over(&mut self, answers: &[Record], record_type: RecordType) -> Step {
        loop {
            let own = |record: &&Record| record.name.to_lowercase() == self.name;
            let found: Vec<&Record> = answers
                .iter()
                .filter(|record| record.record_type() == record_type)
                .filter(own)
                .collect();
            if !found.is_empty() {
                let least = found.iter().map(|record| record.ttl).min().unwrap_or(0);
                self.ttl_seconds = self.ttl_seconds.min(least);
                return Step::Found(found.into_iter().map(|record| record.data.clone()).collect());
            }
            let alias = answers.iter().filter(own).find_map(|record| match &record.data {
                RData::CNAME(target) => Some((target.0.to_lowercase(), record.ttl)),
                _ => None,
            });
            let Some((target, ttl)) = alias else {
                return Step::Stands;
            };
            self.ttl_seconds = self.ttl_seconds.min(ttl);
            if self.seen.contains(&target) || self.seen.len() > CNAMES_MAX {
                return Step::Loop;
            }
            self.seen.push(target.clone());
            self.name = target;
        }
    }
}

fn convert<T>(answer: Answer<RData>, one: impl Fn(RData) -> Option<T>) -> Answer<T> {
    match answer {
        Answer::Found(records, ttl) => {
            let records: Vec<T> = records.into_iter().filter_map(one).collect();
            // Of the right type and not readable as such: malformed.
            if records.is_empty() {
                Answer::Failed
            } else {
                Answer::Found(records, ttl)
            }
        }
        Answer::Empty(ttl) => Answer::Empty(ttl),
        Answer::NoDomain(ttl) => Answer::NoDomain(ttl),
        Answer::Loop => Answer::Loop,
        Answer::Failed => Answer::Failed,
    }
}

/// Both families as one answer. When one of them failed, the other is used but holds for no time, so that a passing
/// fault does not take a family away for an hour.
fn merge(four: Answer<IpAddr>, six: Answer<IpAddr>) -> Answer<IpAddr> {
    match (four, six) {
        (Answer::Found(mut four, a), Answer::Found(six, b)) => {
            four.extend(six);
            Answer::Found(four, a.min(b))
        }
        (Answer::Found(one, _), Answer::Failed | Answer::Loop)
        | (Answer::Failed | Answer::Loop, Answer::Found(one, _)) => Answer::Found(one, Duration::ZERO),
        (Answer::Found(one, ttl), Answer::Empty(none) | Answer::NoDomain(none))
        | (Answer::Empty(none) | Answer::NoDomain(none), Answer::Found(one, ttl)) => Answer::Found(one, ttl.min(none)),
        (Answer::Failed, _) | (_, Answer::Failed) => Answer::Failed,
        (Answer::Loop, _) | (_, Answer::Loop) => Answer::Loop,
        (Answer::NoDomain(a), Answer::NoDomain(b)) => Answer::NoDomain(a.min(b)),
        (Answer::Empty(a) | Answer::NoDomain(a), Answer::Empty(b) | Answer::NoDomain(b)) => Answer::Empty(a.min(b)),
    }
}

fn negative_ttl(seconds: Option<u32>) -> Duration {
    seconds.map_or(NEGATIVE_TTL, |seconds| Duration::from_secs(u64::from(seconds)))
}

/// The name as it is asked: lower case, with the root at its end.
fn absolute(name: &str) -> Option<Name> {
    let mut name = Name::from_ascii(name).ok()?.to_lowercase();
    name.set_fqdn(true);
    (!name.is_root()).then_some(name)
}

/// The name as we write it: lower case, without the root.
fn plain(name: &Name) -> String {
    let text = name.to_lowercase().to_ascii();
    text.strip_suffix('.').unwrap_or(&text).to_owned()
}

fn server_config(address: SocketAddr) -> NameServerConfig {
    let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
    udp.port = address.port();
    tcp.port = address.port();
    NameServerConfig::new(address.ip(), true, vec![udp, tcp])
}

fn system_servers() -> Result<Vec<SocketAddr>, HickoryError> {
    const PORT: u16 = 53;
    let (config, _) = hickory_resolver::system_conf::read_system_conf()
        .map_err(|error| HickoryError::SystemConfig(error.to_string()))?;
    Ok(config
        .name_servers()
        .iter()
        .map(|server| SocketAddr::new(server.ip, PORT))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_resolver::proto::rr::rdata::{A, CNAME};
    use std::str::FromStr;

    fn alias(from: &str, to: &str) -> Record {
        let target = Name::from_str(to).unwrap();
        Record::from_rdata(Name::from_str(from).unwrap(), 300, RData::CNAME(CNAME(target)))
    }

    fn address(of: &str) -> Record {
        Record::from_rdata(Name::from_str(of).unwrap(), 100, RData::A(A::new(192, 0, 2, 1)))
    }

    fn walk(answers: &[Record]) -> (Step, String, Duration) {
        let mut walk = Walk::new(absolute("a.test").unwrap());
        let step = walk.over(answers, RecordType::A);
        (step, plain(&walk.name), walk.ttl())
    }

    #[test]
    fn aliases_are_followed_in_any_order_and_case() {
        let answers = [
            address("c.test."),
            alias("B.test.", "c.test."),
            alias("a.test.", "b.TEST."),
        ];
        let (step, name, ttl) = walk(&answers);
        assert!(matches!(step, Step::Found(records) if records.len() == 1));
        assert_eq!((name.as_str(), ttl), ("c.test", Duration::from_secs(100)));
    }

    #[test]
    fn aliases_that_do_not_end_are_a_loop() {
        let chain: Vec<Record> = (0..=CNAMES_MAX)
            .map(|n| {
                alias(
                    &if n == 0 { "a.test.".into() } else { format!("{n}.test.") },
                    &format!("{}.test.", n + 1),
                )
            })
            .collect();
        assert!(matches!(walk(&[alias("a.test.", "a.test.")]).0, Step::Loop));
        assert!(matches!(
            walk(&[alias("a.test.", "b.test."), alias("b.test.", "a.test.")]).0,
            Step::Loop
        ));
        assert!(matches!(walk(&chain).0, Step::Loop), "nine are too many");
        assert!(matches!(walk(&chain[..CNAMES_MAX]).0, Step::Stands), "eight are not");
    }

    #[test]
    fn records_of_other_names_are_not_believed() {
        let (step, name, _) = walk(&[address("evil.test."), alias("other.test.", "evil.test.")]);
        assert!(matches!(step, Step::Stands));
        assert_eq!(name, "a.test");
    }

    #[test]
    fn two_families_become_one_answer() {
        let (one, two) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let second = Duration::from_secs;
        let found = |address, ttl| Answer::Found(vec![address], second(ttl));
        let check = |four: Answer<IpAddr>, six: Answer<IpAddr>, expected: Answer<IpAddr>| {
            assert_eq!(merge(four.clone(), six.clone()), expected, "{four:?} and {six:?}");
        };
        check(
            found(one, 60),
            found(two, 30),
            Answer::Found(vec![one, two], second(30)),
        );
        check(found(one, 60), Answer::Empty(second(90)), found(one, 60));
        check(Answer::Failed, found(two, 60), found(two, 0));
        check(found(one, 60), Answer::Failed, found(one, 0));
        check(Answer::Failed, Answer::Empty(second(5)), Answer::Failed);
        check(Answer::NoDomain(second(5)), Answer::Failed, Answer::Failed);
        check(
            Answer::NoDomain(second(5)),
            Answer::NoDomain(second(4)),
            Answer::NoDomain(second(4)),
        );
        check(
            Answer::NoDomain(second(5)),
            Answer::Empty(second(4)),
            Answer::Empty(second(4)),
        );
        check(Answer::Loop, Answer::Empty(second(4)), Answer::Loop);
    }

    #[test]
    fn names_are_asked_whole_and_shown_plain() {
        assert_eq!(absolute("MX.Example.com").unwrap().to_ascii(), "mx.example.com.");
        assert!(absolute("mx.example.com").unwrap().is_fqdn());
        assert_eq!(plain(&Name::from_str("MX.Example.com.").unwrap()), "mx.example.com");
        assert_eq!(plain(&Name::root()), "");
        for bad in ["", ".", "a..b", &"a".repeat(64), "müller.example"] {
            assert_eq!(absolute(bad), None, "{bad:?}");
        }
    }
}
