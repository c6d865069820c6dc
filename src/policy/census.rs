//! Counts all that wait, one round after the other, and finds those who wait for nothing.
//!
//! Takes deliveries that are not final, page by page; gives at the end of a round how many wait for what, by lane and by
//! tenant, and which of them have no reason or no time at which they are looked at again. There must be none of these: each
//! is a defect of ours. Bounded: beyond [`ROWS_MAX`] lanes or tenants the rest is one row without a name.

use std::collections::BTreeMap;

use crate::domain::{Delivery, DeliveryId, Lane, State, TenantId, Timestamp, Why};

/// Rows of each kind that a round keeps apart.
pub const ROWS_MAX: usize = 10_000;
/// Deliveries without a reason that a round names.
pub const NAMED_MAX: usize = 20;

/// What is missing from a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// It does not say why it waits.
    Reason,
    /// Nobody will look at it again.
    DueTime,
}

impl Missing {
    /// In words for the log.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Reason => "reason",
            Self::DueTime => "due time",
        }
    }
}

/// What is missing from the wait of a Delivery that is not final, if something is. `parked`: its lane will call it.
#[must_use]
pub fn missing(delivery: &Delivery, parked: bool) -> Option<Missing> {
    if delivery.state.is_final() {
        None
    } else if delivery.why.is_none() {
        Some(Missing::Reason)
    } else if delivery.due_at == Timestamp::NEVER && !parked && !is_for_an_operator(delivery) {
        Some(Missing::DueTime)
    } else {
        None
    }
}

/// Whether it waits until an operator does something: no time can be named.
fn is_for_an_operator(delivery: &Delivery) -> bool {
    delivery.state == State::Quarantined || delivery.why == Some(Why::TenantPaused)
}

/// How many wait for one thing, and until when the first and the last of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crowd {
    /// How many.
    pub deliveries: u64,
    /// The earliest time at which one of them is looked at again.
    pub first_until: Timestamp,
    /// The latest.
    pub last_until: Timestamp,
    /// When the oldest of them was accepted.
    pub oldest: Timestamp,
}

impl Crowd {
    fn of(delivery: &Delivery) -> Self {
        Self {
            deliveries: 1,
            first_until: delivery.due_at,
            last_until: delivery.due_at,
            oldest: delivery.created_at,
        }
    }

    fn joined(self, other: Self) -> Self {
        Self {
            deliveries: self.deliveries + other.deliveries,
            first_until: self.first_until.min(other.first_until),
            last_until: self.last_until.max(other.last_until),
            oldest: self.oldest.min(other.oldest),
        }
    }
}

/// The result of a round.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Round {
    /// All that wait.
    pub waiting: u64,
    /// By the lane that they are parked under (none: in line) and by reason.
    pub by_lane: BTreeMap<(Option<Lane>, Option<Why>), Crowd>,
    /// By tenant (none: all beyond the bound) and by reason.
    pub by_tenant: BTreeMap<(Option<TenantId>, Option<Why>), Crowd>,
    /// How many lack something.
    pub senseless: u64,
    /// The first of these.
    pub named: Vec<(DeliveryId, Missing)>,
}

impl Round {
    /// Counts one.
    pub fn meet(&mut self, delivery: &Delivery, parked: Option<&Lane>) {
        self.waiting += 1;
        let crowd = Crowd::of(delivery);
        let lane = (parked.cloned(), delivery.why);
        join(&mut self.by_lane, lane, (None, delivery.why), crowd);
        let tenant = (Some(delivery.tenant), delivery.why);
        join(&mut self.by_tenant, tenant, (None, delivery.why), crowd);
        if let Some(missing) = missing(delivery, parked.is_some()) {
            self.senseless += 1;
            if self.named.len() < NAMED_MAX {
                self.named.push((delivery.id, missing));
            }
        }
    }
}

fn join<K: Ord>(rows: &mut BTreeMap<K, Crowd>, own: K, beyond: K, crowd: Crowd) {
    let key = if rows.len() < ROWS_MAX || rows.contains_key(&own) {
        own
    } else {
        beyond
    };
    rows.entry(key)
        .and_modify(|row| *row = row.joined(crowd))
        .or_insert(crowd);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Class, MessageId, ProviderId, SourceId};
    use uuid::Uuid;

    fn delivery(tenant: u32, why: Option<Why>, due_at: u64) -> Delivery {
        Delivery {
            id: DeliveryId {
                message: MessageId(Uuid::from_u128(u128::from(tenant))),
                recipient: 0,
            },
            tenant: TenantId(tenant),
            class: Class::Broadcast,
            address: "a@example.org".to_owned(),
            state: State::Queued,
            created_at: Timestamp(5),
            due_at: Timestamp(due_at),
            expires_at: Timestamp(9_000),
            attempts: 0,
            ambiguous: 0,
            panics: 0,
            source: None,
            why,
            last_reply: None,
            bounce: None,
            updated_at: Timestamp(5),
        }
    }

    fn lane(source: &str) -> Lane {
        Lane {
            source: SourceId::from(source),
            provider: ProviderId::from("google"),
        }
    }

    #[test]
    fn a_wait_without_reason_or_without_time_is_found_and_no_other() {
        let never = Timestamp::NEVER.0;
        let with_state = |state, why, due_at| Delivery {
            state,
            ..delivery(1, why, due_at)
        };
        let table = [
            (delivery(1, Some(Why::Queued), 7), false, None),
            (delivery(1, None, 7), false, Some(Missing::Reason)),
            (delivery(1, None, 7), true, Some(Missing::Reason)),
            (delivery(1, Some(Why::Queued), never), false, Some(Missing::DueTime)),
            (delivery(1, Some(Why::LaneFull), never), true, None),
            (
                with_state(State::Quarantined, Some(Why::Quarantined), never),
                false,
                None,
            ),
            (
                with_state(State::Held, Some(Why::HeldAmbiguous), never),
                false,
                Some(Missing::DueTime),
            ),
            (with_state(State::Delivered, None, never), false, None),
            (delivery(1, Some(Why::TenantPaused), never), false, None),
        ];
        for (delivery, parked, expect) in table {
            assert_eq!(missing(&delivery, parked), expect, "{delivery:?}");
        }
    }

    #[test]
    fn a_round_counts_by_lane_and_by_tenant_and_names_what_is_wrong() {
        let mut round = Round::default();
        for (tenant, why, due_at, parked) in [
            (1, Some(Why::LaneFull), 20, Some(lane("a"))),
            (2, Some(Why::LaneFull), 10, Some(lane("a"))),
            (2, Some(Why::NotDue), 90, None),
            (3, None, 30, None),
        ] {
            round.meet(&delivery(tenant, why, due_at), parked.as_ref());
        }
        assert_eq!((round.waiting, round.senseless), (4, 1));
        assert_eq!(round.named, [(delivery(3, None, 0).id, Missing::Reason)]);
        let full = round.by_lane[&(Some(lane("a")), Some(Why::LaneFull))];
        assert_eq!(
            (full.deliveries, full.first_until, full.last_until),
            (2, Timestamp(10), Timestamp(20))
        );
        let second = |why| {
            round
                .by_tenant
                .get(&(Some(TenantId(2)), Some(why)))
                .map(|row| row.deliveries)
        };
        assert_eq!((second(Why::LaneFull), second(Why::NotDue)), (Some(1), Some(1)));
        let sum: u64 = round.by_tenant.values().map(|row| row.deliveries).sum();
        assert_eq!(sum, round.waiting, "each is counted once");
    }

    #[test]
    fn what_is_beyond_the_bound_is_counted_without_a_name() {
        let mut round = Round::default();
        let tenants = u32::try_from(ROWS_MAX).expect("small") + 50;
        for tenant in 0..tenants {
            round.meet(&delivery(tenant, Some(Why::Queued), 1), None);
        }
        assert_eq!(round.by_tenant.len(), ROWS_MAX + 1);
        assert_eq!(round.by_tenant[&(None, Some(Why::Queued))].deliveries, 50);
        assert_eq!(round.waiting, u64::from(tenants));
    }
}
