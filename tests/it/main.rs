//! The integration tests: one binary, a module per behaviour.
mod contract;

mod dns;
mod embedded;
mod faulty;
mod memory;

mod replies;
