//! How an Event is stored. Its Message and its place in the order of all events are the key.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::codes::Coded;
use super::delivery::{ReplyRecord, reply, reply_record};
use super::envelope::{Damaged, known, open, seal};
use crate::domain::{BounceClass, DeliveryId, Event, EventKind, MessageId, Timestamp, Why};

#[derive(Serialize, Deserialize)]
struct EventRecord<'a> {
    recipient: u16,
    at: u64,
    #[serde(borrow)]
    kind: KindRecord<'a>,
}

/// New kinds go to the end: postcard counts the variants.
#[derive(Serialize, Deserialize)]
enum KindRecord<'a> {
    Accepted,
    Scheduled {
        until: u64,
    },
    Deferred {
        why: u8,
        until: u64,
        #[serde(borrow)]
        reply: Option<ReplyRecord<'a>>,
    },
    Delivered {
        #[serde(borrow)]
        reply: ReplyRecord<'a>,
        address: Option<IpAddr>,
        tls: bool,
        attempts: u32,
    },
    Bounced {
        class: u8,
        #[serde(borrow)]
        reply: Option<ReplyRecord<'a>>,
    },
    Expired {
        why: Option<u8>,
    },
    Suppressed,
    Cancelled,
    Ambiguous {
        next: u8,
        until: u64,
        host: &'a str,
    },
    Unknown,
    Quarantined,
}

/// The bytes of an Event of the `recipient` at this place of its Message.
pub(crate) fn encode_event(recipient: u16, at: Timestamp, kind: &EventKind) -> Vec<u8> {
    seal(&EventRecord {
        recipient,
        at: at.0,
        kind: kind_record(kind),
    })
}

/// The Event in `bytes`.
pub(crate) fn decode_event(message: MessageId, sequence: u64, bytes: &[u8]) -> Result<Event, Damaged> {
    let read = || -> Result<Event, Damaged> {
        let record: EventRecord<'_> = open(bytes)?;
        Ok(Event {
            sequence,
            delivery: DeliveryId {
                message,
                recipient: record.recipient,
            },
            at: Timestamp(record.at),
            kind: kind(&record.kind)?,
        })
    };
    read().map_err(|damaged| damaged.of("event", format_args!("{sequence} of message {message}")))
}

fn kind_record(kind: &EventKind) -> KindRecord<'_> {
    match kind {
        EventKind::Accepted => KindRecord::Accepted,
        EventKind::Scheduled { until } => KindRecord::Scheduled { until: until.0 },
        EventKind::Deferred { why, until, reply } => KindRecord::Deferred {
            why: why.code(),
            until: until.0,
            reply: reply.as_ref().map(reply_record),
        },
        EventKind::Delivered {
            reply,
            address,
            tls,
            attempts,
        } => KindRecord::Delivered {
            reply: reply_record(reply),
            address: *address,
            tls: *tls,
            attempts: *attempts,
        },
        EventKind::Bounced { class, reply } => KindRecord::Bounced {
            class: class.code(),
            reply: reply.as_ref().map(reply_record),
        },
        EventKind::Expired { why } => KindRecord::Expired {
            why: why.map(Why::code),
        },
        EventKind::Suppressed => KindRecord::Suppressed,
        EventKind::Cancelled => KindRecord::Cancelled,
        EventKind::Ambiguous { next, until, host } => KindRecord::Ambiguous {
            next: next.code(),
            until: until.0,
            host,
        },
        EventKind::Unknown => KindRecord::Unknown,
        EventKind::Quarantined => KindRecord::Quarantined,
    }
}

fn kind(record: &KindRecord<'_>) -> Result<EventKind, Damaged> {
    let reason = |code: u8| known(Why::from_code(code), "reason");
    Ok(match record {
        KindRecord::Accepted => EventKind::Accepted,
        KindRecord::Scheduled { until } => EventKind::Scheduled {
            until: Timestamp(*until),
        },
        KindRecord::Deferred {
            why,
            until,
            reply: said,
        } => EventKind::Deferred {
            why: reason(*why)?,
            until: Timestamp(*until),
            reply: said.as_ref().map(reply),
        },
        KindRecord::Delivered {
            reply: said,
            address,
            tls,
            attempts,
        } => EventKind::Delivered {
            reply: reply(said),
            address: *address,
            tls: *tls,
            attempts: *attempts,
        },
        KindRecord::Bounced { class, reply: said } => EventKind::Bounced {
            class: known(BounceClass::from_code(*class), "bounce class")?,
            reply: said.as_ref().map(reply),
        },
        KindRecord::Expired { why } => EventKind::Expired {
            why: why.map(reason).transpose()?,
        },
        KindRecord::Suppressed => EventKind::Suppressed,
        KindRecord::Cancelled => EventKind::Cancelled,
        KindRecord::Ambiguous { next, until, host } => EventKind::Ambiguous {
            next: reason(*next)?,
            until: Timestamp(*until),
            host: (*host).to_owned(),
        },
        KindRecord::Unknown => EventKind::Unknown,
        KindRecord::Quarantined => EventKind::Quarantined,
    })
}
