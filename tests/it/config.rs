//! The config file: the manual says what is, and a mistake is named with its key and its line.

use std::path::Path;
use std::process::{Command, Output};

use posthaste::config::{ConfigError, MANUAL, Raw, Settings};

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

/// A mistake, and what the error must say: the words, and the line when the mistake stands on one.
#[test]
fn a_mistake_is_named_with_its_key_and_its_line() {
    let check = |text: &str, line: Option<usize>, expect: &[&str]| {
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
    };
    // Unknown keys, at each depth.
    check("data: ./x\nqueue: fast", Some(2), &["unknown field `queue`"]);
    check(
        "api:\n  listen: 127.0.0.1:0\n  port: 80",
        Some(3),
        &["unknown field `port`", "listen"],
    );
    check(
        "delivery:\n  timeouts: {banner: 1s, ehlo: 1s}",
        Some(2),
        &["unknown field `ehlo`"],
    );
    check(
        "sources:\n  - id: a\n    addr: 127.0.0.1",
        Some(3),
        &["unknown field `addr`"],
    );
    // Wrong types.
    check("api:\n  workers: many", Some(2), &["many"]);
    check("api:\n  body_mib: -1", Some(2), &["-1"]);
    check("api:\n  listen: localhost", Some(2), &["localhost"]);
    check("domains: example.com", Some(1), &[]);
    check("delivery:\n  allow_networks: [everything]", Some(2), &["everything"]);
    // Wrong words, numbers and times.
    check("log:\n  format: xml", Some(2), &["\"xml\" is none of text, json"]);
    check(
        "delivery:\n  tls: maybe",
        Some(2),
        &["\"maybe\" is none of off, opportunistic"],
    );
    check(
        "sources:\n  - {id: a, classes: [urgent]}",
        Some(2),
        &["\"urgent\" is none of critical"],
    );
    check("api:\n  batch: 0", Some(2), &["0 must be between 1 and"]);
    check("engine:\n  lease: 60", Some(2), &["\"60\" is not a time such as"]);
    check("engine:\n  lease: -5s", Some(2), &["\"-5s\" is not a time such as"]);
    check("store:\n  retention: 100000h", Some(2), &["longer than a year"]);
    check(
        "metrics:\n  listen: here",
        Some(2),
        &["\"here\" is not an address such as"],
    );
    check(
        "domains:\n  - name: \"exa mple\"",
        Some(2),
        &["\"exa mple\" is not a domain name"],
    );
    check(
        "providers:\n  google: {messages_per_second: -1}",
        Some(2),
        &["-1 must be 0 or more"],
    );
    // Missing keys, a key twice, no YAML at all.
    check(
        "routes:\n  - name: a\n    domains: [\"*\"]\n    port: 25",
        None,
        &["missing field `host`"],
    );
    check("data: ./a\ndata: ./b", Some(2), &["data"]);
    check("data: [", None, &["line"]);
    // Keys that do not go together: the path of the key is the name.
    check(
        "sources:\n  - id: a\n  - id: a",
        None,
        &["sources[1].id", "\"a\" is also the id of sources[0]"],
    );
    check(
        "sources:\n  - {id: a, classes: [critical]}",
        None,
        &["sources", "no source carries class"],
    );
    check("sources:\n  - id: a b", None, &["sources[0].id", "must be a word"]);
    check(
        "providers:\n  googel: {connections: 1}",
        None,
        &["providers.googel", "no such provider"],
    );
    let route = |rest: &str| format!("routes:\n  - {{name: a, domains: [\"*\"], host: h.example, port: 587, {rest}}}");
    check(&route("user: u"), None, &["routes[0].user", "go together"]);
    check(
        &route("user: u, password_env: UNSET"),
        None,
        &["routes[0].password_env", "has no UNSET"],
    );
    check(
        &route("user: u, password_env: SET, tls: off"),
        None,
        &["routes[0].tls", "without encryption"],
    );
    check(
        "routes:\n  - {name: a, domains: [], host: h, port: 1}",
        None,
        &["routes[0].domains"],
    );
    check(
        "routes:\n  - {name: a, domains: [\"*\"], host: h, port: 0}",
        None,
        &["routes[0].host"],
    );
}

#[test]
fn what_is_right_is_taken() {
    let check = |text: &str| assert!(read(text).is_ok(), "{text}: {:?}", read(text).err());
    check("# nothing but a comment\n\n");
    check("metrics: {listen: \"\"}");
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
