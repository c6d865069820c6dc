//! A store that fails under a running engine: what cannot be stored is refused, what cannot be recorded is not sent, and
//! what was sent is recorded as soon as that is possible again.

use std::sync::Arc;
use std::time::Duration;

use posthaste::domain::{DeliveryId, State};
use posthaste::store::Memory;
use posthaste::store::faulty::{Calls, Fault, Faulty, Method};
use provider_sim::{Act, Behaviour, Gate, Script, Stage};

use super::bed::{Bed, WITHIN, behaving, door, eventually, in_state, mail, numbered, plain, scripted, settings};
use crate::embedded::OnDisk;

fn faulty() -> Arc<Faulty> {
    Arc::new(Faulty::around(Arc::new(Memory::new())))
}

#[actix_web::test]
async fn what_cannot_be_recorded_is_not_sent() {
    let receiver = plain().await;
    let backend = faulty();
    let bed = Bed::on(settings(&[door("example.test", &receiver)]), Arc::clone(&backend)).await;
    backend.order(Method::Intent, Calls::All, Fault::Unavailable);
    let ids = bed.send_all(&numbered(10, "example.test")).await;
    let tried = async || backend.calls(Method::Intent) >= 20 || receiver.ledger().total() > 0;
    eventually("the engine tries", tried).await;
    assert_eq!(receiver.ledger().total(), 0);
    assert_eq!(bed.email(&ids[0]).await["recipients"][0]["why"], "store_unavailable");
    backend.heal();
    let depth = bed.settled().await;
    assert_eq!(in_state(&depth, State::Delivered), 10);
    assert_eq!((receiver.ledger().total(), receiver.ledger().duplicates()), (10, 0));
    assert_eq!(bed.email(&ids[0]).await["recipients"][0]["ambiguous"], 0);
}

#[actix_web::test]
async fn outcomes_that_cannot_be_stored_for_longer_than_a_lease_are_stored_later_and_nothing_is_sent_twice() {
    let receiver = plain().await;
    let backend = faulty();
    let mut settings = settings(&[door("example.test", &receiver)]);
    settings.engine.lease = Duration::from_millis(600);
    let bed = Bed::on(settings, Arc::clone(&backend)).await;
    backend.order(Method::Settle, Calls::All, Fault::Unavailable);
    bed.send_all(&numbered(20, "example.test")).await;
    receiver.ledger().wait_for_total(20, WITHIN).await.expect("sent");
    // The pauses between tries double from 100 ms: six of them are several leases.
    let tried = backend.calls(Method::Settle) + 6;
    eventually("it tries again", async || backend.calls(Method::Settle) >= tried).await;
    assert_eq!(
        bed.count(State::Delivered).await,
        0,
        "nothing is shown before it is durable"
    );
    backend.heal();
    let depth = bed.settled().await;
    assert_eq!(in_state(&depth, State::Delivered), 20);
    assert_eq!((receiver.ledger().total(), receiver.ledger().duplicates()), (20, 0));
    bed.until_metric("posthaste_delivered_total", &[], 20.0).await;
    assert_eq!(bed.metric("posthaste_ambiguous_total", &[]).to_bits(), 0f64.to_bits());
}

#[actix_web::test]
async fn a_damaged_record_keeps_no_other_outcome_of_its_batch_from_being_stored() {
    let receiver = plain().await;
    let backend = faulty();
    let bed = Bed::on(settings(&[door("example.test", &receiver)]), Arc::clone(&backend)).await;
    backend.order(Method::Settle, Calls::All, Fault::Unavailable);
    let ids = bed.send_all(&numbered(20, "example.test")).await;
    receiver.ledger().wait_for_total(20, WITHIN).await.expect("sent");
    let damaged = DeliveryId {
        message: ids[7].parse().expect("an id"),
        recipient: 0,
    };
    backend.damage(damaged);
    backend.heal();
    eventually("all others are stored", async || {
        bed.count(State::Delivered).await == 19
    })
    .await;
    bed.until_metric("posthaste_store_errors_total", &[("kind", "damaged")], 1.0)
        .await;
    assert_eq!(bed.email(&ids[7]).await["status"], "queued", "it was left as it was");
    assert_eq!((receiver.ledger().total(), receiver.ledger().duplicates()), (20, 0));
}

#[actix_web::test]
async fn an_outcome_whose_answer_got_lost_is_told_once() {
    let receiver = plain().await;
    let backend = faulty();
    let bed = Bed::on(settings(&[door("example.test", &receiver)]), Arc::clone(&backend)).await;
    backend.order(Method::Settle, Calls::Nth(1), Fault::AnswerLost);
    let id = bed.send(&mail("jacky@example.test")).await;
    bed.until(&id, "delivered").await;
    eventually("it is stored again", async || backend.calls(Method::Settle) >= 2).await;
    assert_eq!(bed.events(&id).await, ["accepted", "delivered"]);
    assert_eq!(receiver.ledger().total(), 1);
}

#[actix_web::test]
async fn an_intent_whose_answer_got_lost_is_not_sent_on_it() {
    let receiver = plain().await;
    let backend = faulty();
    let bed = Bed::on(settings(&[door("example.test", &receiver)]), Arc::clone(&backend)).await;
    backend.order(Method::Intent, Calls::Nth(1), Fault::AnswerLost);
    let id = bed.send(&mail("jacky@example.test")).await;
    bed.until(&id, "delivered").await;
    assert_eq!(receiver.ledger().total(), 1);
}

#[actix_web::test]
async fn what_the_store_refuses_is_never_answered_with_202() {
    let backend = faulty();
    let bed = Bed::on(settings(&[]), Arc::clone(&backend)).await;
    for (fault, code) in [(Fault::Full, "storage_full"), (Fault::Unavailable, "store_unavailable")] {
        backend.order(Method::Accept, Calls::All, fault);
        let answer = bed.post(&mail("jacky@example.test")).await;
        assert_eq!(
            (answer.status, answer.body["code"].as_str()),
            (503, Some(code)),
            "{answer:?}"
        );
        assert!(answer.retry_after.is_some(), "{answer:?}");
        backend.heal();
    }
    assert_eq!(bed.depth().await.messages, 0);
}

#[actix_web::test]
async fn a_store_that_does_not_answer_is_never_taken_for_one_that_has_nothing() {
    let backend = faulty();
    let bed = Bed::on(settings(&[]), Arc::clone(&backend)).await;
    let once = mail("jacky@example.test");
    let first = bed.http().post_with_key("key-1", &once).await;
    assert_eq!(first.status, 202, "{first:?}");
    backend.order(Method::Message, Calls::All, Fault::Unavailable);
    backend.order(Method::Idempotent, Calls::All, Fault::Unavailable);
    let path = format!("/v1/emails/{}", first.body["id"].as_str().expect("an id"));
    let read = bed.http().get(&path).await.expect("answers");
    let again = bed.http().post_with_key("key-1", &once).await;
    for answer in [read, again] {
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.retry_after.is_some(), "{answer:?}");
    }
    backend.heal();
    assert_eq!(bed.http().get(&path).await.expect("answers").status, 200);
    assert_eq!(
        bed.http().post_with_key("key-1", &once).await.body["id"],
        first.body["id"]
    );
}

#[actix_web::test]
async fn the_engine_goes_on_by_itself_when_the_queue_answers_again() {
    for method in [Method::Lease, Method::Body, Method::Message] {
        let receiver = behaving(Behaviour {
            message_delay_ms: 2,
            ..Behaviour::default()
        })
        .await;
        let backend = faulty();
        let mut settings = settings(&[door("example.test", &receiver)]);
        settings.engine.lease = Duration::from_secs(1);
        let bed = Bed::on(settings, Arc::clone(&backend)).await;
        backend.order(method, Calls::All, Fault::Unavailable);
        bed.send_all(&numbered(150, "example.test")).await;
        eventually("it meets the fault", async || backend.calls(method) >= 1).await;
        backend.heal();
        let depth = bed.settled().await;
        assert_eq!(in_state(&depth, State::Delivered), 150, "{method:?}");
        assert_eq!(
            (receiver.ledger().total(), receiver.ledger().duplicates()),
            (150, 0),
            "{method:?}"
        );
    }
}

#[actix_web::test]
async fn a_lease_that_is_lost_past_the_dot_makes_a_second_copy_that_is_told() {
    let gate = Gate::new();
    let script = Script::new()
        .times(1)
        .at(Stage::Dot, [Act::Wait(gate.clone()), Act::Usual]);
    let receiver = scripted(script).await;
    let backend = faulty();
    let mut settings = settings(&[door("example.test", &receiver)]);
    settings.engine.lease = Duration::from_secs(1);
    let bed = Bed::on(settings, Arc::clone(&backend)).await;
    backend.order(Method::Renew, Calls::All, Fault::Unavailable);
    let id = bed.send(&mail("jacky@example.test")).await;
    gate.reached().await;
    let shown = bed.until(&id, "delivered").await;
    assert_eq!(shown["recipients"][0]["ambiguous"], 1);
    let settled = backend.calls(Method::Settle);
    gate.open();
    receiver
        .ledger()
        .wait_for_total(2, WITHIN)
        .await
        .expect("the first one ends as well");
    eventually("the late outcome is looked at", async || {
        backend.calls(Method::Settle) > settled
    })
    .await;
    assert_eq!(bed.events(&id).await, ["accepted", "ambiguous", "delivered"]);
}

#[actix_web::test]
async fn a_full_disk_refuses_mail_sends_nothing_it_cannot_record_and_loses_nothing() {
    let gate = Gate::new();
    let script = Script::new()
        .times(1)
        .at(Stage::Data, [Act::Wait(gate.clone()), Act::Usual]);
    let receiver = scripted(script).await;
    let disk = OnDisk::new(crate::embedded::settings(), 3);
    let backend = Arc::new(disk.store().clone());
    let bed = Bed::on(settings(&[door("example.test", &receiver)]), backend).await;
    let first = bed.send(&mail("first@example.test")).await;
    gate.reached().await;
    disk.disk.set_full(true);
    // Its dot stands before a full disk: it must not leave.
    gate.open();
    let refused = bed.post(&mail("refused@example.test")).await;
    assert_eq!(
        (refused.status, refused.body["code"].as_str()),
        (503, Some("storage_full")),
        "{refused:?}"
    );
    assert!(refused.retry_after.is_some());
    bed.until_metric("posthaste_store_errors_total", &[("kind", "full")], 1.0)
        .await;
    assert_eq!(receiver.ledger().total(), 0);
    disk.disk.set_full(false);
    let readable = async || {
        bed.http()
            .get(&format!("/v1/emails/{first}"))
            .await
            .is_ok_and(|answer| answer.status == 200)
    };
    eventually("mail can be read again", readable).await;
    bed.until(&first, "delivered").await;
    let accepted = async || bed.post(&mail("second@example.test")).await.status == 202;
    eventually("mail is accepted again", accepted).await;
    bed.settled().await;
    assert_eq!((receiver.ledger().total(), receiver.ledger().duplicates()), (2, 0));
    assert!(receiver.ledger().records_for("refused@example.test").is_empty());
}

#[actix_web::test]
async fn a_disk_that_is_full_again_and_again_under_load_loses_nothing() {
    let receiver = behaving(Behaviour {
        message_delay_ms: 2,
        ..Behaviour::default()
    })
    .await;
    let disk = OnDisk::new(crate::embedded::settings(), 4);
    let backend = Arc::new(disk.store().clone());
    let bed = Bed::on(settings(&[door("example.test", &receiver)]), backend).await;
    let (mut ids, mut refused) = (Vec::new(), 0);
    for round in 0..6 {
        for number in 0..30 {
            disk.disk.set_full(number >= 20);
            let answer = bed.post(&mail(&format!("user{round}.{number}@example.test"))).await;
            match answer.status {
                202 => ids.push(answer.body["id"].as_str().expect("an id").to_owned()),
                503 => refused += 1,
                _ => panic!("{answer:?}"),
            }
        }
    }
    disk.disk.set_full(false);
    bed.settled().await;
    assert!(refused > 0 && !ids.is_empty());
    let mut ambiguous = 0;
    for id in &ids {
        let shown = bed.until(id, "delivered").await;
        ambiguous += shown["recipients"][0]["ambiguous"].as_u64().expect("a number");
    }
    assert_eq!(receiver.ledger().unique(), ids.len() as u64);
    assert!(receiver.ledger().duplicates() <= ambiguous);
}
