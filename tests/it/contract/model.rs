//! Random histories: a backend and the reference, side by side, must give the same answers.
//!
//! Takes a way to open a backend; proptest makes up histories of calls, crashes and passing time, and makes a failing
//! one short. Fences differ between backends, so each lease is a pair and histories speak of "the third lease".
//! After every step the ledger must balance, final states must have stayed final, and fences must have grown.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;

use posthaste::domain::{
    Class, Delivery, DeliveryId, Event, Fence, Lane, MessageId, Next, Settlement, State, Suppression,
    SuppressionReason, TenantId, Timestamp, Why,
};
use posthaste::queue::{Accepted, Charge, Intent, LeaseRef, Leased, OpenIntent, Parking, Release};
use proptest::test_runner::{Config, TestRunner};

use super::bed::{Backend, LEASE, Mail, at, bounced, deferred, delivered, idempotency, intent, lane};
use super::history::{End, Step, step};
use super::in_memory;

/// Steps of one history.
const STEPS: usize = 60;

/// Runs `histories` random histories against a backend that `open` makes.
pub(crate) fn compare<B, F>(open: impl Fn() -> F, histories: u32)
where
    B: Backend + 'static,
    F: Future<Output = B>,
{
    let config = Config {
        cases: histories,
        failure_persistence: None,
        ..Config::default()
    };
    let history = proptest::collection::vec(step(), 1..STEPS);
    let outcome = TestRunner::new(config).run(&history, |history| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let mut pair = Pair::new(open().await, in_memory().await);
            for step in history {
                pair.take(step).await;
                pair.check().await;
            }
        });
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

/// A lease as both sides know it.
#[derive(Debug, Clone)]
struct Lease {
    theirs: Leased,
    ours: Leased,
}

/// The backend ("theirs"), the reference ("ours"), and what must be true of both.
struct Pair {
    theirs: Box<dyn Backend>,
    ours: Box<dyn Backend>,
    now: Timestamp,
    messages: Vec<MessageId>,
    accepted: u64,
    leases: Vec<Lease>,
    /// The last fence of each Delivery on both sides.
    fences: BTreeMap<DeliveryId, (Fence, Fence)>,
    /// Final deliveries as they were when they became so.
    settled: BTreeMap<DeliveryId, Delivery>,
    purged: BTreeSet<MessageId>,
}

/// Asks both sides the same and gives their answers.
macro_rules! both {
    ($pair:expr, $seam:ident . $call:ident ( $($argument:expr),* )) => {{
        let theirs = $pair.theirs.$seam().$call($($argument),*).await.expect("the backend answers");
        let ours = $pair.ours.$seam().$call($($argument),*).await.expect("the reference answers");
        (theirs, ours)
    }};
}

/// Asks both sides the same; the answers must be equal.
macro_rules! agree {
    ($pair:expr, $seam:ident . $call:ident ( $($argument:expr),* )) => {{
        let (theirs, ours) = both!($pair, $seam.$call($($argument),*));
        assert_eq!(theirs, ours, "{}", stringify!($call));
        theirs
    }};
}

impl Pair {
    fn new(theirs: impl Backend + 'static, ours: impl Backend + 'static) -> Self {
        Self {
            theirs: Box::new(theirs),
            ours: Box::new(ours),
            now: at(0),
            messages: Vec::new(),
            accepted: 0,
            leases: Vec::new(),
            fences: BTreeMap::new(),
            settled: BTreeMap::new(),
            purged: BTreeSet::new(),
        }
    }

    async fn take(&mut self, step: Step) {
        let (now, until) = (self.now, self.now.plus(LEASE));
        match step {
            Step::Accept { .. } => self.accept(&step).await,
            Step::Lease { class, max } => {
                let class = Class::ALL[class];
                // Which of many comes first is not for a history to say where the line is a stream: then all of them come.
                let max = if self.theirs.strict_line() { max } else { EVERYBODY };
                let (theirs, ours) = both!(self, queue.lease(class, max, now, until));
                assert!(
                    theirs
                        .iter()
                        .all(|leased| leased.delivery.class == class && leased.delivery.due_at <= now)
                );
                self.leased(theirs, ours, max);
            }
            Step::LeaseParked { lane, max } => {
                let max = if self.theirs.strict_lanes() { max } else { EVERYBODY };
                let lane = lane_by(lane);
                let (theirs, ours) = both!(self, queue.lease_parked(&lane, max, now, until));
                self.leased(theirs, ours, max);
            }
            Step::LeaseExpired { max } => {
                let max = if self.theirs.strict_lanes() { max } else { EVERYBODY };
                let (theirs, ours) = both!(self, queue.lease_expired(max, now, until));
                assert!(theirs.iter().all(|leased| leased.delivery.expires_at <= now));
                self.leased(theirs, ours, max);
            }
            Step::Cancel { delivery } => {
                if let Some(id) = self.delivery(delivery) {
                    agree!(self, queue.cancel(id, now));
                }
            }
            Step::Suppress { address, stream } => {
                let suppression = Suppression {
                    tenant: TenantId(1),
                    address: address_by(address),
                    stream,
                    reason: SuppressionReason::Manual,
                    created_at: now,
                };
                agree!(self, store.put_suppression(suppression.clone()));
            }
            Step::Forgive { address } => {
                agree!(self, store.delete_suppression(TenantId(1), &address_by(address)));
            }
            Step::Purge { age } => {
                agree!(self, store.purge(now.minus(Duration::from_secs(age)), 1000));
                for id in self.messages.clone() {
                    if agree!(self, store.message(id)).is_none() {
                        self.purged.insert(id);
                    }
                }
            }
            Step::Pass { seconds } => self.now = now.plus(Duration::from_secs(seconds)),
            Step::Crash => self.crash().await,
            _ => self.use_lease(step).await,
        }
    }

    /// The steps of those who hold, or held, a lease.
    async fn use_lease(&mut self, step: Step) {
        let now = self.now;
        match step {
            Step::Park { lease, lane } => {
                let Some(lease) = self.lease(lease) else { return };
                let parking = |leased: &Leased| Parking {
                    lease: leased.lease(),
                    lane: lane_by(lane),
                    why: Why::LaneFull,
                    until: Some(now.plus(Duration::from_secs(7))),
                };
                self.theirs
                    .queue()
                    .park(vec![parking(&lease.theirs)])
                    .await
                    .expect("parks");
                self.ours.queue().park(vec![parking(&lease.ours)]).await.expect("parks");
            }
            Step::Release { lease, due_in } => {
                let Some(lease) = self.lease(lease) else { return };
                let release = |leased: &Leased| Release {
                    lease: leased.lease(),
                    due_at: now.plus(Duration::from_secs(due_in)),
                    why: Why::Dns,
                };
                self.theirs
                    .queue()
                    .release(vec![release(&lease.theirs)])
                    .await
                    .expect("releases");
                self.ours
                    .queue()
                    .release(vec![release(&lease.ours)])
                    .await
                    .expect("releases");
            }
            Step::Renew { leases } => {
                let leases: Vec<Lease> = leases.into_iter().filter_map(|lease| self.lease(lease)).collect();
                let theirs = leases.iter().map(|lease| lease.theirs.lease()).collect();
                let ours = leases.iter().map(|lease| lease.ours.lease()).collect();
                let theirs = self
                    .theirs
                    .queue()
                    .renew(theirs, now.plus(LEASE))
                    .await
                    .expect("renews");
                let ours = self.ours.queue().renew(ours, now.plus(LEASE)).await.expect("renews");
                let lost = |all: &[LeaseRef]| all.iter().map(|one| one.delivery).collect::<Vec<_>>();
                assert_eq!(lost(&theirs), lost(&ours), "lost leases");
            }
            Step::Intent { lease, charged } => self.intend(lease, charged).await,
            Step::Settle { lease, end } => {
                let Some(lease) = self.lease(lease) else { return };
                let theirs = self
                    .theirs
                    .queue()
                    .settle(vec![settlement(&lease.theirs, now, end)])
                    .await;
                let ours = self.ours.queue().settle(vec![settlement(&lease.ours, now, end)]).await;
                assert_eq!(theirs.expect("answers"), ours.expect("answers"), "settle");
            }
            _ => unreachable!("all others are steps of nobody in particular"),
        }
    }

    /// An INTENT on both sides, charged or not; what was charged is the same on both.
    async fn intend(&mut self, lease: usize, charged: bool) {
        let now = self.now;
        let Some(lease) = self.lease(lease) else { return };
        // Days are short here, and some charges are for one that is over.
        let day = u32::try_from(now.0 / 50_000).expect("histories are short");
        let charge = |leased: &Leased| Charge {
            day: day.saturating_sub(u32::from(leased.delivery.id.recipient)),
            cap: 2,
        };
        let of = |leased: &Leased| Intent {
            charge: charged.then(|| charge(leased)),
            ..intent(leased, now)
        };
        let theirs = self.theirs.queue().intent(of(&lease.theirs)).await;
        let ours = self.ours.queue().intent(of(&lease.ours)).await;
        assert_eq!(theirs.expect("answers"), ours.expect("answers"), "intent");
        let theirs = self.theirs.store().charges(10).await;
        assert_eq!(theirs, self.ours.store().charges(10).await, "charges");
    }

    async fn accept(&mut self, step: &Step) {
        let Step::Accept {
            class,
            recipients,
            due_in,
            life,
            suppressed,
            key,
        } = *step
        else {
            return;
        };
        // Half a second keeps expiry off the whole seconds on which histories live.
        let expires_at = self.now.plus(Duration::from_millis(life * 1000 + 500));
        let key = key.map(|(key, hash)| idempotency(&format!("key{key}"), hash, expires_at));
        let number = self.messages.len() as u128 + 1;
        let id = MessageId(uuid::Uuid::from_u128((number << 8) | (number % 256)));
        let id = self.theirs.place(id, key.as_ref().map(|(key, _)| key));
        let addresses = (0..recipients).map(|n| address_by(self.messages.len() + n)).collect();
        let mail = Mail {
            addresses,
            ..Mail::to(&[])
        };
        let mail = mail
            .class(Class::ALL[class])
            .accepted_at(self.now)
            .due(self.now.plus(Duration::from_secs(due_in)))
            .expires(self.now.plus(Duration::from_secs(life)))
            .state(if suppressed { State::Suppressed } else { State::Queued });
        let accept = || {
            let mut accept = mail.accept(id);
            accept.idempotency = key.clone();
            accept
        };
        let theirs = self.theirs.queue().accept(accept()).await.expect("accepts");
        let ours = self.ours.queue().accept(accept()).await.expect("accepts");
        assert_eq!(theirs, ours, "accept");
        if theirs == Accepted::New {
            self.messages.push(id);
            self.accepted += recipients as u64;
        }
    }

    fn leased(&mut self, theirs: Vec<Leased>, ours: Vec<Leased>, max: usize) {
        assert!(theirs.len() <= max, "at most {max}");
        let (mut theirs, mut ours) = (theirs, ours);
        if !self.theirs.strict_line() {
            theirs.sort_by_key(|leased| leased.delivery.id);
            ours.sort_by_key(|leased| leased.delivery.id);
        }
        let comparable = |leased: &Leased| -> (Delivery, Timestamp, Option<OpenIntent>) {
            (leased.delivery.clone(), leased.until, leased.open_intent.clone())
        };
        let of_theirs: Vec<_> = theirs.iter().map(comparable).collect();
        assert_eq!(of_theirs, ours.iter().map(comparable).collect::<Vec<_>>(), "leases");
        for (theirs, ours) in theirs.into_iter().zip(ours) {
            let id = theirs.delivery.id;
            assert!(!theirs.delivery.state.is_final(), "what is final is not leased");
            let last = self.fences.insert(id, (theirs.fence, ours.fence));
            let grows =
                last.is_none_or(|(last_theirs, last_ours)| theirs.fence > last_theirs && ours.fence > last_ours);
            assert!(grows, "fences of {id} grow");
            self.leases.push(Lease { theirs, ours });
        }
    }

    async fn crash(&mut self) {
        self.theirs.crash().await;
        self.ours.crash().await;
        if self.theirs.leases_outlive_a_crash() {
            // Then all leases end, so that both sides agree again; nobody speaks of them any more.
            self.now = self.now.plus(LEASE);
            self.leases.clear();
        }
    }

    /// What must be true after every step.
    async fn check(&mut self) {
        self.theirs.check();
        self.ours.check();
        let depth = agree!(self, queue.depth(self.now));
        assert_eq!(depth.by_state.iter().sum::<u64>(), self.accepted, "the ledger balances");
        let waiting: u64 = depth.waiting_by_class.iter().sum();
        assert!(
            depth.leased + depth.parked <= waiting,
            "nobody stands in two places: {depth:?}"
        );
        let mut lanes = both!(self, queue.parked_lanes(100));
        lanes.0.sort();
        lanes.1.sort();
        assert_eq!(lanes.0, lanes.1, "parked lanes");
        assert_eq!(lanes.0.iter().map(|(_, number)| number).sum::<u64>(), depth.parked);
        // Without a time nobody can say whether a lease that was not asked about has ended; `depth` has just asked.
        for class in Class::ALL {
            let (theirs, ours) = both!(self, queue.next_due(class));
            let shown = |due: Option<Timestamp>| match self.theirs.strict_line() {
                true => due,
                // Where the line is a stream, all who are due are alike.
                false => due.map(|due| due.max(self.now)),
            };
            assert_eq!(shown(theirs), shown(ours), "next_due");
        }
        for id in self.messages.clone() {
            self.check_message(id).await;
        }
        for n in 0..ADDRESSES {
            agree!(self, store.suppression(TenantId(1), &address_by(n)));
        }
        for key in 0..3 {
            let (key, _) = idempotency(&format!("key{key}"), 0, at(0));
            agree!(self, store.idempotent(&key, self.now));
        }
    }

    async fn check_message(&mut self, id: MessageId) {
        let deliveries = agree!(self, store.deliveries(id));
        let has_body = agree!(self, store.body(id)).is_some();
        let waits = deliveries.iter().any(|delivery| !delivery.state.is_final());
        assert_eq!(has_body, waits, "a body lives as long as its deliveries");
        assert_eq!(self.purged.contains(&id), deliveries.is_empty(), "purged or stored");
        let (theirs, ours) = both!(self, store.events(id, 1000));
        assert!(
            theirs.is_sorted_by(|a, b| a.sequence < b.sequence),
            "events are ordered"
        );
        let told = |events: &[Event]| -> Vec<Event> {
            let events = events.iter().cloned();
            events.map(|event| Event { sequence: 0, ..event }).collect()
        };
        assert_eq!(told(&theirs), told(&ours), "events");
        for delivery in deliveries {
            let own = theirs.iter().filter(|event| event.delivery == delivery.id);
            let last = own.filter(|event| is_last(event)).count();
            assert_eq!(
                last,
                usize::from(delivery.state.is_final()),
                "one last event for a final state: {delivery:?}"
            );
            if delivery.state.is_final() {
                let before = self.settled.entry(delivery.id).or_insert_with(|| delivery.clone());
                assert_eq!(*before, delivery, "no way leads out of a final state");
            }
        }
    }

    fn lease(&self, index: usize) -> Option<Lease> {
        // The newest three quarters of the time: old ones are stale nearly always.
        let number = self.leases.len();
        let newest = if index.is_multiple_of(4) { number } else { number.min(4) };
        let back = (index / 4) % newest.max(1) + 1;
        self.leases.get(number.checked_sub(back)?).cloned()
    }

    fn delivery(&self, index: usize) -> Option<DeliveryId> {
        let message = *self.messages.get(index % self.messages.len().max(1))?;
        let recipient = u16::try_from(index / 7 % 4).expect("less than four");
        Some(DeliveryId { message, recipient })
    }
}

/// More than a history has.
const EVERYBODY: usize = 1000;

/// Addresses in play.
const ADDRESSES: usize = 6;

fn address_by(index: usize) -> String {
    format!("user{}@x.example", index % ADDRESSES)
}

fn lane_by(index: usize) -> Lane {
    let (source, provider) = [("ip1", "google"), ("ip2", "google"), ("ip1", "yahoo")][index % 3];
    lane(source, provider)
}

fn is_last(event: &Event) -> bool {
    let last = ["delivered", "bounced", "expired", "suppressed", "cancelled", "unknown"];
    last.contains(&event.kind.name())
}

fn settlement(leased: &Leased, now: Timestamp, end: End) -> Settlement {
    let later = |seconds| now.plus(Duration::from_secs(seconds));
    match end {
        End::Delivered => delivered(leased, now),
        End::Bounced { suppress } => Settlement {
            suppress: suppress.then_some(SuppressionReason::HardBounce),
            ..bounced(leased, now)
        },
        End::Deferred { due_in } => deferred(leased, now, later(due_in)),
        End::Held { due_in } => Settlement {
            next: Next::Wait {
                state: State::Held,
                due_at: later(due_in),
                why: Why::HeldAmbiguous,
            },
            ambiguous: 1,
            ..deferred(leased, now, later(due_in))
        },
    }
}
