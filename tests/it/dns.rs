//! The resolver against real name servers on the loopback interface: a zone served by hickory-server, and UDP sockets that
//! misbehave. Nothing is asked outside.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_server::Server;
use hickory_server::net::runtime::TokioRuntimeProvider;
use hickory_server::proto::rr::rdata::{A, AAAA, CNAME, MX, PTR, SOA, TXT};
use hickory_server::proto::rr::{Name, RData, Record};
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneType};
use posthaste::clock::Clock;
use posthaste::domain::{DnsFailure, LaneLimits, ProviderId};
use posthaste::resolver::{
    Answer, DestinationSettings, Destinations, Hickory, Mx, Providers, Resolver, ResolverSettings,
};
use tokio::net::{TcpListener, UdpSocket};

/// SERVFAIL (RFC 1035 section 4.1.1).
const SERVFAIL: u8 = 2;
/// NXDOMAIN.
const NXDOMAIN: u8 = 3;
/// REFUSED.
const REFUSED: u8 = 5;
/// Not assigned.
const UNKNOWN_CODE: u8 = 14;

pub(crate) fn name(text: &str) -> Name {
    let mut name = Name::from_ascii(text).expect("a name of this file");
    name.set_fqdn(true);
    name
}

fn mx(preference: u16, host: &str) -> RData {
    RData::MX(MX::new(preference, name(host)))
}

fn alias(to: &str) -> RData {
    RData::CNAME(CNAME(name(to)))
}

/// Everything under `test.`, as far as a correct zone can say it.
fn zone() -> Vec<(String, u32, RData)> {
    let soa = SOA::new(name("ns.test"), name("root.test"), 1, 60, 60, 60, 90);
    let mut zone = vec![
        ("test".to_owned(), 300, RData::SOA(soa)),
        ("found.test".to_owned(), 600, mx(10, "MX1.Found.test")),
        ("found.test".to_owned(), 600, mx(20, "mx2.found.test")),
        ("null.test".to_owned(), 300, mx(0, ".")),
        ("implicit.test".to_owned(), 300, RData::A(A::new(192, 0, 2, 1))),
        ("mx1.found.test".to_owned(), 300, RData::A(A::new(192, 0, 2, 2))),
        (
            "mx1.found.test".to_owned(),
            300,
            RData::AAAA(AAAA::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2)),
        ),
        (
            "six.test".to_owned(),
            300,
            RData::AAAA(AAAA::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 6)),
        ),
        ("alias.test".to_owned(), 120, alias("step.test")),
        ("step.test".to_owned(), 300, alias("found.test")),
        ("nowhere.test".to_owned(), 300, alias("absent.test")),
        ("outside.test".to_owned(), 300, alias("host.example")),
        (
            "key.test".to_owned(),
            300,
            RData::TXT(TXT::new(vec!["v=DKIM1; k=rsa; p=AAAA".to_owned(), "BBBB".to_owned()])),
        ),
    ];
    // More than fits a UDP answer.
    zone.extend((0..400).map(|n| {
        (
            "many.test".to_owned(),
            300,
            mx(n, &format!("host-with-a-long-name-{n}.many.test")),
        )
    }));
    zone
}

/// A name server for `zone`; ends with the test.
async fn serve() -> (Server<Catalog>, SocketAddr) {
    let mut handler =
        InMemoryZoneHandler::<TokioRuntimeProvider>::empty(name("test"), ZoneType::Primary, AxfrPolicy::Deny);
    for (owner, ttl, data) in zone() {
        assert!(
            handler.upsert_mut(Record::from_rdata(name(&owner), ttl, data), 1),
            "{owner}"
        );
    }
    listen(&name("test"), handler).await
}

/// A name server for these records and an SOA at `origin`; ends with the test.
pub(crate) async fn serve_records(origin: &Name, records: &[(&str, RData)]) -> (Server<Catalog>, SocketAddr) {
    let mut handler =
        InMemoryZoneHandler::<TokioRuntimeProvider>::empty(origin.clone(), ZoneType::Primary, AxfrPolicy::Deny);
    let soa = SOA::new(name("ns.test"), name("root.test"), 1, 60, 60, 60, 90);
    assert!(handler.upsert_mut(Record::from_rdata(origin.clone(), 300, RData::SOA(soa)), 1));
    for (owner, data) in records {
        let record = Record::from_rdata(name(owner), 300, data.clone());
        assert!(handler.upsert_mut(record, 1), "{owner}");
    }
    listen(origin, handler).await
}

async fn listen(origin: &Name, handler: InMemoryZoneHandler<TokioRuntimeProvider>) -> (Server<Catalog>, SocketAddr) {
    let mut catalog = Catalog::new();
    catalog.upsert(origin.into(), vec![Arc::new(handler)]);
    let mut server = Server::new(catalog);
    // One port for both protocols: that of the listener may be taken for UDP, so a few are tried.
    for _ in 0..20 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        if let Ok(socket) = UdpSocket::bind(address).await {
            server.register_socket(socket);
            server.register_listener(listener, Duration::from_secs(60), 64);
            return (server, address);
        }
    }
    panic!("no port is free for UDP and TCP");
}

/// The questions that a server was asked; a repeated packet is no other question.
type Asked = Arc<Mutex<BTreeSet<Vec<u8>>>>;

fn count(asked: &Asked) -> usize {
    asked.lock().expect("no panic").len()
}

/// A UDP socket that answers each query with what `answer` makes of it; nothing when that is none.
async fn misbehave(answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static) -> (SocketAddr, Asked) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let address = socket.local_addr().expect("bound");
    let asked = Asked::default();
    let questions = Arc::clone(&asked);
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
            questions
                .lock()
                .expect("no panic")
                .insert(question(&buffer[..length]).to_vec());
            if let Some(reply) = answer(&buffer[..length]) {
                // A client that is gone is no fault of this test.
                let _ = socket.send_to(&reply, peer).await;
            }
        }
    });
    (address, asked)
}

const HEADER_BYTES: usize = 12;

/// Name, type and class that are asked for.
fn question(query: &[u8]) -> &[u8] {
    let labels_end = query[HEADER_BYTES..]
        .iter()
        .position(|byte| *byte == 0)
        .expect("a question");
    &query[HEADER_BYTES..HEADER_BYTES + labels_end + 1 + 4]
}

/// A reply to `query`: its header and question with this code, answers as they are.
fn reply(query: &[u8], code: u8, answer_count: u8, answers: &[u8]) -> Vec<u8> {
    let mut reply = query[..HEADER_BYTES + question(query).len()].to_vec();
    reply[2] = 0x81;
    reply[3] = 0x80 | code;
    reply[4..HEADER_BYTES].copy_from_slice(&[0, 1, 0, answer_count, 0, 0, 0, 0]);
    reply.extend_from_slice(answers);
    reply
}

/// An answer record for the name of the question: type, TTL 60, data.
fn record(record_type: u8, data: &[u8]) -> Vec<u8> {
    let length = u8::try_from(data.len()).expect("short data");
    let mut record = vec![0xc0, 12, 0, record_type, 0, 1, 0, 0, 0, 60, 0, length];
    record.extend_from_slice(data);
    record
}

fn ask(servers: &[SocketAddr], query_timeout: Duration) -> Hickory {
    Hickory::new(ResolverSettings {
        servers: servers.to_vec(),
        query_timeout,
        ..ResolverSettings::default()
    })
    .expect("a resolver")
}

const PATIENT: Duration = Duration::from_secs(10);
/// For servers that will not answer.
const HASTY: Duration = Duration::from_millis(100);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn host(preference: u16, host: &str) -> Mx {
    Mx {
        preference,
        host: host.to_owned(),
    }
}

#[tokio::test]
async fn a_zone_answers_every_kind_of_mx_question() {
    let (_server, address) = serve().await;
    let resolver = ask(&[address], PATIENT);
    let found = vec![host(10, "mx1.found.test"), host(20, "mx2.found.test")];
    for (domain, expected) in [
        ("found.test", Answer::Found(found.clone(), seconds(600))),
        ("FOUND.test.", Answer::Found(found.clone(), seconds(600))),
        // The null MX is the empty host.
        ("null.test", Answer::Found(vec![host(0, "")], seconds(300))),
        // The SOA says how long the absence holds.
        ("implicit.test", Answer::Empty(seconds(90))),
        ("absent.test", Answer::NoDomain(seconds(90))),
        // Over two CNAMEs, for as long as the shortest.
        ("alias.test", Answer::Found(found, seconds(120))),
        ("nowhere.test", Answer::NoDomain(seconds(90))),
        // Not its zone: REFUSED.
        ("example.com", Answer::Failed),
        ("outside.test", Answer::Failed),
    ] {
        let answer = match resolver.mx(domain).await {
            Answer::Found(mut records, ttl) => {
                records.sort_by_key(|record| record.preference);
                Answer::Found(records, ttl)
            }
            other => other,
        };
        assert_eq!(answer, expected, "{domain}");
    }
}

#[tokio::test]
async fn an_answer_too_large_for_udp_comes_over_tcp() {
    let (_server, address) = serve().await;
    let Answer::Found(records, _) = ask(&[address], PATIENT).mx("many.test").await else {
        panic!("there are records");
    };
    assert_eq!(records.len(), 400);
}

#[tokio::test]
async fn addresses_of_both_families_are_one_answer() {
    let (_server, address) = serve().await;
    let resolver = ask(&[address], PATIENT);
    let six = |last| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last]);
    for (name, expected) in [
        (
            "mx1.found.test",
            Answer::Found(vec![IpAddr::from([192, 0, 2, 2]), six(2)], seconds(300)),
        ),
        // One family holds no longer than the absence of the other.
        ("six.test", Answer::Found(vec![six(6)], seconds(90))),
        ("null.test", Answer::Empty(seconds(90))),
        ("absent.test", Answer::NoDomain(seconds(90))),
        ("example.com", Answer::Failed),
    ] {
        assert_eq!(resolver.addresses(name).await, expected, "{name}");
    }
}

#[tokio::test]
async fn the_strings_of_a_text_are_joined() {
    let (_server, address) = serve().await;
    let answer = ask(&[address], PATIENT).txt("key.test").await;
    let expected = vec!["v=DKIM1; k=rsa; p=AAAABBBB".to_owned()];
    assert_eq!(answer, Answer::Found(expected, seconds(300)));
}

#[tokio::test]
async fn names_that_cannot_be_asked_do_not_exist() {
    let (address, asked) = misbehave(|_| None).await;
    let resolver = ask(&[address], HASTY);
    for name in ["", ".", "a..test", &"a".repeat(64), "müller.test"] {
        assert!(matches!(resolver.mx(name).await, Answer::NoDomain(_)), "{name:?}");
    }
    assert_eq!(count(&asked), 0);
}

#[tokio::test]
async fn what_is_not_a_clear_answer_is_a_failure() {
    type Reply = fn(&[u8]) -> Option<Vec<u8>>;
    let cases: [(&str, Reply); 14] = [
        ("silence", |_| None),
        ("SERVFAIL", |query| Some(reply(query, SERVFAIL, 0, &[]))),
        ("REFUSED", |query| Some(reply(query, REFUSED, 0, &[]))),
        ("unknown code", |query| Some(reply(query, UNKNOWN_CODE, 0, &[]))),
        ("unknown code, with an answer", |query| {
            Some(reply(query, UNKNOWN_CODE, 1, &record(15, &[0, 10, 0xc0, 12])))
        }),
        ("an answer about another name", |query| {
            let mut other = record(15, &[0, 10, 0xc0, 12]);
            other.splice(..2, [1, b'x', 0]);
            Some(reply(query, 0, 1, &other))
        }),
        ("nothing at all", |_| Some(Vec::new())),
        ("noise", |_| {
            Some(b"\xff\xfenot DNS at all, and longer than a header".to_vec())
        }),
        ("a header cut short", |query| Some(query[..7].to_vec())),
        ("the query itself", |query| Some(query.to_vec())),
        ("a foreign id", |query| {
            let mut reply = reply(query, NXDOMAIN, 0, &[]);
            reply[0] ^= 0xff;
            Some(reply)
        }),
        ("fewer answers than announced", |query| Some(reply(query, 0, 9, &[]))),
        ("a name that points at itself", |query| {
            let mut reply = reply(query, 0, 1, &[]);
            let here = u8::try_from(reply.len()).ok()?;
            reply.extend_from_slice(&[0xc0, here, 0, 15, 0, 1, 0, 0, 0, 60, 0, 2, 0, 10]);
            Some(reply)
        }),
        ("an MX record of one byte", |query| {
            Some(reply(query, 0, 1, &record(15, &[0])))
        }),
    ];
    for (what, answer) in cases {
        let (address, asked) = misbehave(answer).await;
        assert_eq!(ask(&[address], HASTY).mx("a.test").await, Answer::Failed, "{what}");
        assert!(count(&asked) > 0, "{what}");
    }
}

#[tokio::test]
async fn a_truncated_answer_without_tcp_is_a_failure() {
    let (address, _) = misbehave(|query| {
        let mut reply = reply(query, 0, 0, &[]);
        reply[2] |= 0x02;
        Some(reply)
    })
    .await;
    assert_eq!(ask(&[address], HASTY).mx("a.test").await, Answer::Failed);
}

#[tokio::test]
async fn nxdomain_and_emptiness_without_soa_are_told_apart() {
    for (code, expected) in [
        (0, Answer::Empty(seconds(60))),
        (NXDOMAIN, Answer::NoDomain(seconds(60))),
    ] {
        let (address, _) = misbehave(move |query| Some(reply(query, code, 0, &[]))).await;
        assert_eq!(ask(&[address], PATIENT).mx("a.test").await, expected);
    }
}

#[tokio::test]
async fn a_referral_is_not_emptiness() {
    let (address, _) = misbehave(|query| {
        // An NS record in the authority section, and no SOA: "ask somebody else".
        let mut reply = reply(query, 0, 0, &record(2, &[0xc0, 12]));
        reply[9] = 1;
        Some(reply)
    })
    .await;
    assert_eq!(ask(&[address], PATIENT).mx("a.test").await, Answer::Failed);
}

#[tokio::test]
async fn aliases_that_do_not_end_are_a_loop_after_a_bounded_number_of_queries() {
    // To itself.
    let (address, asked) = misbehave(|query| Some(reply(query, 0, 1, &record(5, &[0xc0, 12])))).await;
    assert_eq!(ask(&[address], PATIENT).mx("a.test").await, Answer::Loop);
    assert_eq!(count(&asked), 1);
    // To a new name below itself, without end.
    let (address, asked) = misbehave(|query| Some(reply(query, 0, 1, &record(5, &[1, b'x', 0xc0, 12])))).await;
    assert_eq!(ask(&[address], PATIENT).mx("a.test").await, Answer::Loop);
    assert_eq!(count(&asked), 9, "the name and eight aliases");
}

#[tokio::test]
async fn another_server_is_asked_when_one_gives_no_clear_answer_and_asked_first_from_then_on() {
    let (broken, asked) = misbehave(|query| Some(reply(query, SERVFAIL, 0, &[]))).await;
    let (_server, good) = serve().await;
    let resolver = ask(&[broken, good], PATIENT);
    assert!(matches!(resolver.mx("found.test").await, Answer::Found(..)));
    assert_eq!(count(&asked), 1);
    assert!(matches!(resolver.mx("null.test").await, Answer::Found(..)));
    assert_eq!(count(&asked), 1, "the good one is remembered");
    assert_eq!(resolver.mx("example.com").await, Answer::Failed);
    assert_eq!(count(&asked), 2, "what it refuses is put to the other again");
}

/// A provider has the name of its best host.
#[derive(Debug)]
struct ByHost;

impl Providers for ByHost {
    fn provider_of(&self, hosts: &[&str]) -> ProviderId {
        ProviderId::from(hosts[0])
    }

    fn limits(&self, _: &ProviderId) -> LaneLimits {
        LaneLimits::default()
    }
}

#[tokio::test]
async fn destinations_come_from_a_zone() {
    let (_server, address) = serve().await;
    let resolver: Arc<dyn Resolver> = Arc::new(ask(&[address], PATIENT));
    let destinations = Destinations::new(
        Arc::clone(&resolver),
        Some(resolver),
        Vec::new(),
        Arc::new(ByHost),
        DestinationSettings::default(),
        Clock::system(),
    );
    for (domain, expected) in [
        ("null.test", Err(DnsFailure::NullMx)),
        ("absent.test", Err(DnsFailure::NoDomain)),
        ("example.com", Err(DnsFailure::NoAnswer)),
        ("found.test", Ok(2)),
        ("implicit.test", Ok(1)),
    ] {
        let found = destinations.find(domain).await;
        assert_eq!(found.map(|destination| destination.hosts.len()), expected, "{domain}");
    }
    let found = destinations.find("found.test").await.expect("found");
    assert_eq!(found.provider.as_str(), "mx1.found.test");
    let targets = destinations
        .targets(&found, 1, 5)
        .await
        .expect("one host has addresses");
    assert_eq!(targets.len(), 2);
    assert!(targets.iter().all(|target| target.host == "mx1.found.test"));
}

#[tokio::test]
async fn an_address_has_names_over_aliases_too() {
    let pointer = |to: &str| RData::PTR(PTR(name(to)));
    let records = [
        ("5.113.0.203.in-addr.arpa", pointer("MTA.example.test")),
        // A range that is delegated (RFC 2317).
        ("6.113.0.203.in-addr.arpa", alias("6.0-127.113.0.203.in-addr.arpa")),
        ("6.0-127.113.0.203.in-addr.arpa", pointer("other.example.test")),
    ];
    let (_server, address) = serve_records(&Name::root(), &records).await;
    let resolver = ask(&[address], PATIENT);
    for (address, expect) in [
        ("203.0.113.5", Some("mta.example.test")),
        ("203.0.113.6", Some("other.example.test")),
        ("203.0.113.7", None),
    ] {
        let names = match resolver.names(address.parse().expect("an address")).await {
            Answer::Found(names, _) => names,
            Answer::NoDomain(_) => Vec::new(),
            other => panic!("{address}: {other:?}"),
        };
        assert_eq!(names.first().map(String::as_str), expect, "{address}");
    }
}
