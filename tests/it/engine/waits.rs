//! Mail that waits: for its time, or for the end of it.

use std::time::Duration;

use posthaste::domain::{State, Timestamp};
use provider_sim::{Act, Script, Stage};
use serde_json::{Value, json};

use super::bed::{Bed, ahead, door, in_state, mail, numbered, plain, scripted, settings};

fn with(to: &str, field: &str, value: &str) -> Value {
    let mut mail = mail(to);
    mail[field] = json!(value);
    mail
}

#[actix_web::test]
async fn scheduled_mail_goes_at_its_time_and_not_before() {
    let receiver = plain().await;
    let bed = Bed::new(settings(&[door("example.test", &receiver)])).await;
    let at = ahead(&bed.clock, Duration::from_millis(700));
    let id = bed.send(&with("jacky@example.test", "scheduled_at", &at)).await;
    let shown = bed.email(&id).await;
    assert_eq!(
        (&shown["status"], shown["scheduled_at"].as_str()),
        (&json!("scheduled"), Some(&*at))
    );
    bed.until(&id, "delivered").await;
    let received = Timestamp(receiver.ledger().records()[0].at_ms).to_string();
    assert!(received >= at, "{received} is before {at}");
    assert_eq!(bed.events(&id).await, ["scheduled", "delivered"]);
}

#[actix_web::test]
async fn mail_that_is_put_off_expires_in_time_with_what_was_said_last() {
    let receiver = scripted(Script::new().at(Stage::Rcpt, Act::reply("452 4.2.2 Mailbox full"))).await;
    let bed = Bed::new(settings(&[door("example.test", &receiver)])).await;
    let end = ahead(&bed.clock, Duration::from_millis(900));
    let id = bed.send(&with("jacky@example.test", "expires_at", &end)).await;
    let shown = bed.until(&id, "expired").await;
    let recipient = &shown["recipients"][0];
    assert!(recipient["attempts"].as_u64() >= Some(1), "{recipient}");
    assert_eq!(recipient["last_reply"]["code"], 452);
    assert_eq!(bed.events(&id).await.last().map(String::as_str), Some("expired"));
}

#[actix_web::test]
async fn mail_expires_while_it_is_parked_and_while_it_waits_for_a_session() {
    let tarpit = scripted(Script::new().at(Stage::Banner, Act::Silence)).await;
    let mut door = door("example.test", &tarpit);
    door.connections = 1;
    let bed = Bed::new(settings(&[door])).await;
    let end = ahead(&bed.clock, Duration::from_secs(2));
    let mails = numbered(150, "example.test");
    let mails: Vec<Value> = mails.iter().map(|to| with(to, "expires_at", &end)).collect();
    let ids = bed.http().send_batch(mails).await;
    let parked = || async { bed.depth().await.parked > 0 };
    super::bed::eventually("some are parked", parked).await;
    let depth = bed.settled().await;
    assert_eq!(in_state(&depth, State::Expired), 150);
    assert_eq!(bed.email(&ids[0]).await["recipients"][0]["attempts"], 0);
    assert_eq!(tarpit.ledger().total(), 0);
}

#[actix_web::test]
async fn mail_expires_in_a_lane_that_stays_shut() {
    let receiver = plain().await;
    let shut = door("example.test", &receiver);
    receiver.kill().await;
    let text = super::bed::config(&[shut]);
    let text = text.replace(
        "first_pause: 200ms, longest_pause: 1s}",
        "first_pause: 10m, longest_pause: 10m}",
    );
    let bed = Bed::new(posthaste::config::Settings::from_yaml(&text, &|_| None).expect("a good config")).await;
    let first = bed.send(&mail("first@example.test")).await;
    let waits_for = async |id: &str, why: &str| bed.email(id).await["recipients"][0]["why"] == why;
    super::bed::eventually("the lane is shut", async || waits_for(&first, "breaker_open").await).await;
    let end = ahead(&bed.clock, Duration::from_millis(300));
    let id = bed.send(&with("jacky@example.test", "expires_at", &end)).await;
    bed.until(&id, "expired").await;
    assert!(waits_for(&first, "breaker_open").await, "the lane is still shut");
}

#[actix_web::test]
async fn mail_does_not_go_out_after_its_end() {
    // The lane opens only after the mail has ended.
    let receiver = scripted(
        Script::new()
            .on_connection(1)
            .at(Stage::Banner, Act::Delay(Duration::from_secs(2))),
    )
    .await;
    let bed = Bed::new(settings(&[door("example.test", &receiver)])).await;
    let end = ahead(&bed.clock, Duration::from_millis(500));
    let id = bed.send(&with("jacky@example.test", "expires_at", &end)).await;
    bed.until(&id, "expired").await;
    let other = bed.send(&mail("other@example.test")).await;
    bed.until(&other, "delivered").await;
    assert_eq!(receiver.ledger().total(), 1, "only the other one");
}
