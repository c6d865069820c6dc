//! Whole engines on made-up time: the real actors, policies and SMTP client on the store in memory, over streams in memory,
//! with faults by seed. The same seed gives the same run, to the last line of its trace.
//!
//! Each seed switches a subset of the faults on (`plan`), runs its chaos for some minutes of its own time, heals
//! everything and waits for the end (`run`). The rules of reference section 7 are checked at each call of the queue, at each
//! dot and each second (`book`). A seed that breaks one is printed with the command that replays it:
//!
//! ```text
//! POSTHASTE_SEED=<seed> cargo nextest run --features failpoints -E 'test(simulation::)'
//! ```

mod book;
mod isolation;
mod mail;
mod names;
mod network;
mod node;
mod plan;
mod receiver;
mod run;
mod tests;
mod watched;
