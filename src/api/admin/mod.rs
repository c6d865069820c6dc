//! What operators see and do: `/v1/admin/…`, one file per resource.
//!
//! Takes calls of whoever has a key with the scope `admin`, and those that come over the socket in the data directory.
//! [`operator`] asks for the key in front of every path here, known or not: a handler cannot forget to. Handlers that
//! want to be sure take an [`operator::Operator`].

mod lanes;
mod operator;

pub use operator::{on_the_machine, with_key};

use actix_web::web;

/// All resources. Paths are below `/v1/admin`.
fn routes(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/lanes").route(web::get().to(lanes::list)))
        .service(web::resource("/lanes/{source}/{provider}/decisions").route(web::get().to(lanes::decisions)));
}
