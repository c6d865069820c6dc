//! The queue seam: each method is one call of a function for each partition that it is about.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Notify;

use super::super::records::{encode_event, encode_intent};
use super::accepting::decode_accepted;
use super::functions::{
    ACCEPT, CANCEL, DEPTH, INTENT, LANES, LEASE, LEASE_EXPIRED, LEASE_PARKED, NEXT_DUE, PARK, RELEASE, RENEW, SETTLE,
    SUPPRESS,
};
use super::handle::{Redis, number};
use super::leasing::Wish;
use super::link::Arguments;
use super::names::delivery_key;
use super::settling::{
    CHANGES_PER_CALL, add_lease, add_parking, add_release, add_settlement, add_suppression, by_partition, stream_code,
    suppression_field,
};
use super::values::{decode_lane, decode_value, encode_lane, encode_value, parked_scores, score, time_of_score};
use crate::domain::{Class, Delivery, DeliveryId, EventKind, Lane, Next, Settlement, State, Suppression, Timestamp};
use crate::queue::{
    Accept, Accepted, Depth, Intent, IntentAnswer, IntentRefusal, LeaseRef, Leased, Parking, Queue, QueueError,
    Release, SettleAnswer,
};
use crate::sabotage::{self, Bug};

/// How often a cancellation begins anew because the Delivery changed under it.
const CANCEL_TRIES: usize = 10;
/// Calls that let leases lapse before a depth is told, in each partition.
const LAPSE_CALLS: usize = 100;

#[async_trait]
impl Queue for Redis {
    async fn accept(&self, accept: Accept) -> Result<Accepted, QueueError> {
        let encoded = self.encode_accept(&accept)?;
        self.cache_accepted(&accept, &encoded.sizes);
        let called = self.call(ACCEPT, encoded.partition, &encoded.arguments).await;
        let accepted = called.and_then(|parts| {
            let answer = parts.into_iter().next().flatten();
            decode_accepted(&accept, &answer.ok_or_else(strange)?)
        });
        if matches!(accepted, Ok(Accepted::New)) {
            self.shared.wake.notify_one();
        } else {
            accept.ids().for_each(|id| self.shared.cache.remove(id));
        }
        accepted
    }

    async fn lease(
        &self,
        class: Class,
        max: usize,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Leased>, QueueError> {
        let about = |arguments: &mut Arguments| {
            arguments.text(class.index());
        };
        if sabotage::is(Bug::LeaseExtendedByWaiter) {
            self.extend_all_leases(until).await?;
        }
        self.lease_anywhere(LEASE, Wish { max, now, until }, about).await
    }

    async fn lease_parked(
        &self,
        lane: &Lane,
        max: usize,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Leased>, QueueError> {
        let lane = encode_lane(lane);
        let under = |low: String, high: String| {
            let lane = lane.clone();
            move |arguments: &mut Arguments| {
                arguments.bytes(lane.clone()).text(&low).text(&high);
            }
        };
        let wish = Wish { max, now, until };
        if self.shared.names.len() == 1 {
            let all = under("-inf".to_owned(), "+inf".to_owned());
            return self.lease_anywhere(LEASE_PARKED, wish, all).await;
        }
        // The most urgent class of all partitions first.
        let mut leased = Vec::new();
        for class in Class::ALL {
            let (low, high) = parked_scores(class);
            let max = max - leased.len();
            let class = under(low.to_string(), high.to_string());
            match self.lease_anywhere(LEASE_PARKED, Wish { max, ..wish }, class).await {
                Ok(more) => leased.extend(more),
                Err(error) if leased.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(leased)
    }

    async fn lease_expired(&self, max: usize, now: Timestamp, until: Timestamp) -> Result<Vec<Leased>, QueueError> {
        self.lease_anywhere(LEASE_EXPIRED, Wish { max, now, until }, |_| {})
            .await
    }

    async fn park(&self, parkings: Vec<Parking>) -> Result<(), QueueError> {
        let leases: Vec<LeaseRef> = parkings.iter().map(|parking| parking.lease).collect();
        let held = self.held(&leases).await?;
        let groups = by_partition(parkings, |parking| self.partition_of(parking.lease));
        for (partition, group) in groups {
            for some in group.chunks(CHANGES_PER_CALL) {
                let mut arguments = Arguments::new();
                for (_, parking) in some {
                    if let Some(held) = held.get(&parking.lease) {
                        add_parking(&mut arguments, parking, held);
                    }
                }
                self.call(PARK, partition, &arguments).await?;
            }
        }
        leases.into_iter().for_each(|lease| self.shared.leased.remove(lease));
        Ok(())
    }

    async fn release(&self, releases: Vec<Release>) -> Result<(), QueueError> {
        let leases: Vec<LeaseRef> = releases.iter().map(|release| release.lease).collect();
        let held = self.held(&leases).await?;
        let groups = by_partition(releases, |release| self.partition_of(release.lease));
        for (partition, group) in groups {
            for some in group.chunks(CHANGES_PER_CALL) {
                let mut arguments = Arguments::new();
                for (_, release) in some {
                    if let Some(held) = held.get(&release.lease) {
                        add_release(&mut arguments, release, held);
                    }
                }
                self.call(RELEASE, partition, &arguments).await?;
            }
        }
        leases.into_iter().for_each(|lease| self.shared.leased.remove(lease));
        self.shared.wake.notify_one();
        Ok(())
    }

    async fn renew(&self, leases: Vec<LeaseRef>, until: Timestamp) -> Result<Vec<LeaseRef>, QueueError> {
        let mut lost = Vec::new();
        let groups = by_partition(leases, |lease| self.partition_of(*lease));
        for (partition, group) in groups {
            for some in group.chunks(CHANGES_PER_CALL) {
                let mut arguments = Arguments::new();
                arguments.text(score(until));
                some.iter().for_each(|(_, lease)| add_lease(&mut arguments, *lease));
                let answers = self.call(RENEW, partition, &arguments).await?;
                for (one, answer) in some.iter().zip(answers) {
                    if answer.as_deref() != Some(b"1") {
                        lost.push(*one);
                    }
                }
            }
        }
        lost.sort_by_key(|(place, _)| *place);
        let lost: Vec<LeaseRef> = lost.into_iter().map(|(_, lease)| lease).collect();
        lost.iter().for_each(|lease| self.shared.leased.remove(*lease));
        Ok(lost)
    }

    async fn intent(&self, intent: Intent) -> Result<IntentAnswer, QueueError> {
        let stale = Ok(IntentAnswer::Refused(IntentRefusal::Stale));
        let held = self.held(&[intent.lease]).await?;
        let Some(delivery) = held.get(&intent.lease) else {
            return stale;
        };
        let mut arguments = Arguments::new();
        add_lease(&mut arguments, intent.lease);
        arguments.text(score(intent.at)).text(score(delivery.expires_at));
        arguments.text(suppression_field(delivery.tenant, &delivery.address));
        arguments.text(stream_code(Some(delivery.stream())));
        arguments.bytes(encode_intent(&intent));
        if !self.add_charge(&mut arguments, &intent).await? {
            return Ok(IntentAnswer::Refused(IntentRefusal::WarmupCap));
        }
        let partition = self.partition_of(intent.lease);
        let answer = self.call(INTENT, partition, &arguments).await?;
        if answer.first().and_then(Option::as_deref) != Some(b"recorded") {
            // Whether it comes back changes nothing about the refusal.
            let _ = self.not_recorded(&intent.lane, intent.charge).await;
        }
        match answer.first().and_then(Option::as_deref) {
            Some(b"recorded") => Ok(IntentAnswer::Recorded),
            Some(b"stale") => stale,
            Some(b"expired") => Ok(IntentAnswer::Refused(IntentRefusal::Expired)),
            Some(b"warmup_cap") => Ok(IntentAnswer::Refused(IntentRefusal::WarmupCap)),
            Some(b"suppressed") => Ok(IntentAnswer::Refused(IntentRefusal::Suppressed)),
            _ => Err(strange()),
        }
    }

    async fn refund(&self, lane: &Lane, day: u32) -> Result<(), QueueError> {
        self.take_back(lane, day).await
    }

    async fn settle(&self, mut settlements: Vec<Settlement>) -> Result<Vec<SettleAnswer>, QueueError> {
        if sabotage::is(Bug::NoFenceOnSettle) {
            settlements = self.with_fences_that_hold(settlements).await?;
        }
        let leases: Vec<LeaseRef> = settlements.iter().map(lease_of).collect();
        let held = self.held(&leases).await?;
        let waits = settlements.iter().any(|one| matches!(one.next, Next::Wait { .. }));
        let mut answers = vec![SettleAnswer::Stale; settlements.len()];
        let groups = by_partition(settlements, |one| self.partition_of(lease_of(one)));
        for (partition, group) in groups {
            for some in group.chunks(CHANGES_PER_CALL) {
                for place in self.settle_some(partition, some, &held).await? {
                    answers[place] = SettleAnswer::Settled;
                }
            }
        }
        leases.into_iter().for_each(|lease| self.shared.leased.remove(lease));
        if waits {
            self.shared.wake.notify_one();
        }
        Ok(answers)
    }

    async fn cancel(&self, delivery: DeliveryId, now: Timestamp) -> Result<bool, QueueError> {
        let partition = self.shared.names.partition_of(delivery.message);
        for _ in 0..CANCEL_TRIES {
            let looked = self.look(partition, &[delivery]).await?;
            let Some((Some(value), _)) = looked.into_iter().next() else {
                return Ok(false);
            };
            let damaged = |damaged: super::super::records::Damaged| QueueError::Damaged(damaged.0);
            let mut after = decode_value(delivery, &value).map_err(damaged)?;
            if after.state.is_final() {
                return Ok(false);
            }
            (after.state, after.updated_at, after.why) = (State::Cancelled, now, None);
            let event = encode_event(delivery.recipient, now, &EventKind::Cancelled);
            let mut arguments = Arguments::new();
            arguments.bytes(delivery_key(delivery)).bytes(value);
            arguments.bytes(encode_value(&after, None)).bytes(event);
            let answer = self.call(CANCEL, partition, &arguments).await?;
            match answer.first().and_then(Option::as_deref) {
                Some(b"changed") => {}
                Some(b"no") => return Ok(false),
                Some(b"yes") => return Ok(true),
                Some(b"last") => {
                    self.shared.cache.remove(delivery.message);
                    return Ok(true);
                }
                _ => return Err(strange()),
            }
        }
        Err(QueueError::Unavailable(
            "the delivery changes faster than it can be cancelled".to_owned(),
        ))
    }

    async fn next_due(&self, class: Class) -> Result<Option<Timestamp>, QueueError> {
        let mut first = None;
        for partition in self.partitions() {
            let mut arguments = Arguments::new();
            arguments.text(class.index());
            let answer = self.call(NEXT_DUE, partition, &arguments).await?;
            let due = number(answer.first().and_then(Option::as_deref)).map(time_of_score);
            first = match (first, due) {
                (Some(first), Some(due)) => Some(due.min(first)),
                (first, due) => first.or(due),
            };
        }
        Ok(first)
    }

    async fn parked_lanes(&self, max: usize) -> Result<Vec<(Lane, u64)>, QueueError> {
        let mut lanes: HashMap<Lane, u64> = HashMap::new();
        for partition in self.partitions() {
            let mut arguments = Arguments::new();
            arguments.text(max);
            for pair in self.call(LANES, partition, &arguments).await?.chunks_exact(2) {
                let lane = decode_lane(pair[0].as_deref().unwrap_or_default());
                let lane = lane.map_err(|damaged| QueueError::Damaged(damaged.0))?;
                *lanes.entry(lane).or_default() += number(pair[1].as_deref()).unwrap_or_default();
            }
        }
        let mut lanes: Vec<_> = lanes.into_iter().collect();
        lanes.sort_by(|(a, parked_a), (b, parked_b)| parked_b.cmp(parked_a).then_with(|| a.cmp(b)));
        lanes.truncate(max);
        Ok(lanes)
    }

    async fn depth(&self, now: Timestamp) -> Result<Depth, QueueError> {
        let mut depth = Depth::default();
        for partition in self.partitions() {
            let mut arguments = Arguments::new();
            arguments.text(score(now));
            let mut answer = self.call(DEPTH, partition, &arguments).await?;
            for _ in 0..LAPSE_CALLS {
                if answer.first().and_then(Option::as_deref) != Some(b"1") {
                    break;
                }
                answer = self.call(DEPTH, partition, &arguments).await?;
            }
            add_depth(&mut depth, &answer)?;
        }
        Ok(depth)
    }

    fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.shared.wake)
    }
}

impl Redis {
    fn partition_of(&self, lease: LeaseRef) -> usize {
        self.shared.names.partition_of(lease.delivery.message)
    }

    /// Settles some of one partition; gives the places of those that count.
    async fn settle_some(
        &self,
        partition: usize,
        some: &[(usize, Settlement)],
        held: &HashMap<LeaseRef, Delivery>,
    ) -> Result<Vec<usize>, QueueError> {
        let mut arguments = Arguments::new();
        let mut asked = Vec::with_capacity(some.len());
        for (place, settlement) in some {
            let lease = lease_of(settlement);
            if let Some(held) = held.get(&lease) {
                let events = match sabotage::is(Bug::EventOutsideCommit) {
                    true => &[],
                    false => settlement.events.as_slice(),
                };
                let entry = add_settlement(&mut arguments, settlement, lease, held, events);
                asked.push((*place, settlement, entry));
            }
        }
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let answers = self.call(SETTLE, partition, &arguments).await?;
        let mut settled = Vec::with_capacity(asked.len());
        for ((place, settlement, entry), answer) in asked.into_iter().zip(answers) {
            let counts = matches!(answer.as_deref(), Some(b"1" | b"2"));
            if answer.as_deref() == Some(b"2") {
                self.shared.cache.remove(settlement.delivery.message);
            }
            if counts {
                settled.push(place);
                if sabotage::is(Bug::EventOutsideCommit) {
                    for kind in &settlement.events {
                        let event = encode_event(settlement.delivery.recipient, settlement.at, kind);
                        self.tell_apart(settlement.delivery.message, &event).await?;
                    }
                }
                if let Some(entry) = entry {
                    self.suppress_beyond(Some(partition), &entry).await?;
                }
            }
        }
        Ok(settled)
    }

    /// Puts an entry on the suppression lists of all partitions but one, which has it.
    pub(super) async fn suppress_beyond(&self, has_it: Option<usize>, entry: &Suppression) -> Result<(), QueueError> {
        let mut arguments = Arguments::new();
        add_suppression(&mut arguments, entry);
        for partition in self.partitions() {
            if Some(partition) != has_it {
                self.call(SUPPRESS, partition, &arguments).await?;
            }
        }
        Ok(())
    }
}

fn lease_of(settlement: &Settlement) -> LeaseRef {
    LeaseRef {
        delivery: settlement.delivery,
        fence: settlement.fence,
    }
}

/// Adds what a partition tells of its depth.
fn add_depth(depth: &mut Depth, answer: &[Option<Vec<u8>>]) -> Result<(), QueueError> {
    let [_, leased, parked, oldest, counters @ ..] = answer else {
        return Err(strange());
    };
    depth.leased += number(leased.as_deref()).unwrap_or_default();
    depth.parked += number(parked.as_deref()).unwrap_or_default();
    if let Some(oldest) = number(oldest.as_deref()).map(time_of_score) {
        depth.oldest = Some(depth.oldest.map_or(oldest, |other| other.min(oldest)));
    }
    for pair in counters.chunks_exact(2) {
        let (Some(name), Some(value)) = (pair[0].as_deref(), number(pair[1].as_deref())) else {
            continue;
        };
        let place = |digits: &[u8]| number(Some(digits)).and_then(|place| usize::try_from(place).ok());
        let counter = match name {
            b"messages" => Some(&mut depth.messages),
            [b's', digits @ ..] => place(digits).and_then(|place| depth.by_state.get_mut(place)),
            [b'c', digits @ ..] => place(digits).and_then(|place| depth.waiting_by_class.get_mut(place)),
            _ => None,
        };
        if let Some(counter) = counter {
            *counter += value;
        }
    }
    Ok(())
}

fn strange() -> QueueError {
    QueueError::Unavailable("Redis answered in an unexpected way".to_owned())
}
