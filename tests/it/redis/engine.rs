//! Whole engines on a Redis that is killed, frozen, full or flushed (R1, R2, R3, R5).

use std::time::Duration;

use serde_json::{Value, json};
use test_rig::{RedisOptions, RedisServer};

use crate::engine::bed::{Answer, Door, Http, config, door, eventually, mail, numbered, plain, sum};
use crate::engine::process::{Home, Process};
use posthaste::clock::Clock;

/// The config of an engine on this server, which gives up soon.
pub(crate) fn on(server: &RedisServer, doors: &[Door]) -> String {
    let store = format!(
        "store: {{url: \"{}\", response_timeout: 1s, connect_timeout: 1s}}\n",
        server.url()
    );
    config(doors).replace("store: {reserve_mib: 1}\n", "") + &store
}

/// The value of a metric of Redis.
pub(crate) async fn metric(engine: &Process, name: &str) -> f64 {
    sum(&engine.metrics().await, name, &[])
}

/// Whether the engine takes mail.
pub(crate) async fn is_ready(http: &Http) -> bool {
    http.get("/readyz").await.is_ok_and(|answer| answer.status == 200)
}

/// Waits until all these have been delivered.
pub(crate) async fn all_delivered(http: &Http, ids: &[String]) {
    for id in ids {
        eventually(&format!("{id} is delivered"), async || {
            let answer = http.get(&format!("/v1/emails/{id}")).await.unwrap();
            answer.body["status"] == "delivered"
        })
        .await;
    }
}

fn assert_refused(answer: &Answer) {
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.retry_after.is_some(), "{answer:?}");
}

pub(crate) fn mails(addresses: &[String], scheduled_at: Option<&str>) -> Vec<Value> {
    let one = |to: &String| {
        let mut mail = mail(to);
        if let Some(at) = scheduled_at {
            mail["scheduled_at"] = json!(at);
        }
        mail
    };
    addresses.iter().map(one).collect()
}

#[tokio::test]
async fn a_redis_that_is_killed_and_comes_back_loses_nothing() {
    let receiver = plain().await;
    let mut server = RedisServer::start(&RedisOptions::new()).unwrap();
    let mut home = Home::with(&on(&server, &[door("a.test", &receiver)]));
    let engine = home.start().await;
    let mut ids = engine.http.send_batch(mails(&numbered(200, "a.test"), None)).await;
    server.kill().unwrap();
    let refused = engine.http.post("/v1/emails", &mail("refused@a.test")).await.unwrap();
    assert_refused(&refused);
    assert!(!is_ready(&engine.http).await);
    eventually("the loss is seen", async || {
        metric(&engine, "posthaste_redis_up").await < 1.0
    })
    .await;
    server.restart().unwrap();
    eventually("ready again", async || is_ready(&engine.http).await).await;
    ids.push(engine.http.send(&mail("later@a.test")).await);
    all_delivered(&engine.http, &ids).await;
    assert_eq!(receiver.ledger().unique(), 201);
    let ambiguous = sum(&engine.metrics().await, "posthaste_ambiguous_total", &[]);
    let duplicates = receiver.ledger().duplicates();
    assert!(duplicates as f64 <= ambiguous, "{duplicates} copies, {ambiguous} known");
    eventually("the return is seen", async || {
        metric(&engine, "posthaste_redis_up").await == 1.0
    })
    .await;
    assert_eq!(engine.terminate().await, Some(0));
}

/// A call that gets 503 may have been stored; repeated under its key it is the same mail.
#[tokio::test]
async fn a_redis_that_is_frozen_gives_503_and_a_repeated_call_sends_one_mail() {
    let receiver = plain().await;
    let server = RedisServer::start(&RedisOptions::new()).unwrap();
    let mut home = Home::with(&on(&server, &[door("a.test", &receiver)]));
    let engine = home.start().await;
    engine.http.send(&mail("first@a.test")).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let call = async |to: &str| {
        let request = client.post(format!("http://{}/v1/emails", engine.http.api()));
        let request = request.header("Idempotency-Key", to).bearer_auth(engine.http.key());
        request.json(&mail(to)).send().await.unwrap().status().as_u16()
    };
    let addresses = numbered(10, "a.test");
    server.freeze().unwrap();
    for address in &addresses {
        assert_eq!(call(address).await, 503);
    }
    assert!(!is_ready(&engine.http).await);
    server.thaw().unwrap();
    for address in &addresses {
        eventually(address, async || call(address).await == 202).await;
    }
    let delivered = receiver.ledger().wait_for_total(11, crate::engine::bed::WITHIN).await;
    assert!(delivered.is_ok(), "{:?}", receiver.ledger().totals());
    // An end that can be seen: a last mail goes out after all that was stored before it.
    let last = engine.http.send(&mail("last@a.test")).await;
    all_delivered(&engine.http, &[last]).await;
    for address in &addresses {
        assert_eq!(receiver.ledger().records_for(address).len(), 1, "{address}");
    }
    assert_eq!(engine.terminate().await, Some(0));
}

#[tokio::test]
async fn a_full_redis_drains_refuses_and_recovers() {
    let receiver = plain().await;
    let server = RedisServer::start(&RedisOptions::new()).unwrap();
    let mut home = Home::with(&on(&server, &[door("a.test", &receiver)]));
    let engine = home.start().await;
    let soon = Clock::system().now().plus(Duration::from_secs(5)).to_string();
    let ids = engine
        .http
        .send_batch(mails(&numbered(50, "a.test"), Some(&soon)))
        .await;
    // Above the gate, with room left in Redis: the engine refuses by itself.
    let used: u64 = server.info("used_memory").unwrap().parse().unwrap();
    server.config_set("maxmemory", &(used + used / 8).to_string()).unwrap();
    eventually("the gate shuts", async || {
        let answer = engine.http.post("/v1/emails", &mail("gate@a.test")).await.unwrap();
        answer.status == 503 && metric(&engine, "posthaste_redis_short_of_room").await == 1.0
    })
    .await;
    // No room at all.
    server.config_set("maxmemory", "1").unwrap();
    assert_refused(&engine.http.post("/v1/emails", &mail("full@a.test")).await.unwrap());
    all_delivered(&engine.http, &ids).await;
    assert_refused(&engine.http.post("/v1/emails", &mail("full@a.test")).await.unwrap());
    server.config_set("maxmemory", "0").unwrap();
    eventually("the gate opens", async || {
        let answer = engine.http.post("/v1/emails", &mail("later@a.test")).await.unwrap();
        answer.status == 202
    })
    .await;
    assert_eq!(receiver.ledger().duplicates(), 0);
    assert_eq!(engine.terminate().await, Some(0));
}

#[tokio::test]
async fn a_flushed_redis_stops_the_engine_from_accepting_and_from_starting_again() {
    let receiver = plain().await;
    let server = RedisServer::start(&RedisOptions::new()).unwrap();
    let mut home = Home::with(&on(&server, &[door("a.test", &receiver)]));
    let engine = home.start().await;
    let later = Clock::system().now().plus(Duration::from_secs(3600)).to_string();
    engine
        .http
        .send_batch(mails(&numbered(10, "a.test"), Some(&later)))
        .await;
    assert_eq!(metric(&engine, "posthaste_redis_epoch_lost").await, 0.0);
    server.call(&["FLUSHALL"]).unwrap();
    assert_refused(&engine.http.post("/v1/emails", &mail("flushed@a.test")).await.unwrap());
    assert!(!is_ready(&engine.http).await);
    eventually("the alarm", async || {
        metric(&engine, "posthaste_redis_epoch_lost").await == 1.0
    })
    .await;
    engine.kill().await;
    let again = home.run(&["serve"]).await;
    let words = String::from_utf8_lossy(&again.stderr).into_owned();
    assert_eq!(again.status.code(), Some(1), "{words}");
    assert!(words.contains("--accept-new-store"), "{words}");
    assert_eq!(server.call(&["DBSIZE"]).unwrap(), "0", "nothing was made");
    assert_eq!(receiver.ledger().total(), 0);
}

#[tokio::test]
async fn commands_beside_the_engine_work_and_a_second_engine_needs_its_own_directory() {
    let receiver = plain().await;
    let server = RedisServer::start(&RedisOptions::new()).unwrap();
    let mut home = Home::with(&on(&server, &[door("a.test", &receiver)]));
    let engine = home.start().await;
    let id = engine.http.send(&mail("a@a.test")).await;
    all_delivered(&engine.http, std::slice::from_ref(&id)).await;
    let said = |output: std::process::Output| {
        let all = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&all).into_owned())
    };
    for (arguments, part) in [
        (vec!["why", &*id], "a@a.test: delivered"),
        (vec!["keys", "list"], "first key"),
        (vec!["check-config"], "queue in Redis"),
    ] {
        let (code, words) = said(home.run(&arguments).await);
        assert_eq!(code, Some(0), "{words}");
        assert!(words.contains(part), "{arguments:?}: {words}");
    }
    let (code, words) = said(home.run(&["serve"]).await);
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains("another engine runs on this data directory"), "{words}");
    assert_eq!(engine.terminate().await, Some(0));
}

#[tokio::test]
async fn serve_refuses_a_volatile_redis_with_the_line_that_ends_it() {
    let server = RedisServer::start(&RedisOptions::new().set("appendonly", "no")).unwrap();
    let home = Home::with(&on(&server, &[]));
    let output = home.run(&["serve"]).await;
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(words.contains("CONFIG SET appendonly yes"), "{words}");
    assert!(!home.data().join("redis.epoch").exists());
}

#[tokio::test]
async fn settings_that_turn_bad_while_the_engine_runs_are_counted() {
    let server = RedisServer::start(&RedisOptions::new()).unwrap();
    let mut home = Home::with(&on(&server, &[]));
    let engine = home.start().await;
    let risks = async |count: f64| {
        let what = format!("{count} risks");
        eventually(&what, async || metric(&engine, "posthaste_redis_risks").await == count).await;
    };
    risks(0.0).await;
    server.config_set("appendfsync", "no").unwrap();
    risks(1.0).await;
    server.config_set("appendfsync", "always").unwrap();
    risks(0.0).await;
    assert_eq!(engine.terminate().await, Some(0));
}
