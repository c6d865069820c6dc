//! `posthaste rules`: rules are looked at and tried on recorded replies before an engine uses them.

use std::path::Path;
use std::process::{Command, Output};

use posthaste::config::{RuleFiles, Settings};
use posthaste::policy::classify::Classifier;
use serde_json::Value;

const BOUNCES: &str = include_str!("../../rules/bounces.yaml");
const PROVIDERS: &str = include_str!("../../rules/providers.yaml");
const WARMUP: &str = include_str!("../../rules/warmup.yaml");

fn posthaste(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_posthaste"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("runs")
}

/// Runs it; gives standard output and standard error.
#[track_caller]
fn check(folder: &Path, arguments: &[&str], code: i32, says: &[&str]) -> String {
    let output = posthaste(folder, arguments);
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {out}{err}");
    for says in says {
        assert!(
            out.contains(says) || err.contains(says),
            "{says:?} is not in {out}{err}"
        );
    }
    out
}

/// A folder with rules, and an empty one to run in.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("rules")).expect("made");
    for (name, text) in files {
        std::fs::write(folder.path().join("rules").join(name), text).expect("written");
    }
    folder
}

#[test]
fn what_ships_is_clean_and_what_is_wrong_is_named_with_its_line() {
    let good = folder(&[
        ("bounces.yaml", BOUNCES),
        ("providers.yaml", PROVIDERS),
        ("warmup.yaml", WARMUP),
    ]);
    check(
        good.path(),
        &["rules", "lint"],
        0,
        &["the built-in rules: nothing to mend"],
    );
    check(good.path(), &["rules", "lint", "rules"], 0, &["rules: nothing to mend"]);
    let bad = BOUNCES.replacen(
        "rules:\n",
        "rules:\n  - {name: bare, code: [5xx], class: policy, blame: provider}\n  - {name: star, provider: [gogle], text: 'SPM*', class: policy, blame: provider}\n",
        1,
    );
    let line = BOUNCES
        .lines()
        .position(|line| line == "rules:")
        .expect("there are rules")
        + 3;
    let bad = folder(&[("bounces.yaml", &bad), ("providers.yaml", PROVIDERS)]);
    check(
        bad.path(),
        &["rules", "lint", "rules"],
        1,
        &[
            &format!("bounces.yaml:{line}: star: there is no provider gogle"),
            "[letter_repeated]",
            "bare",
            "things to mend",
        ],
    );
    let json = check(bad.path(), &["rules", "lint", "rules", "--json"], 1, &[]);
    let json: Value = serde_json::from_str(&json).expect("JSON");
    let faults: Vec<&str> = json["findings"]
        .as_array()
        .expect("findings")
        .iter()
        .filter_map(|finding| finding["fault"].as_str())
        .collect();
    for fault in ["unknown_provider", "letter_repeated", "unreachable"] {
        assert!(faults.contains(&fault), "{fault} is not in {faults:?}");
    }
    // The config's own directory is looked at without being named.
    std::fs::write(bad.path().join("config.yaml"), "rules: ./rules\n").expect("written");
    check(bad.path(), &["rules", "lint"], 1, &["gogle"]);
}

#[test]
fn recorded_replies_show_which_verdict_changed_and_how_often() {
    let stricter = BOUNCES.replacen(
        "rules:\n",
        "rules:\n  - {name: zeta, provider: [google], text: 'zeta', class: rate_limit, blame: source_ip, action: slow, permanence: retry}\n",
        1,
    );
    let place = folder(&[("bounces.yaml", &stricter)]);
    let line = |provider: &str, text: &str, count: u64| {
        format!(
            "{{\"provider\":\"{provider}\",\"stage\":\"dot\",\"code\":550,\"text\":\"{text}\",\"count\":{count}}}\n"
        )
    };
    let recorded =
        line("google", "zeta again", 40) + &line("yahoo", "zeta again", 3) + &line("google", "no such user", 500);
    std::fs::write(place.path().join("replies.jsonl"), recorded).expect("written");
    check(
        place.path(),
        &["rules", "replay", "replies.jsonl", "--rules", "rules"],
        0,
        &[
            "40 times at google (1 different)",
            "was bounce: unclassified, blame provider (unclassified)",
            "is  retry: rate_limit, blame source_ip, slow (zeta)",
            "given 543 times",
            "40 times another meaning. Unknown: 43 → 3.",
        ],
    );
    let json = check(
        place.path(),
        &["rules", "replay", "replies.jsonl", "--rules", "rules", "--json"],
        0,
        &[],
    );
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(
        (&json["changed"], &json["changes"][0]["new"]["rule"]),
        (&40.into(), &"zeta".into())
    );
    // The other way round it is the other difference.
    let json = check(
        place.path(),
        &["rules", "replay", "replies.jsonl", "--against", "rules", "--json"],
        0,
        &[],
    );
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["changes"][0]["old"]["rule"], "zeta");
    check(
        place.path(),
        &["rules", "replay", "replies.jsonl"],
        1,
        &["name a directory"],
    );
}

/// The corpus is a file of recorded replies: the same rules in another place change the meaning of none of them.
#[test]
fn the_corpus_replays_without_a_difference_on_a_copy_of_the_rules() {
    let copy = folder(&[("bounces.yaml", &format!("# a copy\n{BOUNCES}"))]);
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/replies.yaml");
    let corpus = corpus.display().to_string();
    let json = check(
        copy.path(),
        &["rules", "replay", &corpus, "--rules", "rules", "--json"],
        0,
        &[],
    );
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["changed"], 0, "{json}");
    assert!(json["replies"].as_u64().expect("a number") > 400, "{}", json["replies"]);
}

#[test]
fn a_directory_of_rules_is_read_whole_or_not_at_all() {
    let read = |files: &[(&str, &str)]| RuleFiles::read(&folder(files).path().join("rules"));
    let says = |files: &[(&str, &str)], expected: &[&str]| {
        let error = read(files).expect_err("refused").to_string();
        for expected in expected {
            assert!(error.contains(expected), "{error:?} says nothing of {expected:?}");
        }
    };
    says(&[], &["bounces.yaml"]);
    says(&[("bounce.yaml", BOUNCES)], &["bounce.yaml", "nobody reads"]);
    says(&[("bounces.yaml", BOUNCES), ("extra.yml", "")], &["extra.yml"]);
    let files = read(&[("bounces.yaml", BOUNCES), ("README.md", "mine")]).expect("good");
    assert_eq!((files.bounces(), files.providers()), (BOUNCES, PROVIDERS));
    let large = format!("# {}\n", "é".repeat(1 << 20));
    let files = read(&[("bounces.yaml", &large)]).expect("read");
    assert!(
        files
            .classifier()
            .expect_err("too large")
            .to_string()
            .contains("at most")
    );
}

#[test]
fn a_config_with_bad_rules_is_refused_with_file_and_line() {
    let bad = BOUNCES.replacen("class: ip_reputation", "class: bad_luck", 1);
    let line = bad
        .lines()
        .position(|line| line.contains("google-rate-netblock"))
        .expect("the first rule")
        + 1;
    let place = folder(&[("bounces.yaml", &bad)]);
    let config = format!("rules: {}\n", place.path().join("rules").display());
    let error = Settings::from_yaml(&config, &|_| None)
        .expect_err("refused")
        .to_string();
    for expected in ["bounces.yaml", &format!("line {line}"), "bad_luck"] {
        assert!(error.contains(expected), "{error:?} says nothing of {expected:?}");
    }
    let gone = Settings::from_yaml("rules: /nowhere/at/all\n", &|_| None).expect_err("refused");
    assert!(gone.to_string().contains("/nowhere/at/all"), "{gone}");
}

/// An operator's rules judge in place of those that are built in, and providers come from the same directory.
#[test]
fn rules_of_a_directory_are_used() {
    let own = "version: 1\nnever_suppress_text: spam\nrules:\n  - {name: mine, class: unclassified, blame: provider, fallback: yes}\n";
    let providers = "version: 1\ndefault: {connections: 7}\nproviders:\n  - {id: mine, mx: [.mine.test]}\n";
    let place = folder(&[("bounces.yaml", own), ("providers.yaml", providers)]);
    let config = format!(
        "rules: {}\nproviders: {{mine: {{messages_per_connection: 3}}}}\n",
        place.path().join("rules").display()
    );
    let settings = Settings::from_yaml(&config, &|_| None).expect("good");
    let rules: Vec<String> = settings.classifier().rules().map(str::to_owned).collect();
    assert_eq!(rules, ["mine"]);
    let provider = settings.providers.provider_of(&["mx.mine.test"]);
    let limits = settings.providers.limits(&provider);
    assert_eq!((limits.connections, limits.messages_per_connection), (7, 3));
    let built_in = Settings::from_yaml("", &|_| None).expect("good").classifier();
    assert_eq!(built_in.rules().count(), Classifier::built_in().rules().count());
}

#[test]
fn a_ladder_that_cannot_be_climbed_is_refused_with_its_file_and_line() {
    let broken = WARMUP.replace("growth: 1.3, end: 50000", "growth: 13, end: 50000");
    let line = 1 + broken
        .lines()
        .position(|line| line.contains("growth: 13,"))
        .expect("is there");
    let place = folder(&[("warmup.yaml", &broken)]);
    let named = format!("warmup.yaml:{line}: microsoft365: start must be");
    check(place.path(), &["rules", "lint", "rules"], 1, &[&named, "[refused]"]);
    std::fs::write(place.path().join("config.yaml"), "rules: ./rules\n").expect("written");
    let said = format!("line {line}, microsoft365: start must be");
    check(place.path(), &["check-config"], 1, &["warmup.yaml", &said]);

    let unknown = WARMUP.replace("  yahoo:", "  yahu:");
    std::fs::write(place.path().join("rules/warmup.yaml"), unknown).expect("written");
    let said = "yahu: there is no provider yahu in providers.yaml [unknown_provider]";
    check(place.path(), &["rules", "lint"], 1, &[said]);
    std::fs::write(place.path().join("rules/warmup.yaml"), WARMUP).expect("written");
    check(place.path(), &["rules", "lint"], 0, &["nothing to mend"]);
    check(place.path(), &["check-config"], 0, &[]);
}
