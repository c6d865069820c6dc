//! OUTCOME.

use super::super::super::records::{StoredDelivery, encode_event};
use super::super::fault::Fault;
use super::super::turn::Turn;
use super::handle::held;
use crate::domain::{MessageId, Next, Settlement, Suppression};
use crate::queue::{LeaseRef, SettleAnswer};
use crate::store::outcome::{apply, suppression_for};

/// A Settlement whose events are bytes already.
#[derive(Debug)]
pub(in super::super) struct EncodedSettlement {
    settlement: Settlement,
    events: Vec<Vec<u8>>,
}

impl EncodedSettlement {
    /// Encodes the events.
    pub(in super::super) fn new(settlement: Settlement) -> Self {
        let encode = |kind| encode_event(settlement.delivery.recipient, settlement.at, kind);
        let events = settlement.events.iter().map(encode).collect();
        Self { settlement, events }
    }

    /// Under which lease.
    pub(in super::super) fn lease(&self) -> LeaseRef {
        LeaseRef {
            delivery: self.settlement.delivery,
            fence: self.settlement.fence,
        }
    }
}

/// The halves of an OUTCOME that must not be parted, each by itself: for [`crate::sabotage`].
impl EncodedSettlement {
    /// Its events, which it has no longer.
    pub(in super::super) fn take_events(&mut self) -> (MessageId, Vec<Vec<u8>>) {
        (self.settlement.delivery.message, std::mem::take(&mut self.events))
    }
}

/// Records events and nothing else.
pub(in super::super) fn tell(turn: &mut Turn<'_, '_>, events: &[(MessageId, Vec<Vec<u8>>)]) -> Result<(), Fault> {
    for (message, events) in events {
        for event in events {
            turn.record(*message, event)?;
        }
    }
    Ok(())
}

/// Takes deliveries out of the queue and leaves their records as they are.
pub(in super::super) fn leave(turn: &mut Turn<'_, '_>, leases: &[LeaseRef]) -> Result<(), Fault> {
    for lease in leases {
        if let Some(stored) = held(turn, *lease) {
            turn.close_intent(lease.delivery)?;
            turn.step_out(&stored)?;
        }
    }
    Ok(())
}

/// What settling did.
#[derive(Debug, Default)]
pub(in super::super) struct Settled {
    /// One for each Settlement.
    pub(in super::super) answers: Vec<SettleAnswer>,
    /// Messages with nothing unsettled any more: their bodies are gone.
    pub(in super::super) finished: Vec<MessageId>,
}

/// Applies each Settlement whose lease still holds.
pub(in super::super) fn settle(turn: &mut Turn<'_, '_>, settlements: &[EncodedSettlement]) -> Result<Settled, Fault> {
    let mut settled = Settled::default();
    for one in settlements {
        let answer = settle_one(turn, one, &mut settled.finished)?;
        settled.answers.push(answer);
    }
    Ok(settled)
}

fn settle_one(
    turn: &mut Turn<'_, '_>,
    one: &EncodedSettlement,
    finished: &mut Vec<MessageId>,
) -> Result<SettleAnswer, Fault> {
    let settlement = &one.settlement;
    let id = settlement.delivery;
    let Some(before) = held(turn, one.lease()) else {
        return Ok(SettleAnswer::Stale);
    };
    if let Some(reason) = settlement.suppress {
        suppress(turn, suppression_for(&before.delivery, reason, settlement.at))?;
    }
    for event in &one.events {
        turn.record(id.message, event)?;
    }
    let mut after = StoredDelivery::clone(&before);
    apply(&mut after.delivery, settlement);
    match settlement.next {
        Next::Final(_) => {
            if turn.finish(&before, after)? {
                finished.push(id.message);
            }
        }
        Next::Wait { .. } => {
            after.parked = None;
            turn.end_lease(id);
            turn.close_intent(id)?;
            turn.step_out(&before)?;
            turn.step_in(&after)?;
            turn.count_change(&before.delivery, after.delivery.state);
            turn.put_delivery(&after)?;
        }
    }
    Ok(SettleAnswer::Settled)
}

/// Puts the address on the list. An entry that cannot be read stays as it is and does not stop the OUTCOME.
fn suppress(turn: &mut Turn<'_, '_>, entry: Suppression) -> Result<(), Fault> {
    match turn.put_suppression(entry) {
        Err(Fault::Damaged(what)) => {
            tracing::error!("not put on the suppression list: {what}");
            Ok(())
        }
        other => other,
    }
}
