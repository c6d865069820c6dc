//! Who waits, behind the seam.

use std::ops::Bound;

use async_trait::async_trait;

use super::line::Place as Stands;
use super::queue::Memory;
use crate::domain::{DeliveryId, MessageId, Place, Timestamp};
use crate::queue::{AHEAD_MAX, QueueError, Waiter, WaitersCursor, WaitersPage, Waits};

/// Bytes of a cursor: a Message and a recipient.
const CURSOR: usize = 18;

fn cursor_of(id: DeliveryId) -> WaitersCursor {
    let mut bytes = id.message.0.as_bytes().to_vec();
    bytes.extend_from_slice(&id.recipient.to_be_bytes());
    WaitersCursor(bytes)
}

fn after(cursor: &WaitersCursor) -> Result<DeliveryId, QueueError> {
    let bytes = <[u8; CURSOR]>::try_from(cursor.0.as_slice());
    let bytes = bytes.map_err(|_| QueueError::Damaged("a cursor".to_owned()))?;
    let mut message = [0; 16];
    message.copy_from_slice(&bytes[..16]);
    Ok(DeliveryId {
        message: MessageId(uuid::Uuid::from_bytes(message)),
        recipient: u16::from_be_bytes([bytes[16], bytes[17]]),
    })
}

#[async_trait]
impl Waits for Memory {
    async fn place(&self, delivery: DeliveryId, now: Timestamp) -> Result<Option<Place>, QueueError> {
        let ledger = self.ledger();
        if let Some(until) = ledger.line.leased_until(delivery).filter(|until| *until > now) {
            return Ok(Some(Place::Leased(until)));
        }
        Ok(match ledger.line.place(delivery) {
            Some(Stands::Due(_)) => Some(Place::InLine),
            Some(Stands::Parked(lane)) => Some(Place::Parked {
                ahead: ledger.line.ahead(&lane, delivery).min(AHEAD_MAX),
                lane,
            }),
            None => None,
        })
    }

    async fn waiters(&self, cursor: Option<&WaitersCursor>, max: usize) -> Result<WaitersPage, QueueError> {
        let ledger = self.ledger();
        let from = match cursor.map(after).transpose()? {
            Some(last) => Bound::Excluded(last),
            None => Bound::Unbounded,
        };
        let ids = ledger.line.waiters_after(from, max);
        let next = ids.last().filter(|_| ids.len() == max).map(|last| cursor_of(*last));
        let waiters = ids.into_iter().filter_map(|id| {
            let parked = match ledger.line.place(id) {
                Some(Stands::Parked(lane)) => Some(lane),
                _ => None,
            };
            ledger.delivery(id).map(|delivery| Waiter { delivery, parked })
        });
        Ok(WaitersPage {
            waiters: waiters.collect(),
            next,
        })
    }
}
