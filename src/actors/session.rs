//! One connection to one host: comes up, asks for work, delivers, quits.
//!
//! Takes an order; gives Attempts to the settler. A Delivery is bound to it only once EHLO succeeded. The INTENT is durable
//! before the final dot leaves (`deliver` waits for the gate); what is reported is what happened, judged elsewhere. A panic
//! in here ends this session alone: the Delivery in hand is reported as such, three times and it is put aside.

use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::oneshot;

use super::domain_holds;
use super::isp::{IspMessage, Work};
use super::returns;
use super::sender::OpenOrder;
use super::settler::{Settler, SettlerMessage, Withheld};
use super::supervisor::{Handle, Part, SendError};
use super::told::Origin;
use super::tools::{SourceSettings, Tools};
use super::warmups::Reservation;
use crate::domain::{Attempt, AttemptOutcome, DeliveryId, DnsFailure, Failure, Fence, MessageId, Stage, Timestamp};
use crate::policy::dot_guard::Holding;
use crate::policy::seed::seed_of;
use crate::queue::{Intent, IntentAnswer, IntentRefusal, Leased};
use crate::resolver::Target;
use crate::sabotage::{self, Bug};
use crate::transport::{Endpoint, OpenError, Outgoing, Session, TransactionOutcome};

/// Times that a report is repeated when an actor panics over it.
const REPORTS_MAX: usize = 3;

/// Everything a session needs.
#[derive(Debug)]
pub struct SessionPlan {
    /// What was ordered.
    pub order: OpenOrder,
    /// From where.
    pub source: SourceSettings,
    /// Seams and settings.
    pub tools: Tools,
    /// Where Attempts go.
    pub settler: Handle<Settler>,
    /// Counts the sessions of the Source.
    pub counted: Arc<()>,
}

/// What the session holds, for the case that it panics.
#[derive(Debug, Default)]
struct InHand {
    up: bool,
    leased: Option<Leased>,
    /// The host for which its INTENT was asked for.
    intent: Option<String>,
}

/// Runs a session from connect to QUIT.
pub async fn run(mut plan: SessionPlan) {
    let lane = plan.order.lane.clone();
    let observer = Arc::clone(&plan.tools.surroundings.observer);
    observer.connection_opening(&lane);
    let in_hand = Arc::new(Mutex::new(InHand::default()));
    let outcome = AssertUnwindSafe(converse(&mut plan, &in_hand)).catch_unwind().await;
    if outcome.is_err() {
        observer.actor_panicked("session");
        let held = std::mem::take(&mut *in_hand.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(leased) = held.leased {
            unanswered(&plan, plan.tools.surroundings.clock.now()).await;
            tell(&plan.settler, || {
                SettlerMessage::Panicked(Box::new(leased.clone()), held.intent.clone())
            })
            .await;
        }
        if !held.up {
            open_failed(
                &plan,
                Stage::Prepare,
                AttemptOutcome::Failed(Failure::Panicked),
                String::new(),
                None,
            )
            .await;
        }
    }
    observer.connection_closed(&lane);
    let SessionPlan { order, .. } = plan;
    let OpenOrder { isp, live, .. } = order;
    // Uncounted before the report, so that the lane sees the free place.
    drop(live);
    let _ = isp.try_send(IspMessage::Ended(lane.source));
}

async fn converse(plan: &mut SessionPlan, in_hand: &Mutex<InHand>) {
    let is_ours = |plan: &SessionPlan| {
        let tools = &plan.tools;
        tools
            .ownership
            .is_ours(&plan.order.lane.source, tools.surroundings.clock.now())
    };
    if !is_ours(plan) {
        return;
    }
    // Nothing is in hand before a session is up, so a host that keeps us waiting does not keep the engine from ending.
    let draining = plan.tools.draining.clone();
    let connected = tokio::select! {
        biased;
        () = draining.begun() => None,
        connected = connect(plan) => connected,
    };
    let Some((mut session, host, address)) = connected else {
        return;
    };
    plan.order.live.came_up();
    in_hand.lock().unwrap_or_else(PoisonError::into_inner).up = true;
    let source = plan.order.lane.source.clone();
    let site = Arc::clone(&plan.order.destination.site);
    let opened = IspMessage::Opened(source.clone(), Arc::clone(&site), plan.order.ordered);
    if plan.order.isp.send(opened).await.is_err() {
        return session.quit().await;
    }
    for before in 0..plan.order.messages_max {
        let (reply, work) = oneshot::channel();
        if plan
            .order
            .isp
            .send(IspMessage::Next(source.clone(), Arc::clone(&site), reply))
            .await
            .is_err()
        {
            break;
        }
        let Ok(Work::Deliver(leased)) = work.await else { break };
        if session.idle_check() || !is_ours(plan) {
            tell(&plan.order.isp, || {
                IspMessage::PutBack(source.clone(), Arc::clone(&site), leased.clone())
            })
            .await;
            return;
        }
        in_hand.lock().unwrap_or_else(PoisonError::into_inner).leased = Some((*leased).clone());
        if domain_holds::may_go(&plan.tools, &plan.order.lane.provider, &leased).await {
            deliver(plan, &mut session, *leased, &host, address, (before, in_hand)).await;
        } else {
            tell(&plan.order.isp, || IspMessage::Unbegun(source.clone())).await;
        }
        *in_hand.lock().unwrap_or_else(PoisonError::into_inner) = InHand {
            up: true,
            ..InHand::default()
        };
        if !session.reusable() {
            break;
        }
    }
    session.quit().await;
}

/// Tries the addresses of the destination in order until one greets us.
async fn connect(plan: &SessionPlan) -> Option<(Session, String, IpAddr)> {
    let tools = &plan.tools;
    let started = tools.surroundings.clock.now();
    let seed = seed_of(&[started.0, u64::from(tools.live.total())]);
    let most = tools.settings.addresses_per_attempt_max;
    let targets = match tools.destinations.targets(&plan.order.destination, seed, most).await {
        Ok(targets) => targets,
        Err(failure) => {
            open_failed(
                plan,
                Stage::Resolve,
                AttemptOutcome::Failed(Failure::Dns(failure)),
                String::new(),
                None,
            )
            .await;
            return None;
        }
    };
    let mut last = None;
    for Target { host, address } in targets {
        match tools.dialer.open(&endpoint(plan, &host, address)).await {
            Ok(session) => {
                tools.surroundings.observer.phases(session.opening_times());
                return Some((session, host, address));
            }
            Err(OpenError { stage, outcome, .. }) => {
                tools.surroundings.observer.connection_failed(&plan.order.lane, stage);
                last = Some((stage, outcome, host, Some(address)));
            }
        }
    }
    let nowhere = (
        Stage::Resolve,
        AttemptOutcome::Failed(Failure::Dns(DnsFailure::NoAddress)),
        String::new(),
        None,
    );
    let (stage, outcome, host, address) = last.unwrap_or(nowhere);
    open_failed(plan, stage, outcome, host, address).await;
    None
}

fn endpoint(plan: &SessionPlan, host: &str, address: IpAddr) -> Endpoint {
    let destination = &plan.order.destination;
    Endpoint {
        source: plan.source.ip.filter(|ip| ip.is_ipv4() == address.is_ipv4()),
        ehlo: plan.source.ehlo.clone(),
        host: host.to_owned(),
        address: SocketAddr::new(address, destination.port),
        tls: destination.tls,
        auth: destination.auth.clone(),
        allow_private: destination.allow_private,
    }
}

async fn open_failed(plan: &SessionPlan, stage: Stage, outcome: AttemptOutcome, host: String, address: Option<IpAddr>) {
    let now = plan.tools.surroundings.clock.now();
    let attempt = Attempt {
        delivery: DeliveryId {
            message: MessageId(uuid::Uuid::nil()),
            recipient: 0,
        },
        fence: Fence(0),
        number: 0,
        lane: Some(plan.order.lane.clone()),
        host,
        address,
        tls: false,
        started_at: plan.order.ordered,
        ended_at: now,
        stage,
        outcome,
    };
    let (source, site) = (&plan.order.lane.source, &plan.order.destination.site);
    tell(&plan.order.isp, || {
        IspMessage::OpenFailed(source.clone(), Arc::clone(site), Box::new(attempt.clone()))
    })
    .await;
}

/// One Delivery over a session that is up.
async fn deliver(
    plan: &SessionPlan,
    session: &mut Session,
    leased: Leased,
    host: &str,
    address: IpAddr,
    (before, in_hand): (u32, &Mutex<InHand>),
) {
    fail::fail_point!("session");
    let tools = &plan.tools;
    let clock = &tools.surroundings.clock;
    let started_at = clock.now();
    let attempt = |stage, outcome, ended_at: Timestamp, tls| Attempt {
        delivery: leased.delivery.id,
        fence: leased.fence,
        number: leased.delivery.attempts + 1,
        lane: Some(plan.order.lane.clone()),
        host: host.to_owned(),
        address: Some(address),
        tls,
        started_at,
        ended_at,
        stage,
        outcome,
    };
    let reserved = match tools.warmups.reserve(&plan.order.lane, started_at) {
        Ok(reserved) => reserved,
        Err(until) => {
            unanswered(plan, started_at).await;
            let parking = returns::over_cap(leased.lease(), &plan.order.lane, until);
            return returns::park_now(tools, vec![parking]).await;
        }
    };
    let tls = session.is_tls();
    let crafted = match tools.crafter.craft(&leased.delivery).await {
        Ok(crafted) => crafted,
        Err(failure) => {
            let attempt = attempt(Stage::Prepare, AttemptOutcome::Failed(failure), clock.now(), tls);
            return report(plan, attempt, leased, before, None).await;
        }
    };
    let refused = Mutex::new(None);
    let held_until = AtomicU64::new(leased.until.0);
    let gate = || {
        in_hand.lock().unwrap_or_else(PoisonError::into_inner).intent = Some(host.to_owned());
        let (lane, reserved) = (&plan.order.lane, reserved.as_ref());
        gate(tools, &leased, &held_until, (lane, reserved), host, &refused)
    };
    let mail = Outgoing {
        mail_from: &crafted.mail_from,
        rcpt_to: &leased.delivery.address,
        bytes: &crafted.bytes,
    };
    let mut transaction = renewing(tools, &leased, &held_until, session.deliver(mail, gate)).await;
    if sabotage::is(Bug::OtherHostAfterDot)
        && transaction.dot_sent
        && matches!(transaction.outcome, TransactionOutcome::Failed(_))
        && let Some((mut other, ..)) = connect(plan).await
    {
        transaction = other.deliver(mail, async || true).await;
    }
    tools.surroundings.observer.phases(session.transaction_times());
    if !transaction.dot_sent {
        returns::refund(tools, &plan.order.lane, reserved.as_ref()).await;
    }
    let outcome = match transaction.outcome {
        TransactionOutcome::Accepted(reply) => AttemptOutcome::Accepted(reply),
        TransactionOutcome::Refused(reply) => AttemptOutcome::Refused(reply),
        TransactionOutcome::Failed(failure) => AttemptOutcome::Failed(failure),
        TransactionOutcome::Withheld => {
            let why = refused.lock().unwrap_or_else(PoisonError::into_inner).take();
            return withheld(plan, &leased, started_at, &crafted.domain, why).await;
        }
    };
    let attempt = attempt(transaction.stage, outcome, clock.now(), tls);
    report(plan, attempt, leased, before, Some(crafted.domain)).await;
}

/// The dot did not leave: the lane, the domain and the settler hear of it.
async fn withheld(plan: &SessionPlan, leased: &Leased, started: Timestamp, domain: &Arc<str>, why: Option<Withheld>) {
    unanswered(plan, started).await;
    let domains = &plan.tools.lanes.domains;
    domains.unsent(&plan.order.lane.provider, domain, started);
    tell(&plan.settler, || {
        SettlerMessage::Withheld(Box::new(leased.clone()), why)
    })
    .await;
}

/// The lane hears that a message it gave out will not be answered: it may have been its canary.
async fn unanswered(plan: &SessionPlan, started: Timestamp) {
    let source = &plan.order.lane.source;
    tell(&plan.order.isp, || IspMessage::Unanswered(source.clone(), started)).await;
}

/// What this session holds now, by our own clock: whoever was frozen finds out here.
fn holding(tools: &Tools, held_until: &AtomicU64, lane: &crate::domain::Lane, now: Timestamp) -> Holding {
    Holding {
        until: Timestamp(held_until.load(Ordering::Relaxed)),
        source_is_ours: tools.ownership.is_ours(&lane.source, now),
        lease: tools.settings.lease,
    }
}

/// INTENT: whether the dot may leave. Everything that is not a clear yes is a no. `policy::dot_guard` is asked before and
/// after the store was.
async fn gate(
    tools: &Tools,
    leased: &Leased,
    held_until: &AtomicU64,
    (lane, reserved): (&crate::domain::Lane, Option<&Reservation>),
    host: &str,
    refused: &Mutex<Option<Withheld>>,
) -> bool {
    fail::fail_point!("before-intent", |_| false);
    let now = tools.surroundings.clock.now();
    let charge = reserved.and_then(|reserved| reserved.charge(now));
    let intent = Intent {
        lease: leased.lease(),
        attempt: leased.delivery.attempts + 1,
        lane: lane.clone(),
        host: host.to_owned(),
        at: now,
        charge,
    };
    if sabotage::is(Bug::SkipIntent) {
        return true;
    }
    if sabotage::is(Bug::DotBeforeIntent) {
        let queue = Arc::clone(&tools.queue);
        actix::spawn(async move { queue.intent(intent).await });
        return true;
    }
    let asked_at = intent.at;
    let answer = match holding(tools, held_until, lane, asked_at).is_safe(asked_at) {
        true => Some(tools.queue.intent(intent).await),
        false => None,
    };
    let now = tools.surroundings.clock.now();
    if let (Some(reserved), Some(charge)) = (reserved, charge) {
        match &answer {
            Some(Ok(IntentAnswer::Recorded)) => reserved.charged(charge, now),
            Some(Ok(IntentAnswer::Refused(IntentRefusal::WarmupCap))) => reserved.over_cap(charge, now),
            _ => {}
        }
    }
    let counts = holding(tools, held_until, lane, now).counts(asked_at, now) || sabotage::is(Bug::IntentSleptOver);
    let withheld = match answer {
        Some(Ok(IntentAnswer::Recorded)) if counts => {
            fail::fail_point!("after-intent");
            return true;
        }
        // Settled like one that was not recorded, which closes it, if the lease is still ours.
        Some(Ok(IntentAnswer::Recorded)) | None => Withheld::Late,
        Some(Ok(IntentAnswer::Refused(IntentRefusal::Stale))) => Withheld::Stale,
        Some(Ok(IntentAnswer::Refused(IntentRefusal::Expired))) => Withheld::Expired,
        Some(Ok(IntentAnswer::Refused(IntentRefusal::Suppressed))) => Withheld::Suppressed,
        Some(Ok(IntentAnswer::Refused(IntentRefusal::WarmupCap))) => {
            Withheld::OverCap(reserved.map_or(now, |reserved| reserved.until(now)))
        }
        Some(Err(error)) => {
            tools.surroundings.observer.store_error(&error);
            if sabotage::is(Bug::IntentErrorIgnored) {
                return true;
            }
            Withheld::Unrecorded
        }
    };
    *refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(withheld);
    false
}

/// Renews the lease while `work` takes its time: a slow reader after the dot may take ten minutes. The first renewal comes
/// when a third of it is gone, however long ago it was taken.
async fn renewing<T>(tools: &Tools, leased: &Leased, held_until: &AtomicU64, work: impl Future<Output = T>) -> T {
    let lease = tools.settings.lease;
    let clock = &tools.surroundings.clock;
    let keep = async {
        let mut next = leased.until.minus(lease - lease / 3);
        loop {
            tokio::time::sleep_until(clock.instant_of(next)).await;
            let until = clock.now().plus(lease);
            match tools.queue.renew(vec![leased.lease()], until).await {
                Ok(lost) if lost.is_empty() => held_until.store(until.0, Ordering::Relaxed),
                // Somebody else has it: the gate must not open any more.
                Ok(_) => held_until.store(0, Ordering::Relaxed),
                Err(error) => tools.surroundings.observer.store_error(&error),
            }
            next = clock.now().plus((lease / 3).max(Duration::from_millis(10)));
        }
    };
    tokio::select! {
        biased;
        done = work => done,
        never = keep => never,
    }
}

async fn report(plan: &SessionPlan, attempt: Attempt, leased: Leased, before: u32, domain: Option<Arc<str>>) {
    plan.tools
        .surroundings
        .observer
        .attempted(&attempt, leased.delivery.class);
    let origin = Origin {
        isp: plan.order.isp.clone(),
        before,
        domain,
    };
    tell(&plan.settler, || {
        SettlerMessage::Attempted(
            Box::new(attempt.clone()),
            Box::new(leased.clone()),
            Some(origin.clone()),
        )
    })
    .await;
}

/// Tells an actor something that must not get lost: again, when it panics over it.
async fn tell<P: Part>(actor: &Handle<P>, message: impl Fn() -> P::Message) {
    for _ in 0..REPORTS_MAX {
        match actor.send(message()).await {
            Ok(()) => return,
            Err(SendError::Panicked | SendError::Full) => {}
            Err(SendError::Gone) => return,
        }
    }
}
