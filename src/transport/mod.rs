//! The seam that moves bytes: sockets, TLS, deadlines, around the machine of `smtp/`.
//!
//! Takes a plan (source address, host, TLS policy) and mail; gives Attempts' stages and outcomes. Never decides what an
//! answer means, never tries again and never goes to another host.
//!
//! ```text
//! Dialer::open(Endpoint) ─► Session ─ deliver(Outgoing, gate) ─► Transaction, repeated ─► quit
//!    guard, connect, TLS     │
//!                            └─ Connection: bytes and deadlines around smtp::{Opening, Conversation}
//! ```

mod addresses;
mod connection;
mod connector;
mod deadlines;
mod dialer;
mod session;
mod stopwatch;
mod tls;
mod tls_memory;
mod wire;

pub use crate::smtp::{Transaction, TransactionOutcome};
pub use addresses::is_local;
pub use connector::Connector;
pub use deadlines::Deadlines;
pub use dialer::{Dialer, DialerSettings, Endpoint, OpenError};
pub use session::{Outgoing, Session};
pub use wire::{ByteStream, Raw};
