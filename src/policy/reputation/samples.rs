//! Deliveries, what became of them, and why: for tests of reputation, here and where the book is kept.

use std::sync::Arc;

use crate::domain::{
    Blame, BounceClass, Cause, Class, Delivery, DeliveryId, Fence, Lane, LaneAction, MessageId, Next, ProviderId,
    Settlement, SourceId, State, TenantId, Timestamp,
};

/// One of this tenant.
pub(crate) fn delivery(tenant: u32, class: Class) -> Delivery {
    Delivery {
        id: DeliveryId {
            message: MessageId(uuid::Uuid::from_u128(7)),
            recipient: 0,
        },
        tenant: TenantId(tenant),
        class,
        address: "a@b.example".to_owned(),
        state: State::Queued,
        created_at: Timestamp(0),
        due_at: Timestamp(0),
        expires_at: Timestamp::NEVER,
        attempts: 0,
        ambiguous: 0,
        panics: 0,
        source: None,
        why: None,
        last_reply: None,
        bounce: None,
        updated_at: Timestamp(0),
    }
}

/// What became of it.
pub(crate) fn settlement(next: Next) -> Settlement {
    Settlement {
        delivery: delivery(1, Class::Broadcast).id,
        fence: Fence(1),
        at: Timestamp(0),
        next,
        attempts: 1,
        ambiguous: 0,
        panics: 0,
        source: None,
        reply: None,
        bounce: None,
        suppress: None,
        events: Vec::new(),
    }
}

/// From this source to Google.
pub(crate) fn lane(source: &str) -> Lane {
    Lane {
        source: SourceId::from(source),
        provider: ProviderId::from("google"),
    }
}

/// Why.
pub(crate) fn cause(class: BounceClass, blame: Blame, action: LaneAction) -> Cause {
    Cause {
        class,
        blame,
        action,
        rule: Arc::from("test"),
    }
}
