//! The table of reliability.md 4.5, on virtual time.

use futures_util::future::join_all;

use super::*;
use crate::domain::Timestamp;
use crate::resolver::{FIXED_TTL, Fixed, mx_found};

const MINUTE: Duration = Duration::from_secs(60);

/// Everything is Google's, with limits of its own.
#[derive(Debug)]
struct OneProvider;

impl Providers for OneProvider {
    fn provider_of(&self, hosts: &[&str]) -> ProviderId {
        assert!(!hosts.is_empty(), "somebody runs at least one host");
        ProviderId::from("google")
    }

    fn limits(&self, provider: &ProviderId) -> LaneLimits {
        assert_eq!(provider.as_str(), "google");
        LaneLimits {
            connections: 5,
            ..LaneLimits::default()
        }
    }
}

fn new(first: &Fixed, second: Option<&Fixed>, routes: Vec<Route>) -> Destinations {
    let share = |table: &Fixed| Arc::new(table.clone()) as Arc<dyn Resolver>;
    Destinations::new(
        share(first),
        second.map(share),
        routes,
        Arc::new(OneProvider),
        DestinationSettings::default(),
        Clock::starting_at(Timestamp(1_000_000_000)),
    )
}

fn route(pattern: &str, host: &str) -> Route {
    Route {
        name: "sink".to_owned(),
        patterns: vec![pattern.to_owned()],
        host: host.to_owned(),
        port: 2525,
        tls: TlsPolicy::Off,
        auth: None,
        limits: LaneLimits::default(),
        provider: None,
    }
}

fn host(name: &str) -> Host {
    Host {
        name: name.to_owned(),
        addresses: Vec::new(),
        preference: 0,
    }
}

async fn pass(time: Duration) {
    tokio::time::advance(time).await;
}

/// Hosts as `preference name`, or why there are none.
async fn hosts_of(destinations: &Destinations, domain: &str) -> Result<Vec<String>, DnsFailure> {
    let found = destinations.find(domain).await?;
    let shown = found
        .hosts
        .iter()
        .map(|host| format!("{} {}", host.preference, host.name));
    Ok(shown.collect())
}

async fn check(table: &Fixed, domain: &str, expected: Result<&[&str], DnsFailure>) {
    let found = hosts_of(&new(table, None, Vec::new()), domain).await;
    let expected = expected.map(|hosts| hosts.iter().map(|host| (*host).to_owned()).collect());
    assert_eq!(found, expected, "{domain}");
}

#[tokio::test(start_paused = true)]
async fn every_answer_has_its_meaning() {
    let many: Vec<(u16, String)> = (0..1000u16).rev().map(|n| (n, format!("mx{n}.test"))).collect();
    let many: Vec<(u16, &str)> = many
        .iter()
        .map(|(preference, host)| (*preference, host.as_str()))
        .collect();
    let table = Fixed::new()
        .with_mx(
            "found.test",
            &[(20, "B.test."), (10, "c.test"), (10, "a.test"), (30, "a.test")],
        )
        .with_mx("null.test", &[(0, "")])
        .with_mx("null-among.test", &[(0, ""), (10, "a.test")])
        .with_mx("literal.test", &[(10, "192.0.2.1")])
        .with_mx("many.test", &many)
        .with_addresses("implicit.test", &["192.0.2.1"])
        .failing("broken.test");
    table.set_mx("loop.test", vec![Answer::Loop]);
    check(&table, "found.test", Ok(&["10 a.test", "10 c.test", "20 b.test"])).await;
    check(&table, "FOUND.test.", Ok(&["10 a.test", "10 c.test", "20 b.test"])).await;
    check(&table, "null.test", Err(DnsFailure::NullMx)).await;
    check(&table, "null-among.test", Ok(&["10 a.test"])).await;
    check(&table, "literal.test", Err(DnsFailure::NoAddress)).await;
    check(&table, "implicit.test", Ok(&["0 implicit.test"])).await;
    check(&table, "broken.test", Err(DnsFailure::NoAnswer)).await;
    check(&table, "loop.test", Err(DnsFailure::CnameLoop)).await;
    check(&table, "absent.test", Err(DnsFailure::NoDomainUnconfirmed)).await;
    let best = hosts_of(&new(&table, None, Vec::new()), "many.test")
        .await
        .expect("found");
    assert_eq!(
        (best.len(), best[0].as_str(), best[19].as_str()),
        (20, "0 mx0.test", "19 mx19.test")
    );
}

#[tokio::test(start_paused = true)]
async fn what_no_name_server_can_know_is_not_asked() {
    let table = Fixed::new().otherwise_failing();
    let long = format!("{}.test", "a".repeat(64));
    for domain in [
        "",
        ".",
        "a..test",
        "[192.0.2.1]",
        "a b.test",
        "x.invalid",
        "localhost",
        "a.onion",
        &long,
    ] {
        check(&table, domain, Err(DnsFailure::NoDomain)).await;
        assert_eq!(table.mx_queries(domain), 0, "{domain}");
    }
    check(&table, "under_score.test", Err(DnsFailure::NoAnswer)).await;
}

#[tokio::test(start_paused = true)]
async fn international_names_are_asked_as_a_labels() {
    let table = Fixed::new().with_mx("xn--mller-kva.test", &[(10, "mx.test")]);
    check(&table, "Müller.test", Ok(&["10 mx.test"])).await;
}

#[tokio::test(start_paused = true)]
async fn the_destination_of_mx_hosts_has_the_terms_of_the_internet() {
    let table = Fixed::new()
        .with_mx("one.test", &[(10, "b.example.net"), (10, "a.example.net")])
        .with_mx("two.test", &[(10, "a.example.net"), (10, "b.example.net")])
        .with_mx("three.test", &[(10, "a.example.net"), (20, "b.example.net")]);
    let destinations = new(&table, None, Vec::new());
    let one = destinations.find("one.test").await.expect("found");
    assert_eq!(
        (one.port, one.tls, one.allow_private),
        (25, TlsPolicy::Opportunistic, false)
    );
    assert_eq!(one.auth, None);
    let two = destinations.find("two.test").await.expect("found");
    assert_eq!(one, two, "domains with the same hosts have one site");
    let three = destinations.find("three.test").await.expect("found");
    assert_ne!(one.site, three.site);
    assert_eq!((three.provider.as_str(), three.limits.connections), ("google", 5));
}

#[tokio::test(start_paused = true)]
async fn routes_come_before_records_and_ask_nobody() {
    let table = Fixed::new()
        .with_mx("a.test", &[(10, "mx.example.net")])
        .otherwise_failing();
    let destinations = new(&table, None, vec![route("*.test", "127.0.0.1")]);
    let cached = destinations
        .cached("A.Test.")
        .expect("routes need no lookup")
        .expect("found");
    let found = destinations.find("a.test").await.expect("found");
    assert_eq!(cached, found);
    assert_eq!(
        (found.provider.as_str(), found.port, found.allow_private),
        ("route:sink", 2525, true)
    );
    let addresses = destinations.addresses(&found.hosts[0], 1).await;
    assert_eq!(addresses, Ok(vec![IpAddr::from([127, 0, 0, 1])]));
    assert_eq!((table.mx_queries("a.test"), table.address_queries("127.0.0.1")), (0, 0));
    assert_eq!(destinations.find("example.com").await, Err(DnsFailure::NoAnswer));
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_calls_are_one_query() {
    let table = Fixed::new()
        .with_mx("a.test", &[(10, "mx.test")])
        .with_addresses("mx.test", &["192.0.2.1"])
        .delayed(Duration::from_millis(500));
    let destinations = Arc::new(new(&table, None, Vec::new()));
    assert_eq!(destinations.cached("a.test"), None);
    // Tasks, as in life: many futures in one task would share its cooperation budget.
    let mut calls = tokio::task::JoinSet::new();
    for seed in 0..100_000 {
        let destinations = Arc::clone(&destinations);
        calls.spawn(async move {
            let found = destinations.find("a.test").await?;
            destinations.addresses(&found.hosts[0], seed).await
        });
    }
    let found = calls.join_all().await;
    assert_eq!(found.len(), 100_000);
    assert!(found.iter().all(Result::is_ok));
    assert_eq!((table.mx_queries("a.test"), table.address_queries("mx.test")), (1, 1));
    assert!(matches!(destinations.cached("a.test"), Some(Ok(_))));
}

#[tokio::test]
async fn calls_from_many_threads_are_one_query_for_each_domain() {
    const DOMAINS: usize = 2000;
    let table = Fixed::new().otherwise_failing();
    let destinations = Arc::new(new(&table, None, Vec::new()));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let destinations = Arc::clone(&destinations);
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
                runtime.expect("a runtime").block_on(async {
                    for n in 0..DOMAINS {
                        let found = destinations.find(&format!("{n}.test")).await;
                        assert_eq!(found, Err(DnsFailure::NoAnswer));
                    }
                });
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no panic");
    }
    assert!((0..DOMAINS).all(|n| table.mx_queries(&format!("{n}.test")) == 1));
}

#[tokio::test(start_paused = true)]
async fn answers_are_asked_again_when_their_time_is_over() {
    for (ttl, holds) in [(0, 60), (600, 600), (604_800, 3600)] {
        let table = Fixed::new();
        table.set_mx("a.test", vec![mx_found(&[(10, "mx.test")], Duration::from_secs(ttl))]);
        let destinations = new(&table, None, Vec::new());
        destinations.find("a.test").await.expect("found");
        pass(Duration::from_secs(holds) - Duration::from_millis(1)).await;
        destinations.find("a.test").await.expect("found");
        assert_eq!(table.mx_queries("a.test"), 1, "{ttl}");
        pass(Duration::from_millis(1)).await;
        assert_eq!(destinations.cached("a.test"), None);
        destinations.find("a.test").await.expect("found");
        assert_eq!(table.mx_queries("a.test"), 2, "{ttl}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_implicit_destination_holds_no_longer_than_the_absence_of_records() {
    let table = Fixed::new();
    table.set_mx(
        "a.test",
        vec![
            Answer::Empty(Duration::from_secs(86_400)),
            mx_found(&[(10, "mx.test")], FIXED_TTL),
        ],
    );
    let destinations = new(&table, None, Vec::new());
    assert_eq!(hosts_of(&destinations, "a.test").await, Ok(vec!["0 a.test".to_owned()]));
    pass(5 * MINUTE).await;
    assert_eq!(
        hosts_of(&destinations, "a.test").await,
        Ok(vec!["10 mx.test".to_owned()])
    );
}

#[tokio::test(start_paused = true)]
async fn old_answers_are_served_for_a_day_while_nobody_answers() {
    let table = Fixed::new();
    table.set_mx("a.test", vec![mx_found(&[(10, "mx.test")], FIXED_TTL), Answer::Failed]);
    let destinations = new(&table, None, Vec::new());
    for _ in 0..24 {
        assert!(destinations.find("a.test").await.is_ok());
        pass(60 * MINUTE).await;
    }
    pass(5 * MINUTE).await;
    assert_eq!(destinations.find("a.test").await, Err(DnsFailure::NoAnswer));
    table.set_mx("a.test", vec![mx_found(&[(10, "new.test")], FIXED_TTL)]);
    pass(MINUTE).await;
    assert_eq!(
        hosts_of(&destinations, "a.test").await,
        Ok(vec!["10 new.test".to_owned()])
    );
}

#[tokio::test(start_paused = true)]
async fn an_old_answer_is_served_when_the_new_one_takes_long() {
    let table = Fixed::new()
        .with_mx("a.test", &[(10, "mx.test")])
        .with_mx("b.test", &[(10, "mx.test")]);
    let destinations = new(&table, None, Vec::new());
    destinations.find("a.test").await.expect("found");
    pass(6 * MINUTE).await;
    table.set_delay(Duration::from_secs(10));
    let clock = Clock::starting_at(Timestamp(0));
    assert!(destinations.find("a.test").await.is_ok());
    assert!(clock.now() < Timestamp(2_000), "it waited until {}", clock.now());
    // Who has nothing to fall back on waits.
    assert!(destinations.find("b.test").await.is_ok());
    assert!(clock.now() >= Timestamp(10_000));
    assert_eq!(table.mx_queries("a.test"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_hangs_is_given_up() {
    let table = Fixed::new().with_mx("a.test", &[(10, "mx.test")]).delayed(60 * MINUTE);
    let destinations = new(&table, None, Vec::new());
    assert_eq!(destinations.find("a.test").await, Err(DnsFailure::NoAnswer));
    assert!(matches!(destinations.cached("a.test"), Some(Err(DnsFailure::NoAnswer))));
}

#[tokio::test(start_paused = true)]
async fn a_dead_domain_is_asked_about_once_a_minute_at_most_and_not_together_with_others() {
    let table = Fixed::new().otherwise_failing();
    let destinations = new(&table, None, Vec::new());
    for _ in 0..3600 {
        assert_eq!(destinations.find("dead.test").await, Err(DnsFailure::NoAnswer));
        pass(Duration::from_secs(1)).await;
    }
    let queries = table.mx_queries("dead.test");
    assert!((60..=120).contains(&queries), "{queries} queries in an hour");
    let domains: Vec<String> = (0..200).map(|n| format!("{n}.test")).collect();
    join_all(domains.iter().map(|domain| destinations.find(domain))).await;
    pass(Duration::from_secs(45)).await;
    let due = domains
        .iter()
        .filter(|domain| destinations.cached(domain).is_none())
        .count();
    assert!((50..=150).contains(&due), "{due} of 200 are due half-way");
}

#[tokio::test(start_paused = true)]
async fn nxdomain_from_one_resolver_is_believed_ten_minutes_later() {
    let table = Fixed::new();
    let destinations = new(&table, None, Vec::new());
    for minute in 0..10 {
        let found = destinations.find("typo.test").await;
        assert_eq!(found, Err(DnsFailure::NoDomainUnconfirmed), "minute {minute}");
        pass(MINUTE).await;
    }
    assert_eq!(destinations.find("typo.test").await, Err(DnsFailure::NoDomain));
    table.set_mx("typo.test", vec![mx_found(&[(10, "mx.test")], FIXED_TTL)]);
    pass(5 * MINUTE).await;
    assert!(destinations.find("typo.test").await.is_ok(), "a domain may be born");
}

#[tokio::test(start_paused = true)]
async fn nxdomain_is_put_to_a_second_resolver_and_nothing_else_is() {
    let first = Fixed::new()
        .with_mx("good.test", &[(10, "mx.test")])
        .failing("broken.test");
    let second = Fixed::new()
        .with_mx("false-alarm.test", &[(10, "mx.test")])
        .with_addresses("implicit.test", &["192.0.2.1"])
        .failing("silent.test");
    let destinations = new(&first, Some(&second), Vec::new());
    for (domain, expected, asked) in [
        ("good.test", Ok(vec!["10 mx.test".to_owned()]), 0),
        ("broken.test", Err(DnsFailure::NoAnswer), 0),
        ("typo.test", Err(DnsFailure::NoDomain), 1),
        ("false-alarm.test", Ok(vec!["10 mx.test".to_owned()]), 1),
        ("implicit.test", Ok(vec!["0 implicit.test".to_owned()]), 1),
        ("silent.test", Err(DnsFailure::NoDomainUnconfirmed), 1),
    ] {
        assert_eq!(hosts_of(&destinations, domain).await, expected, "{domain}");
        assert_eq!(second.mx_queries(domain), asked, "{domain}");
    }
}

#[tokio::test(start_paused = true)]
async fn addresses_are_shuffled_by_session_and_families_take_turns() {
    let table = Fixed::new().with_addresses("mx.test", &["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"]);
    let destinations = new(&table, None, Vec::new());
    let mut first = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let addresses = destinations.addresses(&host("mx.test"), seed).await.expect("found");
        assert_eq!(addresses.len(), 4);
        assert_ne!(addresses[0].is_ipv4(), addresses[1].is_ipv4());
        first.insert(addresses[0]);
        assert_eq!(destinations.addresses(&host("mx.test"), seed).await, Ok(addresses));
    }
    assert_eq!((first.len(), table.address_queries("mx.test")), (4, 1));
}

#[tokio::test(start_paused = true)]
async fn of_a_thousand_addresses_twenty_are_kept_from_both_families() {
    let table = Fixed::new();
    let many = (0..500u16).map(|n| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n]));
    let list = many.chain((0..250).map(|n| IpAddr::from([192, 0, 2, n]))).collect();
    table.set_addresses("mx.test", vec![Answer::Found(list, FIXED_TTL)]);
    let destinations = new(&table, None, Vec::new());
    let kept = destinations.addresses(&host("mx.test"), 1).await.expect("found");
    assert_eq!(kept.len(), ADDRESSES_MAX);
    assert_eq!(
        kept.iter().filter(|address| address.is_ipv4()).count(),
        ADDRESSES_MAX / 2
    );
}

#[tokio::test(start_paused = true)]
async fn hosts_without_address_fail_the_domain_only_when_all_are() {
    let table = Fixed::new()
        .with_mx("dead.test", &[(10, "gone.test"), (20, "empty.test")])
        .with_mx("shaky.test", &[(10, "gone.test"), (20, "broken.test")])
        .with_mx("half.test", &[(10, "gone.test"), (20, "alive.test")])
        .with_mx("empty.test", &[(10, "mx.test")])
        .with_mx("circle.test", &[(10, "loop.test")])
        .with_addresses("alive.test", &["192.0.2.1"])
        .failing("broken.test");
    table.set_addresses("loop.test", vec![Answer::Loop]);
    let destinations = new(&table, None, Vec::new());
    for (domain, expected) in [
        ("dead.test", Err(DnsFailure::NoAddress)),
        ("shaky.test", Err(DnsFailure::NoAnswer)),
        ("half.test", Ok(1)),
        ("circle.test", Err(DnsFailure::CnameLoop)),
    ] {
        let destination = destinations.find(domain).await.expect("found");
        let targets = destinations.targets(&destination, 1, 5).await;
        assert_eq!(targets.map(|list| list.len()), expected, "{domain}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_has_five_tries_and_spreads_them_over_hosts() {
    let three = |last: u8| {
        [
            format!("192.0.2.{last}"),
            format!("192.0.2.{}", last + 1),
            format!("2001:db8::{last}"),
        ]
    };
    let mut table = Fixed::new()
        .with_mx(
            "a.test",
            &[
                (10, "one.test"),
                (20, "two.test"),
                (30, "three.test"),
                (40, "four.test"),
            ],
        )
        .with_mx("b.test", &[(10, "one.test")]);
    for (name, last) in [("one.test", 1), ("two.test", 3), ("three.test", 5), ("four.test", 7)] {
        let list = three(last);
        let list: Vec<&str> = list.iter().map(String::as_str).collect();
        table = table.with_addresses(name, &list);
    }
    let destinations = new(&table, None, Vec::new());
    let destination = destinations.find("a.test").await.expect("found");
    let targets = destinations.targets(&destination, 9, 5).await.expect("found");
    let hosts: Vec<&str> = targets.iter().map(|target| target.host.as_str()).collect();
    assert_eq!(hosts, ["one.test", "one.test", "two.test", "two.test", "three.test"]);
    assert_ne!(targets[0].address.is_ipv4(), targets[1].address.is_ipv4());
    assert_eq!(
        table.address_queries("four.test"),
        0,
        "no more is looked up than is dialled"
    );
    let alone = destinations.find("b.test").await.expect("found");
    assert_eq!(destinations.targets(&alone, 9, 5).await.expect("found").len(), 3);
}

#[tokio::test(start_paused = true)]
async fn each_session_orders_hosts_anew_from_one_cached_answer() {
    let table = Fixed::new().with_mx("a.test", &[(10, "a.test"), (10, "b.test"), (20, "z.test")]);
    let destinations = new(&table, None, Vec::new());
    let destination = destinations.find("a.test").await.expect("found");
    let mut first = [0u32; 2];
    for seed in 0..10_000 {
        let hosts = destinations.ordered_hosts(&destination, seed);
        assert_eq!(hosts[2].name, "z.test");
        first[usize::from(hosts[0].name == "b.test")] += 1;
    }
    // Chi-square, 1 degree of freedom: 10.8 is passed by chance once in a thousand.
    let chi: f64 = first
        .iter()
        .map(|count| (f64::from(*count) - 5000.0).powi(2) / 5000.0)
        .sum();
    assert!(chi < 10.8, "{first:?}");
    assert_eq!(table.mx_queries("a.test"), 1);
}

/// Google's are somebody else's now, with more connections.
#[derive(Debug)]
struct Another;

impl Providers for Another {
    fn provider_of(&self, _: &[&str]) -> ProviderId {
        ProviderId::from("another")
    }

    fn limits(&self, _: &ProviderId) -> LaneLimits {
        LaneLimits {
            connections: 9,
            ..LaneLimits::default()
        }
    }
}

#[tokio::test(start_paused = true)]
async fn other_providers_and_routes_count_at_once_and_no_name_server_is_asked_anew() {
    let table = Fixed::new().with_mx("example.com", &[(10, "mx.example.com")]);
    let route = |host: &str| Route {
        name: "lab".to_owned(),
        patterns: vec!["*.test".to_owned()],
        host: host.to_owned(),
        port: 25,
        tls: TlsPolicy::Off,
        auth: None,
        limits: LaneLimits::default(),
        provider: None,
    };
    let destinations = new(&table, None, vec![route("192.0.2.1")]);
    let found = destinations.find("example.com").await.expect("it has a host");
    assert_eq!((found.provider.as_str(), found.limits.connections), ("google", 5));
    destinations.replace(&[route("192.0.2.2")], Arc::new(Another));
    let known = destinations
        .cached("example.com")
        .expect("it is known")
        .expect("it has a host");
    assert_eq!((known.provider.as_str(), known.limits.connections), ("another", 9));
    let routed = destinations.cached("a.test").expect("a route").expect("a host");
    assert_eq!(routed.hosts[0].name, "192.0.2.2");
    assert_eq!(destinations.renewed(&found).limits.connections, 9);
    assert_eq!(table.mx_queries("example.com"), 1, "no name server was asked anew");
    destinations.replace(&[], Arc::new(Another));
    assert_eq!(
        destinations.renewed(&routed),
        *routed,
        "its route is gone: it stays as it was"
    );
}
