//! The integration tests: one binary, a module per behaviour.
mod api;
mod contract;
