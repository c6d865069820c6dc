//! Answers as JSON: small helpers that every resource uses.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header;
use serde::Serialize;

use super::problem::ApiError;
use crate::domain::Timestamp;

/// A JSON document as bytes.
pub(crate) fn to_bytes(document: &impl Serialize) -> Result<Vec<u8>, ApiError> {
    let mut bytes = Vec::with_capacity(512);
    serde_json::to_writer(&mut bytes, document).map_err(|error| ApiError::Internal(error.to_string()))?;
    Ok(bytes)
}

/// A JSON document as an answer.
pub(crate) fn json(status: StatusCode, document: &impl Serialize) -> Result<HttpResponse, ApiError> {
    Ok(ready(status, to_bytes(document)?, None))
}

/// JSON bytes as an answer, perhaps about a resource that has a place of its own.
pub(crate) fn ready(status: StatusCode, bytes: Vec<u8>, location: Option<String>) -> HttpResponse {
    let mut builder = HttpResponse::build(status);
    builder.insert_header((header::CONTENT_TYPE, "application/json"));
    if let Some(location) = location {
        builder.insert_header((header::LOCATION, location));
    }
    builder.body(bytes)
}

/// Several documents as an answer.
pub(crate) fn list<T: Serialize>(data: &[T], has_more: bool) -> Result<HttpResponse, ApiError> {
    #[derive(Serialize)]
    struct List<'d, T> {
        object: &'static str,
        has_more: bool,
        data: &'d [T],
    }
    let list = List {
        object: "list",
        has_more,
        data,
    };
    json(StatusCode::OK, &list)
}

/// A time as the API shows it; null for "never".
pub(crate) fn time(at: Timestamp) -> Option<String> {
    (at != Timestamp::NEVER).then(|| at.to_string())
}
