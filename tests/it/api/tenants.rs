//! `/v1/admin/tenants` and `/v1/admin/reputation`: an operator's word about a tenant, and what follows for its calls.

use posthaste::domain::{KeyScope, NoteKind, Tenant, Timestamp};
use posthaste::observe::reputation_notes::{standing_of_key, standings_of};
use posthaste::policy::tenant_policy::Grade;
use posthaste::store::Store;
use serde_json::{Value, json};

use super::bed::{Bed, TENANT, mail, mail_with};

/// A bed whose key is an operator's, of a tenant that has a record.
async fn desk() -> Bed {
    let bed = Bed::new().await;
    let tenant = Tenant {
        id: TENANT,
        name: "acme".to_owned(),
        created_at: Timestamp(1),
    };
    bed.memory.put_tenant(tenant).await.expect("stored");
    bed.put_scoped_key(&bed.key, TENANT, KeyScope::Admin).await;
    bed
}

fn order(stream: &str, reason: &str) -> Value {
    json!({"stream": stream, "reason": reason})
}

fn path(verb: &str) -> String {
    format!("/v1/admin/tenants/{TENANT}/{verb}")
}

#[actix_web::test]
async fn a_paused_stream_is_refused_with_the_reason_and_goes_on_when_resumed() {
    let bed = desk().await;
    let news = mail_with(&json!({"class": "broadcast"}));
    assert_eq!(bed.post("/v1/emails", &news).await.status, 202);
    let paused = bed.post(&path("pause"), &order("broadcast", "a bought list")).await;
    assert_eq!(paused.status, 200, "{paused:?}");
    assert_eq!(paused.json()["streams"]["broadcast"]["grade"], "paused");
    let refused = bed.post("/v1/emails", &news).await;
    assert_eq!(
        (refused.status, refused.json()["code"].as_str()),
        (403, Some("tenant_paused"))
    );
    assert!(refused.text.contains("a bought list"), "{refused:?}");
    let batch = bed.post("/v1/emails/batch", &json!({"emails": [news]})).await;
    assert_eq!(
        (batch.status, batch.json()["code"].as_str()),
        (403, Some("tenant_paused"))
    );
    // Its other stream, and its codes.
    assert_eq!(bed.post("/v1/emails", &mail()).await.status, 202);
    let resumed = bed.post(&path("resume"), &order("broadcast", "cleaned")).await;
    let stream = resumed.json()["streams"]["broadcast"].clone();
    assert_eq!(stream["grade"], "free");
    let reasons: Vec<&Value> = stream["changes"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| &one["reason"])
        .collect();
    assert_eq!(reasons, ["a bought list", "cleaned"]);
    assert_eq!(bed.post("/v1/emails", &news).await.status, 202);
}

#[actix_web::test]
async fn codes_go_even_when_the_transactional_stream_is_paused() {
    let bed = desk().await;
    let paused = bed.post(&path("pause"), &order("transactional", "phishing")).await;
    assert_eq!(paused.status, 200, "{paused:?}");
    assert_eq!(bed.post("/v1/emails", &mail()).await.status, 403);
    let code = mail_with(&json!({"class": "critical"}));
    assert_eq!(bed.post("/v1/emails", &code).await.status, 202);
}

#[actix_web::test]
async fn a_pause_is_in_the_store_before_it_is_answered() {
    let bed = desk().await;
    bed.post(&path("pause"), &order("broadcast", "a bought list")).await;
    let notes = bed.memory.notes(NoteKind::TenantPause, 10).await.expect("read");
    let [note] = &notes[..] else { panic!("{notes:?}") };
    let (tenant, stream) = standing_of_key(note.key()).expect("a key");
    let history = standings_of(note.value()).expect("a value");
    assert_eq!(
        (tenant, stream.name(), history[0].grade),
        (TENANT, "broadcast", Grade::Paused)
    );
}

#[actix_web::test]
async fn an_order_that_is_not_whole_changes_nothing() {
    let bed = desk().await;
    let check = async |body: Value, pointer: &str| {
        let answer = bed.post(&path("pause"), &body).await;
        assert_eq!(answer.status, 422, "{body}: {answer:?}");
        assert_eq!(answer.errors()[0].0, pointer, "{body}");
    };
    check(json!({}), "").await;
    check(json!([]), "").await;
    check(json!({"stream": "broadcast", "reason": "x", "also": 1}), "").await;
    check(order("news", "x"), "/stream").await;
    check(order("broadcast", "  "), "/reason").await;
    check(order("broadcast", "two\nlines"), "/reason").await;
    check(order("broadcast", &"x".repeat(201)), "/reason").await;
    for unknown in ["/v1/admin/tenants/99/pause", "/v1/admin/tenants/x/pause"] {
        assert_eq!(bed.post(unknown, &order("broadcast", "x")).await.status, 404);
    }
    let shown = bed.get(&format!("/v1/admin/tenants/{TENANT}")).await.json();
    assert_eq!(shown["streams"]["broadcast"]["grade"], "free");
    assert_eq!((&shown["policy"], &shown["weight"]), (&json!("standard"), &json!(1)));
}

#[actix_web::test]
async fn names_are_listed_with_what_they_come_from() {
    let bed = desk().await;
    assert_eq!(bed.get("/v1/admin/reputation").await.json()["data"], json!([]));
    let stream = posthaste::domain::Stream::Broadcast;
    bed.state
        .reputation()
        .complained(TENANT, stream, None, None, super::bed::NOW);
    let listed = bed.get("/v1/admin/reputation").await.json();
    let kinds: Vec<&Value> = listed["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| &one["kind"])
        .collect();
    assert_eq!(kinds, ["tenant", "tenant_stream"]);
    assert_eq!(listed["data"][0]["hour"]["complained"], 1.0);
    assert_eq!(listed["data"][0]["score"], Value::Null, "one is no evidence");
    assert_eq!(bed.get("/v1/admin/reputation?limit=0").await.status, 422);
}
