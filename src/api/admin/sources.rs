//! `/v1/admin/sources`: the Sources, how they stand, and what is wrong with them.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::super::answer;
use super::super::problem::ApiError;
use super::super::query;
use super::super::state::ApiState;
use super::operator::Operator;
use crate::policy::source_health::Check;

/// `GET /v1/admin/sources`: those that were looked at so far.
pub(super) async fn list(
    state: web::Data<ApiState>,
    _: Operator,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    query::none(&request)?;
    let looked_at = state.observer.sources_looked_at();
    let views: Vec<Value> = looked_at
        .iter()
        .map(|(source, (fitness, health))| {
            let address = state.inquiries.as_ref().and_then(|ask| ask.address(source));
            let checks = Check::ALL.map(|check| {
                let known = health.of(check);
                json!({
                    "check": check.name(),
                    "bad": known.bad,
                    "detail": known.detail,
                    "remedy": known.bad.then(|| check.remedy()),
                })
            });
            json!({
                "id": source.as_str(),
                "address": address.map(|address| address.to_string()),
                "standing": fitness.name(),
                "checks": checks,
            })
        })
        .collect();
    answer::list(&views, false)
}
