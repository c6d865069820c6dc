//! Simulated mailbox providers.
