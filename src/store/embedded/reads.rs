//! Reading: snapshots of what is committed, on the caller's own thread. The writer is not asked and not delayed.

use std::panic::{AssertUnwindSafe, catch_unwind};

use redb::{Key, ReadOnlyTable, ReadTransaction, TableDefinition, TableError, Value};

use super::super::records::{
    decode_alias, decode_body, decode_delivery, decode_domain, decode_event, decode_key, decode_message, decode_note,
    decode_response, decode_spent, decode_suppression, decode_template, decode_tenant,
};
use super::fault::Fault;
use super::handle::Embedded;
use super::keys::{
    DeliveryKey, EventKey, TemplateKey, deliveries_of, delivery_key, delivery_of, events_of, message_key, name_of,
    named_key, note_key, note_of, sequence_of, template_key, version_of,
};
use super::layout::{
    ALIASES, ANSWERS, BODIES, CHARGES, DELIVERIES, DOMAINS, EVENTS, KEYS, MESSAGES, NOTES, SUPPRESSIONS, TEMPLATES,
    TENANTS,
};
use crate::domain::{
    ApiKey, Body, Delivery, DeliveryId, Event, Lane, Message, MessageId, Note, NoteKind, SendingDomain, Stream,
    Suppression, Template, TemplateId, Tenant, TenantId, lane_of_note_key,
};
use crate::queue::{QueueError, Spent, StoredResponse};

/// One snapshot.
pub(super) struct Snapshot(ReadTransaction);

impl Embedded {
    /// A snapshot of what is committed, given to `read`.
    pub(super) fn read<T>(&self, read: impl FnOnce(&Snapshot) -> Result<T, Fault>) -> Result<T, QueueError> {
        let snapshot = Snapshot(self.shared.access.begin_read()?);
        // A page that is damaged may make redb panic: the caller's task is not to end by it.
        let read = catch_unwind(AssertUnwindSafe(|| read(&snapshot)))
            .unwrap_or_else(|_| Err(Fault::Damaged("reading it panicked".to_owned())));
        read.map_err(|fault| match fault {
            Fault::Damaged(what) => {
                tracing::error!("a stored record cannot be read: {what}");
                QueueError::Damaged(what)
            }
            Fault::Storage(error) => QueueError::Unavailable(error.to_string()),
        })
    }
}

impl Snapshot {
    pub(super) fn table<K: Key + 'static, V: Value + 'static>(
        &self,
        definition: TableDefinition<'_, K, V>,
    ) -> Result<ReadOnlyTable<K, V>, TableError> {
        self.0.open_table(definition)
    }

    pub(super) fn message(&self, id: MessageId) -> Result<Option<Message>, Fault> {
        let bytes = self.table(MESSAGES)?.get(&message_key(id))?;
        Ok(bytes.map(|bytes| decode_message(id, bytes.value())).transpose()?)
    }

    pub(super) fn body(&self, id: MessageId) -> Result<Option<Body>, Fault> {
        let bytes = self.table(BODIES)?.get(&message_key(id))?;
        Ok(bytes.map(|bytes| decode_body(id, bytes.value())).transpose()?)
    }

    pub(super) fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>, Fault> {
        let bytes = self.table(DELIVERIES)?.get(&delivery_key(id))?;
        let stored = bytes.map(|bytes| decode_delivery(id, bytes.value())).transpose()?;
        Ok(stored.map(|stored| stored.delivery))
    }

    pub(super) fn deliveries(&self, id: MessageId) -> Result<Vec<Delivery>, Fault> {
        let (first, last) = deliveries_of(id);
        let mut deliveries = Vec::new();
        for row in self.table(DELIVERIES)?.range::<&DeliveryKey>(&first..=&last)? {
            let (key, bytes) = row?;
            deliveries.push(decode_delivery(delivery_of(key.value()), bytes.value())?.delivery);
        }
        Ok(deliveries)
    }

    pub(super) fn events(&self, id: MessageId, max: usize) -> Result<Vec<Event>, Fault> {
        let (first, last) = events_of(id);
        let mut events = Vec::new();
        for row in self.table(EVENTS)?.range::<&EventKey>(&first..=&last)?.take(max) {
            let (key, bytes) = row?;
            events.push(decode_event(id, sequence_of(key.value()), bytes.value())?);
        }
        Ok(events)
    }

    pub(super) fn answer(&self, key: &[u8]) -> Result<Option<StoredResponse>, Fault> {
        let bytes = self.table(ANSWERS)?.get(key)?;
        Ok(bytes.map(|bytes| decode_response(bytes.value())).transpose()?)
    }

    pub(super) fn tenants(&self) -> Result<Vec<Tenant>, Fault> {
        let mut tenants = Vec::new();
        for row in self.table(TENANTS)?.range::<u32>(..)? {
            let (key, bytes) = row?;
            tenants.push(decode_tenant(TenantId(key.value()), bytes.value())?);
        }
        Ok(tenants)
    }

    pub(super) fn key(&self, hash: [u8; 32]) -> Result<Option<ApiKey>, Fault> {
        let bytes = self.table(KEYS)?.get(&hash)?;
        Ok(bytes.map(|bytes| decode_key(hash, bytes.value())).transpose()?)
    }

    /// Goes through the keys of all tenants: there are few, and few ask.
    pub(super) fn keys(&self, tenant: TenantId) -> Result<Vec<ApiKey>, Fault> {
        let mut keys = Vec::new();
        for row in self.table(KEYS)?.range::<&[u8; 32]>(..)? {
            let (hash, bytes) = row?;
            keys.push(decode_key(*hash.value(), bytes.value())?);
        }
        keys.retain(|key| key.tenant == tenant);
        Ok(keys)
    }

    /// A domain, its private keys still sealed.
    pub(super) fn domain(&self, tenant: TenantId, name: &str) -> Result<Option<SendingDomain>, Fault> {
        let key = named_key(tenant, name);
        let bytes = self.table(DOMAINS)?.get(key.as_slice())?;
        Ok(bytes
            .map(|bytes| decode_domain(tenant, name, bytes.value()))
            .transpose()?)
    }

    /// All domains of a tenant, their private keys still sealed.
    pub(super) fn domains(&self, tenant: TenantId) -> Result<Vec<SendingDomain>, Fault> {
        let first = named_key(tenant, "");
        let mut domains = Vec::new();
        for row in self.table(DOMAINS)?.range(first.as_slice()..)? {
            let (key, bytes) = row?;
            let Some(name) = name_of(tenant, key.value()) else {
                break;
            };
            domains.push(decode_domain(tenant, name, bytes.value())?);
        }
        Ok(domains)
    }

    pub(super) fn template_version(&self, id: TemplateId, version: u32) -> Result<Option<Template>, Fault> {
        let bytes = self.table(TEMPLATES)?.get(&template_key(id.0, version))?;
        Ok(bytes
            .map(|bytes| decode_template(id, version, bytes.value()))
            .transpose()?)
    }

    /// By alias or, if there is no such alias, by id.
    pub(super) fn template(
        &self,
        tenant: TenantId,
        reference: &str,
        version: Option<u32>,
    ) -> Result<Option<Template>, Fault> {
        let alias = self.table(ALIASES)?.get(named_key(tenant, reference).as_slice())?;
        let (id, newest) = match alias {
            Some(bytes) => decode_alias(bytes.value())?,
            None => match reference.parse::<TemplateId>() {
                Ok(id) => (id, self.newest_version(id)?),
                Err(_) => return Ok(None),
            },
        };
        let template = self.template_version(id, version.unwrap_or(newest))?;
        Ok(template.filter(|template| template.tenant == tenant))
    }

    /// The newest version of a template; 0 when there is none.
    fn newest_version(&self, id: TemplateId) -> Result<u32, Fault> {
        let (first, last) = (template_key(id.0, 0), template_key(id.0, u32::MAX));
        match self
            .table(TEMPLATES)?
            .range::<&TemplateKey>(&first..=&last)?
            .next_back()
        {
            Some(row) => Ok(version_of(row?.0.value())),
            None => Ok(0),
        }
    }

    pub(super) fn templates(&self, tenant: TenantId, max: usize) -> Result<Vec<Template>, Fault> {
        let first = named_key(tenant, "");
        let mut templates = Vec::new();
        for row in self.table(ALIASES)?.range(first.as_slice()..)?.take(max) {
            let (key, bytes) = row?;
            if name_of(tenant, key.value()).is_none() {
                break;
            }
            let (id, newest) = decode_alias(bytes.value())?;
            templates.extend(self.template_version(id, newest)?);
        }
        Ok(templates)
    }

    /// What INTENTs were charged, of up to `max` lanes.
    pub(super) fn charges(&self, max: usize) -> Result<Vec<(Lane, Spent)>, Fault> {
        let mut charges = Vec::new();
        for row in self.table(CHARGES)?.range::<&[u8]>(..)? {
            let (key, bytes) = row?;
            let lane = lane_of_note_key(key.value());
            let lane = lane.ok_or_else(|| Fault::Damaged("the key of a warm-up counter".to_owned()))?;
            let spent = decode_spent(&lane, bytes.value())?;
            charges.push((lane, spent));
        }
        charges.sort();
        charges.truncate(max);
        Ok(charges)
    }

    /// Up to `max` notes of a kind that can be read.
    pub(super) fn notes(&self, kind: NoteKind, max: usize) -> Result<Vec<Note>, Fault> {
        let first = note_key(kind, &[]);
        let mut notes = Vec::new();
        for row in self.table(NOTES)?.range::<&[u8]>(first.as_slice()..)? {
            let (key, bytes) = row?;
            let Some((_, key)) = note_of(key.value()).filter(|(of, _)| *of == kind) else {
                break;
            };
            if notes.len() >= max {
                break;
            }
            match decode_note(kind, key, bytes.value()) {
                Ok(note) => notes.push(note),
                Err(damaged) => tracing::error!("what was learnt cannot be read: {}", damaged.0),
            }
        }
        Ok(notes)
    }

    pub(super) fn suppression(&self, tenant: TenantId, address: &str) -> Result<Option<Suppression>, Fault> {
        let address = address.to_lowercase();
        let bytes = self.table(SUPPRESSIONS)?.get(named_key(tenant, &address).as_slice())?;
        Ok(bytes
            .map(|bytes| decode_suppression(tenant, &address, bytes.value()))
            .transpose()?)
    }

    /// Which of `addresses` are on the list for this stream, by position.
    pub(super) fn suppressed(
        &self,
        tenant: TenantId,
        stream: Stream,
        addresses: &[String],
    ) -> Result<Vec<bool>, Fault> {
        let table = self.table(SUPPRESSIONS)?;
        let mut flags = Vec::with_capacity(addresses.len());
        for address in addresses {
            let address = address.to_lowercase();
            let entry = match table.get(named_key(tenant, &address).as_slice())? {
                Some(bytes) => Some(decode_suppression(tenant, &address, bytes.value())?),
                None => None,
            };
            flags.push(entry.is_some_and(|entry| entry.stream.is_none_or(|held| held == stream)));
        }
        Ok(flags)
    }
}
