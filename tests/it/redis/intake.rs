//! Mail that producers put into Redis, with whole engines: it goes out as that of a call, or becomes a dead letter that says why.

use serde_json::json;
use test_rig::{RedisOptions, RedisServer};

use super::engine::{is_ready, metric, on};
use crate::engine::bed::{WITHIN, door, eventually, mail, plain, sum};
use crate::engine::process::{Home, Process};

const INTAKE: &str = "{ph:0}intake";
const DEAD: &str = "{ph:0}dead";

fn add(server: &RedisServer, fields: &[(&str, &str)]) -> String {
    let fields = fields.iter().flat_map(|(name, value)| [*name, *value]);
    let words: Vec<&str> = ["XADD", INTAKE, "*"].into_iter().chain(fields).collect();
    server.call(&words).unwrap()
}

/// Adds so many entries at once, to `<word><number>@a.test`.
fn add_many(server: &RedisServer, word: &str, count: usize) {
    let script = "for one = 1, tonumber(ARGV[3]) do
        local body = string.gsub(ARGV[1], 'PLACE', ARGV[2] .. one)
        redis.call('XADD', KEYS[1], '*', 'v', '1', 'tenant', '1', 'body', body)
    end";
    let body = mail("PLACE@a.test").to_string();
    let count = count.to_string();
    server
        .call(&["EVAL", script, "1", INTAKE, &body, word, &count])
        .unwrap();
}

fn length(server: &RedisServer, stream: &str) -> usize {
    server.call(&["XLEN", stream]).unwrap().parse().unwrap()
}

async fn decided(server: &RedisServer) {
    eventually("no entry waits", async || length(server, INTAKE) == 0).await;
}

/// Messages in the store, in any state.
fn messages(server: &RedisServer) -> usize {
    let number = server.call(&["HGET", "{ph:0}count", "messages"]).unwrap();
    number.parse().unwrap_or_default()
}

#[tokio::test]
async fn an_entry_is_delivered_and_one_with_a_key_once_whichever_way_it_came() {
    let receiver = plain().await;
    let server = RedisServer::start(&RedisOptions::new()).unwrap();
    let mut home = Home::with(&on(&server, &[door("a.test", &receiver)]));
    // Before there is a store to take it.
    let body = mail("early@a.test").to_string();
    add(&server, &[("v", "1"), ("tenant", "1"), ("body", &body)]);
    let engine = home.start().await;
    let body = mail("key@a.test").to_string();
    let entry = [("v", "1"), ("tenant", "1"), ("body", &*body), ("idempotency_key", "k")];
    add(&server, &entry);
    add(&server, &entry);
    let delivered = receiver.ledger().wait_for_total(2, WITHIN).await;
    assert!(delivered.is_ok(), "{:?}", receiver.ledger().totals());
    decided(&server).await;
    let answer = engine.http.post_with_key("k", &mail("key@a.test")).await;
    assert_eq!(answer.status, 202);
    let id = answer.body["id"].as_str().unwrap();
    eventually("delivered", async || {
        engine.http.email(id).await["status"] == "delivered"
    })
    .await;
    for address in ["early@a.test", "key@a.test"] {
        assert_eq!(receiver.ledger().records_for(address).len(), 1, "{address}");
    }
    assert_eq!(metric(&engine, "posthaste_redis_intake_accepted_total").await, 3.0);
    assert_eq!(metric(&engine, "posthaste_redis_intake_dead_letters").await, 0.0);
    assert_eq!(length(&server, DEAD), 0);
    assert_eq!(engine.terminate().await, Some(0));
}

/// Fields, the reason, and a part of its detail.
type Bad<'b> = (Vec<(&'b str, &'b str)>, &'b str, &'b str);

/// Each has a letter with its fields, its reason and the detail.
fn assert_letters(server: &RedisServer, bad: &[Bad<'_>]) {
    assert_eq!(length(server, DEAD), bad.len());
    let letters = server.call(&["XRANGE", DEAD, "-", "+"]).unwrap();
    // Each line is a field or a value; the id of the next letter is at the end.
    let letters = letters.split("\nreason\n").skip(1);
    let letters: Vec<Vec<&str>> = letters.map(|letter| letter.lines().collect()).collect();
    for (fields, reason, detail) in bad {
        let own: Vec<&str> = fields.iter().flat_map(|(name, value)| [*name, *value]).collect();
        let is_own = |letter: &&Vec<&str>| letter[7..].starts_with(&own) && letter.len() <= 8 + own.len();
        let letter = letters.iter().find(is_own);
        let letter = letter.unwrap_or_else(|| panic!("{reason}: no letter has its fields"));
        assert_eq!(letter[..2], [*reason, "detail"]);
        assert!(letter[2].contains(detail), "{reason}: {}", letter[2]);
        assert_eq!([letter[3], letter[5]], ["at", "entry"]);
    }
}

#[tokio::test]
async fn what_cannot_be_taken_is_a_dead_letter_with_its_reason_and_can_be_put_back() {
    let receiver = plain().await;
    let server = RedisServer::start(&RedisOptions::new()).unwrap();
    let config = on(&server, &[door("a.test", &receiver)]).replace("workers: 1", "workers: 1, body_mib: 1");
    let mut home = Home::with(&config);
    let engine = home.start().await;
    let good = mail("good@a.test").to_string();
    let with = |body| vec![("v", "1"), ("tenant", "1"), ("body", body)];
    let address = json!({"from": "a@acme.test", "to": "nobody", "subject": "Hi", "text": "x"}).to_string();
    let stranger = json!({"from": "a@other.test", "to": "a@a.test", "subject": "Hi", "text": "x"}).to_string();
    let template = json!({"from": "a@acme.test", "to": "a@a.test", "template": "none"}).to_string();
    let (large, padded) = ("x".repeat(2 << 20), format!("{good}{}", " ".repeat(1 << 20)));
    let bad: Vec<Bad<'_>> = vec![
        (vec![("v", "2"), ("mail", "x")], "unknown_version", "'v' '1'"),
        (vec![("tenant", "1"), ("body", &good)], "missing_field", "'v'"),
        (vec![("v", "1"), ("body", &good)], "missing_field", "'tenant'"),
        (vec![("v", "1"), ("tenant", "1")], "missing_field", "'body'"),
        ([with(&good), vec![("to", "x")]].concat(), "unknown_field", "'to'"),
        (
            [with(&good), vec![("body", &good)]].concat(),
            "repeated_field",
            "'body'",
        ),
        (
            vec![("v", "1"), ("tenant", "one"), ("body", &good)],
            "invalid_tenant",
            "digits",
        ),
        (
            vec![("v", "1"), ("tenant", "9"), ("body", &good)],
            "unknown_tenant",
            "tenant 9",
        ),
        (
            [with(&good), vec![("idempotency_key", "")]].concat(),
            "invalid_idempotency_key",
            "256",
        ),
        (with("{\"from\": "), "invalid_json", "line 1"),
        (with("{\"to\": 1, \"to\": 2}"), "invalid_json", "to"),
        (with(&address), "validation_error", "/to invalid_email"),
        (with(&stranger), "domain_not_verified", "/from"),
        (with(&template), "template_not_found", "/template"),
        (with(&large), "payload_too_large", "1048576"),
        (with(&padded), "payload_too_large", "1048576"),
    ];
    for (fields, ..) in &bad {
        add(&server, fields);
    }
    decided(&server).await;
    assert_letters(&server, &bad);
    assert_eq!(messages(&server), 0, "nothing was accepted");
    let refused = sum(
        &engine.metrics().await,
        "posthaste_redis_intake_refused_total",
        &[("reason", "payload_too_large")],
    );
    assert_eq!(refused, 2.0);
    // Put right and put back, as the README says.
    add(&server, &with(&good));
    assert!(receiver.ledger().wait_for_total(1, WITHIN).await.is_ok());
    assert_eq!(engine.terminate().await, Some(0));
}

#[tokio::test]
async fn an_engine_that_is_killed_again_and_again_makes_one_mail_of_each_entry() {
    const EACH: usize = 300;
    let receiver = plain().await;
    let server = RedisServer::start(&RedisOptions::new()).unwrap();
    let mut home = Home::with(&on(&server, &[door("a.test", &receiver)]));
    let mut engine = home.start().await;
    let rounds = ["a", "b", "c", "d"];
    for word in rounds {
        add_many(&server, word, EACH);
        eventually("some are taken", async || length(&server, INTAKE) < EACH).await;
        engine.kill().await;
        engine = home.start().await;
    }
    decided(&server).await;
    let all = rounds.len() * EACH;
    eventually("all are delivered", async || {
        sum(
            &engine.metrics().await,
            "posthaste_deliveries",
            &[("state", "delivered")],
        ) >= all as f64
    })
    .await;
    assert_eq!(messages(&server), all, "one for each entry");
    assert_eq!(receiver.ledger().unique(), all as u64);
    assert_eq!(length(&server, DEAD), 0);
    assert_eq!(engine.terminate().await, Some(0));
}

#[tokio::test]
async fn two_nodes_share_the_stream_and_each_entry_is_one_mail() {
    let receiver = plain().await;
    let server = RedisServer::start(&RedisOptions::new()).unwrap();
    let config = on(&server, &[door("a.test", &receiver)]);
    let mut home = Home::with(&config);
    let one = home.start().await;
    let mut second = home.second(&config);
    let two = second.start().await;
    let mut added = 0;
    let took = async |engine: &Process| metric(engine, "posthaste_redis_intake_accepted_total").await;
    while took(&one).await < 1.0 || took(&two).await < 1.0 {
        assert!(added < 10_000, "one of them takes nothing");
        add_many(&server, &format!("n{added}x"), 50);
        added += 50;
    }
    decided(&server).await;
    eventually("all are counted", async || {
        took(&one).await + took(&two).await >= added as f64
    })
    .await;
    let delivered = receiver.ledger().wait_for_total(added as u64, WITHIN).await;
    assert!(delivered.is_ok(), "{:?}", receiver.ledger().totals());
    assert_eq!(receiver.ledger().unique(), added as u64);
    assert_eq!(took(&one).await + took(&two).await, added as f64);
    assert_eq!(messages(&server), added);
    assert_eq!((one.terminate().await, two.terminate().await), (Some(0), Some(0)));
}

#[tokio::test]
async fn entries_wait_while_redis_is_short_of_room_and_are_counted() {
    let receiver = plain().await;
    let server = RedisServer::start(&RedisOptions::new()).unwrap();
    let mut home = Home::with(&on(&server, &[door("a.test", &receiver)]));
    let engine = home.start().await;
    // Above the gate, with room left in Redis.
    server.call(&["SET", "ballast", &"x".repeat(8 << 20)]).unwrap();
    let used: u64 = server.info("used_memory").unwrap().parse().unwrap();
    server.config_set("maxmemory", &(used + used / 8).to_string()).unwrap();
    eventually("the gate shuts", async || !is_ready(&engine.http).await).await;
    add_many(&server, "late", 10);
    add(&server, &[("v", "2")]);
    eventually("they are seen", async || {
        metric(&engine, "posthaste_redis_intake_waiting").await == 11.0
    })
    .await;
    assert_eq!((length(&server, INTAKE), length(&server, DEAD)), (11, 0));
    assert_eq!(receiver.ledger().total(), 0);
    server.config_set("maxmemory", "0").unwrap();
    assert!(receiver.ledger().wait_for_total(10, WITHIN).await.is_ok());
    decided(&server).await;
    assert_eq!(length(&server, DEAD), 1);
    assert_eq!(engine.terminate().await, Some(0));
}

#[tokio::test]
async fn with_the_intake_off_nothing_is_taken() {
    let receiver = plain().await;
    let server = RedisServer::start(&RedisOptions::new()).unwrap();
    let config =
        on(&server, &[door("a.test", &receiver)]).replace("response_timeout", "intake: false, response_timeout");
    let mut home = Home::with(&config);
    let engine = home.start().await;
    add_many(&server, "x", 1);
    // An end that can be seen: a mail that is called later has gone out.
    let id = engine.http.send(&mail("called@a.test")).await;
    super::engine::all_delivered(&engine.http, &[id]).await;
    assert_eq!(server.call(&["XINFO", "GROUPS", INTAKE]).unwrap(), "");
    assert_eq!(length(&server, INTAKE), 1);
    assert_eq!(engine.terminate().await, Some(0));
}
