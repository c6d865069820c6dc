//! Config and rules that change while mail flows: what is good counts at once, what is bad changes nothing.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use posthaste::config::Settings;
use posthaste::domain::State;
use posthaste::reload::ReloadError;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use provider_sim::{Act, Behaviour, Script, Stage};
use serde_json::Value;

use super::bed::{Bed, Door, behaving, config, door, eventually, mail, numbered, plain, scripted, settings};
use super::process::Home;

const BOUNCES: &str = include_str!("../../../rules/bounces.yaml");

/// An engine whose config is this text, to be changed.
async fn bed(text: &str) -> (Bed, Arc<Mutex<String>>) {
    let bed = Bed::new(Settings::from_yaml(text, &|_| None).expect("a good config")).await;
    let file = Arc::new(Mutex::new(text.to_owned()));
    let read = Arc::clone(&file);
    bed.reloader().reads(Arc::new(move || {
        let text = read.lock().expect("nobody panicked").clone();
        Settings::from_yaml(&text, &|_| None).map_err(|error| error.to_string())
    }));
    (bed, file)
}

fn write(file: &Mutex<String>, text: &str) {
    text.clone_into(&mut file.lock().expect("nobody panicked"));
}

#[actix_web::test]
async fn limits_that_change_under_load_count_at_once_and_lose_no_mail() {
    let receiver = behaving(Behaviour {
        message_delay_ms: 20,
        ..Behaviour::default()
    })
    .await;
    let narrow = Door {
        connections: 1,
        ..door("example.test", &receiver)
    };
    let wide = Door {
        connections: 12,
        ..narrow.clone()
    };
    let (mut bed, file) = bed(&config(&[narrow])).await;
    let ids = bed.send_all(&numbered(400, "example.test")).await;
    bed.until_metric("posthaste_delivered_total", &[], 5.0).await;
    assert_eq!(receiver.open_connections(), 1);
    write(&file, &config(&[wide]));
    let reloaded = bed.reloader().reload().await.expect("a good config");
    assert_eq!(reloaded.taken, ["routes"]);
    eventually("more connections", async || receiver.open_connections() > 3).await;
    // Again and again, good and bad, while the rest goes out.
    for round in 0..20 {
        write(
            &file,
            &config(&[Door {
                connections: 4 + round % 9,
                ..door("example.test", &receiver)
            }]),
        );
        bed.reloader().reload().await.expect("a good config");
        write(&file, "routes: [{name: a}]");
        assert!(bed.reloader().reload().await.is_err());
    }
    bed.settled().await;
    assert_eq!(bed.count(State::Delivered).await, ids.len() as u64);
    assert_eq!(receiver.counters().accepted, ids.len() as u64, "each once");
    assert_eq!(bed.metric("posthaste_config_reloads_total", &[("result", "ok")]), 21.0);
    assert_eq!(
        bed.metric("posthaste_config_reloads_total", &[("result", "refused")]),
        20.0
    );
    assert!(bed.stop().await);
}

/// E10. Whatever is wrong with the file or the rules, the engine goes on with what it had.
#[actix_web::test]
async fn a_bad_file_changes_nothing_and_says_what_is_wrong() {
    let receiver = plain().await;
    let folder = tempfile::tempdir().expect("a folder");
    let rules = folder.path().join("bounces.yaml");
    std::fs::write(&rules, BOUNCES).expect("written");
    let good = format!(
        "rules: {}\n{}",
        folder.path().display(),
        config(&[door("example.test", &receiver)])
    );
    let (mut bed, file) = bed(&good).await;
    let mut runner = TestRunner::deterministic();
    let (mut refused, mut refused_rules) = (0, 0);
    while refused < 60 || refused_rules < 40 {
        let in_rules = refused >= 60;
        let text = if in_rules { BOUNCES } else { good.as_str() };
        let bad = mutation(text.lines().count())
            .new_tree(&mut runner)
            .expect("a mutation")
            .current()
            .apply(text);
        if in_rules {
            std::fs::write(&rules, &bad).expect("written");
        } else {
            write(&file, &bad);
        }
        match bed.reloader().reload().await {
            // Some mutations are harmless, and then they are used: back to the good one.
            Ok(_) => {
                std::fs::write(&rules, BOUNCES).expect("written");
                write(&file, &good);
                bed.reloader().reload().await.expect("a good config");
            }
            Err(ReloadError::Wrong(problem)) => {
                let placed = [
                    "line",
                    "sources",
                    "routes",
                    "providers",
                    "rules",
                    "engine",
                    "store",
                    "bounces.yaml",
                ];
                assert!(placed.iter().any(|place| problem.contains(place)), "{problem}");
                if in_rules { refused_rules += 1 } else { refused += 1 }
            }
            Err(ReloadError::NoFile) => panic!("there is a file"),
        }
    }
    let told = bed.metric("posthaste_config_reloads_total", &[("result", "refused")]);
    assert_eq!(told, f64::from(refused + refused_rules));
    // What counts is what counted: reading the good file again changes nothing, and mail flows.
    std::fs::write(&rules, BOUNCES).expect("written");
    write(&file, &good);
    let reloaded = bed.reloader().reload().await.expect("a good config");
    assert!(
        reloaded.taken.is_empty() && reloaded.needs_restart.is_empty(),
        "{reloaded}"
    );
    let id = bed.send(&mail("jacky@example.test")).await;
    bed.until(&id, "delivered").await;
    assert!(bed.stop().await);
}

/// A mistake that somebody may make in an editor.
#[derive(Debug, Clone)]
enum Mutation {
    Cut(usize),
    Drop(usize),
    Twice(usize),
    Indent(usize),
    Insert(usize, String),
    Replace(usize, String),
}

fn mutation(lines: usize) -> impl Strategy<Value = Mutation> {
    let text = prop::sample::select(vec![
        "nonsense: 1",
        "  - {name: a}",
        "{",
        "]",
        "'",
        "  text: '('",
        "rules: [",
        "\t",
        ": :",
        "- - -",
        "delivery: 3",
        "engine: {lease: 0s}",
        "  class: luck",
        "providers: {gogle: {}}",
        "\u{0}",
        "&a *b",
        "sources: [{id: a}, {id: a}]",
    ]);
    let (text, line) = (text.prop_map(str::to_owned), 0..lines);
    prop_oneof![
        line.clone().prop_map(Mutation::Cut),
        line.clone().prop_map(Mutation::Drop),
        line.clone().prop_map(Mutation::Twice),
        line.clone().prop_map(Mutation::Indent),
        (line.clone(), text.clone()).prop_map(|(line, text)| Mutation::Insert(line, text)),
        (line, text).prop_map(|(line, text)| Mutation::Replace(line, text)),
    ]
}

impl Mutation {
    fn apply(&self, text: &str) -> String {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        match self {
            Self::Cut(line) => {
                // In the middle of this line.
                let half = lines[*line].chars().count() / 2;
                lines[*line] = lines[*line].chars().take(half).collect();
                lines.truncate(line + 1);
            }
            Self::Drop(line) => drop(lines.remove(*line)),
            Self::Twice(line) => lines.insert(*line, lines[*line].clone()),
            Self::Indent(line) => lines[*line].insert_str(0, "   "),
            Self::Insert(line, text) => lines.insert(*line, text.clone()),
            Self::Replace(line, text) => lines[*line] = text.clone(),
        }
        lines.join("\n") + "\n"
    }
}

#[actix_web::test]
async fn other_waits_and_rules_count_for_the_next_attempt() {
    let receiver = scripted(Script::new().at(Stage::Rcpt, Act::reply("451 4.3.2 zeta says wait"))).await;
    let folder = tempfile::tempdir().expect("a folder");
    let text = config(&[door("example.test", &receiver)]);
    let (mut bed, file) = bed(&text).await;
    let id = bed.send(&mail("jacky@example.test")).await;
    eventually("it is deferred", async || {
        bed.events(&id).await.iter().any(|event| event == "deferred")
    })
    .await;
    // From now on this reply is the end, by a rule of the operator.
    let rule = "rules:\n  - {name: zeta, text: 'zeta', class: policy, blame: provider, permanence: bounce}\n";
    let bounces = BOUNCES.replacen("rules:\n", rule, 1);
    std::fs::write(folder.path().join("bounces.yaml"), bounces).expect("written");
    let waits = text.replace("transactional: [300ms]", "transactional: [100ms]");
    write(&file, &format!("rules: {}\n{waits}", folder.path().display()));
    let reloaded = bed.reloader().reload().await.expect("a good config");
    assert_eq!(reloaded.taken, ["rules", "delivery.retry"]);
    bed.until(&id, "bounced").await;
    assert!(bed.stop().await);
}

#[actix_web::test]
async fn shorter_pauses_count_for_lanes_that_stand_still_and_they_forget_nothing() {
    let blame = "421 4.7.28 unusual rate of unsolicited mail originating from your IP address";
    let receiver = scripted(Script::new().times(1).to("first").at(Stage::Rcpt, Act::reply(blame))).await;
    let text = config(&[door("example.test", &receiver)]).replace("port:", "provider: google, port:");
    let long = text.replace("stop_longest: 500ms", "stop_longest: 1h");
    let (mut bed, file) = bed(&long).await;
    let lane = async || {
        let answer = bed.http().get("/v1/admin/lanes/default/google/decisions").await;
        answer.expect("answers").body
    };
    let first = bed.send(&mail("first@example.test")).await;
    eventually("the lane is stopped", async || lane().await["state"] == "stopped").await;
    let waits = bed.send(&mail("waits@example.test")).await;
    let before = lane().await["decided"].as_u64().expect("a number");
    assert_eq!(
        lane().await["decisions"].as_array().map(Vec::len),
        usize::try_from(before).ok()
    );
    write(&file, &text);
    let reloaded = bed.reloader().reload().await.expect("a good config");
    assert_eq!(
        (reloaded.taken, reloaded.needs_restart.len()),
        (vec!["delivery.stop_longest"], 0)
    );
    bed.until(&waits, "delivered").await;
    bed.until(&first, "delivered").await;
    let decisions = lane().await["decisions"].as_array().cloned().unwrap_or_default();
    let stops = decisions
        .iter()
        .filter(|one| one["what"] == "stop" && one["signal"] == "blocked");
    assert_eq!(stops.count(), 1, "the lane that began before the reload: {decisions:?}");
    assert!(bed.stop().await);
}

#[actix_web::test]
async fn what_needs_a_restart_is_named_until_there_is_one() {
    let text = config(&[]);
    let (mut bed, file) = bed(&text).await;
    let other = text.replace("hostname: mta.engine.test", "hostname: other.test") + "dns: {query_timeout: 7s}\n";
    write(&file, &other);
    for _ in 0..2 {
        let reloaded = bed.reloader().reload().await.expect("a good config");
        assert_eq!(
            (reloaded.taken.len(), reloaded.needs_restart),
            (0, vec!["hostname", "dns"])
        );
    }
    write(&file, &text);
    let reloaded = bed.reloader().reload().await.expect("a good config");
    assert_eq!(reloaded.needs_restart, Vec::<&str>::new());
    assert!(bed.stop().await);
    let without = Bed::new(settings(&[])).await;
    assert!(matches!(without.reloader().reload().await, Err(ReloadError::NoFile)));
}

#[actix_web::test]
async fn the_command_and_a_hangup_reload_the_running_engine() {
    let receiver = plain().await;
    let mut home = Home::new(&[door("example.test", &receiver)]);
    let process = home.start().await;
    let text = config(&[door("example.test", &receiver)]);
    let said = |output: &std::process::Output| {
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    home.write(&text.replace("transactional: [300ms]", "transactional: [400ms]"));
    let output = home.run(&["reload"]).await;
    assert!(output.status.success(), "{}", said(&output));
    assert!(
        said(&output).contains("in use now: delivery.retry"),
        "{}",
        said(&output)
    );
    home.write("delivery:\n  hold: soon\n");
    let output = home.run(&["reload"]).await;
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(
        said(&output).contains("soon") && said(&output).contains("line 4"),
        "{}",
        said(&output)
    );
    // By signal the bad file is read by the engine itself.
    let hangup = async || {
        let id = process.id().to_string();
        let sent = tokio::process::Command::new("kill").args(["-HUP", &id]).status().await;
        assert!(sent.expect("kill is there").success());
    };
    hangup().await;
    let counted = async |result: &str, least: f64| {
        let text = process.metrics().await;
        super::bed::sum(&text, "posthaste_config_reloads_total", &[("result", result)]) >= least
    };
    eventually("it is refused", async || counted("refused", 1.0).await).await;
    home.write(&text);
    hangup().await;
    eventually("it is taken", async || counted("ok", 2.0).await).await;
    assert_eq!(process.http.get("/healthz").await.expect("it lives").status, 200);
    assert_eq!(process.terminate().await, Some(0));
}

#[actix_web::test]
async fn replies_that_no_rule_knows_are_listed_and_can_be_replayed() {
    let odd = Act::reply("550 zxq vlorp for <someone@example.test>, ticket 17");
    let receiver = scripted(Script::new().at(Stage::Rcpt, odd)).await;
    let mut home = Home::new(&[door("example.test", &receiver)]);
    let process = home.start().await;
    for number in 0..3 {
        process.http.send(&mail(&format!("user{number}@example.test"))).await;
    }
    let lines = async || {
        let output = home.run(&["unclassified", "--json"]).await;
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    eventually("all three are counted", async || lines().await.contains("\"count\":3")).await;
    let listed = lines().await;
    let line: Value = serde_json::from_str(listed.lines().next().expect("a line")).expect("JSON");
    assert_eq!(listed.lines().count(), 1, "one shape: {listed}");
    assert_eq!(
        (&line["provider"], &line["stage"], &line["code"]),
        (&"route:door0".into(), &"rcpt_to".into(), &550.into())
    );
    assert_eq!(line["text"], "zxq vlorp for <address> ticket 17");
    let shown = home.run(&["unclassified"]).await;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(
        shown.contains("3 times by route:door0") && shown.contains("1 kinds"),
        "{shown}"
    );
    // What it prints is what replay reads.
    let rules = home.data().join("rules");
    std::fs::create_dir(&rules).expect("made");
    let rule = "rules:\n  - {name: vlorp, text: 'vlorp', class: invalid_recipient, blame: recipient}\n";
    std::fs::write(rules.join("bounces.yaml"), BOUNCES.replacen("rules:\n", rule, 1)).expect("written");
    let recorded = home.data().join("recorded.jsonl");
    std::fs::write(&recorded, &listed).expect("written");
    let (recorded, rules) = (recorded.display().to_string(), rules.display().to_string());
    let replayed = home.run(&["rules", "replay", &recorded, "--rules", &rules]).await;
    let replayed = String::from_utf8_lossy(&replayed.stdout).into_owned();
    assert!(
        replayed.contains("(vlorp)") && replayed.contains("Unknown: 3 → 0."),
        "{replayed}"
    );
    let metrics = process.metrics().await;
    let of = |name: &str, labels: &[(&str, &str)]| super::bed::sum(&metrics, name, labels);
    assert_eq!(of("posthaste_unclassified_total", &[("provider", "route:door0")]), 3.0);
    let signals = [
        ("provider", "route:door0"),
        ("blame", "provider"),
        ("class", "unclassified"),
    ];
    assert_eq!(of("posthaste_lane_signals_total", &signals), 3.0);
    assert_eq!(process.terminate().await, Some(0));
}

#[actix_web::test]
async fn the_list_of_unknown_replies_outlives_a_restart() {
    let receiver = scripted(Script::new().at(Stage::Rcpt, Act::reply("550 zxq vlorp"))).await;
    let store = Arc::new(posthaste::store::Memory::new());
    let doors = [door("example.test", &receiver)];
    let mut first = Bed::on(settings(&doors), Arc::clone(&store)).await;
    let key = first.http().key().to_owned();
    let id = first.send(&mail("one@example.test")).await;
    first.until(&id, "bounced").await;
    assert!(first.stop().await);
    let mut second = Bed::again(settings(&doors), store, &key).await;
    let id = second.send(&mail("two@example.test")).await;
    second.until(&id, "bounced").await;
    let known = second.observer.unclassified().list();
    assert_eq!(
        (known.len(), known[0].count, known[0].shape.as_str()),
        (1, 2, "zxq vlorp")
    );
    assert!(second.stop().await);
}

#[actix_web::test]
async fn a_shadow_rule_changes_nothing_and_tells_what_it_would_have_done() {
    let receiver = scripted(Script::new().at(Stage::Rcpt, Act::reply("550 5.1.1 no such user, zeta"))).await;
    let folder = tempfile::tempdir().expect("a folder");
    let rule =
        "rules:\n  - {name: trial, text: 'zeta', shadow: yes, class: policy, blame: provider, permanence: retry}\n";
    std::fs::write(
        folder.path().join("bounces.yaml"),
        BOUNCES.replacen("rules:\n", rule, 1),
    )
    .expect("written");
    let text = config(&[door("example.test", &receiver)]);
    let (mut bed, _) = bed(&format!("rules: {}\n{text}", folder.path().display())).await;
    let id = bed.send(&mail("jacky@example.test")).await;
    bed.until(&id, "bounced").await;
    let seen = bed.observer.shadows().list();
    assert_eq!(seen.len(), 1);
    assert_eq!((&*seen[0].shadow.rule, seen[0].shadow.verdict), ("trial", "retry"));
    assert_eq!(
        (&*seen[0].instead_of.rule, seen[0].instead_of.verdict),
        ("unknown-user", "suppress")
    );
    assert_eq!(bed.metric("posthaste_rules_shadow_total", &[("rule", "trial")]), 1.0);
    assert!(bed.stop().await);
}

#[actix_web::test]
async fn a_reload_in_the_middle_of_another_ends() {
    let text = config(&[]);
    let (mut bed, _) = bed(&text).await;
    let all = (0..8).map(|_| {
        let reloader = bed.reloader();
        async move { reloader.reload().await.is_ok() }
    });
    let done = tokio::time::timeout(Duration::from_secs(30), futures_util::future::join_all(all)).await;
    assert_eq!(done.expect("ends"), [true; 8]);
    assert!(bed.stop().await);
}
