//! Reading back: the message, its recipients, its timeline.

use std::time::Duration;

use posthaste::domain::{
    BounceClass, Class, EnhancedCode, EventKind, LastReply, Next, Settlement, State, SuppressionReason, TenantId,
    Timestamp, Why,
};
use posthaste::queue::Queue as _;
use serde_json::json;

use super::bed::{Bed, NOW, mail_with};

/// Defers the first recipient, delivers to the second, lets the third bounce.
async fn settle(bed: &Bed) {
    let later = NOW.plus(Duration::from_secs(60));
    let until = later.plus(Duration::from_secs(60));
    let leased = bed
        .memory
        .lease(Class::Transactional, 10, later, until)
        .await
        .expect("memory");
    assert_eq!(leased.len(), 3);
    let reply = |code, enhanced, text: &str| LastReply {
        at: later,
        host: "mx.example.com".into(),
        code,
        enhanced: Some(enhanced),
        text: text.into(),
    };
    let settlements = leased.iter().map(|leased| {
        let (next, reply, bounce, event) = match leased.delivery.id.recipient {
            0 => {
                let reply = reply(451, EnhancedCode(4, 7, 1), "greylisted, come back");
                let (why, due_at) = (Why::Deferred(BounceClass::Greylisted), Timestamp(later.0 + 300_000));
                let event = EventKind::Deferred {
                    why,
                    until: due_at,
                    reply: Some(reply.clone()),
                };
                let state = State::Deferred;
                (Next::Wait { state, due_at, why }, reply, None, event)
            }
            1 => {
                let reply = reply(250, EnhancedCode(2, 0, 0), "ok");
                let event = EventKind::Delivered {
                    reply: reply.clone(),
                    address: Some([192, 0, 2, 1].into()),
                    tls: true,
                    attempts: 1,
                };
                (Next::Final(State::Delivered), reply, None, event)
            }
            _ => {
                let reply = reply(550, EnhancedCode(5, 1, 1), "no such user");
                let class = BounceClass::InvalidRecipient;
                let event = EventKind::Bounced {
                    class,
                    reply: Some(reply.clone()),
                };
                (Next::Final(State::Bounced), reply, Some(class), event)
            }
        };
        Settlement {
            delivery: leased.delivery.id,
            fence: leased.fence,
            at: later,
            next,
            attempts: 1,
            ambiguous: 0,
            panics: 0,
            source: None,
            reply: Some(reply),
            bounce,
            suppress: bounce.map(|_| SuppressionReason::HardBounce),
            events: vec![event],
        }
    });
    bed.memory.settle(settlements.collect()).await.expect("memory");
}

#[actix_web::test]
async fn a_message_says_of_each_recipient_where_it_stands_and_why() {
    let bed = Bed::new().await;
    let fields = json!({
        "to": ["a@example.com", "B <b@example.com>"], "cc": "c@example.com",
        "tags": ["otp"], "metadata": {"order": "42"},
    });
    let id = bed.post("/send-email", &mail_with(&fields)).await.id();
    settle(&bed).await;
    let answer = bed.get(&format!("/v1/emails/{id}")).await;
    assert_eq!(answer.status, 200);
    let body = answer.json();
    assert_eq!(body["status"], "deferred", "what is still open comes first");
    assert_eq!(body["last_event"], "email.bounced");
    assert_eq!(body["to"], json!(["a@example.com", "B <b@example.com>"]));
    assert_eq!(body["cc"], json!(["c@example.com"]));
    assert_eq!(body["tags"], json!([{"name": "otp", "value": ""}]));
    assert_eq!(body["metadata"], json!({"order": "42"}));
    let recipients = body["recipients"].as_array().expect("a list");
    let first = &recipients[0];
    assert_eq!(
        (&first["email"], &first["status"]),
        (&json!("a@example.com"), &json!("deferred"))
    );
    assert_eq!((&first["why"], &first["attempts"]), (&json!("greylisted"), &json!(1)));
    assert_eq!(first["until"], "2025-11-23T11:08:03.456Z");
    assert_eq!(
        first["last_reply"],
        json!({"code": 451, "enhanced": "4.7.1", "text": "greylisted, come back", "host": "mx.example.com",
               "at": "2025-11-23T11:03:03.456Z"})
    );
    let second = &recipients[1];
    assert_eq!(
        (&second["status"], &second["why"], &second["until"]),
        (&json!("delivered"), &json!(null), &json!(null))
    );
    assert_eq!(
        (&recipients[2]["status"], &recipients[2]["bounce"]),
        (&json!("bounced"), &json!("invalid_recipient"))
    );
    assert_ne!(first["message_id"], second["message_id"]);
}

#[actix_web::test]
async fn the_timeline_is_in_order_and_bounded() {
    let bed = Bed::new().await;
    let to = json!({"to": ["a@example.com", "b@example.com", "c@example.com"]});
    let id = bed.post("/send-email", &mail_with(&to)).await.id();
    settle(&bed).await;
    let body = bed.get(&format!("/v1/emails/{id}/events")).await.json();
    assert_eq!((&body["object"], &body["has_more"]), (&json!("list"), &json!(false)));
    let data = body["data"].as_array().expect("a list");
    let seen: Vec<_> = data
        .iter()
        .map(|event| {
            (
                event["type"].as_str().expect("text"),
                event["recipient"].as_str().expect("text"),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("email.accepted", "a@example.com"),
            ("email.accepted", "b@example.com"),
            ("email.accepted", "c@example.com"),
            ("email.deferred", "a@example.com"),
            ("email.delivered", "b@example.com"),
            ("email.bounced", "c@example.com"),
        ]
    );
    assert_eq!(data[3]["why"], "greylisted");
    assert_eq!(data[4]["ip"], "192.0.2.1");
    assert_eq!(data[5]["reply"]["code"], 550);
    assert!(data[0]["at"].as_str().expect("text").ends_with('Z'));
    let page = bed.get(&format!("/v1/emails/{id}/events?limit=4")).await.json();
    assert_eq!(
        (page["data"].as_array().map(Vec::len), &page["has_more"]),
        (Some(4), &json!(true))
    );
}

#[actix_web::test]
async fn what_is_not_there_and_what_is_not_yours_looks_the_same() {
    let mut bed = Bed::new().await;
    let id = bed.post("/send-email", &mail_with(&json!({}))).await.id();
    let unknown = "01996f0e-8a51-7c3e-9d2b-5b1c6a0f4e11";
    for path in [
        format!("/v1/emails/{unknown}"),
        "/v1/emails/x".into(),
        format!("/v1/emails/{unknown}/events"),
    ] {
        assert_eq!(bed.get(&path).await.status, 404, "{path}");
    }
    bed.key = posthaste::policy::api_key::make(&[9; 32]);
    bed.put_key(&bed.key, TenantId(2)).await;
    for path in [
        format!("/v1/emails/{id}"),
        format!("/v1/emails/{id}/events"),
        "/v1/domains/acme.com".into(),
    ] {
        let answer = bed.get(&path).await;
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (404, Some("not_found")),
            "{path}"
        );
    }
    bed.key = String::new();
    assert_eq!(bed.get(&format!("/v1/emails/{id}")).await.status, 401);
}
