//! The backend that keeps everything in memory: both seams, `Queue` and `Store`, over plain maps behind one lock.
//!
//! For engine tests on made-up time (it has no thread of its own and reads no clock) and as the reference that other
//! backends are compared with. Clear over fast, yet nothing in it is slower than a logarithm of what waits.
//! It never writes anything down: what the process dies with is gone. `Memory::crash` acts out what a durable backend
//! forgets when its process dies.
//!
//! `line` knows who stands where, `ledger` what is true of each Delivery, `records` everything that is not work;
//! `queue` and `store` put them behind the seams.

mod archive;
mod ledger;
mod line;
mod nodes;
mod queue;
mod records;
mod store;
mod waits;

pub use queue::Memory;
