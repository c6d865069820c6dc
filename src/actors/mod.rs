//! The moving parts, thin: they hold addresses and timers, ask `policy/` what to do, and do it.
//!
//! ```text
//!   api ── intake ──────────────► queue (commit) ──► 202
//!                                   │ lease
//!                                   ▼
//!                               scheduler ── destinations (MX → Provider), routing (→ Source)
//!                                   │ offer, while the lane grants credit; else parked under the lane
//!                                   ▼
//!                            isp × Provider ── lane gates: connections, pace, breaker
//!                         open │        ▲ next (a session that is up asks for work)
//!                                   ▼        │
//!                           sender × Source ── sessions: craft, INTENT, dot
//!                                            │ attempt
//!                                            ▼
//!                               settler ── classify, settle ──► queue (commit: state + events)
//! ```
//!
//! Beside it the keeper shares out the Sources among the nodes of one store; scheduler, ISPs and sessions use those that are
//! ours. The bookkeeper writes down who has which name. Whoever holds a leased Delivery renews its lease; what an actor loses in a panic is leased again when its lease ends.

pub mod bookkeeper;
pub mod crafter;
pub mod domain_holds;
pub mod engine;
pub mod in_use;
pub mod inquiries;
pub mod inspector;
pub mod intake;
pub mod isp;
pub mod isps;
pub mod janitor;
pub mod keeper;
pub mod lane_book;
mod lane_state;
pub mod memories;
pub mod ownership;
mod returns;
pub mod reviews;
pub mod scheduler;
pub mod scribe;
pub mod sender;
pub mod session;
pub mod settler;
mod source_changes;
pub mod spawner;
pub mod supervisor;
mod tenants_in_lanes;
pub mod told;
pub mod tools;
pub mod warmer;
mod warmup_record;
pub mod warmups;
pub mod watchdog;
