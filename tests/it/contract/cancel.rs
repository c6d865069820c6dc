//! Cancelling: only what is not on its way.

use posthaste::domain::{Class, Next, State, Why};
use posthaste::queue::{IntentAnswer, IntentRefusal, SettleAnswer};

use super::bed::{Bed, Mail, at, deferred, delivered, ids, intent, lane};

pub(crate) async fn what_waits_can_be_cancelled(mut bed: Bed) {
    let google = lane("ip1", "google");
    let parked = bed.accept_one().await;
    bed.park(&bed.lease_one(at(1)).await, &google).await;
    let held = bed.accept_one().await;
    let leased = bed.lease_one(at(1)).await;
    let mut hold = deferred(&leased, at(2), at(500));
    hold.next = Next::Wait {
        state: State::Held,
        due_at: at(500),
        why: Why::HeldAmbiguous,
    };
    assert_eq!(bed.settle(hold).await, SettleAnswer::Settled);
    let scheduled = bed
        .accept(&Mail::to(&["a@x.example"]).due(at(100)).state(State::Scheduled))
        .await[0];
    let queued = bed.accept_one().await;

    for id in [parked, held, scheduled, queued] {
        assert_eq!(bed.queue().cancel(id, at(3)).await, Ok(true));
        let cancelled = bed.delivery(id).await;
        assert_eq!(
            (cancelled.state, cancelled.why, cancelled.updated_at),
            (State::Cancelled, None, at(3))
        );
        assert_eq!(bed.event_names(id).await.last(), Some(&"cancelled"));
        assert!(!bed.has_body(id.message).await, "it was the last of its Message");
    }
    assert_eq!(bed.lease_ids(Class::Transactional, 10, at(1000)).await, []);
    assert_eq!(ids(&bed.lease_parked(&google, 10, at(1000)).await), []);
    assert_eq!(bed.queue().parked_lanes(10).await, Ok(vec![]));
    assert_eq!(bed.queue().next_due(Class::Transactional).await, Ok(None));
}

pub(crate) async fn a_lease_without_intent_is_taken_away(mut bed: Bed) {
    let id = bed.accept_one().await;
    let leased = bed.lease_one(at(1)).await;
    assert_eq!(bed.queue().cancel(id, at(2)).await, Ok(true));
    assert_eq!(bed.settle(delivered(&leased, at(3))).await, SettleAnswer::Stale);
    assert_eq!(
        bed.queue().renew(vec![leased.lease()], at(100)).await,
        Ok(vec![leased.lease()])
    );
    assert_eq!(bed.event_names(id).await, ["accepted", "cancelled"]);
    assert_eq!(bed.queue().depth(at(3)).await.map(|depth| depth.leased), Ok(0));
}

pub(crate) async fn what_is_on_its_way_cannot_be_cancelled(mut bed: Bed) {
    let id = bed.accept_one().await;
    let leased = bed.lease_one(at(1)).await;
    assert_eq!(bed.intent(&leased, at(2)).await, IntentAnswer::Recorded);
    assert_eq!(bed.queue().cancel(id, at(3)).await, Ok(false));
    assert_eq!(bed.event_names(id).await, ["accepted"]);
    assert_eq!(
        bed.settle(deferred(&leased, at(4), at(100))).await,
        SettleAnswer::Settled
    );
    assert_eq!(bed.queue().cancel(id, at(5)).await, Ok(true), "it came back and waits");
}

pub(crate) async fn what_may_have_gone_out_cannot_be_cancelled_after_its_lease_either(mut bed: Bed) {
    let lapsed = bed.accept_one().await;
    let leased = bed.lease_one(at(1)).await;
    assert_eq!(bed.intent(&leased, at(2)).await, IntentAnswer::Recorded);
    assert_eq!(bed.queue().cancel(lapsed, at(60)).await, Ok(false));
    assert_eq!(bed.queue().cancel(lapsed, at(61)).await, Ok(false));
    assert_eq!(bed.queue().cancel(lapsed, at(1000)).await, Ok(false));
    assert_eq!(bed.settle(delivered(&leased, at(1001))).await, SettleAnswer::Settled);

    let parked = bed.accept_one().await;
    let leased = bed.lease_one(at(1)).await;
    assert_eq!(bed.intent(&leased, at(2)).await, IntentAnswer::Recorded);
    bed.park(&leased, &lane("ip1", "google")).await;
    assert_eq!(bed.queue().cancel(parked, at(3)).await, Ok(false));
    bed.crash().await;
    assert_eq!(bed.queue().cancel(parked, at(1000)).await, Ok(false));
    assert_eq!(bed.event_names(parked).await, ["accepted"]);
}

pub(crate) async fn of_a_cancellation_and_an_intent_at_the_same_time_exactly_one_wins(mut bed: Bed) {
    for _ in 0..20 {
        let id = bed.accept_one().await;
        let leased = bed.lease_one(at(1)).await;
        let (canceller, sender) = (bed.queue(), bed.queue());
        let cancelled = tokio::spawn(async move { canceller.cancel(id, at(2)).await });
        let recorded = tokio::spawn(async move { sender.intent(intent(&leased, at(2))).await });
        match (cancelled.await.expect("no panic"), recorded.await.expect("no panic")) {
            (Ok(true), Ok(IntentAnswer::Refused(IntentRefusal::Stale))) | (Ok(false), Ok(IntentAnswer::Recorded)) => {}
            both => panic!("withdrawn and sent, or neither: {both:?}"),
        }
    }
}

pub(crate) async fn what_is_final_or_unknown_cannot_be_cancelled(mut bed: Bed) {
    let id = bed.accept_one().await;
    assert_eq!(bed.queue().cancel(id, at(1)).await, Ok(true));
    let cancelled = bed.delivery(id).await;
    assert_eq!(bed.queue().cancel(id, at(2)).await, Ok(false));
    assert_eq!(bed.delivery(id).await, cancelled);
    let mut nobody = id;
    nobody.recipient = 7;
    assert_eq!(bed.queue().cancel(nobody, at(2)).await, Ok(false));
}

pub(crate) async fn a_cancellation_survives_a_crash(mut bed: Bed) {
    let id = bed.accept_one().await;
    assert_eq!(bed.queue().cancel(id, at(1)).await, Ok(true));
    bed.crash().await;
    assert_eq!(bed.delivery(id).await.state, State::Cancelled);
    assert_eq!(bed.lease_ids(Class::Transactional, 10, at(1000)).await, []);
}
