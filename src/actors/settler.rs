//! Turns Attempts into durable Settlements.
//!
//! Takes Attempts from sessions and what needs no attempt from the scheduler; gives batches to the queue, signals to lanes,
//! and tells the observer what is durable. `policy::classify` judges, `policy::settlement` decides. What the queue could not
//! store yet waits in the outbox, which outlives a restart; nothing is told before it is durable. A record that cannot be
//! read keeps its own Settlement from being stored, with an alarm, and no other.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::isp::IspMessage;
use super::supervisor::{Part, PartContext};
use super::told::{self, Origin, Told};
use super::tools::Tools;
use crate::domain::{
    Attempt, AttemptOutcome, Cause, Delivery, DnsFailure, Failure, Lane, ProviderId, Settlement, Stage, Timestamp,
    Verdict,
};
use crate::observe::reputation::Told as Heard;
use crate::policy::seed::seed_of;
use crate::policy::settlement;
use crate::queue::{LeaseRef, Leased, Queue, QueueError, SettleAnswer};
use crate::sabotage::{self, Bug};

/// Why a dot was withheld.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withheld {
    /// The lease is somebody else's now.
    Stale,
    /// Its time ran out.
    Expired,
    /// The address is on the suppression list.
    Suppressed,
    /// The INTENT could not be recorded.
    Unrecorded,
    /// The warm-up of the lane has had its share until then.
    OverCap(Timestamp),
    /// The lease, or the claim to the Source, is or may be over by the time the dot is on the wire.
    Late,
}

impl Withheld {
    /// The name that metrics use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::Expired => "expired",
            Self::Suppressed => "suppressed",
            Self::Unrecorded => "unrecorded",
            Self::OverCap(_) => "warmup_cap",
            Self::Late => "late",
        }
    }
}

/// What a settler can be told.
#[derive(Debug)]
pub enum SettlerMessage {
    /// An Attempt ended; what the provider said is for its origin.
    Attempted(Box<Attempt>, Box<Leased>, Option<Origin>),
    /// There is no host for it.
    Unresolved(Leased, DnsFailure),
    /// Policy settled it without an attempt.
    Settle(Settlement, Delivery),
    /// The dot did not leave.
    Withheld(Box<Leased>, Option<Withheld>),
    /// A session panicked over it; with its INTENT recorded for this host, if one is given.
    Panicked(Box<Leased>, Option<String>),
    /// The queue answered for a batch.
    Stored(Stored),
    /// Try again what the queue could not store.
    Retry,
    /// Keep the leases of what is not durable yet.
    Renew,
}

/// A Settlement that is not durable yet.
#[derive(Debug, Clone)]
pub struct Pending {
    settlement: Settlement,
    delivery: Delivery,
    lane: Option<Lane>,
    /// Why, unless it was delivered; for the reputation of whom it blames.
    cause: Option<Cause>,
    /// The domain it was sent from, if it got as far as that.
    domain: Option<Arc<str>>,
}

/// Settlements that are not durable yet; shared with the factory, so that a restart finds them.
#[derive(Debug, Clone, Default)]
pub struct Outbox(Arc<Mutex<Pendings>>);

#[derive(Debug, Default)]
struct Pendings {
    waiting: VecDeque<Pending>,
    /// Handed to the queue, which has not answered yet.
    storing: Vec<LeaseRef>,
}

impl Outbox {
    fn pendings(&self) -> MutexGuard<'_, Pendings> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, pending: Pending) {
        self.pendings().waiting.push_back(pending);
    }

    fn take(&self, most: usize) -> Vec<Pending> {
        let mut pendings = self.pendings();
        let count = pendings.waiting.len().min(most);
        let batch: Vec<Pending> = pendings.waiting.drain(..count).collect();
        pendings.storing.extend(batch.iter().map(Pending::lease));
        batch
    }

    /// The queue answered for the batch with these leases; `left` goes back to the front.
    fn answered(&self, batch: &HashSet<LeaseRef>, left: &mut Vec<Pending>) {
        let mut pendings = self.pendings();
        pendings.storing.retain(|lease| !batch.contains(lease));
        for pending in left.drain(..).rev() {
            pendings.waiting.push_front(pending);
        }
    }

    fn leases(&self) -> Vec<LeaseRef> {
        let pendings = self.pendings();
        let waiting = pendings.waiting.iter().map(Pending::lease);
        waiting.chain(pendings.storing.iter().copied()).collect()
    }

    /// How many are not durable yet.
    #[must_use]
    pub fn len(&self) -> usize {
        let pendings = self.pendings();
        pendings.waiting.len() + pendings.storing.len()
    }

    /// Whether everything is durable.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Pending {
    fn lease(&self) -> LeaseRef {
        LeaseRef {
            delivery: self.settlement.delivery,
            fence: self.settlement.fence,
        }
    }
}

/// What became of a batch.
#[derive(Debug, Default)]
pub struct Stored {
    answers: Vec<(Pending, SettleAnswer)>,
    /// Their records cannot be read: no Settlement of theirs can be stored.
    damaged: Vec<(Pending, QueueError)>,
    /// To be stored later, and why.
    left: Vec<Pending>,
    error: Option<QueueError>,
}

impl Stored {
    fn add(&mut self, batch: Vec<Pending>, answer: Result<Vec<SettleAnswer>, QueueError>) {
        match answer {
            Ok(answers) => self.answers.extend(batch.into_iter().zip(answers)),
            Err(error) => {
                self.left.extend(batch);
                self.error = Some(error);
            }
        }
    }
}

/// Has the queue store a batch; if there is a damaged record among them, one by one.
async fn store_all(queue: &dyn Queue, batch: Vec<Pending>) -> Stored {
    let settle = async |batch: &[Pending]| {
        let settlements = batch.iter().map(|pending| pending.settlement.clone()).collect();
        fail::fail_point!("before-outcome");
        let answer = queue.settle(settlements).await;
        fail::fail_point!("after-outcome");
        if sabotage::is(Bug::OutcomeErrorIgnored) {
            return Ok(answer.unwrap_or_else(|_| vec![SettleAnswer::Settled; batch.len()]));
        }
        answer
    };
    let mut stored = Stored::default();
    let answer = settle(&batch).await;
    if !matches!(answer, Err(QueueError::Damaged(_))) {
        stored.add(batch, answer);
        return stored;
    }
    for pending in batch {
        if stored.error.is_some() {
            stored.left.push(pending);
            continue;
        }
        match settle(std::slice::from_ref(&pending)).await {
            Err(error @ QueueError::Damaged(_)) => stored.damaged.push((pending, error)),
            answer => stored.add(vec![pending], answer),
        }
    }
    stored
}

/// The settler.
#[derive(Debug)]
pub struct Settler {
    tools: Tools,
    outbox: Outbox,
    storing: bool,
    failures: u32,
}

impl Settler {
    /// A settler that goes on with what `outbox` holds.
    #[must_use]
    pub fn new(tools: Tools, outbox: Outbox) -> Self {
        Self {
            tools,
            outbox,
            storing: false,
            failures: 0,
        }
    }

    fn attempted(&self, attempt: &Attempt, leased: Leased, origin: Option<Origin>) {
        let now = self.tools.surroundings.clock.now();
        let nobody = ProviderId::from("none");
        let provider = attempt.lane.as_ref().map_or(&nobody, |lane| &lane.provider);
        let judgement = self.tools.classifier.judge(provider, attempt);
        let observer = &self.tools.surroundings.observer;
        observer.judged(provider, attempt, &judgement, now);
        let verdict = judgement.verdict;
        let domain = origin.as_ref().and_then(|origin| origin.domain.clone());
        if let (Some(origin), Some(lane)) = (origin, &attempt.lane) {
            let told = Told::of(attempt, &verdict, origin.before);
            self.tools
                .warmups
                .answered(lane, told.report.delivered, told.report.action, now);
            // A lost signal costs a little politeness, nothing else.
            let _ = origin
                .isp
                .try_send(IspMessage::Signal(lane.source.clone(), Box::new(told)));
            if let Some(domain) = &origin.domain {
                self.tell_domain(&lane.provider, domain, &verdict, attempt.started_at, now);
            }
        }
        let cause = told::cause(&verdict).cloned();
        let seed = seed_of(&[
            leased.delivery.id.message.0.as_u64_pair().1,
            u64::from(leased.delivery.id.recipient),
            u64::from(attempt.number),
        ]);
        let settlement = settlement::settle(
            &leased.delivery,
            attempt,
            verdict,
            &self.tools.figures.get().settlement,
            now,
            seed,
        );
        self.outbox.push(Pending {
            settlement,
            delivery: leased.delivery,
            lane: attempt.lane.clone(),
            cause,
            domain,
        });
    }

    fn tell_domain(
        &self,
        provider: &ProviderId,
        domain: &Arc<str>,
        verdict: &Verdict,
        started: Timestamp,
        now: Timestamp,
    ) {
        let holds = &self.tools.lanes.domains;
        if let Some(until) = holds.tell(provider, domain, verdict, started, now) {
            let observer = &self.tools.surroundings.observer;
            observer.domain_held(provider, domain, until, now);
            tracing::warn!(%provider, %domain, %until, "the provider blames a domain; its mail there stands still");
        }
    }

    fn unresolved(&self, leased: Leased, failure: DnsFailure) {
        let now = self.tools.surroundings.clock.now();
        let attempt = Attempt {
            delivery: leased.delivery.id,
            fence: leased.fence,
            number: leased.delivery.attempts + 1,
            lane: None,
            host: String::new(),
            address: None,
            tls: false,
            started_at: now,
            ended_at: now,
            stage: Stage::Resolve,
            outcome: AttemptOutcome::Failed(Failure::Dns(failure)),
        };
        self.attempted(&attempt, leased, None);
    }

    fn withheld(&self, leased: Leased, why: Option<Withheld>) {
        let now = self.tools.surroundings.clock.now();
        let figures = self.tools.figures.get();
        let settings = &figures.settlement;
        let reason = why.unwrap_or(Withheld::Unrecorded).name();
        self.tools.surroundings.observer.withheld(reason);
        let settlement = match why {
            Some(Withheld::Stale) => return,
            Some(Withheld::Expired) => settlement::expired(&leased.delivery, leased.fence, now),
            Some(Withheld::Suppressed) => settlement::suppressed(&leased.delivery, leased.fence, now),
            Some(Withheld::OverCap(until)) => settlement::over_cap(&leased.delivery, leased.fence, until, now),
            Some(Withheld::Unrecorded | Withheld::Late) | None => {
                settlement::unrecorded(&leased.delivery, leased.fence, settings, now)
            }
        };
        self.outbox.push(Pending {
            settlement,
            delivery: leased.delivery,
            lane: None,
            cause: None,
            domain: None,
        });
    }

    fn panicked(&self, leased: Leased, host: Option<&str>) {
        let now = self.tools.surroundings.clock.now();
        let figures = self.tools.figures.get();
        let settings = &figures.settlement;
        let settlement = match host {
            Some(host) => {
                settlement::panicked_after_intent(&leased.delivery, leased.fence, host, settings, now, leased.fence.0)
            }
            None => settlement::panicked(&leased.delivery, leased.fence, settings, now),
        };
        self.outbox.push(Pending {
            settlement,
            delivery: leased.delivery,
            lane: None,
            cause: None,
            domain: None,
        });
    }

    fn store(&mut self, context: &PartContext<'_, Self>) {
        if self.storing {
            return;
        }
        let batch = self.outbox.take(self.tools.settings.settle_batch_max);
        if batch.is_empty() {
            return;
        }
        self.storing = true;
        let (queue, me, outbox) = (Arc::clone(&self.tools.queue), context.handle(), self.outbox.clone());
        actix::spawn(async move {
            let leases = batch.iter().map(Pending::lease).collect();
            let mut stored = store_all(&*queue, batch).await;
            // Before the settler hears of it: it may panic over the message.
            outbox.answered(&leases, &mut stored.left);
            if let Err(error) = me.send(SettlerMessage::Stored(stored)).await {
                tracing::debug!(%error, "the settler did not take an answer of the queue");
            }
        });
    }

    /// A lease that ended while the store was away would make a second copy of what is delivered.
    fn renew(&self, context: &mut PartContext<'_, Self>) {
        context.after(self.tools.settings.lease / 3, SettlerMessage::Renew);
        let leases = self.outbox.leases();
        if leases.is_empty() {
            return;
        }
        let tools = self.tools.clone();
        actix::spawn(async move {
            let until = tools.surroundings.clock.now().plus(tools.settings.lease);
            if let Err(error) = tools.queue.renew(leases, until).await {
                tools.surroundings.observer.store_error(&error);
            }
        });
    }

    /// What is durable now counts for and against names.
    fn judge_names(&self, stored: &Stored) {
        let settled = stored
            .answers
            .iter()
            .filter(|(_, answer)| *answer == SettleAnswer::Settled);
        let told = settled.map(|(pending, _)| Heard {
            delivery: &pending.delivery,
            settlement: &pending.settlement,
            cause: pending.cause.as_ref(),
            lane: pending.lane.as_ref(),
            domain: pending.domain.as_ref(),
        });
        let now = self.tools.surroundings.clock.now();
        for change in self.tools.reputation.settled(told, now) {
            self.tools.surroundings.observer.tenant_graded(&change);
        }
    }

    fn stored(&mut self, stored: Stored, context: &mut PartContext<'_, Self>) {
        self.storing = false;
        let observer = &self.tools.surroundings.observer;
        fail::fail_point!("before-event");
        for (pending, answer) in &stored.answers {
            if *answer == SettleAnswer::Settled {
                observer.settled(&pending.delivery, &pending.settlement, pending.lane.as_ref());
            }
        }
        self.judge_names(&stored);
        for (pending, error) in &stored.damaged {
            observer.store_error(error);
            tracing::error!(delivery = %pending.delivery.id, next = ?pending.settlement.next, "what became of it cannot be stored: {error}");
        }
        let Some(error) = stored.error else {
            self.failures = 0;
            return;
        };
        observer.store_error(&error);
        self.failures = self.failures.saturating_add(1);
        let pause = Duration::from_millis(50)
            .saturating_mul(1 << self.failures.min(7))
            .min(Duration::from_secs(5));
        context.after(pause, SettlerMessage::Retry);
        self.storing = true;
    }
}

impl Part for Settler {
    type Message = SettlerMessage;
    const KIND: &'static str = "settler";

    fn started(&mut self, context: &mut PartContext<'_, Self>) {
        context.after(self.tools.settings.lease / 3, SettlerMessage::Renew);
        self.store(context);
    }

    fn handle(&mut self, message: SettlerMessage, context: &mut PartContext<'_, Self>) {
        fail::fail_point!("settler");
        match message {
            SettlerMessage::Attempted(attempt, leased, origin) => self.attempted(&attempt, *leased, origin),
            SettlerMessage::Unresolved(leased, failure) => self.unresolved(leased, failure),
            SettlerMessage::Settle(settlement, delivery) => self.outbox.push(Pending {
                settlement,
                delivery,
                lane: None,
                cause: None,
                domain: None,
            }),
            SettlerMessage::Withheld(leased, why) => self.withheld(*leased, why),
            SettlerMessage::Panicked(leased, host) => self.panicked(*leased, host.as_deref()),
            SettlerMessage::Stored(stored) => self.stored(stored, context),
            SettlerMessage::Retry => self.storing = false,
            SettlerMessage::Renew => self.renew(context),
        }
        self.store(context);
    }
}
