//! The Redis backend against real servers: what is refused at the start, and what survives which fault.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests stop at the first surprise, like tests"
)]

mod front;

mod answers;
mod cluster;
pub(crate) mod contract;
mod cuts;
mod disk;
mod doors;
mod engine;
mod entries;
mod guard;
mod intake;
mod memory;
mod server;
mod sharing;
mod tenants;
