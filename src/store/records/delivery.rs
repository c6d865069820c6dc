//! How a Delivery is stored, with the place where it waits; and an INTENT.

use serde::{Deserialize, Serialize};

use super::codes::Coded;
use super::envelope::{Damaged, known, open, seal};
use crate::domain::{
    BounceClass, Class, Delivery, DeliveryId, EnhancedCode, Fence, Lane, LastReply, ProviderId, SourceId, State,
    TenantId, Timestamp, Why,
};
use crate::queue::{Intent, OpenIntent};

/// A Delivery and what the store alone needs to know of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StoredDelivery {
    /// The Delivery.
    pub(crate) delivery: Delivery,
    /// The number of the lane under which it is parked; none while it waits for its due time, or is final.
    pub(crate) parked: Option<u32>,
    /// Whether it is the only one of its Message, so that the body goes with it.
    pub(crate) alone: bool,
}

#[derive(Serialize, Deserialize)]
struct DeliveryRecord<'a> {
    tenant: u32,
    class: u8,
    state: u8,
    alone: bool,
    parked: Option<u32>,
    address: &'a str,
    created_at: u64,
    due_at: u64,
    expires_at: u64,
    updated_at: u64,
    attempts: u32,
    ambiguous: u32,
    panics: u32,
    source: Option<&'a str>,
    why: Option<u8>,
    #[serde(borrow)]
    last_reply: Option<ReplyRecord<'a>>,
    bounce: Option<u8>,
}

/// A [`LastReply`]; part of deliveries and events.
#[derive(Serialize, Deserialize)]
pub(super) struct ReplyRecord<'a> {
    at: u64,
    host: &'a str,
    code: u16,
    enhanced: Option<(u8, u16, u16)>,
    text: &'a str,
}

#[derive(Serialize, Deserialize)]
struct IntentRecord<'a> {
    fence: u64,
    attempt: u32,
    at: u64,
    source: &'a str,
    provider: &'a str,
    host: &'a str,
}

/// The bytes of a Delivery, without its id (that is the key).
pub(crate) fn encode_delivery(stored: &StoredDelivery) -> Vec<u8> {
    let delivery = &stored.delivery;
    seal(&DeliveryRecord {
        tenant: delivery.tenant.0,
        class: delivery.class.code(),
        state: delivery.state.code(),
        alone: stored.alone,
        parked: stored.parked,
        address: &delivery.address,
        created_at: delivery.created_at.0,
        due_at: delivery.due_at.0,
        expires_at: delivery.expires_at.0,
        updated_at: delivery.updated_at.0,
        attempts: delivery.attempts,
        ambiguous: delivery.ambiguous,
        panics: delivery.panics,
        source: delivery.source.as_ref().map(SourceId::as_str),
        why: delivery.why.map(Why::code),
        last_reply: delivery.last_reply.as_ref().map(reply_record),
        bounce: delivery.bounce.map(BounceClass::code),
    })
}

/// The Delivery in `bytes`.
pub(crate) fn decode_delivery(id: DeliveryId, bytes: &[u8]) -> Result<StoredDelivery, Damaged> {
    let read = || -> Result<StoredDelivery, Damaged> {
        let record: DeliveryRecord<'_> = open(bytes)?;
        let why = record.why.map(|code| known(Why::from_code(code), "reason"));
        let bounce = record
            .bounce
            .map(|code| known(BounceClass::from_code(code), "bounce class"));
        let delivery = Delivery {
            id,
            tenant: TenantId(record.tenant),
            class: known(Class::from_code(record.class), "class")?,
            address: record.address.to_owned(),
            state: known(State::from_code(record.state), "state")?,
            created_at: Timestamp(record.created_at),
            due_at: Timestamp(record.due_at),
            expires_at: Timestamp(record.expires_at),
            attempts: record.attempts,
            ambiguous: record.ambiguous,
            panics: record.panics,
            source: record.source.map(SourceId::from),
            why: why.transpose()?,
            last_reply: record.last_reply.as_ref().map(reply),
            bounce: bounce.transpose()?,
            updated_at: Timestamp(record.updated_at),
        };
        Ok(StoredDelivery {
            delivery,
            parked: record.parked,
            alone: record.alone,
        })
    };
    read().map_err(|damaged| damaged.of("delivery", id))
}

pub(super) fn reply_record(reply: &LastReply) -> ReplyRecord<'_> {
    ReplyRecord {
        at: reply.at.0,
        host: &reply.host,
        code: reply.code,
        enhanced: reply
            .enhanced
            .map(|EnhancedCode(class, subject, detail)| (class, subject, detail)),
        text: &reply.text,
    }
}

pub(super) fn reply(record: &ReplyRecord<'_>) -> LastReply {
    LastReply {
        at: Timestamp(record.at),
        host: record.host.to_owned(),
        code: record.code,
        enhanced: record
            .enhanced
            .map(|(class, subject, detail)| EnhancedCode(class, subject, detail)),
        text: record.text.to_owned(),
    }
}

/// The bytes of an INTENT.
pub(crate) fn encode_intent(intent: &Intent) -> Vec<u8> {
    seal(&IntentRecord {
        fence: intent.lease.fence.0,
        attempt: intent.attempt,
        at: intent.at.0,
        source: intent.lane.source.as_str(),
        provider: intent.lane.provider.as_str(),
        host: &intent.host,
    })
}

/// The INTENT in `bytes`, with the fence it was made under.
pub(crate) fn decode_intent(id: DeliveryId, bytes: &[u8]) -> Result<(Fence, OpenIntent), Damaged> {
    let record: IntentRecord<'_> = open(bytes).map_err(|damaged: Damaged| damaged.of("intent of delivery", id))?;
    let lane = Lane {
        source: SourceId::from(record.source),
        provider: ProviderId::from(record.provider),
    };
    let intent = OpenIntent {
        attempt: record.attempt,
        at: Timestamp(record.at),
        lane,
        host: record.host.to_owned(),
    };
    Ok((Fence(record.fence), intent))
}
