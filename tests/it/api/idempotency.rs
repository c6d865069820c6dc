//! `Idempotency-Key`: a repeated call is answered again and stores nothing.

use std::sync::Arc;

use actix_web::http::Method;
use futures_util::future::join;
use posthaste::queue::QueueError;
use serde_json::json;
use tokio::sync::Notify;

use super::bed::{Answer, Bed, mail, mail_with};

async fn send(bed: &Bed, key: &str, path: &str, body: &str) -> Answer {
    bed.call(Method::POST, path, &[("idempotency-key", key)], body).await
}

#[actix_web::test]
async fn a_repeated_call_gets_the_same_answer_and_sends_nothing() {
    let bed = Bed::new().await;
    let body = mail().to_string();
    let first = send(&bed, "order-42", "/send-email", &body).await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (202, None));
    for path in ["/send-email", "/v1/emails"] {
        let again = send(&bed, "order-42", path, &body).await;
        assert_eq!((again.status, &again.text), (202, &first.text));
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
        assert_eq!(again.header("location"), first.header("location"));
    }
    assert_eq!(bed.accepted().await, 1);
    assert_eq!(send(&bed, "order-43", "/send-email", &body).await.status, 202);
    assert_eq!(bed.accepted().await, 2);
}

#[actix_web::test]
async fn a_key_belongs_to_one_request_of_one_tenant() {
    let mut bed = Bed::new().await;
    let body = mail().to_string();
    send(&bed, "k", "/send-email", &body).await.id();
    let other = mail_with(&json!({"subject": "Other"})).to_string();
    for (path, body) in [("/send-email", &other), ("/v1/emails/batch", &format!("[{body}]"))] {
        let answer = send(&bed, "k", path, body).await;
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (422, Some("idempotency_key_mismatch"))
        );
    }
    assert_eq!(bed.accepted().await, 1);
    bed.key = posthaste::policy::api_key::make(&[9; 32]);
    bed.put_key(&bed.key, posthaste::domain::TenantId(2)).await;
    let stranger = send(&bed, "k", "/send-email", &body).await;
    assert_eq!(
        stranger.json()["code"],
        "domain_not_verified",
        "another tenant's key is another key"
    );
}

#[actix_web::test]
async fn a_batch_is_repeated_as_a_whole() {
    let bed = Bed::new().await;
    let body = json!([mail(), {"to": "nope"}]).to_string();
    let first = send(&bed, "b", "/v1/emails/batch", &body).await;
    let again = send(&bed, "b", "/v1/emails/batch", &body).await;
    assert_eq!((first.status, &first.text), (202, &again.text));
    assert_eq!((bed.accepted().await, again.header("location")), (1, None));
}

#[actix_web::test]
async fn refusals_are_not_remembered() {
    let bed = Bed::new().await;
    assert_eq!(send(&bed, "k", "/send-email", "{}").await.status, 422);
    bed.queue.fail_with(Some(QueueError::Full));
    assert_eq!(send(&bed, "k", "/send-email", &mail().to_string()).await.status, 503);
    bed.queue.fail_with(None);
    assert_eq!(send(&bed, "k", "/send-email", &mail().to_string()).await.status, 202);
    assert_eq!(bed.accepted().await, 1);
}

#[actix_web::test]
async fn a_key_must_be_one_short_visible_word() {
    let bed = Bed::new().await;
    let long = "k".repeat(257);
    for key in ["", "a b", "a\tb", &long] {
        let answer = send(&bed, key, "/send-email", &mail().to_string()).await;
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (400, Some("invalid_idempotency_key")),
            "{key:?}"
        );
    }
    let twice = [("idempotency-key", "a"), ("idempotency-key", "b")];
    let answer = bed.call(Method::POST, "/send-email", &twice, mail().to_string()).await;
    assert_eq!(answer.status, 400);
    assert_eq!(bed.accepted().await, 0);
    assert_eq!(
        send(&bed, &long[1..], "/send-email", &mail().to_string()).await.status,
        202
    );
}

#[actix_web::test]
async fn a_twin_is_told_to_wait_while_the_first_is_under_way() {
    let bed = Bed::new().await;
    let gate = Arc::new(Notify::new());
    bed.queue.wait_for(Arc::clone(&gate));
    let body = mail().to_string();
    let twin = async {
        // The first is asked first by `join` and waits at the gate.
        let twin = send(&bed, "k", "/send-email", &body).await;
        gate.notify_one();
        twin
    };
    let (first, twin) = join(send(&bed, "k", "/send-email", &body), twin).await;
    assert_eq!(first.status, 202);
    assert_eq!(
        (twin.status, twin.json()["code"].as_str()),
        (409, Some("idempotency_in_progress"))
    );
    assert_eq!(twin.header("retry-after"), Some("1"));
    let again = send(&bed, "k", "/send-email", &body).await;
    assert_eq!((again.status, again.text), (202, first.text));
    assert_eq!(bed.accepted().await, 1);
}
