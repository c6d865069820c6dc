//! The store seam: reads and writes of records, and the reading side of messages, deliveries and events.

use std::sync::Arc;

use async_trait::async_trait;
use uuid::Uuid;

use super::super::records::{
    Damaged, decode_body, decode_domain, decode_event, decode_key, decode_message, decode_suppression, decode_template,
    decode_tenant, encode_domain, encode_key, encode_template, encode_tenant,
};
use super::accepting::{answer_field, decode_answer};
use super::functions::{DELIVERIES, EVENTS, FORGIVE, NEWEST, PURGE, PUT_TEMPLATE};
use super::handle::{READERS, Redis, number};
use super::link::Arguments;
use super::names::message_key;
use super::records::damaged;
use super::settling::{lower_case, suppression_field};
use super::values::{decode_value, score};
use crate::domain::{
    ApiKey, Body, Delivery, DeliveryId, Event, Lane, Message, MessageId, Note, NoteKind, SendingDomain, Stream,
    Suppression, Template, TemplateId, Tenant, TenantId, Timestamp,
};
use crate::queue::{IdempotencyKey, Spent, StoredResponse};
use crate::store::{Store, StoreError};

/// Fields that one call reads at most.
const FIELDS_PER_CALL: usize = 1000;
/// The hash of all tenants.
const TENANTS: &str = "tenants";
/// The hash of all API keys.
const KEYS: &str = "keys";
/// The hash of the suppression list.
const SUPPRESSED: &[u8] = b"suppressed";

#[async_trait]
impl Store for Redis {
    async fn message(&self, id: MessageId) -> Result<Option<Arc<Message>>, StoreError> {
        if let Some(message) = self.shared.cache.message(id) {
            return Ok(Some(message));
        }
        let parts = self
            .get(self.shared.names.partition_of(id), hash_of(id), &["m"])
            .await?;
        match parts.into_iter().next().flatten() {
            Some(bytes) => Ok(Some(Arc::new(decode_message(id, &bytes).map_err(damaged)?))),
            None => Ok(None),
        }
    }

    async fn body(&self, id: MessageId) -> Result<Option<Arc<Body>>, StoreError> {
        if let Some(body) = self.shared.cache.body(id) {
            return Ok(Some(body));
        }
        let reader = usize::from(id.partition_byte()) % READERS;
        let _turn = self.shared.readers[reader].lock().await;
        if let Some(body) = self.shared.cache.body(id) {
            return Ok(Some(body));
        }
        let parts = self
            .get(self.shared.names.partition_of(id), hash_of(id), &["m", "b"])
            .await?;
        let [Some(message), Some(body)] = parts.as_slice() else {
            return Ok(None);
        };
        let bytes = message.len() + body.len();
        let body = Arc::new(decode_body(id, body).map_err(damaged)?);
        let message = Arc::new(decode_message(id, message).map_err(damaged)?);
        self.shared.cache.insert(&message, &body, bytes);
        Ok(Some(body))
    }

    async fn deliveries(&self, id: MessageId) -> Result<Vec<Delivery>, StoreError> {
        let mut arguments = Arguments::new();
        arguments.bytes(message_key(id));
        let parts = self
            .call(DELIVERIES, self.shared.names.partition_of(id), &arguments)
            .await?;
        let mut deliveries = Vec::with_capacity(parts.len());
        for (recipient, value) in (0..=u16::MAX).zip(parts) {
            if let Some(value) = value {
                let id = DeliveryId { message: id, recipient };
                deliveries.push(decode_value(id, &value).map_err(damaged)?);
            }
        }
        Ok(deliveries)
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>, StoreError> {
        let partition = self.shared.names.partition_of(id.message);
        let field = format!("d{}", id.recipient);
        let parts = self.get(partition, hash_of(id.message), &[field]).await?;
        let value = parts.into_iter().next().flatten();
        value.map(|value| decode_value(id, &value).map_err(damaged)).transpose()
    }

    async fn events(&self, id: MessageId, max: usize) -> Result<Vec<Event>, StoreError> {
        let partition = self.shared.names.partition_of(id);
        let mut arguments = Arguments::new();
        arguments.bytes(message_key(id)).text(max);
        let parts = self.call(EVENTS, partition, &arguments).await?;
        let event = |entry: Vec<u8>| {
            let space = entry.iter().position(|byte| *byte == b' ');
            let (place, record) = entry.split_at(space.unwrap_or_default());
            let place = number(Some(place)).unwrap_or_default();
            let sequence = sequence(place, partition);
            decode_event(id, sequence, record.get(1..).unwrap_or_default()).map_err(damaged)
        };
        parts.into_iter().flatten().map(event).collect()
    }

    async fn idempotent(&self, key: &IdempotencyKey, now: Timestamp) -> Result<Option<StoredResponse>, StoreError> {
        let partition = self.shared.names.partition_of_byte(key.partition_byte());
        let parts = self.get(partition, b"answers".to_vec(), &[answer_field(key)]).await?;
        let answer = parts.into_iter().next().flatten();
        let answer = answer.map(|bytes| decode_answer(&bytes)).transpose()?;
        Ok(answer.filter(|answer| answer.expires_at > now))
    }

    async fn tenants(&self) -> Result<Vec<Tenant>, StoreError> {
        let mut tenants = Vec::new();
        for (field, bytes) in self.all_common(TENANTS.to_owned()).await? {
            let id = number(Some(&field)).and_then(|id| u32::try_from(id).ok());
            let id = id.ok_or_else(|| StoreError::Damaged("the number of a tenant".to_owned()))?;
            tenants.push(decode_tenant(TenantId(id), &bytes).map_err(damaged)?);
        }
        tenants.sort_by_key(|tenant| tenant.id);
        Ok(tenants)
    }

    async fn put_tenant(&self, tenant: Tenant) -> Result<(), StoreError> {
        let id = tenant.id.to_string();
        self.put_common(&[(TENANTS, id.as_bytes(), &encode_tenant(&tenant))])
            .await
    }

    async fn key(&self, hash: [u8; 32]) -> Result<Option<ApiKey>, StoreError> {
        let bytes = self.get_common(KEYS, hash).await?;
        bytes.map(|bytes| decode_key(hash, &bytes).map_err(damaged)).transpose()
    }

    async fn keys(&self, tenant: TenantId) -> Result<Vec<ApiKey>, StoreError> {
        let mut keys = Vec::new();
        for (field, bytes) in self.all_common(keys_of(tenant)).await? {
            let hash = <[u8; 32]>::try_from(field.as_slice());
            let hash = hash.map_err(|_| StoreError::Damaged("the hash of an API key".to_owned()))?;
            keys.push(decode_key(hash, &bytes).map_err(damaged)?);
        }
        Ok(keys)
    }

    async fn put_key(&self, key: ApiKey) -> Result<(), StoreError> {
        let bytes = encode_key(&key);
        let rows = [
            (KEYS, &key.hash[..], &bytes[..]),
            (&keys_of(key.tenant), &key.hash, &bytes),
        ];
        self.put_common(&rows).await
    }

    async fn domain(&self, tenant: TenantId, name: &str) -> Result<Option<SendingDomain>, StoreError> {
        match self.get_common(domains_of(tenant), name).await? {
            Some(bytes) => Ok(Some(
                self.unsealed(decode_domain(tenant, name, &bytes).map_err(damaged)?)?,
            )),
            None => Ok(None),
        }
    }

    async fn domains(&self, tenant: TenantId) -> Result<Vec<SendingDomain>, StoreError> {
        let mut domains = Vec::new();
        for (field, bytes) in self.all_common(domains_of(tenant)).await? {
            let name = String::from_utf8(field);
            let name = name.map_err(|_| StoreError::Damaged("the name of a domain".to_owned()))?;
            domains.push(self.unsealed(decode_domain(tenant, &name, &bytes).map_err(damaged)?)?);
        }
        Ok(domains)
    }

    async fn put_domain(&self, domain: SendingDomain) -> Result<(), StoreError> {
        let domain = self.sealed(domain);
        let hash = domains_of(domain.tenant);
        let row = (hash.as_str(), domain.name.as_bytes(), &encode_domain(&domain)[..]);
        self.put_common(&[row]).await
    }

    async fn template(
        &self,
        tenant: TenantId,
        reference: &str,
        version: Option<u32>,
    ) -> Result<Option<Arc<Template>>, StoreError> {
        let (id, version) = match self.get_common(aliases_of(tenant), reference).await? {
            Some(alias) => {
                let (id, newest) = decode_alias(&alias)?;
                (id, version.unwrap_or(newest))
            }
            None => match reference.parse::<TemplateId>() {
                Ok(id) => match version {
                    Some(version) => (id, version),
                    None => (id, self.newest_version(id).await?),
                },
                Err(_) => return Ok(None),
            },
        };
        let template = self.template_version(id, version).await?;
        Ok(template.filter(|template| template.tenant == tenant))
    }

    async fn template_version(&self, id: TemplateId, version: u32) -> Result<Option<Arc<Template>>, StoreError> {
        match self.get_common(versions_of(id), version.to_string()).await? {
            Some(bytes) => Ok(Some(Arc::new(decode_template(id, version, &bytes).map_err(damaged)?))),
            None => Ok(None),
        }
    }

    async fn templates(&self, tenant: TenantId, max: usize) -> Result<Vec<Arc<Template>>, StoreError> {
        let mut aliases = self.all_common(aliases_of(tenant)).await?;
        aliases.sort();
        let mut templates = Vec::new();
        for (_, alias) in aliases.into_iter().take(max) {
            let (id, newest) = decode_alias(&alias)?;
            templates.extend(self.template_version(id, newest).await?);
        }
        Ok(templates)
    }

    async fn put_template(&self, mut draft: Template) -> Result<Arc<Template>, StoreError> {
        let mut arguments = Arguments::new();
        arguments.text(aliases_of(draft.tenant)).text(&draft.alias);
        arguments
            .bytes(draft.id.0.as_bytes().to_vec())
            .bytes(encode_template(&draft));
        let answer = self.call_common(PUT_TEMPLATE, &arguments).await?;
        let [Some(id), version] = answer.as_slice() else {
            return Err(StoreError::Unavailable(
                "Redis answered in an unexpected way".to_owned(),
            ));
        };
        (draft.id, draft.version) = decode_alias(&[id.as_slice(), version.as_deref().unwrap_or_default()].concat())?;
        Ok(Arc::new(draft))
    }

    async fn suppressed(
        &self,
        tenant: TenantId,
        stream: Stream,
        addresses: &[String],
    ) -> Result<Vec<bool>, StoreError> {
        let mut flags = Vec::with_capacity(addresses.len());
        for addresses in addresses.chunks(FIELDS_PER_CALL) {
            let fields: Vec<String> = addresses.iter().map(|one| suppression_field(tenant, one)).collect();
            for (address, entry) in addresses.iter().zip(self.get(0, SUPPRESSED.to_vec(), &fields).await?) {
                let entry = entry.map(|entry| decode_entry(tenant, address, &entry)).transpose()?;
                flags.push(entry.is_some_and(|entry| entry.stream.is_none_or(|held| held == stream)));
            }
        }
        Ok(flags)
    }

    async fn suppression(&self, tenant: TenantId, address: &str) -> Result<Option<Suppression>, StoreError> {
        let fields = [suppression_field(tenant, address)];
        let parts = self.get(0, SUPPRESSED.to_vec(), &fields).await?;
        let entry = parts.into_iter().next().flatten();
        entry.map(|entry| decode_entry(tenant, address, &entry)).transpose()
    }

    async fn put_suppression(&self, suppression: Suppression) -> Result<(), StoreError> {
        self.suppress_beyond(None, &lower_case(suppression)).await
    }

    async fn delete_suppression(&self, tenant: TenantId, address: &str) -> Result<bool, StoreError> {
        let mut arguments = Arguments::new();
        arguments.text(suppression_field(tenant, address));
        let mut was_there = false;
        for partition in self.partitions() {
            let answer = self.call(FORGIVE, partition, &arguments).await?;
            was_there |= answer.first().and_then(Option::as_deref) == Some(b"1");
        }
        Ok(was_there)
    }

    async fn put_notes(&self, notes: Vec<Note>) -> Result<(), StoreError> {
        self.write_notes(&notes).await
    }

    async fn notes(&self, kind: NoteKind, max: usize) -> Result<Vec<Note>, StoreError> {
        let readable = |note: Result<Note, Damaged>| {
            note.inspect_err(|damaged| tracing::error!("what was learnt cannot be read: {}", damaged.0))
                .ok()
        };
        let notes = self.read_notes(kind).await?.into_iter();
        Ok(notes.filter_map(readable).take(max).collect())
    }

    async fn charges(&self, max: usize) -> Result<Vec<(Lane, Spent)>, StoreError> {
        let mut charges = self.read_charges().await?;
        charges.truncate(max);
        Ok(charges)
    }

    async fn purge(&self, before: Timestamp, max: usize) -> Result<usize, StoreError> {
        let mut purged = 0;
        for partition in self.round() {
            if purged == max {
                break;
            }
            let mut arguments = Arguments::new();
            arguments.text(score(before)).text(max - purged);
            let gone = self.call(PURGE, partition, &arguments).await?;
            purged += gone.len();
            for id in gone.into_iter().flatten() {
                if let Ok(id) = Uuid::from_slice(&id) {
                    self.shared.cache.remove(MessageId(id));
                }
            }
        }
        Ok(purged)
    }
}

impl Redis {
    /// The newest version of a template; 0 when there is none.
    async fn newest_version(&self, id: TemplateId) -> Result<u32, StoreError> {
        let mut arguments = Arguments::new();
        arguments.bytes(versions_of(id));
        let parts = self.call_common(NEWEST, &arguments).await?;
        let newest = number(parts.first().and_then(Option::as_deref)).unwrap_or_default();
        Ok(u32::try_from(newest).unwrap_or_default())
    }
}

/// An event's place among all: the numbers of one partition are times in microseconds, so that those of all are nearly in order.
fn sequence(place: u64, partition: usize) -> u64 {
    place * 256 + u64::try_from(partition).unwrap_or_default()
}

fn hash_of(id: MessageId) -> Vec<u8> {
    [b"m:".as_slice(), id.0.as_bytes()].concat()
}

fn keys_of(tenant: TenantId) -> String {
    format!("keys:{tenant}")
}

fn domains_of(tenant: TenantId) -> String {
    format!("domains:{tenant}")
}

pub(super) fn aliases_of(tenant: TenantId) -> String {
    format!("aliases:{tenant}")
}

fn versions_of(id: TemplateId) -> Vec<u8> {
    [b"template:".as_slice(), id.0.as_bytes()].concat()
}

/// An alias: the template's id and its newest version in digits.
pub(super) fn decode_alias(bytes: &[u8]) -> Result<(TemplateId, u32), StoreError> {
    let read = || {
        let (id, newest) = bytes.split_first_chunk::<16>()?;
        let newest = u32::try_from(number(Some(newest))?).ok()?;
        Some((TemplateId(Uuid::from_bytes(*id)), newest))
    };
    read().ok_or_else(|| StoreError::Damaged("the alias of a template".to_owned()))
}

/// An entry of the suppression list, behind the stream for which it holds.
fn decode_entry(tenant: TenantId, address: &str, bytes: &[u8]) -> Result<Suppression, StoreError> {
    let record = bytes.get(1..).unwrap_or_default();
    decode_suppression(tenant, &address.to_lowercase(), record).map_err(damaged)
}
