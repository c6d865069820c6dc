//! `posthaste demo`: the whole engine against five simulated providers, on this machine alone.
//!
//! `world` starts receivers and engine, `sending` makes and posts the mail, `progress` draws while it flows, `report` asks
//! both sides what became of it and balances; `run` puts them together. What was received is counted by the receivers, not
//! by the engine.

mod progress;
mod report;
mod run;
mod sending;
mod world;

pub(super) use run::run;
