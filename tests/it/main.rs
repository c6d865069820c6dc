//! The integration tests: one binary, a module per behaviour.

mod mail_peers;
