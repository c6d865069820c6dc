//! The store seam: reads on the caller's thread, writes handed to the writer.

use std::sync::Arc;

use async_trait::async_trait;
use redb::ReadableTable;

use super::super::records::{decode_alias, encode_alias, encode_domain, encode_key, encode_template, encode_tenant};
use super::handle::Embedded;
use super::keys::{named_key, template_key};
use super::operations::{answer_key, purge};
use crate::domain::{
    ApiKey, Body, Delivery, DeliveryId, Event, Lane, Message, MessageId, Note, NoteKind, SendingDomain, Stream,
    Suppression, Template, TemplateId, Tenant, TenantId, Timestamp,
};
use crate::queue::{IdempotencyKey, Spent, StoredResponse};
use crate::store::archive::Archived;
use crate::store::{Store, StoreError};

#[async_trait]
impl Store for Embedded {
    async fn message(&self, id: MessageId) -> Result<Option<Arc<Message>>, StoreError> {
        if let Some(message) = self.shared.cache.message(id) {
            return Ok(Some(message));
        }
        Ok(self.read(|snapshot| snapshot.message(id))?.map(Arc::new))
    }

    async fn body(&self, id: MessageId) -> Result<Option<Arc<Body>>, StoreError> {
        if let Some(body) = self.shared.cache.body(id) {
            return Ok(Some(body));
        }
        Ok(self.read(|snapshot| snapshot.body(id))?.map(Arc::new))
    }

    async fn deliveries(&self, id: MessageId) -> Result<Vec<Delivery>, StoreError> {
        self.read(|snapshot| snapshot.deliveries(id))
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>, StoreError> {
        self.read(|snapshot| snapshot.delivery(id))
    }

    async fn events(&self, id: MessageId, max: usize) -> Result<Vec<Event>, StoreError> {
        self.read(|snapshot| snapshot.events(id, max))
    }

    async fn idempotent(&self, key: &IdempotencyKey, now: Timestamp) -> Result<Option<StoredResponse>, StoreError> {
        let answer = self.read(|snapshot| snapshot.answer(&answer_key(key)))?;
        Ok(answer.filter(|answer| answer.expires_at > now))
    }

    async fn tenants(&self) -> Result<Vec<Tenant>, StoreError> {
        self.read(|snapshot| snapshot.tenants())
    }

    async fn put_tenant(&self, tenant: Tenant) -> Result<(), StoreError> {
        let bytes = encode_tenant(&tenant);
        self.submit(move |turn| {
            turn.dirty = true;
            turn.tables.tenants.insert(tenant.id.0, bytes.as_slice())?;
            Ok(())
        })
        .await
    }

    async fn key(&self, hash: [u8; 32]) -> Result<Option<ApiKey>, StoreError> {
        self.read(|snapshot| snapshot.key(hash))
    }

    async fn keys(&self, tenant: TenantId) -> Result<Vec<ApiKey>, StoreError> {
        self.read(|snapshot| snapshot.keys(tenant))
    }

    async fn put_key(&self, key: ApiKey) -> Result<(), StoreError> {
        let bytes = encode_key(&key);
        self.submit(move |turn| {
            turn.dirty = true;
            turn.tables.keys.insert(&key.hash, bytes.as_slice())?;
            Ok(())
        })
        .await
    }

    async fn domain(&self, tenant: TenantId, name: &str) -> Result<Option<SendingDomain>, StoreError> {
        let domain = self.read(|snapshot| snapshot.domain(tenant, name))?;
        domain.map(|domain| self.unsealed(domain)).transpose()
    }

    async fn domains(&self, tenant: TenantId) -> Result<Vec<SendingDomain>, StoreError> {
        let domains = self.read(|snapshot| snapshot.domains(tenant))?;
        domains.into_iter().map(|domain| self.unsealed(domain)).collect()
    }

    async fn put_domain(&self, domain: SendingDomain) -> Result<(), StoreError> {
        let domain = self.sealed(domain);
        let (tenant, name) = (domain.tenant, domain.name.clone());
        let (key, bytes) = (named_key(tenant, &name), encode_domain(&domain));
        self.submit(move |turn| {
            turn.dirty = true;
            turn.tables.domains.insert(key.as_slice(), bytes.as_slice())?;
            Ok(())
        })
        .await
    }

    async fn template(
        &self,
        tenant: TenantId,
        reference: &str,
        version: Option<u32>,
    ) -> Result<Option<Arc<Template>>, StoreError> {
        let template = self.read(|snapshot| snapshot.template(tenant, reference, version))?;
        Ok(template.map(Arc::new))
    }

    async fn template_version(&self, id: TemplateId, version: u32) -> Result<Option<Arc<Template>>, StoreError> {
        let template = self.read(|snapshot| snapshot.template_version(id, version))?;
        Ok(template.map(Arc::new))
    }

    async fn templates(&self, tenant: TenantId, max: usize) -> Result<Vec<Arc<Template>>, StoreError> {
        let templates = self.read(|snapshot| snapshot.templates(tenant, max))?;
        Ok(templates.into_iter().map(Arc::new).collect())
    }

    async fn put_template(&self, mut draft: Template) -> Result<Arc<Template>, StoreError> {
        self.submit(move |turn| {
            let alias = named_key(draft.tenant, &draft.alias);
            let held = turn.tables.aliases.get(alias.as_slice())?;
            let held = held.map(|bytes| decode_alias(bytes.value())).transpose()?;
            let (id, newest) = held.unwrap_or((draft.id, 0));
            draft.id = id;
            draft.version = newest + 1;
            turn.dirty = true;
            let key = template_key(id.0, draft.version);
            turn.tables.templates.insert(&key, encode_template(&draft).as_slice())?;
            turn.tables
                .aliases
                .insert(alias.as_slice(), encode_alias(id, draft.version).as_slice())?;
            Ok(Arc::new(draft))
        })
        .await
    }

    async fn suppressed(
        &self,
        tenant: TenantId,
        stream: Stream,
        addresses: &[String],
    ) -> Result<Vec<bool>, StoreError> {
        self.read(|snapshot| snapshot.suppressed(tenant, stream, addresses))
    }

    async fn suppression(&self, tenant: TenantId, address: &str) -> Result<Option<Suppression>, StoreError> {
        self.read(|snapshot| snapshot.suppression(tenant, address))
    }

    async fn put_suppression(&self, suppression: Suppression) -> Result<(), StoreError> {
        self.submit(move |turn| turn.put_suppression(suppression)).await
    }

    async fn delete_suppression(&self, tenant: TenantId, address: &str) -> Result<bool, StoreError> {
        let key = named_key(tenant, &address.to_lowercase());
        self.submit(move |turn| {
            let was_there = turn.tables.suppressions.remove(key.as_slice())?.is_some();
            turn.dirty |= was_there;
            Ok(was_there)
        })
        .await
    }

    async fn put_notes(&self, notes: Vec<Note>) -> Result<(), StoreError> {
        self.submit(move |turn| notes.iter().try_for_each(|note| turn.put_note(note)))
            .await
    }

    async fn notes(&self, kind: NoteKind, max: usize) -> Result<Vec<Note>, StoreError> {
        self.read(|snapshot| snapshot.notes(kind, max))
    }

    async fn charges(&self, max: usize) -> Result<Vec<(Lane, Spent)>, StoreError> {
        self.read(|snapshot| snapshot.charges(max))
    }

    async fn purge(&self, before: Timestamp, max: usize) -> Result<usize, StoreError> {
        let purged = self.submit(move |turn| purge(turn, before, max)).await?;
        purged.iter().for_each(|id| self.shared.cache.remove(*id));
        Ok(purged.len())
    }
}

impl Embedded {
    /// A domain with its private keys opened.
    /// An item of an archive as it is stored: its private keys sealed.
    pub(super) fn sealed_item(&self, item: Archived) -> Archived {
        match item {
            Archived::Domain(domain) => Archived::Domain(self.sealed(domain)),
            other => other,
        }
    }

    fn sealed(&self, mut domain: SendingDomain) -> SendingDomain {
        for key in &mut domain.dkim {
            let name = seal_name(domain.tenant, &domain.name, &key.selector);
            key.private_der = self.shared.seal.seal(&name, &key.private_der);
        }
        domain
    }

    fn unsealed(&self, mut domain: SendingDomain) -> Result<SendingDomain, StoreError> {
        for key in &mut domain.dkim {
            let name = seal_name(domain.tenant, &domain.name, &key.selector);
            let opened = self.shared.seal.open(&name, &key.private_der);
            key.private_der = opened.map_err(|error| StoreError::Damaged(format!("DKIM key {name}: {error}")))?;
        }
        Ok(domain)
    }
}

/// The name under which a DKIM key is sealed: it belongs to this tenant, domain and selector and opens nowhere else.
fn seal_name(tenant: TenantId, domain: &str, selector: &str) -> String {
    format!("dkim/{tenant}/{domain}/{selector}")
}
