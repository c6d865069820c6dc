//! The commands of the program, as a shell sees them.

use std::process::Output;

use serde_json::Value;

use super::bed::{door, eventually, mail, plain};
use super::process::Home;

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[track_caller]
fn good(output: &Output) -> String {
    let (out, err) = texts(output);
    assert!(output.status.success(), "{out}{err}");
    out
}

#[track_caller]
fn bad(output: &Output, says: &[&str]) {
    let (out, err) = texts(output);
    assert_eq!(output.status.code(), Some(1), "{out}{err}");
    for says in says {
        assert!(err.contains(says), "{says:?} is not in {err:?}");
    }
}

#[actix_web::test]
async fn a_second_process_on_the_same_directory_is_refused() {
    let mut home = Home::with(&super::bed::config(&[]).replace("routes:\n", ""));
    let process = home.start().await;
    let second = home.run(&["serve"]).await;
    let data = home.data().display().to_string();
    bad(&second, &["in use by another process", &data]);
    assert_eq!(
        process.http.get("/healthz").await.expect("the first one lives").status,
        200
    );
    assert_eq!(process.terminate().await, Some(0));
}

#[actix_web::test]
async fn keys_are_made_listed_and_revoked_beside_the_running_engine() {
    let mut home = Home::with(&super::bed::config(&[]).replace("routes:\n", ""));
    bad(&home.run(&["keys", "list"]).await, &["no engine runs on"]);
    let process = home.start().await;
    let made = good(&home.run(&["keys", "create", "billing"]).await);
    let key = made.trim().to_owned();
    let own = super::bed::Http::new(process.http.api(), key.clone());
    assert_eq!(own.get("/v1/domains").await.expect("answers").status, 200);
    let list = good(&home.run(&["keys", "list"]).await);
    assert!(list.contains("first key") && list.contains("billing"), "{list}");
    assert!(!list.contains(&key), "a key is shown once");
    let line = list.lines().find(|line| line.contains("billing")).expect("listed");
    assert!(
        line.contains("send"),
        "a key may send and no more unless asked for: {line}"
    );
    assert_eq!(own.get("/v1/admin/nothing").await.expect("answers").status, 403);
    let made = good(&home.run(&["keys", "create", "on call", "--admin"]).await);
    let operator = super::bed::Http::new(process.http.api(), made.trim().to_owned());
    assert_eq!(operator.get("/v1/admin/nothing").await.expect("answers").status, 404);
    let first = process.http.get("/v1/admin/nothing").await.expect("answers");
    assert_eq!(first.status, 404, "the first key may do everything");
    let id = line
        .split(['│', '|', '┆'])
        .map(str::trim)
        .find(|cell| cell.len() == 12)
        .expect("an id");
    good(&home.run(&["keys", "revoke", id]).await);
    assert_eq!(own.get("/v1/domains").await.expect("answers").status, 401);
    bad(
        &home.run(&["keys", "revoke", "000000000000"]).await,
        &["no key with this id"],
    );
    assert_eq!(process.terminate().await, Some(0));
}

#[actix_web::test]
async fn why_tells_what_a_mail_waits_for_and_what_became_of_it() {
    let receiver = plain().await;
    let mut home = Home::new(&[door("example.test", &receiver)]);
    let process = home.start().await;
    let mut later = mail("later@example.test");
    let at = super::bed::ahead(
        &posthaste::clock::Clock::system(),
        std::time::Duration::from_secs(86_400),
    );
    later["scheduled_at"] = at.as_str().into();
    let id = process.http.send(&later).await;
    let said = good(&home.run(&["why", &id]).await);
    assert!(
        said.contains("later@example.test: scheduled") && said.contains(&at),
        "{said}"
    );
    let id = process.http.send(&mail("jacky@example.test")).await;
    let delivered = async || process.http.email(&id).await["status"] == "delivered";
    eventually("it is delivered", delivered).await;
    let json = good(&home.run(&["why", &id, "--json"]).await);
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["deliveries"][0]["state"], "delivered");
    let all = good(&home.run(&["why", "--all"]).await);
    assert!(all.starts_with("1 wait:"), "{all}");
    bad(&home.run(&["why", "nonsense"]).await, &["not the id of a message"]);
    let unknown = "01a208e9-b32a-7a0a-af2f-8cbdd55c444f";
    bad(&home.run(&["why", unknown]).await, &["no message with this id"]);
    assert_eq!(process.terminate().await, Some(0));
}

#[actix_web::test]
async fn a_bad_config_is_refused_with_the_name_of_the_key_and_its_line() {
    for (config, says) in [
        ("api:\n  listen: nowhere\n", vec!["listen", "line 4"]),
        ("apis: {}\n", vec!["apis", "line 3"]),
        ("delivery:\n  hold: soon\n", vec!["soon", "line 4"]),
        ("providers:\n  gogle: {connections: 2}\n", vec!["providers.gogle"]),
        ("engine: {lease: 20ms}\n", vec!["engine.lease", "at least"]),
        ("domains: [{name: \"no domain\"}]\n", vec!["no domain", "line 3"]),
        (
            "routes: [{name: a, domains: [x.test], host: h.test, port: 25, user: u}]\n",
            vec!["routes[0].user"],
        ),
        ("a: [\n", vec!["line"]),
    ] {
        let home = Home::with(config);
        for command in ["check-config", "serve"] {
            bad(&home.run(&[command]).await, &says);
        }
        assert!(!home.data().exists(), "a bad config starts nothing");
    }
}

#[actix_web::test]
async fn a_good_config_is_called_good_and_starts_nothing() {
    let home = Home::with(&super::bed::config(&[]).replace("routes:\n", ""));
    let said = good(&home.run(&["check-config"]).await);
    assert!(said.contains("good"), "{said}");
    assert!(!home.data().exists());
}

#[actix_web::test]
async fn a_first_start_that_fails_does_not_lose_the_key() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let good = super::bed::config(&[]).replace("routes:\n", "");
    let mut home = Home::with(&good);
    let bad_config = good.replacen("127.0.0.1:0", &address, 1);
    home.write(&bad_config);
    bad(&home.run(&["serve"]).await, &["api.listen", &address]);
    home.write(&good);
    let process = home.start().await;
    assert_eq!(process.http.get("/v1/domains").await.expect("answers").status, 200);
    assert_eq!(process.terminate().await, Some(0));
}

/// Small, so that no provider's limit is met; what the limits do is for the tests of lanes.
#[actix_web::test]
async fn the_demo_delivers_its_mail_shows_its_lanes_and_balances() {
    let home = Home::with("");
    let output = home.run(&["demo", "--messages", "40", "--json"]).await;
    let (out, err) = texts(&output);
    assert!(output.status.success(), "{out}{err}");
    let lines = out.lines().map(|line| serde_json::from_str::<Value>(line).expect(line));
    let lines: Vec<Value> = lines.collect();
    let (balance, shown) = lines.split_last().expect("a balance");
    for (key, expected) in [("accepted", 40), ("queued", 0), ("lost", 0), ("duplicates", 0)] {
        assert_eq!(balance[key], expected, "{key} of {balance}");
    }
    assert_eq!(balance["ledger_ok"], true);
    assert_eq!(balance["delivered"], balance["received_by_providers"]);
    assert_eq!(
        balance["delivered"]
            .as_u64()
            .zip(balance["bounced"].as_u64())
            .map(|(delivered, bounced)| delivered + bounced),
        Some(40)
    );
    let last = shown.last().expect("lanes are shown at least once");
    let lanes = last["lanes"].as_array().expect("lanes");
    let names: Vec<&str> = lanes.iter().filter_map(|lane| lane["provider"].as_str()).collect();
    assert_eq!(names, ["google", "outlook", "yahoo", "tencent", "company"]);
    assert!(err.contains("ledger: accepted 40 = final 40 + waiting 0"), "{err}");
}
