//! The list of the resources below `/v1/admin`.

use actix_web::web;

/// All resources. Paths are below `/v1/admin`.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    let _ = config;
}
