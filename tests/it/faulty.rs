//! The faulty backend itself: that each fault does what its name says.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use posthaste::domain::{Class, TenantId};
use posthaste::queue::{Accepted, Queue, QueueError};
use posthaste::store::faulty::{Calls, Fault, Faulty, Method};
use posthaste::store::{Memory, Store};

use crate::contract::{Backend, Bed, Mail, at, delivered};

/// A healthy one passes everything through: it is held to the contract like any other backend.
#[derive(Debug)]
struct Healthy {
    memory: Arc<Memory>,
    faulty: Arc<Faulty>,
}

async fn healthy() -> Healthy {
    let memory = Arc::new(Memory::new());
    let faulty = Arc::new(Faulty::around(Arc::clone(&memory)));
    Healthy { memory, faulty }
}

#[async_trait::async_trait]
impl Backend for Healthy {
    fn queue(&self) -> Arc<dyn Queue> {
        Arc::clone(&self.faulty) as Arc<dyn Queue>
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.faulty) as Arc<dyn Store>
    }

    async fn crash(&mut self) {
        self.memory.crash();
    }

    fn check(&self) {
        self.memory.check();
    }
}

crate::contract::contract_tests!(contract, crate::faulty::healthy, histories: 16);

/// A faulty backend with one Delivery that is due at once.
async fn broken(method: Method, calls: Calls, fault: Fault) -> (Arc<Faulty>, Bed) {
    let backend = healthy().await;
    let faulty = Arc::clone(&backend.faulty);
    let mut bed = Bed::new(backend);
    bed.accept_one().await;
    faulty.order(method, calls, fault);
    (faulty, bed)
}

fn unavailable() -> QueueError {
    QueueError::Unavailable("ordered by a test".to_owned())
}

#[tokio::test]
async fn the_nth_call_from_now_fails_and_no_other() {
    let (faulty, mut bed) = broken(Method::Accept, Calls::Nth(2), Fault::Full).await;
    let mut answers = Vec::new();
    for _ in 0..3 {
        let accept = Mail::to(&["a@x.example"]).accept(bed.fresh_id());
        answers.push(faulty.accept(accept).await);
    }
    assert_eq!(answers, [Ok(Accepted::New), Err(QueueError::Full), Ok(Accepted::New)]);
    assert_eq!(faulty.calls(Method::Accept), 4);
    assert_eq!(
        faulty.depth(at(0)).await.map(|depth| depth.messages),
        Ok(3),
        "the second stored nothing"
    );
}

#[tokio::test]
async fn a_fault_lasts_from_a_call_on_until_healed() {
    let (faulty, _bed) = broken(Method::Tenants, Calls::From(2), Fault::Unavailable).await;
    assert_eq!(faulty.tenants().await, Ok(vec![]));
    assert_eq!(faulty.tenants().await, Err(unavailable()));
    assert_eq!(faulty.tenants().await, Err(unavailable()));
    assert_eq!(faulty.keys(TenantId(1)).await, Ok(vec![]), "other methods are sound");
    faulty.heal();
    assert_eq!(faulty.tenants().await, Ok(vec![]));
}

#[tokio::test]
async fn of_two_orders_the_later_wins() {
    let (faulty, _bed) = broken(Method::Tenants, Calls::All, Fault::Unavailable).await;
    faulty.order(Method::Tenants, Calls::Nth(1), Fault::Full);
    assert_eq!(faulty.tenants().await, Err(QueueError::Full));
    assert_eq!(faulty.tenants().await, Err(unavailable()));
}

#[tokio::test]
async fn a_lost_answer_is_a_step_that_was_done() {
    let (faulty, bed) = broken(Method::Settle, Calls::Nth(1), Fault::AnswerLost).await;
    let leased = bed.lease_one(at(1)).await;
    assert_eq!(faulty.settle(vec![delivered(&leased, at(2))]).await, Err(unavailable()));
    assert_eq!(bed.event_names(leased.delivery.id).await, ["accepted", "delivered"]);
}

#[tokio::test(start_paused = true)]
async fn a_delay_takes_its_time() {
    let minute = Duration::from_secs(60);
    let (faulty, _bed) = broken(Method::Depth, Calls::All, Fault::Delay(minute)).await;
    let mut call = faulty.depth(at(0));
    assert!(
        tokio::time::timeout(minute - Duration::from_millis(1), &mut call)
            .await
            .is_err(),
        "not before"
    );
    let depth = tokio::time::timeout(Duration::from_millis(2), call)
        .await
        .expect("then it answers");
    assert_eq!(depth.map(|depth| depth.messages), Ok(1));
}

#[tokio::test(start_paused = true)]
async fn a_hanging_call_goes_on_when_healed_and_is_undone_when_given_up() {
    let (faulty, bed) = broken(Method::Lease, Calls::All, Fault::Hang).await;
    let day = Duration::from_secs(86_400);
    let given_up = faulty.lease(Class::Transactional, 1, at(1), at(61));
    assert!(tokio::time::timeout(day, given_up).await.is_err());
    let mut patient = faulty.lease(Class::Transactional, 1, at(1), at(61));
    assert!((&mut patient).now_or_never().is_none());
    faulty.heal();
    let leased = patient.await.expect("leases");
    assert_eq!(leased.len(), 1, "the one who gave up took nothing");
    assert_eq!(bed.lease(Class::Transactional, 1, at(1)).await.len(), 0);
}

#[tokio::test]
async fn a_panic_hits_the_caller_and_leaves_the_backend_sound() {
    let (faulty, bed) = broken(Method::Intent, Calls::Nth(1), Fault::Panic).await;
    let leased = bed.lease_one(at(1)).await;
    let doomed = Arc::clone(&faulty);
    let intent = crate::contract::intent(&leased, at(2));
    let task = tokio::spawn(async move { doomed.intent(intent).await });
    assert!(task.await.expect_err("it panics").is_panic());
    bed.backend().check();
    assert_eq!(
        bed.intent(&leased, at(2)).await,
        posthaste::queue::IntentAnswer::Recorded
    );
}
