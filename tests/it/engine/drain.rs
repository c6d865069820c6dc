//! A gentle stop: what is past its dot ends well, the rest waits for the next start.

use std::sync::Arc;

use posthaste::domain::State;
use posthaste::store::Memory;
use posthaste::store::faulty::{Calls, Fault, Faulty, Method};
use provider_sim::{Act, Behaviour, Gate, Script, Stage};

use super::bed::{Bed, WITHIN, behaving, door, eventually, in_state, mail, numbered, plain, scripted, settings};

#[actix_web::test]
async fn a_session_past_its_dot_may_finish() {
    let gate = Gate::new();
    let receiver = scripted(Script::new().at(Stage::Dot, [Act::Wait(gate.clone()), Act::Usual])).await;
    let memory = Arc::new(Memory::new());
    let mut bed = Bed::on(settings(&[door("example.test", &receiver)]), Arc::clone(&memory)).await;
    let id = bed.send(&mail("jacky@example.test")).await;
    gate.reached().await;
    let http = bed.http();
    let (clean, ()) = futures_util::join!(bed.stop(), async {
        let refuses = async || {
            let answer = http.post("/v1/emails", &mail("late@example.test")).await;
            answer.is_ok_and(|answer| answer.status == 503 && answer.retry_after.is_some())
        };
        eventually("new mail is refused", refuses).await;
        gate.open();
    });
    assert!(clean);
    let delivery = bed.store.deliveries(id.parse().expect("an id")).await.expect("answers")[0].clone();
    assert_eq!((delivery.state, delivery.ambiguous), (State::Delivered, 0));
    assert_eq!(receiver.ledger().total(), 1);
}

#[actix_web::test]
async fn what_waits_is_there_at_the_next_start_and_goes_once() {
    let receiver = behaving(Behaviour {
        message_delay_ms: 10,
        ..Behaviour::default()
    })
    .await;
    let settings = settings(&[door("example.test", &receiver)]);
    let memory = Arc::new(Memory::new());
    let mut bed = Bed::on(settings.clone(), Arc::clone(&memory)).await;
    bed.send_all(&numbered(200, "example.test")).await;
    receiver.ledger().wait_for_total(20, WITHIN).await.expect("it flows");
    assert!(bed.stop().await);
    let delivered = bed.count(State::Delivered).await;
    assert_eq!(
        delivered,
        receiver.ledger().total(),
        "every reply is durable when the stop is done"
    );
    assert!(delivered < 200, "it stopped in the middle");
    let key = bed.http().key().to_owned();
    let bed = Bed::again(settings, memory, &key).await;
    let depth = bed.settled().await;
    assert_eq!(in_state(&depth, State::Delivered), 200);
    assert_eq!((receiver.ledger().total(), receiver.ledger().duplicates()), (200, 0));
}

#[actix_web::test]
async fn a_stop_waits_until_the_last_outcome_is_stored() {
    let receiver = plain().await;
    let backend = Arc::new(Faulty::around(Arc::new(Memory::new())));
    let mut bed = Bed::on(settings(&[door("example.test", &receiver)]), Arc::clone(&backend)).await;
    backend.order(Method::Settle, Calls::Nth(1), Fault::Hang);
    bed.send(&mail("jacky@example.test")).await;
    eventually("the outcome is on its way", async || backend.calls(Method::Settle) >= 1).await;
    let http = bed.http();
    let (clean, ()) = futures_util::join!(bed.stop(), async {
        let refuses = async || {
            let answer = http.post("/v1/emails", &mail("late@example.test")).await;
            answer.is_ok_and(|answer| answer.status == 503)
        };
        eventually("new mail is refused", refuses).await;
        backend.heal();
    });
    assert!(clean);
    assert_eq!(bed.count(State::Delivered).await, 1);
}

#[actix_web::test]
async fn a_stop_does_not_call_itself_clean_while_an_outcome_is_not_stored() {
    let receiver = plain().await;
    let backend = Arc::new(Faulty::around(Arc::new(Memory::new())));
    let mut settings = settings(&[door("example.test", &receiver)]);
    settings.shutdown_grace = std::time::Duration::from_millis(500);
    let mut bed = Bed::on(settings, Arc::clone(&backend)).await;
    backend.order(Method::Settle, Calls::Nth(1), Fault::Hang);
    bed.send(&mail("jacky@example.test")).await;
    eventually("the outcome is on its way", async || backend.calls(Method::Settle) >= 1).await;
    assert!(!bed.stop().await);
}

#[actix_web::test]
async fn a_host_that_never_greets_does_not_hold_a_stop() {
    let tarpit = scripted(Script::new().at(Stage::Banner, Act::Silence)).await;
    let mut bed = Bed::new(settings(&[door("example.test", &tarpit)])).await;
    bed.send_all(&numbered(10, "example.test")).await;
    assert!(
        tarpit
            .wait_until(|receiver| receiver.open_connections() > 0, WITHIN)
            .await
    );
    assert!(bed.stop().await, "clean, long before the banner's deadline of minutes");
    let depth = bed.depth().await;
    assert_eq!((in_state(&depth, State::Queued), depth.leased), (10, 0), "{depth:?}");
}
