//! The backend in memory under a load that would show anything slower than a logarithm.

use std::sync::Arc;

use posthaste::domain::{Class, Event, Settlement};
use posthaste::queue::{Accepted, Leased, Parking, Queue, SettleAnswer};
use posthaste::store::Memory;

use crate::contract::{Bed, InMemory, Mail, at, delivered, lane};

const MESSAGES: usize = 100;
const RECIPIENTS: usize = 1000;
const BATCH: usize = 100;

#[tokio::test]
async fn a_hundred_thousand_deliveries_go_all_the_way() {
    let memory = Arc::new(Memory::new());
    let mut bed = Bed::new(InMemory(Arc::clone(&memory)));
    let mail = Mail {
        addresses: (0..RECIPIENTS).map(|n| format!("user{n}@x.example")).collect(),
        ..Mail::to(&[])
    };
    for _ in 0..MESSAGES {
        let accept = mail.accept(bed.fresh_id());
        assert_eq!(memory.accept(accept).await, Ok(Accepted::New));
    }

    // All are leased before any is given back, so that each batch has to find its way past all others.
    let google = lane("ip1", "google");
    let leased = take_all(async || memory.lease(Class::Transactional, BATCH, at(1), at(61)).await).await;
    let park = |leased: &Leased| Parking {
        lease: leased.lease(),
        lane: google.clone(),
        why: posthaste::domain::Why::LaneFull,
        until: None,
    };
    assert_eq!(memory.park(leased.iter().map(park).collect()).await, Ok(()));
    assert_eq!(
        memory.parked_lanes(10).await,
        Ok(vec![(google.clone(), (MESSAGES * RECIPIENTS) as u64)])
    );

    let leased = take_all(async || memory.lease_parked(&google, BATCH, at(2), at(62)).await).await;
    let settlements: Vec<Settlement> = leased.iter().map(|leased| delivered(leased, at(3))).collect();
    let answers = memory.settle(settlements).await.expect("settles");
    assert!(answers.iter().all(|answer| *answer == SettleAnswer::Settled));
    memory.check();
    let last: Option<Event> = bed
        .store()
        .events(leased[0].delivery.id.message, 5000)
        .await
        .expect("events")
        .pop();
    assert!(last.is_some_and(|event| event.sequence > (MESSAGES * RECIPIENTS) as u64));
}

/// Calls until nothing is left; everything must come exactly once.
async fn take_all<E: std::fmt::Debug>(lease: impl AsyncFn() -> Result<Vec<Leased>, E>) -> Vec<Leased> {
    let mut all = Vec::new();
    loop {
        let batch = lease().await.expect("leases");
        if batch.is_empty() {
            break;
        }
        all.extend(batch);
    }
    assert_eq!(all.len(), MESSAGES * RECIPIENTS);
    all
}
