//! Which call meets which fault.
//!
//! Takes orders and the calls as they come; gives the fault that a call meets. An order counts the calls of its method
//! from the moment it is given. Of several that fit, the one given last wins.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::queue::QueueError;

/// A method of the seams. `Queue::wake` is not among them: it cannot fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is named after its method of `Queue` or `Store`")]
pub enum Method {
    Accept,
    Lease,
    LeaseParked,
    LeaseExpired,
    Park,
    Release,
    Renew,
    Intent,
    Settle,
    Cancel,
    NextDue,
    ParkedLanes,
    Depth,
    Refund,
    Claim,
    Leave,
    Board,
    Place,
    Waiters,
    Message,
    Body,
    Deliveries,
    Delivery,
    Events,
    Idempotent,
    Tenants,
    PutTenant,
    Key,
    Keys,
    PutKey,
    Domain,
    Domains,
    PutDomain,
    Template,
    TemplateVersion,
    Templates,
    PutTemplate,
    Suppressed,
    Suppression,
    PutSuppression,
    DeleteSuppression,
    PutNotes,
    Notes,
    Charges,
    Purge,
}

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The disk is full: nothing is done.
    Full,
    /// The backend does not answer: nothing is done.
    Unavailable,
    /// The step is done, and its answer is lost: the caller hears that the backend is not available.
    AnswerLost,
    /// The step is done after this long.
    Delay(Duration),
    /// The step is done at once, and its answer comes after this long.
    LateAnswer(Duration),
    /// No answer until [`super::Faulty::heal`]; then the step is done. A caller who gives up meanwhile has done nothing.
    Hang,
    /// The caller's task panics before anything is done.
    Panic,
}

/// Which calls of a method, counted from 1 from the moment the order is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calls {
    /// This one.
    Nth(u64),
    /// This one and all that follow.
    From(u64),
    /// Each of them.
    All,
}

/// What becomes of the answer of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// The caller gets it.
    Answer,
    /// It is lost.
    Lose,
    /// The caller gets it later.
    Wait(Duration),
}

impl After {
    /// The answer as the caller gets it.
    pub(super) async fn pass<T>(self, answer: Result<T, QueueError>) -> Result<T, QueueError> {
        match self {
            Self::Answer => answer,
            Self::Lose => Err(unavailable()),
            Self::Wait(duration) => {
                tokio::time::sleep(duration).await;
                answer
            }
        }
    }
}

/// Orders and counts.
#[derive(Debug)]
pub(super) struct Plan {
    inner: Mutex<Inner>,
    /// Grows with each [`Plan::heal`]; those who hang watch it.
    healed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    counts: BTreeMap<Method, u64>,
    orders: Vec<Order>,
}

/// Absolute numbers of calls, both included.
#[derive(Debug)]
struct Order {
    method: Method,
    first: u64,
    last: u64,
    fault: Fault,
}

impl Plan {
    pub(super) fn new() -> Self {
        Self {
            inner: Mutex::default(),
            healed: watch::Sender::new(0),
        }
    }

    pub(super) fn order(&self, method: Method, calls: Calls, fault: Fault) {
        let mut inner = self.lock();
        let before = inner.counts.get(&method).copied().unwrap_or(0);
        let (first, last) = match calls {
            Calls::Nth(n) => (before + n, before + n),
            Calls::From(n) => (before + n, u64::MAX),
            Calls::All => (before + 1, u64::MAX),
        };
        inner.orders.push(Order {
            method,
            first,
            last,
            fault,
        });
    }

    pub(super) fn heal(&self) {
        self.lock().orders.clear();
        self.healed.send_modify(|times| *times += 1);
    }

    pub(super) fn calls(&self, method: Method) -> u64 {
        self.lock().counts.get(&method).copied().unwrap_or(0)
    }

    /// Lets a call meet its fault. Gives what is to become of its answer.
    pub(super) async fn meet(&self, method: Method) -> Result<After, QueueError> {
        // Subscribed before the fault is chosen, so that healing in between is not missed.
        let mut healed = self.healed.subscribe();
        match self.next_fault(method) {
            None => Ok(After::Answer),
            Some(Fault::Full) => Err(QueueError::Full),
            Some(Fault::Unavailable) => Err(unavailable()),
            Some(Fault::AnswerLost) => Ok(After::Lose),
            Some(Fault::LateAnswer(duration)) => Ok(After::Wait(duration)),
            Some(Fault::Delay(duration)) => {
                tokio::time::sleep(duration).await;
                Ok(After::Answer)
            }
            Some(Fault::Hang) => match healed.changed().await {
                Ok(()) => Ok(After::Answer),
                Err(_) => Err(unavailable()),
            },
            Some(Fault::Panic) => panic!("ordered to panic at {method:?}"),
        }
    }

    fn next_fault(&self, method: Method) -> Option<Fault> {
        let mut inner = self.lock();
        let count = inner.counts.entry(method).or_default();
        *count += 1;
        let number = *count;
        let mut orders = inner.orders.iter().rev();
        let order = orders.find(|order| order.method == method && (order.first..=order.last).contains(&number))?;
        Some(order.fault)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a caller hears when there is no answer.
pub(super) fn unavailable() -> QueueError {
    QueueError::Unavailable("ordered by a test".to_owned())
}
