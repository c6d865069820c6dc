//! Who may operate the engine: the door in front of all of `/v1/admin`.
//!
//! Takes the head of a request; lets it through as an [`Operator`], or answers 401 without a key that works and 403 with a
//! key that may only send. Over the socket in the data directory there is no key: who may open it owns the engine.

use std::future::Future;
use std::pin::Pin;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::middleware::{Next, from_fn};
use actix_web::{Error, FromRequest, HttpMessage as _, HttpRequest, web};

use super::super::caller::Caller;
use super::super::problem::ApiError;
use super::routes::routes;
use crate::domain::KeyScope;

/// Where it all is.
const PATH: &str = "/v1/admin";

/// Somebody who may see and change what all tenants share.
#[derive(Debug, Clone, Copy)]
pub(in crate::api) struct Operator(());

impl FromRequest for Operator {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        // The door has asked already; a key is counted once for each call.
        if let Some(known) = request.extensions().get::<Self>() {
            return Box::pin(std::future::ready(Ok(*known)));
        }
        let caller = Caller::from_request(request, payload);
        Box::pin(async move {
            match caller.await?.scope {
                KeyScope::Admin => Ok(Self(())),
                KeyScope::Send => Err(ApiError::AdminKeyNeeded),
            }
        })
    }
}

/// The paths for whoever has a key of an operator.
pub fn with_key(config: &mut web::ServiceConfig) {
    config.service(
        web::scope(PATH)
            .wrap(from_fn(ask_for_key))
            .configure(routes)
            .default_service(web::to(nothing_here)),
    );
}

/// The same paths for whoever may open the socket in the data directory.
pub fn on_the_machine(config: &mut web::ServiceConfig) {
    config.service(
        web::scope(PATH)
            .wrap(from_fn(let_in))
            .configure(routes)
            .default_service(web::to(nothing_here)),
    );
}

async fn nothing_here(_: Operator) -> Result<&'static str, ApiError> {
    Err(ApiError::NotFound)
}

async fn ask_for_key(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    match request.extract::<Operator>().await {
        Ok(operator) => {
            request.extensions_mut().insert(operator);
            Ok(next.call(request).await?.map_into_boxed_body())
        }
        Err(refused) => Ok(request.error_response(refused)),
    }
}

async fn let_in(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    request.extensions_mut().insert(Operator(()));
    Ok(next.call(request).await?.map_into_boxed_body())
}
