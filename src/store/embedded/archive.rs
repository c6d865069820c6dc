//! The whole store moves out of its tables and into them.
//!
//! A cursor is the number of a part in the order of an export, and the key up to which that was read. What there is little
//! of (tenants, keys, domains, templates) is the first part, read as a whole and counted off.

use std::ops::Bound;

use async_trait::async_trait;
use redb::TableDefinition;

use super::super::records::{
    decode_delivery, decode_intent, decode_lane, decode_mark, decode_note, decode_response, decode_suppression,
    decode_template, encode_mark,
};
use super::fault::Fault;
use super::handle::Embedded;
use super::keys::{
    DeliveryKey, MessageKey, TemplateKey, deliveries_of, delivery_of, message_of, named_of, note_of, version_of,
};
use super::layout::{ABOUT, ABOUT_MARK, ANSWERS, DELIVERIES, INTENTS, LANES, MESSAGES, NOTES, SUPPRESSIONS, TEMPLATES};
use super::operations;
use super::reads::Snapshot;
use crate::domain::{MessageId, TemplateId, lane_note_key};
use crate::queue::IdempotencyKey;
use crate::store::archive::{
    Archive, Archived, ArchivedDelivery, ArchivedMessage, Cursor, Mark, PAGE_BYTES_MAX, Page, weight,
};
use crate::store::{Store, StoreError};

/// Parts of an export in their order.
/// Cursors hold their numbers: a new one comes last.
const PARTS: [Part; 6] = [
    Part::Head,
    Part::Suppressions,
    Part::Answers,
    Part::Messages,
    Part::Notes,
    Part::Charges,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Head,
    Suppressions,
    Answers,
    Messages,
    Notes,
    Charges,
}

/// Items with the keys up to which they read.
type Rows = Vec<(Vec<u8>, Archived)>;

impl Snapshot {
    fn templates_of_all(&self) -> Result<Vec<Archived>, Fault> {
        let mut all = Vec::new();
        for row in self.table(TEMPLATES)?.range::<&TemplateKey>(..)? {
            let (key, bytes) = row?;
            let mut id = [0; 16];
            id.copy_from_slice(&key.value()[..16]);
            let id = TemplateId(uuid::Uuid::from_bytes(id));
            let template = decode_template(id, version_of(key.value()), bytes.value())?;
            all.push(Archived::Template(template.into()));
        }
        Ok(all)
    }

    /// Rows of a table whose keys are a tenant and a name.
    fn named(
        &self,
        table: TableDefinition<'static, &'static [u8], &'static [u8]>,
        after: Option<&[u8]>,
        max: usize,
        item: impl Fn(crate::domain::TenantId, &str, &[u8]) -> Result<Archived, Fault>,
    ) -> Result<Rows, Fault> {
        let first = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rows = Rows::new();
        for row in self.table(table)?.range::<&[u8]>((first, Bound::Unbounded))?.take(max) {
            let (key, bytes) = row?;
            let named = named_of(key.value());
            let (tenant, name) = named.ok_or_else(|| Fault::Damaged("the key of a record".to_owned()))?;
            rows.push((key.value().to_vec(), item(tenant, name, bytes.value())?));
        }
        Ok(rows)
    }

    fn archived_charges(&self, after: Option<&[u8]>, max: usize) -> Result<Rows, Fault> {
        let charges = self.charges(usize::MAX)?.into_iter();
        let rows = charges.map(|(lane, spent)| (lane_note_key(&lane), Archived::Charged(lane, spent)));
        let mut rows: Rows = rows
            .filter(|(key, _)| after.is_none_or(|after| key.as_slice() > after))
            .collect();
        rows.sort_by(|(one, _), (other, _)| one.cmp(other));
        rows.truncate(max);
        Ok(rows)
    }

    fn archived_notes(&self, after: Option<&[u8]>, max: usize) -> Result<Rows, Fault> {
        let first = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rows = Rows::new();
        for row in self.table(NOTES)?.range::<&[u8]>((first, Bound::Unbounded))?.take(max) {
            let (key, bytes) = row?;
            let found = note_of(key.value()).ok_or_else(|| Fault::Damaged("the key of a note".to_owned()))?;
            let note = decode_note(found.0, found.1, bytes.value())?;
            rows.push((key.value().to_vec(), Archived::Note(note)));
        }
        Ok(rows)
    }

    fn archived_messages(&self, after: Option<&[u8]>, max: usize) -> Result<Rows, Fault> {
        let after: Option<MessageKey> = after.and_then(|key| key.try_into().ok());
        let first = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let (mut rows, mut bytes) = (Rows::new(), 0);
        for row in self
            .table(MESSAGES)?
            .range::<&MessageKey>((first, Bound::Unbounded))?
            .take(max)
        {
            if bytes >= PAGE_BYTES_MAX {
                break;
            }
            let id = message_of(row?.0.value());
            let item = Archived::Message(Box::new(self.archived_message(id)?));
            bytes += weight(&item);
            rows.push((id.0.as_bytes().to_vec(), item));
        }
        Ok(rows)
    }

    fn archived_message(&self, id: MessageId) -> Result<ArchivedMessage, Fault> {
        let message = self.message(id)?;
        let message = message.ok_or_else(|| Fault::Damaged(format!("message {id} is gone while it moves")))?;
        let (lanes, intents) = (self.table(LANES)?, self.table(INTENTS)?);
        let (first, last) = deliveries_of(id);
        let mut deliveries = Vec::new();
        for row in self.table(DELIVERIES)?.range::<&DeliveryKey>(&first..=&last)? {
            let (key, bytes) = row?;
            let id = delivery_of(key.value());
            let stored = decode_delivery(id, bytes.value())?;
            let parked = match stored.parked {
                Some(number) => lanes.get(number)?.map(|bytes| decode_lane(number, bytes.value())),
                None => None,
            };
            let open_intent = intents.get(key.value())?.map(|bytes| decode_intent(id, bytes.value()));
            deliveries.push(ArchivedDelivery {
                parked: parked.transpose()?,
                open_intent: open_intent.transpose()?.map(|(_, open)| open),
                delivery: stored.delivery,
            });
        }
        Ok(ArchivedMessage {
            body: self.body(id)?.map(Into::into),
            events: self.events(id, usize::MAX)?,
            message: message.into(),
            deliveries,
        })
    }
}

impl Embedded {
    /// All that there is little of.
    async fn head(&self) -> Result<Vec<Archived>, StoreError> {
        let tenants = self.tenants().await?;
        let mut keys = Vec::new();
        let mut domains = Vec::new();
        for tenant in &tenants {
            keys.extend(self.keys(tenant.id).await?);
            domains.extend(self.domains(tenant.id).await?);
        }
        keys.sort_by_key(|key| key.hash);
        let mut all: Vec<Archived> = tenants.into_iter().map(Archived::Tenant).collect();
        all.extend(keys.into_iter().map(Archived::Key));
        all.extend(domains.into_iter().map(Archived::Domain));
        all.extend(self.read(Snapshot::templates_of_all)?);
        Ok(all)
    }

    async fn rows(&self, part: Part, after: Option<&[u8]>, max: usize) -> Result<Rows, StoreError> {
        match part {
            Part::Head => {
                let after = after
                    .and_then(|key| <[u8; 8]>::try_from(key).ok())
                    .map(u64::from_be_bytes);
                let numbered = (1_u64..).zip(self.head().await?);
                let rest = numbered.skip_while(|(number, _)| after.is_some_and(|after| *number <= after));
                Ok(rest
                    .take(max)
                    .map(|(number, item)| (number.to_be_bytes().to_vec(), item))
                    .collect())
            }
            Part::Suppressions => self.read(|snapshot| {
                snapshot.named(SUPPRESSIONS, after, max, |tenant, address, bytes| {
                    Ok(Archived::Suppression(decode_suppression(tenant, address, bytes)?))
                })
            }),
            Part::Answers => self.read(|snapshot| {
                snapshot.named(ANSWERS, after, max, |tenant, key, bytes| {
                    let key = key.to_owned();
                    Ok(Archived::Answer(
                        IdempotencyKey { tenant, key },
                        decode_response(bytes)?,
                    ))
                })
            }),
            Part::Messages => self.read(|snapshot| snapshot.archived_messages(after, max)),
            Part::Charges => self.read(|snapshot| snapshot.archived_charges(after, max)),
            Part::Notes => self.read(|snapshot| snapshot.archived_notes(after, max)),
        }
    }
}

#[async_trait]
impl Archive for Embedded {
    async fn export(&self, after: Option<&Cursor>, max: usize) -> Result<Page, StoreError> {
        let (mut part, mut key) = match after.map(|cursor| cursor.0.as_slice()) {
            None => (0, None),
            Some([part, key @ ..]) => (usize::from(*part), (!key.is_empty()).then(|| key.to_vec())),
            Some([]) => return Err(StoreError::Damaged("a cursor".to_owned())),
        };
        while let Some(of) = PARTS.get(part) {
            let rows = self.rows(*of, key.as_deref(), max.max(1)).await?;
            if let Some((last, _)) = rows.last() {
                let number = u8::try_from(part).unwrap_or(u8::MAX);
                let next = Some(Cursor([&[number], last.as_slice()].concat()));
                let items = rows.into_iter().map(|(_, item)| item).collect();
                return Ok(Page { items, next });
            }
            (part, key) = (part + 1, None);
        }
        let items = Vec::new();
        Ok(Page { items, next: None })
    }

    async fn import(&self, items: Vec<Archived>, mark: &Mark) -> Result<(), StoreError> {
        let items: Vec<Archived> = items.into_iter().map(|item| self.sealed_item(item)).collect();
        let mark = encode_mark(mark);
        self.submit(move |turn| {
            for item in &items {
                operations::take_in(turn, item)?;
            }
            turn.dirty = true;
            turn.tables.about.insert(ABOUT_MARK, mark.as_slice())?;
            Ok(())
        })
        .await
    }

    async fn mark(&self) -> Result<Option<Mark>, StoreError> {
        self.read(|snapshot| {
            let bytes = snapshot.table(ABOUT)?.get(ABOUT_MARK)?;
            Ok(bytes.map(|bytes| decode_mark(bytes.value())).transpose()?)
        })
    }

    async fn set_mark(&self, mark: Option<&Mark>) -> Result<(), StoreError> {
        let bytes = mark.map(encode_mark);
        self.submit(move |turn| {
            turn.dirty = true;
            match &bytes {
                Some(bytes) => turn.tables.about.insert(ABOUT_MARK, bytes.as_slice())?,
                None => turn.tables.about.remove(ABOUT_MARK)?,
            };
            Ok(())
        })
        .await
    }
}
