//! How the counters of the store are stored, and the names of lanes.

use serde::{Deserialize, Serialize};

use super::envelope::{Damaged, open, seal};
use crate::domain::{Lane, ProviderId, SourceId};

/// The counters. Kept by the writer, written once per transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ledger {
    /// Deliveries by state, in the order of `State::ALL`.
    pub(crate) by_state: [u64; 11],
    /// Deliveries that are not final, by class.
    pub(crate) waiting_by_class: [u64; 3],
    /// Messages accepted since the store was made.
    pub(crate) messages: u64,
    /// The place of the last event.
    pub(crate) sequence: u64,
    /// The number that the last new lane got.
    pub(crate) lane: u32,
}

#[derive(Serialize, Deserialize)]
struct LaneRecord<'a> {
    source: &'a str,
    provider: &'a str,
}

/// The bytes of the counters.
pub(crate) fn encode_ledger(ledger: &Ledger) -> Vec<u8> {
    seal(ledger)
}

/// The counters in `bytes`.
pub(crate) fn decode_ledger(bytes: &[u8]) -> Result<Ledger, Damaged> {
    open(bytes).map_err(|damaged: Damaged| damaged.of("the", "ledger"))
}

/// The bytes of a lane's names.
pub(crate) fn encode_lane(lane: &Lane) -> Vec<u8> {
    seal(&LaneRecord {
        source: lane.source.as_str(),
        provider: lane.provider.as_str(),
    })
}

/// The lane in `bytes`.
pub(crate) fn decode_lane(number: u32, bytes: &[u8]) -> Result<Lane, Damaged> {
    let record: LaneRecord<'_> = open(bytes).map_err(|damaged: Damaged| damaged.of("lane", number))?;
    Ok(Lane {
        source: SourceId::from(record.source),
        provider: ProviderId::from(record.provider),
    })
}
