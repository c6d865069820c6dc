//! The Redis backend: both seams, `Queue` and `Store`, over one Redis (or Valkey) server or cluster that several engine nodes share.
//!
//! ```text
//! callers ── encoded ──► handle ──► link ──► one function of the library in Redis = one whole, fenced step ──► answers
//!    ▲                                                                                         │
//!    └── wake ◄── watch: a connection of its own that waits for entries of the work streams ◄──┘
//! ```
//!
//! `settings` says where; `link` carries calls and gets a new connection when one broke; `functions` is the library of Lua
//! functions, in which every change is one step; `names` says which key holds what. `handle` is what callers hold; `queue` and
//! `store` put it behind the seams, `accepting`, `leasing` and `settling` encode and decode for them. `entries` are mail that
//! producers outside put into a stream.
//!
//! A Delivery that is due stands in a stream (one per class and partition), which this node reads as a consumer of a group. Who
//! is due later, or is parked, stands in a sorted set. Leases are in Redis, too, with fences that grow even if Redis loses its
//! last second. All times but the fences' come from the caller: clocks of Redis and of engines are not compared.

mod accepting;
mod archive;
mod bugs;
mod charging;
mod claims;
mod entries;
mod functions;
pub(crate) mod guard;
mod handle;
mod lease_cache;
mod leasing;
mod link;
mod names;
mod ping;
mod queue;
mod records;
mod settings;
mod settling;
mod single;
mod store;
mod values;
mod waits;
mod watch;

pub use entries::{Entries, Entry, EntryAnswer, EntryContent, EntryLimits, TakenEntries};
pub use handle::Redis;
pub use settings::{RedisOpenError, RedisSettings};
