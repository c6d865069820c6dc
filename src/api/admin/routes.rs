//! Which resource is where below `/v1/admin`. One line each; a new resource is a file and a line here.

use actix_web::web;

use super::super::server::resource;
use super::{domains, lanes, sources, warmup, why, why_message};

/// All resources. Paths are below `/v1/admin`.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .service(resource("/domains", "GET", [web::get().to(domains::list)]))
        .service(resource("/lanes", "GET", [web::get().to(lanes::list)]))
        .service(resource(
            "/lanes/{source}/{provider}/decisions",
            "GET",
            [web::get().to(lanes::decisions)],
        ))
        .service(resource("/sources", "GET", [web::get().to(sources::list)]))
        .service(resource("/warmup", "GET", [web::get().to(warmup::list)]))
        .service(resource("/why", "GET", [web::get().to(why::get)]))
        .service(resource("/why/{id}", "GET", [web::get().to(why_message::get)]));
}
