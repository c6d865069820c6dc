//! The Redis backend against real servers: what is refused at the start, and what survives which fault.

mod front;

mod answers;
mod cluster;
pub(crate) mod contract;
mod cuts;
mod disk;
mod doors;
mod engine;
mod guard;
mod memory;
mod server;
mod sharing;
