//! The Redis backend against real servers: what is refused at the start, and what survives which fault.

pub(crate) mod contract;
mod server;
