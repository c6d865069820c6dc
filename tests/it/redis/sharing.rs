//! Several engines on one Redis, and Redis itself killed, full, flushed: what the contract cannot say of one backend alone.

use std::time::Duration;

use posthaste::domain::{Class, DeliveryId};
use posthaste::queue::{Accepted, IntentAnswer, Leased, Queue, QueueError, SettleAnswer};
use posthaste::store::{Redis, RedisOpenError, RedisSettings, Seal, Store};
use test_rig::{RedisOptions, RedisServer};

use super::contract::open;
use crate::contract::{Mail, at, delivered, intent};

/// How long anything may take here.
const PATIENCE: Duration = Duration::from_secs(30);

fn server() -> RedisServer {
    let options = RedisOptions::new().set("appendfsync", "always");
    RedisServer::start(&options).expect("the server starts")
}

fn node(server: &RedisServer, name: &str) -> RedisSettings {
    let mut settings = RedisSettings::at(server.url());
    settings.node = name.to_owned();
    settings.response_timeout = PATIENCE;
    settings
}

/// Accepts one Message to so many.
async fn accept(store: &Redis, number: u128, recipients: usize) -> Vec<DeliveryId> {
    let mail = Mail {
        addresses: (0..recipients).map(|n| format!("user{n}@x.example")).collect(),
        ..Mail::to(&[])
    };
    let id = posthaste::domain::MessageId(uuid::Uuid::from_u128(number));
    let accept = mail.accept(id);
    let ids = accept.deliveries.iter().map(|delivery| delivery.id).collect();
    assert_eq!(store.accept(accept).await, Ok(Accepted::New));
    ids
}

async fn lease(store: &Redis, max: usize, now: u64) -> Vec<Leased> {
    let leased = store.lease(Class::Transactional, max, at(now), at(now + 60)).await;
    leased.expect("leases")
}

/// Asks until it is answered: a new connection is on its way.
async fn answered<T, F: Future<Output = Result<T, QueueError>>>(ask: impl Fn() -> F) -> T {
    let asking = async {
        loop {
            match ask().await {
                Ok(answer) => return answer,
                Err(QueueError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
                Err(other) => panic!("{other}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("answered in time")
}

#[tokio::test]
async fn two_nodes_share_the_work_and_one_takes_over_what_the_other_left() {
    let server = server();
    let (one, two) = (open(&node(&server, "one")).await, open(&node(&server, "two")).await);
    let ids = accept(&one, 1, 4).await;
    let (of_one, of_two) = (lease(&one, 2, 0).await, lease(&two, 2, 0).await);
    let mut both: Vec<DeliveryId> = of_one.iter().chain(&of_two).map(|leased| leased.delivery.id).collect();
    both.sort();
    assert_eq!(both, ids);
    let pending = |server: &RedisServer| {
        server
            .call(&["XPENDING", "{ph:0}work:transactional", "posthaste"])
            .unwrap()
    };
    assert!(pending(&server).contains("one\n2\ntwo\n2"), "{}", pending(&server));

    assert_eq!(one.intent(intent(&of_one[0], at(1))).await, Ok(IntentAnswer::Recorded));
    let taken = lease(&two, 10, 60).await;
    assert_eq!(taken.len(), 4, "what either had");
    assert!(taken[0].open_intent.is_some() || taken[1].open_intent.is_some());
    assert!(pending(&server).contains("two\n4"), "{}", pending(&server));
    let late = one
        .settle(vec![delivered(&of_one[0], at(61)), delivered(&of_one[1], at(61))])
        .await;
    assert_eq!(
        late,
        Ok(vec![SettleAnswer::Stale; 2]),
        "the first node no longer owns them"
    );

    let settled = two
        .settle(taken.iter().map(|leased| delivered(leased, at(62))).collect())
        .await;
    assert_eq!(settled, Ok(vec![SettleAnswer::Settled; 4]));
    assert_eq!(server.call(&["XLEN", "{ph:0}work:transactional"]).unwrap(), "0");
    assert!(
        pending(&server).starts_with('0'),
        "nothing is pending: {}",
        pending(&server)
    );
}

#[tokio::test]
async fn a_node_is_woken_by_what_another_accepts() {
    let server = server();
    let (one, two) = (open(&node(&server, "one")).await, open(&node(&server, "two")).await);
    accept(&one, 1, 1).await;
    let wake = two.wake();
    let seen = async {
        while lease(&two, 1, 0).await.is_empty() {
            wake.notified().await;
        }
    };
    tokio::time::timeout(PATIENCE, seen).await.expect("woken");
}

#[tokio::test]
async fn what_was_acknowledged_survives_the_death_of_redis() {
    let mut server = server();
    let store = open(&node(&server, "one")).await;
    let ids = accept(&store, 1, 3).await;
    let leased = lease(&store, 3, 0).await;
    assert_eq!(
        store.settle(vec![delivered(&leased[0], at(1))]).await,
        Ok(vec![SettleAnswer::Settled])
    );
    assert_eq!(
        store.intent(intent(&leased[1], at(1))).await,
        Ok(IntentAnswer::Recorded)
    );
    let (before, depth) = (store.deliveries(ids[0].message).await, store.depth(at(1)).await);

    server.kill().unwrap();
    assert!(
        matches!(store.depth(at(1)).await, Err(QueueError::Unavailable(_))),
        "never empty"
    );
    assert!(
        matches!(store.delivery(ids[2]).await, Err(QueueError::Unavailable(_))),
        "never absent"
    );
    server.restart().unwrap();

    assert_eq!(answered(|| store.depth(at(1))).await, depth.expect("depth"));
    assert_eq!(store.deliveries(ids[0].message).await, before);
    assert_eq!(
        store.settle(vec![delivered(&leased[2], at(2))]).await,
        Ok(vec![SettleAnswer::Settled])
    );
    let again = lease(&store, 3, 60).await;
    assert_eq!(again.len(), 1);
    assert!(again[0].fence > leased[1].fence && again[0].open_intent.is_some());
}

#[tokio::test]
async fn a_full_redis_refuses_mail_and_goes_on_draining() {
    let server = server();
    let store = open(&node(&server, "one")).await;
    accept(&store, 1, 4).await;
    let first = lease(&store, 1, 0).await;
    server.config_set("maxmemory", "1").unwrap();

    let refused =
        store.accept(Mail::to(&["a@x.example"]).accept(posthaste::domain::MessageId(uuid::Uuid::from_u128(2))));
    assert_eq!(refused.await, Err(QueueError::Full));
    let more = lease(&store, 2, 0).await;
    assert_eq!(more.len(), 2);
    assert_eq!(store.intent(intent(&first[0], at(1))).await, Ok(IntentAnswer::Recorded));
    let later = crate::contract::bed::deferred(&first[0], at(1), at(100));
    assert_eq!(store.settle(vec![later]).await, Ok(vec![SettleAnswer::Settled]));
    assert_eq!(
        store.settle(vec![delivered(&more[0], at(2))]).await,
        Ok(vec![SettleAnswer::Settled])
    );
    assert_eq!(store.renew(vec![more[1].lease()], at(90)).await, Ok(vec![]));
    assert_eq!(store.cancel(more[1].delivery.id, at(3)).await, Ok(true));
    assert_eq!(lease(&store, 4, 100).await.len(), 2);

    server.config_set("maxmemory", "0").unwrap();
    accept(&store, 3, 1).await;
}

#[tokio::test]
async fn a_flushed_redis_is_not_an_empty_queue() {
    let server = server();
    let store = open(&node(&server, "one")).await;
    let ids = accept(&store, 1, 1).await;
    server.call(&["FLUSHALL"]).unwrap();
    let gone = |error: Option<QueueError>| {
        let text = error.expect("an error").to_string();
        assert!(text.contains("flushed"), "{text}");
    };
    gone(store.lease(Class::Transactional, 1, at(1), at(61)).await.err());
    gone(store.delivery(ids[0]).await.err());
    gone(store.tenants().await.err());
    gone(store.depth(at(1)).await.err());
    gone(store.next_due(Class::Transactional).await.err());
    gone(
        store
            .accept(Mail::to(&["a@x.example"]).accept(ids[0].message))
            .await
            .err(),
    );
}

#[tokio::test]
async fn a_store_that_lost_a_part_or_has_other_partitions_is_not_opened() {
    let server = server();
    let mut settings = node(&server, "one");
    settings.partitions = Some(2);
    let store = open(&settings).await;
    accept(&store, 1, 1).await;
    drop(store);
    let refused = async |settings: &RedisSettings| Redis::open(settings.clone(), Seal::new([1; 32])).await.err();

    settings.partitions = Some(3);
    let other = refused(&settings).await;
    assert!(
        matches!(other, Some(RedisOpenError::Partitions { found: 2, wanted: 3 })),
        "{other:?}"
    );
    settings.partitions = None;
    drop(open(&settings).await);
    server.call(&["DEL", "{ph:1}epoch"]).unwrap();
    let incomplete = refused(&settings).await;
    assert!(
        matches!(incomplete, Some(RedisOpenError::Incomplete(_))),
        "{incomplete:?}"
    );
}

#[tokio::test]
async fn two_who_open_a_new_store_at_once_open_the_same() {
    let server = server();
    let (one, two) = (node(&server, "one"), node(&server, "two"));
    let (one, two) = tokio::join!(open(&one), open(&two));
    assert_eq!(one.epoch(), two.epoch());
    accept(&one, 1, 1).await;
    assert_eq!(lease(&two, 1, 0).await.len(), 1);
}

#[tokio::test]
async fn messages_of_two_partitions_are_not_accepted_in_one_call() {
    let server = server();
    let mut settings = node(&server, "one");
    settings.partitions = Some(2);
    let store = open(&settings).await;
    let id = |number| posthaste::domain::MessageId(uuid::Uuid::from_u128(number));
    let mut accept = Mail::to(&["a@x.example"]).accept(id(2));
    let other = Mail::to(&["b@x.example"]).accept(id(3));
    accept.messages.extend(other.messages);
    accept.deliveries.extend(other.deliveries);
    assert!(matches!(store.accept(accept).await, Err(QueueError::Unavailable(_))));
    assert_eq!(store.message(id(2)).await, Ok(None));
    assert_eq!(store.depth(at(0)).await.map(|depth| depth.messages), Ok(0));
}

#[tokio::test]
async fn a_library_that_somebody_deleted_is_loaded_again() {
    let server = server();
    let store = open(&node(&server, "one")).await;
    server.call(&["FUNCTION", "FLUSH"]).unwrap();
    accept(&store, 1, 1).await;
}
