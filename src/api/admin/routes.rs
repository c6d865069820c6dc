//! Which resource is where below `/v1/admin`. One line each; a new resource is a file and a line here.

use actix_web::web;

use super::super::server::resource;
use super::{domains, lanes, reputation, reviews, sources, tenants, warmup, why, why_message};

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
        .service(resource("/rules/shadow", "GET", [web::get().to(reviews::shadow)]))
        .service(resource("/sources", "GET", [web::get().to(sources::list)]))
        .service(resource("/unclassified", "GET", [web::get().to(reviews::unclassified)]))
        .service(resource("/warmup", "GET", [web::get().to(warmup::list)]))
        .service(resource("/why", "GET", [web::get().to(why::get)]))
        .service(resource("/why/{id}", "GET", [web::get().to(why_message::get)]))
        .service(resource("/reputation", "GET", [web::get().to(reputation::list)]))
        .service(resource("/tenants", "GET", [web::get().to(tenants::list)]))
        .service(resource("/tenants/{id}", "GET", [web::get().to(tenants::get)]))
        .service(resource(
            "/tenants/{id}/pause",
            "POST",
            [web::post().to(tenants::pause)],
        ))
        .service(resource(
            "/tenants/{id}/resume",
            "POST",
            [web::post().to(tenants::resume)],
        ));
}
