//! Decisions: pure and synchronous, one file each, found by its name.
//!
//! Takes domain words, settings, `now` and a seed; gives decisions. Never does I/O, reads a clock, draws random numbers,
//! logs or knows an actor.

pub mod admission;
pub mod api_key;
pub mod mx;
pub mod seed;
