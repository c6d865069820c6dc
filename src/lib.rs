//! Posthaste: a self-hosted email API platform and delivery engine.
//!
//! The map, from the bottom up (imports go down only; `tests/it/layers.rs` holds the table):
//!
//! 1. [`domain`]: the words, as plain data.
//! 2. [`policy`]: decisions, pure and synchronous. [`mail`]: how a message is made and read. [`smtp`]: the protocol as bytes.
//! 3. [`clock`], [`queue`], [`store`], [`resolver`], [`transport`], [`observe`]: seams to the outside, a file per implementation.
//! 4. [`actors`]: the moving parts, thin.
//! 5. [`api`], [`config`]: what the outside sees.
//! 6. [`bootstrap`]: what a first start makes. [`control`]: the socket for commands beside a running engine. [`reload`]: config and rules, read again.
//! 7. [`app`]: the composition root, the one file that knows everything.
//! 8. [`cli`]: the commands.
//!
//! Beside them all, [`sabotage`]: deliberate bugs for the tests, absent from what ships; [`current`]: a value that a reload
//! replaces.
//!
//! ARCHITECTURE.md tells the journey of one message through these rooms.

pub mod actors;
pub mod api;
pub mod app;
pub mod bootstrap;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod current;
pub mod domain;
pub mod mail;
pub mod migration;
pub mod observe;
pub mod policy;
pub mod queue;
pub mod reload;
pub mod resolver;
pub mod sabotage;
pub mod smtp;
pub mod store;
pub mod transport;
