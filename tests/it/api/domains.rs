//! Sending domains: declared, shown with their records, verified by DNS.

use posthaste::resolver::Answer;
use serde_json::{Value, json};

use super::bed::{Bed, mail_with};

/// The DKIM records that a domain should publish, as pairs of name and value.
fn dkim(domain: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let records = domain["records"].as_array().expect("a list");
    let dkim = records.iter().filter(|record| record["record"] == "DKIM");
    dkim.map(|record| (text(&record["name"]), text(&record["value"])))
        .collect()
}

#[actix_web::test]
async fn a_domain_sends_once_its_records_are_seen() {
    let bed = Bed::new().await;
    let created = bed.post("/v1/domains", &json!({"name": "Shop.Example"})).await;
    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(created.header("location"), Some("/v1/domains/shop.example"));
    let domain = created.json();
    assert_eq!(
        (&domain["name"], &domain["status"]),
        (&json!("shop.example"), &json!("pending"))
    );
    assert!(!created.text.to_lowercase().contains("private"));
    let records = dkim(&domain);
    assert_eq!(records.len(), 2);
    assert!(
        records
            .iter()
            .all(|(name, value)| { name.ends_with("._domainkey.shop.example") && value.starts_with("v=DKIM1; k=") })
    );

    let mail = mail_with(&json!({"from": "a@shop.example"}));
    assert_eq!(bed.post("/send-email", &mail).await.status, 403);
    let verify = "/v1/domains/shop.example/verify";
    let failed = bed.post(verify, &json!(null)).await;
    assert_eq!((failed.status, &failed.json()["status"]), (202, &json!("failed")));
    assert_eq!(failed.json()["records"][0]["status"], "missing");

    for (name, value) in &records {
        bed.resolver.set_txt(name, vec![Answer::Failed]);
        assert!(value.len() > 40);
    }
    let silent = bed.post(verify, &json!(null)).await.json();
    assert_eq!(silent["status"], "failed", "no answer changes nothing");
    assert_eq!(silent["records"][0]["status"], "no_answer");

    for (name, value) in &records {
        let ttl = std::time::Duration::from_secs(60);
        bed.resolver
            .set_txt(name, vec![Answer::Found(vec![value.clone()], ttl)]);
    }
    let verified = bed.post(verify, &json!(null)).await.json();
    assert_eq!(
        (&verified["status"], &verified["records"][0]["status"]),
        (&json!("verified"), &json!("found"))
    );
    assert!(verified["last_checked_at"].is_string());
    assert_eq!(bed.post("/send-email", &mail).await.status, 202);

    let shown = bed.get("/v1/domains/SHOP.example").await.json();
    assert_eq!((&shown["status"], dkim(&shown)), (&json!("verified"), records));
    let list = bed.get("/v1/domains").await.json();
    let names: Vec<_> = list["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| one["name"].clone())
        .collect();
    assert_eq!(names, [json!("acme.com"), json!("shop.example")]);
}

#[actix_web::test]
async fn what_is_no_domain_of_yours_is_refused() {
    let bed = Bed::new().await;
    let table = [
        (json!({}), "/name", "required"),
        (json!({"name": 5}), "/name", "invalid_type"),
        (json!({"name": "localhost"}), "/name", "invalid_domain"),
        (json!({"name": "co.uk"}), "/name", "invalid_domain"),
        (json!({"name": "a b.com"}), "/name", "invalid_domain"),
        (json!({"name": "x.com\r\n"}), "/name", "invalid_domain"),
        (
            json!({"name": "x.com", "return_path_subdomain": "a b"}),
            "/return_path_subdomain",
            "invalid_domain",
        ),
        (json!({"name": "x.com", "tracking": "t"}), "/tracking", "unknown_field"),
    ];
    for (body, pointer, code) in table {
        let answer = bed.post("/v1/domains", &body).await;
        assert_eq!(answer.status, 422, "{body}");
        assert_eq!(answer.errors(), [(pointer.to_owned(), code.to_owned())], "{body}");
    }
    let twice = bed.post("/v1/domains", &json!({"name": "ACME.com"})).await;
    assert_eq!((twice.status, twice.json()["code"].as_str()), (409, Some("conflict")));
    assert_eq!(bed.post("/v1/domains/other.com/verify", &json!(null)).await.status, 404);
    assert_eq!(bed.get("/v1/domains/other.com").await.status, 404);
}
