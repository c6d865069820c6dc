//! The faults before the store seam.

use std::sync::Arc;

use async_trait::async_trait;

use super::queue::{Faulty, pass};
use crate::domain::{
    ApiKey, Body, Delivery, DeliveryId, Event, Lane, Message, MessageId, Note, NoteKind, SendingDomain, Stream,
    Suppression, Template, TemplateId, Tenant, TenantId, Timestamp,
};
use crate::queue::{IdempotencyKey, Spent, StoredResponse};
use crate::store::{Store, StoreError};

#[async_trait]
impl Store for Faulty {
    async fn message(&self, id: MessageId) -> Result<Option<Arc<Message>>, StoreError> {
        pass!(self.store.message(id) as Message)
    }

    async fn body(&self, id: MessageId) -> Result<Option<Arc<Body>>, StoreError> {
        pass!(self.store.body(id) as Body)
    }

    async fn deliveries(&self, id: MessageId) -> Result<Vec<Delivery>, StoreError> {
        pass!(self.store.deliveries(id) as Deliveries)
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>, StoreError> {
        pass!(self.store.delivery(id) as Delivery)
    }

    async fn events(&self, id: MessageId, max: usize) -> Result<Vec<Event>, StoreError> {
        pass!(self.store.events(id, max) as Events)
    }

    async fn idempotent(&self, key: &IdempotencyKey, now: Timestamp) -> Result<Option<StoredResponse>, StoreError> {
        pass!(self.store.idempotent(key, now) as Idempotent)
    }

    async fn tenants(&self) -> Result<Vec<Tenant>, StoreError> {
        pass!(self.store.tenants() as Tenants)
    }

    async fn put_tenant(&self, tenant: Tenant) -> Result<(), StoreError> {
        pass!(self.store.put_tenant(tenant) as PutTenant)
    }

    async fn key(&self, hash: [u8; 32]) -> Result<Option<ApiKey>, StoreError> {
        pass!(self.store.key(hash) as Key)
    }

    async fn keys(&self, tenant: TenantId) -> Result<Vec<ApiKey>, StoreError> {
        pass!(self.store.keys(tenant) as Keys)
    }

    async fn put_key(&self, key: ApiKey) -> Result<(), StoreError> {
        pass!(self.store.put_key(key) as PutKey)
    }

    async fn domain(&self, tenant: TenantId, name: &str) -> Result<Option<SendingDomain>, StoreError> {
        pass!(self.store.domain(tenant, name) as Domain)
    }

    async fn domains(&self, tenant: TenantId) -> Result<Vec<SendingDomain>, StoreError> {
        pass!(self.store.domains(tenant) as Domains)
    }

    async fn put_domain(&self, domain: SendingDomain) -> Result<(), StoreError> {
        pass!(self.store.put_domain(domain) as PutDomain)
    }

    async fn template(
        &self,
        tenant: TenantId,
        reference: &str,
        version: Option<u32>,
    ) -> Result<Option<Arc<Template>>, StoreError> {
        pass!(self.store.template(tenant, reference, version) as Template)
    }

    async fn template_version(&self, id: TemplateId, version: u32) -> Result<Option<Arc<Template>>, StoreError> {
        pass!(self.store.template_version(id, version) as TemplateVersion)
    }

    async fn templates(&self, tenant: TenantId, max: usize) -> Result<Vec<Arc<Template>>, StoreError> {
        pass!(self.store.templates(tenant, max) as Templates)
    }

    async fn put_template(&self, draft: Template) -> Result<Arc<Template>, StoreError> {
        pass!(self.store.put_template(draft) as PutTemplate)
    }

    async fn suppressed(
        &self,
        tenant: TenantId,
        stream: Stream,
        addresses: &[String],
    ) -> Result<Vec<bool>, StoreError> {
        pass!(self.store.suppressed(tenant, stream, addresses) as Suppressed)
    }

    async fn suppression(&self, tenant: TenantId, address: &str) -> Result<Option<Suppression>, StoreError> {
        pass!(self.store.suppression(tenant, address) as Suppression)
    }

    async fn put_suppression(&self, suppression: Suppression) -> Result<(), StoreError> {
        pass!(self.store.put_suppression(suppression) as PutSuppression)
    }

    async fn delete_suppression(&self, tenant: TenantId, address: &str) -> Result<bool, StoreError> {
        pass!(self.store.delete_suppression(tenant, address) as DeleteSuppression)
    }

    async fn put_notes(&self, notes: Vec<Note>) -> Result<(), StoreError> {
        pass!(self.store.put_notes(notes) as PutNotes)
    }

    async fn notes(&self, kind: NoteKind, max: usize) -> Result<Vec<Note>, StoreError> {
        pass!(self.store.notes(kind, max) as Notes)
    }

    async fn charges(&self, max: usize) -> Result<Vec<(Lane, Spent)>, StoreError> {
        pass!(self.store.charges(max) as Charges)
    }

    async fn purge(&self, before: Timestamp, max: usize) -> Result<usize, StoreError> {
        pass!(self.store.purge(before, max) as Purge)
    }
}
