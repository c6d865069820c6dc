//! Leases: who is next, for how long, and what a fence tells.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::FutureExt;
use posthaste::domain::{Class, Next, State, Why};
use posthaste::queue::SettleAnswer;
use tokio::sync::Notify;

use super::bed::{Bed, LEASE, Mail, at, deferred, delivered, lane};

pub(crate) async fn deliveries_go_by_due_time_then_by_order_of_acceptance(mut bed: Bed) {
    let late = bed.accept(&Mail::to(&["late@x.example"]).due(at(20))).await;
    let second = bed.accept(&Mail::to(&["b@x.example", "c@x.example"]).due(at(10))).await;
    let third = bed.accept(&Mail::to(&["d@x.example"]).due(at(10))).await;
    let first = bed.accept(&Mail::to(&["a@x.example"]).due(at(5))).await;

    let order = bed.lease_ids(Class::Transactional, 10, at(30)).await;
    assert_eq!(order, [first, second, third, late].concat());
}

/// Of a long line a large lease has the newest too; everybody comes once, and nobody who is not due.
pub(crate) async fn a_fresh_one_does_not_wait_for_the_whole_of_a_long_line(mut bed: Bed) {
    const MAX: usize = 64;
    let addresses: Vec<String> = (0..50).map(|number| format!("u{number}@x.example")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let mut oldest = Vec::new();
    for second in 0..6 {
        oldest.extend(bed.accept(&Mail::to(&addresses).due(at(second))).await);
    }
    let mut all: BTreeSet<_> = oldest.iter().copied().collect();
    let fresh = bed.accept(&Mail::to(&["fresh@x.example"]).due(at(20))).await[0];
    bed.accept(&Mail::to(&["later@x.example"]).due(at(40))).await;
    all.insert(fresh);
    let first = bed.lease_ids(Class::Transactional, MAX, at(30)).await;
    assert_eq!(first.len(), MAX);
    if bed.strict_line() {
        assert!(first.contains(&fresh), "it is the newest");
        assert_eq!(first[..MAX * 3 / 4], oldest[..MAX * 3 / 4], "the others are the oldest");
    }
    let mut seen: Vec<_> = first;
    loop {
        let more = bed.lease_ids(Class::Transactional, MAX, at(30)).await;
        let is_filled = more.len() == MAX || seen.len() + more.len() == all.len();
        assert!(is_filled || !bed.strict_line(), "as long as there is somebody");
        seen.extend(&more);
        if more.is_empty() {
            break;
        }
    }
    assert_eq!(
        (seen.len(), seen.into_iter().collect::<BTreeSet<_>>()),
        (all.len(), all)
    );
}

pub(crate) async fn nothing_is_leased_before_it_is_due(mut bed: Bed) {
    let mail = Mail::to(&["a@x.example"]).due(at(10)).state(State::Scheduled);
    let id = bed.accept(&mail).await[0];
    let just_before = at(10).minus(Duration::from_millis(1));
    assert_eq!(bed.lease_ids(Class::Transactional, 10, just_before).await, []);
    assert_eq!(bed.lease_ids(Class::Transactional, 10, at(10)).await, [id]);
}

pub(crate) async fn a_lease_takes_at_most_what_was_asked_for(mut bed: Bed) {
    let ids = bed
        .accept(&Mail::to(&["a@x.example", "b@x.example", "c@x.example"]))
        .await;
    assert_eq!(bed.lease_ids(Class::Transactional, 0, at(1)).await, []);
    assert_eq!(bed.lease_ids(Class::Transactional, 2, at(1)).await, ids[..2]);
    assert_eq!(bed.lease_ids(Class::Transactional, 2, at(1)).await, ids[2..]);
}

pub(crate) async fn classes_do_not_mix(mut bed: Bed) {
    let mut by_class = Vec::new();
    for class in Class::ALL {
        by_class.push((class, bed.accept(&Mail::to(&["a@x.example"]).class(class)).await));
    }
    for (class, ids) in by_class.into_iter().rev() {
        assert_eq!(bed.lease_ids(class, 10, at(1)).await, ids, "{class}");
    }
}

pub(crate) async fn what_is_leased_is_not_leased_again_before_the_lease_ends(mut bed: Bed) {
    let id = bed.accept_one().await;
    let leased = bed.lease_one(at(1)).await;
    assert_eq!(
        (leased.delivery.clone(), leased.until),
        (bed.delivery(id).await, at(61))
    );
    assert_eq!(leased.open_intent, None);
    let just_before = at(61).minus(Duration::from_millis(1));
    assert_eq!(bed.lease_ids(Class::Transactional, 10, just_before).await, []);
}

pub(crate) async fn who_asks_for_work_that_is_out_does_not_extend_its_lease(mut bed: Bed) {
    let id = bed.accept_one().await;
    let leased = bed.lease_one(at(1)).await;
    for seconds in [2, 20, 40, 60] {
        assert_eq!(bed.lease_ids(Class::Transactional, 10, at(seconds)).await, []);
    }
    assert_eq!(leased.until, at(61));
    assert_eq!(bed.lease_ids(Class::Transactional, 10, at(61)).await, [id]);
}

pub(crate) async fn after_the_lease_ended_it_is_leased_again_under_a_higher_fence(mut bed: Bed) {
    let id = bed.accept_one().await;
    let mut last = bed.lease_one(at(1)).await.fence;
    for round in 1..5 {
        let leased = bed.lease_one(at(1 + 60 * round)).await;
        assert_eq!(leased.delivery.id, id);
        assert!(leased.fence > last, "{:?} after {last:?}", leased.fence);
        last = leased.fence;
    }
}

pub(crate) async fn two_who_lease_at_the_same_time_share_nothing(mut bed: Bed) {
    let mail = Mail {
        addresses: (0..60).map(|n| format!("user{n}@x.example")).collect(),
        ..Mail::to(&[])
    };
    let all: BTreeSet<_> = bed.accept(&mail).await.into_iter().collect();
    let mut takers = Vec::new();
    for _ in 0..8 {
        let queue = bed.queue();
        takers.push(tokio::spawn(async move {
            let leased = queue.lease(Class::Transactional, 10, at(1), at(61)).await;
            super::bed::ids(&leased.expect("leases"))
        }));
    }
    let mut taken = Vec::new();
    for taker in takers {
        taken.extend(taker.await.expect("no panic"));
    }
    assert_eq!(taken.len(), 60, "each is taken once");
    assert_eq!(taken.into_iter().collect::<BTreeSet<_>>(), all);
}

pub(crate) async fn a_renewed_lease_lasts_longer(mut bed: Bed) {
    bed.accept_one().await;
    let leased = bed.lease_one(at(1)).await;
    assert_eq!(bed.queue().renew(vec![leased.lease()], at(100)).await, Ok(vec![]));
    assert_eq!(bed.lease_ids(Class::Transactional, 10, at(99)).await, []);
    assert_eq!(bed.settle(delivered(&leased, at(99))).await, SettleAnswer::Settled);
}

pub(crate) async fn a_lost_lease_is_reported_and_not_extended(mut bed: Bed) {
    bed.accept(&Mail::to(&["a@x.example", "b@x.example"])).await;
    let old = bed.lease(Class::Transactional, 2, at(1)).await;
    let new = bed.lease(Class::Transactional, 1, at(61)).await;
    let answer = bed.queue().renew(vec![old[0].lease(), old[1].lease()], at(500)).await;
    assert_eq!(answer, Ok(vec![old[0].lease()]), "the second was taken by nobody else");

    let again = bed.lease(Class::Transactional, 2, new[0].until).await;
    assert_eq!(
        super::bed::ids(&again),
        [old[0].delivery.id],
        "the stale renewal extended nothing"
    );
}

pub(crate) async fn expired_and_held_ones_are_leased_like_all_others(mut bed: Bed) {
    let expired = bed.accept(&Mail::to(&["a@x.example"]).expires(at(5))).await[0];
    let held = bed.accept_one().await;
    assert_eq!(bed.lease_ids(Class::Transactional, 1, at(1)).await, [expired]);
    let leased = bed.lease_one(at(1)).await;
    let mut hold = deferred(&leased, at(2), at(40));
    hold.next = Next::Wait {
        state: State::Held,
        due_at: at(40),
        why: Why::HeldAmbiguous,
    };
    assert_eq!(bed.settle(hold).await, SettleAnswer::Settled);

    assert_eq!(bed.lease_ids(Class::Transactional, 10, at(61)).await, [expired, held]);
}

pub(crate) async fn a_released_one_waits_for_its_new_time_without_an_attempt(mut bed: Bed) {
    let id = bed.accept_one().await;
    let leased = bed.lease_one(at(1)).await;
    bed.release(&leased, at(30)).await;

    let waiting = bed.delivery(id).await;
    assert_eq!(
        (waiting.why, waiting.due_at, waiting.state),
        (Some(Why::Dns), at(30), State::Queued)
    );
    assert_eq!((waiting.attempts, waiting.last_reply), (0, None));
    assert_eq!(bed.event_names(id).await, ["accepted"], "customers are not told");
    assert_eq!(
        bed.settle(delivered(&leased, at(2))).await,
        SettleAnswer::Stale,
        "its lease has ended"
    );

    assert_eq!(bed.lease_ids(Class::Transactional, 10, at(29)).await, []);
    assert_eq!(bed.lease_ids(Class::Transactional, 10, at(30)).await, [id]);
}

pub(crate) async fn a_release_under_a_lost_lease_is_passed_over(mut bed: Bed) {
    let ids = bed.accept(&Mail::to(&["a@x.example", "b@x.example"])).await;
    let old = bed.lease(Class::Transactional, 2, at(1)).await;
    let new = bed.lease(Class::Transactional, 1, at(61)).await;
    let before = bed.delivery(ids[0]).await;
    let release = |n: usize| posthaste::queue::Release {
        lease: old[n].lease(),
        due_at: at(62),
        why: Why::Dns,
    };
    assert_eq!(bed.queue().release(vec![release(0), release(1)]).await, Ok(()));

    assert_eq!(bed.delivery(ids[0]).await, before);
    assert_eq!(
        bed.lease_ids(Class::Transactional, 10, at(63)).await,
        [ids[1]],
        "the others are released"
    );
    assert_eq!(bed.settle(delivered(&new[0], at(64))).await, SettleAnswer::Settled);
}

pub(crate) async fn a_release_wakes_the_scheduler(mut bed: Bed) {
    bed.accept_one().await;
    let leased = bed.lease_one(at(1)).await;
    let wake = bed.queue().wake();
    drain(&wake);
    let woken = wake.notified();
    bed.release(&leased, at(1)).await;
    tokio::time::timeout(Duration::from_secs(10), woken)
        .await
        .expect("woken");
}

/// Takes what earlier steps left behind, so that only the next one can wake.
pub(crate) fn drain(wake: &Notify) {
    while wake.notified().now_or_never().is_some() {}
}

pub(crate) async fn after_a_crash_work_is_leased_again_under_higher_fences(mut bed: Bed) {
    let id = bed.accept_one().await;
    let before = bed.lease_one(at(1)).await;
    bed.crash().await;
    let after = bed.lease_one(at(1).plus(LEASE)).await;
    assert_eq!(after.delivery.id, id);
    assert!(after.fence > before.fence, "{:?} after {:?}", after.fence, before.fence);
    assert_eq!(bed.settle(delivered(&before, at(62))).await, SettleAnswer::Stale);
    assert_eq!(
        bed.queue().renew(vec![before.lease()], at(500)).await,
        Ok(vec![before.lease()])
    );
    assert_eq!(bed.settle(delivered(&after, at(62))).await, SettleAnswer::Settled);
}

pub(crate) async fn leases_held_in_memory_end_with_the_process(mut bed: Bed) {
    let id = bed.accept_one().await;
    let before = bed.lease_one(at(1)).await;
    bed.crash().await;
    let free = if bed.backend().leases_outlive_a_crash() {
        vec![]
    } else {
        vec![id]
    };
    let answer = bed.settle(delivered(&before, at(2))).await;
    assert_eq!(answer == SettleAnswer::Stale, !free.is_empty());
    assert_eq!(bed.lease_ids(Class::Transactional, 10, at(2)).await, free);
}

pub(crate) async fn the_next_due_time_is_the_earliest_in_line(mut bed: Bed) {
    let next_due = async |bed: &Bed| bed.queue().next_due(Class::Transactional).await.expect("next due");
    assert_eq!(next_due(&bed).await, None);
    bed.accept(&Mail::to(&["b@x.example"]).due(at(20))).await;
    bed.accept(&Mail::to(&["a@x.example"]).due(at(10))).await;
    bed.accept(&Mail::to(&["c@x.example"]).due(at(5)).class(Class::Critical))
        .await;
    assert_eq!(next_due(&bed).await, Some(at(10)));

    let first = bed.lease_one(at(10)).await;
    assert_eq!(next_due(&bed).await, Some(at(20)), "leased ones do not count");
    bed.park(&first, &lane("ip1", "google")).await;
    assert_eq!(next_due(&bed).await, Some(at(20)), "parked ones do not count");
    let second = bed.lease_one(at(20)).await;
    assert_eq!(next_due(&bed).await, None);
    assert_eq!(
        bed.settle(deferred(&second, at(21), at(300))).await,
        SettleAnswer::Settled
    );
    assert_eq!(next_due(&bed).await, Some(at(300)));
}
