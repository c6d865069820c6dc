//! The Redis backend against real servers: what is refused at the start, and what survives which fault.

mod contract;
mod server;
