//! The commands: `serve`, `demo`, `check-config`, `doctor`, `keys`, `lanes`, `nodes`, `reload`, `rules`, `unclassified`,
//! `warmup`, `why`, `migrate`.
//!
//! Takes arguments; gives exit codes: 0 all is well, 1 it is not, 2 the arguments are wrong. `--help` teaches.

mod args;
mod beside;
mod check_config;
mod demo;
mod doctor;
mod keys;
mod lanes;
mod logging;
mod migrate;
mod nodes;
mod output;
mod reload;
mod rules;
mod serve;
mod tenants;
mod unclassified;
mod warmup;
mod why;
mod why_all;

pub use args::{Cli, Command, ServeArgs, run};
