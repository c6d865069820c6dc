//! The contract on Redis: with each write synced, with a sync each second, and in several partitions.
//!
//! A crash is that of an engine: Redis and what it holds, leases among it, live on.

use std::sync::Arc;

use async_trait::async_trait;
use posthaste::domain::MessageId;
use posthaste::queue::{IdempotencyKey, Queue};
use posthaste::store::{Redis, RedisSettings, Seal, Store};
use test_rig::{RedisOptions, RedisServer};

use crate::contract::{Backend, contract_tests, model};

/// A store in Redis.
pub(crate) struct InRedis {
    /// The server, which ends with it.
    _server: Option<RedisServer>,
    settings: RedisSettings,
    store: Option<Redis>,
}

impl InRedis {
    /// The store that these settings name, in a server that others look after.
    pub(crate) async fn at(settings: RedisSettings) -> Self {
        let store = open(&settings).await;
        Self {
            _server: None,
            settings,
            store: Some(store),
        }
    }

    /// A store in so many partitions, in a server of its own with these options.
    pub(crate) async fn alone(options: RedisOptions, partitions: u16) -> Self {
        let server = RedisServer::start(&options).expect("the server starts");
        let mut settings = RedisSettings::at(server.url());
        settings.partitions = Some(partitions);
        Self {
            _server: Some(server),
            ..Self::at(settings).await
        }
    }

    /// The store itself.
    pub(crate) fn store(&self) -> &Redis {
        self.store.as_ref().expect("is open")
    }

    fn has_parts(&self) -> bool {
        self.settings.partitions != Some(1)
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

    fn strict_lanes(&self) -> bool {
        !self.has_parts()
    }

    fn place(&self, id: MessageId, key: Option<&IdempotencyKey>) -> MessageId {
        key.map_or(id, |key| id.in_partition(key.partition_byte()))
    }
}

async fn everysec() -> InRedis {
    InRedis::alone(RedisOptions::new(), 1).await
}

async fn always() -> InRedis {
    InRedis::alone(RedisOptions::new().set("appendfsync", "always"), 1).await
}

async fn four_partitions() -> InRedis {
    InRedis::alone(RedisOptions::new(), 4).await
}

contract_tests!(everysec_tests, crate::redis::contract::everysec, histories: 24);
contract_tests!(always_tests, crate::redis::contract::always, histories: 8);

#[test]
fn random_histories_in_four_partitions_agree_with_the_reference() {
    model::compare(four_partitions, 24);
}
