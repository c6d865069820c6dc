//! Who calls: the API key behind a request, and how many requests it may make.
//!
//! Takes the head of a request, gives a [`Caller`]; handlers ask for one before they read a body. The key itself is hashed
//! at once and appears nowhere else.

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, web};

use super::problem::ApiError;
use super::rate::Bucket;
use super::state::ApiState;
use crate::domain::{KeyScope, TenantId};
use crate::policy::api_key;

/// A request with a key that works.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller {
    /// Whose key.
    pub(crate) tenant: TenantId,
    /// What the key may do.
    pub(crate) scope: KeyScope,
}

impl FromRequest for Caller {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { identify(&request).await })
    }
}

async fn identify(request: &HttpRequest) -> Result<Caller, ApiError> {
    let state = request
        .app_data::<web::Data<ApiState>>()
        .ok_or_else(|| ApiError::Internal("the state of the API is missing".into()))?;
    let hash = api_key::hash(bearer(request)?);
    let now = state.clock.now();
    let (tenant, scope) = match state.keys.get(&hash, now) {
        Some(known) => known,
        None => {
            let key = state.store.key(hash).await.map_err(|error| state.refuse(error))?;
            let key = key.filter(|key| key.revoked_at.is_none_or(|at| at > now));
            let key = key.ok_or(ApiError::InvalidKey)?;
            let known = (key.tenant, key.scope);
            state.keys.put(hash, known, now);
            known
        }
    };
    if let Some(per_second) = state.settings.requests_per_second {
        let mut bucket = state
            .buckets
            .entry(hash)
            .or_insert_with(|| Bucket::full(per_second, now));
        let standing = bucket.take(per_second, now);
        drop(bucket);
        request.extensions_mut().insert(standing);
        if let Some(wait) = standing.wait {
            return Err(ApiError::RateLimited(wait));
        }
    }
    Ok(Caller { tenant, scope })
}

/// The key in `Authorization: Bearer <key>`.
fn bearer(request: &HttpRequest) -> Result<&str, ApiError> {
    let mut values = request.headers().get_all(header::AUTHORIZATION);
    let value = values.next().ok_or(ApiError::MissingKey)?;
    if values.next().is_some() {
        return Err(ApiError::InvalidKey);
    }
    let value = value.to_str().map_err(|_| ApiError::InvalidKey)?;
    let (scheme, key) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(ApiError::MissingKey);
    }
    let key = key.trim();
    if api_key::looks_like_a_key(key) {
        Ok(key)
    } else {
        Err(ApiError::InvalidKey)
    }
}
