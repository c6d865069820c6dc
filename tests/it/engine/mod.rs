//! The whole engine: started through the composition root or as a process, driven by HTTP, judged by what simulated
//! providers hold.

pub(crate) mod bed;
pub(crate) mod process;

mod commands;
mod doctor;
mod drain;
mod explained;
mod journey;
mod kills;
mod lanes;
mod learning;
mod names;
mod nodes;
#[cfg(feature = "failpoints")]
mod panics;
#[cfg(target_os = "linux")]
mod pressure;
mod reload;
mod store_faults;
mod tenants;
mod together;
mod waits;
mod warmup;
