//! Servers that Posthaste is tested against, as processes of their own: for the tests and for bench.
//!
//! Takes options; gives a running server in a folder of its own that ends with the value. Needs `tests/tools/setup.sh` to
//! have run. Blocks for the few milliseconds that a start takes. Never part of what ships.

mod cluster;
mod ports;
mod program;
mod redis;
mod resp;
mod tls;

pub use cluster::RedisCluster;
pub use ports::free_port;
pub use program::program;
pub use redis::{RedisOptions, RedisServer};
pub use tls::Certificates;
