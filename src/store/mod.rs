//! The seam that keeps records: everything that is not waiting work.
//!
//! Tenants, keys, domains, templates, suppressions, and the reading side of messages, deliveries and events (they are
//! written through `queue::Queue`, in the same durable steps as the work). What every implementation promises is in
//! `tests/it/contract/`.

pub mod archive;
mod claims;
mod embedded;
pub mod faulty;
mod memory;
mod message_cache;
mod note_values;
mod outcome;
mod records;
mod redis;
mod seal;

pub use embedded::{
    COMMIT_BUCKETS_MICROS, Embedded, EmbeddedSettings, OnCommit, OnFatal, OpenError, ReserveSpace, WriterStats,
};
pub use memory::Memory;
pub use note_values::{decode_note_value, encode_note_value};
pub use redis::guard::{GuardError, GuardSettings, Guarded, Watch, open as open_redis};
pub use redis::{Entries, Entry, EntryAnswer, EntryContent, EntryLimits, TakenEntries};
pub use redis::{Redis, RedisOpenError, RedisSettings};
pub use seal::{Seal, SealError};

pub mod dkim_keys;

use std::sync::Arc;

use async_trait::async_trait;

use crate::domain::{
    ApiKey, Body, Delivery, DeliveryId, Event, Lane, Message, MessageId, Note, NoteKind, SendingDomain, Suppression,
    Template, TemplateId, Tenant, TenantId, Timestamp,
};
use crate::queue::{IdempotencyKey, QueueError, Spent, StoredResponse};

/// The same errors as the queue's: both are one backend.
pub type StoreError = QueueError;

/// Durable records. Writes answer after they are durable; `None` means "there is none", never "I could not look".
#[async_trait]
pub trait Store: Send + Sync + std::fmt::Debug {
    /// A Message.
    async fn message(&self, id: MessageId) -> Result<Option<Arc<Message>>, StoreError>;
    /// The content of a Message; none once all its deliveries are settled.
    async fn body(&self, id: MessageId) -> Result<Option<Arc<Body>>, StoreError>;
    /// The deliveries of a Message, in the order of its recipients.
    async fn deliveries(&self, id: MessageId) -> Result<Vec<Delivery>, StoreError>;
    /// One Delivery.
    async fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>, StoreError>;
    /// The events of a Message, oldest first, at most `max`.
    async fn events(&self, id: MessageId, max: usize) -> Result<Vec<Event>, StoreError>;
    /// The answer of an earlier call with this key.
    async fn idempotent(&self, key: &IdempotencyKey, now: Timestamp) -> Result<Option<StoredResponse>, StoreError>;

    /// All tenants.
    async fn tenants(&self) -> Result<Vec<Tenant>, StoreError>;
    /// Creates or replaces a tenant.
    async fn put_tenant(&self, tenant: Tenant) -> Result<(), StoreError>;
    /// A key by its hash, revoked or not.
    async fn key(&self, hash: [u8; 32]) -> Result<Option<ApiKey>, StoreError>;
    /// All keys of a tenant.
    async fn keys(&self, tenant: TenantId) -> Result<Vec<ApiKey>, StoreError>;
    /// Creates or replaces a key.
    async fn put_key(&self, key: ApiKey) -> Result<(), StoreError>;

    /// A domain of a tenant.
    async fn domain(&self, tenant: TenantId, name: &str) -> Result<Option<SendingDomain>, StoreError>;
    /// All domains of a tenant.
    async fn domains(&self, tenant: TenantId) -> Result<Vec<SendingDomain>, StoreError>;
    /// Creates or replaces a domain.
    async fn put_domain(&self, domain: SendingDomain) -> Result<(), StoreError>;

    /// A template by alias or id, in a certain version or the newest.
    async fn template(
        &self,
        tenant: TenantId,
        reference: &str,
        version: Option<u32>,
    ) -> Result<Option<Arc<Template>>, StoreError>;
    /// One version of a template.
    async fn template_version(&self, id: TemplateId, version: u32) -> Result<Option<Arc<Template>>, StoreError>;
    /// The newest versions of a tenant's templates, by alias, at most `max`.
    async fn templates(&self, tenant: TenantId, max: usize) -> Result<Vec<Arc<Template>>, StoreError>;
    /// Stores a new version under `alias` and gives it back with its id and number.
    async fn put_template(&self, draft: Template) -> Result<Arc<Template>, StoreError>;

    /// Which of `addresses` are suppressed for the tenant in this stream, by position.
    async fn suppressed(
        &self,
        tenant: TenantId,
        stream: crate::domain::Stream,
        addresses: &[String],
    ) -> Result<Vec<bool>, StoreError>;
    /// One entry of the suppression list.
    async fn suppression(&self, tenant: TenantId, address: &str) -> Result<Option<Suppression>, StoreError>;
    /// Puts an address on the list.
    async fn put_suppression(&self, suppression: Suppression) -> Result<(), StoreError>;
    /// Takes an address off the list; `false` when it was not on it.
    async fn delete_suppression(&self, tenant: TenantId, address: &str) -> Result<bool, StoreError>;

    /// Writes what was learnt, all of it in one step; the last note under a key wins. One that is a removal takes the note
    /// under its key away. At most [`crate::domain::NOTES_PER_CALL_MAX`] of them.
    async fn put_notes(&self, notes: Vec<Note>) -> Result<(), StoreError>;
    /// What was learnt of this kind, by key, at most `max`. One whose bytes are damaged is passed over, with an error in the
    /// log: what it said can be learnt again.
    async fn notes(&self, kind: NoteKind, max: usize) -> Result<Vec<Note>, StoreError>;

    /// What INTENTs were charged, by lane: each lane's last day. At most `max`.
    async fn charges(&self, max: usize) -> Result<Vec<(Lane, Spent)>, StoreError>;

    /// Deletes messages accepted before `before` whose deliveries are all final, at most `max`; gives their number.
    async fn purge(&self, before: Timestamp, max: usize) -> Result<usize, StoreError>;
}
