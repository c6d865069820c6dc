//! Who waits, behind the seam: by partition, in the order in which messages were accepted.

use async_trait::async_trait;
use futures_util::future::try_join_all;

use super::functions::{DELIVERIES, MEMBERS, PLACE};
use super::handle::{Redis, number};
use super::link::Arguments;
use super::names::{delivery_key, message_key};
use super::records::damaged;
use super::values::{decode_lane, decode_value, lane_of, time_of_score};
use crate::domain::{DeliveryId, MessageId, Place, Timestamp};
use crate::queue::{AHEAD_MAX, QueueError, Waiter, WaitersCursor, WaitersPage, Waits};

/// Messages whose deliveries are read at the same time.
const READ_AT_ONCE: usize = 32;

/// Where a round goes on: a partition, and a place in its order.
#[derive(Debug, Clone, Copy, Default)]
struct At {
    partition: usize,
    rank: u64,
}

impl At {
    fn of(cursor: &WaitersCursor) -> Option<Self> {
        let (partition, rank) = std::str::from_utf8(&cursor.0).ok()?.split_once(' ')?;
        Some(Self {
            partition: partition.parse().ok()?,
            rank: rank.parse().ok()?,
        })
    }

    fn cursor(self) -> WaitersCursor {
        WaitersCursor(format!("{} {}", self.partition, self.rank).into_bytes())
    }
}

impl Redis {
    /// Messages of a partition with something unsettled, from this place on.
    async fn unsettled(&self, at: At, max: usize) -> Result<Vec<MessageId>, QueueError> {
        let mut arguments = Arguments::new();
        arguments.text("ages").text(at.rank).text(at.rank + max as u64 - 1);
        let members = self.call(MEMBERS, at.partition, &arguments).await?;
        let id = |member: Vec<u8>| <[u8; 16]>::try_from(member).map(|bytes| MessageId(uuid::Uuid::from_bytes(bytes)));
        let ids: Result<Vec<MessageId>, _> = members.into_iter().flatten().map(id).collect();
        ids.map_err(|_| QueueError::Damaged("the id of a message".to_owned()))
    }

    /// Deliveries of a Message that wait, and how many there are in all.
    async fn waiters_of(&self, id: MessageId) -> Result<(Vec<Waiter>, usize), QueueError> {
        let mut arguments = Arguments::new();
        arguments.bytes(message_key(id));
        let partition = self.shared.names.partition_of(id);
        let values = self.call(DELIVERIES, partition, &arguments).await?;
        let (read, mut waiters) = (values.len(), Vec::new());
        for (recipient, value) in (0..=u16::MAX).zip(values) {
            let Some(value) = value else { continue };
            let delivery = decode_value(DeliveryId { message: id, recipient }, &value).map_err(damaged)?;
            if !delivery.state.is_final() {
                let parked = lane_of(&value).map(decode_lane).transpose().map_err(damaged)?;
                waiters.push(Waiter { delivery, parked });
            }
        }
        Ok((waiters, read))
    }
}

#[async_trait]
impl Waits for Redis {
    async fn place(&self, delivery: DeliveryId, now: Timestamp) -> Result<Option<Place>, QueueError> {
        let mut arguments = Arguments::new();
        arguments.bytes(delivery_key(delivery));
        let partition = self.shared.names.partition_of(delivery.message);
        let parts = self.call(PLACE, partition, &arguments).await?;
        let [Some(value), ends, rank] = parts.as_slice() else {
            return Ok(None);
        };
        if decode_value(delivery, value).map_err(damaged)?.state.is_final() {
            return Ok(None);
        }
        let ends = number(ends.as_deref()).map(time_of_score);
        if let Some(until) = ends.filter(|until| *until > now) {
            return Ok(Some(Place::Leased(until)));
        }
        let Some(lane) = lane_of(value) else {
            return Ok(Some(Place::InLine));
        };
        // Each partition has a line of its own, and all are about as long.
        let ahead = number(rank.as_deref()).unwrap_or_default();
        let ahead = ahead.saturating_mul(self.partitions().len() as u64).min(AHEAD_MAX);
        let lane = decode_lane(lane).map_err(damaged)?;
        Ok(Some(Place::Parked { lane, ahead }))
    }

    async fn waiters(&self, after: Option<&WaitersCursor>, max: usize) -> Result<WaitersPage, QueueError> {
        let broken = || QueueError::Damaged("a cursor".to_owned());
        let mut at = match after {
            Some(cursor) => At::of(cursor).ok_or_else(broken)?,
            None => At::default(),
        };
        let (mut waiters, mut read) = (Vec::new(), 0);
        while at.partition < self.partitions().end {
            let ids = self.unsettled(at, READ_AT_ONCE.min(max.max(1))).await?;
            if ids.is_empty() {
                at = At {
                    partition: at.partition + 1,
                    rank: 0,
                };
                continue;
            }
            at.rank += ids.len() as u64;
            for (some, looked_at) in try_join_all(ids.into_iter().map(|id| self.waiters_of(id))).await? {
                waiters.extend(some);
                read += looked_at;
            }
            if read >= max {
                let next = Some(at.cursor());
                return Ok(WaitersPage { waiters, next });
            }
        }
        let next = None;
        Ok(WaitersPage { waiters, next })
    }
}
