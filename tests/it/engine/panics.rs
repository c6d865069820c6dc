//! Each kind of actor panics under load, several times: nothing is lost, everything comes to an end.

use std::sync::Arc;
use std::time::Duration;

use fail::FailScenario;
use posthaste::domain::State;
use posthaste::store::Memory;
use provider_sim::{Behaviour, Receiver};

use super::bed::{Bed, behaving, door, in_state, mail, numbered, plain, settings};

const MAILS: usize = 240;

/// Panics at a failpoint, each after some calls that go well.
fn now_and_then(calls: usize, panics: usize) -> String {
    vec![format!("{calls}*off->1*panic"); panics].join("->")
}

async fn slow() -> Receiver {
    behaving(Behaviour {
        message_delay_ms: 2,
        ..Behaviour::default()
    })
    .await
}

/// Sends a load while the actor behind this failpoint panics so often, and holds the engine to its promises.
async fn check(failpoint: &str, kind: &str, actions: &str, panics: u32) {
    let scenario = FailScenario::setup();
    let (first, second) = (slow().await, slow().await);
    let doors = [door("one.test", &first), door("two.test", &second)];
    let mut settings = settings(&doors);
    settings.engine.lease = Duration::from_secs(1);
    let bed = Bed::new(settings).await;
    fail::cfg(failpoint, actions).expect("good actions");
    let half = MAILS / 2;
    let addresses: Vec<String> = [numbered(half, "one.test"), numbered(half, "two.test")].concat();
    let mut ids = Vec::with_capacity(MAILS);
    for address in &addresses {
        // A refusal while the intake is away is part of the contract: nothing was stored, and the caller comes back.
        loop {
            let answer = bed.post(&mail(address)).await;
            if answer.status == 202 {
                ids.push(answer.body["id"].as_str().expect("an id").to_owned());
                break;
            }
            assert_eq!((answer.status, answer.retry_after.is_some()), (503, true), "{answer:?}");
        }
    }
    bed.until_metric("posthaste_actor_restarts_total", &[("kind", kind)], f64::from(panics))
        .await;
    let depth = bed.settled().await;
    fail::remove(failpoint);
    assert_eq!(in_state(&depth, State::Delivered), MAILS as u64, "{depth:?}");
    assert_eq!(depth.messages, MAILS as u64);
    let mut ambiguous = 0;
    for (id, address) in ids.iter().zip(&addresses) {
        let shown = bed.email(id).await;
        let own = shown["recipients"][0]["ambiguous"].as_u64().expect("a number");
        let copies = first.ledger().records_for(address).len() + second.ledger().records_for(address).len();
        assert!(copies >= 1, "{address} is called delivered and holds nothing");
        assert!(copies as u64 <= 1 + own, "{address} holds {copies} copies: {shown:#}");
        ambiguous += own;
    }
    let duplicates = first.ledger().duplicates() + second.ledger().duplicates();
    assert!(
        duplicates <= ambiguous,
        "{duplicates} duplicates, {ambiguous} ambiguous"
    );
    // A session that panicked hangs up without QUIT, and the receiver may see its successor before it sees that.
    let unseen = if kind == "session" { u64::from(panics) } else { 0 };
    for receiver in [&first, &second] {
        let counters = receiver.counters();
        assert!(
            counters.connections_peak <= 5 + unseen,
            "the cap holds over restarts: {counters:?}"
        );
    }
    assert_eq!(
        bed.metric("posthaste_actor_restarts_total", &[("kind", kind)])
            .to_bits(),
        f64::from(panics).to_bits()
    );
    scenario.teardown();
}

#[actix_web::test]
async fn nothing_is_lost_when_the_scheduler_panics() {
    check("scheduler", "scheduler", &now_and_then(60, 5), 5).await;
}

#[actix_web::test]
async fn nothing_is_lost_when_the_actor_of_a_provider_panics() {
    check("isp", "isp", &now_and_then(80, 6), 6).await;
}

#[actix_web::test]
async fn nothing_is_lost_when_a_sender_panics() {
    check("sender", "sender", &now_and_then(1, 5), 5).await;
}

#[actix_web::test]
async fn a_mail_whose_session_orders_all_died_with_the_sender_still_goes() {
    let scenario = FailScenario::setup();
    let receiver = plain().await;
    let bed = Bed::new(settings(&[door("example.test", &receiver)])).await;
    fail::cfg("sender", "2*panic").expect("good actions");
    let id = bed.send(&mail("jacky@example.test")).await;
    let shown = bed.until(&id, "delivered").await;
    assert_eq!(shown["recipients"][0]["attempts"], 1);
    assert_eq!(
        bed.metric("posthaste_actor_restarts_total", &[("kind", "sender")])
            .to_bits(),
        2f64.to_bits()
    );
    scenario.teardown();
}

#[actix_web::test]
async fn nothing_is_lost_when_sessions_panic() {
    check("session", "session", &now_and_then(20, 8), 8).await;
}

#[actix_web::test]
async fn nothing_is_lost_when_sessions_panic_just_before_their_intent() {
    check("before-intent", "session", &now_and_then(20, 8), 8).await;
}

#[actix_web::test]
async fn nothing_is_lost_when_the_settler_panics() {
    check("settler", "settler", &now_and_then(30, 6), 6).await;
}

#[actix_web::test]
async fn nothing_is_lost_when_the_settler_panics_over_the_same_report_again_and_again() {
    check("settler", "settler", "40*off->5*panic->40*off->5*panic", 10).await;
}

#[actix_web::test]
async fn nothing_is_lost_when_intakes_panic() {
    check("intake", "intake", &now_and_then(30, 5), 5).await;
}

#[actix_web::test]
async fn nothing_is_lost_when_the_janitor_panics() {
    check("janitor", "janitor", "4*panic", 4).await;
}

#[actix_web::test]
async fn a_delivery_that_breaks_three_sessions_is_put_aside_and_the_others_go_on() {
    let scenario = FailScenario::setup();
    let receiver = plain().await;
    let bed = Bed::on(settings(&[door("example.test", &receiver)]), Arc::new(Memory::new())).await;
    fail::cfg("session", "3*panic").expect("good actions");
    let poison = bed.send(&mail("poison@example.test")).await;
    let shown = bed.until(&poison, "quarantined").await;
    assert_eq!(shown["recipients"][0]["why"], "quarantined");
    let other = bed.send(&mail("other@example.test")).await;
    bed.until(&other, "delivered").await;
    assert_eq!(bed.events(&poison).await, ["accepted", "quarantined"]);
    assert_eq!(receiver.ledger().total(), 1, "the other one");
    assert_eq!(
        bed.metric("posthaste_actor_restarts_total", &[("kind", "session")])
            .to_bits(),
        3f64.to_bits()
    );
    scenario.teardown();
}

#[actix_web::test]
async fn a_stop_is_gentle_even_when_the_scheduler_panics_over_it() {
    let scenario = FailScenario::setup();
    let receiver = slow().await;
    let mut bed = Bed::new(settings(&[door("example.test", &receiver)])).await;
    bed.send_all(&numbered(200, "example.test")).await;
    receiver
        .ledger()
        .wait_for_total(10, super::bed::WITHIN)
        .await
        .expect("it flows");
    fail::cfg("scheduler", "1*panic").expect("good actions");
    assert!(bed.stop().await);
    assert_eq!(bed.count(State::Delivered).await, receiver.ledger().total());
    scenario.teardown();
}
