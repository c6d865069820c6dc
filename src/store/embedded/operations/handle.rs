//! What happens to a Delivery that is out, before its OUTCOME: parked, given back, renewed, INTENT; and cancelled.

use std::sync::Arc;

use super::super::super::records::{StoredDelivery, encode_event};
use super::super::fault::Fault;
use super::super::keys::delivery_key;
use super::super::turn::Turn;
use crate::domain::{DeliveryId, EventKind, Lane, State, Timestamp};
use crate::queue::{Intent, IntentAnswer, IntentRefusal, LeaseRef, OpenIntent, Parking, Release};
use crate::sabotage::{self, Bug};

/// Ends leases and puts the deliveries under their lanes.
pub(in super::super) fn park(turn: &mut Turn<'_, '_>, parkings: &[Parking]) -> Result<(), Fault> {
    for parking in parkings {
        let Some(held) = held(turn, parking.lease) else {
            continue;
        };
        // Its own lane stays numbered while it is moved: the number is taken before it steps out.
        let number = turn.lane_number(&parking.lane)?;
        let mut stored = StoredDelivery::clone(&held);
        stored.delivery.why = Some(parking.why);
        stored.delivery.due_at = parking.until.unwrap_or(stored.delivery.due_at);
        stored.parked = Some(number);
        move_to(turn, &held, &stored)?;
    }
    Ok(())
}

/// Ends leases and puts the deliveries in line for another time.
pub(in super::super) fn release(turn: &mut Turn<'_, '_>, releases: &[Release]) -> Result<(), Fault> {
    for release in releases {
        let Some(held) = held(turn, release.lease) else {
            continue;
        };
        let mut stored = StoredDelivery::clone(&held);
        stored.delivery.why = Some(release.why);
        stored.delivery.due_at = release.due_at;
        stored.parked = None;
        move_to(turn, &held, &stored)?;
    }
    Ok(())
}

/// Extends leases; gives those that were lost.
pub(in super::super) fn renew(turn: &mut Turn<'_, '_>, leases: &[LeaseRef], until: Timestamp) -> Vec<LeaseRef> {
    let mut lost = Vec::new();
    for named in leases {
        match turn.state.leases.held(*named) {
            None => lost.push(*named),
            Some(lease) => {
                if lease.lapsed {
                    turn.state.lanes.count_out(lease.stored.parked, true);
                }
                turn.state.leases.renew(named.delivery, until);
            }
        }
    }
    lost
}

/// INTENT: writes down that the dot is about to leave, unless something forbids it.
pub(in super::super) fn intent(
    turn: &mut Turn<'_, '_>,
    intent: &Intent,
    encoded: &[u8],
) -> Result<IntentAnswer, Fault> {
    let refused = |refusal| Ok(IntentAnswer::Refused(refusal));
    let Some(lease) = turn
        .state
        .leases
        .held(intent.lease)
        .filter(|lease| lease.until > intent.at)
    else {
        return refused(IntentRefusal::Stale);
    };
    let delivery = &lease.stored.delivery;
    if delivery.expires_at <= intent.at {
        return refused(IntentRefusal::Expired);
    }
    if !sabotage::is(Bug::IntentUnguarded)
        && turn.is_suppressed(delivery.tenant, delivery.stream(), &delivery.address)?
    {
        return refused(IntentRefusal::Suppressed);
    }
    if let Some(charge) = intent.charge {
        let Some(spent) = charge.on(turn.state.charges.get(&intent.lane).copied()) else {
            return refused(IntentRefusal::WarmupCap);
        };
        turn.put_spent(&intent.lane, spent)?;
    }
    turn.dirty = true;
    turn.tables
        .intents
        .insert(&delivery_key(intent.lease.delivery), encoded)?;
    let open = OpenIntent {
        attempt: intent.attempt,
        at: intent.at,
        lane: intent.lane.clone(),
        host: intent.host.clone(),
    };
    turn.state.intents.insert(intent.lease.delivery, open);
    Ok(IntentAnswer::Recorded)
}

/// Takes back what an INTENT was charged.
pub(in super::super) fn refund(turn: &mut Turn<'_, '_>, lane: &Lane, day: u32) -> Result<(), Fault> {
    let known = turn.state.charges.get(lane);
    match known.and_then(|spent| spent.less_one_of(day)) {
        Some(spent) => turn.put_spent(lane, spent),
        None => Ok(()),
    }
}

/// Cancels a Delivery that is not on its way. Gives whether it did, and whether the body went with it.
pub(in super::super) fn cancel(turn: &mut Turn<'_, '_>, id: DeliveryId, now: Timestamp) -> Result<(bool, bool), Fault> {
    let Some(before) = turn.delivery(id)? else {
        return Ok((false, false));
    };
    // An INTENT without OUTCOME, even one that cannot be read, may have become mail, whoever holds the lease now.
    let may_have_gone = turn.state.intents.contains_key(&id) || turn.state.damaged.contains(&id);
    if before.delivery.state.is_final() || may_have_gone {
        return Ok((false, false));
    }
    let mut after = before.clone();
    after.delivery.state = State::Cancelled;
    after.delivery.updated_at = now;
    after.delivery.why = None;
    turn.record(id.message, &encode_event(id.recipient, now, &EventKind::Cancelled))?;
    let body_went = turn.finish(&before, after)?;
    Ok((true, body_went))
}

/// The Delivery under a lease that nobody took away.
pub(super) fn held(turn: &Turn<'_, '_>, named: LeaseRef) -> Option<Arc<StoredDelivery>> {
    if sabotage::is(Bug::NoFenceOnSettle) {
        let lease = turn.state.leases.get(named.delivery);
        return lease.map(|lease| Arc::clone(&lease.stored));
    }
    turn.state.leases.held(named).map(|lease| Arc::clone(&lease.stored))
}

/// Ends the lease and moves the Delivery from where `before` says to where `after` says. Writes only what differs.
fn move_to(turn: &mut Turn<'_, '_>, before: &StoredDelivery, after: &StoredDelivery) -> Result<(), Fault> {
    turn.end_lease(after.delivery.id);
    if before == after {
        turn.show_again(before);
        turn.wake |= after.parked.is_none();
        return Ok(());
    }
    let stays =
        before.parked == after.parked && (after.parked.is_some() || before.delivery.due_at == after.delivery.due_at);
    if stays {
        turn.show_again(before);
        turn.wake |= after.parked.is_none();
    } else {
        // In before out: the lane that it leaves and comes back to keeps its number.
        turn.step_in(after)?;
        turn.step_out(before)?;
    }
    turn.put_delivery(after)
}
