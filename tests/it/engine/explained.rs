//! Why mail waits, for one and for all; who waits for nothing; and Sources that are not fit.

use std::sync::Arc;
use std::time::Duration;

use posthaste::config::Settings;
use posthaste::domain::{
    Body, Class, Content, Delivery, DeliveryId, Event, EventKind, Mailbox, Message, MessageId, Recipient, Role, State,
    TenantId, Timestamp,
};
use posthaste::queue::{Accept, Accepted};
use provider_sim::{Act, Script, Stage};
use serde_json::{Value, json};

use super::bed::{Bed, ahead, door, eventually, mail, numbered, plain, scripted, settings};

/// An answer of `/v1/admin`.
async fn admin(bed: &Bed, path: &str) -> Value {
    let answer = bed
        .http()
        .get(&format!("/v1/admin/{path}"))
        .await
        .expect("the engine answers");
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

fn rows(answer: &Value) -> &[Value] {
    answer["data"].as_array().map_or(&[], Vec::as_slice)
}

fn sum<'a>(rows: impl IntoIterator<Item = &'a Value>) -> u64 {
    let counts = rows.into_iter().filter_map(|row| row["deliveries"].as_u64());
    counts.sum()
}

#[actix_web::test]
async fn who_waits_for_a_lane_hears_which_why_and_who_is_before_it() {
    let tarpit = scripted(Script::new().at(Stage::Banner, Act::Silence)).await;
    let mut slow = door("example.test", &tarpit);
    slow.connections = 1;
    let bed = Bed::new(settings(&[slow])).await;
    bed.send_all(&numbered(200, "example.test")).await;
    eventually("some are parked", async || bed.depth().await.parked > 50).await;
    let parked = bed.depth().await.parked;
    let lanes = admin(&bed, "why?by=lane").await;
    assert_eq!((&lanes["waiting"], &lanes["parked"]), (&json!(200), &json!(parked)));
    let lane = rows(&lanes)
        .iter()
        .find(|row| row["provider"].is_string())
        .expect("a lane");
    assert_eq!(
        (&lane["why"], &lane["deliveries"]),
        (&json!("lane_full"), &json!(parked))
    );
    assert!(lane["source"].is_string(), "{lane}");
    bed.until_metric("posthaste_lane_waiting", &[("why", "lane_full")], 50.0)
        .await;

    eventually("the watchdog has met all of them", async || {
        let tenants = admin(&bed, "why?by=tenant").await;
        sum(rows(&tenants)) == 200 && rows(&tenants).iter().all(|row| row["tenant"] == 1)
    })
    .await;
    assert_eq!(admin(&bed, "why").await["without_reason"], 0);
}

#[actix_web::test]
async fn mail_that_is_parked_tells_its_sender_so() {
    let tarpit = scripted(Script::new().at(Stage::Banner, Act::Silence)).await;
    let mut slow = door("example.test", &tarpit);
    slow.connections = 1;
    let bed = Bed::new(settings(&[slow])).await;
    let ids = bed.send_all(&numbered(200, "example.test")).await;
    eventually("some are parked", async || bed.depth().await.parked > 50).await;
    for id in &ids {
        // Those in the lane's room say so too.
        eventually("it says that its lane is full", async || {
            let recipient = bed.email(id).await["recipients"][0].clone();
            assert!(
                recipient["why"].is_string() && recipient["since"].is_string(),
                "{recipient}"
            );
            recipient["why"] == "lane_full"
        })
        .await;
    }
    // All have the same class and life, so the last one stands behind all others that are parked.
    let mut before = Vec::new();
    for id in &ids {
        let told = admin(&bed, &format!("why/{id}")).await["deliveries"][0].clone();
        assert!(told["provider"].is_string() && told["source"].is_string(), "{told}");
        before.extend(told["ahead"].as_u64());
    }
    before.sort_unstable();
    assert_eq!(
        before,
        (0..before.len() as u64).collect::<Vec<_>>(),
        "each has its place"
    );
}

#[actix_web::test]
async fn scheduled_mail_tells_when_it_will_probably_go() {
    let receiver = plain().await;
    let bed = Bed::new(settings(&[door("example.test", &receiver)])).await;
    let at = ahead(&bed.clock, Duration::from_secs(3_600));
    let mut later = mail("jacky@example.test");
    later["scheduled_at"] = json!(at);
    let id = bed.send(&later).await;
    let recipient = bed.email(&id).await["recipients"][0].clone();
    assert_eq!(
        (&recipient["why"], &recipient["until"]),
        (&json!("not_due"), &json!(at))
    );
    assert_eq!(
        (&recipient["projected"], &recipient["expires_first"]),
        (&json!(at), &json!(false))
    );
}

/// An empty message to one recipient.
fn empty_message(now: Timestamp, expires_at: Timestamp) -> Message {
    let mailbox = |address: &str| Mailbox {
        name: None,
        address: address.to_owned(),
    };
    Message {
        id: MessageId(uuid::Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0001)),
        tenant: TenantId(1),
        class: Class::Transactional,
        created_at: now,
        scheduled_at: None,
        expires_at,
        from: mailbox("a@acme.test"),
        reply_to: Vec::new(),
        recipients: vec![Recipient {
            mailbox: mailbox("b@example.test"),
            role: Role::To,
            variables: None,
        }],
        subject: String::new(),
        headers: Vec::new(),
        tags: Vec::new(),
        metadata: Vec::new(),
    }
}

/// A Delivery that does not say why it waits: nothing of ours makes one.
async fn plant(bed: &Bed) -> DeliveryId {
    let now = bed.clock.now();
    let expires_at = now.plus(Duration::from_secs(9_000));
    let message = empty_message(now, expires_at);
    let body = Body {
        content: Content::Inline {
            subject: String::new(),
            html: None,
            text: None,
        },
        attachments: Vec::new(),
    };
    let delivery = Delivery {
        id: DeliveryId {
            message: message.id,
            recipient: 0,
        },
        tenant: TenantId(1),
        class: Class::Transactional,
        address: "b@example.test".to_owned(),
        state: State::Scheduled,
        created_at: now,
        due_at: now.plus(Duration::from_secs(8_000)),
        expires_at,
        attempts: 0,
        ambiguous: 0,
        panics: 0,
        source: None,
        why: None,
        last_reply: None,
        bounce: None,
        updated_at: now,
    };
    let planted = delivery.id;
    let accept = Accept {
        messages: vec![(Arc::new(message), Arc::new(body))],
        events: vec![Event {
            sequence: 0,
            delivery: planted,
            at: now,
            kind: EventKind::Accepted,
        }],
        deliveries: vec![delivery],
        idempotency: None,
        at: now,
    };
    assert_eq!(bed.queue.accept(accept).await, Ok(Accepted::New));
    planted
}

#[actix_web::test]
async fn a_delivery_that_waits_for_nothing_is_found_and_named() {
    let bed = Bed::new(settings(&[])).await;
    let mut later = mail("jacky@example.test");
    later["scheduled_at"] = json!(ahead(&bed.clock, Duration::from_secs(3_600)));
    bed.send(&later).await;
    let met = async |waiting: u64| {
        let last = bed.observer.last_round();
        last.is_some_and(|last| last.round.waiting == waiting)
    };
    eventually("the watchdog has been round", async || met(1).await).await;
    let without = "posthaste_deliveries_without_reason";
    assert!(
        bed.observer.render().contains(&format!("\n{without} 0\n")),
        "it says 0, not nothing"
    );
    let planted = plant(&bed).await;
    bed.until_metric(without, &[], 1.0).await;
    let last = bed.observer.last_round().expect("it has been round");
    let named: Vec<DeliveryId> = last.round.named.iter().map(|(id, _)| *id).collect();
    assert_eq!((last.round.waiting, named), (2, vec![planted]));
    let told = admin(&bed, "why").await;
    assert_eq!(told["without_reason"], 1);
    assert!(rows(&told).iter().any(|row| row["why"].is_null()), "{told}");
}

fn from_sources(sources: &str, doors: &[super::bed::Door]) -> Settings {
    let text = format!("{}sources: {sources}\n", super::bed::config(doors));
    Settings::from_yaml(&text, &|_| None).expect("a good config")
}

#[actix_web::test]
async fn a_source_whose_address_is_not_here_is_out_and_its_mail_goes_from_another() {
    let receiver = plain().await;
    // TEST-NET-3, RFC 5737: no machine has it.
    let sources = "[{id: gone, ip: 203.0.113.5, ehlo: a.test}, {id: here, ip: 127.0.0.1, ehlo: b.test}]";
    let bed = Bed::new(from_sources(sources, &[door("example.test", &receiver)])).await;
    bed.send_all(&numbered(20, "example.test")).await;
    bed.settled().await;
    assert_eq!(bed.count(State::Delivered).await, 20);
    eventually("the alarm is raised", async || {
        bed.observer
            .render()
            .contains("posthaste_source_healthy{source=\"gone\",check=\"bind\"} 0")
    })
    .await;
    let told = admin(&bed, "sources").await;
    let standing = |id: &str| {
        let source = rows(&told).iter().find(|source| source["id"] == id);
        source.map(|source| source["standing"].clone())
    };
    assert_eq!(
        (standing("gone"), standing("here")),
        (Some(json!("out")), Some(json!("healthy")))
    );
}

#[actix_web::test]
async fn mail_that_no_source_can_send_says_so() {
    let receiver = plain().await;
    let sources = "[{id: gone, ip: 203.0.113.5, ehlo: a.test}]";
    let bed = Bed::new(from_sources(sources, &[door("example.test", &receiver)])).await;
    let id = bed.send(&mail("jacky@example.test")).await;
    eventually("it says why", async || {
        bed.email(&id).await["recipients"][0]["why"] == "no_source"
    })
    .await;
}
