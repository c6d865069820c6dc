//! The linter of `bounces.yaml`: whether each rule can be heard, and whether each pattern says what it looks like.
//!
//! Takes the text of the file and the providers that there are; gives findings. `examples` makes up texts that a pattern
//! matches, `patterns` looks at patterns by themselves, `reach` sends the examples of a rule through all of them: a rule that
//! wins one reply is reachable for certain, one that wins none of its own examples is not. Never part of judging mail.

mod examples;
mod look;
mod patterns;
mod reach;

pub use look::lint_bounces;
