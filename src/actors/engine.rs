//! The tree of actors of one engine: started together, drained together.
//!
//! Takes tools; gives an [`Engine`] to accept through and to stop. Root of the supervision: an actor that cannot be kept
//! alive ends up in `Surroundings::escalate`, which the composition root binds to "stop the process".

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use super::bookkeeper::{self, Bookkeeper};
use super::inquiries::Inquiries;
use super::intake::IntakeParts;
use super::isps::Isps;
use super::janitor::Janitor;
use super::keeper::{self, Keeper};
use super::reviews;
use super::scheduler::{Scheduler, SchedulerMessage};
use super::scribe::{self, Scribe};
use super::sender::Sender;
use super::settler::{Outbox, Settler};
use super::supervisor::{Handle, start};
use super::tools::{Crew, Tools};
use super::warmer::{self, Warmer};

/// A store that is away is not waited for longer than this at the end.
const LEAVE_LONGEST: Duration = Duration::from_secs(2);

/// A running engine.
#[derive(Debug, Clone)]
pub struct Engine {
    tools: Tools,
    scheduler: Handle<Scheduler>,
    isps: Isps,
    outbox: Outbox,
    accepting: Arc<AtomicUsize>,
    _janitor: Handle<Janitor>,
    _bookkeeper: Handle<Bookkeeper>,
    _scribe: Handle<Scribe>,
    _warmer: Handle<Warmer>,
    keeper: Handle<Keeper>,
}

impl Engine {
    /// Starts all actors on the current thread; session tasks run where `tools.spawner` says.
    #[must_use]
    pub fn start(tools: &Tools) -> Self {
        let mailbox = tools.settings.mailbox;
        let surroundings = &tools.surroundings;
        // Sessions are tasks: nobody starts them as actors.
        surroundings.observer.actor_started("session");
        let outbox = Outbox::default();
        let settler = {
            let (tools, outbox) = (tools.clone(), outbox.clone());
            start(surroundings.clone(), mailbox, move || {
                Settler::new(tools.clone(), outbox.clone())
            })
        };
        let mut senders = HashMap::new();
        for source in tools.sources.iter() {
            let (source, tools, settler, sessions) = (source.clone(), tools.clone(), settler.clone(), Arc::new(()));
            let id = source.room.id.clone();
            let sender = start(surroundings.clone(), mailbox, move || {
                Sender::new(source.clone(), tools.clone(), settler.clone(), Arc::clone(&sessions))
            });
            senders.insert(id, sender);
        }
        let crew = Crew {
            senders: Arc::new(senders),
            settler: settler.clone(),
        };
        let isps = Isps::default();
        let scheduler = {
            let (tools, isps) = (tools.clone(), isps.clone());
            start(surroundings.clone(), mailbox, move || {
                Scheduler::new(tools.clone(), crew.clone(), isps.clone())
            })
        };
        let keeper = {
            let (tools, scheduler) = (tools.clone(), scheduler.clone());
            start(surroundings.clone(), mailbox, move || {
                Keeper::new(tools.clone(), scheduler.clone())
            })
        };
        let scribe = {
            let tools = tools.clone();
            start(surroundings.clone(), mailbox, move || Scribe::new(tools.clone()))
        };
        let janitor = {
            let tools = tools.clone();
            start(surroundings.clone(), mailbox, move || {
                Janitor::new(tools.clone(), settler.clone())
            })
        };
        let warmer = {
            let tools = tools.clone();
            start(surroundings.clone(), mailbox, move || Warmer::new(tools.clone()))
        };
        let bookkeeper = {
            let tools = tools.clone();
            start(surroundings.clone(), mailbox, move || Bookkeeper::new(tools.clone()))
        };
        Self {
            tools: tools.clone(),
            scheduler,
            isps,
            outbox,
            accepting: Arc::default(),
            _janitor: janitor,
            _bookkeeper: bookkeeper,
            _scribe: scribe,
            _warmer: warmer,
            keeper,
        }
    }

    /// The way to the actors, for those who ask why something waits.
    #[must_use]
    pub fn inquiries(&self) -> Inquiries {
        Inquiries::new(&self.tools, self.isps.clone())
    }

    /// The actors of providers that there are.
    #[must_use]
    pub fn isps(&self) -> Isps {
        self.isps.clone()
    }

    /// What intakes need; one is started in each API worker.
    #[must_use]
    pub fn intake(&self) -> IntakeParts {
        IntakeParts {
            queue: Arc::clone(&self.tools.queue),
            surroundings: self.tools.surroundings.clone(),
            in_flight_max: self.tools.settings.accepts_in_flight_max,
            in_flight: Arc::clone(&self.accepting),
            mailbox: self.tools.settings.mailbox,
        }
    }

    /// Writes the list of unknown replies, before the end.
    pub async fn write_reviews(&self) {
        let saved = tokio::time::timeout(LEAVE_LONGEST, reviews::save(&self.tools)).await;
        if saved.is_err() {
            tracing::warn!("the store did not take the list of unknown replies; what is new in it is lost");
        }
    }

    /// Stops taking work, lets sessions finish what is past its dot, and stores what they report. Says whether all of that
    /// was done within `grace`; what was not is recorded as open INTENTs and found at the next start.
    pub async fn drain(&self, grace: Duration) -> bool {
        self.tools.draining.begin();
        if self.scheduler.send(SchedulerMessage::Drain).await.is_err() {
            tracing::warn!("the scheduler could not be told to drain");
        }
        let done = async {
            while self.tools.live.total() > 0 || !self.outbox.is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let clean = tokio::time::timeout(grace, done).await.is_ok();
        let now = self.tools.surroundings.clock.now();
        let kept = tokio::time::timeout(LEAVE_LONGEST, bookkeeper::keep(&self.tools, &[], now)).await;
        if !matches!(kept, Ok(Ok(()))) {
            tracing::warn!("the store did not take the last counts of reputation");
        }
        // What is not written down now was written a few seconds ago.
        if tokio::time::timeout(LEAVE_LONGEST, scribe::write(&self.tools, &[]))
            .await
            .is_err()
        {
            tracing::warn!("the store did not take what lanes learnt");
        }
        if tokio::time::timeout(LEAVE_LONGEST, warmer::write(&self.tools))
            .await
            .is_err()
        {
            tracing::warn!("the store did not take how far warm-ups are; what they were charged it has");
        }
        // With sessions left, the addresses stay ours until the claims end: another node must not send beside them.
        if clean
            && tokio::time::timeout(LEAVE_LONGEST, keeper::leave(&self.keeper))
                .await
                .is_err()
        {
            tracing::warn!("the store did not take our leave; our sources are free when their claims end");
        }
        clean
    }
}
