//! Leases: asked for in one partition after the other, and the deliveries that this node has out.

use std::collections::HashMap;

use super::super::records::decode_intent;
use super::functions::{Function, LOOK};
use super::handle::{Parts, Redis, number};
use super::link::Arguments;
use super::names::{delivery_key, delivery_of};
use super::values::{decode_value, score};
use crate::domain::{Delivery, DeliveryId, Fence, Timestamp};
use crate::queue::{LeaseRef, Leased, QueueError};

/// Leases that one call takes at most.
const LEASES_PER_CALL: usize = 500;
/// Deliveries that one call looks at.
pub(super) const LOOKS_PER_CALL: usize = 500;
/// Strings for each lease in an answer: key, fence, value, INTENT.
const PARTS_PER_LEASE: usize = 4;

/// Who wants how many, from when to when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    pub(super) max: usize,
    pub(super) now: Timestamp,
    pub(super) until: Timestamp,
}

impl Redis {
    /// Leases in one partition, as many as `wish` says or as there are, about what `about` adds.
    pub(super) async fn lease_in(
        &self,
        function: Function,
        partition: usize,
        wish: Wish,
        about: impl Fn(&mut Arguments),
    ) -> Result<Vec<Leased>, QueueError> {
        let mut leased = Vec::new();
        // Those that cannot be read count, too: they are out until their lease ends.
        let mut taken = 0;
        while taken < wish.max {
            let wanted = (wish.max - taken).min(LEASES_PER_CALL);
            let mut arguments = Arguments::new();
            arguments.text(wanted).text(score(wish.now)).text(score(wish.until));
            arguments
                .text(&self.shared.node)
                .text(format!("{:x}", fastrand::u64(..)));
            about(&mut arguments);
            let answer = self.call(function, partition, &arguments).await;
            let parts = match answer {
                Ok(parts) => parts,
                // What is leased already is given out: it would wait for the end of its lease otherwise.
                Err(error) if leased.is_empty() => return Err(error),
                Err(_) => break,
            };
            let got = parts.len() / PARTS_PER_LEASE;
            leased.extend(decode_leases(&parts, wish.until));
            taken += got;
            if got < wanted {
                break;
            }
        }
        for one in &leased {
            self.shared.leased.insert(one.fence, &one.delivery);
        }
        Ok(leased)
    }

    /// Leases in one partition after the other until there are enough.
    pub(super) async fn lease_anywhere(
        &self,
        function: Function,
        wish: Wish,
        about: impl Fn(&mut Arguments),
    ) -> Result<Vec<Leased>, QueueError> {
        let mut leased = Vec::new();
        for partition in self.round() {
            let max = wish.max - leased.len();
            if max == 0 {
                break;
            }
            match self.lease_in(function, partition, Wish { max, ..wish }, &about).await {
                Ok(more) => leased.extend(more),
                Err(error) if leased.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(leased)
    }

    /// The deliveries under these leases, as far as the leases hold: remembered, else looked up. Those of others are left out.
    pub(super) async fn held(&self, leases: &[LeaseRef]) -> Result<HashMap<LeaseRef, Delivery>, QueueError> {
        let mut held = HashMap::with_capacity(leases.len());
        let mut unknown: HashMap<usize, Vec<LeaseRef>> = HashMap::new();
        for lease in leases {
            match self.shared.leased.get(*lease) {
                Some(delivery) => {
                    held.insert(*lease, delivery);
                }
                None => {
                    let partition = self.shared.names.partition_of(lease.delivery.message);
                    unknown.entry(partition).or_default().push(*lease);
                }
            }
        }
        for (partition, leases) in unknown {
            for leases in leases.chunks(LOOKS_PER_CALL) {
                let ids: Vec<DeliveryId> = leases.iter().map(|lease| lease.delivery).collect();
                let looked = self.look(partition, &ids).await?;
                for (lease, (value, fence)) in leases.iter().zip(looked) {
                    if let Some(value) = value
                        && fence == Some(lease.fence)
                    {
                        let delivery = decode_value(lease.delivery, &value);
                        held.insert(*lease, delivery.map_err(|damaged| QueueError::Damaged(damaged.0))?);
                    }
                }
            }
        }
        Ok(held)
    }

    /// The stored values of deliveries of one partition, and the fences of their leases.
    pub(super) async fn look(
        &self,
        partition: usize,
        ids: &[DeliveryId],
    ) -> Result<Vec<(Option<Vec<u8>>, Option<Fence>)>, QueueError> {
        let mut arguments = Arguments::new();
        for id in ids {
            arguments.bytes(delivery_key(*id));
        }
        let mut parts = self.call(LOOK, partition, &arguments).await?.into_iter();
        let mut looked = Vec::with_capacity(ids.len());
        while let (Some(value), Some(fence)) = (parts.next(), parts.next()) {
            looked.push((value, number(fence.as_deref()).map(Fence)));
        }
        Ok(looked)
    }
}

/// The leases of an answer. A record that cannot be read is passed over, named in the log, and left as it is: one damaged
/// Delivery must not stand in the way of all behind it. It is out until its lease ends, and then named again.
fn decode_leases(parts: &Parts, until: Timestamp) -> Vec<Leased> {
    let leases = parts.chunks_exact(PARTS_PER_LEASE);
    let leases = leases.filter_map(|lease| match decode_lease(lease, until) {
        Ok(leased) => Some(leased),
        Err(what) => {
            tracing::error!("a stored record is damaged and is passed over: {what}");
            None
        }
    });
    leases.collect()
}

fn decode_lease(parts: &[Option<Vec<u8>>], until: Timestamp) -> Result<Leased, String> {
    let [Some(key), fence, Some(value), Some(intent)] = parts else {
        return Err("a lease without a Delivery".to_owned());
    };
    let id = delivery_of(key).ok_or_else(|| format!("the key of a delivery: {key:?}"))?;
    let fence = number(fence.as_deref()).ok_or_else(|| format!("the fence of delivery {id}"))?;
    let open_intent = match intent.as_slice() {
        [] => None,
        bytes => Some(decode_intent(id, bytes).map_err(|damaged| damaged.0)?.1),
    };
    Ok(Leased {
        delivery: decode_value(id, value).map_err(|damaged| damaged.0)?,
        fence: Fence(fence),
        until,
        open_intent,
    })
}
