//! Who is next: leases out of the line and from under lanes, and how much waits.
//!
//! A lease writes nothing. A record that cannot be read is passed over, named in the log, and left as it is: one damaged
//! Delivery must not stand in the way of all behind it.

use std::ops::Bound;
use std::sync::Arc;

use redb::ReadableTable;

use super::super::super::records::{Damaged, StoredDelivery, decode_delivery, decode_message_age};
use super::super::fault::Fault;
use super::super::keys::{
    DeliveryKey, DueKey, EndKey, ParkedKey, delivery_key, due_of, end_of, end_range, message_of, parked_of,
    parked_range,
};
use super::super::layout::Tables;
use super::super::state::State;
use super::super::turn::Turn;
use crate::domain::{Class, DeliveryId, Lane, Timestamp};
use crate::queue::{Depth, Leased, newest_of};
use crate::sabotage::{self, Bug};

/// Damaged messages that are passed over in search of the oldest one.
const OLDEST_LOOKS_MAX: usize = 100;

/// In search of the newest so many places are looked at for each that is wanted: those who are out keep theirs.
const LOOKS_BACK: usize = 16;

/// Leases those of a class who are due.
pub(in super::super) fn lease(
    turn: &mut Turn<'_, '_>,
    class: Class,
    max: usize,
    now: Timestamp,
    until: Timestamp,
) -> Result<Vec<Leased>, Fault> {
    if sabotage::is(Bug::LeaseExtendedByWaiter) {
        turn.state.leases.renew_all(until);
    }
    turn.lapse(now);
    let due_by = if sabotage::is(Bug::DueResetOnRestart) && turn.state.leases.epoch() > 1 {
        Timestamp::NEVER
    } else {
        now
    };
    let Some(range) = turn.state.cursors.range(class, due_by) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    let newest = newest_of(max);
    let passed = from_the_front(turn, class, range, max - newest, &mut found)?;
    if let Some(passed) = passed.filter(|_| newest > 0 && found.len() == max - newest) {
        let behind = (Bound::Excluded(passed), range.1);
        let seen = from_the_back(turn, behind, newest, &mut found)?;
        let between = (behind.0, seen.map_or(range.1, Bound::Excluded));
        from_the_front(turn, class, between, max, &mut found)?;
    }
    Ok(take_all(turn, found, until))
}

/// Adds the oldest who are not out until there are `max`; gives up to where everybody is out then.
fn from_the_front(
    turn: &mut Turn<'_, '_>,
    class: Class,
    range: (Bound<DueKey>, Bound<DueKey>),
    max: usize,
    found: &mut Vec<Arc<StoredDelivery>>,
) -> Result<Option<DueKey>, Fault> {
    let mut passed = None;
    for row in turn.tables.due.range::<&DueKey>((range.0.as_ref(), range.1.as_ref()))? {
        if found.len() >= max {
            break;
        }
        let (key, _) = row?;
        let key = *key.value();
        found.extend(candidate(turn.tables, turn.state, due_of(&key).1)?);
        passed = Some(key);
    }
    if let Some(key) = passed {
        turn.state.cursors.pass(class, key);
    }
    Ok(passed)
}

/// Adds at most `max` of the newest who are not out; gives from where on it has looked at everybody.
fn from_the_back(
    turn: &mut Turn<'_, '_>,
    range: (Bound<DueKey>, Bound<DueKey>),
    max: usize,
    found: &mut Vec<Arc<StoredDelivery>>,
) -> Result<Option<DueKey>, Fault> {
    let enough = found.len() + max;
    let mut seen = None;
    let rows = turn.tables.due.range::<&DueKey>((range.0.as_ref(), range.1.as_ref()))?;
    for row in rows.rev().take(max * LOOKS_BACK) {
        if found.len() >= enough {
            break;
        }
        let (key, _) = row?;
        let key = *key.value();
        found.extend(candidate(turn.tables, turn.state, due_of(&key).1)?);
        seen = Some(key);
    }
    Ok(seen)
}

/// Leases those who are parked under a lane.
pub(in super::super) fn lease_parked(
    turn: &mut Turn<'_, '_>,
    lane: &Lane,
    max: usize,
    now: Timestamp,
    until: Timestamp,
) -> Result<Vec<Leased>, Fault> {
    turn.lapse(now);
    let Some(number) = turn.state.lanes.number(lane) else {
        return Ok(Vec::new());
    };
    let (low, high) = parked_range(number);
    let mut found = Vec::new();
    for row in turn.tables.parked.range::<&ParkedKey>(&low..=&high)? {
        if found.len() >= max {
            break;
        }
        let (key, _) = row?;
        found.extend(candidate(turn.tables, turn.state, parked_of(key.value()).1)?);
    }
    Ok(take_all(turn, found, until))
}

/// Leases those under any lane who have expired.
pub(in super::super) fn lease_expired(
    turn: &mut Turn<'_, '_>,
    max: usize,
    now: Timestamp,
    until: Timestamp,
) -> Result<Vec<Leased>, Fault> {
    turn.lapse(now);
    let (low, high) = end_range(now);
    let mut found = Vec::new();
    for row in turn.tables.parked_ends.range::<&EndKey>(&low..=&high)? {
        if found.len() >= max {
            break;
        }
        let (key, _) = row?;
        found.extend(candidate(turn.tables, turn.state, end_of(key.value()))?);
    }
    Ok(take_all(turn, found, until))
}

/// The earliest due time of a class among those who are not out.
pub(in super::super) fn next_due(turn: &mut Turn<'_, '_>, class: Class) -> Result<Option<Timestamp>, Fault> {
    let Some(range) = turn.state.cursors.range(class, Timestamp::NEVER) else {
        return Ok(None);
    };
    for row in turn.tables.due.range::<&DueKey>((range.0.as_ref(), range.1.as_ref()))? {
        let (key, _) = row?;
        let (due_at, id) = due_of(key.value());
        if !turn.state.leases.is_out(id) && !turn.state.damaged.contains(&id) {
            return Ok(Some(due_at));
        }
    }
    Ok(None)
}

/// Lanes with somebody who waits there.
pub(in super::super) fn parked_lanes(turn: &Turn<'_, '_>, max: usize) -> Vec<(Lane, u64)> {
    let lanes = turn.state.lanes.waiting();
    lanes.take(max).map(|(lane, waiting)| (lane.clone(), waiting)).collect()
}

/// How much waits.
pub(in super::super) fn depth(turn: &mut Turn<'_, '_>, now: Timestamp) -> Result<Depth, Fault> {
    turn.lapse(now);
    let oldest = oldest(turn.tables)?;
    let ledger = &turn.state.ledger;
    Ok(Depth {
        by_state: ledger.by_state,
        waiting_by_class: ledger.waiting_by_class,
        oldest,
        leased: turn.state.leases.out(),
        parked: turn.state.lanes.waiting().map(|(_, waiting)| waiting).sum(),
        messages: ledger.messages,
    })
}

/// The acceptance time of the oldest message that waits, but for those whose records cannot be read: they are reported to
/// whoever reads them, and must not hide how much waits.
fn oldest(tables: &Tables<'_>) -> Result<Option<Timestamp>, Fault> {
    for row in tables.bodies.iter()?.take(OLDEST_LOOKS_MAX) {
        let (key, _) = row?;
        match accepted_at(tables, key.value()) {
            Err(Fault::Damaged(_)) => {}
            found => return found,
        }
    }
    Ok(None)
}

fn accepted_at(tables: &Tables<'_>, key: &[u8; 16]) -> Result<Option<Timestamp>, Fault> {
    let Some(bytes) = tables.messages.get(key)? else {
        return Ok(None);
    };
    let (created_at, _) = decode_message_age(message_of(key), bytes.value())?;
    Ok(Some(created_at))
}

/// The Delivery, unless it is out already or cannot be read.
fn candidate(tables: &Tables<'_>, state: &mut State, id: DeliveryId) -> Result<Option<Arc<StoredDelivery>>, Fault> {
    if state.damaged.contains(&id) {
        return Ok(None);
    }
    if let Some(lease) = state.leases.get(id) {
        return Ok(lease.lapsed.then(|| Arc::clone(&lease.stored)));
    }
    match read(tables, id, &delivery_key(id))? {
        Ok(stored) => Ok(Some(Arc::new(stored))),
        Err(damaged) => {
            tracing::error!(delivery = %id, "passed over: {}", damaged.0);
            state.damaged.insert(id);
            Ok(None)
        }
    }
}

fn read(tables: &Tables<'_>, id: DeliveryId, key: &DeliveryKey) -> Result<Result<StoredDelivery, Damaged>, Fault> {
    Ok(match tables.deliveries.get(key)? {
        Some(bytes) => decode_delivery(id, bytes.value()),
        None => Err(Damaged(format!("delivery {id} stands in line and has no record"))),
    })
}

fn take_all(turn: &mut Turn<'_, '_>, found: Vec<Arc<StoredDelivery>>, until: Timestamp) -> Vec<Leased> {
    let take = |stored: Arc<StoredDelivery>| {
        let delivery = stored.delivery.clone();
        let open_intent = turn.state.intents.get(&delivery.id).cloned();
        Leased {
            fence: turn.take(stored, until),
            delivery,
            until,
            open_intent,
        }
    };
    found.into_iter().map(take).collect()
}
