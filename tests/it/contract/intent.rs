//! INTENT: whether the dot may go, and what is known when its answer is lost.

use posthaste::domain::{Class, Next, State, Stream, Suppression, SuppressionReason, TenantId};
use posthaste::queue::{IntentAnswer, IntentRefusal, OpenIntent, SettleAnswer};

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
