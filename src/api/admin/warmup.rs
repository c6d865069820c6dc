//! `/v1/admin/warmup`: how far the warm-ups of this node's Sources are.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::super::answer::{self, time};
use super::super::problem::ApiError;
use super::super::query;
use super::super::state::ApiState;
use super::operator::Operator;
use crate::policy::warmup::WarmupView;

/// Lanes in one answer.
const LANES_MAX: usize = 1_000;

/// `GET /v1/admin/warmup`: as of a few seconds ago.
pub(super) async fn list(
    state: web::Data<ApiState>,
    _: Operator,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    query::none(&request)?;
    let known = state.observer.known_warmups();
    let views: Vec<Value> = known.iter().take(LANES_MAX).map(view).collect();
    answer::list(&views, known.len() > LANES_MAX)
}

fn view(view: &WarmupView) -> Value {
    let (progress, window) = (&view.progress, &view.window);
    json!({
        "source": view.lane.source.as_str(),
        "provider": view.lane.provider.as_str(),
        "state": progress.stage.name(),
        "day": progress.days_sent.saturating_add(1),
        "cap": window.map(|window| window.cap),
        "used": window.map(|window| window.used),
        "allowed_now": window.map(|window| window.left()),
        "more_at": window.and_then(|window| time(window.until)),
        "next_cap": view.next_cap,
        "answered_today": progress.answered,
        "deferred_today": progress.deferred,
        "complaints_today": progress.complaints,
    })
}
