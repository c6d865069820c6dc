//! Where a Delivery that is not final stands.

use super::{Lane, Timestamp};

/// Where a Delivery stands while it waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In line for its due time.
    InLine,
    /// Under a lane that had no room for it.
    Parked {
        /// Which.
        lane: Lane,
        /// How many stand before it there; bounded, and an estimate where a store has several parts.
        ahead: u64,
    },
    /// Somebody has it in hand, until then.
    Leased(Timestamp),
}
