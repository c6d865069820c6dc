//! What Redis says when it cannot serve (R6): full or unavailable, and never "there is none".

use posthaste::domain::{Class, Stream, TenantId};
use posthaste::queue::{Accepted, IdempotencyKey, Queue, QueueError};
use posthaste::store::{Redis, Store};
use test_rig::{RedisOptions, RedisServer};

use super::contract::open;
use super::front::Front;
use crate::contract::bed::{LEASE, delivered, intent};
use crate::contract::{Mail, at};
use posthaste::domain::MessageId;
use posthaste::store::RedisSettings;
use uuid::Uuid;

/// What each call gives while Redis answers with an error, by name.
async fn all_calls(
    store: &Redis,
    known: MessageId,
    leased: &posthaste::queue::Leased,
) -> Vec<(&'static str, QueueError)> {
    let tenant = TenantId(1);
    let id = leased.delivery.id;
    let now = at(1);
    let key = IdempotencyKey {
        tenant,
        key: "key".to_owned(),
    };
    let fresh =
        Mail::to(&["b@x.example"]).accept(MessageId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_00ff_ff00)));
    let mut errors = Vec::new();
    macro_rules! call {
        ($name:literal, $call:expr) => {
            match $call.await {
                Err(error) => errors.push(($name, error)),
                Ok(answer) => panic!("{} answers {answer:?}", $name),
            }
        };
    }
    call!("accept", store.accept(fresh));
    call!("lease", store.lease(Class::Transactional, 5, now, now.plus(LEASE)));
    call!("intent", store.intent(intent(leased, now)));
    call!("settle", store.settle(vec![delivered(leased, now)]));
    call!("renew", store.renew(vec![leased.lease()], now.plus(LEASE)));
    call!("cancel", store.cancel(id, now));
    call!("next_due", store.next_due(Class::Transactional));
    call!("parked_lanes", store.parked_lanes(5));
    call!("depth", store.depth(now));
    call!("message", store.message(known));
    call!("body", store.body(known));
    call!("deliveries", store.deliveries(known));
    call!("delivery", store.delivery(id));
    call!("events", store.events(known, 10));
    call!("idempotent", store.idempotent(&key, now));
    call!("tenants", store.tenants());
    call!("key", store.key([1; 32]));
    call!("keys", store.keys(tenant));
    call!("domain", store.domain(tenant, "x.example"));
    call!("domains", store.domains(tenant));
    call!("template", store.template(tenant, "welcome", None));
    call!("templates", store.templates(tenant, 10));
    call!(
        "suppressed",
        store.suppressed(tenant, Stream::Transactional, &["a@x.example".to_owned()])
    );
    call!("suppression", store.suppression(tenant, "a@x.example"));
    call!("delete_suppression", store.delete_suppression(tenant, "a@x.example"));
    call!("purge", store.purge(now, 10));
    errors
}

#[tokio::test]
async fn an_error_of_redis_is_full_or_unavailable_and_never_absent() {
    let server = RedisServer::start(&RedisOptions::new()).unwrap();
    let front = Front::of(&server).await;
    let store = open(&RedisSettings::at(front.url())).await;
    // What is read through the cache is another client's.
    let reader = open(&RedisSettings::at(front.url())).await;
    let known = MessageId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000));
    let accepted = store.accept(Mail::to(&["a@x.example"]).accept(known)).await;
    assert_eq!(accepted, Ok(Accepted::New));
    let leased = store
        .lease(Class::Transactional, 5, at(0), at(0).plus(LEASE))
        .await
        .unwrap();
    for error in [
        "READONLY You can't write against a read only replica.",
        "LOADING Redis is loading the dataset in memory",
        "BUSY Redis is busy running a script.",
        "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
        "OOM command not allowed when used memory > 'maxmemory'.",
        "CLUSTERDOWN Hash slot not served",
        "MASTERDOWN Link with MASTER is down",
        "NOAUTH Authentication required.",
        "NOPERM this user has no permissions",
        "ERR something else",
    ] {
        front.answer(Some(error));
        let code = error.split(' ').next().unwrap();
        let mut found = all_calls(&reader, known, &leased[0]).await;
        found.retain(|(_, found)| match found {
            QueueError::Full => code != "OOM",
            QueueError::Unavailable(reason) => code == "OOM" || !reason.contains(code),
            QueueError::Damaged(_) => true,
        });
        // One call may be the one that finds the connection broken.
        let is_fine = matches!(&*found, [] | [(_, QueueError::Unavailable(_))]);
        assert!(is_fine, "{error} gives {found:?}");
    }
    front.answer(None);
    let settled = async {
        while store.intent(intent(&leased[0], at(1))).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(crate::engine::bed::WITHIN, settled)
        .await
        .expect("Redis serves again");
    let answers = store.settle(vec![delivered(&leased[0], at(1))]).await.unwrap();
    assert_eq!(answers, [posthaste::queue::SettleAnswer::Settled]);
    let depth = store.depth(at(1)).await.unwrap();
    assert_eq!(depth.messages, 1, "what was refused is not there");
}
