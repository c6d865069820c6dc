//! Entries of the intake stream in the store: who may decide on one, once, and what comes again.

use posthaste::domain::{MessageId, TenantId};
use posthaste::queue::{Accept, Accepted, IdempotencyKey, StoredResponse};
use posthaste::store::{Entries, Entry, EntryAnswer, EntryContent, EntryLimits, Redis, RedisSettings, Store};
use test_rig::{RedisOptions, RedisServer};
use uuid::Uuid;

use super::contract::open;
use crate::contract::{Mail, at};
use posthaste::queue::Queue;

const LIMITS: EntryLimits = EntryLimits {
    entries: 10,
    entry_bytes: 1000,
    bytes: 10_000,
};

/// A node of a store in so many partitions.
async fn node(server: &RedisServer, name: &str, partitions: u16) -> (Redis, Entries) {
    let mut settings = RedisSettings::at(server.url());
    settings.node = name.to_owned();
    settings.partitions = Some(partitions);
    let store = open(&settings).await;
    (store.clone(), Entries::new(store, settings).unwrap())
}

fn server() -> RedisServer {
    RedisServer::start(&RedisOptions::new()).unwrap()
}

fn add(server: &RedisServer, fields: &[&str]) -> String {
    let words = [&["XADD", "{ph:0}intake", "*"], fields].concat();
    server.call(&words).unwrap()
}

fn length(server: &RedisServer, stream: &str) -> String {
    server.call(&["XLEN", &format!("{{ph:0}}{stream}")]).unwrap()
}

async fn take(entries: &Entries) -> Vec<Entry> {
    entries.take(LIMITS).await.unwrap().entries
}

fn message(number: u128) -> MessageId {
    MessageId(Uuid::from_u128(number)).in_partition(0)
}

fn mail(number: u128) -> Accept {
    Mail::to(&["a@x.example"]).accept(message(number << 64))
}

fn stored(number: u128) -> MessageId {
    message(number << 64)
}

#[tokio::test]
async fn an_entry_comes_with_its_fields_and_again_after_a_restart_until_it_is_decided_on() {
    let server = server();
    let (_, entries) = node(&server, "one", 1).await;
    assert_eq!(take(&entries).await, []);
    let id = add(&server, &["v", "1", "v", "2"]);
    let taken = take(&entries).await;
    let fields = vec![(b"v".to_vec(), b"1".to_vec()), (b"v".to_vec(), b"2".to_vec())];
    let expect = Entry {
        partition: 0,
        id,
        content: EntryContent::Fields(fields),
    };
    assert_eq!(taken, std::slice::from_ref(&expect));
    drop(entries);
    let (_, entries) = node(&server, "one", 1).await;
    assert_eq!(take(&entries).await, std::slice::from_ref(&expect), "again");
    let (_, others) = node(&server, "two", 1).await;
    assert_eq!(take(&others).await, [], "it is not theirs");
    entries.drop_entry(&expect).await.unwrap();
    assert_eq!(take(&entries).await, []);
    assert_eq!(length(&server, "intake"), "0");
}

#[tokio::test]
async fn an_entry_becomes_one_mail_and_ends_with_it() {
    let server = server();
    let (store, entries) = node(&server, "one", 1).await;
    add(&server, &["v", "1"]);
    let entry = take(&entries).await.remove(0);
    let answer = entries.accept(&entry, mail(1)).await;
    assert_eq!(answer, Ok(EntryAnswer::Accepted(Accepted::New)));
    assert!(store.message(stored(1)).await.unwrap().is_some());
    assert_eq!(length(&server, "intake"), "0");
    assert_eq!(entries.accept(&entry, mail(2)).await, Ok(EntryAnswer::Gone));
    assert_eq!(store.message(stored(2)).await.unwrap(), None);
    assert!(!entries.bury(&entry, "late", "", at(0)).await.unwrap());
    assert_eq!(length(&server, "dead"), "0");
}

#[tokio::test]
async fn a_node_that_lost_an_entry_can_neither_accept_nor_bury_nor_drop_it() {
    let server = server();
    let (store, frozen) = node(&server, "frozen", 1).await;
    let (_, other) = node(&server, "other", 1).await;
    add(&server, &["v", "1"]);
    let entry = take(&frozen).await.remove(0);
    // What the other does by itself after a minute.
    let claim = ["XCLAIM", "{ph:0}intake", "posthaste", "other", "0", &entry.id];
    server.call(&claim).unwrap();
    assert_eq!(take(&frozen).await, []);
    assert_eq!(frozen.accept(&entry, mail(1)).await, Ok(EntryAnswer::Gone));
    assert_eq!(store.message(stored(1)).await.unwrap(), None);
    assert!(!frozen.bury(&entry, "late", "", at(0)).await.unwrap());
    frozen.drop_entry(&entry).await.unwrap();
    assert_eq!((&*length(&server, "intake"), &*length(&server, "dead")), ("1", "0"));
    assert_eq!(take(&other).await, std::slice::from_ref(&entry));
    assert!(other.bury(&entry, "reason", "why", at(5)).await.unwrap());
    assert_eq!((&*length(&server, "intake"), &*length(&server, "dead")), ("0", "1"));
}

#[tokio::test]
async fn an_entry_without_a_sign_of_its_node_is_taken_over() {
    let server = server();
    let (_, gone) = node(&server, "gone", 1).await;
    let (_, other) = node(&server, "other", 1).await;
    add(&server, &["v", "1"]);
    let entry = take(&gone).await.remove(0);
    assert_eq!(take(&other).await, []);
    // As if a minute had passed.
    let claim = [
        "XCLAIM",
        "{ph:0}intake",
        "posthaste",
        "gone",
        "0",
        &entry.id,
        "IDLE",
        "60000",
    ];
    server.call(&claim).unwrap();
    assert_eq!(take(&other).await, [entry]);
}

#[tokio::test]
async fn a_large_entry_comes_without_its_content_and_can_be_buried_with_it() {
    let server = server();
    let (_, entries) = node(&server, "one", 1).await;
    let large = "x".repeat(1001);
    add(&server, &["body", &large]);
    let entry = take(&entries).await.remove(0);
    assert_eq!(entry.content, EntryContent::TooLarge(1005));
    assert!(entries.bury(&entry, "too_large", "why", at(5)).await.unwrap());
    let letters = server.call(&["XRANGE", "{ph:0}dead", "-", "+"]).unwrap();
    assert!(letters.contains(&large));
    assert!(letters.contains("reason\ntoo_large\ndetail\nwhy\nat\n"), "{letters}");
}

#[tokio::test]
async fn a_batch_ends_at_its_bounds_and_an_entry_that_somebody_deleted_is_no_more() {
    let server = server();
    let (_, entries) = node(&server, "one", 1).await;
    for number in 0..20 {
        add(&server, &["n", &number.to_string()]);
    }
    let first = entries.take(LIMITS).await.unwrap();
    assert_eq!((first.entries.len(), first.waiting, first.dead), (10, 20, 0));
    let few = EntryLimits { bytes: 5, ..LIMITS };
    assert_eq!(entries.take(few).await.unwrap().entries, first.entries[..3]);
    let none = EntryLimits { entries: 0, ..LIMITS };
    assert_eq!(entries.take(none).await.unwrap().entries, []);
    let deleted = &first.entries[0].id;
    server.call(&["XDEL", "{ph:0}intake", deleted]).unwrap();
    let again = take(&entries).await;
    assert!(again.iter().all(|entry| entry.id != *deleted));
    assert_eq!(again.len(), 10, "another one took its place");
}

/// With partitions, key and entry may be in two of them: then the mail is known by its key.
#[tokio::test]
async fn a_crash_between_the_mail_and_the_end_of_its_entry_makes_no_second_mail() {
    let server = server();
    let (store, entries) = node(&server, "one", 4).await;
    add(&server, &["v", "1"]);
    let key = (0..)
        .map(|number| IdempotencyKey {
            tenant: TenantId(1),
            key: number.to_string(),
        })
        .find(|key| key.partition_byte() % 4 == 3)
        .unwrap();
    let with_key = |number: u128| {
        let id = MessageId(Uuid::from_u128(number << 64)).in_partition(key.partition_byte());
        let answer = StoredResponse {
            request_hash: [7; 32],
            status: 202,
            body: b"{}".to_vec(),
            expires_at: at(3600),
        };
        let mut accept = Mail::to(&["a@x.example"]).accept(id);
        accept.idempotency = Some((key.clone(), answer));
        (id, accept)
    };
    let entry = take(&entries).await.remove(0);
    let (first, accept) = with_key(1);
    // The first half of what the node does; then it dies.
    assert_eq!(store.accept(accept).await, Ok(Accepted::New));
    drop(entries);
    let (_, entries) = node(&server, "one", 4).await;
    assert_eq!(take(&entries).await, std::slice::from_ref(&entry));
    let (second, accept) = with_key(2);
    let answer = entries.accept(&entry, accept).await.unwrap();
    assert!(
        matches!(answer, EntryAnswer::Accepted(Accepted::Replay(_))),
        "{answer:?}"
    );
    assert!(store.message(first).await.unwrap().is_some());
    assert_eq!(store.message(second).await.unwrap(), None);
    // And whole, without a crash.
    entries.drop_entry(&entry).await.unwrap();
    assert_eq!(length(&server, "intake"), "0");
}

#[tokio::test]
async fn a_full_redis_keeps_entries_and_takes_them_when_there_is_room() {
    let server = server();
    let (store, entries) = node(&server, "one", 1).await;
    add(&server, &["v", "1"]);
    server.config_set("maxmemory", "1").unwrap();
    let entry = take(&entries).await.remove(0);
    assert!(entries.accept(&entry, mail(1)).await.is_err());
    assert!(entries.bury(&entry, "reason", "", at(0)).await.is_err());
    assert_eq!((&*length(&server, "intake"), &*length(&server, "dead")), ("1", "0"));
    server.config_set("maxmemory", "0").unwrap();
    let answer = entries.accept(&entry, mail(1)).await;
    assert_eq!(answer, Ok(EntryAnswer::Accepted(Accepted::New)));
    assert!(store.message(stored(1)).await.unwrap().is_some());
}

#[tokio::test]
async fn waiting_ends_with_a_new_entry_which_then_is_this_nodes() {
    let server = server();
    let (_, mut entries) = node(&server, "one", 1).await;
    assert_eq!(take(&entries).await, []);
    let id = add(&server, &["v", "1"]);
    entries.wait().await;
    let pending = server.call(&["XPENDING", "{ph:0}intake", "posthaste"]).unwrap();
    assert!(pending.contains(&id) && pending.contains("one"), "{pending}");
    assert_eq!(take(&entries).await.len(), 1);
}
