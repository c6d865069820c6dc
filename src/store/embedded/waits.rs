//! Who waits, behind the seam: leases from the writer's memory, all else from a snapshot.

use std::ops::Bound;

use async_trait::async_trait;

use super::super::records::{decode_delivery, decode_lane};
use super::fault::Fault;
use super::handle::Embedded;
use super::keys::{
    DeliveryKey, MessageKey, ParkedKey, deliveries_of, delivery_key, delivery_of, message_of, parked_key, parked_range,
};
use super::layout::{BODIES, DELIVERIES, LANES, PARKED};
use super::reads::Snapshot;
use crate::domain::{DeliveryId, Place, Timestamp};
use crate::queue::{AHEAD_MAX, QueueError, Waiter, WaitersCursor, WaitersPage, Waits};

impl Snapshot {
    fn place(&self, id: DeliveryId) -> Result<Option<Place>, Fault> {
        let Some(bytes) = self.table(DELIVERIES)?.get(&delivery_key(id))? else {
            return Ok(None);
        };
        let stored = decode_delivery(id, bytes.value())?;
        let delivery = stored.delivery;
        if delivery.state.is_final() {
            return Ok(None);
        }
        let Some(number) = stored.parked else {
            return Ok(Some(Place::InLine));
        };
        let Some(names) = self.table(LANES)?.get(number)? else {
            return Err(Fault::Damaged(format!("lane {number} has no name")));
        };
        let lane = decode_lane(number, names.value())?;
        let (low, _) = parked_range(number);
        let own = parked_key(number, delivery.class, delivery.expires_at, id);
        let longest = usize::try_from(AHEAD_MAX).unwrap_or(usize::MAX);
        let before = self.table(PARKED)?;
        let before = before.range::<&ParkedKey>(&low..&own)?.take(longest);
        let ahead = before.count() as u64;
        Ok(Some(Place::Parked { lane, ahead }))
    }

    /// Goes through messages with something unsettled: they are those that have a body.
    fn waiters(&self, after: Option<&[u8]>, max: usize) -> Result<WaitersPage, Fault> {
        let after: Option<MessageKey> = after.and_then(|key| key.try_into().ok());
        let first = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let (deliveries, lanes) = (self.table(DELIVERIES)?, self.table(LANES)?);
        let (mut waiters, mut read, mut last) = (Vec::new(), 0, None);
        for row in self.table(BODIES)?.range::<&MessageKey>((first, Bound::Unbounded))? {
            if read >= max {
                let next = last.map(|key: MessageKey| WaitersCursor(key.to_vec()));
                return Ok(WaitersPage { waiters, next });
            }
            let key = *row?.0.value();
            let (low, high) = deliveries_of(message_of(&key));
            for row in deliveries.range::<&DeliveryKey>(&low..=&high)? {
                let (id, bytes) = row?;
                read += 1;
                let id = delivery_of(id.value());
                let Ok(stored) = decode_delivery(id, bytes.value()) else {
                    // Named in the log by whoever leases it.
                    continue;
                };
                if stored.delivery.state.is_final() {
                    continue;
                }
                let parked = match stored.parked {
                    Some(number) => lanes.get(number)?.map(|names| decode_lane(number, names.value())),
                    None => None,
                };
                waiters.push(Waiter {
                    delivery: stored.delivery,
                    parked: parked.transpose()?,
                });
            }
            last = Some(key);
        }
        let next = None;
        Ok(WaitersPage { waiters, next })
    }
}

#[async_trait]
impl Waits for Embedded {
    async fn place(&self, delivery: DeliveryId, now: Timestamp) -> Result<Option<Place>, QueueError> {
        let leased = self.ask(move |turn| Ok(turn.state.leases.get(delivery).map(|lease| lease.until)));
        if let Some(until) = leased.await?.filter(|until| *until > now) {
            return Ok(Some(Place::Leased(until)));
        }
        self.read(|snapshot| snapshot.place(delivery))
    }

    async fn waiters(&self, after: Option<&WaitersCursor>, max: usize) -> Result<WaitersPage, QueueError> {
        self.read(|snapshot| snapshot.waiters(after.map(|cursor| cursor.0.as_slice()), max))
    }
}
