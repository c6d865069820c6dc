//! Warm-up: a new source sends no more than its cap, whoever is killed meanwhile; the rest goes from a warm one or waits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use posthaste::config::Settings;
use posthaste::domain::{MessageId, ProviderId, SourceId, State, Timestamp, Why};
use posthaste::policy::warmup::day_of;
use posthaste::policy::warmup_ladder::Ladders;
use posthaste::store::Memory;
use posthaste::store::faulty::{Calls, Fault, Faulty, Method};
use provider_sim::Receiver;

use super::bed::{Bed, WITHIN, config, door, eventually, mail, numbered, plain, settings};
use super::process::Home;

/// Mails that a new source of these tests may send in an hour.
const SHARE: u64 = 2;
/// The share of an hour of the first step of the built-in ladder: a twelfth of 50.
const FIRST_HOUR: u64 = 5;
const HOUR: u64 = 3_600_000;

/// An engine whose source `new` is warmed up at the receiver, 24 mails on its first day, beside these other sources.
fn warming(receiver: &Receiver, others: &[&str], now: Timestamp) -> Settings {
    let mut settings = settings(&[door("example.test", receiver)]);
    settings.routes[0].provider = Some(ProviderId::from("google"));
    let model = settings.sources[0].clone();
    let source = |id: &&str| {
        let mut source = model.clone();
        source.room.id = SourceId::from(*id);
        source
    };
    settings.sources = ["new"].iter().chain(others).map(source).collect();
    settings.engine.warmup.born = BTreeMap::from([(SourceId::from("new"), day_of(now))]);
    let ladders = "version: 1\ndefault: {steps: [24, 31]}\nsites: {steps: [24]}";
    settings.engine.warmup.ladders = Ladders::from_yaml(ladders).expect("good ladders");
    settings
}

fn now() -> Timestamp {
    posthaste::clock::Clock::system().now()
}

/// What may have gone since `began`: the share of each hour that the test has seen.
fn allowed(began: Timestamp, share: u64) -> u64 {
    share * (now().0 / HOUR - began.0 / HOUR + 1)
}

/// From where those of them went that were delivered.
async fn delivered_of(bed: &Bed, ids: &[String]) -> Vec<SourceId> {
    let mut sources = Vec::new();
    for id in ids {
        let id: MessageId = id.parse().expect("an id");
        let deliveries = bed.store.deliveries(id).await.expect("reads");
        let delivered = deliveries
            .into_iter()
            .filter(|delivery| delivery.state == State::Delivered);
        sources.extend(delivered.filter_map(|delivery| delivery.source));
    }
    sources
}

async fn waiting_for_cap(bed: &Bed, ids: &[String]) -> usize {
    let mut waiting = 0;
    for id in ids {
        let id: MessageId = id.parse().expect("an id");
        for delivery in bed.store.deliveries(id).await.expect("reads") {
            let waits = delivery.why == Some(Why::WarmupCap) && !delivery.state.is_final();
            assert!(!waits || delivery.due_at > Timestamp(0), "until when is known");
            waiting += usize::from(waits);
        }
    }
    waiting
}

#[actix_web::test]
async fn a_new_source_sends_no_more_than_its_cap_however_often_it_is_killed_and_the_rest_waits_with_its_reason() {
    let (receiver, began) = (plain().await, now());
    let date = &began.to_string()[..10];
    let text = config(&[door("example.test", &receiver)]).replace("connections:", "provider: google, connections:");
    let mut home = Home::with(&format!("{text}sources: [{{id: new, born: {date}}}]\n"));
    let mut waiting = None;
    for round in 1..=3 {
        let process = home.start().await;
        let mut ids = Vec::new();
        for number in 0..10 {
            ids.push(
                process
                    .http
                    .send(&mail(&format!("user{round}-{number}@example.test")))
                    .await,
            );
        }
        receiver
            .ledger()
            .wait_for_total(FIRST_HOUR, WITHIN)
            .await
            .expect("the hour's share");
        // All of this round's are decided on: they are delivered, or they wait for the cap.
        let mut last = None;
        let decided = async {
            for id in &ids {
                loop {
                    let shown = process.http.email(id).await;
                    last = Some(shown.clone());
                    let recipient = &shown["recipients"][0];
                    if recipient["why"] == "warmup_cap" && recipient["until"].is_string() {
                        waiting = Some(shown);
                        break;
                    }
                    if shown["status"] == "delivered" {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        };
        let done = tokio::time::timeout(WITHIN, decided).await;
        assert!(done.is_ok(), "undecided in round {round}: {last:#?}");
        let total = receiver.ledger().total();
        assert!(total <= allowed(began, FIRST_HOUR), "{total} went");
        process.kill().await;
    }
    let waiting = waiting.expect("some wait");
    let until = waiting["recipients"][0]["until"].as_str().map(str::to_owned);
    assert!(until.is_some_and(|until| until > began.to_string()), "{waiting:#}");
}

#[actix_web::test]
async fn what_a_new_source_may_not_send_goes_from_a_warm_one_at_once() {
    let (receiver, began) = (plain().await, now());
    let bed = Bed::new(warming(&receiver, &["warm"], began)).await;
    // Until its state was read, nothing goes from it.
    eventually("the new one sends", async || {
        bed.send(&mail("first@example.test")).await;
        !bed.store.charges(10).await.expect("reads").is_empty()
    })
    .await;
    let ids = bed.send_all(&numbered(60, "example.test")).await;
    eventually("all but a few are delivered", async || {
        delivered_of(&bed, &ids).await.len() + waiting_for_cap(&bed, &ids).await == 60
    })
    .await;
    let sources = delivered_of(&bed, &ids).await;
    let from_new = sources
        .iter()
        .filter(|source| **source == SourceId::from("new"))
        .count() as u64;
    assert!(from_new <= allowed(began, SHARE), "{from_new} went from the new one");
    assert!(sources.len() >= 55, "the rest did not wait: {}", sources.len());
    let (_, spent) = bed.store.charges(10).await.expect("reads")[0].clone();
    assert!((1..=allowed(began, SHARE)).contains(&spent.used), "{spent:?}");
}

#[actix_web::test]
async fn ladders_are_read_again_while_mail_waits_for_the_cap_and_nothing_that_was_charged_is_forgotten() {
    let (receiver, began) = (plain().await, now());
    let folder = tempfile::tempdir().expect("a folder");
    let rules = |first: &str| {
        let text = format!("version: 1\ndefault: {{steps: [{first}]}}\nsites: {{steps: [{first}]}}\n");
        std::fs::write(folder.path().join("warmup.yaml"), text).expect("written");
    };
    rules("24, 31");
    let routes = config(&[door("example.test", &receiver)]).replace("connections:", "provider: google, connections:");
    let date = &began.to_string()[..10];
    let text = format!(
        "rules: {}\n{routes}sources: [{{id: new, born: {date}}}]\n",
        folder.path().display()
    );
    let read = move || Settings::from_yaml(&text, &|_| None).map_err(|error| error.to_string());
    let mut bed = Bed::new(read().expect("a good config")).await;
    bed.reloader().reads(Arc::new(read));
    let ids = bed.send_all(&numbered(30, "example.test")).await;
    eventually("the hour's share goes and the rest waits for the cap", async || {
        let sent = delivered_of(&bed, &ids).await.len();
        sent as u64 >= SHARE && waiting_for_cap(&bed, &ids).await + sent == ids.len()
    })
    .await;
    let before = delivered_of(&bed, &ids).await.len() as u64;
    assert!((1..=allowed(began, SHARE)).contains(&before), "{before} went");

    // What cannot be climbed changes nothing.
    rules("24, 12");
    let refused = bed.reloader().reload().await.expect_err("it shrinks").to_string();
    assert!(
        refused.contains("warmup.yaml") && refused.contains("line 2, default"),
        "{refused}"
    );
    assert_eq!(delivered_of(&bed, &ids).await.len() as u64, before);

    rules("120, 150");
    let reloaded = bed.reloader().reload().await.expect("good ladders");
    assert_eq!(reloaded.taken, ["rules"]);
    eventually("the wider share goes", async || {
        delivered_of(&bed, &ids).await.len() as u64 >= 10
    })
    .await;
    let (_, spent) = bed.store.charges(10).await.expect("reads")[0].clone();
    let sent = delivered_of(&bed, &ids).await.len() as u64;
    assert!(sent <= allowed(began, 10), "{sent} went, and what went before counts");
    assert!(spent.used >= 10, "{spent:?}");
    assert!(bed.stop().await);
}

#[actix_web::test]
async fn a_dot_that_was_withheld_costs_nothing_of_the_cap() {
    let (receiver, began) = (plain().await, now());
    let faulty = Arc::new(Faulty::around(Arc::new(Memory::new())));
    let bed = Bed::on(warming(&receiver, &[], began), Arc::clone(&faulty)).await;
    // The store charges and says yes in time; we hear of it too late.
    faulty.order(Method::Renew, Calls::All, Fault::Hang);
    faulty.order(Method::Intent, Calls::Nth(1), Fault::LateAnswer(Duration::from_secs(3)));
    let id = bed.send(&mail("a@example.test")).await;
    bed.until_metric("posthaste_withheld_total", &[("reason", "late")], 1.0)
        .await;
    faulty.heal();
    bed.until(&id, "delivered").await;
    assert_eq!(receiver.ledger().total(), 1);
    assert_eq!(faulty.calls(Method::Refund), 1);
    let (_, spent) = bed.store.charges(10).await.expect("reads")[0].clone();
    assert_eq!(spent.used, 1, "what was sent is charged, and what was not is not");
}
