//! Forgetting what is over.

use redb::ReadableTable;

use super::super::super::records::decode_message_age;
use super::super::fault::Fault;
use super::super::keys::{DeliveryKey, EventKey, deliveries_of, events_of, message_key, message_of};
use super::super::turn::Turn;
use crate::domain::{MessageId, Timestamp};

/// Messages that one purge looks at: those that still wait are in the way of those that do not.
const LOOK_MAX: usize = 10_000;
/// Expired idempotent answers that one purge forgets.
const ANSWERS_MAX: usize = 10_000;

/// Deletes messages accepted before `before` with nothing unsettled, at most `max`, and expired idempotent answers.
/// Message ids sort by the time of acceptance, so the oldest come first and the first young one ends the search.
pub(in super::super) fn purge(turn: &mut Turn<'_, '_>, before: Timestamp, max: usize) -> Result<Vec<MessageId>, Fault> {
    let mut old = Vec::new();
    for row in turn.tables.messages.iter()?.take(LOOK_MAX) {
        if old.len() >= max {
            break;
        }
        let (key, bytes) = row?;
        let id = message_of(key.value());
        let created_at = match decode_message_age(id, bytes.value()) {
            Ok((created_at, _)) => created_at,
            // Left as it is, and not in the way.
            Err(_) => continue,
        };
        if created_at >= before {
            break;
        }
        if turn.tables.bodies.get(key.value())?.is_none() {
            old.push(id);
        }
    }
    for id in &old {
        delete(turn, *id)?;
    }
    turn.forget_answers(before, ANSWERS_MAX)?;
    Ok(old)
}

fn delete(turn: &mut Turn<'_, '_>, id: MessageId) -> Result<(), Fault> {
    turn.dirty = true;
    let (first, last) = deliveries_of(id);
    turn.tables
        .deliveries
        .retain_in::<&DeliveryKey, _>(&first..=&last, |_, _| false)?;
    let (first, last) = events_of(id);
    turn.tables
        .events
        .retain_in::<&EventKey, _>(&first..=&last, |_, _| false)?;
    turn.tables.messages.remove(&message_key(id))?;
    Ok(())
}
