//! How the warm-up counters of lanes are stored.

use serde::{Deserialize, Serialize};

use super::envelope::{Damaged, open, seal};
use crate::domain::Lane;
use crate::queue::Spent;

#[derive(Serialize, Deserialize)]
struct SpentRecord {
    day: u32,
    used: u64,
}

/// The bytes of what a lane has used up.
pub(crate) fn encode_spent(spent: &Spent) -> Vec<u8> {
    seal(&SpentRecord {
        day: spent.day,
        used: spent.used,
    })
}

/// What a lane has used up, in `bytes`.
pub(crate) fn decode_spent(lane: &Lane, bytes: &[u8]) -> Result<Spent, Damaged> {
    let record: SpentRecord = open(bytes).map_err(|damaged: Damaged| damaged.of("warm-up counter of", lane))?;
    Ok(Spent {
        day: record.day,
        used: record.used,
    })
}
