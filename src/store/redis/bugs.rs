//! What the deliberate bugs of [`crate::sabotage`] do here. Nothing of it is ever called in a build that ships.

use redis::{Value, cmd};

use super::handle::{Redis, number};
use super::link::meaning;
use super::names::message_key;
use crate::domain::{Fence, MessageId, Settlement, Timestamp};
use crate::queue::QueueError;

impl Redis {
    /// Settlements with whatever fences hold now: as if nobody looked at them.
    pub(super) async fn with_fences_that_hold(
        &self,
        mut settlements: Vec<Settlement>,
    ) -> Result<Vec<Settlement>, QueueError> {
        for settlement in &mut settlements {
            let partition = self.shared.names.partition_of(settlement.delivery.message);
            let looked = self.look(partition, &[settlement.delivery]).await?;
            let holds: Option<Fence> = looked.into_iter().next().and_then(|(_, fence)| fence);
            settlement.fence = holds.unwrap_or(settlement.fence);
        }
        Ok(settlements)
    }

    /// Moves the end of all leases to `until`.
    pub(super) async fn extend_all_leases(&self, until: Timestamp) -> Result<(), QueueError> {
        for home in self.shared.names.partitions() {
            let ends = format!("{}until", home.trim_end_matches("epoch"));
            let mut read = cmd("ZRANGE");
            read.arg(&ends).arg(0).arg(-1);
            let Value::Array(keys) = self.shared.link.send(read).await.map_err(meaning)? else {
                continue;
            };
            for key in keys {
                if let Value::BulkString(key) = key {
                    let mut extend = cmd("ZADD");
                    extend.arg(&ends).arg("XX").arg(until.0).arg(key);
                    self.shared.link.send(extend).await.map_err(meaning)?;
                }
            }
        }
        Ok(())
    }

    /// Writes an event by itself.
    pub(super) async fn tell_apart(&self, message: MessageId, event: &[u8]) -> Result<(), QueueError> {
        let home = &self.shared.names.partitions()[self.shared.names.partition_of(message)];
        let tag = home.trim_end_matches("epoch");
        let mut count = cmd("HINCRBY");
        count.arg(format!("{tag}count")).arg("sequence").arg(1);
        let place = match self.shared.link.send(count).await.map_err(meaning)? {
            Value::Int(place) => u64::try_from(place).unwrap_or_default(),
            Value::BulkString(place) => number(Some(&place)).unwrap_or_default(),
            _ => 0,
        };
        let list = [tag.as_bytes(), b"e:", &message_key(message)].concat();
        let entry = [format!("{place} ").as_bytes(), event].concat();
        let mut tell = cmd("RPUSH");
        tell.arg(list).arg(entry);
        self.shared.link.send(tell).await.map_err(meaning)?;
        Ok(())
    }
}
