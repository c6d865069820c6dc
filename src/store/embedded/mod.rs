//! The embedded backend: both seams, `Queue` and `Store`, over one redb file in the data directory.
//!
//! ```text
//! callers ── operations (encoded) ──► channel ──► writer thread ── one transaction per batch ──► commit + sync ──► answers
//!    └────── reads: snapshots on the caller's thread, and a cache of messages just accepted
//! ```
//!
//! `handle` is what callers hold; `queue` and `store` put it behind the seams. `writer` owns the writing side; it hands each
//! operation a `turn`, in which `operations` change tables (`layout`, `keys`, `store::records`) and memory (`state`, `leases`, `line`)
//! together. `backend` watches the file: a full disk is waited out, and what left before that is recorded in the room that
//! `reserve` gives back; anything else that fails stops the process. `check` reads the file once before it is used.
//!
//! Durable before an answer: everything. In memory only: leases, whose loss is a second look at the delivery; its open
//! INTENT, if it has one, is in the tables and comes with it.

mod archive;
mod backend;
mod check;
mod database;
mod fault;
mod handle;
mod keys;
mod layout;
mod leases;
mod line;
mod nodes;
mod operations;
mod queue;
mod reads;
mod reserve;
mod settings;
mod state;
mod stats;
mod store;
mod turn;
mod waits;
mod writer;

pub use handle::Embedded;
pub use reserve::ReserveSpace;
pub use settings::{EmbeddedSettings, OnCommit, OnFatal, OpenError};
pub use stats::{COMMIT_BUCKETS_MICROS, WriterStats};
