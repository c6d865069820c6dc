//! Leases are answered before the commit of the batch they are in, with what earlier commits made durable.

use std::sync::atomic::Ordering;

use posthaste::domain::{Class, MessageId};
use posthaste::queue::{Accepted, Queue};
use uuid::Uuid;

use super::disk::Disk;
use super::{OnDisk, settings};
use crate::contract::bed::{LEASE, ids};
use crate::contract::{Mail, at};

async fn until_somebody_syncs(disk: &Disk) {
    while !disk.has_one_waiting() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_lease_does_not_wait_for_the_commit_of_its_batch_and_sees_nothing_of_it() {
    let on_disk = OnDisk::new(settings(), 1);
    let (disk, store) = (on_disk.disk.clone(), on_disk.store().clone());
    let accept = |number: u128| {
        let (store, id) = (store.clone(), MessageId(Uuid::from_u128(number)));
        tokio::spawn(async move { store.accept(Mail::to(&["a@x.example"]).accept(id)).await })
    };
    disk.hold_syncs();
    let before = store.stats().commits.load(Ordering::Relaxed);
    let first = accept(1);
    until_somebody_syncs(&disk).await;
    // The writer is busy with the first: these two are its next batch, the lease behind the ACCEPT.
    let second = accept(2);
    tokio::task::yield_now().await;
    let lessor = store.clone();
    let lease = tokio::spawn(async move { lessor.lease(Class::Transactional, 10, at(1), at(1).plus(LEASE)).await });
    tokio::task::yield_now().await;
    while store.stats().commits.load(Ordering::Relaxed) == before {
        disk.let_one_go();
        until_somebody_syncs(&disk).await;
    }
    // Now the second batch is in its commit, and stays there.
    let leased = lease.await.expect("no panic").expect("leases");
    let seen: Vec<MessageId> = ids(&leased).iter().map(|id| id.message).collect();
    assert_eq!(
        seen,
        [MessageId(Uuid::from_u128(1))],
        "what is not durable is not leased"
    );
    assert!(!second.is_finished(), "an ACCEPT is answered after its commit");
    disk.let_all_go();
    assert_eq!(first.await.expect("no panic"), Ok(Accepted::New));
    assert_eq!(second.await.expect("no panic"), Ok(Accepted::New));
}
