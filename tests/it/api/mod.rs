//! The HTTP API over the backend in memory: through the doors that callers use, no actor behind them.

mod admin;
mod bad_input;
mod batch;
mod bed;
mod domains;
mod idempotency;
mod limits;
mod read;
mod send;
mod templates;
mod tenants;
mod wire;
