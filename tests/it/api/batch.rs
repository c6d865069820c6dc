//! Many mails in one call: an answer for each, all or nothing where that is asked for.

use posthaste::domain::DomainStatus;
use posthaste::store::Store as _;
use serde_json::{Value, json};

use super::bed::{Bed, mail};

fn item(to: &str) -> Value {
    json!({"to": to})
}

fn batch(mode: Option<&str>, emails: &[Value]) -> Value {
    let mut batch = json!({
        "defaults": {"from": "Acme <no-reply@acme.com>", "subject": "Hi", "text": "Hello", "metadata": {"run": "7"}},
        "emails": emails,
    });
    if let Some(mode) = mode {
        batch["mode"] = json!(mode);
    }
    batch
}

#[actix_web::test]
async fn the_good_ones_go_and_the_bad_ones_are_named() {
    let bed = Bed::new().await;
    let emails = [item("a@example.com"), item("nope"), json!(5), item("c@example.com")];
    let answer = bed.post("/v1/emails/batch", &batch(None, &emails)).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let body = answer.json();
    assert_eq!((&body["accepted"], &body["rejected"]), (&json!(2), &json!(2)));
    let data = body["data"].as_array().expect("a list");
    let statuses: Vec<_> = data
        .iter()
        .map(|one| (one["index"].as_u64(), one["status"].as_str()))
        .collect();
    assert_eq!(
        statuses,
        [
            (Some(0), Some("queued")),
            (Some(1), Some("rejected")),
            (Some(2), Some("rejected")),
            (Some(3), Some("queued"))
        ]
    );
    assert_eq!(data[1]["error"]["pointer"], "/emails/1/to");
    assert_eq!(data[1]["error"]["code"], "invalid_email");
    assert_eq!(data[2]["error"]["pointer"], "/emails/2");
    assert_eq!(bed.accepted().await, 2);
    let id = data[3]["id"].as_str().expect("an id").parse().expect("an id");
    let message = bed.memory.message(id).await.expect("memory").expect("stored");
    assert_eq!(message.recipients[0].mailbox.address, "c@example.com");
    assert_eq!(message.metadata, [("run".into(), "7".into())]);
}

#[actix_web::test]
async fn strict_means_all_or_nothing() {
    let bed = Bed::new().await;
    let emails = [item("a@example.com"), item("nope"), item("no")];
    let answer = bed.post("/v1/emails/batch", &batch(Some("strict"), &emails)).await;
    assert_eq!(answer.status, 422);
    let pointers: Vec<_> = answer.errors().into_iter().map(|(pointer, _)| pointer).collect();
    assert_eq!(pointers, ["/emails/1/to", "/emails/2/to"]);
    assert_eq!(bed.accepted().await, 0);
    let answer = bed.post("/v1/emails/batch", &batch(Some("strict"), &emails[..1])).await;
    assert_eq!((answer.status, bed.accepted().await), (202, 1));
}

#[actix_web::test]
async fn permissive_without_a_good_one_is_refused() {
    let bed = Bed::new().await;
    bed.put_domain("pending.com", DomainStatus::Pending).await;
    let emails = [item("nope"), json!({"to": "a@example.com", "from": "x@pending.com"})];
    let answer = bed.post("/v1/emails/batch", &batch(Some("permissive"), &emails)).await;
    assert_eq!(answer.status, 422);
    assert_eq!(
        answer.errors(),
        [
            ("/emails/0/to".to_owned(), "invalid_email".to_owned()),
            ("/emails/1/from".to_owned(), "domain_not_verified".to_owned())
        ]
    );
    assert_eq!(bed.accepted().await, 0);
}

#[actix_web::test]
async fn a_bare_array_is_a_batch() {
    let bed = Bed::new().await;
    let answer = bed.post("/v1/emails/batch", &json!([mail(), {"to": "x"}])).await;
    let body = answer.json();
    assert_eq!((answer.status, &body["accepted"]), (202, &json!(1)));
    let errors = body["data"][1]["errors"].as_array().expect("several");
    let pointers: Vec<_> = errors
        .iter()
        .map(|error| error["pointer"].as_str().expect("text"))
        .collect();
    assert_eq!(pointers, ["/1/from", "/1/to", "/1/html", "/1/subject"]);
}

#[actix_web::test]
async fn what_is_wrong_with_a_default_is_said_where_it_stands() {
    let bed = Bed::new().await;
    let mut call = batch(Some("strict"), &[item("a@example.com")]);
    call["defaults"]["from"] = json!("nope");
    call["defaults"]["colour"] = json!("red");
    let answer = bed.post("/v1/emails/batch", &call).await;
    assert_eq!(
        answer.errors(),
        [
            ("/defaults/from".to_owned(), "invalid_email".to_owned()),
            ("/defaults/colour".to_owned(), "unknown_field".to_owned())
        ]
    );
}

#[actix_web::test]
async fn a_batch_that_cannot_be_read_stores_nothing() {
    let bed = Bed::new().await;
    let many: Vec<Value> = (0..501).map(|number| item(&format!("p{number}@example.com"))).collect();
    let large = json!({"text": "x".repeat(1_000_000)});
    let hundred: Vec<Value> = (0..200).map(|number| item(&format!("p{number}@example.com"))).collect();
    let table = [
        (json!({}), "/emails", "required"),
        (json!({"emails": []}), "/emails", "required"),
        (json!([]), "", "required"),
        (json!({"emails": {}}), "/emails", "invalid_type"),
        (json!({"emails": many}), "/emails", "too_many"),
        (json!({"emails": [mail()], "mode": "lenient"}), "/mode", "invalid_value"),
        (json!({"emails": [mail()], "defaults": []}), "/defaults", "invalid_type"),
        (json!({"emails": [mail()], "default": {}}), "/default", "unknown_field"),
        (json!({"emails": hundred, "defaults": large}), "/defaults", "too_large"),
        (json!("x"), "", "invalid_type"),
    ];
    for (body, pointer, code) in table {
        let answer = bed.post("/v1/emails/batch", &body).await;
        let errors = answer.errors();
        let found = errors.iter().any(|(p, c)| p == pointer && c == code);
        assert!(answer.status == 422 && found, "{pointer} {code}: {errors:?}");
    }
    assert_eq!(bed.accepted().await, 0);
}
