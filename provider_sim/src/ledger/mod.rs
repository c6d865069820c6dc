//! What was received: counted by the receivers, so that nobody has to believe the engine about itself.
//!
//! Takes accepted copies, gives counts, records and a wait for a condition. One copy is one message for one recipient.
//! Two copies are the same when recipient and Message-ID are the same; without a Message-ID the content decides. Memory
//! grows with unique copies (about 20 bytes each when only counting); records and their bytes are bounded.

mod account;
mod journal;
mod received;

pub use account::Ledger;
pub use journal::JournalLine;
pub use received::{Keep, Received, TimedOut, Totals};

pub(crate) use received::{content_hash, message_id_of};
