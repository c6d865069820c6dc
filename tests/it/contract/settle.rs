//! OUTCOME: state and events in one step, once.

use std::time::Duration;

use posthaste::domain::{
    BounceClass, Class, EventKind, LastReply, SourceId, State, Stream, Suppression, SuppressionReason, TenantId, Why,
};
use posthaste::queue::{IntentAnswer, IntentRefusal, SettleAnswer};

use super::bed::{Bed, Mail, at, bounced, deferred, delivered, ids, reply};
use super::lease::drain;

pub(crate) async fn a_settlement_is_applied_whole(mut bed: Bed) {
    let id = bed.accept_one().await;
    let leased = bed.lease_one(at(1)).await;
    let mut settlement = deferred(&leased, at(2), at(300));
    (settlement.attempts, settlement.ambiguous, settlement.panics) = (2, 1, 3);
    assert_eq!(bed.settle(settlement.clone()).await, SettleAnswer::Settled);

    let mut expected = leased.delivery.clone();
    expected.state = State::Deferred;
    expected.due_at = at(300);
    expected.why = Some(Why::Deferred(BounceClass::Greylisted));
    (expected.attempts, expected.ambiguous, expected.panics) = (2, 1, 3);
    expected.source = Some(SourceId::from("ip1"));
    expected.last_reply = Some(reply(451, at(2)));
    expected.updated_at = at(2);
    assert_eq!(bed.delivery(id).await, expected);
    let events = bed.store().events(id.message, 10).await.expect("events");
    assert_eq!((events[1].at, &events[1].kind), (at(2), &settlement.events[0]));

    let leased = bed.lease_one(at(300)).await;
    assert_eq!(bed.settle(bounced(&leased, at(301))).await, SettleAnswer::Settled);
    expected.state = State::Bounced;
    expected.why = None;
    expected.attempts = 3;
    expected.last_reply = Some(reply(550, at(301)));
    expected.bounce = Some(BounceClass::InvalidRecipient);
    expected.updated_at = at(301);
    assert_eq!(bed.delivery(id).await, expected);
}

pub(crate) async fn what_a_settlement_does_not_say_stays(mut bed: Bed) {
    let id = bed.accept_one().await;
    let leased = bed.lease_one(at(1)).await;
    assert_eq!(
        bed.settle(deferred(&leased, at(2), at(10))).await,
        SettleAnswer::Settled
    );
    let leased = bed.lease_one(at(10)).await;
    let mut silent = deferred(&leased, at(11), at(20));
    (silent.source, silent.reply, silent.attempts) = (None, None, 0);
    silent.events = vec![];
    assert_eq!(bed.settle(silent).await, SettleAnswer::Settled);

    let stored = bed.delivery(id).await;
    assert_eq!((stored.attempts, stored.source), (1, Some(SourceId::from("ip1"))));
    assert_eq!(stored.last_reply, Some(reply(451, at(2))));
    assert_eq!(bed.event_names(id).await, ["accepted", "deferred"]);
}

pub(crate) async fn a_settlement_survives_a_crash(mut bed: Bed) {
    let settled = bed.accept(&Mail::to(&["a@x.example", "b@x.example"])).await;
    let leased = bed.lease(Class::Transactional, 2, at(1)).await;
    assert_eq!(bed.settle(delivered(&leased[0], at(2))).await, SettleAnswer::Settled);
    assert_eq!(
        bed.settle(deferred(&leased[1], at(2), at(300))).await,
        SettleAnswer::Settled
    );
    let before = bed.store().deliveries(settled[0].message).await.expect("deliveries");
    let events = bed.store().events(settled[0].message, 10).await.expect("events");
    bed.crash().await;
    assert_eq!(bed.store().deliveries(settled[0].message).await, Ok(before));
    assert_eq!(bed.store().events(settled[0].message, 10).await, Ok(events));
    assert_eq!(bed.lease_ids(Class::Transactional, 10, at(299)).await, []);
    assert_eq!(bed.lease_ids(Class::Transactional, 10, at(300)).await, [settled[1]]);
}

pub(crate) async fn a_stale_settlement_changes_nothing(mut bed: Bed) {
    let id = bed.accept_one().await;
    let old = bed.lease_one(at(1)).await;
    let new = bed.lease_one(at(61)).await;
    let (before, depth) = (bed.delivery(id).await, bed.queue().depth(at(62)).await);
    let mut stale = bounced(&old, at(62));
    stale.suppress = Some(SuppressionReason::HardBounce);
    assert_eq!(bed.settle(stale).await, SettleAnswer::Stale);
    let mut unknown = delivered(&old, at(62));
    unknown.delivery.message = bed.fresh_id();
    assert_eq!(bed.settle(unknown).await, SettleAnswer::Stale);

    assert_eq!(bed.delivery(id).await, before);
    assert_eq!(bed.event_names(id).await, ["accepted"]);
    assert_eq!(bed.queue().depth(at(62)).await, depth);
    assert_eq!(bed.store().suppression(TenantId(1), "a@x.example").await, Ok(None));
    assert!(bed.has_body(id.message).await);
    assert_eq!(bed.settle(delivered(&new, at(63))).await, SettleAnswer::Settled);
}

pub(crate) async fn the_second_settlement_under_one_lease_is_stale(mut bed: Bed) {
    let id = bed.accept_one().await;
    let leased = bed.lease_one(at(1)).await;
    assert_eq!(
        bed.settle(deferred(&leased, at(2), at(10))).await,
        SettleAnswer::Settled
    );
    assert_eq!(bed.settle(delivered(&leased, at(3))).await, SettleAnswer::Stale);
    let twins = bed.lease_one(at(10)).await;
    let answers = bed
        .queue()
        .settle(vec![delivered(&twins, at(11)), bounced(&twins, at(11))])
        .await;
    assert_eq!(
        answers,
        Ok(vec![SettleAnswer::Settled, SettleAnswer::Stale]),
        "in one batch, too"
    );
    assert_eq!(bed.event_names(id).await, ["accepted", "deferred", "delivered"]);
}

pub(crate) async fn of_twin_settlements_at_the_same_time_exactly_one_counts(mut bed: Bed) {
    let id = bed.accept_one().await;
    let leased = bed.lease_one(at(1)).await;
    let mut twins = Vec::new();
    for n in 0..16 {
        let (queue, leased) = (bed.queue(), leased.clone());
        let twin = if n % 2 == 0 {
            delivered(&leased, at(2))
        } else {
            deferred(&leased, at(2), at(9))
        };
        twins.push(tokio::spawn(async move { queue.settle(vec![twin]).await }));
    }
    let mut settled = 0;
    for twin in twins {
        let answers = twin.await.expect("no panic").expect("settles");
        settled += answers
            .iter()
            .filter(|answer| **answer == SettleAnswer::Settled)
            .count();
    }
    assert_eq!(settled, 1);
    assert_eq!(bed.event_names(id).await.len(), 2);
}

pub(crate) async fn a_late_settlement_counts_while_nobody_else_took_the_lease(mut bed: Bed) {
    let id = bed.accept_one().await;
    let leased = bed.lease_one(at(1)).await;
    assert_eq!(bed.intent(&leased, at(2)).await, IntentAnswer::Recorded);
    assert_eq!(
        bed.lease_ids(Class::Broadcast, 10, at(500)).await,
        [],
        "somebody notices that time has passed"
    );
    assert_eq!(bed.settle(delivered(&leased, at(500))).await, SettleAnswer::Settled);
    assert_eq!(bed.delivery(id).await.state, State::Delivered);
    assert_eq!(bed.lease_ids(Class::Transactional, 10, at(500)).await, []);
}

pub(crate) async fn each_settlement_of_a_batch_gets_its_own_answer(mut bed: Bed) {
    bed.accept(&Mail::to(&["a@x.example", "b@x.example", "c@x.example"]))
        .await;
    let old = bed.lease(Class::Transactional, 3, at(1)).await;
    let new = bed.lease(Class::Transactional, 2, at(61)).await;
    let batch = vec![
        delivered(&new[1], at(62)),
        delivered(&old[0], at(62)),
        delivered(&old[2], at(62)),
        deferred(&new[0], at(62), at(100)),
    ];
    use SettleAnswer::{Settled, Stale};
    assert_eq!(
        bed.queue().settle(batch).await,
        Ok(vec![Settled, Stale, Settled, Settled])
    );
    assert_eq!(bed.queue().settle(vec![]).await, Ok(vec![]));
}

pub(crate) async fn nothing_leads_out_of_a_final_state(mut bed: Bed) {
    let id = bed.accept_one().await;
    let leased = bed.lease_one(at(1)).await;
    assert_eq!(bed.settle(bounced(&leased, at(2))).await, SettleAnswer::Settled);
    let settled = bed.delivery(id).await;

    assert_eq!(bed.lease_ids(Class::Transactional, 10, at(10_000)).await, []);
    assert_eq!(
        bed.queue().renew(vec![leased.lease()], at(10_000)).await,
        Ok(vec![leased.lease()])
    );
    bed.release(&leased, at(3)).await;
    bed.park(&leased, &super::bed::lane("ip1", "google")).await;
    assert_eq!(bed.settle(delivered(&leased, at(4))).await, SettleAnswer::Stale);
    assert_eq!(bed.queue().cancel(id, at(5)).await, Ok(false));
    let expired = bed.queue().lease_expired(10, at(10_000), at(10_060)).await;
    assert_eq!(ids(&expired.expect("leases")), []);
    assert_eq!(bed.lease_ids(Class::Transactional, 10, at(10_000)).await, []);
    assert_eq!(bed.delivery(id).await, settled);
    assert_eq!(bed.event_names(id).await, ["accepted", "bounced"]);
}

pub(crate) async fn a_hard_bounce_suppresses_the_address_in_the_same_step(mut bed: Bed) {
    bed.accept(&Mail::to(&["Ann@x.example"])).await;
    bed.accept(&Mail::to(&["ann@x.example"]).class(Class::Broadcast)).await;
    let leased = bed.lease_one(at(1)).await;
    let waiting = bed.lease(Class::Broadcast, 1, at(1)).await;
    let mut settlement = bounced(&leased, at(2));
    settlement.suppress = Some(SuppressionReason::HardBounce);
    assert_eq!(bed.settle(settlement).await, SettleAnswer::Settled);

    let expected = Suppression {
        tenant: TenantId(1),
        address: "ann@x.example".to_owned(),
        stream: None,
        reason: SuppressionReason::HardBounce,
        created_at: at(2),
    };
    assert_eq!(
        bed.store().suppression(TenantId(1), "ann@x.example").await,
        Ok(Some(expected))
    );
    let flags = bed
        .store()
        .suppressed(TenantId(1), Stream::Transactional, &["ann@x.example".to_owned()])
        .await;
    assert_eq!(flags, Ok(vec![true]));
    let answer = bed.intent(&waiting[0], at(3)).await;
    assert_eq!(answer, IntentAnswer::Refused(IntentRefusal::Suppressed));
}

pub(crate) async fn events_are_ordered_over_the_whole_store(mut bed: Bed) {
    let first = bed.accept_one().await;
    let leased = bed.lease_one(at(1)).await;
    let second = bed.accept_one().await;
    assert_eq!(
        bed.settle(deferred(&leased, at(2), at(50))).await,
        SettleAnswer::Settled
    );
    let other = bed.lease_one(at(3)).await;
    let mut twice = delivered(&other, at(4));
    twice.events.insert(
        0,
        EventKind::Ambiguous {
            next: Why::ResendAmbiguous,
            until: at(4),
            host: "mx1.google.example".to_owned(),
        },
    );
    assert_eq!(bed.settle(twice).await, SettleAnswer::Settled);
    bed.crash().await;
    let leased = bed.lease_one(at(200)).await;
    assert_eq!(bed.settle(delivered(&leased, at(201))).await, SettleAnswer::Settled);

    let mut all = bed.store().events(first.message, 10).await.expect("events");
    assert!(all.is_sorted_by(|a, b| a.sequence < b.sequence), "{all:?}");
    all.extend(bed.store().events(second.message, 10).await.expect("events"));
    all.sort_by_key(|event| event.sequence);
    let history: Vec<_> = all.iter().map(|event| (event.delivery, event.kind.name())).collect();
    let expected = [
        (first, "accepted"),
        (second, "accepted"),
        (first, "deferred"),
        (second, "ambiguous"),
        (second, "delivered"),
        (first, "delivered"),
    ];
    assert_eq!(history, expected);
    assert!(
        all.is_sorted_by(|a, b| a.sequence < b.sequence),
        "no number is given twice: {all:?}"
    );
}

pub(crate) async fn each_delivery_has_exactly_one_last_event(mut bed: Bed) {
    let ids = bed
        .accept(&Mail::to(&["a@x.example", "b@x.example", "c@x.example"]))
        .await;
    let old = bed.lease(Class::Transactional, 3, at(1)).await;
    let new = bed.lease(Class::Transactional, 3, at(61)).await;
    for settlement in [
        delivered(&old[0], at(62)),
        delivered(&new[0], at(62)),
        bounced(&new[0], at(63)),
        bounced(&new[1], at(63)),
        delivered(&old[1], at(64)),
    ] {
        bed.settle(settlement).await;
    }
    for id in &ids {
        bed.queue().cancel(*id, at(65)).await.expect("cancels");
        bed.queue().cancel(*id, at(66)).await.expect("cancels");
    }
    for (id, last) in ids.into_iter().zip(["delivered", "bounced", "cancelled"]) {
        assert_eq!(bed.event_names(id).await, ["accepted", last]);
    }
}

pub(crate) async fn a_body_lives_until_the_last_settlement(mut bed: Bed) {
    let ids = bed.accept(&Mail::to(&["a@x.example", "b@x.example"])).await;
    let message = ids[0].message;
    let leased = bed.lease(Class::Transactional, 2, at(1)).await;
    assert_eq!(bed.settle(delivered(&leased[0], at(2))).await, SettleAnswer::Settled);
    assert!(bed.has_body(message).await, "one is left");
    assert_eq!(
        bed.settle(deferred(&leased[1], at(2), at(10))).await,
        SettleAnswer::Settled
    );
    assert!(bed.has_body(message).await, "a deferred one needs it");
    bed.crash().await;
    assert!(bed.has_body(message).await);
    let leased = bed.lease_one(at(100)).await;
    assert_eq!(bed.settle(bounced(&leased, at(101))).await, SettleAnswer::Settled);
    assert!(!bed.has_body(message).await);
    assert!(
        bed.store().message(message).await.expect("message").is_some(),
        "the record stays"
    );
}

pub(crate) async fn a_settlement_that_waits_wakes_the_scheduler(mut bed: Bed) {
    bed.accept_one().await;
    let leased = bed.lease_one(at(1)).await;
    let wake = bed.queue().wake();
    drain(&wake);
    let woken = wake.notified();
    let mut settlement = deferred(&leased, at(2), at(2));
    settlement.reply = Some(LastReply {
        host: String::new(),
        ..reply(0, at(2))
    });
    assert_eq!(bed.settle(settlement).await, SettleAnswer::Settled);
    tokio::time::timeout(Duration::from_secs(10), woken)
        .await
        .expect("woken");
}
