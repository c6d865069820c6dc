//! ACCEPT: whole, once, durable.

use std::sync::Arc;
use std::time::Duration;

use posthaste::domain::{Class, Delivery, State};
use posthaste::queue::{Accepted, IdempotencyKey, StoredResponse};

use super::bed::{Bed, Mail, at, body, idempotency};

pub(crate) async fn what_was_accepted_can_be_read(mut bed: Bed) {
    let accept = Mail::to(&["a@x.example", "B@y.example"]).accept(bed.fresh_id());
    let (message, deliveries) = (Arc::clone(&accept.messages[0].0), accept.deliveries.clone());
    let mut events = accept.events.clone();

    assert_eq!(bed.queue().accept(accept).await, Ok(Accepted::New));

    let store = bed.store();
    assert_eq!(store.message(message.id).await, Ok(Some(Arc::clone(&message))));
    assert_eq!(store.body(message.id).await, Ok(Some(Arc::new(body()))));
    assert_eq!(store.deliveries(message.id).await.as_ref(), Ok(&deliveries));
    assert_eq!(store.delivery(deliveries[1].id).await, Ok(Some(deliveries[1].clone())));
    let stored = store.events(message.id, 10).await.expect("events");
    for (event, stored) in events.iter_mut().zip(&stored) {
        event.sequence = stored.sequence;
    }
    assert_eq!(stored, events);
    assert!(
        0 < stored[0].sequence && stored[0].sequence < stored[1].sequence,
        "{stored:?}"
    );
    assert_eq!(
        store.events(message.id, 1).await.as_deref(),
        Ok(&stored[..1]),
        "at most max, oldest first"
    );
}

pub(crate) async fn deliveries_come_in_the_order_of_the_recipients(mut bed: Bed) {
    let addresses: Vec<String> = (0..300).map(|n| format!("user{n}@x.example")).collect();
    let mail = Mail {
        addresses: addresses.clone(),
        ..Mail::to(&[])
    };
    let mut accept = mail.accept(bed.fresh_id());
    accept.deliveries.reverse();
    let message = accept.messages[0].0.id;

    assert_eq!(bed.queue().accept(accept).await, Ok(Accepted::New));

    let stored = bed.store().deliveries(message).await.expect("deliveries");
    let order: Vec<String> = stored.into_iter().map(|delivery| delivery.address).collect();
    assert_eq!(order, addresses);
}

pub(crate) async fn one_call_may_accept_several_messages(mut bed: Bed) {
    let mut accept = Mail::to(&["a@x.example"]).accept(bed.fresh_id());
    let other = Mail::to(&["b@x.example", "c@x.example"])
        .class(Class::Critical)
        .accept(bed.fresh_id());
    accept.messages.extend(other.messages);
    accept.deliveries.extend(other.deliveries);
    accept.events.extend(other.events);
    let (expected, ids): (Vec<Delivery>, Vec<_>) = (accept.deliveries.clone(), accept.ids().collect());

    assert_eq!(bed.queue().accept(accept).await, Ok(Accepted::New));

    let mut stored = bed.store().deliveries(ids[0]).await.expect("deliveries");
    stored.extend(bed.store().deliveries(ids[1]).await.expect("deliveries"));
    assert_eq!(stored, expected);
    assert_eq!(bed.queue().depth(at(0)).await.map(|depth| depth.messages), Ok(2));
}

pub(crate) async fn an_accept_is_seen_whole_or_not_at_all(mut bed: Bed) {
    let mail = Mail {
        addresses: (0..200).map(|n| format!("user{n}@x.example")).collect(),
        ..Mail::to(&[])
    };
    for _ in 0..20 {
        let id = bed.fresh_id();
        let (queue, store, accept) = (bed.queue(), bed.store(), mail.accept(id));
        let writer = tokio::spawn(async move { queue.accept(accept).await });
        loop {
            let seen = store.deliveries(id).await.expect("deliveries").len();
            assert!(seen == 0 || seen == 200, "half an accept was seen: {seen}");
            if seen == 200 {
                break;
            }
            tokio::task::yield_now().await;
        }
        assert!(store.message(id).await.expect("message").is_some());
        assert_eq!(store.events(id, 1000).await.map(|events| events.len()), Ok(200));
        assert_eq!(writer.await.expect("no panic"), Ok(Accepted::New));
    }
}

pub(crate) async fn a_repeated_call_gets_its_first_answer_and_stores_nothing(mut bed: Bed) {
    let (key, answer) = idempotency("order-17", 1, at(86_400));
    assert_eq!(
        accept_with(&mut bed, (key.clone(), answer.clone())).await,
        (Accepted::New, true)
    );

    let mut again = answer.clone();
    again.body = b"another".to_vec();
    again.expires_at = at(90_000);
    assert_eq!(
        accept_with(&mut bed, (key.clone(), again)).await,
        (Accepted::Replay(answer.clone()), false)
    );

    assert_eq!(bed.store().idempotent(&key, at(10)).await, Ok(Some(answer)));
    let depth = bed.queue().depth(at(0)).await.expect("depth");
    assert_eq!((depth.messages, depth.by_state.iter().sum::<u64>()), (1, 1));
    assert_eq!(bed.lease(Class::Transactional, 10, at(0)).await.len(), 1);
}

pub(crate) async fn a_key_used_for_another_request_is_a_mismatch_and_stores_nothing(mut bed: Bed) {
    let (key, answer) = idempotency("order-17", 1, at(86_400));
    assert_eq!(
        accept_with(&mut bed, (key.clone(), answer.clone())).await,
        (Accepted::New, true)
    );
    let other = idempotency("order-17", 2, at(86_400));
    assert_eq!(accept_with(&mut bed, other).await, (Accepted::KeyMismatch, false));
    assert_eq!(bed.store().idempotent(&key, at(10)).await, Ok(Some(answer)));
}

pub(crate) async fn an_expired_key_is_as_good_as_a_new_one(mut bed: Bed) {
    let (key, answer) = idempotency("order-17", 1, at(0).minus(Duration::from_secs(1)));
    assert_eq!(
        accept_with(&mut bed, (key.clone(), answer)).await,
        (Accepted::New, true)
    );
    assert_eq!(bed.store().idempotent(&key, at(0)).await, Ok(None));

    let (_, second) = idempotency("order-17", 2, at(86_400));
    assert_eq!(
        accept_with(&mut bed, (key.clone(), second.clone())).await,
        (Accepted::New, true)
    );
    assert_eq!(bed.store().idempotent(&key, at(0)).await, Ok(Some(second)));
}

pub(crate) async fn keys_of_two_tenants_do_not_meet(mut bed: Bed) {
    let (key, answer) = idempotency("order-17", 1, at(86_400));
    assert_eq!(
        accept_with(&mut bed, (key.clone(), answer.clone())).await,
        (Accepted::New, true)
    );
    let other = IdempotencyKey {
        tenant: posthaste::domain::TenantId(2),
        ..key
    };
    assert_eq!(bed.store().idempotent(&other, at(0)).await, Ok(None));
    assert_eq!(accept_with(&mut bed, (other, answer)).await, (Accepted::New, true));
}

pub(crate) async fn of_twins_at_the_same_time_exactly_one_is_new(mut bed: Bed) {
    let mut calls = Vec::new();
    for n in 0..32_u8 {
        let mut accept = Mail::to(&["a@x.example"]).accept(bed.fresh_id());
        let (key, mut answer) = idempotency("order-17", 1, at(86_400));
        answer.body = vec![n];
        accept.idempotency = Some((key, answer));
        let queue = bed.queue();
        calls.push(tokio::spawn(async move { (n, queue.accept(accept).await) }));
    }
    let (mut new, mut replayed) = (Vec::new(), Vec::new());
    for call in calls {
        match call.await.expect("no panic") {
            (n, Ok(Accepted::New)) => new.push(vec![n]),
            (_, Ok(Accepted::Replay(answer))) => replayed.push(answer.body),
            other => panic!("unexpected: {other:?}"),
        }
    }
    assert_eq!((new.len(), replayed.len()), (1, 31));
    assert!(
        replayed.iter().all(|body| *body == new[0]),
        "all get the answer of the one that was stored"
    );
    assert_eq!(bed.queue().depth(at(0)).await.map(|depth| depth.messages), Ok(1));
}

pub(crate) async fn what_was_accepted_survives_a_crash(mut bed: Bed) {
    let mut accept = Mail::to(&["a@x.example", "b@x.example"])
        .due(at(30))
        .accept(bed.fresh_id());
    let (key, answer) = idempotency("order-17", 1, at(86_400));
    accept.idempotency = Some((key.clone(), answer.clone()));
    let (message, deliveries) = (Arc::clone(&accept.messages[0].0), accept.deliveries.clone());
    assert_eq!(bed.queue().accept(accept).await, Ok(Accepted::New));
    let events = bed.store().events(message.id, 10).await.expect("events");

    bed.crash().await;

    let store = bed.store();
    assert_eq!(store.message(message.id).await, Ok(Some(Arc::clone(&message))));
    assert_eq!(store.body(message.id).await, Ok(Some(Arc::new(body()))));
    assert_eq!(store.deliveries(message.id).await, Ok(deliveries));
    assert_eq!(store.events(message.id, 10).await, Ok(events));
    assert_eq!(store.idempotent(&key, at(0)).await, Ok(Some(answer.clone())));
    drop(store);
    assert_eq!(
        bed.lease_ids(Class::Transactional, 10, at(29)).await,
        [],
        "due times survive, too"
    );
    assert_eq!(bed.lease_ids(Class::Transactional, 10, at(30)).await.len(), 2);
    assert_eq!(
        accept_with(&mut bed, (key, answer.clone())).await,
        (Accepted::Replay(answer), false)
    );
}

pub(crate) async fn a_message_that_is_settled_at_accept_keeps_no_body(mut bed: Bed) {
    let id = bed.accept(&Mail::to(&["a@x.example"]).state(State::Suppressed)).await[0];
    assert_eq!(bed.delivery(id).await.state, State::Suppressed);
    assert_eq!(bed.event_names(id).await, ["suppressed"]);
    assert!(!bed.has_body(id.message).await);
    assert_eq!(bed.lease_ids(Class::Transactional, 10, at(10)).await, []);
}

pub(crate) async fn an_accept_wakes_the_scheduler(mut bed: Bed) {
    let wake = bed.queue().wake();
    let woken = wake.notified();
    bed.accept_one().await;
    tokio::time::timeout(Duration::from_secs(10), woken)
        .await
        .expect("woken");
}

/// Accepts one Delivery with a key; gives the answer and whether the Message is there.
async fn accept_with(bed: &mut Bed, idempotency: (IdempotencyKey, StoredResponse)) -> (Accepted, bool) {
    let id = bed.fresh_id();
    let mut accept = Mail::to(&["a@x.example"]).accept(id);
    accept.idempotency = Some(idempotency);
    let accepted = bed.queue().accept(accept).await.expect("the backend accepts");
    let store = bed.store();
    let stored = store.message(id).await.expect("the backend reads").is_some();
    assert_eq!(store.deliveries(id).await.map(|all| !all.is_empty()), Ok(stored));
    assert_eq!(store.events(id, 10).await.map(|all| !all.is_empty()), Ok(stored));
    assert_eq!(store.body(id).await.map(|body| body.is_some()), Ok(stored));
    (accepted, stored)
}
