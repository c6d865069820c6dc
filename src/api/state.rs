//! What all handlers share: the seams, the settings, and small caches in front of the store.
//!
//! Takes [`ApiParts`] from the composition root. Look-ups go through here, so that a hot call costs no read of the store
//! but the one for suppressions. What a handler writes it forgets here in the same step; what another node writes is seen
//! after `cache_life`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::rand;
use dashmap::{DashMap, DashSet};
use uuid::Uuid;

use super::body::Budget;
use super::cache::Cache;
use super::problem::ApiError;
use super::rate::Bucket;
use super::rendering::KnownTemplate;
use super::settings::ApiSettings;
use crate::actors::inquiries::Inquiries;
use crate::clock::Clock;
use crate::domain::{DomainStatus, KeyScope, TenantId, Timestamp};
use crate::observe::{Observer, Reputation};
use crate::policy::admission::AdmissionSettings;
use crate::queue::{IdempotencyKey, Queue};
use crate::resolver::Resolver;
use crate::store::{Store, StoreError};

/// What the composition root hands in.
#[derive(Debug)]
pub struct ApiParts {
    /// Takes what is accepted.
    pub queue: Arc<dyn Queue>,
    /// Keeps records.
    pub store: Arc<dyn Store>,
    /// Looks for the records of domains.
    pub resolver: Arc<dyn Resolver>,
    /// The engine's clock.
    pub clock: Clock,
    /// Where calls are counted.
    pub observer: Arc<Observer>,
    /// Settings of the API.
    pub settings: ApiSettings,
    /// Settings of admission.
    pub admission: AdmissionSettings,
    /// Who may send, and how good a name everybody has.
    pub reputation: Arc<Reputation>,
}

/// What all handlers share. One for all workers.
#[derive(Debug)]
pub struct ApiState {
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) resolver: Arc<dyn Resolver>,
    pub(crate) clock: Clock,
    pub(crate) observer: Arc<Observer>,
    pub(crate) settings: ApiSettings,
    pub(crate) admission: AdmissionSettings,
    pub(crate) reputation: Arc<Reputation>,
    /// The way to the actors; none without an engine.
    pub(crate) inquiries: Option<Inquiries>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) keys: Cache<[u8; 32], (TenantId, KeyScope)>,
    pub(crate) buckets: DashMap<[u8; 32], Bucket>,
    pub(crate) domains: Cache<(TenantId, String), DomainStatus>,
    pub(crate) templates: Cache<(TenantId, String, Option<u32>), Arc<KnownTemplate>>,
    pub(crate) in_progress: DashSet<IdempotencyKey>,
    draining: AtomicBool,
    short_of_room: AtomicBool,
}

impl ApiState {
    /// The state of one engine's API.
    #[must_use]
    pub fn new(parts: ApiParts) -> Self {
        let (life, max) = (parts.settings.cache_life, parts.settings.cache_entries_max);
        Self {
            budget: Budget::new(parts.settings.body_memory_bytes_max),
            keys: Cache::new(life, max),
            buckets: DashMap::new(),
            domains: Cache::new(life, max),
            templates: Cache::new(life, max),
            in_progress: DashSet::new(),
            draining: AtomicBool::new(false),
            short_of_room: AtomicBool::new(false),
            queue: parts.queue,
            store: parts.store,
            resolver: parts.resolver,
            clock: parts.clock,
            observer: parts.observer,
            settings: parts.settings,
            admission: parts.admission,
            reputation: parts.reputation,
            inquiries: None,
        }
    }

    /// The same, beside an engine that can be asked.
    #[must_use]
    pub fn asking(mut self, inquiries: Inquiries) -> Self {
        self.inquiries = Some(inquiries);
        self
    }

    /// Who has which name: complaints are told to it.
    #[must_use]
    pub fn reputation(&self) -> &Reputation {
        &self.reputation
    }

    /// From now on, calls that would store something are refused and `/readyz` says no; reading goes on.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the store has so little room that nothing more is to be accepted: such calls get 503, reading goes on.
    pub fn short_of_room(&self, is_short: bool) {
        self.short_of_room.store(is_short, Ordering::Relaxed);
    }

    /// Forgets what was looked up, after records were changed behind the API's back (keys, domains, templates).
    pub fn forget_all(&self) {
        self.keys.forget_all();
        self.domains.forget_all();
        self.templates.forget_all();
    }

    /// Refuses calls that would store something once we are draining, and while the store is short of room.
    pub(crate) fn open(&self) -> Result<(), ApiError> {
        if self.draining.load(Ordering::Relaxed) {
            return Err(ApiError::Draining(self.settings.retry_after));
        }
        if self.short_of_room.load(Ordering::Relaxed) {
            return Err(self.refuse(StoreError::Full));
        }
        Ok(())
    }

    /// What an error of the store means for a caller.
    pub(crate) fn refuse(&self, error: StoreError) -> ApiError {
        ApiError::of_store(error, self.settings.retry_after)
    }

    /// Whether mail may go out from a domain of the tenant; none when it has no such domain.
    pub(crate) async fn domain_status(
        &self,
        tenant: TenantId,
        name: &str,
        now: Timestamp,
    ) -> Result<Option<DomainStatus>, StoreError> {
        let key = (tenant, name.to_owned());
        if let Some(status) = self.domains.get(&key, now) {
            return Ok(Some(status));
        }
        let status = self.store.domain(tenant, name).await?.map(|domain| domain.status);
        // Only a good answer is kept: who has just verified a domain wants to send at once, on every node.
        if status == Some(DomainStatus::Verified) {
            self.domains.put(key, DomainStatus::Verified, now);
        }
        Ok(status)
    }

    /// A new id of version 7: sorts by `now`, 74 bits are random.
    pub(crate) fn new_id(now: Timestamp) -> Result<Uuid, ApiError> {
        let mut random = [0; 10];
        rand::fill(&mut random).map_err(|_| ApiError::Internal("the system gives no random numbers".into()))?;
        Ok(uuid::Builder::from_unix_timestamp_millis(now.0, &random).into_uuid())
    }
}
