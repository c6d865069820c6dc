//! ACCEPT as arguments: everything that one call makes durable, for one function.

use std::collections::HashMap;

use super::super::records::{decode_response, encode_body, encode_event, encode_message, encode_response};
use super::handle::Redis;
use super::link::Arguments;
use super::names::{delivery_key, message_key};
use super::values::{encode_value, score};
use crate::domain::{Delivery, MessageId};
use crate::queue::{Accept, Accepted, IdempotencyKey, QueueError, StoredResponse};

/// Digits of the time in front of an answer.
const EXPIRY_DIGITS: usize = 20;

/// An ACCEPT, encoded.
pub(super) struct EncodedAccept {
    /// In which partition.
    pub(super) partition: usize,
    /// What the function is told.
    pub(super) arguments: Arguments,
    /// Bytes of each Message with its body; none for those that are final already.
    pub(super) sizes: Vec<Option<usize>>,
}

impl Redis {
    /// Encodes an ACCEPT. All of it must be in one partition, or else it could be done by half.
    pub(super) fn encode_accept(&self, accept: &Accept) -> Result<EncodedAccept, QueueError> {
        let names = &self.shared.names;
        let of_key = accept.idempotency.iter();
        let of_key = of_key.map(|(key, _)| names.partition_of_byte(key.partition_byte()));
        let mut all = accept.ids().map(|id| names.partition_of(id)).chain(of_key);
        let partition = all.next().unwrap_or(0);
        if all.any(|other| other != partition) {
            let reason = "the messages of one call and its idempotency key must share a partition";
            return Err(QueueError::Unavailable(reason.to_owned()));
        }
        let mut arguments = Arguments::new();
        arguments.text(score(accept.at));
        match &accept.idempotency {
            Some((key, answer)) => {
                arguments.text(answer_field(key)).bytes(encode_answer(answer));
                arguments.text(score(answer.expires_at));
            }
            None => {
                arguments.text("").text("").text("");
            }
        }
        let sizes = encode_messages(accept, &mut arguments);
        arguments.text(accept.deliveries.len());
        for delivery in &accept.deliveries {
            arguments.bytes(delivery_key(delivery.id));
            arguments
                .bytes(encode_value(delivery, None))
                .text(score(delivery.due_at));
        }
        for event in &accept.events {
            arguments.bytes(message_key(event.message()));
            arguments.bytes(encode_event(event.delivery.recipient, event.at, &event.kind));
        }
        Ok(EncodedAccept {
            partition,
            arguments,
            sizes,
        })
    }

    /// Caches messages before they are stored: who is told of one finds it here. Nobody asks for it before that.
    pub(super) fn cache_accepted(&self, accept: &Accept, sizes: &[Option<usize>]) {
        for ((message, body), bytes) in accept.messages.iter().zip(sizes) {
            if let Some(bytes) = bytes {
                self.shared.cache.insert(message, body, *bytes);
            }
        }
    }
}

fn encode_messages(accept: &Accept, arguments: &mut Arguments) -> Vec<Option<usize>> {
    let counts = counts(&accept.deliveries);
    let mut sizes = Vec::with_capacity(accept.messages.len());
    arguments.text(accept.messages.len());
    for (message, body) in &accept.messages {
        let (places, unsettled) = counts.get(&message.id).copied().unwrap_or_default();
        let record = encode_message(message);
        let body = if unsettled > 0 { encode_body(body) } else { Vec::new() };
        sizes.push((unsettled > 0).then_some(record.len() + body.len()));
        arguments.bytes(message_key(message.id)).bytes(record).bytes(body);
        arguments.text(unsettled).text(places).text(score(message.created_at));
    }
    sizes
}

/// For each Message the places of its recipients, and how many of its deliveries are not final.
fn counts(deliveries: &[Delivery]) -> HashMap<MessageId, (u32, u32)> {
    let mut counts: HashMap<MessageId, (u32, u32)> = HashMap::with_capacity(deliveries.len());
    for delivery in deliveries {
        let (places, unsettled) = counts.entry(delivery.id.message).or_default();
        *places = (*places).max(u32::from(delivery.id.recipient) + 1);
        *unsettled += u32::from(!delivery.state.is_final());
    }
    counts
}

/// What the function's answer means for this call.
pub(super) fn decode_accepted(accept: &Accept, answer: &[u8]) -> Result<Accepted, QueueError> {
    if answer.is_empty() {
        return Ok(Accepted::New);
    }
    let earlier = decode_answer(answer)?;
    let hash = accept.idempotency.as_ref().map(|(_, own)| own.request_hash);
    Ok(if hash == Some(earlier.request_hash) {
        Accepted::Replay(earlier)
    } else {
        Accepted::KeyMismatch
    })
}

/// Where the answer to a key is.
pub(super) fn answer_field(key: &IdempotencyKey) -> String {
    format!("{}:{}", key.tenant, key.key)
}

/// An answer with its end in front, for the function.
pub(super) fn encode_answer(answer: &StoredResponse) -> Vec<u8> {
    let mut bytes = format!("{:0EXPIRY_DIGITS$}", answer.expires_at.0).into_bytes();
    bytes.extend_from_slice(&encode_response(answer));
    bytes
}

/// The answer behind its end.
pub(super) fn decode_answer(bytes: &[u8]) -> Result<StoredResponse, QueueError> {
    let record = bytes.get(EXPIRY_DIGITS..).unwrap_or_default();
    decode_response(record).map_err(|damaged| QueueError::Damaged(damaged.0))
}
