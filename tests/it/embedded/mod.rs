//! The embedded backend: the contract on a disk that is pulled, and what only a disk can do to it.

mod broken;
mod disk;
mod early;
mod flips;
mod full;
mod power;
mod reserve;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use posthaste::queue::Queue;
use posthaste::store::{Embedded, EmbeddedSettings, OnFatal, OpenError, Seal, Store};

use crate::contract::{Backend, contract_tests};
use disk::Disk;

/// The embedded store on a disk of its own.
pub(crate) struct OnDisk {
    pub(crate) disk: Disk,
    pub(crate) settings: EmbeddedSettings,
    pub(crate) store: Option<Embedded>,
    draw: fastrand::Rng,
}

/// Settings for tests: small caches, no abort, and a full disk is looked at again at once.
pub(crate) fn settings() -> EmbeddedSettings {
    EmbeddedSettings {
        cache_bytes: 4 << 20,
        reopen_after: Duration::ZERO,
        reserve_bytes: 0,
        check_at_start: false,
        on_fatal: OnFatal(Arc::new(|_| {})),
        ..EmbeddedSettings::in_directory("")
    }
}

impl OnDisk {
    pub(crate) fn new(settings: EmbeddedSettings, seed: u64) -> Self {
        Self::on(Disk::default(), settings, seed)
    }

    /// On a disk that may have something on it.
    pub(crate) fn on(disk: Disk, settings: EmbeddedSettings, seed: u64) -> Self {
        let mut on_disk = Self {
            disk,
            settings,
            store: None,
            draw: fastrand::Rng::with_seed(seed),
        };
        on_disk.open();
        on_disk
    }

    pub(crate) fn store(&self) -> &Embedded {
        self.store.as_ref().expect("is open")
    }

    pub(crate) fn try_open(&self) -> Result<Embedded, OpenError> {
        let disk = self.disk.clone();
        let reserve = self.disk.clone();
        Embedded::open_with_reserve(
            self.settings.clone(),
            Seal::new([1; 32]),
            move || disk.plug_in(),
            reserve,
        )
    }

    pub(crate) fn open(&mut self) {
        self.store = Some(self.try_open().expect("opens"));
    }

    /// Power gone.
    pub(crate) fn lose_power(&mut self) {
        self.disk.pull(&mut self.draw);
        self.store = None;
    }

    /// Power gone and back.
    pub(crate) fn pull_the_plug(&mut self) {
        self.lose_power();
        self.open();
    }
}

#[async_trait]
impl Backend for OnDisk {
    fn queue(&self) -> Arc<dyn Queue> {
        Arc::new(self.store().clone())
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.store().clone())
    }

    async fn crash(&mut self) {
        self.pull_the_plug();
    }
}

async fn on_disk() -> OnDisk {
    OnDisk::new(settings(), 1)
}

async fn without_message_cache() -> OnDisk {
    OnDisk::new(
        EmbeddedSettings {
            message_cache_bytes: 0,
            ..settings()
        },
        2,
    )
}

contract_tests!(embedded, crate::embedded::on_disk, histories: 32);
contract_tests!(embedded_without_message_cache, crate::embedded::without_message_cache, histories: 8);
