//! Parking: who waits at which door.

use std::collections::BTreeMap;

use posthaste::domain::{Class, Lane, State, Why};
use posthaste::queue::{Leased, SettleAnswer};

use super::bed::{Bed, LEASE, Mail, at, delivered, ids, lane};

/// Accepts one and parks it.
async fn parked(bed: &mut Bed, mail: Mail, lane: &Lane) -> Leased {
    let id = bed.accept(&mail).await[0];
    let mut leased = bed.lease(mail.class, 10, mail.due_at).await;
    assert_eq!(ids(&leased), [id]);
    bed.park(&leased[0], lane).await;
    leased.remove(0)
}

pub(crate) async fn parked_ones_go_by_class_then_by_soonest_expiry(mut bed: Bed) {
    let google = lane("ip1", "google");
    let mut expected = BTreeMap::new();
    for (class, expires_at, place) in [
        (Class::Broadcast, at(100), 4),
        (Class::Transactional, at(300), 3),
        (Class::Critical, at(500), 1),
        (Class::Transactional, at(200), 2),
        (Class::Critical, at(400), 0),
    ] {
        let mail = Mail::to(&["a@x.example"]).class(class).expires(expires_at);
        expected.insert(place, parked(&mut bed, mail, &google).await.delivery.id);
    }
    let expected: Vec<_> = expected.into_values().collect();
    assert_eq!(
        ids(&bed.lease_parked(&google, 2, at(1)).await),
        expected[..2],
        "at most max"
    );
    assert_eq!(ids(&bed.lease_parked(&google, 10, at(1)).await), expected[2..]);
}

pub(crate) async fn lanes_do_not_mix(mut bed: Bed) {
    let lanes = [
        lane("ip1", "google"),
        lane("ip2", "google"),
        lane("ip1", "yahoo"),
        lane("ip1g", "oogle"),
    ];
    let mut by_lane = Vec::new();
    for lane in &lanes {
        by_lane.push(parked(&mut bed, Mail::to(&["a@x.example"]), lane).await.delivery.id);
    }
    for (lane, id) in lanes.iter().zip(by_lane) {
        assert_eq!(ids(&bed.lease_parked(lane, 10, at(1)).await), [id], "{lane}");
    }
    assert_eq!(ids(&bed.lease_parked(&lane("ip9", "google"), 10, at(1)).await), []);
}

pub(crate) async fn a_parked_one_stands_in_no_other_line(mut bed: Bed) {
    let google = lane("ip1", "google");
    let leased = parked(&mut bed, Mail::to(&["a@x.example"]), &google).await;

    let waiting = bed.delivery(leased.delivery.id).await;
    assert_eq!((waiting.state, waiting.why), (State::Queued, Some(Why::LaneFull)));
    assert_eq!(bed.lease_ids(Class::Transactional, 10, at(1000)).await, []);
    assert_eq!(bed.queue().next_due(Class::Transactional).await, Ok(None));
    assert_eq!(
        bed.settle(delivered(&leased, at(2))).await,
        SettleAnswer::Stale,
        "its lease has ended"
    );
}

pub(crate) async fn a_parked_one_is_leased_once_and_returns_to_its_lane_when_the_lease_ends(mut bed: Bed) {
    let google = lane("ip1", "google");
    let first = parked(&mut bed, Mail::to(&["a@x.example"]), &google).await;
    let second = bed.lease_parked(&google, 10, at(1)).await;
    assert!(second[0].fence > first.fence);
    assert_eq!(ids(&bed.lease_parked(&google, 10, at(60)).await), []);
    assert_eq!(
        bed.queue().parked_lanes(10).await,
        Ok(vec![]),
        "a lease takes it out of its place"
    );

    let third = bed.lease_parked(&google, 10, at(61)).await;
    assert_eq!(ids(&third), [first.delivery.id]);
    assert!(third[0].fence > second[0].fence);
    assert_eq!(bed.lease_ids(Class::Transactional, 10, at(1000)).await, []);
    assert_eq!(bed.settle(delivered(&third[0], at(62))).await, SettleAnswer::Settled);
    assert_eq!(ids(&bed.lease_parked(&google, 10, at(1000)).await), []);
}

pub(crate) async fn a_parked_one_may_be_released_into_the_line(mut bed: Bed) {
    let google = lane("ip1", "google");
    let id = parked(&mut bed, Mail::to(&["a@x.example"]), &google).await.delivery.id;
    let leased = bed.lease_parked(&google, 10, at(1)).await;
    bed.release(&leased[0], at(30)).await;
    assert_eq!(ids(&bed.lease_parked(&google, 10, at(1000)).await), []);
    assert_eq!(bed.lease_ids(Class::Transactional, 10, at(29)).await, []);
    assert_eq!(bed.lease_ids(Class::Transactional, 10, at(30)).await, [id]);
}

pub(crate) async fn a_parking_under_a_lost_lease_is_passed_over(mut bed: Bed) {
    let google = lane("ip1", "google");
    let id = bed.accept_one().await;
    let old = bed.lease_one(at(1)).await;
    let new = bed.lease_one(at(61)).await;
    bed.park(&old, &google).await;
    assert_eq!(bed.delivery(id).await.why, Some(Why::Queued));
    assert_eq!(ids(&bed.lease_parked(&google, 10, at(62)).await), []);
    assert_eq!(bed.settle(delivered(&new, at(62))).await, SettleAnswer::Settled);
    bed.park(&new, &google).await;
    assert_eq!(
        ids(&bed.lease_parked(&google, 10, at(500)).await),
        [],
        "a final one is not parked"
    );
}

pub(crate) async fn parked_ones_that_have_expired_are_found_under_any_lane(mut bed: Bed) {
    let (google, yahoo) = (lane("ip1", "google"), lane("ip1", "yahoo"));
    let mail = |expires| Mail::to(&["a@x.example"]).expires(at(expires));
    let third = parked(&mut bed, mail(300).class(Class::Critical), &google)
        .await
        .delivery
        .id;
    let second = parked(&mut bed, mail(200), &google).await.delivery.id;
    let first = parked(&mut bed, mail(100).class(Class::Broadcast), &yahoo)
        .await
        .delivery
        .id;
    bed.accept(&mail(100)).await;

    let expired = async |bed: &Bed, max, now| {
        let leased = bed.queue().lease_expired(max, at(now), at(now).plus(LEASE)).await;
        leased.expect("leases")
    };
    assert_eq!(ids(&expired(&bed, 10, 99).await), []);
    assert_eq!(ids(&expired(&bed, 1, 200).await), [first], "at most max");
    let leased = expired(&bed, 10, 200).await;
    assert_eq!(ids(&leased), [second], "only what has expired, and only what is parked");
    assert_eq!(bed.settle(delivered(&leased[0], at(201))).await, SettleAnswer::Settled);
    let rest = expired(&bed, 10, 300).await;
    assert_eq!(rest.len(), 2, "leases of this kind end like all others");
    assert!(ids(&rest).contains(&first) && ids(&rest).contains(&third));
}

pub(crate) async fn one_that_moved_to_another_lane_is_found_when_it_expires(mut bed: Bed) {
    let mail = Mail::to(&["a@x.example"]).expires(at(500));
    let id = parked(&mut bed, mail, &lane("ip1", "google")).await.delivery.id;
    let moved = bed.lease_parked(&lane("ip1", "google"), 10, at(1)).await;
    bed.park(&moved[0], &lane("ip2", "google")).await;
    let expired = bed.queue().lease_expired(10, at(500), at(560)).await;
    assert_eq!(ids(&expired.expect("the store answers")), [id]);
}

pub(crate) async fn lanes_are_listed_with_their_numbers(mut bed: Bed) {
    let (google, yahoo) = (lane("ip1", "google"), lane("ip1", "yahoo"));
    assert_eq!(bed.queue().parked_lanes(10).await, Ok(vec![]));
    for lane in [&google, &yahoo, &google] {
        parked(&mut bed, Mail::to(&["a@x.example"]), lane).await;
    }
    let listed = async |bed: &Bed| {
        let lanes = bed.queue().parked_lanes(10).await.expect("lanes");
        lanes.into_iter().collect::<BTreeMap<_, _>>()
    };
    assert_eq!(
        listed(&bed).await,
        BTreeMap::from([(google.clone(), 2), (yahoo.clone(), 1)])
    );
    assert_eq!(bed.queue().parked_lanes(1).await.map(|lanes| lanes.len()), Ok(1));
    assert_eq!(bed.queue().depth(at(1)).await.map(|depth| depth.parked), Ok(3));

    let leased = bed.lease_parked(&yahoo, 10, at(1)).await;
    assert_eq!(bed.settle(delivered(&leased[0], at(2))).await, SettleAnswer::Settled);
    assert_eq!(listed(&bed).await, BTreeMap::from([(google, 2)]));
    assert_eq!(bed.queue().depth(at(2)).await.map(|depth| depth.parked), Ok(2));
}

pub(crate) async fn what_was_parked_survives_a_crash(mut bed: Bed) {
    let google = lane("ip1", "google");
    let before = parked(&mut bed, Mail::to(&["a@x.example"]), &google).await;
    bed.crash().await;
    assert_eq!(bed.lease_ids(Class::Transactional, 10, at(1000)).await, []);
    assert_eq!(bed.queue().parked_lanes(10).await, Ok(vec![(google.clone(), 1)]));
    let leased = bed.lease_parked(&google, 10, at(1)).await;
    assert_eq!(ids(&leased), [before.delivery.id]);
    assert_eq!(leased[0].delivery.why, Some(Why::LaneFull));
}
