//! Mail that producers put into the intake streams of Redis, instead of calling `POST /send-email`.
//!
//! ```text
//! XADD ──► intake stream ── take ──► fields ──► the same reading, admission and checks as of a call
//!               ▲                                   ├── good ──► ACCEPT and the end of the entry, one step
//!               └── later (store, memory) ◄─────────┼── known by its key ──► the end of the entry
//!                                                   └── refused ──► dead letter with the reason, one step
//! ```
//!
//! `fields` reads what a producer wrote, `deciding` finds out what becomes of an entry, `taking` is the loop. Who may write into
//! Redis may do everything there, so an entry names its tenant and carries no key.

mod deciding;
mod fields;
mod taking;

pub use taking::run;
