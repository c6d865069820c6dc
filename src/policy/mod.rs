//! Decisions: pure and synchronous, one file each, found by its name.
//!
//! Takes domain words, settings, `now` and a seed; gives decisions. Never does I/O, reads a clock, draws random numbers,
//! logs or knows an actor.

pub mod breaker;
pub mod fairness;
pub mod lane_gate;
pub mod lane_room;
pub mod restart;
pub mod routing;
pub mod token_bucket;
pub mod dial_guard;
pub mod admission;
pub mod api_key;
pub mod header_rules;
pub mod mx;
pub mod seed;
