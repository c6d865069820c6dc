//! The contract on Redis: with each write synced, and with a sync each second.
//!
//! A crash is that of an engine: Redis and what it holds, leases among it, live on.

use std::sync::Arc;

use async_trait::async_trait;
use posthaste::queue::Queue;
use posthaste::store::{Redis, RedisSettings, Seal, Store};
use test_rig::{RedisOptions, RedisServer};

use crate::contract::{Backend, contract_tests};

/// A store in a server of its own.
pub(crate) struct InRedis {
    pub(crate) server: RedisServer,
    pub(crate) settings: RedisSettings,
    pub(crate) store: Option<Redis>,
}

impl InRedis {
    /// A new store in a new server with these options.
    pub(crate) async fn start(options: &RedisOptions) -> Self {
        let server = RedisServer::start(options).expect("the server starts");
        let mut settings = RedisSettings::at(server.url());
        settings.node = "one".to_owned();
        let store = open(&settings).await;
        Self {
            server,
            settings,
            store: Some(store),
        }
    }

    /// The store.
    pub(crate) fn store(&self) -> &Redis {
        self.store.as_ref().expect("is open")
    }
}

/// Opens the store that the settings name.
pub(crate) async fn open(settings: &RedisSettings) -> Redis {
    let opened = Redis::open(settings.clone(), Seal::new([1; 32])).await;
    opened.expect("opens")
}

#[async_trait]
impl Backend for InRedis {
    fn queue(&self) -> Arc<dyn Queue> {
        Arc::new(self.store().clone())
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.store().clone())
    }

    async fn crash(&mut self) {
        self.store = None;
        self.store = Some(open(&self.settings).await);
    }

    fn leases_outlive_a_crash(&self) -> bool {
        true
    }

    fn strict_line(&self) -> bool {
        false
    }
}

async fn everysec() -> InRedis {
    InRedis::start(&RedisOptions::new()).await
}

async fn always() -> InRedis {
    InRedis::start(&RedisOptions::new().set("appendfsync", "always")).await
}

contract_tests!(everysec_tests, crate::redis::contract::everysec, histories: 24);
contract_tests!(always_tests, crate::redis::contract::always, histories: 8);
