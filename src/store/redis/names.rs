//! Which key of Redis holds what.
//!
//! All keys of a partition carry the same hash tag, `{<prefix>:<number>}`, so that a cluster keeps them together; records that
//! belong to no Message are under `{<prefix>:c}`. Functions are given the epoch's key and put the other names together.
//!
//! | key of a partition | type | holds |
//! |---|---|---|
//! | `epoch` | string | the id of the store; every function checks it |
//! | `count` | hash | numbers of deliveries by state (`s0`…) and class (`c0`…), `messages`, the last `fence` and event `sequence` |
//! | `m:<id>` | hash | a Message: `m` record, `b` body, `n` unsettled deliveries, `c` deliveries, `t` time; `d<recipient>` a Delivery, `i<recipient>` its open INTENT |
//! | `e:<id>` | list | the events of a Message |
//! | `work:<class>` | stream | deliveries that are due: `d` key, `t` due time; group `posthaste`, a consumer per node |
//! | `intake`, `dead` | streams | mail that producers outside put there, group `posthaste`; and of these what could not be taken, with the reason |
//! | `due:<class>` | sorted set | deliveries that are due later, by time |
//! | `back:<class>` | sorted set | deliveries whose lease has ended unsettled, by due time |
//! | `lane:<lane>` | sorted set | deliveries parked under a lane, by class and expiry |
//! | `lanes`, `ends` | sorted sets | lanes by how many are parked there; all parked deliveries by expiry |
//! | `lease`, `until` | hash, sorted set | leases: who, fence and place; and by their end |
//! | `about` | hash | under `c`: the mark of a store that moves |
//! | `charges` | hash | under `c`: by lane, the last day of its warm-up and how many INTENTs were charged on it |
//! | `notes:<kind>` | hash | under `c`: what the engine has learnt |
//! | `nodes`, `sources` | hashes | under `c`: nodes that are there; Sources and who owns them |
//! | `ages`, `done` | sorted sets | messages with, and without, unsettled deliveries, by time of acceptance |
//! | `answers`, `forget` | hash, sorted set | answers to idempotency keys; and by the time when they are forgotten |
//! | `suppressed` | hash | the suppression list: the same in every partition |

use std::fmt::Display;

use crate::domain::{DeliveryId, MessageId};
use uuid::Uuid;

/// The names of one store.
#[derive(Debug)]
pub(super) struct Names {
    common: String,
    partitions: Vec<String>,
}

impl Names {
    /// Of the store with this prefix and number of partitions.
    pub(super) fn new(prefix: &str, partitions: u16) -> Self {
        Self {
            common: home(prefix, "c"),
            partitions: (0..partitions).map(|number| home(prefix, number)).collect(),
        }
    }

    /// The epoch's key among records that belong to no Message.
    pub(super) fn common(&self) -> &str {
        &self.common
    }

    /// The epoch's key of each partition.
    pub(super) fn partitions(&self) -> &[String] {
        &self.partitions
    }

    /// How many partitions there are.
    pub(super) fn len(&self) -> usize {
        self.partitions.len()
    }

    /// The partition that a byte chooses.
    pub(super) fn partition_of_byte(&self, byte: u8) -> usize {
        usize::from(byte) % self.len()
    }

    /// The partition of a Message.
    pub(super) fn partition_of(&self, id: MessageId) -> usize {
        self.partition_of_byte(id.partition_byte())
    }
}

/// The epoch's key under a tag.
pub(super) fn home(prefix: &str, part: impl Display) -> String {
    format!("{{{prefix}:{part}}}epoch")
}

/// A Message as part of a key.
pub(super) fn message_key(id: MessageId) -> Vec<u8> {
    id.0.as_bytes().to_vec()
}

/// A Delivery as Redis knows it.
pub(super) fn delivery_key(id: DeliveryId) -> Vec<u8> {
    let mut key = message_key(id.message);
    key.extend_from_slice(&id.recipient.to_be_bytes());
    key
}

/// The Delivery of a key; none if it is not one.
pub(super) fn delivery_of(key: &[u8]) -> Option<DeliveryId> {
    let (message, recipient) = key.split_first_chunk::<16>()?;
    Some(DeliveryId {
        message: MessageId(Uuid::from_bytes(*message)),
        recipient: u16::from_be_bytes(recipient.try_into().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_names_of_a_partition_have_one_tag_and_messages_go_by_their_last_byte() {
        let names = Names::new("ph", 3);
        assert_eq!(names.common(), "{ph:c}epoch");
        assert_eq!(names.partitions(), ["{ph:0}epoch", "{ph:1}epoch", "{ph:2}epoch"]);
        for (byte, partition) in [(0_u8, 0), (1, 1), (5, 2), (255, 0)] {
            let id = MessageId(Uuid::from_u128(u128::from(byte) | 7 << 64));
            assert_eq!(names.partition_of(id), partition);
        }
    }

    #[test]
    fn a_key_names_its_delivery() {
        let id = DeliveryId {
            message: MessageId(Uuid::from_u128(77)),
            recipient: 300,
        };
        assert_eq!(delivery_of(&delivery_key(id)), Some(id));
        assert_eq!(delivery_of(&delivery_key(id)[1..]), None);
    }
}
