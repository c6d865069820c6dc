//! The client side of SMTP as a machine: bytes in, bytes out.
//!
//! Takes what the other side sent and what should be delivered; gives bytes to send and what became of it. Never touches a
//! socket, a clock or a key: `transport/` does.
//!
//! Two machines after each other, driven alike ([`Machine`]):
//!
//! ```text
//! Opening       greeting → EHLO (HELO) → STARTTLS → EHLO → AUTH          gives Capabilities
//! Conversation  [RSET] MAIL RCPT DATA → body → dot → reply, repeated      gives a Transaction each time
//! ```
//!
//! Replies are read by a parser of our own: `smtp-proto`'s takes the first line's code where the last line's must rule,
//! stops at 4 KiB, and does not say which rule of the protocol was broken, which is what the time after the dot is about.

mod capabilities;
mod conversation;
mod dot_stuffing;
mod machine;
mod opening;
mod reply;

pub use capabilities::Capabilities;
pub use conversation::{Conversation, Envelope, Transaction, TransactionOutcome};
pub use dot_stuffing::{DOT_BYTES, DotStuffer};
pub use machine::{Machine, Next, Wait};
pub use opening::{Encryption, Opening, OpeningEnd, Terms};
pub use reply::{Progress, ReplyParser};
