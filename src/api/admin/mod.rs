//! What operators see and do: `/v1/admin/…`, one file per resource, listed in `routes`.
//!
//! Takes calls of whoever has a key with the scope `admin`, and those that come over the socket in the data directory.
//! [`operator`] asks for the key in front of every path here, known or not: a handler cannot forget to. Handlers that
//! want to be sure take an [`operator::Operator`].

mod domains;
mod lanes;
mod operator;
mod reputation;
mod reviews;
mod routes;
mod sources;
mod tenants;
mod warmup;
mod why;
mod why_message;

pub use operator::{on_the_machine, with_key};
