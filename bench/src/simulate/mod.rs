//! `bench simulate`: the learning controller against simulated receivers on virtual time.
//!
//! | file | what |
//! |---|---|
//! | `command` | arguments, runs, the table or JSON |
//! | `world` | the loop of one run |
//! | `ours`, `others` | the engine's own policy, and what it is compared with |
//! | `figures` | what a run came to, in the words of the table |
//! | `random` | scenarios drawn from a seed |
//! | `plot`, `svg` | one run as a picture |
//! | `watch` | what must hold at every moment of a run |
//!
//! A run is repeatable: everything is drawn from its seed. Never opens a socket.

mod command;
mod figures;
mod others;
mod ours;
mod plot;
mod random;
mod svg;
mod watch;
mod world;

#[cfg(test)]
mod tests;

pub(crate) use command::{SimulateArguments, run};
