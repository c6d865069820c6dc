//! A receiver on virtual time: the same limits as behind a socket and more, with no socket and no clock.
//!
//! | file | what |
//! |---|---|
//! | `receiver` | [`Model`]: connections, messages and their answers; counts what it saw |
//! | `buckets` | token buckets, the penalty box, the reputation memory |
//!
//! Takes a [`crate::Scenario`], a seed and times that never go back; gives answers and when they come. Never sleeps.

mod buckets;
mod receiver;

pub use receiver::{ConnectAnswer, DotAnswer, MailAnswer, Model, Refusal};
