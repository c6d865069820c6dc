//! `posthaste demo`: the whole engine against five simulated providers, on this machine alone.
//!
//! `show` tells the whole of it: `world` starts receivers and engine, `sending` makes and posts the mail, `progress` draws
//! while it flows what `lanes` reads from the metrics, `report` asks both sides what became of it and balances. What was received is counted by the receivers,
//! not by the engine.

mod lanes;
mod progress;
mod report;
mod sending;
mod show;
mod world;

pub(super) use show::run;
