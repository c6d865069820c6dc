//! The integration tests: one binary, a module per behaviour.
mod api;
mod contract;
mod engine;

mod dns;
mod embedded;
mod faulty;
mod flood;
mod memory;
mod migration;

mod redis;
mod replies;
mod rules;

mod sabotage;

mod smtp_deadlines;
mod smtp_faults;
mod smtp_puppet;
mod smtp_tls;
mod smtp_world;

mod mail_peers;

mod config;
mod layers;
mod metrics;
mod peers;
mod promises;
mod source;
mod tidy;

mod model_check;
mod simulation;
