//! `/v1/admin`: for operators, and for nobody else.

use actix_web::http::Method;
use posthaste::api::ApiSettings;
use posthaste::domain::KeyScope;
use posthaste::policy::api_key;

use super::bed::{Bed, TENANT};

/// Paths below `/v1/admin`: one of each resource, and some that are not there.
const PATHS: [&str; 3] = ["/v1/admin", "/v1/admin/", "/v1/admin/nothing/here"];

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
