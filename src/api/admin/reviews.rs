//! `/v1/admin/unclassified` and `/v1/admin/rules/shadow`: what reviewers of rules look at.
//!
//! Takes the observer's lists; gives them as JSON, the most frequent first. Changes nothing.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::super::answer;
use super::super::problem::ApiError;
use super::super::query;
use super::super::state::ApiState;
use super::operator::Operator;
use crate::observe::{SHAPES_MAX, UnknownReply, WouldHave};
use crate::policy::classify::Meaning;

/// `GET /v1/admin/unclassified`: replies that no rule knows, over all nodes.
pub(super) async fn unclassified(
    state: web::Data<ApiState>,
    _: Operator,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    query::none(&request)?;
    let list = state.observer.unclassified();
    let shown = json!({
        "object": "list",
        "has_more": false,
        "data": list.list_of_all().iter().map(unknown).collect::<Vec<_>>(),
        "forgotten": list.forgotten(),
        "at_most": SHAPES_MAX,
    });
    answer::json(StatusCode::OK, &shown)
}

/// `GET /v1/admin/rules/shadow`: what shadow rules would have done, and instead of what.
pub(super) async fn shadow(
    state: web::Data<ApiState>,
    _: Operator,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    query::none(&request)?;
    let pairs: Vec<Value> = state.observer.shadows().list().iter().map(would_have).collect();
    answer::list(&pairs, false)
}

/// The keys that `posthaste rules replay` reads are the first six.
fn unknown(reply: &UnknownReply) -> Value {
    json!({
        "provider": reply.provider.as_str(),
        "stage": reply.stage.name(),
        "code": reply.code,
        "enhanced": reply.enhanced.map(|code| code.to_string()),
        "text": reply.example,
        "count": reply.count,
        "rule": reply.rule,
        "shape": reply.shape,
        "first_seen": reply.first_seen.to_string(),
        "last_seen": reply.last_seen.to_string(),
    })
}

fn would_have(pair: &WouldHave) -> Value {
    json!({
        "rule": &*pair.shadow.rule,
        "would_have": meaning(&pair.shadow),
        "instead_of": meaning(&pair.instead_of),
        "count": pair.count,
        "first_seen": pair.first_seen.to_string(),
        "last_seen": pair.last_seen.to_string(),
        "example": {"provider": pair.provider.as_str(), "code": pair.code, "text": pair.example},
    })
}

fn meaning(meaning: &Meaning) -> Value {
    json!({
        "verdict": meaning.verdict,
        "class": meaning.class.name(),
        "blame": meaning.blame.name(),
        "action": meaning.action_name(),
        "after": meaning.after_name(),
        "rule": &*meaning.rule,
    })
}
