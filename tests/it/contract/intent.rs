//! INTENT: whether the dot may go, and what is known when its answer is lost.

use posthaste::domain::{Class, Next, State, Stream, Suppression, SuppressionReason, TenantId, Timestamp};
use posthaste::queue::{Charge, Intent, IntentAnswer, IntentRefusal, Leased, OpenIntent, SettleAnswer, Spent};

use super::bed::{Bed, LEASE, Mail, at, deferred, delivered, intent, lane};

const STALE: IntentAnswer = IntentAnswer::Refused(IntentRefusal::Stale);
const EXPIRED: IntentAnswer = IntentAnswer::Refused(IntentRefusal::Expired);
const SUPPRESSED: IntentAnswer = IntentAnswer::Refused(IntentRefusal::Suppressed);

pub(crate) async fn the_holder_of_the_lease_may_send(mut bed: Bed) {
    let id = bed.accept_one().await;
    let leased = bed.lease_one(at(1)).await;
    let before = bed.delivery(id).await;
    assert_eq!(bed.intent(&leased, at(2)).await, IntentAnswer::Recorded);
    assert_eq!(bed.delivery(id).await, before, "an INTENT is not an attempt yet");
    assert_eq!(bed.event_names(id).await, ["accepted"]);
    assert_eq!(bed.settle(delivered(&leased, at(3))).await, SettleAnswer::Settled);
}

pub(crate) async fn without_the_lease_nobody_sends(mut bed: Bed) {
    bed.accept_one().await;
    let old = bed.lease_one(at(1)).await;
    let new = bed.lease_one(at(61)).await;
    assert_eq!(bed.intent(&old, at(62)).await, STALE);
    bed.release(&new, at(70)).await;
    assert_eq!(bed.intent(&new, at(62)).await, STALE, "given back is given back");
    let mut nobody = intent(&new, at(62));
    nobody.lease.delivery.message = bed.fresh_id();
    assert_eq!(bed.queue().intent(nobody).await, Ok(STALE));
}

pub(crate) async fn after_the_end_of_the_lease_nobody_sends(mut bed: Bed) {
    bed.accept_one().await;
    let leased = bed.lease_one(at(1)).await;
    assert_eq!(
        bed.intent(&leased, at(61)).await,
        STALE,
        "another could take it at any moment"
    );
    assert_eq!(bed.queue().renew(vec![leased.lease()], at(200)).await, Ok(vec![]));
    assert_eq!(bed.intent(&leased, at(61)).await, IntentAnswer::Recorded);
}

pub(crate) async fn what_has_expired_is_not_sent(mut bed: Bed) {
    bed.accept(&Mail::to(&["a@x.example"]).expires(at(30))).await;
    let leased = bed.lease_one(at(1)).await;
    assert_eq!(bed.intent(&leased, at(30)).await, EXPIRED);
    assert_eq!(bed.intent(&leased, at(29)).await, IntentAnswer::Recorded);
}

pub(crate) async fn what_was_suppressed_meanwhile_is_not_sent(mut bed: Bed) {
    for stream in [None, Some(Stream::Transactional)] {
        let mail = Mail::to(&["Ann@x.example"]);
        bed.accept(&mail).await;
        let leased = bed.lease_one(at(1)).await;
        suppress(&bed, "ann@x.example", stream).await;
        assert_eq!(bed.intent(&leased, at(2)).await, SUPPRESSED, "{stream:?}");
        let store = bed.store();
        assert_eq!(store.delete_suppression(TenantId(1), "ann@x.example").await, Ok(true));
        assert_eq!(bed.intent(&leased, at(2)).await, IntentAnswer::Recorded, "{stream:?}");
        assert_eq!(bed.settle(delivered(&leased, at(3))).await, SettleAnswer::Settled);
    }
}

pub(crate) async fn a_suppression_of_the_other_stream_stops_nothing(mut bed: Bed) {
    suppress(&bed, "ann@x.example", Some(Stream::Broadcast)).await;
    bed.accept(&Mail::to(&["ann@x.example"]).class(Class::Critical)).await;
    bed.accept(&Mail::to(&["ann@x.example"]).class(Class::Broadcast)).await;
    bed.accept(&Mail::to(&["ann@x.example"]).class(Class::Broadcast).tenant(2))
        .await;
    let code = bed.lease(Class::Critical, 1, at(1)).await;
    let newsletters = bed.lease(Class::Broadcast, 2, at(1)).await;
    assert_eq!(bed.intent(&code[0], at(2)).await, IntentAnswer::Recorded);
    assert_eq!(bed.intent(&newsletters[0], at(2)).await, SUPPRESSED);
    assert_eq!(
        bed.intent(&newsletters[1], at(2)).await,
        IntentAnswer::Recorded,
        "another tenant's list"
    );
}

pub(crate) async fn what_is_cancelled_or_final_is_not_sent(mut bed: Bed) {
    let cancelled = bed.accept_one().await;
    let leased = bed.lease_one(at(1)).await;
    assert_eq!(bed.queue().cancel(cancelled, at(2)).await, Ok(true));
    assert_eq!(bed.intent(&leased, at(3)).await, STALE);

    bed.accept_one().await;
    let leased = bed.lease_one(at(1)).await;
    assert_eq!(bed.settle(delivered(&leased, at(2))).await, SettleAnswer::Settled);
    assert_eq!(bed.intent(&leased, at(3)).await, STALE);
}

pub(crate) async fn an_intent_without_outcome_comes_back_after_a_crash(mut bed: Bed) {
    let sent = bed.accept_one().await;
    let leased = bed.lease_one(at(1)).await;
    let clean = bed.accept_one().await;
    assert_eq!(bed.lease_ids(Class::Transactional, 10, at(1)).await, [clean]);
    assert_eq!(bed.intent(&leased, at(2)).await, IntentAnswer::Recorded);
    bed.crash().await;

    let again = bed.lease(Class::Transactional, 10, at(2).plus(LEASE)).await;
    let open: Vec<_> = again
        .into_iter()
        .map(|one| (one.delivery.id, one.open_intent))
        .collect();
    assert_eq!(open, [(sent, Some(first_intent())), (clean, None)]);
}

pub(crate) async fn an_intent_without_outcome_comes_back_when_the_lease_ends(mut bed: Bed) {
    bed.accept_one().await;
    let leased = bed.lease_one(at(1)).await;
    assert_eq!(bed.intent(&leased, at(2)).await, IntentAnswer::Recorded);
    for now in [at(61), at(121)] {
        assert_eq!(bed.lease_one(now).await.open_intent, Some(first_intent()));
    }
}

pub(crate) async fn a_refused_intent_leaves_nothing_open(mut bed: Bed) {
    bed.accept(&Mail::to(&["ann@x.example"])).await;
    let leased = bed.lease_one(at(1)).await;
    suppress(&bed, "ann@x.example", None).await;
    assert_eq!(bed.intent(&leased, at(2)).await, SUPPRESSED);
    assert_eq!(bed.intent(&leased, at(4000)).await, STALE);
    assert_eq!(bed.lease_one(at(61)).await.open_intent, None);
}

pub(crate) async fn an_outcome_closes_the_intent(mut bed: Bed) {
    bed.accept_one().await;
    let leased = bed.lease_one(at(1)).await;
    assert_eq!(bed.intent(&leased, at(2)).await, IntentAnswer::Recorded);
    assert_eq!(
        bed.settle(deferred(&leased, at(3), at(10))).await,
        SettleAnswer::Settled
    );
    assert_eq!(bed.lease_one(at(10)).await.open_intent, None);
    bed.crash().await;
    assert_eq!(
        bed.lease_one(at(10).plus(LEASE)).await.open_intent,
        None,
        "closed for good"
    );
}

pub(crate) async fn only_an_outcome_closes_the_intent(mut bed: Bed) {
    bed.accept_one().await;
    let leased = bed.lease_one(at(1)).await;
    assert_eq!(bed.intent(&leased, at(2)).await, IntentAnswer::Recorded);
    bed.release(&leased, at(10)).await;
    let released = bed.lease_one(at(10)).await;
    assert_eq!(released.open_intent, Some(first_intent()));
    bed.park(&released, &lane("ip1", "google")).await;
    let parked = bed.lease_parked(&lane("ip1", "google"), 10, at(11)).await;
    assert_eq!(parked[0].open_intent, Some(first_intent()));

    let mut unknown = delivered(&parked[0], at(12));
    unknown.next = Next::Final(State::Unknown);
    unknown.ambiguous = 1;
    assert_eq!(bed.settle(unknown).await, SettleAnswer::Settled);
    assert_eq!(bed.delivery(leased.delivery.id).await.ambiguous, 1);
}

const OVER_CAP: IntentAnswer = IntentAnswer::Refused(IntentRefusal::WarmupCap);

/// An INTENT that costs one of `cap` mails of a day, for the lane from `source` to google.
async fn charged(bed: &Bed, leased: &Leased, now: Timestamp, source: &str, (day, cap): (u32, u64)) -> IntentAnswer {
    let intent = Intent {
        lane: lane(source, "google"),
        charge: Some(Charge { day, cap }),
        ..intent(leased, now)
    };
    bed.queue().intent(intent).await.expect("the backend answers")
}

/// Leases of this many deliveries.
async fn several(bed: &mut Bed, count: usize) -> Vec<Leased> {
    for _ in 0..count {
        bed.accept_one().await;
    }
    bed.lease(Class::Transactional, count, at(1)).await
}

pub(crate) async fn a_lane_in_warm_up_sends_no_more_than_its_cap(mut bed: Bed) {
    let leased = several(&mut bed, 4).await;
    assert_eq!(
        charged(&bed, &leased[0], at(2), "ip1", (10, 2)).await,
        IntentAnswer::Recorded
    );
    assert_eq!(
        charged(&bed, &leased[1], at(2), "ip1", (10, 2)).await,
        IntentAnswer::Recorded
    );
    assert_eq!(charged(&bed, &leased[2], at(2), "ip1", (10, 2)).await, OVER_CAP);
    assert_eq!(
        charged(&bed, &leased[2], at(2), "ip2", (10, 2)).await,
        IntentAnswer::Recorded,
        "each lane has a budget of its own"
    );
    assert_eq!(
        charged(&bed, &leased[3], at(2), "ip1", (10, 3)).await,
        IntentAnswer::Recorded
    );
    let spent = |used| Spent { day: 10, used };
    let expected = vec![(lane("ip1", "google"), spent(3)), (lane("ip2", "google"), spent(1))];
    assert_eq!(bed.store().charges(10).await, Ok(expected.clone()));
    assert_eq!(bed.store().charges(1).await, Ok(expected[..1].to_vec()));
}

pub(crate) async fn a_refused_intent_costs_nothing(mut bed: Bed) {
    bed.accept(&Mail::to(&["ann@x.example"])).await;
    bed.accept(&Mail::to(&["bob@x.example"]).expires(at(30))).await;
    let leased = bed.lease(Class::Transactional, 2, at(1)).await;
    suppress(&bed, "ann@x.example", None).await;
    assert_eq!(charged(&bed, &leased[0], at(2), "ip1", (10, 1)).await, SUPPRESSED);
    assert_eq!(charged(&bed, &leased[1], at(31), "ip1", (10, 1)).await, EXPIRED);
    assert_eq!(charged(&bed, &leased[1], at(100), "ip1", (10, 1)).await, STALE);
    assert_eq!(bed.store().charges(10).await, Ok(vec![]));
}

pub(crate) async fn an_intent_over_the_cap_leaves_nothing_open(mut bed: Bed) {
    let leased = several(&mut bed, 1).await;
    assert_eq!(charged(&bed, &leased[0], at(2), "ip1", (10, 0)).await, OVER_CAP);
    assert_eq!(bed.store().charges(10).await, Ok(vec![]));
    assert_eq!(bed.lease_one(at(61)).await.open_intent, None);
}

pub(crate) async fn what_was_charged_survives_a_crash(mut bed: Bed) {
    let leased = several(&mut bed, 1).await;
    assert_eq!(
        charged(&bed, &leased[0], at(2), "ip1", (10, 1)).await,
        IntentAnswer::Recorded
    );
    bed.crash().await;
    let leased = several(&mut bed, 1).await;
    let last = leased.last().expect("one is leased");
    assert_eq!(charged(&bed, last, at(2), "ip1", (10, 1)).await, OVER_CAP);
}

pub(crate) async fn a_clock_that_jumps_back_opens_no_new_budget(mut bed: Bed) {
    let leased = several(&mut bed, 3).await;
    assert_eq!(
        charged(&bed, &leased[0], at(2), "ip1", (10, 1)).await,
        IntentAnswer::Recorded
    );
    assert_eq!(charged(&bed, &leased[1], at(2), "ip1", (9, 1)).await, OVER_CAP);
    assert_eq!(
        charged(&bed, &leased[1], at(2), "ip1", (11, 1)).await,
        IntentAnswer::Recorded
    );
    assert_eq!(charged(&bed, &leased[2], at(2), "ip1", (10, 1)).await, OVER_CAP);
    assert_eq!(
        charged(&bed, &leased[2], at(2), "ip1", (10, 2)).await,
        IntentAnswer::Recorded
    );
    let spent = Spent { day: 11, used: 2 };
    assert_eq!(bed.store().charges(10).await, Ok(vec![(lane("ip1", "google"), spent)]));
}

pub(crate) async fn of_intents_at_the_same_time_no_more_than_the_cap_are_recorded(mut bed: Bed) {
    let leased = several(&mut bed, 8).await;
    let asked = leased.iter().map(|one| charged(&bed, one, at(2), "ip1", (10, 3)));
    let answers = futures_util::future::join_all(asked).await;
    let recorded = answers.iter().filter(|answer| **answer == IntentAnswer::Recorded);
    assert_eq!(recorded.count(), 3, "{answers:?}");
}

async fn taken_back(bed: &Bed, source: &str, day: u32) {
    assert_eq!(bed.queue().refund(&lane(source, "google"), day).await, Ok(()));
}

pub(crate) async fn what_is_taken_back_may_be_charged_again_and_that_survives_a_crash(mut bed: Bed) {
    let leased = several(&mut bed, 3).await;
    for one in &leased[..2] {
        assert_eq!(charged(&bed, one, at(2), "ip1", (10, 2)).await, IntentAnswer::Recorded);
    }
    assert_eq!(charged(&bed, &leased[2], at(2), "ip1", (10, 2)).await, OVER_CAP);
    taken_back(&bed, "ip1", 10).await;
    bed.crash().await;
    let spent = |used| Ok(vec![(lane("ip1", "google"), Spent { day: 10, used })]);
    assert_eq!(bed.store().charges(10).await, spent(1));
    let again = several(&mut bed, 2).await;
    let last = &again[again.len() - 2..];
    assert_eq!(
        charged(&bed, &last[0], at(2), "ip1", (10, 2)).await,
        IntentAnswer::Recorded
    );
    assert_eq!(charged(&bed, &last[1], at(2), "ip1", (10, 2)).await, OVER_CAP, "once");
    assert_eq!(bed.store().charges(10).await, spent(2));
}

pub(crate) async fn nothing_is_taken_back_that_was_not_charged_on_that_day(mut bed: Bed) {
    taken_back(&bed, "ip1", 10).await;
    assert_eq!(bed.store().charges(10).await, Ok(vec![]));
    let leased = several(&mut bed, 1).await;
    assert_eq!(
        charged(&bed, &leased[0], at(2), "ip1", (10, 2)).await,
        IntentAnswer::Recorded
    );
    let spent = |used| Ok(vec![(lane("ip1", "google"), Spent { day: 10, used })]);
    for (source, day) in [("ip1", 9), ("ip1", 11), ("ip2", 10)] {
        taken_back(&bed, source, day).await;
        assert_eq!(bed.store().charges(10).await, spent(1), "{source} {day}");
    }
    taken_back(&bed, "ip1", 10).await;
    taken_back(&bed, "ip1", 10).await;
    assert_eq!(bed.store().charges(10).await, spent(0), "never below none");
}

fn first_intent() -> OpenIntent {
    OpenIntent {
        attempt: 1,
        at: at(2),
        lane: lane("ip1", "google"),
        host: "mx1.google.example".to_owned(),
    }
}

async fn suppress(bed: &Bed, address: &str, stream: Option<Stream>) {
    let suppression = Suppression {
        tenant: TenantId(1),
        address: address.to_owned(),
        stream,
        reason: SuppressionReason::Manual,
        created_at: at(0),
    };
    assert_eq!(bed.store().put_suppression(suppression).await, Ok(()));
}
