//! The HTTP server: paths, the layers around them, and the bounds of the wire.
//!
//! Takes bound listeners and the shared state, gives a running server. Handles no signals and binds nothing. Around every
//! handler: a request id, rate headers, one look for errors and for panics, so that whatever goes wrong leaves as a problem
//! document.

use std::net::TcpListener;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Server, ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::{Next, NormalizePath, from_fn};
use actix_web::{App, Error, HttpMessage as _, HttpServer, Route, web};
use futures_util::FutureExt as _;

use super::problem::ApiError;
use super::rate::RateStanding;
use super::state::ApiState;
use super::{admin, batch, domains, emails, health, templates};
use crate::actors::intake::{IntakeHandle, IntakeParts};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_BYTES_MAX: usize = 128;

/// Paths of calls that send mail.
const SENDING: [&str; 3] = ["/send-email", "/v1/emails", "/v1/emails/batch"];

/// All paths.
pub fn configure(config: &mut web::ServiceConfig) {
    let post = || "POST";
    let [short, one, batch] = SENDING;
    for path in [short, one] {
        config.service(resource(path, post(), [web::post().to(emails::send)]));
    }
    config
        .service(resource(batch, post(), [web::post().to(batch::send)]))
        .service(resource("/v1/emails/{id}", "GET", [web::get().to(emails::get)]))
        .service(resource(
            "/v1/emails/{id}/events",
            "GET",
            [web::get().to(emails::events)],
        ))
        .service(resource(
            "/v1/templates",
            "GET, POST",
            [web::get().to(templates::list), web::post().to(templates::create)],
        ))
        .service(resource(
            "/v1/templates/{reference}",
            "GET",
            [web::get().to(templates::get)],
        ))
        .service(resource(
            "/v1/domains",
            "GET, POST",
            [web::get().to(domains::list), web::post().to(domains::create)],
        ))
        .service(resource("/v1/domains/{name}", "GET", [web::get().to(domains::get)]))
        .service(resource(
            "/v1/domains/{name}/verify",
            post(),
            [web::post().to(domains::verify)],
        ))
        .service(resource(
            "/healthz",
            "GET, HEAD",
            [web::get().to(health::healthz), web::head().to(health::healthz)],
        ))
        .service(resource(
            "/readyz",
            "GET, HEAD",
            [web::get().to(health::readyz), web::head().to(health::readyz)],
        ))
        .configure(admin::with_key)
        .default_service(web::to(|| async { Err::<&str, _>(ApiError::NotFound) }));
}

/// One path with its methods. Another method is told which there are.
pub(super) fn resource<const N: usize>(path: &str, allow: &'static str, routes: [Route; N]) -> actix_web::Resource {
    let mut resource = web::resource(path);
    for route in routes {
        resource = resource.route(route);
    }
    resource.default_service(web::to(move || async move {
        Err::<&str, _>(ApiError::MethodNotAllowed(allow))
    }))
}

/// The application that each worker runs: state, layers, paths.
pub fn app(
    state: Arc<ApiState>,
    intake: IntakeHandle,
) -> App<
    impl ServiceFactory<ServiceRequest, Config = (), Response = ServiceResponse<BoxBody>, Error = Error, InitError = ()>,
> {
    App::new()
        .app_data(web::Data::from(state))
        .app_data(web::Data::new(intake))
        .wrap(NormalizePath::trim())
        .wrap(from_fn(around))
        .wrap(from_fn(counted))
        .configure(configure)
}

/// A server on these listeners, not yet polled.
pub fn serve(
    listeners: Vec<TcpListener>,
    state: Arc<ApiState>,
    intake: IntakeParts,
    workers: usize,
) -> std::io::Result<Server> {
    let settings = state.settings.clone();
    // One intake for each worker, on its thread: an accept crosses no thread before it is in the hands of the queue.
    let mut server = HttpServer::new(move || app(Arc::clone(&state), IntakeHandle::start(intake.clone())))
        .workers(workers.max(1))
        .client_request_timeout(settings.head_timeout)
        .max_connections(settings.connections_per_worker_max)
        .disable_signals();
    for listener in listeners {
        server = server.listen(listener)?;
    }
    Ok(server.run())
}

/// Counts every answer, and measures the calls that send mail.
async fn counted(request: ServiceRequest, next: Next<BoxBody>) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(state) = request.app_data::<web::Data<ApiState>>().cloned() else {
        return next.call(request).await;
    };
    let sends = request.method() == Method::POST && SENDING.contains(&request.path().trim_end_matches('/'));
    let started = state.clock.uptime();
    let answer = next.call(request).await;
    let status = match &answer {
        Ok(response) => response.status(),
        Err(error) => error.as_response_error().status_code(),
    };
    state.observer.api_answered(status.as_u16());
    if sends {
        let time = state.clock.uptime().saturating_sub(started);
        state.observer.api_took(time);
    }
    answer
}

/// What stands around every handler.
async fn around(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let request_id = request_id(request.headers());
    let outcome = AssertUnwindSafe(next.call(request)).catch_unwind().await;
    let response = match outcome {
        Ok(response) => response?.map_into_boxed_body(),
        Err(_) => {
            tracing::error!(%request_id, "a handler panicked");
            return Err(ApiError::Internal("a handler panicked".into()).into());
        }
    };
    let mut response = with_document(response, &request_id);
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let standing = response.request().extensions().get::<RateStanding>().copied();
    if let Some(standing) = standing {
        rate_headers(response.headers_mut(), standing);
    }
    Ok(response)
}

/// Errors leave as problem documents, those of the framework too.
fn with_document(response: ServiceResponse<BoxBody>, request_id: &str) -> ServiceResponse<BoxBody> {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let own = response
        .response()
        .error()
        .and_then(|error| error.as_error::<ApiError>());
    let error = own.cloned().unwrap_or_else(|| of_framework(status));
    if let Some(detail) = error.internal_detail() {
        tracing::error!(%request_id, detail, "a call failed on our side");
    }
    let public_url = response
        .request()
        .app_data::<web::Data<ApiState>>()
        .map_or("", |state| state.settings.public_url.as_str())
        .to_owned();
    let document = error.document(request_id, &public_url);
    response.into_response(document)
}

/// What an error that is not ours means.
fn of_framework(status: StatusCode) -> ApiError {
    match status {
        StatusCode::NOT_FOUND => ApiError::NotFound,
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::PayloadTooLarge(0),
        StatusCode::REQUEST_TIMEOUT => ApiError::RequestTimeout,
        status if status.is_client_error() => ApiError::BadRequest("The request could not be read.".into()),
        status => ApiError::Internal(format!("the framework answered {status}")),
    }
}

/// The caller's id for the request, if it is a harmless one, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let harmless = |id: &&str| {
        (1..=REQUEST_ID_BYTES_MAX).contains(&id.len())
            && id
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
    };
    match given.filter(harmless) {
        Some(id) => id.to_owned(),
        None => format!("req_{:016x}{:08x}", fastrand::u64(..), fastrand::u32(..)),
    }
}

/// The three headers that clients read today, and the two of the IETF draft.
fn rate_headers(headers: &mut HeaderMap, standing: RateStanding) {
    let reset = standing.reset.as_secs() + u64::from(standing.reset.subsec_nanos() > 0);
    let (limit, remaining) = (standing.limit, standing.remaining);
    let values = [
        ("ratelimit-limit", limit.to_string()),
        ("ratelimit-remaining", remaining.to_string()),
        ("ratelimit-reset", reset.to_string()),
        ("ratelimit-policy", format!("\"default\";q={limit};w=1")),
        ("ratelimit", format!("\"default\";r={remaining};t={reset}")),
    ];
    for (name, value) in values {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}
