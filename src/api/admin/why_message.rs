//! `/v1/admin/why/{id}`: why the recipients of one message wait, whoever its tenant is.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::super::answer::{self, time};
use super::super::explaining::for_operators;
use super::super::problem::ApiError;
use super::super::query;
use super::super::state::ApiState;
use super::operator::Operator;
use crate::domain::MessageId;

/// `GET /v1/admin/why/{id}`.
pub(super) async fn get(
    state: web::Data<ApiState>,
    _: Operator,
    request: HttpRequest,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    query::none(&request)?;
    let id: MessageId = id.parse().map_err(|_| ApiError::NotFound)?;
    let message = state.store.message(id).await.map_err(|error| state.refuse(error))?;
    let message = message.ok_or(ApiError::NotFound)?;
    let deliveries = state.store.deliveries(id).await;
    let deliveries = deliveries.map_err(|error| state.refuse(error))?;
    let told = state.explanations(&deliveries, state.clock.now()).await;
    let views = deliveries.iter().zip(&told).map(|(delivery, told)| {
        let mut view = for_operators(told.as_ref());
        view["recipient"] = json!(delivery.address);
        view["state"] = json!(delivery.state.name());
        view["attempts"] = json!(delivery.attempts);
        view
    });
    answer::json(
        StatusCode::OK,
        &json!({
            "id": id.to_string(),
            "tenant": message.tenant.0,
            "class": message.class.name(),
            "created_at": time(message.created_at),
            "expires_at": time(message.expires_at),
            "deliveries": views.collect::<Vec<Value>>(),
        }),
    )
}
