//! What an OUTCOME makes of a Delivery, the same in every durable backend.
//!
//! Takes a Delivery and its Settlement, gives the Delivery after it and the entry of the suppression list that follows. Decides
//! nothing: that was done in `policy/settlement`.

use crate::domain::{Delivery, Next, Settlement, Suppression, SuppressionReason, Timestamp};

/// Changes the Delivery as the Settlement says. What that does not say stays.
pub(super) fn apply(delivery: &mut Delivery, settlement: &Settlement) {
    match settlement.next {
        Next::Final(state) => {
            delivery.state = state;
            delivery.why = None;
        }
        Next::Wait { state, due_at, why } => {
            delivery.state = state;
            delivery.due_at = due_at;
            delivery.why = Some(why);
        }
    }
    delivery.updated_at = settlement.at;
    delivery.attempts = delivery.attempts.saturating_add(settlement.attempts);
    delivery.ambiguous = delivery.ambiguous.saturating_add(settlement.ambiguous);
    delivery.panics = delivery.panics.saturating_add(settlement.panics);
    if let Some(source) = &settlement.source {
        delivery.source = Some(source.clone());
    }
    if let Some(reply) = &settlement.reply {
        delivery.last_reply = Some(reply.clone());
    }
    delivery.bounce = settlement.bounce.or(delivery.bounce);
}

/// A mailbox that does not exist takes no mail at all; who complains or unsubscribes does so about one stream.
pub(super) fn suppression_for(delivery: &Delivery, reason: SuppressionReason, at: Timestamp) -> Suppression {
    let stream = match reason {
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
