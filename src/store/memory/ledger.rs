//! What is true of each Message and Delivery: accepted, intended, settled.
//!
//! Takes what the queue seam takes, with the time in it; gives its answers. Every change is whole: nothing returns
//! half-way. State changes in one function (`change`), which keeps the counters, and no way leads out of a final state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::line::{Line, Place};
use super::records::Records;
use crate::domain::{
    Body, Class, Delivery, DeliveryId, Event, EventKind, Lane, Message, MessageId, Next, Settlement, State, Stream,
    Suppression, SuppressionReason, TenantId, Timestamp,
};
use crate::queue::{
    Accept, Accepted, Depth, IdempotencyKey, Intent, IntentAnswer, IntentRefusal, LeaseRef, Leased, OpenIntent,
    Parking, Release, SettleAnswer, Spent, StoredResponse,
};
use crate::sabotage::{self, Bug};
use crate::store::archive::Mark;

/// All work and all records.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Who stands where.
    pub(super) line: Line,
    /// Everything that is not work.
    pub(super) records: Records,
    pub(super) messages: BTreeMap<MessageId, Entry>,
    deliveries: BTreeMap<DeliveryId, Delivery>,
    /// INTENTs without OUTCOME.
    pub(super) intents: BTreeMap<DeliveryId, OpenIntent>,
    /// What INTENTs were charged.
    pub(super) charges: BTreeMap<Lane, Spent>,
    /// By tenant and idempotency key.
    pub(super) answers: BTreeMap<(TenantId, String), StoredResponse>,
    /// Non-final deliveries by the time of acceptance.
    waiting: BTreeSet<(Timestamp, DeliveryId)>,
    pub(super) counts: Counts,
    pub(super) last_sequence: u64,
    /// What is known of a move.
    pub(super) mark: Option<Mark>,
    /// Answered and not written: always empty, but for a deliberate bug.
    unwritten: Vec<Settlement>,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) message: Arc<Message>,
    /// Gone when nothing is unsettled any more.
    pub(super) body: Option<Arc<Body>>,
    /// Deliveries that are not final.
    pub(super) unsettled: usize,
    pub(super) events: Vec<Event>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    by_state: [u64; State::ALL.len()],
    waiting_by_class: [u64; Class::ALL.len()],
    pub(super) messages: u64,
    /// Purged deliveries by state: still counted above, no longer stored.
    purged: [u64; State::ALL.len()],
}

impl Counts {
    fn enter(&mut self, delivery: &Delivery) {
        self.by_state[position(delivery.state)] += 1;
        if !delivery.state.is_final() {
            self.waiting_by_class[delivery.class.index()] += 1;
        }
    }

    fn exit(&mut self, delivery: &Delivery) {
        self.by_state[position(delivery.state)] -= 1;
        if !delivery.state.is_final() {
            self.waiting_by_class[delivery.class.index()] -= 1;
        }
    }
}

/// Position in [`State::ALL`].
fn position(state: State) -> usize {
    State::ALL
        .iter()
        .position(|one| *one == state)
        .expect("State::ALL holds all states")
}

/// The work.
impl Ledger {
    pub(super) fn accept(&mut self, accept: Accept) -> Accepted {
        if let Some((key, answer)) = accept.idempotency {
            match self.answer(&key, accept.at) {
                Some(first) if first.request_hash == answer.request_hash => return Accepted::Replay(first),
                Some(_) => return Accepted::KeyMismatch,
                None => self.answers.insert((key.tenant, key.key), answer),
            };
        }
        for (message, body) in accept.messages {
            self.counts.messages += 1;
            let entry = Entry {
                message,
                body: Some(body),
                unsettled: 0,
                events: Vec::new(),
            };
            self.messages.insert(entry.message.id, entry);
        }
        let touched: BTreeSet<MessageId> = accept.deliveries.iter().map(|delivery| delivery.id.message).collect();
        for delivery in accept.deliveries {
            self.admit(delivery);
        }
        for event in accept.events {
            self.record(event);
        }
        for message in touched {
            self.drop_body_when_settled(message);
        }
        Accepted::New
    }

    pub(super) fn lease(&mut self, class: Class, max: usize, now: Timestamp, until: Timestamp) -> Vec<Leased> {
        if sabotage::is(Bug::LeaseExtendedByWaiter) {
            self.line.renew_all(until);
        }
        self.line.lapse(now);
        let first = self.line.first_due(class, max, now);
        self.take(&first, until)
    }

    pub(super) fn lease_parked(&mut self, lane: &Lane, max: usize, now: Timestamp, until: Timestamp) -> Vec<Leased> {
        self.line.lapse(now);
        let first = self.line.first_parked(lane, max);
        self.take(&first, until)
    }

    pub(super) fn lease_expired(&mut self, max: usize, now: Timestamp, until: Timestamp) -> Vec<Leased> {
        self.line.lapse(now);
        let first = self.line.first_expired(max, now);
        self.take(&first, until)
    }

    pub(super) fn park(&mut self, parking: Parking) {
        if let Some(delivery) = self.held(parking.lease) {
            delivery.why = Some(parking.why);
            delivery.due_at = parking.until.unwrap_or(delivery.due_at);
            self.line.give_back(parking.lease.delivery, Place::Parked(parking.lane));
        }
    }

    /// `false` when the lease was lost.
    pub(super) fn release(&mut self, release: &Release) -> bool {
        let Some(delivery) = self.held(release.lease) else {
            return false;
        };
        delivery.why = Some(release.why);
        delivery.due_at = release.due_at;
        self.line.give_back(release.lease.delivery, Place::Due(release.due_at));
        true
    }

    pub(super) fn intent(&mut self, intent: Intent) -> IntentAnswer {
        let id = intent.lease.delivery;
        let ended = self.line.leased_until(id).is_none_or(|until| until <= intent.at);
        let Some(delivery) = self.held(intent.lease).filter(|_| !ended) else {
            return IntentAnswer::Refused(IntentRefusal::Stale);
        };
        if delivery.expires_at <= intent.at && !sabotage::is(Bug::IntentAfterExpiry) {
            return IntentAnswer::Refused(IntentRefusal::Expired);
        }
        let (tenant, stream, address) = (delivery.tenant, delivery.stream(), delivery.address.clone());
        if self.records.is_suppressed(tenant, stream, &address) {
            return IntentAnswer::Refused(IntentRefusal::Suppressed);
        }
        if let Some(charge) = intent.charge {
            let Some(spent) = charge.on(self.charges.get(&intent.lane).copied()) else {
                return IntentAnswer::Refused(IntentRefusal::WarmupCap);
            };
            self.charges.insert(intent.lane.clone(), spent);
        }
        let open = OpenIntent {
            attempt: intent.attempt,
            at: intent.at,
            lane: intent.lane,
            host: intent.host,
        };
        self.intents.insert(id, open);
        IntentAnswer::Recorded
    }

    pub(super) fn refund(&mut self, lane: &Lane, day: u32) {
        if let Some(spent) = self.charges.get_mut(lane) {
            *spent = spent.less_one_of(day).unwrap_or(*spent);
        }
    }

    pub(super) fn settle(&mut self, settlement: Settlement) -> SettleAnswer {
        if sabotage::is(Bug::AckBeforeOutcome) {
            for before in std::mem::replace(&mut self.unwritten, vec![settlement]) {
                self.write(before);
            }
            return SettleAnswer::Settled;
        }
        self.write(settlement)
    }

    fn write(&mut self, settlement: Settlement) -> SettleAnswer {
        let id = settlement.delivery;
        let lease = LeaseRef {
            delivery: id,
            fence: settlement.fence,
        };
        let unfenced = sabotage::is(Bug::NoFenceOnSettle);
        let delivery = match self.deliveries.get_mut(&id) {
            Some(delivery) if self.line.holds(lease) => delivery,
            Some(delivery) if unfenced && !delivery.state.is_final() => delivery,
            Some(_) | None => return SettleAnswer::Stale,
        };
        let suppression = settlement
            .suppress
            .map(|reason| suppression_for(delivery, reason, settlement.at));
        if let Some(suppression) = suppression {
            self.records.put_suppression(suppression);
        }
        self.intents.remove(&id);
        for kind in settlement.events {
            self.record(Event {
                sequence: 0,
                delivery: id,
                at: settlement.at,
                kind,
            });
        }
        let (state, wait) = match settlement.next {
            Next::Final(state) => (state, None),
            Next::Wait { state, due_at, why } => (state, Some((due_at, why))),
        };
        debug_assert_eq!(state.is_final(), wait.is_none(), "a wait is not final, an end is");
        if let Some((due_at, _)) = wait {
            self.line.give_back(id, Place::Due(due_at));
        }
        self.change(id, |delivery| {
            delivery.state = state;
            delivery.updated_at = settlement.at;
            delivery.why = wait.map(|(_, why)| why);
            delivery.due_at = wait.map_or(delivery.due_at, |(due_at, _)| due_at);
            delivery.attempts += settlement.attempts;
            delivery.ambiguous += settlement.ambiguous;
            delivery.panics += settlement.panics;
            delivery.source = settlement.source.or(delivery.source.take());
            delivery.last_reply = settlement.reply.or(delivery.last_reply.take());
            delivery.bounce = settlement.bounce.or(delivery.bounce);
        });
        SettleAnswer::Settled
    }

    pub(super) fn cancel(&mut self, id: DeliveryId, now: Timestamp) -> bool {
        // An INTENT without OUTCOME may have become mail, whoever holds the lease now.
        let may_have_gone = self.intents.contains_key(&id);
        let is_final = self
            .deliveries
            .get(&id)
            .is_none_or(|delivery| delivery.state.is_final());
        if may_have_gone || is_final {
            return false;
        }
        self.record(Event {
            sequence: 0,
            delivery: id,
            at: now,
            kind: EventKind::Cancelled,
        });
        self.change(id, |delivery| {
            delivery.state = State::Cancelled;
            delivery.updated_at = now;
            delivery.why = None;
        });
        true
    }

    pub(super) fn depth(&mut self, now: Timestamp) -> Depth {
        self.line.lapse(now);
        Depth {
            by_state: self.counts.by_state,
            waiting_by_class: self.counts.waiting_by_class,
            oldest: self.waiting.first().map(|(created_at, _)| *created_at),
            leased: self.line.leased(),
            parked: self.line.lanes().map(|(_, number)| number).sum(),
            messages: self.counts.messages,
        }
    }

    /// What the death of the process takes with it: all leases.
    pub(super) fn crash(&mut self) {
        self.line.forget_leases();
        self.unwritten.clear();
        if sabotage::is(Bug::IntentForgotten) {
            self.intents.clear();
        }
        if sabotage::is(Bug::WarmupForgotten) {
            self.charges.clear();
        }
        if sabotage::is(Bug::DueResetOnRestart) {
            self.line.make_all_due();
        }
    }

    /// The Delivery under a lease that still holds.
    fn held(&mut self, lease: LeaseRef) -> Option<&mut Delivery> {
        let delivery = self.deliveries.get_mut(&lease.delivery)?;
        self.line.holds(lease).then_some(delivery)
    }

    fn take(&mut self, ids: &[DeliveryId], until: Timestamp) -> Vec<Leased> {
        let mut leased = Vec::with_capacity(ids.len());
        for id in ids {
            leased.push(Leased {
                delivery: self.deliveries[id].clone(),
                fence: self.line.take(*id, until),
                until,
                open_intent: self.intents.get(id).cloned(),
            });
        }
        leased
    }

    pub(super) fn admit(&mut self, delivery: Delivery) {
        self.counts.enter(&delivery);
        if !delivery.state.is_final() {
            self.line
                .join(delivery.id, delivery.class, delivery.expires_at, delivery.due_at);
            self.waiting.insert((delivery.created_at, delivery.id));
            if let Some(entry) = self.messages.get_mut(&delivery.id.message) {
                entry.unsettled += 1;
            }
        }
        self.deliveries.insert(delivery.id, delivery);
    }

    /// The one place where a state changes.
    fn change(&mut self, id: DeliveryId, apply: impl FnOnce(&mut Delivery)) {
        let Some(delivery) = self.deliveries.get_mut(&id) else {
            return;
        };
        debug_assert!(!delivery.state.is_final(), "no way leads out of a final state");
        self.counts.exit(delivery);
        apply(delivery);
        self.counts.enter(delivery);
        if delivery.state.is_final() {
            self.waiting.remove(&(delivery.created_at, id));
            self.line.leave(id);
            self.intents.remove(&id);
            if let Some(entry) = self.messages.get_mut(&id.message) {
                entry.unsettled -= 1;
            }
            self.drop_body_when_settled(id.message);
        }
    }

    fn drop_body_when_settled(&mut self, id: MessageId) {
        if let Some(entry) = self.messages.get_mut(&id).filter(|entry| entry.unsettled == 0) {
            entry.body = None;
        }
    }

    fn record(&mut self, mut event: Event) {
        self.last_sequence += 1;
        event.sequence = self.last_sequence;
        if let Some(entry) = self.messages.get_mut(&event.message()) {
            entry.events.push(event);
        }
    }
}

/// The reading side, and what is left when it is over.
impl Ledger {
    pub(super) fn message(&self, id: MessageId) -> Option<Arc<Message>> {
        self.messages.get(&id).map(|entry| Arc::clone(&entry.message))
    }

    pub(super) fn body(&self, id: MessageId) -> Option<Arc<Body>> {
        self.messages.get(&id)?.body.clone()
    }

    pub(super) fn deliveries(&self, id: MessageId) -> Vec<Delivery> {
        let all = all_of(id);
        self.deliveries
            .range(all)
            .map(|(_, delivery)| delivery.clone())
            .collect()
    }

    pub(super) fn delivery(&self, id: DeliveryId) -> Option<Delivery> {
        self.deliveries.get(&id).cloned()
    }

    pub(super) fn events(&self, id: MessageId, max: usize) -> Vec<Event> {
        let events = self.messages.get(&id).map(|entry| entry.events.iter());
        events.into_iter().flatten().take(max).cloned().collect()
    }

    pub(super) fn answer(&self, key: &IdempotencyKey, now: Timestamp) -> Option<StoredResponse> {
        let answer = self.answers.get(&(key.tenant, key.key.clone()))?;
        (answer.expires_at > now).then(|| answer.clone())
    }

    /// Forgets up to `max` settled messages, and the answers that had expired by then.
    pub(super) fn purge(&mut self, before: Timestamp, max: usize) -> usize {
        self.answers.retain(|_, answer| answer.expires_at > before);
        let old = self.messages.values().filter(|entry| entry.message.created_at < before);
        let settled = old.filter(|entry| entry.unsettled == 0);
        let ids: Vec<MessageId> = settled.map(|entry| entry.message.id).take(max).collect();
        for id in &ids {
            self.messages.remove(id);
            let gone: Vec<DeliveryId> = self.deliveries.range(all_of(*id)).map(|(id, _)| *id).collect();
            for delivery in gone.iter().filter_map(|id| self.deliveries.remove(id)) {
                self.counts.purged[position(delivery.state)] += 1;
            }
        }
        ids.len()
    }

    /// Panics unless the books balance: counters equal a recount, and everybody stands in one place.
    pub(super) fn check(&self) {
        self.line.check();
        let mut recount = Counts {
            messages: self.counts.messages,
            purged: self.counts.purged,
            by_state: self.counts.purged,
            ..Counts::default()
        };
        for delivery in self.deliveries.values() {
            recount.enter(delivery);
            let waits = self.waiting.contains(&(delivery.created_at, delivery.id));
            assert_eq!(waits, !delivery.state.is_final(), "{delivery:?}");
        }
        assert_eq!(self.counts, recount, "the ledger balances");
        assert_eq!(
            self.waiting.len() as u64,
            self.counts.waiting_by_class.iter().sum::<u64>()
        );
        for entry in self.messages.values() {
            assert_eq!(
                entry.body.is_some(),
                entry.unsettled > 0,
                "a body lives as long as its deliveries"
            );
        }
    }
}

/// All deliveries of a Message.
fn all_of(message: MessageId) -> std::ops::RangeInclusive<DeliveryId> {
    let at = |recipient| DeliveryId { message, recipient };
    at(0)..=at(u16::MAX)
}

/// The entry that a Settlement puts on the list. A mailbox that does not exist takes no mail at all; who complains or
/// unsubscribes does so about one stream.
fn suppression_for(delivery: &Delivery, reason: SuppressionReason, at: Timestamp) -> Suppression {
    let stream: Option<Stream> = match reason {
        SuppressionReason::HardBounce | SuppressionReason::Manual => None,
        SuppressionReason::Complaint | SuppressionReason::Unsubscribe => Some(delivery.stream()),
    };
    Suppression {
        tenant: delivery.tenant,
        address: delivery.address.clone(),
        stream,
        reason,
        created_at: at,
    }
}
