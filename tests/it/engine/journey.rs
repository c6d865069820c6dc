//! One mail from the call to the provider's mailbox, and what is shown of it; what retries and refusals make of it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use mail_parser::{MessageParser, MimeHeaders as _};
use posthaste::domain::State;
use provider_sim::{Act, Behaviour, Greylist, Reason, Script, Stage};
use serde_json::json;

use super::bed::{Bed, WITHIN, behaving, door, in_state, mail, numbered, plain, scripted, settings};

#[actix_web::test]
async fn a_mail_is_received_as_it_was_sent_and_its_timeline_tells_it() {
    let receiver = plain().await;
    let bed = Bed::new(settings(&[door("example.test", &receiver)])).await;
    let id = bed
        .send(&json!({
            "from": "Acme <no-reply@acme.test>",
            "to": "Jacky Zoë <jacky@example.test>",
            "subject": "Grüße aus Köln",
            "text": "Hello\n.\n..two dots\nFrom here on",
            "html": "<p>Hello</p>",
            "attachments": [{"filename": "a.txt", "content": "YXR0YWNoZWQ=", "content_type": "text/plain"}],
        }))
        .await;
    receiver.ledger().wait_for_total(1, WITHIN).await.expect("received");
    let shown = bed.until(&id, "delivered").await;
    let received = &receiver.ledger().records()[0];
    assert_eq!(received.recipient, "jacky@example.test");
    assert_eq!(&*received.helo, "mta.engine.test");
    assert!(received.sender.ends_with("@bounce.acme.test"), "{}", received.sender);
    assert_eq!(received.message_id.as_deref(), shown["message_id"].as_str());
    let parsed = MessageParser::new()
        .parse(received.bytes.as_deref().expect("kept"))
        .expect("a message");
    assert_eq!(parsed.subject(), Some("Grüße aus Köln"));
    assert_eq!(
        parsed.body_text(0).as_deref().map(str::trim_end),
        Some("Hello\r\n.\r\n..two dots\r\nFrom here on")
    );
    let attached = parsed.attachment(0).expect("attached");
    assert_eq!(
        (attached.attachment_name(), attached.contents()),
        (Some("a.txt"), &b"attached"[..])
    );
    assert_eq!(bed.events(&id).await, ["accepted", "delivered"]);
    let recipient = &shown["recipients"][0];
    assert_eq!(
        (&recipient["attempts"], &recipient["ambiguous"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(recipient["last_reply"]["code"], 250);
    let message = id.parse().expect("an id");
    assert_eq!(
        bed.store.body(message).await,
        Ok(None),
        "a settled mail keeps no content"
    );
}

#[actix_web::test]
async fn the_metrics_agree_with_what_the_receivers_hold() {
    let (good, bad) = (plain().await, scripted(refusing()).await);
    let bed = Bed::new(settings(&[door("good.test", &good), door("bad.test", &bad)])).await;
    bed.send_all(&numbered(30, "good.test")).await;
    bed.send_all(&numbered(7, "bad.test")).await;
    let depth = bed.settled().await;
    assert_eq!(
        (in_state(&depth, State::Delivered), in_state(&depth, State::Bounced)),
        (30, 7)
    );
    assert_eq!((good.ledger().total(), bad.ledger().total()), (30, 0));
    bed.until_metric("posthaste_delivered_total", &[], 30.0).await;
    bed.until_metric("posthaste_bounced_total", &[], 7.0).await;
    for (name, labels, value) in [
        ("posthaste_accepted_total", vec![("class", "transactional")], 37.0),
        ("posthaste_attempts_total", vec![("outcome", "accepted")], 30.0),
        ("posthaste_attempts_total", vec![("outcome", "refused")], 7.0),
        ("posthaste_delivered_total", vec![("provider", "route:door0")], 30.0),
        ("posthaste_bounced_total", vec![("provider", "route:door1")], 7.0),
        ("posthaste_delivery_seconds_count", vec![], 30.0),
        ("posthaste_actor_restarts_total", vec![], 0.0),
    ] {
        assert_eq!(
            bed.metric(name, &labels).to_bits(),
            f64::to_bits(value),
            "{name} {labels:?}"
        );
    }
}

#[actix_web::test]
async fn the_example_of_the_brief_arrives_word_for_word() {
    let receiver = plain().await;
    let bed = Bed::new(settings(&[door("example.test", &receiver)])).await;
    let template = json!({
        "alias": "code", "subject": "Your code", "text": "Hello {{name}}, Your verification code is {{code}}",
    });
    let made = bed.call("/v1/templates", &template).await;
    assert_eq!(made.status, 201, "{made:?}");
    bed.send(&json!({
        "from": "no-reply@acme.test", "to": "jacky@example.test", "class": "critical",
        "template": "code", "variables": {"name": "Jacky", "code": "483921"},
    }))
    .await;
    receiver.ledger().wait_for_total(1, WITHIN).await.expect("received");
    let received = &receiver.ledger().records()[0];
    let parsed = MessageParser::new()
        .parse(received.bytes.as_deref().expect("kept"))
        .expect("a message");
    assert_eq!(
        parsed.body_text(0).as_deref().map(str::trim_end),
        Some("Hello Jacky, Your verification code is 483921")
    );
}

#[actix_web::test]
async fn greylisting_passes_because_a_retry_keeps_its_source_and_its_sender() {
    let receiver = behaving(Behaviour {
        greylist: Some(Greylist { delay_ms: 200 }),
        ..Behaviour::default()
    })
    .await;
    let mut settings = settings(&[door("example.test", &receiver)]);
    let first = settings.sources[0].clone();
    settings.sources = ["127.0.0.2", "127.0.0.3"]
        .iter()
        .map(|ip| {
            let mut source = first.clone();
            source.room.id = posthaste::domain::SourceId::from(*ip);
            source.ip = ip.parse().ok();
            source
        })
        .collect();
    let bed = Bed::new(settings).await;
    let ids = bed.send_all(&numbered(20, "example.test")).await;
    let depth = bed.settled().await;
    assert_eq!(in_state(&depth, State::Delivered), 20);
    assert_eq!(receiver.ledger().total(), 20);
    assert_eq!(receiver.ledger().duplicates(), 0);
    let sources: BTreeSet<IpAddr> = receiver.ledger().records().iter().map(|one| one.peer.ip()).collect();
    let both: BTreeSet<IpAddr> = ["127.0.0.2", "127.0.0.3"]
        .iter()
        .filter_map(|ip| ip.parse().ok())
        .collect();
    assert_eq!(sources, both);
    assert_eq!(
        receiver.counters().deferred_for(Reason::Greylisted),
        20,
        "each was asked to wait once: the second try came from the same address with the same sender"
    );
    assert_eq!(bed.events(&ids[0]).await, ["accepted", "deferred", "delivered"]);
    assert_eq!(bed.email(&ids[0]).await["recipients"][0]["attempts"], 2);
}

#[actix_web::test]
async fn the_second_try_is_the_same_to_the_last_byte() {
    // The first copy is kept although it is refused, so that both can be compared.
    let refusal = [Act::Keep, Act::reply("451 4.3.2 Please try again later")];
    let receiver = scripted(Script::new().times(1).at(Stage::Dot, refusal)).await;
    let bed = Bed::new(settings(&[door("example.test", &receiver)])).await;
    let id = bed.send(&mail("jacky@example.test")).await;
    bed.until(&id, "delivered").await;
    let copies = receiver.ledger().records();
    assert_eq!(copies.len(), 2);
    assert_eq!(copies[0].bytes, copies[1].bytes);
    assert!(copies[0].bytes.is_some());
    assert_eq!(copies[0].sender, copies[1].sender);
    assert_eq!(bed.events(&id).await, ["accepted", "deferred", "delivered"]);
}

/// Unknown users, users whose provider dislikes us, everybody else of this domain as well.
fn refusing() -> Script {
    Script::new()
        .at(Stage::Rcpt, Act::reply("550 5.1.1 User unknown"))
        .to("policy")
        .at(
            Stage::Rcpt,
            Act::reply("550 5.7.1 Rejected by policy: your IP is on our block list"),
        )
}

#[actix_web::test]
async fn an_unknown_user_is_suppressed_and_one_refused_by_policy_is_not() {
    let receiver = scripted(refusing()).await;
    let bed = Bed::new(settings(&[door("example.test", &receiver)])).await;
    let unknown = bed.send(&mail("nobody@example.test")).await;
    let policy = bed.send(&mail("policy@example.test")).await;
    let unknown = bed.until(&unknown, "bounced").await;
    let asked = receiver.counters().transactions;
    assert_eq!(unknown["recipients"][0]["bounce"], "invalid_recipient", "{unknown:#}");
    let again = bed.send(&mail("nobody@example.test")).await;
    let again_shown = bed.until(&again, "suppressed").await;
    assert_eq!(again_shown["recipients"][0]["attempts"], 0);
    let tenant = posthaste::bootstrap::FIRST_TENANT;
    let listed = async |address: &str| bed.store.suppression(tenant, address).await.expect("answers").is_some();
    assert!(listed("nobody@example.test").await);
    assert!(!listed("policy@example.test").await);
    assert!(
        receiver.counters().transactions <= asked + 1,
        "nothing goes to a suppressed address"
    );
    // What policy made of the other one is the lane's affair; it is never the recipient's.
    assert_ne!(bed.email(&policy).await["status"], "suppressed");
}

#[actix_web::test]
async fn a_mail_to_many_has_a_verdict_for_each() {
    let receiver = scripted(
        Script::new()
            .to("nobody")
            .at(Stage::Rcpt, Act::reply("550 5.1.1 User unknown")),
    )
    .await;
    let bed = Bed::new(settings(&[door("example.test", &receiver)])).await;
    let id = bed
        .send(&json!({
            "from": "no-reply@acme.test", "to": ["a@example.test", "nobody@example.test"], "bcc": "c@example.test",
            "subject": "Hi", "text": "Hello",
        }))
        .await;
    bed.settled().await;
    let shown = bed.email(&id).await;
    let statuses: Vec<_> = shown["recipients"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| one["status"].as_str())
        .collect();
    assert_eq!(statuses, [Some("delivered"), Some("bounced"), Some("delivered")]);
    assert_eq!(receiver.ledger().total(), 2);
    let blind = |text: &[u8]| !String::from_utf8_lossy(text).contains("c@example.test");
    let records = receiver.ledger().records_for("a@example.test");
    assert!(blind(records[0].bytes.as_deref().expect("kept")), "bcc stays blind");
}

#[actix_web::test]
async fn a_lost_reply_is_ambiguous_and_by_class_sent_again_or_held() {
    let lost = [Act::Keep, Act::Reset];
    let receiver = scripted(Script::new().times(2).at(Stage::Dot, lost)).await;
    let mut settings = settings(&[door("example.test", &receiver)]);
    settings.engine.settlement.hold = Duration::from_millis(500);
    let bed = Bed::new(settings).await;
    let resent = bed.send(&mail("resent@example.test")).await;
    receiver.ledger().wait_for_total(1, WITHIN).await.expect("received");
    let mut news = mail("held@example.test");
    news["class"] = json!("broadcast");
    let held = bed.send(&news).await;
    let held_shown = bed.until(&held, "unknown").await;
    let resent_shown = bed.until(&resent, "delivered").await;
    assert_eq!(held_shown["recipients"][0]["ambiguous"], 1);
    assert_eq!(resent_shown["recipients"][0]["ambiguous"], 1);
    assert_eq!(
        receiver.ledger().records_for("held@example.test").len(),
        1,
        "held is never sent twice"
    );
    assert_eq!(receiver.ledger().records_for("resent@example.test").len(), 2);
    assert_eq!(bed.events(&resent).await, ["accepted", "ambiguous", "delivered"]);
    assert_eq!(bed.events(&held).await, ["accepted", "ambiguous", "unknown"]);
    assert!(bed.metric("posthaste_ambiguous_total", &[]) >= 2.0);
    assert_eq!(receiver.ledger().duplicates(), 1, "and that one is the one we tell of");
}
