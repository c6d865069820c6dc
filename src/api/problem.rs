//! Every error of the API and the document that tells it: RFC 9457, with a stable code.
//!
//! Takes an [`ApiError`], gives status, headers and JSON. This is the one place that maps errors to HTTP. Details that are
//! ours (a store's error text) go to the log only; details that help the caller go into the document.

use std::fmt;
use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;

use crate::domain::Problem;
use crate::queue::QueueError;

/// Codes that lead the document when all its errors have the same one; other mixtures are `validation_error`.
const LEADING: [(&str, &str); 5] = [
    ("tenant_paused", "This mail is paused"),
    ("template_variable_missing", "A template variable is missing"),
    ("template_not_found", "There is no such template"),
    ("invalid_attachment", "An attachment is not acceptable"),
    ("domain_not_verified", "The sender's domain is not verified"),
];

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiError {
    /// 400: the body is no JSON.
    InvalidJson(String),
    /// 400: the `Idempotency-Key` is not 1 to 256 visible ASCII characters.
    InvalidIdempotencyKey,
    /// 400: the request is broken in another way.
    BadRequest(String),
    /// 401: no `Authorization: Bearer …`.
    MissingKey,
    /// 401: no such key, or it was revoked.
    InvalidKey,
    /// 403: the key may only send.
    AdminKeyNeeded,
    /// 404.
    NotFound,
    /// 405, with the methods that are allowed.
    MethodNotAllowed(&'static str),
    /// 408: the body came too slowly.
    RequestTimeout,
    /// 409: a call with the same `Idempotency-Key` is under way.
    IdempotencyInProgress,
    /// 409: it exists already.
    Conflict(String),
    /// 413, with the limit in bytes.
    PayloadTooLarge(usize),
    /// 415.
    UnsupportedMediaType(&'static str),
    /// 422; or 403 when all that is wrong is the domain of one mail.
    Invalid(Vec<Problem>),
    /// 422, whatever the problems are: no mail of a batch was accepted.
    InvalidBatch(Vec<Problem>),
    /// 422: the `Idempotency-Key` was used with another request.
    IdempotencyKeyMismatch,
    /// 429.
    RateLimited(Duration),
    /// 503: too many bodies in hand.
    Overloaded(Duration),
    /// 503: shutting down.
    Draining(Duration),
    /// 503: the disk is full.
    StorageFull(Duration),
    /// 503: the store does not answer.
    StoreUnavailable(Duration),
    /// 500, with what happened, for the log.
    Internal(String),
}

impl ApiError {
    /// What an error of queue or store means for the caller, who may come back after `retry_after`.
    #[must_use]
    pub fn of_store(error: QueueError, retry_after: Duration) -> Self {
        match error {
            QueueError::Full => Self::StorageFull(retry_after),
            QueueError::Unavailable(detail) => {
                tracing::warn!(%detail, "the store is not available");
                Self::StoreUnavailable(retry_after)
            }
            QueueError::Damaged(detail) => Self::Internal(format!("damaged record: {detail}")),
        }
    }

    /// The document that answers a call with this error.
    #[must_use]
    pub fn document(&self, request_id: &str, public_url: &str) -> HttpResponse<BoxBody> {
        let shape = self.shape();
        let mut builder = HttpResponse::build(shape.status);
        builder.insert_header((header::CONTENT_TYPE, "application/problem+json"));
        match self {
            Self::MissingKey => {
                builder.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"posthaste\""));
            }
            Self::InvalidKey => {
                builder.insert_header((
                    header::WWW_AUTHENTICATE,
                    "Bearer realm=\"posthaste\", error=\"invalid_token\"",
                ));
            }
            Self::MethodNotAllowed(allow) => {
                builder.insert_header((header::ALLOW, HeaderValue::from_static(allow)));
            }
            _ => {}
        }
        if let Some(after) = self.retry_after() {
            builder.insert_header((header::RETRY_AFTER, whole_seconds(after)));
        }
        let document = Document {
            type_: format!("{public_url}/errors/{}", shape.code),
            title: shape.title,
            status: shape.status.as_u16(),
            detail: &shape.detail,
            code: shape.code,
            request_id,
            errors: self.problems().iter().map(ProblemView::from).collect(),
        };
        builder.body(serde_json::to_vec(&document).unwrap_or_default())
    }

    /// What only the log may know.
    #[must_use]
    pub fn internal_detail(&self) -> Option<&str> {
        match self {
            Self::Internal(detail) => Some(detail),
            _ => None,
        }
    }

    /// The stable code.
    pub(crate) fn code(&self) -> &'static str {
        self.shape().code
    }

    /// Everything that is wrong with the fields.
    pub(crate) fn problems(&self) -> &[Problem] {
        match self {
            Self::Invalid(problems) | Self::InvalidBatch(problems) => problems,
            _ => &[],
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited(after)
            | Self::Overloaded(after)
            | Self::Draining(after)
            | Self::StorageFull(after)
            | Self::StoreUnavailable(after) => Some(*after),
            Self::IdempotencyInProgress => Some(Duration::from_secs(1)),
            _ => None,
        }
    }

    /// Status, code, title and text of each error, side by side.
    #[expect(clippy::too_many_lines, reason = "one table")]
    fn shape(&self) -> Shape {
        match self {
            Self::InvalidJson(detail) => Shape::new(400, "invalid_json", "The body is not valid JSON", detail),
            Self::InvalidIdempotencyKey => Shape::new(
                400,
                "invalid_idempotency_key",
                "The Idempotency-Key is not valid",
                "It has 1 to 256 visible ASCII characters and stands once.",
            ),
            Self::BadRequest(detail) => Shape::new(400, "bad_request", "The request is not valid", detail),
            Self::MissingKey => Shape::new(
                401,
                "missing_api_key",
                "An API key is needed",
                "Send the header 'Authorization: Bearer ph_live_…'.",
            ),
            Self::InvalidKey => Shape::new(
                401,
                "invalid_api_key",
                "The API key does not work",
                "There is no such key, or it was revoked.",
            ),
            Self::AdminKeyNeeded => Shape::new(
                403,
                "admin_key_needed",
                "This is for operators",
                "The key may only send. Make one that may do this: posthaste keys create NAME --admin.",
            ),
            Self::NotFound => Shape::new(404, "not_found", "There is nothing here", "No such resource."),
            Self::MethodNotAllowed(allow) => Shape::new(
                405,
                "method_not_allowed",
                "This method does not work here",
                format!("Allowed: {allow}."),
            ),
            Self::RequestTimeout => Shape::new(
                408,
                "request_timeout",
                "The body came too slowly",
                "The connection was given up.",
            ),
            Self::IdempotencyInProgress => Shape::new(
                409,
                "idempotency_in_progress",
                "The same call is under way",
                "A call with this Idempotency-Key has not been answered yet.",
            ),
            Self::Conflict(detail) => Shape::new(409, "conflict", "It exists already", detail),
            Self::PayloadTooLarge(limit) => Shape::new(
                413,
                "payload_too_large",
                "The body is too large",
                format!("At most {limit} bytes."),
            ),
            Self::UnsupportedMediaType(detail) => Shape::new(
                415,
                "unsupported_media_type",
                "This kind of body is not understood",
                *detail,
            ),
            Self::Invalid(problems) | Self::InvalidBatch(problems) => self.validation(problems),
            Self::IdempotencyKeyMismatch => Shape::new(
                422,
                "idempotency_key_mismatch",
                "This Idempotency-Key belongs to another request",
                "It was used before with another path or body. Use a new key for a new request.",
            ),
            Self::RateLimited(_) => Shape::new(429, "rate_limited", "Too many requests", "Come back later."),
            Self::Overloaded(_) => Shape::new(
                503,
                "overloaded",
                "Too much at once",
                "Too many requests are in hand at the moment. Nothing was stored.",
            ),
            Self::Draining(_) => Shape::new(
                503,
                "draining",
                "Shutting down",
                "This node takes no more mail. Nothing was stored.",
            ),
            Self::StorageFull(_) => Shape::new(
                503,
                "storage_full",
                "No room left",
                "The disk is full. Nothing was stored.",
            ),
            Self::StoreUnavailable(_) => Shape::new(
                503,
                "store_unavailable",
                "The store does not answer",
                "Whether the call was done is not known: repeat it with the same Idempotency-Key.",
            ),
            Self::Internal(_) => Shape::new(
                500,
                "internal_error",
                "Our fault",
                "Something broke on our side. The log has the details under the request id.",
            ),
        }
    }

    fn validation(&self, problems: &[Problem]) -> Shape {
        let code = problems.first().map_or("", |problem| problem.code);
        let alike = problems.iter().all(|problem| problem.code == code);
        let leading = LEADING.iter().find(|(leading, _)| alike && *leading == code);
        let detail = match problems {
            [one] => one.detail.clone(),
            several => format!("{} fields are invalid.", several.len()),
        };
        let batch = matches!(self, Self::InvalidBatch(_));
        match leading {
            Some((code @ "tenant_paused", title)) => Shape::new(403, code, title, detail),
            Some(("domain_not_verified", title)) if !batch => Shape::new(403, "domain_not_verified", title, detail),
            Some((code, title)) if *code != "domain_not_verified" => Shape::new(422, code, title, detail),
            _ => Shape::new(422, "validation_error", "Validation failed", detail),
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape = self.shape();
        write!(f, "{}: {}", shape.code, shape.detail)
    }
}

impl std::error::Error for ApiError {}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.shape().status
    }

    /// Without a request id: the outermost layer (`server.rs`) renders again with one.
    fn error_response(&self) -> HttpResponse<BoxBody> {
        self.document("", "")
    }
}

/// Whole seconds, at least one, as `Retry-After` has them.
fn whole_seconds(duration: Duration) -> u64 {
    let partial = u64::from(duration.subsec_nanos() > 0);
    (duration.as_secs() + partial).max(1)
}

struct Shape {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: String,
}

impl Shape {
    fn new(status: u16, code: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            code,
            title,
            detail: detail.into(),
        }
    }
}

#[derive(Serialize)]
struct Document<'d> {
    #[serde(rename = "type")]
    type_: String,
    title: &'d str,
    status: u16,
    detail: &'d str,
    code: &'d str,
    #[serde(skip_serializing_if = "str::is_empty")]
    request_id: &'d str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<ProblemView<'d>>,
}

/// One problem as the API shows it.
#[derive(Debug, Serialize)]
pub(crate) struct ProblemView<'p> {
    pointer: &'p str,
    code: &'p str,
    detail: &'p str,
}

impl<'p> From<&'p Problem> for ProblemView<'p> {
    fn from(problem: &'p Problem) -> Self {
        Self {
            pointer: &problem.pointer,
            code: problem.code,
            detail: &problem.detail,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(error: &ApiError, status: u16, code: &str) -> serde_json::Value {
        let response = error.document("req-1", "https://mail.example.com");
        assert_eq!(response.status().as_u16(), status, "{error}");
        let shape = error.shape();
        assert_eq!(shape.code, code);
        let bytes = actix_web::body::MessageBody::try_into_bytes(response.into_body()).expect("in memory");
        let document: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
        assert_eq!(document["status"], status);
        assert_eq!(document["code"], code);
        assert_eq!(document["request_id"], "req-1");
        assert_eq!(document["type"], format!("https://mail.example.com/errors/{code}"));
        document
    }

    fn problem(code: &'static str) -> Problem {
        Problem::new("/to/0", code, "why")
    }

    #[test]
    fn lists_every_problem_under_the_code_they_share() {
        let both = vec![problem("invalid_email"), problem("required")];
        let document = check(&ApiError::Invalid(both), 422, "validation_error");
        assert_eq!(document["errors"].as_array().map(Vec::len), Some(2));
        assert_eq!(document["detail"], "2 fields are invalid.");
        let missing = vec![problem("template_variable_missing"); 2];
        check(&ApiError::Invalid(missing), 422, "template_variable_missing");
    }

    #[test]
    fn a_domain_alone_is_forbidden_but_one_fault_of_several_is_validation() {
        let domain = problem("domain_not_verified");
        check(&ApiError::Invalid(vec![domain.clone()]), 403, "domain_not_verified");
        check(&ApiError::InvalidBatch(vec![domain.clone()]), 422, "validation_error");
        check(
            &ApiError::Invalid(vec![domain, problem("required")]),
            422,
            "validation_error",
        );
    }

    #[test]
    fn says_when_to_come_back_and_hides_what_is_ours() {
        let full = ApiError::of_store(QueueError::Full, Duration::from_millis(2_500));
        check(&full, 503, "storage_full");
        let response = full.document("", "");
        assert_eq!(
            response.headers().get("retry-after").map(HeaderValue::as_bytes),
            Some(&b"3"[..])
        );
        let document = check(&ApiError::Internal("secret".into()), 500, "internal_error");
        assert!(!document.to_string().contains("secret"));
    }
}
