//! Reading a request body: bounded in size, in time and in memory over all calls together.
//!
//! Takes a payload, gives its bytes with a [`Hold`] on the memory budget, which lasts as long as the call works with them.
//! Refuses early (a declared length, a media type or an encoding we do not take) without reading. Never parses.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header;
use actix_web::web::{Bytes, BytesMut, Payload};
use futures_util::StreamExt as _;
use serde_json::Value;

use super::json::{self, JsonError};
use super::problem::ApiError;
use super::state::ApiState;
use crate::domain::Timestamp;

/// Capacity that is reserved at once on the word of a `Content-Length` alone.
const TRUSTED_LENGTH: usize = 64 * 1024;

/// Bytes of bodies in hand, over all calls.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicUsize,
    max: usize,
}

impl Budget {
    /// A budget of `max` bytes.
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            used: AtomicUsize::new(0),
            max,
        })
    }

    /// Bytes that are held now.
    #[cfg(test)]
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// A part of the budget, given back when dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    budget: Arc<Budget>,
    bytes: AtomicUsize,
}

impl Hold {
    fn none(budget: &Arc<Budget>) -> Self {
        Self {
            budget: Arc::clone(budget),
            bytes: AtomicUsize::new(0),
        }
    }

    /// Takes `bytes` more; `false` when the budget has no room.
    pub(crate) fn grow(&self, bytes: usize) -> bool {
        let used = self.budget.used.fetch_add(bytes, Ordering::Relaxed);
        if used.saturating_add(bytes) > self.budget.max {
            self.budget.used.fetch_sub(bytes, Ordering::Relaxed);
            return false;
        }
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        true
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let bytes = self.bytes.load(Ordering::Relaxed);
        self.budget.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// A body and the memory it holds.
#[derive(Debug)]
pub(crate) struct Body {
    /// The bytes.
    pub(crate) bytes: Bytes,
    hold: Hold,
}

impl Body {
    /// A body that came another way than by HTTP; none while there is no room for it.
    pub(crate) fn in_hand(state: &ApiState, bytes: Vec<u8>) -> Option<Self> {
        let hold = Hold::none(&state.budget);
        hold.grow(bytes.len()).then(|| Self {
            bytes: bytes.into(),
            hold,
        })
    }

    /// The JSON in it. The bytes are given up, the hold stays for the values.
    pub(crate) fn into_json(self, state: &ApiState) -> Result<(Value, Hold), ApiError> {
        let parsed = json::parse(&self.bytes, &|bytes| self.hold.grow(bytes));
        match parsed {
            Ok(value) => Ok((value, self.hold)),
            Err(JsonError::Syntax(detail)) => Err(ApiError::InvalidJson(detail)),
            Err(JsonError::Memory) => Err(ApiError::Overloaded(state.settings.retry_after)),
        }
    }
}

/// Reads a JSON body of at most `bytes_max`.
pub(crate) async fn read(
    state: &ApiState,
    request: &HttpRequest,
    mut payload: Payload,
    bytes_max: usize,
) -> Result<Body, ApiError> {
    let declared = check_head(request, bytes_max)?;
    let overloaded = || ApiError::Overloaded(state.settings.retry_after);
    let hold = Hold::none(&state.budget);
    let mut bytes = BytesMut::with_capacity(declared.min(TRUSTED_LENGTH));
    let started = state.clock.now();
    loop {
        let deadline = deadline(state, started, bytes.len());
        let next = tokio::time::timeout(deadline, payload.next()).await;
        let chunk = match next {
            Err(_) => return Err(ApiError::RequestTimeout),
            Ok(None) => break,
            Ok(Some(Err(error))) => return Err(ApiError::BadRequest(format!("The body broke off: {error}."))),
            Ok(Some(Ok(chunk))) => chunk,
        };
        if bytes.len() + chunk.len() > bytes_max {
            return Err(ApiError::PayloadTooLarge(bytes_max));
        }
        if !hold.grow(chunk.len()) {
            return Err(overloaded());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Body {
        bytes: bytes.freeze(),
        hold,
    })
}

/// What the head says about the body. Gives the declared length, 0 when there is none.
fn check_head(request: &HttpRequest, bytes_max: usize) -> Result<usize, ApiError> {
    let headers = request.headers();
    let encoding = headers.get(header::CONTENT_ENCODING);
    if encoding.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(ApiError::UnsupportedMediaType("Compressed bodies are not taken."));
    }
    if let Some(kind) = headers.get(header::CONTENT_TYPE) {
        let kind = kind.to_str().unwrap_or_default();
        let essence = kind.split(';').next().unwrap_or_default().trim();
        let json = essence.eq_ignore_ascii_case("application/json")
            || (essence.len() > 5 && essence.to_ascii_lowercase().ends_with("+json"));
        if !json {
            return Err(ApiError::UnsupportedMediaType("Send 'Content-Type: application/json'."));
        }
    }
    let declared = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok())
        .unwrap_or(0);
    if declared > bytes_max {
        return Err(ApiError::PayloadTooLarge(bytes_max));
    }
    Ok(declared)
}

/// How long the next piece may take: the whole body has `body_timeout`, and after a grace it has to keep a pace.
fn deadline(state: &ApiState, started: Timestamp, received: usize) -> Duration {
    let settings = &state.settings;
    let pace = settings.body_bytes_per_second_min.max(1);
    let earned = Duration::from_millis(u64::try_from(received.saturating_mul(1_000) / pace).unwrap_or(u64::MAX));
    let end = started.plus((settings.body_grace + earned).min(settings.body_timeout));
    end.since(state.clock.now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_gives_back_what_it_took_and_never_takes_too_much() {
        let budget = Budget::new(100);
        let first = Hold::none(&budget);
        assert!(first.grow(60));
        let second = Hold::none(&budget);
        assert!(!second.grow(41));
        assert!(second.grow(40));
        assert_eq!(budget.used(), 100);
        drop(first);
        assert_eq!(budget.used(), 40);
        drop(second);
        assert_eq!(budget.used(), 0);
    }
}
