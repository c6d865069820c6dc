//! `posthaste doctor`: against a name server on loopback, with and without an engine.

use std::collections::BTreeMap;
use std::process::Output;

use hickory_server::proto::rr::rdata::{A, MX, PTR, TXT};
use hickory_server::proto::rr::{Name, RData};
use serde_json::Value;

use super::bed::config;
use super::process::Home;
use crate::dns::{name, serve_records};

/// Results by name, and the exit code.
fn results(output: &Output) -> (BTreeMap<String, (String, String)>, Option<i32>) {
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let checks = report["checks"].as_array().expect("checks").iter();
    let results: BTreeMap<_, _> = checks
        .map(|check| (text(&check["name"]), (text(&check["result"]), text(&check["remedy"]))))
        .collect();
    let healthy = !results.values().any(|(result, _)| result == "bad");
    assert_eq!(report["healthy"], healthy);
    (results, output.status.code())
}

#[track_caller]
fn check(results: &BTreeMap<String, (String, String)>, name: &str, expect: &str) {
    let (result, remedy) = results
        .get(name)
        .unwrap_or_else(|| panic!("{name} is not in {results:#?}"));
    assert_eq!(result, expect, "{name} in {results:#?}");
    assert!(result != "bad" || !remedy.is_empty(), "{name}: it says what to do");
}

fn txt(text: &str) -> RData {
    RData::TXT(TXT::new(vec![text.to_owned()]))
}

fn address(last: u8) -> RData {
    RData::A(A::new(203, 0, 113, last))
}

fn zone(listed: bool) -> Vec<(&'static str, RData)> {
    let mut zone = vec![
        ("acme.test", RData::MX(MX::new(10, name("mx.acme.test")))),
        ("bounce.acme.test", txt("v=spf1 ip4:203.0.113.5 -all")),
        ("_dmarc.acme.test", txt("v=DMARC1; p=none")),
        ("mta.acme.test", address(5)),
        ("5.113.0.203.in-addr.arpa", RData::PTR(PTR(name("mta.acme.test")))),
    ];
    if listed {
        zone.push(("5.113.0.203.zen.list.test", RData::A(A::new(127, 0, 0, 2))));
    }
    zone
}

fn with_names(server: std::net::SocketAddr, sources: &str) -> String {
    format!(
        "{}dns: {{servers: [\"{server}\"]}}\nhealth: {{dnsbl: [zen.list.test]}}\nsources: {sources}\n",
        config(&[]).replace("routes:\n", "")
    )
}

const SOURCE: &str = "[{id: a, ip: 203.0.113.5, ehlo: mta.acme.test}]";

#[actix_web::test]
async fn all_is_well_where_all_is_well_and_nothing_is_made() {
    let (_server, address) = serve_records(&Name::root(), &zone(false)).await;
    let home = Home::with(&with_names(address, "[]"));
    let (results, code) = results(&home.run(&["doctor", "--json"]).await);
    for good in [
        "file",
        "disk",
        "api.listen",
        "clock",
        "name servers",
        "acme.test SPF",
        "acme.test DMARC",
    ] {
        check(&results, good, "good");
    }
    for skipped in ["running", "folder", "secret key", "store", "acme.test DKIM"] {
        check(&results, skipped, "skipped");
    }
    assert_eq!(code, Some(0), "{results:#?}");
    assert!(!home.data().exists(), "it changes nothing");
}

#[actix_web::test]
async fn what_is_wrong_is_named_with_what_to_do() {
    let (_server, address) = serve_records(&Name::root(), &zone(true)).await;
    let home = Home::with(&with_names(address, SOURCE));
    let output = home.run(&["doctor", "--json"]).await;
    let (results, code) = results(&output);
    for (name, expect) in [
        ("a ehlo", "good"),
        ("a pointer", "good"),
        ("a bind", "bad"),
        ("a dnsbl", "bad"),
    ] {
        check(&results, name, expect);
    }
    assert_eq!(code, Some(1));
    let shown = home.run(&["doctor"]).await;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(
        shown.contains("✗ a dnsbl: listed at zen.list.test (127.0.0.2)"),
        "{shown}"
    );
    assert!(shown.contains("✓ a ehlo: 203.0.113.5"), "{shown}");
    assert!(shown.lines().any(|line| line.trim_start().starts_with('→')), "{shown}");
}

#[actix_web::test]
async fn beside_an_engine_it_looks_for_the_keys_of_domains() {
    let (_server, address) = serve_records(&Name::root(), &zone(false)).await;
    let mut home = Home::with(&with_names(address, "[]"));
    let process = home.start().await;
    let (results, code) = results(&home.run(&["doctor", "--json"]).await);
    for good in ["running", "folder", "secret key", "store"] {
        check(&results, good, "good");
    }
    let keys: Vec<_> = results
        .iter()
        .filter(|(name, _)| name.starts_with("acme.test DKIM"))
        .collect();
    assert_eq!(keys.len(), 2, "RSA and Ed25519: {results:#?}");
    for (name, (result, remedy)) in keys {
        assert!(
            result == "bad" && remedy.contains("v=DKIM1"),
            "{name}: {result}, {remedy}"
        );
    }
    assert_eq!(code, Some(1), "nobody published the keys");
    assert_eq!(process.terminate().await, Some(0));
}

#[actix_web::test]
async fn a_name_server_that_is_not_there_and_a_bad_config_are_told() {
    let free = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let nobody = free.local_addr().expect("bound");
    drop(free);
    let text = with_names(nobody, "[]").replace("dns: {", "dns: {query_timeout: 100ms, ");
    let (results, code) = results(&Home::with(&text).run(&["doctor", "--json"]).await);
    check(&results, "name servers", "bad");
    check(&results, "acme.test SPF", "warning");
    assert_eq!(code, Some(1));
    let (results, code) = self::results(&Home::with("apis: {}\n").run(&["doctor", "--json"]).await);
    check(&results, "file", "bad");
    assert_eq!((results.len(), code), (1, Some(1)));
}
