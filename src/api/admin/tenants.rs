//! `/v1/admin/tenants`: how tenants are treated, and the operator's word about it.
//!
//! Takes a stream and a reason; pauses or resumes. A change is in the store before it is answered, so that a crash forgets no
//! pause; all nodes follow within seconds. Each change keeps its reason.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::answer::{self, time};
use super::super::problem::ApiError;
use super::super::state::ApiState;
use super::super::{body, query};
use super::operator::Operator;
use super::reputation::counts;
use crate::domain::{Note, NoteKind, Problem, Stream, Tenant, TenantId, Timestamp};
use crate::observe::reputation_notes::{standing_key, standing_value};
use crate::policy::reputation::Subject;
use crate::policy::tenant_policy::{Grade, REASON_BYTES_MAX, Standing};

const STREAMS: [Stream; 2] = [Stream::Transactional, Stream::Broadcast];

/// `GET /v1/admin/tenants`.
pub(super) async fn list(
    state: web::Data<ApiState>,
    _: Operator,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    query::none(&request)?;
    let tenants = state.store.tenants().await.map_err(|error| state.refuse(error))?;
    let views: Vec<Value> = tenants.iter().map(|tenant| view(&state, tenant)).collect();
    answer::list(&views, false)
}

/// `GET /v1/admin/tenants/{id}`.
pub(super) async fn get(
    state: web::Data<ApiState>,
    _: Operator,
    request: HttpRequest,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    query::none(&request)?;
    let tenant = find(&state, &id).await?;
    answer::json(StatusCode::OK, &view(&state, &tenant))
}

/// `POST /v1/admin/tenants/{id}/pause`.
pub(super) async fn pause(
    state: web::Data<ApiState>,
    _: Operator,
    request: HttpRequest,
    id: web::Path<String>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    change(&state, &request, &id, payload, Grade::Paused).await
}

/// `POST /v1/admin/tenants/{id}/resume`.
pub(super) async fn resume(
    state: web::Data<ApiState>,
    _: Operator,
    request: HttpRequest,
    id: web::Path<String>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    change(&state, &request, &id, payload, Grade::Free).await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    stream: String,
    reason: String,
}

async fn change(
    state: &ApiState,
    request: &HttpRequest,
    id: &str,
    payload: web::Payload,
    grade: Grade,
) -> Result<HttpResponse, ApiError> {
    query::none(request)?;
    let body = body::read(state, request, payload, state.settings.small_body_bytes_max).await?;
    let (value, _hold) = body.into_json(state)?;
    let (stream, reason) = read(value).map_err(|problem| ApiError::Invalid(vec![problem]))?;
    let tenant = find(state, id).await?;
    let now = state.clock.now();
    let change = state.reputation.set_by_hand(tenant.id, stream, grade, reason, now);
    state.observer.tenant_graded(&change);
    save(state, tenant.id, stream, now).await?;
    answer::json(StatusCode::OK, &view(state, &tenant))
}

fn read(value: Value) -> Result<(Stream, String), Problem> {
    let order: Order = serde_json::from_value(value).map_err(|_| {
        let detail = "An object with 'stream' and 'reason' is expected, both text, and nothing else.";
        Problem::new("", "invalid_type", detail)
    })?;
    let stream = STREAMS.into_iter().find(|stream| stream.name() == order.stream);
    let stream =
        stream.ok_or_else(|| Problem::new("/stream", "invalid_value", "One of 'transactional' and 'broadcast'."))?;
    let reason = order.reason.trim();
    if reason.is_empty() || reason.len() > REASON_BYTES_MAX || reason.contains(char::is_control) {
        let detail =
            format!("Why, in 1 to {REASON_BYTES_MAX} bytes on one line: it is kept, and shown to whoever asks.");
        return Err(Problem::new("/reason", "invalid_value", detail));
    }
    Ok((stream, reason.to_owned()))
}

/// Writes how a stream stands now into the store.
async fn save(state: &ApiState, tenant: TenantId, stream: Stream, now: Timestamp) -> Result<(), ApiError> {
    let value = standing_value(&history(state, tenant, stream));
    let note = Note::new(NoteKind::TenantPause, standing_key(tenant, stream), value, now);
    let note = note.map_err(|error| ApiError::Internal(error.to_string()))?;
    let saved = state.store.put_notes(vec![note]).await;
    // The engine goes by it already, and writes it again until the store takes it.
    saved.map_err(|error| state.refuse(error))
}

fn history(state: &ApiState, tenant: TenantId, stream: Stream) -> Vec<Standing> {
    let standings = state.reputation.standings().into_iter();
    let mut own = standings.filter(|(other, of, _)| (*other, *of) == (tenant, stream));
    own.next().map(|(_, _, history)| history).unwrap_or_default()
}

async fn find(state: &ApiState, id: &str) -> Result<Tenant, ApiError> {
    let id: u32 = id.parse().map_err(|_| ApiError::NotFound)?;
    let tenants = state.store.tenants().await.map_err(|error| state.refuse(error))?;
    let mut tenants = tenants.into_iter();
    tenants.find(|tenant| tenant.id.0 == id).ok_or(ApiError::NotFound)
}

fn view(state: &ApiState, tenant: &Tenant) -> Value {
    let now = state.clock.now();
    let configured = state.reputation.tenant(tenant.id);
    let score = state.reputation.tally(&Subject::Tenant(tenant.id), now);
    let streams: serde_json::Map<String, Value> = STREAMS
        .into_iter()
        .map(|stream| (stream.name().to_owned(), stream_view(state, tenant.id, stream, now)))
        .collect();
    json!({
        "id": tenant.id.0,
        "name": tenant.name,
        "policy": state.reputation.policy(tenant.id).name(),
        "weight": configured.weight.unwrap_or(1),
        "pool": configured.pool,
        "region": configured.region,
        "score": score.and_then(|tally| tally.score()),
        "streams": streams,
    })
}

fn stream_view(state: &ApiState, tenant: TenantId, stream: Stream, now: Timestamp) -> Value {
    let history = history(state, tenant, stream);
    let standing = history.last().cloned().unwrap_or_default();
    let tally = state
        .reputation
        .tally(&Subject::Stream(tenant, stream), now)
        .unwrap_or_default();
    let [hour, day] = tally.windows.each_ref().map(counts);
    json!({
        "grade": standing.grade.name(),
        "since": Some(standing.since).filter(|since| *since > Timestamp(0)).and_then(time),
        "reason": Some(&standing.reason).filter(|reason| !reason.is_empty()),
        "by_hand": standing.by_hand,
        "messages_per_second": (standing.grade == Grade::Slow).then_some(standing.slow_rate),
        "hour": hour,
        "day": day,
        "changes": history.iter().map(|standing| json!({
            "at": time(standing.since),
            "grade": standing.grade.name(),
            "reason": standing.reason,
            "by_hand": standing.by_hand,
        })).collect::<Vec<_>>(),
    })
}
