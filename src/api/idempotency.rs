//! `Idempotency-Key`: a call repeated is answered again, not done again.
//!
//! Takes the head and the body of a call, gives a [`Ticket`] that goes into the same durable step as the mail, or the
//! answer of the earlier call. The store decides about races between nodes; here only twins on this node are told to wait.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap};
use actix_web::{HttpRequest, HttpResponse, web};
use aws_lc_rs::digest;

use super::caller::Caller;
use super::problem::ApiError;
use super::state::ApiState;
use crate::domain::Timestamp;
use crate::queue::{IdempotencyKey, StoredResponse};
use crate::sabotage::{self, Bug};

const HEADER: &str = "idempotency-key";
const KEY_BYTES_MAX: usize = 256;

/// The right to make a call under a key. Dropped when the call is answered or given up.
#[derive(Debug)]
pub(crate) struct Ticket {
    state: Arc<ApiState>,
    key: IdempotencyKey,
    request_hash: [u8; 32],
}

/// What a key leads to.
#[derive(Debug)]
pub(crate) enum Turn {
    /// No key: the call is made.
    Free,
    /// The first with its key: the call is made and its answer kept.
    First(Ticket),
    /// Made before: this was its answer.
    Again(StoredResponse),
}

/// Finds out whether the call was made before. `path` names the call; two paths with one meaning give the same.
pub(crate) async fn turn(
    state: &web::Data<ApiState>,
    caller: Caller,
    request: &HttpRequest,
    path: &str,
    body: &[u8],
    now: Timestamp,
) -> Result<Turn, ApiError> {
    let Some(key) = read_key(request.headers())? else {
        return Ok(Turn::Free);
    };
    turn_of(
        state,
        IdempotencyKey {
            tenant: caller.tenant,
            key,
        },
        hash(request.method().as_str(), path, body),
        now,
    )
    .await
}

/// Finds out whether the call with this key was made before; `request_hash` tells it from others.
pub(crate) async fn turn_of(
    state: &Arc<ApiState>,
    key: IdempotencyKey,
    request_hash: [u8; 32],
    now: Timestamp,
) -> Result<Turn, ApiError> {
    if !state.in_progress.insert(key.clone()) {
        return Err(ApiError::IdempotencyInProgress);
    }
    let ticket = Ticket {
        state: Arc::clone(state),
        key,
        request_hash,
    };
    let mut earlier = state.store.idempotent(&ticket.key, now).await;
    if sabotage::is(Bug::ErrorAsAbsent) {
        earlier = Ok(earlier.unwrap_or_default());
    }
    match earlier.map_err(|error| state.refuse(error))? {
        Some(earlier) if earlier.request_hash != request_hash => Err(ApiError::IdempotencyKeyMismatch),
        Some(earlier) => Ok(Turn::Again(earlier)),
        None => Ok(Turn::First(ticket)),
    }
}

impl Ticket {
    /// The byte that the ids of the call's messages must have, so that they are stored in one step with the key.
    pub(crate) fn partition_byte(&self) -> u8 {
        self.key.partition_byte()
    }

    /// What is stored with the mail.
    pub(crate) fn record(&self, status: StatusCode, body: &[u8], now: Timestamp) -> (IdempotencyKey, StoredResponse) {
        let response = StoredResponse {
            request_hash: self.request_hash,
            status: status.as_u16(),
            body: body.to_vec(),
            expires_at: now.plus(self.state.settings.idempotency_life),
        };
        (self.key.clone(), response)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.state.in_progress.remove(&self.key);
    }
}

/// The answer of the earlier call, word for word.
pub(crate) fn replay(earlier: StoredResponse) -> HttpResponse {
    let status = StatusCode::from_u16(earlier.status).unwrap_or(StatusCode::ACCEPTED);
    let mut builder = HttpResponse::build(status);
    builder.insert_header((header::CONTENT_TYPE, "application/json"));
    builder.insert_header(("idempotency-replayed", "true"));
    let document: Option<serde_json::Value> = serde_json::from_slice(&earlier.body).ok();
    if let Some(id) = document.as_ref().and_then(|document| document["id"].as_str()) {
        builder.insert_header((header::LOCATION, format!("/v1/emails/{id}")));
    }
    builder.body(earlier.body)
}

fn read_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut values = headers.get_all(HEADER);
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let text = value.to_str().map_err(|_| ApiError::InvalidIdempotencyKey)?;
    if !is_key(text) || values.next().is_some() {
        return Err(ApiError::InvalidIdempotencyKey);
    }
    Ok(Some(text.to_owned()))
}

/// Whether a text can be a key.
pub(crate) fn is_key(text: &str) -> bool {
    (1..=KEY_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// SHA-256 of method, path and body, with their borders.
pub(crate) fn hash(method: &str, path: &str, body: &[u8]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in [method.as_bytes(), b" ", path.as_bytes(), b"\n", body] {
        context.update(part);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}
