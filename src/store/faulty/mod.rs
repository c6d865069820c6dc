//! A backend that fails on demand: both seams around any other backend, for tests of everything above them.
//!
//! Takes a backend and orders such as "the third `settle` from now answers that it is not available"; passes all other
//! calls through. Knows nothing of mail, reads no clock (delays are tokio's, so they run on paused time), and is never
//! part of a running engine: only tests build one.
//!
//! `plan` says which call meets which fault; `queue` and `store` put it before each method of the seams.

mod nodes;
mod plan;
mod queue;
mod store;
mod waits;

pub use plan::{Calls, Fault, Method};
pub use queue::Faulty;
