//! The config file: the manual says what is, and a mistake is named with its key and its line.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests stop at the first surprise, like tests"
)]

use std::path::Path;
use std::process::{Command, Output};

use posthaste::config::{ConfigError, Difference, MANUAL, Raw, Settings, StoreSettings};
use posthaste::domain::{Lane, ProviderId, SourceId};
use posthaste::store::{GuardSettings, RedisSettings};

fn read(text: &str) -> Result<Settings, ConfigError> {
    Settings::from_yaml(text, &|name| (name == "SET").then(|| "secret".to_owned()))
}

/// What is used, as text: every setting of every part is in it. Its lines are sorted, since maps have no order.
fn used(text: &str) -> Vec<String> {
    let settings = format!("{:#?}", read(text).unwrap());
    let mut lines: Vec<String> = settings.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn the_manual_is_the_defaults() {
    let manual: Raw = serde_saphyr::from_str(MANUAL).unwrap();
    assert_eq!(manual, Raw::default());
    assert_eq!(used(MANUAL), used(""));
}

/// Each key of the manual is looked up by name: one that nobody reads would be an unknown key, so taking the manual as it is
/// and changing a value must change the settings.
#[test]
fn every_key_of_the_manual_is_used() {
    let before = used(MANUAL);
    let mut idle = Vec::new();
    let mut tried = 0;
    for (number, line) in MANUAL.lines().enumerate() {
        for changed in other_values(line) {
            tried += 1;
            let text: Vec<&str> = MANUAL
                .lines()
                .enumerate()
                .map(|(at, line)| if at == number { &changed } else { line })
                .collect();
            match read(&text.join("\n")) {
                Ok(_) if used(&text.join("\n")) == before => idle.push(changed),
                Ok(_) => {}
                Err(error) => panic!("{changed}: {error}"),
            }
        }
    }
    assert!(tried > 50, "only {tried} values were changed");
    assert!(idle.is_empty(), "nothing changes with:\n{}", idle.join("\n"));
}

/// A reload takes over each key or names it as one that needs a restart: none is forgotten.
#[test]
fn every_key_of_the_manual_counts_after_a_reload_or_needs_a_restart() {
    let manual: Raw = serde_saphyr::from_str(MANUAL).unwrap();
    let same = Difference::between(&manual, &Raw::default());
    assert_eq!(same, Difference::default());
    let mut forgotten = Vec::new();
    for (number, line) in MANUAL.lines().enumerate() {
        for changed in other_values(line) {
            let text: Vec<&str> = MANUAL
                .lines()
                .enumerate()
                .map(|(at, line)| if at == number { &changed } else { line })
                .collect();
            let other: Raw = serde_saphyr::from_str(&text.join("\n")).unwrap();
            if Difference::between(&manual, &other) == same {
                forgotten.push(changed);
            }
        }
    }
    assert!(forgotten.is_empty(), "nobody hears of:\n{}", forgotten.join("\n"));
    for (text, at_once) in [
        ("rules: ./x", true),
        ("routes: [{name: a, domains: [\"*\"], host: h, port: 25}]", true),
        ("providers: {google: {connections: 3}}", true),
        ("pins: [{source: a, provider: google, connections: 5}]", true),
        ("tenants: {policy: none}", true),
        (
            "delivery: {breaker: {failures: 9, first_pause: 10s, longest_pause: 30m}}",
            true,
        ),
        ("delivery: {slow: {first_pause: 9s, longest_pause: 15m}}", true),
        ("delivery: {stop_longest: 9h}", true),
        ("sources: [{id: a}]", false),
        ("domains: [{name: a.test}]", false),
        ("pools: {critical: x, transactional: x, broadcast: x}", false),
    ] {
        let other: Raw = serde_saphyr::from_str(text).unwrap();
        let found = Difference::between(&manual, &other);
        let (taken, waits) = (found.at_once.len(), found.with_restart.len());
        assert_eq!(
            (taken, waits),
            if at_once { (1, 0) } else { (0, 1) },
            "{text}: {found:?}"
        );
    }
}

/// The line with one of its values changed, for each value that is a number, a time or a word.
fn other_values(line: &str) -> Vec<String> {
    let setting = line.split(" #").next().unwrap_or_default();
    if line.trim_start().starts_with('#') {
        return Vec::new();
    }
    let Some((_, values)) = setting.split_once(": ") else {
        return Vec::new();
    };
    let start = setting.len() - values.len();
    let mut changed = Vec::new();
    let mut at = start;
    for piece in values.split_inclusive([' ', ',', '{', '}', '[', ']', '"']) {
        let value = piece.trim_end_matches([' ', ',', '{', '}', '[', ']', '"']);
        if let Some(other) = other(value) {
            changed.push(format!("{}{other}{}", &setting[..at], &setting[at + value.len()..]));
        }
        at += piece.len();
    }
    changed
}

/// Another value of the same kind.
fn other(value: &str) -> Option<String> {
    let words = [
        ("text", "json"),
        ("info", "debug"),
        ("opportunistic", "required"),
        ("resend", "hold"),
        ("hold", "resend"),
        ("./data", "./elsewhere"),
        ("127.0.0.1:8080", "127.0.0.1:8081"),
        ("127.0.0.1:9464", "127.0.0.1:9465"),
    ];
    if let Some((_, other)) = words.iter().find(|(word, _)| *word == value) {
        return Some((*other).to_owned());
    }
    let digits = value.trim_end_matches(|c: char| c.is_ascii_lowercase());
    let number: u32 = digits.parse().ok()?;
    Some(format!("{}{}", number + 1, &value[digits.len()..]))
}

/// What the manual shows behind `#` is true as well: with the comments taken away it is a good config, and each key counts.
#[test]
fn the_keys_for_redis_that_the_manual_shows_are_used() {
    let (_, section) = MANUAL.split_once("# For Redis only:\n").unwrap();
    let shown: Vec<&str> = section
        .lines()
        .map_while(|line| line.trim().strip_prefix('#'))
        .collect();
    assert_eq!(shown.len(), 11, "{shown:?}");
    let config = |url: &str, without: &str| {
        let keys = shown.iter().filter(|key| !key.starts_with(without));
        let keys: String = keys.map(|key| format!("  {key}\n")).collect();
        format!("store:\n  url: {url}\n{keys}").replace("REDIS_PASSWORD", "SET")
    };
    let StoreSettings::Redis { server, guard, intake } = read(&config("rediss://h", "none")).unwrap().store else {
        panic!("not Redis");
    };
    let defaults = RedisSettings::at("rediss://h");
    assert_eq!(
        (server.username.as_deref(), server.password.as_deref()),
        (Some("posthaste"), Some("secret"))
    );
    assert_eq!(server.ca_file, Some("/etc/ssl/redis-ca.pem".into()));
    assert_eq!((server.database, server.partitions), (Some(0), Some(1)));
    // These are the defaults.
    assert_eq!((server.cluster, &*server.prefix), (defaults.cluster, &*defaults.prefix));
    assert_eq!(server.response_timeout, defaults.response_timeout);
    assert_eq!(server.connect_timeout, defaults.connect_timeout);
    assert_eq!(guard, GuardSettings::default());
    assert!(intake);
    for key in &shown {
        let name = key.split(':').next().unwrap();
        wrong(
            &format!("store:\n  {key}"),
            None,
            &[&format!("store.{name}"), "for Redis only"],
        );
    }
    let changed = "store: {url: redis://h, prefix: x, response_timeout: 9s, connect_timeout: 8s, trust_server_settings: true, \
         intake: false}";
    let StoreSettings::Redis { server, guard, intake } = read(changed).unwrap().store else {
        panic!("not Redis");
    };
    assert_eq!((&*server.prefix, server.response_timeout.as_secs()), ("x", 9));
    assert_eq!(server.connect_timeout.as_secs(), 8);
    assert!(guard.trust_server_settings);
    assert!(!intake);
}

#[test]
fn a_store_is_a_word_a_url_or_a_map() {
    let urls = |text: &str| match read(text).unwrap().store {
        StoreSettings::Embedded(_) => Vec::new(),
        StoreSettings::Redis { server, .. } => server.urls,
    };
    assert!(urls("store: embedded").is_empty());
    assert!(urls("store: {cache_mib: 1}").is_empty());
    assert_eq!(urls("store: redis://127.0.0.1"), ["redis://127.0.0.1"]);
    assert_eq!(urls("store: redis+unix:///run/r.sock"), ["redis+unix:///run/r.sock"]);
    assert_eq!(urls("store: {url: valkey://h}"), ["valkey://h"]);
    assert_eq!(urls("store: {url: [redis://a, redis://b]}"), ["redis://a", "redis://b"]);
}

#[test]
fn a_store_that_cannot_be_is_named_without_its_password() {
    wrong(
        "data: ./x\nstore: sqlite",
        Some(2),
        &["\"sqlite\" is neither \"embedded\" nor a URL"],
    );
    wrong("store: 5", Some(1), &["redis://127.0.0.1"]);
    wrong(
        "store:\n  url: https://:hunter2@h",
        Some(2),
        &["\"https\" is none of redis://"],
    );
    wrong("store:\n  url: []", Some(2), &["empty"]);
    wrong(
        "store:\n  url: embedded\n  fsync: no",
        Some(3),
        &["unknown field `fsync`"],
    );
    wrong(
        "store:\n  url: redis://h\n  partitions: 0",
        Some(3),
        &["0 must be between"],
    );
    wrong(
        "store: {url: redis://h, batch: 5}",
        None,
        &["store.batch", "embedded store only"],
    );
    wrong(
        "store: {url: redis://h, cache_mib: 5}",
        None,
        &["store.cache_mib", "embedded store only"],
    );
    wrong(
        "store: {url: redis://h, ca_file: a.pem}",
        None,
        &["store.ca_file", "rediss://"],
    );
    wrong(
        "store: {url: redis://h, password_env: UNSET}",
        None,
        &["store.password_env", "has no UNSET"],
    );
    wrong("store: {url: redis://h, partitions: 300}", None, &["store", "1 to 256"]);
    wrong("store: {url: redis://h, prefix: \"\"}", None, &["store", "prefix"]);
    wrong(
        "store: {url: redis://h, cluster: true, database: 1}",
        None,
        &["store", "database 0 only"],
    );
    wrong(
        "store: {url: [redis://a, rediss://b]}",
        None,
        &["store.url", "either all or none"],
    );
    let shown = read("store: redis://:hunter2@h:port").unwrap_err().to_string();
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn an_unknown_key_is_named_with_its_line_at_each_depth() {
    wrong("data: ./x\nqueue: fast", Some(2), &["unknown field `queue`"]);
    wrong(
        "api:\n  listen: 127.0.0.1:0\n  port: 80",
        Some(3),
        &["unknown field `port`", "listen"],
    );
    wrong(
        "delivery:\n  timeouts: {banner: 1s, ehlo: 1s}",
        Some(2),
        &["unknown field `ehlo`"],
    );
    wrong(
        "sources:\n  - id: a\n    addr: 127.0.0.1",
        Some(3),
        &["unknown field `addr`"],
    );
    wrong(
        "routes:\n  - name: a\n    domains: [\"*\"]\n    port: 25",
        None,
        &["missing field `host`"],
    );
    wrong("data: ./a\ndata: ./b", Some(2), &["data"]);
    wrong("data: [", None, &["line"]);
}

#[test]
fn a_wrong_type_is_named_with_its_line() {
    wrong("api:\n  workers: many", Some(2), &["many"]);
    wrong("api:\n  body_mib: -1", Some(2), &["-1"]);
    wrong("api:\n  listen: localhost", Some(2), &["localhost"]);
    wrong("domains: example.com", Some(1), &[]);
    wrong("delivery:\n  allow_networks: [everything]", Some(2), &["everything"]);
}

#[test]
fn a_wrong_word_number_or_time_is_named_with_its_line_and_what_would_be_right() {
    wrong("log:\n  format: xml", Some(2), &["\"xml\" is none of text, json"]);
    wrong(
        "delivery:\n  tls: maybe",
        Some(2),
        &["\"maybe\" is none of off, opportunistic"],
    );
    wrong(
        "sources:\n  - {id: a, classes: [urgent]}",
        Some(2),
        &["\"urgent\" is none of critical"],
    );
    wrong(
        "sources:\n  - {id: a, born: yesterday}",
        Some(2),
        &["\"yesterday\" is not a date such as"],
    );
    wrong("sources:\n  - {id: a, born: 1969-12-30}", Some(2), &["is not a date"]);
    wrong("sources:\n  - {id: a, warmup: soon}", Some(2), &["soon"]);
    wrong("api:\n  batch: 0", Some(2), &["0 must be between 1 and"]);
    wrong("engine:\n  lease: 60", Some(2), &["\"60\" is not a time such as"]);
    wrong("engine:\n  lease: -5s", Some(2), &["\"-5s\" is not a time such as"]);
    wrong("store:\n  retention: 100000h", Some(2), &["longer than a year"]);
    wrong(
        "metrics:\n  listen: here",
        Some(2),
        &["\"here\" is not an address such as"],
    );
    wrong(
        "domains:\n  - name: \"exa mple\"",
        Some(2),
        &["\"exa mple\" is not a domain name"],
    );
    wrong(
        "providers:\n  google: {messages_per_second: -1}",
        Some(2),
        &["-1 must be 0 or more"],
    );
}

/// These are each right where they stand, so that the path of the key is what names them.
#[test]
fn keys_that_do_not_go_together_are_named() {
    wrong(
        "sources:\n  - id: a\n  - id: a",
        None,
        &["sources[1].id", "\"a\" is also the id of sources[0]"],
    );
    wrong(
        "sources:\n  - {id: a, classes: [critical]}",
        None,
        &["sources", "no source carries class"],
    );
    wrong(
        "sources:\n  - {id: a, warmup: auto}",
        None,
        &["sources[0].warmup", "needs born"],
    );
    wrong("sources:\n  - id: a b", None, &["sources[0].id", "must be a word"]);
    wrong(
        "providers:\n  googel: {connections: 1}",
        None,
        &["providers.googel", "no such provider"],
    );
    let route = |rest: &str| format!("routes:\n  - {{name: a, domains: [\"*\"], host: h.example, port: 587, {rest}}}");
    wrong(&route("user: u"), None, &["routes[0].user", "go together"]);
    wrong(
        &route("user: u, password_env: UNSET"),
        None,
        &["routes[0].password_env", "has no UNSET"],
    );
    wrong(
        &route("user: u, password_env: SET, tls: off"),
        None,
        &["routes[0].tls", "without encryption"],
    );
    wrong(
        "routes:\n  - {name: a, domains: [], host: h, port: 1}",
        None,
        &["routes[0].domains"],
    );
    wrong(
        "routes:\n  - {name: a, domains: [\"*\"], host: h, port: 0}",
        None,
        &["routes[0].host"],
    );
}

#[test]
fn pins_that_cannot_be_are_named() {
    wrong(
        "providers:\n  google: {connections: 0}",
        Some(2),
        &["0 must be between 1 and"],
    );
    wrong(
        "providers:\n  google: {connections: {exact: 2, max: 3}}",
        Some(2),
        &["exact goes without min and max"],
    );
    wrong(
        "providers:\n  google: {connections: {mix: 2}}",
        Some(2),
        &["unknown field `mix`"],
    );
    wrong(
        "providers: {google: {connections: {min: 5, max: 3}}}",
        None,
        &["providers.google.connections", "min is 5, and max is 3"],
    );
    wrong(
        "providers: {google: {messages_per_second: {min: 5, max: 3}}}",
        None,
        &["providers.google.messages_per_second", "min is 5"],
    );
    let pin = |rest: &str| format!("sources: [{{id: a}}]\npins: [{{{rest}}}]");
    wrong(
        &pin("source: b, provider: google"),
        None,
        &["pins[0].source", "no source"],
    );
    wrong(
        &pin("source: a, provider: googel"),
        None,
        &["pins[0].provider", "no such provider"],
    );
    wrong(
        &pin("source: a, provider: google, connections: {min: 900}"),
        None,
        &["pins[0].connections", "min is 900"],
    );
    wrong(
        &pin("source: a, provider: google, connections: 5}, {source: a, provider: google"),
        None,
        &["pins[1]", "same source and provider"],
    );
}

#[test]
fn pins_on_trial_limit_nothing_and_stand_beside_real_ones() {
    let text = "sources: [{id: a}]
providers: {google: {connections: 7, messages_per_second: 3, shadow: true}}
pins:
  - {source: a, provider: yahoo, connections: 4}
  - {source: a, provider: yahoo, connections: 2, shadow: true}
";
    let (settings, plain) = (read(text).unwrap(), read("").unwrap());
    let lane = |provider: &str| Lane {
        source: SourceId::from("a"),
        provider: ProviderId::from(provider),
    };
    let (google, yahoo) = (lane("google"), lane("yahoo"));
    let limits = |lane: &Lane| plain.providers.limits(&lane.provider);
    assert_eq!(settings.providers.limits(&google.provider), limits(&google));
    assert_eq!(
        settings.pins.range(&google, limits(&google)),
        plain.pins.range(&google, limits(&google))
    );
    let shadow = settings.pins.shadow(&google, limits(&google)).unwrap();
    assert_eq!(
        (shadow.connections.1, shadow.messages_per_second.1),
        (7, Some(3.0)),
        "{shadow:?}"
    );
    assert_eq!(settings.pins.range(&yahoo, limits(&yahoo)).connections.1, 4);
    let shadow = settings.pins.shadow(&yahoo, limits(&yahoo)).unwrap();
    assert_eq!(shadow.connections.1, 2);
    assert_eq!(settings.odd_pins(), Vec::<String>::new());
    let odd =
        read("providers: {google: {connections: 3}}\npins: [{source: default, provider: google, connections: 9}]");
    assert!(odd.unwrap().odd_pins()[0].contains("the pin wins"));
    let wrong = read("providers: {google: {connections: {min: 900}, shadow: true}}").unwrap_err();
    assert!(wrong.to_string().contains("providers.google.connections"), "{wrong}");
}

#[test]
fn pins_reach_the_range_of_a_lane() {
    let range = |text: &str| {
        let settings = read(text).unwrap();
        let lane = Lane {
            source: SourceId::from("a"),
            provider: ProviderId::from("google"),
        };
        let limits = settings.providers.limits(&lane.provider);
        settings.pins.range(&lane, limits)
    };
    let sources = "sources: [{id: a}, {id: b}]\n";
    let check = |pins: &str, connections: (u32, u32), rate: (Option<f64>, Option<f64>)| {
        let range = range(&format!("{sources}{pins}"));
        assert_eq!(
            (range.connections, range.messages_per_second),
            (connections, rate),
            "{pins}"
        );
    };
    check("providers: {google: {connections: 3}}", (1, 3), (None, None));
    check(
        "providers: {google: {connections: {min: 2, max: 3}, messages_per_second: {exact: 1.5}}}",
        (2, 3),
        (Some(1.5), Some(1.5)),
    );
    check(
        "providers: {google: {connections: 3}}\npins: [{source: a, provider: google, connections: {exact: 7}}]",
        (7, 7),
        (None, None),
    );
    check(
        "providers: {google: {connections: 3}}\npins: [{source: b, provider: google, connections: {exact: 7}}]",
        (1, 3),
        (None, None),
    );
    check(
        "pins: [{source: a, provider: google, connections: 4, messages_per_second: {min: 1, max: 9}}]",
        (1, 4),
        (Some(1.0), Some(9.0)),
    );
}

/// Reads a mistake: the error must say these words, and the line when the mistake stands on one.
fn wrong(text: &str, line: Option<usize>, expect: &[&str]) {
    let error = match read(text) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("{text} was taken"),
    };
    for expect in expect {
        assert!(error.contains(expect), "{text}\nsays {error}\nand not {expect}");
    }
    if let Some(line) = line {
        assert!(
            error.contains(&format!("line {line} ")),
            "{text}\nsays {error}\nand not line {line}"
        );
    }
}

#[test]
fn what_is_right_is_taken() {
    let check = |text: &str| assert!(read(text).is_ok(), "{text}: {:?}", read(text).err());
    check("# nothing but a comment\n\n");
    check("metrics: {listen: \"\"}");
    check("sources: [{id: a, born: 2026-11-23}, {id: b, born: 2020-01-31, warmup: off}, {id: c, warmup: done}]");
    check("sources: [{id: a, ip: 127.0.0.2}, {id: b, ip: \"::1\", classes: [broadcast]}]");
    check("routes: [{name: a, domains: [\"*.test\"], host: \"127.0.0.1\", port: 2525, tls: off}]");
    check(
        "routes: [{name: a, domains: [\"*\"], host: h.example, port: 587, user: u, password_env: SET, tls: verified}]",
    );
    check("providers: {google: {connections: 3, messages_per_second: 0}}");
}

#[test]
fn check_config_says_so_by_its_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let check = |text: Option<&str>, code: i32, expect: &str| {
        let file = folder.path().join("c.yaml");
        let _ = std::fs::remove_file(&file);
        if let Some(text) = text {
            std::fs::write(&file, text).unwrap();
        }
        let output = posthaste(folder.path(), &["check-config", "--config", "c.yaml"]);
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{text:?}: {said}");
        assert!(said.contains(expect), "{text:?}: {said}");
    };
    check(Some(MANUAL), 0, "c.yaml: good");
    check(Some("data: ./x\nnonsense: 1"), 1, "unknown field `nonsense`");
    check(Some("sources: [{id: a}, {id: a}]"), 1, "sources[1].id");
    check(None, 1, "cannot read c.yaml");
    let misuse = posthaste(folder.path(), &["check-config", "--colour"]);
    assert_eq!(misuse.status.code(), Some(2));
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        0,
        "checking a config makes nothing"
    );
}

/// A key that is wrong stops `serve` before it makes or binds anything.
#[test]
fn serve_refuses_a_config_that_check_config_refuses() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("config.yaml"),
        "data: ./made\napi:\n  lisen: 127.0.0.1:0",
    )
    .unwrap();
    let output = posthaste(folder.path(), &["serve"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("unknown field `lisen`") && said.contains("line 3"),
        "{said}"
    );
    assert!(!folder.path().join("made").exists());
}

fn posthaste(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_posthaste"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap()
}
