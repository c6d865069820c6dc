//! `/healthz` and `/readyz`: whether the process lives, and whether it takes mail. No key needed.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde_json::json;

use super::answer;
use super::problem::ApiError;
use super::state::ApiState;

/// `GET /healthz`: answers as long as the process does.
pub(crate) async fn healthz() -> Result<HttpResponse, ApiError> {
    answer::json(StatusCode::OK, &json!({"status": "ok"}))
}

/// `GET /readyz`: 503 while we drain or cannot reach the store.
pub(crate) async fn readyz(state: web::Data<ApiState>) -> Result<HttpResponse, ApiError> {
    state.open()?;
    state
        .queue
        .depth(state.clock.now())
        .await
        .map_err(|error| state.refuse(error))?;
    answer::json(StatusCode::OK, &json!({"status": "ready"}))
}
