//! `chaos`: kills, freezes and fills everything while mail flows, then counts every copy.
//!
//! | file | what |
//! |---|---|
//! | `command` | arguments, one run from start to report |
//! | `plan` | which faults, when, at which failpoint: drawn from a seed |
//! | `director` | carries the plan out and checks the balance after each restart |
//! | `node`, `engine` | an engine as a process of its own, and what this program does when it is one |
//! | `redis`, `disk` | the parts beside the engine that can be broken |
//! | `receivers` | three receivers that write every copy down before they answer |
//! | `mail`, `callers`, `account` | what is asked of the API, who asks, and what the callers know |
//! | `readout` | how each Delivery ended, as the API tells it |
//! | `judge`, `report` | the count, and what makes a run fail |
//!
//! Nobody believes the engine about itself: a copy counts when a receiver has it in a synced file.

mod account;
mod callers;
mod command;
mod director;
mod disk;
mod engine;
mod judge;
mod mail;
mod node;
mod plan;
mod readout;
mod receivers;
mod redis;
mod report;

pub(crate) use command::{ChaosArguments, run};
pub(crate) use engine::{EngineArguments, serve};
