//! The integration tests: one binary, a module per behaviour.
mod contract;
mod faulty;
mod memory;
