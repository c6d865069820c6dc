//! Who waits, and where.

use std::collections::BTreeMap;

use posthaste::domain::{Class, DeliveryId, Lane, Place, State};
use posthaste::queue::WaitersCursor;

use super::bed::{Bed, Mail, at, delivered, lane};

/// One round over all who wait, in pages of about `max`: how often each was met, and under which lane.
async fn round(bed: &Bed, max: usize) -> BTreeMap<DeliveryId, (usize, Option<Lane>)> {
    let (mut met, mut after) = (BTreeMap::new(), None::<WaitersCursor>);
    for _ in 0..1_000 {
        let page = bed.queue().waiters(after.as_ref(), max).await.expect("a page");
        for waiter in page.waiters {
            assert!(!waiter.delivery.state.is_final(), "{waiter:?}");
            assert_eq!(bed.delivery(waiter.delivery.id).await, waiter.delivery, "as stored");
            let entry = met.entry(waiter.delivery.id).or_insert((0, waiter.parked));
            entry.0 += 1;
        }
        after = page.next;
        if after.is_none() {
            return met;
        }
    }
    panic!("a round has an end");
}

pub(crate) async fn all_who_wait_are_met_once_in_a_round_and_nobody_else(mut bed: Bed) {
    assert_eq!(round(&bed, 10).await, BTreeMap::new());
    let google = lane("ip1", "google");
    let mut expected = BTreeMap::new();
    for number in 0..7 {
        let mail = Mail::to(&["a@x.example", "b@x.example"]).accepted_at(at(number));
        let ids = bed.accept(&mail.due(at(number))).await;
        let leased = bed.lease(Class::Transactional, 2, at(number)).await;
        bed.settle(delivered(&leased[0], at(number))).await;
        let parked = number % 2 == 0;
        if parked {
            bed.park(&leased[1], &google).await;
        } else {
            bed.release(&leased[1], at(9_000)).await;
        }
        let waits = ids.into_iter().find(|id| *id == leased[1].delivery.id).expect("ours");
        expected.insert(waits, (1, parked.then(|| google.clone())));
    }
    bed.accept(&Mail::to(&["c@x.example"]).state(State::Suppressed)).await;
    for max in [1, 2, 3, 100] {
        assert_eq!(round(&bed, max).await, expected, "in pages of {max}");
    }
    bed.crash().await;
    assert_eq!(round(&bed, 4).await, expected, "after a crash");
}

pub(crate) async fn a_place_is_told_for_whoever_is_not_final(mut bed: Bed) {
    let google = lane("ip1", "google");
    let id = bed.accept_one().await;
    assert_eq!(bed.queue().place(id, at(0)).await, Ok(Some(Place::InLine)));
    let leased = bed.lease_one(at(1)).await;
    assert_eq!(bed.queue().place(id, at(2)).await, Ok(Some(Place::Leased(at(61)))));
    assert_eq!(
        bed.queue().place(id, at(61)).await,
        Ok(Some(Place::InLine)),
        "a lease that has ended holds nobody"
    );
    bed.park(&leased, &google).await;
    let parked = Place::Parked {
        lane: google.clone(),
        ahead: 0,
    };
    assert_eq!(bed.queue().place(id, at(3)).await, Ok(Some(parked)));
    let leased = bed.lease_parked(&google, 1, at(4)).await;
    assert_eq!(bed.queue().place(id, at(5)).await, Ok(Some(Place::Leased(at(64)))));
    bed.settle(delivered(&leased[0], at(6))).await;
    assert_eq!(bed.queue().place(id, at(7)).await, Ok(None), "it is final");
    let unknown = DeliveryId { recipient: 9, ..id };
    assert_eq!(bed.queue().place(unknown, at(7)).await, Ok(None));
}

pub(crate) async fn under_a_lane_it_is_told_how_many_stand_before_one(mut bed: Bed) {
    let google = lane("ip1", "google");
    let mut ids = Vec::new();
    for (class, expires_at) in [
        (Class::Broadcast, at(500)),
        (Class::Broadcast, at(400)),
        (Class::Critical, at(900)),
    ] {
        let mail = Mail::to(&["a@x.example"]).class(class).expires(expires_at);
        ids.extend(bed.accept(&mail).await);
        let leased = bed.lease(class, 1, at(1)).await;
        bed.park(&leased[0], &google).await;
    }
    // The last one is the most urgent, the second expires before the first.
    let expected = [2, 1, 0];
    let mut told = Vec::new();
    for id in ids {
        match bed.queue().place(id, at(2)).await {
            Ok(Some(Place::Parked { lane, ahead })) if lane == google => told.push(ahead),
            other => panic!("{other:?}"),
        }
    }
    if bed.backend().strict_lanes() {
        assert_eq!(told, expected);
    } else {
        assert!(told.iter().all(|ahead| *ahead <= 12), "an estimate: {told:?}");
    }
}
