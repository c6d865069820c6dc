//! The Redis backend against real servers: what is refused at the start, and what survives which fault.

mod cluster;
mod contract;
mod memory;
mod server;
mod sharing;
