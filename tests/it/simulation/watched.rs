//! The queue as one node sees it: slow, failing, and watched.
//!
//! Takes the calls of an engine; passes them to the store in memory, late, never, or twice heard of, and writes down what
//! became durable. A node can die or freeze in the middle of any call that changes something.

use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use posthaste::clock::Clock;
use posthaste::domain::{Board, Class, DeliveryId, Lane, Node, Place, Settlement, Timestamp};
use posthaste::queue::{
    Accept, Accepted, Claim, Claims, Depth, Intent, IntentAnswer, LeaseRef, Leased, Parking, Queue, QueueError,
    Release, SettleAnswer, WaitersCursor, WaitersPage, Waits,
};
use posthaste::store::{Memory, Store};
use tokio::sync::Notify;

use super::book::{Book, Request};
use super::plan::Plan;

/// When all runs begin.
pub(super) const BEGIN: Timestamp = Timestamp(1_800_000_000_000);

/// What all parts of a run share.
#[derive(Debug)]
pub(super) struct World {
    book: Mutex<Book>,
    pub(super) memory: Arc<Memory>,
    /// The right time.
    pub(super) clock: Clock,
    /// There are requests, or a node thawed.
    pub(super) stirred: Notify,
    pub(super) thawed: Notify,
}

impl World {
    /// Must be made inside a runtime, whose time it shows.
    pub(super) fn new(plan: Plan) -> Self {
        Self {
            book: Mutex::new(Book::new(plan)),
            memory: Arc::new(Memory::new()),
            clock: Clock::starting_at(BEGIN),
            stirred: Notify::new(),
            thawed: Notify::new(),
        }
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Writes a line of the trace.
    pub(super) fn tell(&self, line: &str) {
        let at = self.now().since(BEGIN).as_millis();
        self.book().trace.push(format!("{at:>7} {line}"));
    }

    /// Something went wrong that no engine can do anything about.
    pub(super) fn disturb(&self) {
        let now = self.now();
        self.book().disturbed_at = now;
    }

    /// Up to so many milliseconds.
    pub(super) async fn wait_up_to(&self, millis: u64) {
        let wait = {
            let mut book = self.book();
            if book.plan.steady {
                millis
            } else {
                book.chance.u64(0..=millis)
            }
        };
        if wait > 0 {
            tokio::time::sleep(Duration::from_millis(wait)).await;
        }
    }
}

/// The queue of one node.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) world: Arc<World>,
    pub(super) node: usize,
}

impl Watched {
    /// Before the store hears of a call. Says whether its answer is to get lost.
    async fn enter(&self, call: &str, changes: bool) -> Result<bool, QueueError> {
        self.falter(changes).await;
        let millis = self.world.book().plan.queue_millis;
        self.world.wait_up_to(millis).await;
        self.thawed().await;
        let (fails, lost) = {
            let mut book = self.world.book();
            let (errors, lost) = (book.plan.queue_errors, book.plan.answers_lost);
            (book.comes(errors), changes && book.comes(lost))
        };
        if fails || lost {
            self.world.disturb();
        }
        if fails {
            self.world.tell(&format!("n{} {call}: fails", self.node));
            return Err(QueueError::Unavailable("by chance".to_owned()));
        }
        Ok(lost)
    }

    /// After the store has done it.
    async fn leave(&self, call: &str, changes: bool, lost: bool) -> Result<(), QueueError> {
        self.falter(changes).await;
        let millis = self.world.book().plan.queue_millis;
        self.world.wait_up_to(millis).await;
        self.thawed().await;
        if lost {
            self.world.tell(&format!("n{} {call}: its answer is lost", self.node));
            return Err(QueueError::Unavailable("by chance, when it was done".to_owned()));
        }
        Ok(())
    }

    /// The node may die or freeze right here.
    async fn falter(&self, changes: bool) {
        if !changes {
            return;
        }
        let request = {
            let mut book = self.world.book();
            let (kills, freezes) = (book.plan.kills_in_call, book.plan.freezes_in_call);
            if book.comes(kills) {
                Some(Request::Kill)
            } else if book.comes(freezes) {
                Some(Request::Freeze)
            } else {
                None
            }
        };
        let Some(request) = request else { return };
        {
            let mut book = self.world.book();
            book.nodes[self.node].frozen = true;
            book.requests.push((self.node, request));
        }
        self.world.stirred.notify_one();
        match request {
            Request::Kill => pending().await,
            Request::Freeze => self.thawed().await,
        }
    }

    async fn thawed(&self) {
        loop {
            let thawed = self.world.thawed.notified();
            if !self.world.book().nodes[self.node].frozen {
                return;
            }
            thawed.await;
        }
    }

    fn tell(&self, line: &str) {
        self.world.tell(&format!("n{} {line}", self.node));
    }

    fn leased(&self, what: &str, leased: &[Leased], now: Timestamp, parked: bool) {
        for one in leased {
            let open = if one.open_intent.is_some() {
                " with an open INTENT"
            } else {
                ""
            };
            let number = super::mail::number(one.delivery.id);
            self.tell(&format!("{what} u{number} fence {}{open}", one.fence.0));
        }
        self.world.book().leased(leased, now, parked);
    }
}

#[async_trait]
impl Queue for Watched {
    async fn accept(&self, accept: Accept) -> Result<Accepted, QueueError> {
        self.world.memory.accept(accept).await
    }

    async fn lease(
        &self,
        class: Class,
        max: usize,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Leased>, QueueError> {
        self.enter("lease", false).await?;
        let leased = self.world.memory.lease(class, max, now, until).await?;
        self.leased("lease", &leased, now, false);
        // What changed nothing does not falter: an engine asks five times a second.
        self.leave("lease", !leased.is_empty(), false).await?;
        Ok(leased)
    }

    async fn lease_parked(
        &self,
        lane: &Lane,
        max: usize,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Leased>, QueueError> {
        self.enter("lease_parked", false).await?;
        let leased = self.world.memory.lease_parked(lane, max, now, until).await?;
        self.leased("unpark", &leased, now, true);
        self.leave("lease_parked", !leased.is_empty(), false).await?;
        Ok(leased)
    }

    async fn lease_expired(&self, max: usize, now: Timestamp, until: Timestamp) -> Result<Vec<Leased>, QueueError> {
        self.enter("lease_expired", false).await?;
        let leased = self.world.memory.lease_expired(max, now, until).await?;
        self.leased("expired", &leased, now, true);
        self.leave("lease_expired", !leased.is_empty(), false).await?;
        Ok(leased)
    }

    async fn park(&self, parkings: Vec<Parking>) -> Result<(), QueueError> {
        let lost = self.enter("park", true).await?;
        for parking in &parkings {
            let number = super::mail::number(parking.lease.delivery);
            self.tell(&format!("park u{number} {}", parking.why));
            let lease = parking.lease;
            self.world.book().given_back(lease.delivery, lease.fence, None);
        }
        self.world.memory.park(parkings).await?;
        self.leave("park", true, lost).await
    }

    async fn release(&self, releases: Vec<Release>) -> Result<(), QueueError> {
        let lost = self.enter("release", true).await?;
        for release in &releases {
            let number = super::mail::number(release.lease.delivery);
            self.tell(&format!("release u{number} {}", release.why));
            let lease = release.lease;
            let mut book = self.world.book();
            book.given_back(lease.delivery, lease.fence, Some(release.due_at));
        }
        self.world.memory.release(releases).await?;
        self.leave("release", true, lost).await
    }

    async fn renew(&self, leases: Vec<LeaseRef>, until: Timestamp) -> Result<Vec<LeaseRef>, QueueError> {
        self.enter("renew", false).await?;
        let lost = self.world.memory.renew(leases, until).await?;
        self.leave("renew", false, false).await?;
        Ok(lost)
    }

    async fn intent(&self, intent: Intent) -> Result<IntentAnswer, QueueError> {
        let lost = self.enter("intent", true).await?;
        let answer = self.world.memory.intent(intent.clone()).await?;
        let number = super::mail::number(intent.lease.delivery);
        self.tell(&format!("intent u{number} fence {} {answer:?}", intent.lease.fence.0));
        self.world.book().intended(self.node, &intent, answer);
        self.leave("intent", true, lost).await?;
        Ok(answer)
    }

    async fn refund(&self, lane: &Lane, day: u32) -> Result<(), QueueError> {
        let lost = self.enter("refund", true).await?;
        let answer = self.world.memory.refund(lane, day).await?;
        self.leave("refund", true, lost).await?;
        Ok(answer)
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<Vec<SettleAnswer>, QueueError> {
        let lost = self.enter("settle", true).await?;
        let answers = self.world.memory.settle(settlements.clone()).await?;
        for (settlement, answer) in settlements.iter().zip(&answers) {
            let stored = self.world.memory.delivery(settlement.delivery).await?;
            let number = super::mail::number(settlement.delivery);
            let (fence, next) = (settlement.fence.0, &settlement.next);
            self.tell(&format!("settle u{number} fence {fence} {answer:?} {next:?}"));
            let state = stored.map(|delivery| delivery.state);
            self.world.book().settled(settlement, *answer, state);
        }
        self.leave("settle", true, lost).await?;
        Ok(answers)
    }

    async fn cancel(&self, delivery: DeliveryId, now: Timestamp) -> Result<bool, QueueError> {
        self.world.memory.cancel(delivery, now).await
    }

    async fn next_due(&self, class: Class) -> Result<Option<Timestamp>, QueueError> {
        self.world.memory.next_due(class).await
    }

    async fn parked_lanes(&self, max: usize) -> Result<Vec<(Lane, u64)>, QueueError> {
        self.enter("parked_lanes", false).await?;
        self.world.memory.parked_lanes(max).await
    }

    async fn depth(&self, now: Timestamp) -> Result<Depth, QueueError> {
        self.world.memory.depth(now).await
    }

    fn wake(&self) -> Arc<Notify> {
        self.world.memory.wake()
    }
}

#[async_trait]
impl Claims for Watched {
    async fn claim(&self, claim: Claim) -> Result<Board, QueueError> {
        self.enter("claim", false).await?;
        let board = self.world.memory.claim(claim).await?;
        self.leave("claim", false, false).await?;
        Ok(board)
    }

    async fn leave(&self, node: &Node) -> Result<(), QueueError> {
        self.enter("leave", false).await?;
        self.world.memory.leave(node).await
    }

    async fn board(&self, now: Timestamp) -> Result<Board, QueueError> {
        self.world.memory.board(now).await
    }
}

#[async_trait]
impl Waits for Watched {
    async fn place(&self, delivery: DeliveryId, now: Timestamp) -> Result<Option<Place>, QueueError> {
        self.world.memory.place(delivery, now).await
    }

    async fn waiters(&self, after: Option<&WaitersCursor>, max: usize) -> Result<WaitersPage, QueueError> {
        self.world.memory.waiters(after, max).await
    }
}
