//! The whole store moves out of Redis and into it.
//!
//! The first page holds everything but messages: it is as large as the suppression list and the answers are. Messages come by
//! partition, those with something unsettled first, by the time of acceptance. A cursor is a partition, which of its two sets,
//! and a place in it: they stay while nobody works on the store.

use std::collections::HashMap;

use async_trait::async_trait;
use futures_util::future::try_join_all;

use super::super::records::{
    Damaged, decode_body, decode_intent, decode_mark, decode_message, decode_suppression, encode_body, encode_event,
    encode_intent, encode_mark, encode_message,
};
use super::accepting::{answer_field, decode_answer, encode_answer};
use super::functions::{ALL, MEMBERS, REMEMBER, TAKE_IN};
use super::handle::{Redis, number};
use super::link::Arguments;
use super::names::{delivery_key, message_key};
use super::records::damaged;
use super::store::{aliases_of, decode_alias};
use super::values::{decode_lane, decode_value, encode_lane, encode_value, lane_of, parked_score, score};
use crate::domain::{DeliveryId, Fence, MessageId, NoteKind, TenantId};
use crate::queue::{IdempotencyKey, Intent, LeaseRef, OpenIntent};
use crate::store::archive::{
    Archive, Archived, ArchivedDelivery, ArchivedMessage, Cursor, Mark, PAGE_BYTES_MAX, Page, weight,
};
use crate::store::{Store, StoreError};

/// Sets of messages in a partition, in the order of an export.
const SETS: [&str; 2] = ["ages", "done"];
/// Messages that are read at the same time.
const READ_AT_ONCE: usize = 32;
/// The hash of what the store knows about itself, and the field of the mark in it.
const ABOUT: &str = "about";
const MARK: &str = "mark";
/// Places of events beyond this are those of a Redis, times 256.
const PLACE_MAX: u64 = 1 << 52;

impl Redis {
    /// Fields and values of a hash in a partition.
    async fn fields(&self, partition: usize, hash: Vec<u8>) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
        let mut arguments = Arguments::new();
        arguments.bytes(hash);
        let mut parts = self.call(ALL, partition, &arguments).await?.into_iter().flatten();
        let mut pairs = Vec::new();
        while let (Some(field), Some(value)) = (parts.next(), parts.next()) {
            pairs.push((field, value));
        }
        pairs.sort();
        Ok(pairs)
    }

    /// Everything but messages.
    async fn head(&self) -> Result<Vec<Archived>, StoreError> {
        let tenants = self.tenants().await?;
        let (mut keys, mut domains, mut templates) = (Vec::new(), Vec::new(), Vec::new());
        for tenant in &tenants {
            keys.extend(self.keys(tenant.id).await?);
            domains.extend(self.domains(tenant.id).await?);
            for (_, alias) in self.all_common(aliases_of(tenant.id)).await? {
                let (id, newest) = decode_alias(&alias)?;
                for version in 1..=newest {
                    templates.extend(self.template_version(id, version).await?);
                }
            }
        }
        let mut all: Vec<Archived> = tenants.into_iter().map(Archived::Tenant).collect();
        all.extend(keys.into_iter().map(Archived::Key));
        all.extend(domains.into_iter().map(Archived::Domain));
        all.extend(templates.into_iter().map(Archived::Template));
        for kind in NoteKind::ALL {
            for note in self.read_notes(kind).await? {
                all.push(Archived::Note(note.map_err(damaged)?));
            }
        }
        let charges = self.read_charges().await?.into_iter();
        all.extend(charges.map(|(lane, spent)| Archived::Charged(lane, spent)));
        // The list is the same in every partition.
        for (field, entry) in self.fields(0, b"suppressed".to_vec()).await? {
            let (tenant, address) = named(&field)?;
            let entry = decode_suppression(tenant, address, entry.get(1..).unwrap_or_default());
            all.push(Archived::Suppression(entry.map_err(damaged)?));
        }
        for partition in self.partitions() {
            for (field, answer) in self.fields(partition, b"answers".to_vec()).await? {
                let (tenant, key) = named(&field)?;
                let key = key.to_owned();
                all.push(Archived::Answer(
                    IdempotencyKey { tenant, key },
                    decode_answer(&answer)?,
                ));
            }
        }
        Ok(all)
    }

    async fn archived_message(&self, id: MessageId) -> Result<Archived, StoreError> {
        let hash = [b"m:".as_slice(), &message_key(id)].concat();
        let fields: HashMap<Vec<u8>, Vec<u8>> = self
            .fields(self.shared.names.partition_of(id), hash)
            .await?
            .into_iter()
            .collect();
        let gone = || StoreError::Damaged(format!("message {id} is gone while it moves"));
        let message = decode_message(id, fields.get(b"m".as_slice()).ok_or_else(gone)?).map_err(damaged)?;
        let body = fields
            .get(b"b".as_slice())
            .map(|bytes| decode_body(id, bytes))
            .transpose();
        let places = number(fields.get(b"c".as_slice()).map(Vec::as_slice)).unwrap_or_default();
        let mut deliveries = Vec::new();
        for recipient in (0..=u16::MAX).take_while(|recipient| u64::from(*recipient) < places) {
            let Some(value) = fields.get(format!("d{recipient}").as_bytes()) else {
                continue;
            };
            let id = DeliveryId { message: id, recipient };
            let open = fields.get(format!("i{recipient}").as_bytes());
            let open = open
                .filter(|bytes| !bytes.is_empty())
                .map(|bytes| decode_intent(id, bytes))
                .transpose();
            deliveries.push(ArchivedDelivery {
                delivery: decode_value(id, value).map_err(damaged)?,
                parked: lane_of(value).map(decode_lane).transpose().map_err(damaged)?,
                open_intent: open.map_err(damaged)?.map(|(_, open)| open),
            });
        }
        Ok(Archived::Message(Box::new(ArchivedMessage {
            body: body.map_err(damaged)?.map(Into::into),
            events: self.events(id, usize::from(u16::MAX) * 1000).await?,
            message: message.into(),
            deliveries,
        })))
    }

    async fn messages_at(&self, place: Place, max: usize) -> Result<Vec<Archived>, StoreError> {
        let mut arguments = Arguments::new();
        arguments
            .text(SETS[place.set])
            .text(place.rank)
            .text(place.rank + max as u64 - 1);
        let members = self.call(MEMBERS, place.partition, &arguments).await?;
        let id = |member: &Vec<u8>| <[u8; 16]>::try_from(member.as_slice()).map(|bytes| MessageId(bytes_of(bytes)));
        let ids: Result<Vec<MessageId>, _> = members.iter().flatten().map(id).collect();
        let ids = ids.map_err(|_| StoreError::Damaged("the id of a message".to_owned()))?;
        let (mut items, mut bytes) = (Vec::new(), 0);
        for some in ids.chunks(READ_AT_ONCE) {
            if bytes >= PAGE_BYTES_MAX {
                break;
            }
            let read = try_join_all(some.iter().map(|id| self.archived_message(*id))).await?;
            bytes += read.iter().map(weight).sum::<usize>();
            items.extend(read);
        }
        Ok(items)
    }

    async fn take_in(&self, item: Archived) -> Result<(), StoreError> {
        match item {
            Archived::Tenant(tenant) => self.put_tenant(tenant).await,
            Archived::Key(key) => self.put_key(key).await,
            Archived::Domain(domain) => self.put_domain(domain).await,
            // Versions come oldest first and are counted from 1, so each gets its own number again.
            Archived::Template(template) => {
                if self.template_version(template.id, template.version).await?.is_none() {
                    self.put_template((*template).clone()).await?;
                }
                Ok(())
            }
            Archived::Suppression(entry) => self.put_suppression(entry).await,
            Archived::Answer(key, answer) => {
                let partition = self.shared.names.partition_of_byte(key.partition_byte());
                let mut arguments = Arguments::new();
                arguments.text(answer_field(&key)).bytes(encode_answer(&answer));
                arguments.text(score(answer.expires_at));
                self.call(REMEMBER, partition, &arguments).await.map(drop)
            }
            Archived::Note(note) => self.write_notes(&[note]).await,
            Archived::Charged(lane, spent) => self.write_charge(&lane, spent).await,
            Archived::Message(archived) => {
                let partition = self.shared.names.partition_of(archived.message.id);
                self.call(TAKE_IN, partition, &message_arguments(&archived))
                    .await
                    .map(drop)
            }
        }
    }
}

fn bytes_of(bytes: [u8; 16]) -> uuid::Uuid {
    uuid::Uuid::from_bytes(bytes)
}

/// A Message as `archive.lua` takes it.
fn message_arguments(archived: &ArchivedMessage) -> Arguments {
    let message = &archived.message;
    let unsettled = archived
        .deliveries
        .iter()
        .filter(|one| !one.delivery.state.is_final())
        .count();
    let places = archived
        .deliveries
        .iter()
        .map(|one| u32::from(one.delivery.id.recipient) + 1)
        .max();
    let mut arguments = Arguments::new();
    arguments.bytes(message_key(message.id)).bytes(encode_message(message));
    arguments.bytes(archived.body.as_ref().map(|body| encode_body(body)).unwrap_or_default());
    arguments
        .text(unsettled)
        .text(places.unwrap_or(0))
        .text(score(message.created_at));
    arguments.text(archived.deliveries.len());
    for one in &archived.deliveries {
        let lane = one.parked.as_ref().filter(|_| !one.delivery.state.is_final());
        arguments.bytes(delivery_key(one.delivery.id));
        arguments
            .bytes(encode_value(&one.delivery, lane))
            .text(score(one.delivery.due_at));
        arguments.bytes(lane.map(encode_lane).unwrap_or_default());
        arguments
            .text(parked_score(&one.delivery))
            .text(score(one.delivery.expires_at));
        let open = one.open_intent.as_ref();
        arguments.bytes(
            open.map(|open| encode_intent(&intent(one.delivery.id, open)))
                .unwrap_or_default(),
        );
    }
    for event in &archived.events {
        // The place of a Redis is a time; that of another store is small. Both keep their order.
        let place = if event.sequence > PLACE_MAX {
            event.sequence / 256
        } else {
            event.sequence
        };
        arguments.text(place);
        arguments.bytes(encode_event(event.delivery.recipient, event.at, &event.kind));
    }
    arguments
}

/// An INTENT that nobody holds any more.
fn intent(delivery: DeliveryId, open: &OpenIntent) -> Intent {
    Intent {
        lease: LeaseRef {
            delivery,
            fence: Fence(0),
        },
        attempt: open.attempt,
        lane: open.lane.clone(),
        host: open.host.clone(),
        at: open.at,
        charge: None,
    }
}

/// Tenant and name of a field.
fn named(field: &[u8]) -> Result<(TenantId, &str), StoreError> {
    let read = || {
        let (tenant, name) = std::str::from_utf8(field).ok()?.split_once(':')?;
        Some((TenantId(tenant.parse().ok()?), name))
    };
    read().ok_or_else(|| StoreError::Damaged("the name of a record".to_owned()))
}

/// Where an export goes on.
#[derive(Debug, Clone, Copy)]
struct Place {
    partition: usize,
    set: usize,
    rank: u64,
}

impl Place {
    fn of(cursor: &Cursor) -> Option<Self> {
        let numbers = std::str::from_utf8(&cursor.0).ok()?;
        let mut numbers = numbers.split(' ').map(str::parse::<u64>);
        let mut next = || numbers.next()?.ok();
        let (partition, set, rank) = (next()?, next()?, next()?);
        Some(Self {
            partition: usize::try_from(partition).ok()?,
            set: usize::try_from(set).ok()?,
            rank,
        })
    }

    fn cursor(self) -> Cursor {
        Cursor(format!("{} {} {}", self.partition, self.set, self.rank).into_bytes())
    }
}

#[async_trait]
impl Archive for Redis {
    async fn export(&self, after: Option<&Cursor>, max: usize) -> Result<Page, StoreError> {
        let first = Place {
            partition: 0,
            set: 0,
            rank: 0,
        };
        let Some(after) = after else {
            let next = Some(first.cursor());
            return Ok(Page {
                items: self.head().await?,
                next,
            });
        };
        let mut place = Place::of(after).ok_or_else(|| StoreError::Damaged("a cursor".to_owned()))?;
        while place.partition < self.partitions().end {
            let items = self.messages_at(place, max.max(1)).await?;
            if !items.is_empty() {
                place.rank += items.len() as u64;
                let next = Some(place.cursor());
                return Ok(Page { items, next });
            }
            place.rank = 0;
            place.set += 1;
            if place.set == SETS.len() {
                place = Place {
                    partition: place.partition + 1,
                    ..first
                };
            }
        }
        let items = Vec::new();
        Ok(Page { items, next: None })
    }

    async fn import(&self, items: Vec<Archived>, mark: &Mark) -> Result<(), StoreError> {
        // Templates count their versions, so what there is little of comes one after the other.
        let (messages, others): (Vec<_>, Vec<_>) =
            items.into_iter().partition(|item| matches!(item, Archived::Message(_)));
        for item in others {
            self.take_in(item).await?;
        }
        let mut messages = messages.into_iter();
        loop {
            let some: Vec<Archived> = messages.by_ref().take(READ_AT_ONCE).collect();
            if some.is_empty() {
                break;
            }
            try_join_all(some.into_iter().map(|item| self.take_in(item))).await?;
        }
        self.set_mark(Some(mark)).await
    }

    async fn mark(&self) -> Result<Option<Mark>, StoreError> {
        let bytes = self.get_common(ABOUT, MARK).await?.filter(|bytes| !bytes.is_empty());
        bytes
            .map(|bytes| decode_mark(&bytes))
            .transpose()
            .map_err(|broken: Damaged| damaged(broken))
    }

    async fn set_mark(&self, mark: Option<&Mark>) -> Result<(), StoreError> {
        let bytes = mark.map(encode_mark).unwrap_or_default();
        self.put_common(&[(ABOUT, MARK.as_bytes(), &bytes)]).await
    }
}
