//! ACCEPT.

use std::collections::HashMap;

use redb::ReadableTable;

use super::super::super::records::{
    StoredDelivery, decode_response, encode_body, encode_delivery, encode_event, encode_message, encode_response,
};
use super::super::fault::Fault;
use super::super::keys::{MessageKey, delivery_key, forget_key, message_key, named_key};
use super::super::turn::Turn;
use crate::domain::{Delivery, MessageId, Timestamp};
use crate::queue::{Accept, Accepted, IdempotencyKey, StoredResponse};

/// Expired answers that one ACCEPT with a key forgets: more than it brings, so that they never pile up.
const FORGET_MAX: usize = 2;

/// An ACCEPT as bytes: made by its caller, so that the writer only puts them into tables.
#[derive(Debug)]
pub(in super::super) struct EncodedAccept {
    messages: Vec<EncodedMessage>,
    deliveries: Vec<(Delivery, Vec<u8>)>,
    events: Vec<(MessageId, Vec<u8>)>,
    answer: Option<(Vec<u8>, StoredResponse)>,
    at: Timestamp,
}

#[derive(Debug)]
struct EncodedMessage {
    key: MessageKey,
    message: Vec<u8>,
    /// None when everything about it is final already.
    body: Option<Vec<u8>>,
    /// How many of its deliveries are not final.
    unsettled: u32,
    /// Whether it has one delivery only.
    alone: bool,
}

impl EncodedAccept {
    /// Encodes an ACCEPT.
    pub(in super::super) fn new(accept: Accept) -> Self {
        let mut counts: HashMap<MessageId, (u32, u32)> = HashMap::with_capacity(accept.messages.len());
        for delivery in &accept.deliveries {
            let (all, unsettled) = counts.entry(delivery.id.message).or_default();
            *all += 1;
            *unsettled += u32::from(!delivery.state.is_final());
        }
        let messages = accept.messages.iter().map(|(message, body)| {
            let (all, unsettled) = counts.get(&message.id).copied().unwrap_or_default();
            EncodedMessage {
                key: message_key(message.id),
                message: encode_message(message),
                body: (unsettled > 0).then(|| encode_body(body)),
                unsettled,
                alone: all == 1,
            }
        });
        let messages = messages.collect();
        let deliveries = accept.deliveries.into_iter().map(|delivery| {
            let alone = counts.get(&delivery.id.message).is_some_and(|(all, _)| *all == 1);
            let stored = StoredDelivery {
                delivery,
                parked: None,
                alone,
            };
            let bytes = encode_delivery(&stored);
            (stored.delivery, bytes)
        });
        let deliveries = deliveries.collect();
        let events = accept.events.iter();
        let events = events.map(|event| {
            (
                event.message(),
                encode_event(event.delivery.recipient, event.at, &event.kind),
            )
        });
        let answer = accept.idempotency.map(|(key, response)| (answer_key(&key), response));
        Self {
            messages,
            deliveries,
            events: events.collect(),
            answer,
            at: accept.at,
        }
    }

    /// Takes its answer out, as an ACCEPT of nothing else.
    pub(in super::super) fn without_mail(&mut self) -> Self {
        Self {
            messages: Vec::new(),
            deliveries: Vec::new(),
            events: Vec::new(),
            answer: self.answer.take(),
            at: self.at,
        }
    }

    /// Bytes of each Message with its body: what a cache of it costs. None for those that are final already.
    pub(in super::super) fn sizes(&self) -> impl Iterator<Item = Option<usize>> + '_ {
        self.messages
            .iter()
            .map(|one| Some(one.message.len() + one.body.as_ref()?.len()))
    }
}

/// Stores everything that one API call makes durable, unless the call was made before.
pub(in super::super) fn accept(turn: &mut Turn<'_, '_>, accept: &EncodedAccept) -> Result<Accepted, Fault> {
    if let Some((key, response)) = &accept.answer {
        if let Some(earlier) = earlier_answer(turn, key, accept.at)? {
            return Ok(match earlier.request_hash == response.request_hash {
                true => Accepted::Replay(earlier),
                false => Accepted::KeyMismatch,
            });
        }
        remember_answer(turn, key, response, accept.at)?;
    }
    turn.dirty = true;
    for one in &accept.messages {
        turn.state.ledger.messages += 1;
        turn.tables.messages.insert(&one.key, one.message.as_slice())?;
        if let Some(body) = &one.body {
            turn.tables.bodies.insert(&one.key, body.as_slice())?;
            if !one.alone {
                turn.tables.unsettled.insert(&one.key, one.unsettled)?;
            }
        }
    }
    for (delivery, bytes) in &accept.deliveries {
        turn.tables
            .deliveries
            .insert(&delivery_key(delivery.id), bytes.as_slice())?;
        turn.count_new(delivery);
        if !delivery.state.is_final() {
            turn.step_in_line(delivery)?;
        }
    }
    for (message, event) in &accept.events {
        turn.record(*message, event)?;
    }
    Ok(Accepted::New)
}

/// The table key of an idempotency key.
pub(in super::super) fn answer_key(key: &IdempotencyKey) -> Vec<u8> {
    named_key(key.tenant, &key.key)
}

fn earlier_answer(turn: &Turn<'_, '_>, key: &[u8], now: Timestamp) -> Result<Option<StoredResponse>, Fault> {
    let Some(bytes) = turn.tables.answers.get(key)? else {
        return Ok(None);
    };
    let answer = decode_response(bytes.value())?;
    Ok((answer.expires_at > now).then_some(answer))
}

fn remember_answer(
    turn: &mut Turn<'_, '_>,
    key: &[u8],
    response: &StoredResponse,
    now: Timestamp,
) -> Result<(), Fault> {
    turn.dirty = true;
    turn.forget_answers(now, FORGET_MAX)?;
    turn.tables.answers.insert(key, encode_response(response).as_slice())?;
    turn.tables
        .answer_ends
        .insert(forget_key(response.expires_at, key).as_slice(), ())?;
    Ok(())
}
