//! What an Attempt means: the door to the rules that judge.
//!
//! Takes an [`Attempt`](crate::domain::Attempt) and who runs the mailbox, gives a [`Verdict`](crate::domain::Verdict).
//! Never changes a Delivery: `settlement` does that with the Verdict.
//!
//! ```text
//! attempt ─┬─ accepted ────────────────────────────────► delivered
//!          ├─ refused ── rules/bounces.yaml (reply.rs) ─► retry or bounce, with class, blame and action
//!          └─ failed ─── stage and kind (failure.rs) ───► retry, bounce, or ambiguous after the dot
//! ```
//!
//! Failure semantics. A refusal that no rule knows goes by the first digit of its code (RFC 5321 section 4.2). Whatever
//! happens before MAIL FROM says nothing about the recipient and is a retry that does not count as an attempt. Whatever
//! happens from the final dot on without a reply is ambiguous. What is our own fault never bounces. An address is
//! suppressed only by a rule that says so, from RCPT TO on, for a reply that speaks neither of policy nor of reputation.
//! A reply that only a fallback rule matched is judged all the same and told to be unknown, so that somebody can look at it.
//! A shadow rule judges nothing; what it would have said is told beside the Verdict.

mod classifier;
mod failure;
pub mod lint;
mod meaning;
pub mod replay;
mod reply;
mod rule;
mod shape;
mod wait;

pub use classifier::{Classifier, Judgement, lane_action};
pub use meaning::Meaning;
pub use shape::{shape_of, without_addresses};
pub use wait::{WAIT_MAX, WAIT_MIN};

#[cfg(test)]
mod tests;
