//! How much waits, and what is forgotten.

use posthaste::domain::{Class, DeliveryId, MessageId, State};
use posthaste::queue::{Depth, SettleAnswer};

use super::bed::{Bed, Mail, at, bounced, deferred, delivered, lane};

/// Mail in all conditions: delivered, bounced, cancelled, suppressed, deferred, parked, leased, scheduled.
async fn mixed(bed: &mut Bed) -> Vec<DeliveryId> {
    let mail = Mail::to(&[
        "a@x.example",
        "b@x.example",
        "c@x.example",
        "d@x.example",
        "e@x.example",
        "f@x.example",
    ]);
    let mut ids = bed.accept(&mail).await;
    let leased = bed.lease(Class::Transactional, 6, at(1)).await;
    let batch = vec![
        delivered(&leased[0], at(2)),
        bounced(&leased[1], at(2)),
        deferred(&leased[2], at(2), at(400)),
    ];
    assert_eq!(bed.queue().settle(batch).await, Ok(vec![SettleAnswer::Settled; 3]));
    bed.park(&leased[3], &lane("ip1", "google")).await;
    assert_eq!(bed.queue().cancel(leased[4].delivery.id, at(3)).await, Ok(true));
    let broadcast = Mail::to(&["g@x.example", "h@x.example"])
        .class(Class::Broadcast)
        .accepted_at(at(5));
    ids.extend(
        bed.accept(&broadcast.clone().due(at(500)).state(State::Scheduled))
            .await,
    );
    ids.extend(bed.accept(&broadcast.state(State::Suppressed)).await);
    ids
}

async fn check(bed: &Bed, ids: &[DeliveryId], leased: u64) {
    let depth = bed.queue().depth(at(10)).await.expect("depth");
    let mut expected = Depth {
        leased,
        parked: 1,
        messages: 3,
        ..Depth::default()
    };
    for id in ids {
        let delivery = bed.delivery(*id).await;
        let position = State::ALL
            .iter()
            .position(|state| *state == delivery.state)
            .expect("a state");
        expected.by_state[position] += 1;
        if !delivery.state.is_final() {
            expected.waiting_by_class[delivery.class.index()] += 1;
            expected.oldest = Some(expected.oldest.unwrap_or(delivery.created_at).min(delivery.created_at));
        }
    }
    assert_eq!(depth, expected);
    assert_eq!(depth.by_state, [2, 2, 1, 0, 0, 1, 1, 0, 2, 1, 0]);
    assert_eq!(depth.waiting_by_class, [0, 3, 2]);
    assert_eq!(depth.oldest, Some(at(0)));
}

pub(crate) async fn the_depth_equals_a_recount(mut bed: Bed) {
    let ids = mixed(&mut bed).await;
    check(&bed, &ids, 1).await;
    let later = bed.queue().depth(at(61)).await.expect("depth");
    assert_eq!(later.leased, 0, "a lease that has ended is none");
}

pub(crate) async fn the_depth_survives_a_crash(mut bed: Bed) {
    let ids = mixed(&mut bed).await;
    bed.crash().await;
    let leased = u64::from(bed.backend().leases_outlive_a_crash());
    check(&bed, &ids, leased).await;
}

pub(crate) async fn settled_messages_are_purged_and_still_counted(mut bed: Bed) {
    let old = settled(&mut bed, 1, 0).await[0];
    let young = settled(&mut bed, 1, 100).await[0];
    let waiting = bed.accept(&Mail::to(&["w@x.example", "v@x.example"])).await;
    let leased = bed.lease(Class::Transactional, 1, at(100)).await;
    assert_eq!(bed.settle(delivered(&leased[0], at(100))).await, SettleAnswer::Settled);
    let before = bed.queue().depth(at(101)).await;

    assert_eq!(
        bed.store().purge(at(100), 10).await,
        Ok(1),
        "old enough, and nothing of it waits"
    );
    let store = bed.store();
    assert_eq!(store.message(old).await, Ok(None));
    assert_eq!(store.deliveries(old).await, Ok(vec![]));
    assert_eq!(
        store
            .delivery(DeliveryId {
                message: old,
                recipient: 0
            })
            .await,
        Ok(None)
    );
    assert_eq!(store.events(old, 10).await, Ok(vec![]));
    for kept in [young, waiting[0].message] {
        assert!(store.message(kept).await.expect("message").is_some());
        assert!(!store.events(kept, 10).await.expect("events").is_empty());
    }
    drop(store);
    assert_eq!(bed.queue().depth(at(101)).await, before, "the ledger forgets nothing");
    assert_eq!(
        bed.queue()
            .cancel(
                DeliveryId {
                    message: old,
                    recipient: 0
                },
                at(102)
            )
            .await,
        Ok(false)
    );
    bed.crash().await;
    assert_eq!(bed.store().message(old).await, Ok(None));
    assert_eq!(bed.store().purge(at(100), 10).await, Ok(0));
}

pub(crate) async fn a_purge_takes_at_most_what_was_asked_for(mut bed: Bed) {
    settled(&mut bed, 5, 0).await;
    for expected in [2, 2, 1, 0] {
        assert_eq!(bed.store().purge(at(100), 2).await, Ok(expected));
    }
}

pub(crate) async fn an_empty_store_has_no_depth(bed: Bed) {
    assert_eq!(bed.queue().depth(at(0)).await, Ok(Depth::default()));
    assert_eq!(bed.lease_ids(Class::Critical, 10, at(0)).await, []);
    assert_eq!(bed.queue().next_due(Class::Critical).await, Ok(None));
}

/// Delivered messages that were accepted at `seconds`.
async fn settled(bed: &mut Bed, number: usize, seconds: u64) -> Vec<MessageId> {
    let mut messages = Vec::new();
    for _ in 0..number {
        let mail = Mail::to(&["a@x.example"]).accepted_at(at(seconds)).due(at(seconds));
        messages.push(bed.accept(&mail).await[0].message);
        let leased = bed.lease_one(at(seconds)).await;
        assert_eq!(bed.settle(delivered(&leased, at(seconds))).await, SettleAnswer::Settled);
    }
    messages
}
