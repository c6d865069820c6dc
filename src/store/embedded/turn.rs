//! One batch's transaction as the operations see it: small steps that keep tables, counters and leases in line.
//!
//! Takes decoded things, gives nothing or what was found. Each step writes at most a few rows. An operation reads and
//! decodes everything it needs before its first step, so that a damaged record leaves nothing half done.

use std::sync::Arc;

use redb::ReadableTable;

use super::super::records::{
    StoredDelivery, decode_delivery, decode_response, decode_suppression, encode_delivery, encode_lane, encode_note,
    encode_spent, encode_suppression,
};
use super::fault::Fault;
use super::keys::{delivery_key, due_key, end_key, event_key, message_key, named_key, note_key, parked_key};
use super::layout::Tables;
use super::state::State;
use crate::domain::{
    Delivery, DeliveryId, Fence, Lane, MessageId, Note, State as DeliveryState, Stream, Suppression, TenantId,
    Timestamp, lane_note_key,
};
use crate::queue::Spent;
use crate::sabotage::{self, Bug};

/// One transaction and the memory beside it.
pub(super) struct Turn<'a, 't> {
    /// The tables.
    pub(super) tables: &'a mut Tables<'t>,
    /// The memory.
    pub(super) state: &'a mut State,
    /// Whether there is something to commit.
    pub(super) dirty: bool,
    /// Whether something may have become due.
    pub(super) wake: bool,
}

impl Turn<'_, '_> {
    /// A Delivery as stored; none when there is none.
    pub(super) fn delivery(&self, id: DeliveryId) -> Result<Option<StoredDelivery>, Fault> {
        match self.tables.deliveries.get(&delivery_key(id))? {
            Some(bytes) => Ok(Some(decode_delivery(id, bytes.value())?)),
            None => Ok(None),
        }
    }

    /// Writes the record of a Delivery.
    pub(super) fn put_delivery(&mut self, stored: &StoredDelivery) -> Result<(), Fault> {
        self.dirty = true;
        let key = delivery_key(stored.delivery.id);
        self.tables
            .deliveries
            .insert(&key, encode_delivery(stored).as_slice())?;
        Ok(())
    }

    /// Into the place that its record names: in line, or under its lane.
    pub(super) fn step_in(&mut self, stored: &StoredDelivery) -> Result<(), Fault> {
        self.dirty = true;
        let delivery = &stored.delivery;
        let Some(number) = stored.parked else {
            return self.step_in_line(delivery);
        };
        let key = parked_key(number, delivery.class, delivery.expires_at, delivery.id);
        self.tables.parked.insert(&key, ())?;
        let end = end_key(delivery.expires_at, delivery.id);
        self.tables.parked_ends.insert(&end, number)?;
        if let Some(entry) = self.state.lanes.entry(number) {
            entry.parked += 1;
        }
        Ok(())
    }

    /// A new Delivery into the line.
    pub(super) fn step_in_line(&mut self, delivery: &Delivery) -> Result<(), Fault> {
        self.dirty = true;
        let key = due_key(delivery.class, delivery.due_at, delivery.id);
        self.tables.due.insert(&key, ())?;
        self.state.cursors.back_to(delivery.class, key);
        self.wake = true;
        Ok(())
    }

    /// The end of a Delivery: out of its place, its lease and its INTENT over, counted and written. Gives whether its
    /// Message's body went too.
    pub(super) fn finish(&mut self, before: &StoredDelivery, mut after: StoredDelivery) -> Result<bool, Fault> {
        after.parked = None;
        self.end_lease(after.delivery.id);
        self.close_intent(after.delivery.id)?;
        self.step_out(before)?;
        self.count_change(&before.delivery, after.delivery.state);
        self.put_delivery(&after)?;
        self.settle_one(&after)
    }

    /// Forgets up to `max` idempotent answers that have expired by `now`.
    pub(super) fn forget_answers(&mut self, now: Timestamp, max: usize) -> Result<(), Fault> {
        for _ in 0..max {
            let first = self.tables.answer_ends.first()?.map(|(end, _)| end.value().to_owned());
            let Some(end) = first else { break };
            let Some((at, key)) = end.split_first_chunk::<8>() else {
                break;
            };
            if u64::from_be_bytes(*at) > now.0 {
                break;
            }
            self.dirty = true;
            self.tables.answer_ends.remove(end.as_slice())?;
            // A key that was used again meanwhile has another end.
            let is_over = match self.tables.answers.get(key)? {
                Some(bytes) => decode_response(bytes.value()).is_ok_and(|answer| answer.expires_at <= now),
                None => false,
            };
            if is_over {
                self.tables.answers.remove(key)?;
            }
        }
        Ok(())
    }

    /// Out of the place that its record names. Its lease has ended before.
    pub(super) fn step_out(&mut self, stored: &StoredDelivery) -> Result<(), Fault> {
        self.dirty = true;
        let delivery = &stored.delivery;
        let Some(number) = stored.parked else {
            let key = due_key(delivery.class, delivery.due_at, delivery.id);
            self.tables.due.remove(&key)?;
            return Ok(());
        };
        let key = parked_key(number, delivery.class, delivery.expires_at, delivery.id);
        self.tables.parked.remove(&key)?;
        // It may stand under another lane already, with the same end.
        let end = end_key(delivery.expires_at, delivery.id);
        let is_its_place = self
            .tables
            .parked_ends
            .get(&end)?
            .is_some_and(|known| known.value() == number);
        if is_its_place {
            self.tables.parked_ends.remove(&end)?;
        }
        let is_empty = self.state.lanes.entry(number).is_some_and(|entry| {
            entry.parked = entry.parked.saturating_sub(1);
            entry.parked == 0
        });
        if is_empty {
            self.state.lanes.remove(number);
            self.tables.lanes.remove(number)?;
        }
        Ok(())
    }

    /// The number of a lane; a new one if nobody is parked there.
    pub(super) fn lane_number(&mut self, lane: &Lane) -> Result<u32, Fault> {
        if let Some(number) = self.state.lanes.number(lane) {
            return Ok(number);
        }
        self.dirty = true;
        self.state.ledger.lane = self.state.ledger.lane.wrapping_add(1);
        let number = self.state.ledger.lane;
        self.tables.lanes.insert(number, encode_lane(lane).as_slice())?;
        self.state.lanes.add(number, lane.clone());
        Ok(number)
    }

    /// Ends the lease of a Delivery, if it has one. What becomes of its place is for the caller to do next.
    pub(super) fn end_lease(&mut self, id: DeliveryId) {
        if let Some(lease) = self.state.leases.end(id)
            && !lease.lapsed
        {
            self.state.lanes.count_out(lease.stored.parked, false);
        }
    }

    /// Lapses all leases that end by `now`.
    pub(super) fn lapse(&mut self, now: Timestamp) {
        while let Some(stored) = self.state.leases.lapse_one(now) {
            self.state.lanes.count_out(stored.parked, false);
            self.show_again(&stored);
        }
    }

    /// Takes a Delivery out of its place until `until`.
    pub(super) fn take(&mut self, stored: Arc<StoredDelivery>, until: Timestamp) -> Fence {
        self.state.lanes.count_out(stored.parked, true);
        self.state.leases.take(stored, until)
    }

    /// One who still stands in line can be found there again.
    pub(super) fn show_again(&mut self, stored: &StoredDelivery) {
        if stored.parked.is_none() {
            let delivery = &stored.delivery;
            let key = due_key(delivery.class, delivery.due_at, delivery.id);
            self.state.cursors.back_to(delivery.class, key);
        }
    }

    /// Appends an event of a Message.
    pub(super) fn record(&mut self, message: MessageId, event: &[u8]) -> Result<(), Fault> {
        self.dirty = true;
        self.state.ledger.sequence += 1;
        let key = event_key(message, self.state.ledger.sequence);
        self.tables.events.insert(&key, event)?;
        Ok(())
    }

    /// Forgets the INTENT of a Delivery, because its OUTCOME is known.
    pub(super) fn close_intent(&mut self, id: DeliveryId) -> Result<(), Fault> {
        if self.state.intents.remove(&id).is_some() {
            self.dirty = true;
            self.tables.intents.remove(&delivery_key(id))?;
        }
        Ok(())
    }

    /// One less of a Message's deliveries is unsettled; the body goes with the last. Gives whether it went.
    pub(super) fn settle_one(&mut self, stored: &StoredDelivery) -> Result<bool, Fault> {
        self.dirty = true;
        let key = message_key(stored.delivery.id.message);
        if !stored.alone {
            let left = self
                .tables
                .unsettled
                .get(&key)?
                .map_or(0, |left| left.value())
                .saturating_sub(1);
            if left > 0 {
                self.tables.unsettled.insert(&key, left)?;
                return Ok(false);
            }
            self.tables.unsettled.remove(&key)?;
        }
        self.tables.bodies.remove(&key)?;
        Ok(true)
    }

    /// Counts a Delivery that came into being.
    pub(super) fn count_new(&mut self, delivery: &Delivery) {
        self.state.ledger.by_state[position(delivery.state)] += 1;
        if !delivery.state.is_final() {
            self.state.ledger.waiting_by_class[delivery.class.index()] += 1;
        }
    }

    /// Counts a change of state.
    pub(super) fn count_change(&mut self, before: &Delivery, after: DeliveryState) {
        let ledger = &mut self.state.ledger;
        let left = &mut ledger.by_state[position(before.state)];
        *left = left.saturating_sub(1);
        ledger.by_state[position(after)] += 1;
        if after.is_final() {
            let waiting = &mut ledger.waiting_by_class[before.class.index()];
            *waiting = waiting.saturating_sub(1);
        }
    }

    /// The entry of an address on the suppression list.
    pub(super) fn suppression(&self, tenant: TenantId, address: &str) -> Result<Option<Suppression>, Fault> {
        let address = address.to_lowercase();
        let key = named_key(tenant, &address);
        match self.tables.suppressions.get(key.as_slice())? {
            Some(bytes) => Ok(Some(decode_suppression(tenant, &address, bytes.value())?)),
            None => Ok(None),
        }
    }

    /// Whether mail of this stream must not go to `address`.
    pub(super) fn is_suppressed(&self, tenant: TenantId, stream: Stream, address: &str) -> Result<bool, Fault> {
        let entry = self.suppression(tenant, address)?;
        Ok(entry.is_some_and(|entry| entry.stream.is_none_or(|held| held == stream)))
    }

    /// Writes down what INTENTs of a lane were charged.
    pub(super) fn put_spent(&mut self, lane: &Lane, spent: Spent) -> Result<(), Fault> {
        self.dirty = true;
        self.state.charges.insert(lane.clone(), spent);
        if !sabotage::is(Bug::WarmupForgotten) {
            let key = lane_note_key(lane);
            self.tables
                .charges
                .insert(key.as_slice(), encode_spent(&spent).as_slice())?;
        }
        Ok(())
    }

    /// Writes a note, or takes one away.
    pub(super) fn put_note(&mut self, note: &Note) -> Result<(), Fault> {
        self.dirty = true;
        let key = note_key(note.kind(), note.key());
        if note.is_removal() {
            self.tables.notes.remove(key.as_slice())?;
        } else {
            self.tables.notes.insert(key.as_slice(), encode_note(note).as_slice())?;
        }
        Ok(())
    }

    /// Puts an address on the list. An entry never gets narrower by another one; two different streams make it all mail.
    pub(super) fn put_suppression(&mut self, mut entry: Suppression) -> Result<(), Fault> {
        entry.address = entry.address.to_lowercase();
        match self.suppression(entry.tenant, &entry.address)? {
            Some(held) if held.stream.is_none() && entry.stream.is_some() => return Ok(()),
            Some(held) if held.stream != entry.stream => entry.stream = None,
            _ => {}
        }
        self.dirty = true;
        let key = named_key(entry.tenant, &entry.address);
        self.tables
            .suppressions
            .insert(key.as_slice(), encode_suppression(&entry).as_slice())?;
        Ok(())
    }
}

/// Position in `State::ALL`.
fn position(state: DeliveryState) -> usize {
    DeliveryState::ALL
        .iter()
        .position(|one| *one == state)
        .expect("State::ALL holds all states")
}
