//! The ledger and its records behind the store seam.

use std::sync::Arc;

use async_trait::async_trait;

use super::queue::Memory;
use crate::domain::{
    ApiKey, Body, Delivery, DeliveryId, Event, Lane, Message, MessageId, Note, NoteKind, SendingDomain, Stream,
    Suppression, Template, TemplateId, Tenant, TenantId, Timestamp,
};
use crate::queue::{IdempotencyKey, Spent, StoredResponse};
use crate::store::{Store, StoreError};

#[async_trait]
impl Store for Memory {
    async fn message(&self, id: MessageId) -> Result<Option<Arc<Message>>, StoreError> {
        Ok(self.ledger().message(id))
    }

    async fn body(&self, id: MessageId) -> Result<Option<Arc<Body>>, StoreError> {
        Ok(self.ledger().body(id))
    }

    async fn deliveries(&self, id: MessageId) -> Result<Vec<Delivery>, StoreError> {
        Ok(self.ledger().deliveries(id))
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>, StoreError> {
        Ok(self.ledger().delivery(id))
    }

    async fn events(&self, id: MessageId, max: usize) -> Result<Vec<Event>, StoreError> {
        Ok(self.ledger().events(id, max))
    }

    async fn idempotent(&self, key: &IdempotencyKey, now: Timestamp) -> Result<Option<StoredResponse>, StoreError> {
        Ok(self.ledger().answer(key, now))
    }

    async fn tenants(&self) -> Result<Vec<Tenant>, StoreError> {
        Ok(self.ledger().records.tenants.values().cloned().collect())
    }

    async fn put_tenant(&self, tenant: Tenant) -> Result<(), StoreError> {
        self.ledger().records.tenants.insert(tenant.id, tenant);
        Ok(())
    }

    async fn key(&self, hash: [u8; 32]) -> Result<Option<ApiKey>, StoreError> {
        Ok(self.ledger().records.keys.get(&hash).cloned())
    }

    async fn keys(&self, tenant: TenantId) -> Result<Vec<ApiKey>, StoreError> {
        let ledger = self.ledger();
        let own = ledger.records.keys.values().filter(|key| key.tenant == tenant);
        Ok(own.cloned().collect())
    }

    async fn put_key(&self, key: ApiKey) -> Result<(), StoreError> {
        self.ledger().records.keys.insert(key.hash, key);
        Ok(())
    }

    async fn domain(&self, tenant: TenantId, name: &str) -> Result<Option<SendingDomain>, StoreError> {
        Ok(self.ledger().records.domains.get(&(tenant, name.to_owned())).cloned())
    }

    async fn domains(&self, tenant: TenantId) -> Result<Vec<SendingDomain>, StoreError> {
        let ledger = self.ledger();
        let own = ledger.records.domains.values().filter(|domain| domain.tenant == tenant);
        Ok(own.cloned().collect())
    }

    async fn put_domain(&self, domain: SendingDomain) -> Result<(), StoreError> {
        let key = (domain.tenant, domain.name.clone());
        self.ledger().records.domains.insert(key, domain);
        Ok(())
    }

    async fn template(
        &self,
        tenant: TenantId,
        reference: &str,
        version: Option<u32>,
    ) -> Result<Option<Arc<Template>>, StoreError> {
        Ok(self.ledger().records.template(tenant, reference, version))
    }

    async fn template_version(&self, id: TemplateId, version: u32) -> Result<Option<Arc<Template>>, StoreError> {
        Ok(self.ledger().records.template_version(id, version))
    }

    async fn templates(&self, tenant: TenantId, max: usize) -> Result<Vec<Arc<Template>>, StoreError> {
        Ok(self.ledger().records.newest_templates(tenant, max))
    }

    async fn put_template(&self, draft: Template) -> Result<Arc<Template>, StoreError> {
        Ok(self.ledger().records.put_template(draft))
    }

    async fn suppressed(
        &self,
        tenant: TenantId,
        stream: Stream,
        addresses: &[String],
    ) -> Result<Vec<bool>, StoreError> {
        let ledger = self.ledger();
        let flags = addresses
            .iter()
            .map(|address| ledger.records.is_suppressed(tenant, stream, address));
        Ok(flags.collect())
    }

    async fn suppression(&self, tenant: TenantId, address: &str) -> Result<Option<Suppression>, StoreError> {
        Ok(self.ledger().records.suppression(tenant, address).cloned())
    }

    async fn put_suppression(&self, suppression: Suppression) -> Result<(), StoreError> {
        self.ledger().records.put_suppression(suppression);
        Ok(())
    }

    async fn delete_suppression(&self, tenant: TenantId, address: &str) -> Result<bool, StoreError> {
        Ok(self.ledger().records.delete_suppression(tenant, address))
    }

    async fn put_notes(&self, notes: Vec<Note>) -> Result<(), StoreError> {
        let mut ledger = self.ledger();
        notes.into_iter().for_each(|note| ledger.records.put_note(note));
        Ok(())
    }

    async fn notes(&self, kind: NoteKind, max: usize) -> Result<Vec<Note>, StoreError> {
        Ok(self.ledger().records.notes(kind).take(max).collect())
    }

    async fn charges(&self, max: usize) -> Result<Vec<(Lane, Spent)>, StoreError> {
        let ledger = self.ledger();
        let charges = ledger.charges.iter().take(max);
        Ok(charges.map(|(lane, spent)| (lane.clone(), *spent)).collect())
    }

    async fn purge(&self, before: Timestamp, max: usize) -> Result<usize, StoreError> {
        Ok(self.ledger().purge(before, max))
    }
}
