//! `/v1/admin`: for operators, and for nobody else.

use actix_web::http::Method;
use posthaste::api::ApiSettings;
use posthaste::domain::{KeyScope, Lane, ProviderId, SourceId, Tenant, Timestamp};
use posthaste::policy::api_key;
use posthaste::policy::warmup::{Warmup, WarmupView};
use posthaste::policy::warmup_ladder::Ladder;
use posthaste::store::Store as _;
use serde_json::json;

use super::bed::{Bed, NOW, TENANT, mail};

/// Paths below `/v1/admin`: one of each resource, and some that are not there.
const PATHS: [&str; 7] = [
    "/v1/admin",
    "/v1/admin/",
    "/v1/admin/nothing/here",
    "/v1/admin/why",
    "/v1/admin/sources",
    "/v1/admin/domains",
    "/v1/admin/warmup",
];

#[actix_web::test]
async fn a_key_that_may_send_opens_nothing_of_the_operators() {
    let bed = Bed::new().await;
    for path in PATHS {
        let answer = bed.get(path).await;
        let code = answer.json()["code"].clone();
        assert_eq!(
            (answer.status, code.as_str()),
            (403, Some("admin_key_needed")),
            "{path}"
        );
        assert!(
            answer.json()["request_id"].as_str().is_some_and(|id| !id.is_empty()),
            "{path}"
        );
    }
}

#[actix_web::test]
async fn without_a_key_nobody_learns_what_is_there() {
    let bed = Bed::new().await;
    let wrong = format!("Bearer {}", api_key::make(&[9; 32]));
    for path in PATHS {
        let bare = bed.bare_call(Method::GET, path, &[], "").await;
        assert_eq!(
            (bare.status, bare.json()["code"].as_str()),
            (401, Some("missing_api_key")),
            "{path}"
        );
        let unknown = bed.bare_call(Method::GET, path, &[("authorization", &wrong)], "").await;
        assert_eq!(
            (unknown.status, unknown.json()["code"].as_str()),
            (401, Some("invalid_api_key")),
            "{path}"
        );
        let posted = bed.bare_call(Method::POST, path, &[], "{}").await;
        assert_eq!(posted.status, 401, "{path}");
    }
}

#[actix_web::test]
async fn a_key_of_an_operator_opens_both_and_is_counted_once_for_a_call() {
    let mut bed = Bed::with(ApiSettings {
        requests_per_second: Some(5),
        ..ApiSettings::default()
    })
    .await;
    bed.key = api_key::make(&[7; 32]);
    bed.put_scoped_key(&bed.key, TENANT, KeyScope::Admin).await;
    let answer = bed.get("/v1/admin/nothing/here").await;
    assert_eq!(
        (answer.status, answer.json()["code"].as_str()),
        (404, Some("not_found"))
    );
    assert_eq!(answer.header("ratelimit-remaining"), Some("4"));
    assert_eq!(bed.get("/v1/domains").await.status, 200, "it may do what other keys do");
}

#[actix_web::test]
async fn an_operator_sees_how_far_warm_ups_are() {
    let mut bed = Bed::new().await;
    bed.key = api_key::make(&[7; 32]);
    bed.put_scoped_key(&bed.key, TENANT, KeyScope::Admin).await;
    let answer = bed.get("/v1/admin/warmup").await;
    assert_eq!((answer.status, answer.json()["data"].clone()), (200, json!([])));
    let now = Timestamp(20_000 * 86_400_000);
    let mut warmup = Warmup::begin(Ladder::of(&[24, 31]).expect("grows"), 20_000, now);
    let lane = Lane {
        source: SourceId::from("new"),
        provider: ProviderId::from("google"),
    };
    let window = warmup.window(Some((20_000, 1)), now);
    bed.observer.warmups(vec![WarmupView {
        lane,
        window,
        progress: warmup.progress(),
        next_cap: warmup.next_cap(),
    }]);
    let seen = bed.get("/v1/admin/warmup").await.json()["data"][0].clone();
    let expected = json!({
        "source": "new", "provider": "google", "state": "growing", "day": 1, "cap": 24, "used": 1, "allowed_now": 1,
        "more_at": "2024-10-04T01:00:00.000Z", "next_cap": 31,
        "answered_today": 0, "deferred_today": 0, "complaints_today": 0,
    });
    assert_eq!(seen, expected);
}

#[actix_web::test]
async fn operators_see_the_domains_of_all_tenants_and_who_waits() {
    let mut bed = Bed::new().await;
    bed.post("/send-email", &mail()).await.id();
    bed.key = api_key::make(&[7; 32]);
    bed.put_scoped_key(&bed.key, TENANT, KeyScope::Admin).await;
    let tenant = Tenant {
        id: TENANT,
        name: "Acme".to_owned(),
        created_at: NOW,
    };
    bed.memory.put_tenant(tenant).await.expect("stored");
    let domains = bed.get("/v1/admin/domains").await.json();
    assert_eq!(domains["data"][0]["name"], "acme.com");
    assert_eq!(domains["data"][0]["return_path"], "bounce.acme.com");
    let why = bed.get("/v1/admin/why?by=lane").await.json();
    assert_eq!((&why["waiting"], &why["as_of"]), (&json!(1), &json!(null)));
    for wrong in ["by=nothing", "limit=3", "by"] {
        let answer = bed.get(&format!("/v1/admin/why?{wrong}")).await;
        assert_eq!(answer.status, 422, "{wrong}: {answer:?}");
    }
}
