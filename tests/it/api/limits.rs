//! What is too much, too slow or not possible right now: refused with a clear word and a time to come back.

use std::time::Duration;

use actix_web::http::Method;
use posthaste::api::ApiSettings;
use posthaste::queue::QueueError;
use serde_json::json;

use super::bed::{Bed, mail, mail_with};

#[actix_web::test]
async fn a_body_beyond_its_limit_is_refused_with_and_without_a_length() {
    let settings = ApiSettings {
        body_bytes_max: 2_000,
        ..ApiSettings::default()
    };
    let bed = Bed::with(settings).await;
    let large = mail_with(&json!({"text": "x".repeat(2_000)})).to_string();
    let length = large.len().to_string();
    for headers in [vec![], vec![("content-length", length.as_str())]] {
        let answer = bed.call(Method::POST, "/send-email", &headers, large.clone()).await;
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (413, Some("payload_too_large"))
        );
    }
    let lying = [("content-length", "10")];
    assert_eq!(bed.call(Method::POST, "/send-email", &lying, large).await.status, 413);
    assert_eq!(bed.accepted().await, 0);
    assert_eq!(bed.post("/send-email", &mail()).await.status, 202);
}

#[actix_web::test]
async fn a_mail_that_no_provider_would_take_is_refused() {
    let mut settings = ApiSettings::default();
    settings.limits.message_bytes = 100_000;
    let bed = Bed::with(settings).await;
    let file = json!({"filename": "a.bin", "content": "A".repeat(100_000)});
    let answer = bed
        .post("/send-email", &mail_with(&json!({"attachments": [file]})))
        .await;
    assert_eq!(answer.errors(), [("/attachments".to_owned(), "too_large".to_owned())]);
    let answer = bed
        .post("/send-email", &mail_with(&json!({"html": "x".repeat(100_000)})))
        .await;
    assert_eq!(answer.errors(), [("/html".to_owned(), "too_large".to_owned())]);
}

#[actix_web::test]
async fn bodies_in_hand_are_bounded_together_values_included() {
    let settings = ApiSettings {
        body_memory_bytes_max: 200_000,
        ..ApiSettings::default()
    };
    let bed = Bed::with(settings).await;
    let text = mail_with(&json!({"text": "x".repeat(201_000)}));
    let file = json!({"filename": "a.bin", "content": vec![0; 20_000]});
    let values = mail_with(&json!({"attachments": [file]}));
    for body in [text, values] {
        let answer = bed.post("/send-email", &body).await;
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (503, Some("overloaded"))
        );
        assert_eq!(answer.header("retry-after"), Some("5"));
    }
    assert_eq!(
        bed.post("/send-email", &mail()).await.status,
        202,
        "what was held is given back"
    );
}

#[actix_web::test]
async fn only_plain_json_is_taken() {
    let bed = Bed::new().await;
    let body = mail().to_string();
    let table: [(&[(&str, &str)], u16); 7] = [
        (&[("content-type", "application/json; charset=utf-8")], 202),
        (&[("content-type", "application/vnd.acme+json")], 202),
        (&[("content-type", "text/plain")], 415),
        (&[("content-type", "application/x-www-form-urlencoded")], 415),
        (&[("content-type", "")], 415),
        (&[("content-encoding", "gzip")], 415),
        (&[("content-encoding", "identity")], 202),
    ];
    for (headers, status) in table {
        let answer = bed.call(Method::POST, "/send-email", headers, body.clone()).await;
        assert_eq!(answer.status, status, "{headers:?}");
        if status == 415 {
            assert_eq!(answer.json()["code"], "unsupported_media_type");
        }
    }
}

#[actix_web::test]
async fn what_cannot_be_stored_is_refused_with_a_time_to_come_back() {
    let bed = Bed::new().await;
    let unavailable = QueueError::Unavailable("/data/ph.redb: input/output error".into());
    let damaged = QueueError::Damaged("row 7".into());
    let table = [
        (QueueError::Full, 503, "storage_full"),
        (unavailable, 503, "store_unavailable"),
        (damaged, 500, "internal_error"),
    ];
    for (fault, status, code) in table {
        bed.queue.fail_with(Some(fault));
        for (method, path, body) in [
            (Method::POST, "/send-email", mail().to_string()),
            (Method::POST, "/v1/emails/batch", json!([mail()]).to_string()),
            (Method::GET, "/readyz", String::new()),
        ] {
            let answer = bed.call(method, path, &[], body).await;
            assert_eq!(
                (answer.status, answer.json()["code"].as_str()),
                (status, Some(code)),
                "{path}"
            );
            assert_eq!(answer.header("retry-after").is_some(), status == 503);
            assert!(
                !answer.text.contains("redb") && !answer.text.contains("row 7"),
                "{answer:?}"
            );
        }
    }
    bed.queue.fail_with(None);
    assert_eq!(bed.accepted().await, 0);
    assert_eq!(bed.post("/send-email", &mail()).await.status, 202);
}

#[actix_web::test]
async fn a_draining_node_takes_nothing_and_still_answers_questions() {
    let bed = Bed::new().await;
    let id = bed.post("/send-email", &mail()).await.id();
    bed.state.drain();
    for path in ["/send-email", "/v1/emails/batch", "/v1/templates", "/v1/domains"] {
        let answer = bed.post(path, &mail()).await;
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (503, Some("draining")),
            "{path}"
        );
        assert!(answer.header("retry-after").is_some());
    }
    assert_eq!(bed.get("/readyz").await.status, 503);
    assert_eq!(bed.get("/healthz").await.status, 200);
    assert_eq!(bed.get(&format!("/v1/emails/{id}")).await.status, 200);
    assert_eq!(bed.accepted().await, 1);
}

#[actix_web::test]
async fn a_key_may_not_ask_faster_than_its_rate() {
    let settings = ApiSettings {
        requests_per_second: Some(2),
        cache_life: Duration::ZERO,
        ..ApiSettings::default()
    };
    let mut bed = Bed::with(settings).await;
    let mut refused = None;
    for _ in 0..50 {
        let answer = bed.post("/send-email", &mail()).await;
        assert_eq!(answer.header("ratelimit-limit"), Some("2"));
        assert!(answer.header("ratelimit-remaining").is_some() && answer.header("ratelimit-reset").is_some());
        assert_eq!(answer.header("ratelimit-policy"), Some("\"default\";q=2;w=1"));
        if answer.status != 202 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("fifty calls in a moment are more than two a second");
    assert_eq!(
        (refused.status, refused.json()["code"].as_str()),
        (429, Some("rate_limited"))
    );
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.header("ratelimit-remaining"), Some("0"));
    bed.key = posthaste::policy::api_key::make(&[9; 32]);
    bed.put_key(&bed.key, posthaste::domain::TenantId(2)).await;
    assert_eq!(
        bed.get("/v1/templates").await.status,
        200,
        "another key has its own rate"
    );
}

#[actix_web::test]
async fn other_paths_methods_and_parameters_are_refused_as_documents() {
    let bed = Bed::new().await;
    let table = [
        (Method::GET, "/nothing", 404, "not_found", None),
        (
            Method::POST,
            "/v1/emails/validate",
            405,
            "method_not_allowed",
            Some("GET"),
        ),
        (Method::POST, "/", 404, "not_found", None),
        (Method::GET, "/send-email", 405, "method_not_allowed", Some("POST")),
        (
            Method::DELETE,
            "/v1/templates",
            405,
            "method_not_allowed",
            Some("GET, POST"),
        ),
        (Method::PUT, "/healthz", 405, "method_not_allowed", Some("GET, HEAD")),
        (Method::POST, "/send-email?dry_run=1", 422, "validation_error", None),
        (Method::GET, "/v1/templates?limt=5", 422, "validation_error", None),
        (Method::GET, "/v1/templates?limit=0", 422, "validation_error", None),
        (Method::GET, "/v1/templates?limit=101", 422, "validation_error", None),
    ];
    for (method, path, status, code, allow) in table {
        let answer = bed.call(method.clone(), path, &[("x-request-id", "abc-1")], "").await;
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (status, Some(code)),
            "{method} {path}"
        );
        assert_eq!(answer.header("allow"), allow, "{method} {path}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert_eq!(answer.json()["request_id"], "abc-1");
        assert_eq!(answer.header("x-request-id"), Some("abc-1"));
    }
    let answer = bed.call(Method::GET, "/healthz", &[("x-request-id", "a b")], "").await;
    assert_ne!(answer.header("x-request-id"), Some("a b"));
}
