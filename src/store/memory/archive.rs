//! The whole store moves out of memory and into it.

use async_trait::async_trait;

use super::ledger::{Entry, Ledger};
use super::line::Place;
use super::queue::Memory;
use crate::domain::{MessageId, NoteKind};
use crate::queue::IdempotencyKey;
use crate::store::StoreError;
use crate::store::archive::{
    Archive, Archived, ArchivedDelivery, ArchivedMessage, Cursor, Mark, PAGE_BYTES_MAX, Page, weight,
};

impl Ledger {
    /// Everything, in the order of an export. A reference may take its time.
    fn archived(&self) -> Vec<Archived> {
        let records = &self.records;
        let mut all: Vec<Archived> = records.tenants.values().cloned().map(Archived::Tenant).collect();
        all.extend(records.keys.values().cloned().map(Archived::Key));
        all.extend(records.domains.values().cloned().map(Archived::Domain));
        all.extend(records.all_templates().map(Archived::Template));
        all.extend(records.all_suppressions().map(Archived::Suppression));
        all.extend(self.answers.iter().map(|((tenant, key), answer)| {
            let key = IdempotencyKey {
                tenant: *tenant,
                key: key.clone(),
            };
            Archived::Answer(key, answer.clone())
        }));
        all.extend(
            NoteKind::ALL
                .into_iter()
                .flat_map(|kind| records.notes(kind))
                .map(Archived::Note),
        );
        let charges = self.charges.iter();
        all.extend(charges.map(|(lane, spent)| Archived::Charged(lane.clone(), *spent)));
        let messages = self.messages.iter();
        all.extend(messages.map(|(id, entry)| Archived::Message(Box::new(self.archived_message(*id, entry)))));
        all
    }

    fn archived_message(&self, id: MessageId, entry: &Entry) -> ArchivedMessage {
        let deliveries = self.deliveries(id).into_iter();
        ArchivedMessage {
            message: entry.message.clone(),
            body: entry.body.clone(),
            deliveries: deliveries
                .map(|delivery| ArchivedDelivery {
                    parked: match self.line.place(delivery.id) {
                        Some(Place::Parked(lane)) => Some(lane),
                        _ => None,
                    },
                    open_intent: self.intents.get(&delivery.id).cloned(),
                    delivery,
                })
                .collect(),
            events: entry.events.clone(),
        }
    }

    fn take_in(&mut self, item: Archived) {
        match item {
            Archived::Tenant(tenant) => drop(self.records.tenants.insert(tenant.id, tenant)),
            Archived::Key(key) => drop(self.records.keys.insert(key.hash, key)),
            Archived::Domain(domain) => {
                let key = (domain.tenant, domain.name.clone());
                self.records.domains.insert(key, domain);
            }
            Archived::Template(template) => self.records.restore_template(template),
            Archived::Suppression(entry) => self.records.put_suppression(entry),
            Archived::Answer(key, answer) => drop(self.answers.insert((key.tenant, key.key), answer)),
            Archived::Note(note) => self.records.put_note(note),
            Archived::Charged(lane, spent) => drop(self.charges.insert(lane, spent)),
            Archived::Message(archived) => self.take_in_message(*archived),
        }
    }

    fn take_in_message(&mut self, archived: ArchivedMessage) {
        let id = archived.message.id;
        if self.messages.contains_key(&id) {
            return;
        }
        self.counts.messages += 1;
        let last = archived.events.iter().map(|event| event.sequence).max();
        self.last_sequence = self.last_sequence.max(last.unwrap_or(0));
        let entry = Entry {
            message: archived.message,
            body: archived.body,
            unsettled: 0,
            events: archived.events,
        };
        self.messages.insert(id, entry);
        for one in archived.deliveries {
            let (id, is_final) = (one.delivery.id, one.delivery.state.is_final());
            self.admit(one.delivery);
            if let Some(lane) = one.parked.filter(|_| !is_final) {
                self.line.give_back(id, Place::Parked(lane));
            }
            if let Some(open) = one.open_intent {
                self.intents.insert(id, open);
            }
        }
    }
}

#[async_trait]
impl Archive for Memory {
    async fn export(&self, after: Option<&Cursor>, max: usize) -> Result<Page, StoreError> {
        let number = |cursor: &Cursor| {
            let bytes = <[u8; 8]>::try_from(cursor.0.as_slice());
            bytes
                .map(u64::from_be_bytes)
                .ok()
                .and_then(|number| usize::try_from(number).ok())
        };
        let first = match after {
            None => 0,
            Some(cursor) => number(cursor).ok_or_else(|| StoreError::Damaged("a cursor".to_owned()))?,
        };
        let all = self.ledger().archived();
        let (mut items, mut bytes) = (Vec::new(), 0);
        for item in all.iter().skip(first) {
            if items.len() >= max || bytes >= PAGE_BYTES_MAX {
                break;
            }
            bytes += weight(item);
            items.push(item.clone());
        }
        let reached = first + items.len();
        let next = (reached < all.len()).then(|| Cursor((reached as u64).to_be_bytes().to_vec()));
        Ok(Page { items, next })
    }

    async fn import(&self, items: Vec<Archived>, mark: &Mark) -> Result<(), StoreError> {
        let mut ledger = self.ledger();
        items.into_iter().for_each(|item| ledger.take_in(item));
        ledger.mark = Some(mark.clone());
        Ok(())
    }

    async fn mark(&self) -> Result<Option<Mark>, StoreError> {
        Ok(self.ledger().mark.clone())
    }

    async fn set_mark(&self, mark: Option<&Mark>) -> Result<(), StoreError> {
        self.ledger().mark = mark.cloned();
        Ok(())
    }
}
