//! Looks after the Redis that holds the queue: whether it may, at the start, and how it is, while we run.
//!
//! ```text
//! open ── inspect ──► facts ──► policy/redis_safety ──► refuse, or go on
//!   └──── epoch: is it the store that this data directory knows?
//! watch ── inspect, every two seconds ──► Health ──► who wants to know
//! ```

mod epoch;
mod facts;
mod open;
mod probe;
mod settings;
mod watch;

pub use open::{Guarded, open};
pub use settings::{GuardError, GuardSettings};
pub use watch::Watch;
