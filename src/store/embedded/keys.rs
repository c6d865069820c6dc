//! How keys are laid out: fixed width, big-endian, so that their byte order is the order in which they are wanted.
//!
//! Takes ids and times, gives bytes, and back. `layout.rs` says which table has which key.

use uuid::Uuid;

use super::super::records::Coded;
use crate::domain::{Class, DeliveryId, MessageId, NoteKind, TenantId, Timestamp};

/// Message.
pub(super) type MessageKey = [u8; 16];
/// Message, recipient.
pub(super) type DeliveryKey = [u8; 18];
/// Class, due time, delivery.
pub(super) type DueKey = [u8; 27];
/// Lane number, class, expiry, delivery.
pub(super) type ParkedKey = [u8; 31];
/// Expiry, delivery.
pub(super) type EndKey = [u8; 26];
/// Message, place in the order of all events.
pub(super) type EventKey = [u8; 24];
/// Template, version.
pub(super) type TemplateKey = [u8; 20];

/// Puts `parts` one behind the other. Their lengths must add up to `N`.
fn join<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut key = [0; N];
    let mut at = 0;
    for part in parts {
        key[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    debug_assert_eq!(at, N, "a key is filled to its end");
    key
}

/// The `N` bytes of `key` from `at` on.
fn part<const N: usize>(key: &[u8], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&key[at..at + N]);
    bytes
}

fn class_byte(class: Class) -> [u8; 1] {
    match class {
        Class::Critical => [0],
        Class::Transactional => [1],
        Class::Broadcast => [2],
    }
}

pub(super) fn message_key(id: MessageId) -> MessageKey {
    id.0.into_bytes()
}

pub(super) fn message_of(key: &MessageKey) -> MessageId {
    MessageId(Uuid::from_bytes(*key))
}

pub(super) fn delivery_key(id: DeliveryId) -> DeliveryKey {
    join(&[id.message.0.as_bytes(), &id.recipient.to_be_bytes()])
}

pub(super) fn delivery_of(key: &DeliveryKey) -> DeliveryId {
    delivery_at(key, 0)
}

/// The delivery that begins at byte `at` of a key.
fn delivery_at(key: &[u8], at: usize) -> DeliveryId {
    DeliveryId {
        message: MessageId(Uuid::from_bytes(part(key, at))),
        recipient: u16::from_be_bytes(part(key, at + 16)),
    }
}

/// The first and the last delivery that a Message can have.
pub(super) fn deliveries_of(message: MessageId) -> (DeliveryKey, DeliveryKey) {
    let at = |recipient| delivery_key(DeliveryId { message, recipient });
    (at(0), at(u16::MAX))
}

pub(super) fn due_key(class: Class, due_at: Timestamp, id: DeliveryId) -> DueKey {
    let key = delivery_key(id);
    join(&[&class_byte(class), &due_at.0.to_be_bytes(), &key])
}

/// Where the line of a class begins, and where the part of it ends that is due by `now`.
pub(super) fn due_range(class: Class, now: Timestamp) -> (DueKey, DueKey) {
    let low = join(&[&class_byte(class), &[0; 26]]);
    let high = join(&[&class_byte(class), &now.0.to_be_bytes(), &[0xff; 18]]);
    (low, high)
}

/// Due time and delivery of a place in the line.
pub(super) fn due_of(key: &DueKey) -> (Timestamp, DeliveryId) {
    (Timestamp(u64::from_be_bytes(part(key, 1))), delivery_at(key, 9))
}

pub(super) fn parked_key(lane: u32, class: Class, expires_at: Timestamp, id: DeliveryId) -> ParkedKey {
    let key = delivery_key(id);
    join(&[
        &lane.to_be_bytes(),
        &class_byte(class),
        &expires_at.0.to_be_bytes(),
        &key,
    ])
}

/// All places under a lane.
pub(super) fn parked_range(lane: u32) -> (ParkedKey, ParkedKey) {
    let low = join(&[&lane.to_be_bytes(), &[0; 27]]);
    let high = join(&[&lane.to_be_bytes(), &[0xff; 27]]);
    (low, high)
}

/// Lane number and delivery of a parking place.
pub(super) fn parked_of(key: &ParkedKey) -> (u32, DeliveryId) {
    (u32::from_be_bytes(part(key, 0)), delivery_at(key, 13))
}

pub(super) fn end_key(expires_at: Timestamp, id: DeliveryId) -> EndKey {
    let key = delivery_key(id);
    join(&[&expires_at.0.to_be_bytes(), &key])
}

/// The first and the last of those that have expired by `now`.
pub(super) fn end_range(now: Timestamp) -> (EndKey, EndKey) {
    ([0; 26], join(&[&now.0.to_be_bytes(), &[0xff; 18]]))
}

/// The delivery of an expiry.
pub(super) fn end_of(key: &EndKey) -> DeliveryId {
    delivery_at(key, 8)
}

pub(super) fn event_key(message: MessageId, sequence: u64) -> EventKey {
    join(&[message.0.as_bytes(), &sequence.to_be_bytes()])
}

/// The first and the last event that a Message can have.
pub(super) fn events_of(message: MessageId) -> (EventKey, EventKey) {
    (event_key(message, 0), event_key(message, u64::MAX))
}

/// The place of an event.
pub(super) fn sequence_of(key: &EventKey) -> u64 {
    u64::from_be_bytes(part(key, 16))
}

pub(super) fn template_key(id: Uuid, version: u32) -> TemplateKey {
    join(&[id.as_bytes(), &version.to_be_bytes()])
}

/// The version in a template's key.
pub(super) fn version_of(key: &TemplateKey) -> u32 {
    u32::from_be_bytes(part(key, 16))
}

/// Something of a tenant that has a name: an address, a domain, an alias, an idempotency key.
pub(super) fn named_key(tenant: TenantId, name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(4 + name.len());
    key.extend_from_slice(&tenant.0.to_be_bytes());
    key.extend_from_slice(name.as_bytes());
    key
}

/// The name in the key of something of `tenant`; none when it is another's.
pub(super) fn name_of(tenant: TenantId, key: &[u8]) -> Option<&str> {
    let name = key.strip_prefix(&tenant.0.to_be_bytes())?;
    std::str::from_utf8(name).ok()
}

/// The tenant and the name in the key of something that has one.
pub(super) fn named_of(key: &[u8]) -> Option<(TenantId, &str)> {
    let (tenant, name) = key.split_first_chunk::<4>()?;
    Some((TenantId(u32::from_be_bytes(*tenant)), std::str::from_utf8(name).ok()?))
}

/// A note, behind the byte of its kind.
pub(super) fn note_key(kind: NoteKind, key: &[u8]) -> Vec<u8> {
    let mut full = Vec::with_capacity(1 + key.len());
    full.push(kind.code());
    full.extend_from_slice(key);
    full
}

/// The kind and the key of a note; none when it is of a kind that this version does not know.
pub(super) fn note_of(key: &[u8]) -> Option<(NoteKind, &[u8])> {
    let (kind, key) = key.split_first()?;
    Some((NoteKind::from_code(*kind)?, key))
}

/// An idempotency key by the time at which it is forgotten.
pub(super) fn forget_key(expires_at: Timestamp, named: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(8 + named.len());
    key.extend_from_slice(&expires_at.0.to_be_bytes());
    key.extend_from_slice(named);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(recipient: u16) -> DeliveryId {
        DeliveryId {
            message: MessageId(Uuid::from_u128(0x1234_5678)),
            recipient,
        }
    }

    #[test]
    fn keys_give_back_what_was_put_in() {
        let at = Timestamp(77);
        assert_eq!(delivery_of(&delivery_key(id(9))), id(9));
        assert_eq!(due_of(&due_key(Class::Broadcast, at, id(9))), (at, id(9)));
        assert_eq!(parked_of(&parked_key(5, Class::Critical, at, id(9))), (5, id(9)));
        assert_eq!(end_of(&end_key(at, id(9))), id(9));
        assert_eq!(sequence_of(&event_key(id(0).message, 12)), 12);
        assert_eq!(version_of(&template_key(Uuid::nil(), 3)), 3);
        assert_eq!(name_of(TenantId(4), &named_key(TenantId(4), "a@b.c")), Some("a@b.c"));
        assert_eq!(name_of(TenantId(5), &named_key(TenantId(4), "a@b.c")), None);
        assert_eq!(
            note_of(&note_key(NoteKind::Warmup, b"k")),
            Some((NoteKind::Warmup, &b"k"[..]))
        );
    }

    #[test]
    fn the_order_of_keys_is_the_order_of_service() {
        let due = |class, at, recipient| due_key(class, Timestamp(at), id(recipient));
        assert!(due(Class::Critical, 900, 0) < due(Class::Transactional, 1, 0));
        assert!(due(Class::Critical, 255, 9) < due(Class::Critical, 256, 0));
        assert!(due(Class::Critical, 5, 1) < due(Class::Critical, 5, 2));
        let parked = |lane, class, at| parked_key(lane, class, Timestamp(at), id(0));
        assert!(parked(1, Class::Broadcast, 9) < parked(2, Class::Critical, 1));
        assert!(parked(1, Class::Critical, 9) < parked(1, Class::Broadcast, 1));
        assert!(parked(1, Class::Critical, 1) < parked(1, Class::Critical, 2));
    }

    #[test]
    fn a_range_holds_all_of_its_own_and_nothing_else() {
        let (low, high) = due_range(Class::Transactional, Timestamp(5));
        let inside = |key: DueKey| (low..=high).contains(&key);
        assert!(inside(due_key(Class::Transactional, Timestamp(0), id(0))));
        assert!(inside(due_key(Class::Transactional, Timestamp(5), id(u16::MAX))));
        assert!(!inside(due_key(Class::Transactional, Timestamp(6), id(0))));
        assert!(!inside(due_key(Class::Critical, Timestamp(5), id(0))));
        let (low, high) = parked_range(7);
        assert!((low..=high).contains(&parked_key(7, Class::Broadcast, Timestamp::NEVER, id(3))));
        assert!(!(low..=high).contains(&parked_key(8, Class::Critical, Timestamp(0), id(0))));
    }
}
