//! The integration tests: one binary, a module per behaviour.
mod contract;

mod dns;
mod faulty;
mod memory;
