//! The actors of providers that there are.
//!
//! Takes a provider, gives the handle of its actor. Never starts or ends one: the scheduler does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::isp::Isp;
use super::supervisor::Handle;
use crate::domain::ProviderId;

/// The actors of providers, by provider. Outlives a restarted scheduler: a second actor for a provider would have a second
/// pace.
#[derive(Debug, Clone, Default)]
pub struct Isps(Arc<Mutex<BTreeMap<ProviderId, Handle<Isp>>>>);

impl Isps {
    pub(super) fn of(&self, provider: &ProviderId) -> Option<Handle<Isp>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(provider)
            .cloned()
    }

    pub(super) fn add(&self, provider: ProviderId, isp: Handle<Isp>) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(provider, isp);
    }

    pub(super) fn forget(&self, provider: &ProviderId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(provider);
    }

    pub(crate) fn all(&self) -> Vec<Handle<Isp>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }

    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}
