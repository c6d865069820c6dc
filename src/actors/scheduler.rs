//! Takes due work from the queue and brings it to its lane.
//!
//! Takes wake-ups, answers of the queue and of MX lookups, and credit from lanes; gives offers to ISP actors, parkings to
//! the queue, and settlements of what needs no attempt. Holds leased work only while its domain is being looked up.
//! Never waits inside a handler: each call to a seam is a task that reports by message. What it goes through is in order, so
//! that a run on made-up time can be replayed. What waits in the store for a lane, or for its tenant, is in `parked` and
//! `held`; which Source mail goes from in `route`.

mod held;
mod parked;
mod route;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::isp::{Isp, IspMessage};
use super::isps::Isps;
use super::returns;
use super::settler::SettlerMessage;
use super::supervisor::{Handle, Part, PartContext, SendError, start};
use super::tools::{Crew, Tools};
use crate::domain::{Class, Destination, DnsFailure, Lane, ProviderId, Shelf, Stream, TenantId, Why};
pub use crate::policy::fairness::Credit;
use crate::policy::fairness::LaneCredit;
use crate::policy::routing;
use crate::policy::settlement::{self, Waiting};
use crate::policy::shares::Weights;
use crate::policy::shelves::{Shelves, Turn};
use crate::policy::tenant_policy::TenantSettings;
use crate::queue::{LeaseRef, Leased, QueueError};
use held::Held;
use parked::Shelved;
use route::Route;

/// The scheduler. One for each engine.
#[derive(Debug)]
pub struct Scheduler {
    tools: Tools,
    crew: Crew,
    rooms: Vec<routing::SourceRoom>,
    leasing: [bool; 3],
    isps: Isps,
    lanes: BTreeMap<Lane, LaneCredit>,
    tenants: Arc<TenantSettings>,
    weights: Weights,
    shelves: Shelves,
    unparking: BTreeSet<Lane>,
    held: Held,
    /// Of the batch in hand, what stays at the blocked lane that it is to leave.
    stayed: usize,
    awaiting: BTreeMap<String, Vec<Leased>>,
    awaiting_count: [usize; 3],
    ticks: u64,
    waker: Option<Waker>,
}

/// What the scheduler can be told.
#[derive(Debug)]
pub enum SchedulerMessage {
    /// Time passed.
    Tick,
    /// Something may have become due.
    Wake,
    /// The queue answered.
    Leased(Class, usize, Result<Vec<Leased>, QueueError>),
    /// The queue answered for a shelf of a lane.
    Unparked(Turn, Purpose, Result<Vec<Leased>, QueueError>),
    /// The queue answered for the mail of a stream that was held back; so much was asked for.
    Released((TenantId, Stream), usize, Result<Vec<Leased>, QueueError>),
    /// Names of shelves that hold parked work.
    Parked(Vec<Lane>),
    /// Work waits on these shelves now. Whoever looked for it before has found nothing.
    WereParked(BTreeSet<(Shelf, Class)>),
    /// A lookup ended.
    Resolved(String, Result<Arc<Destination>, DnsFailure>),
    /// A lane can take more, or less.
    Credit(Lane, Credit),
    /// The actor of a provider began anew: what it held is lost to it.
    IspStarted(ProviderId),
    /// The actor of a provider has had nothing to do for long.
    IspIdle(ProviderId),
    /// Sources came to us, went, or have no owner any more.
    Sources,
    /// Stop taking work.
    Drain,
}

/// What work is taken off a shelf for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Its lane has places.
    Lane,
    /// Its lane is blocked for our address, or full for long, and another may take it.
    Elsewhere,
}

/// Where work in hand comes from.
#[derive(Debug, Clone, Copy)]
enum Origin<'l> {
    /// From the line.
    Line,
    /// From a shelf of this lane, which had places for it.
    Lane(&'l Lane),
    /// From a shelf of this lane, which is blocked.
    Blocked(&'l Lane),
    /// From what was held back for its tenant.
    Held,
}

/// Ticks between two looks at the lanes that hold parked work, in case a message about their credit was lost.
const TICKS_BETWEEN_PARKED_LOOKS: u64 = 25;
/// Parked lanes looked at in one go.
const PARKED_LANES_MAX: usize = 10_000;

/// Ends its task when the part is thrown away.
#[derive(Debug)]
struct Waker(tokio::task::JoinHandle<()>);

impl Drop for Waker {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Scheduler {
    /// A scheduler that has seen nothing yet but the actors that are there.
    #[must_use]
    pub fn new(tools: Tools, crew: Crew, isps: Isps) -> Self {
        let rooms = tools.sources.iter().map(|source| source.room.clone()).collect();
        let tenants = tools.reputation.settings();
        Self {
            tools,
            crew,
            rooms,
            leasing: [false; 3],
            isps,
            lanes: BTreeMap::new(),
            weights: tenants.weights(),
            tenants,
            shelves: Shelves::default(),
            unparking: BTreeSet::new(),
            held: Held::default(),
            stayed: 0,
            awaiting: BTreeMap::new(),
            awaiting_count: [0; 3],
            ticks: 0,
            waker: None,
        }
    }

    fn lease_due(&mut self, context: &PartContext<'_, Self>) {
        if self.tools.draining.has_begun() {
            return;
        }
        let now = self.tools.surroundings.clock.now();
        for class in Class::ALL {
            if !self.tools.ownership.may_take(class, &self.rooms, now) {
                continue;
            }
            let room = self.tools.settings.look_ahead.room(class, self.awaiting_count);
            if room == 0 || std::mem::replace(&mut self.leasing[class.index()], true) {
                continue;
            }
            let (tools, me) = (self.tools.clone(), context.handle());
            actix::spawn(async move {
                let now = tools.surroundings.clock.now();
                let until = now.plus(tools.settings.lease);
                let answer = tools.queue.lease(class, room, now, until).await;
                if answer.as_ref().is_ok_and(|leased| !leased.is_empty()) {
                    fail::fail_point!("lease-taken");
                }
                report(&me, SchedulerMessage::Leased(class, room, answer)).await;
            });
        }
    }

    /// What we knew of lanes whose Source is not ours is worth nothing any more.
    fn sources_changed(&mut self, context: &PartContext<'_, Self>) {
        let (now, ownership) = (self.tools.surroundings.clock.now(), &self.tools.ownership);
        self.lanes.retain(|lane, _| ownership.is_ours(&lane.source, now));
        for isp in self.isps.all() {
            // One that is full looks by itself within a second.
            let _ = isp.try_send(IspMessage::Sources);
        }
        self.look_for_parked(context);
        self.lease_due(context);
    }

    /// Brings leased work on its way.
    fn dispatch(&mut self, batch: Vec<Leased>, origin: Origin<'_>, context: &PartContext<'_, Self>) {
        let mut offers: BTreeMap<Lane, Vec<(Leased, Arc<Destination>)>> = BTreeMap::new();
        let mut parkings = Vec::new();
        let now = self.tools.surroundings.clock.now();
        let figures = self.tools.figures.get();
        for leased in batch {
            match settlement::waiting(
                &leased.delivery,
                leased.fence,
                leased.open_intent.as_ref().map(|open| &*open.host),
                &figures.settlement,
                now,
            ) {
                Waiting::Settle(settlement) => {
                    returns::settle(&self.crew, SettlerMessage::Settle(settlement, leased.delivery));
                    continue;
                }
                Waiting::Attempt => {}
            }
            let destination = match self.tools.destinations.cached(leased.delivery.domain()) {
                Some(Ok(destination)) => destination,
                Some(Err(failure)) => {
                    returns::settle(&self.crew, SettlerMessage::Unresolved(leased, failure));
                    continue;
                }
                None => {
                    self.resolve(leased, context);
                    continue;
                }
            };
            if let Some(held) = self.hold(&leased, origin, now) {
                parkings.push(held);
                continue;
            }
            match self.route(&leased, &destination, origin) {
                Route::Offer(lane) => offers.entry(lane).or_default().push((leased, destination)),
                Route::Park(lane) => parkings.push(self.shelved(&leased, &lane)),
                Route::Warmup(lane, until) => parkings.push(self.over_cap(&leased, &lane, until)),
                Route::Nowhere => {
                    let due_at = now.plus(self.tools.settings.lease);
                    returns::give_back_for(&self.tools, vec![leased.lease()], due_at, Why::NoSource);
                }
            }
        }
        for (lane, work) in offers {
            self.offer(&lane, work, &mut parkings, context);
        }
        self.park(parkings, context);
    }

    fn offer(
        &mut self,
        lane: &Lane,
        work: Vec<(Leased, Arc<Destination>)>,
        parkings: &mut Vec<Shelved>,
        context: &PartContext<'_, Self>,
    ) {
        let places = work.len();
        let shelved: Vec<Shelved> = work.iter().map(|(leased, _)| self.shelved(leased, lane)).collect();
        let Some(isp) = self.isp(&lane.provider, context) else {
            parkings.extend(shelved);
            return;
        };
        if let Err(error) = isp.try_send(IspMessage::Offer(lane.source.clone(), work)) {
            if error == SendError::Gone {
                self.isps.forget(&lane.provider);
            }
            if let Some(credit) = self.lanes.get_mut(lane) {
                credit.left += places;
            }
            parkings.extend(shelved);
        }
    }

    fn isp(&mut self, provider: &ProviderId, context: &PartContext<'_, Self>) -> Option<Handle<Isp>> {
        if let Some(isp) = self.isps.of(provider) {
            return Some(isp);
        }
        if self.isps.len() >= self.tools.settings.providers_max {
            return None;
        }
        let (tools, crew, scheduler, id) = (
            self.tools.clone(),
            self.crew.clone(),
            context.handle(),
            provider.clone(),
        );
        let isp = start(
            self.tools.surroundings.clone(),
            self.tools.settings.mailbox,
            move || Isp::new(id.clone(), tools.clone(), crew.clone(), scheduler.clone()),
        );
        self.isps.add(provider.clone(), isp.clone());
        Some(isp)
    }

    fn resolve(&mut self, leased: Leased, context: &PartContext<'_, Self>) {
        let domain = leased.delivery.domain().to_owned();
        self.awaiting_count[leased.delivery.class.index()] += 1;
        let waiting = self.awaiting.entry(domain.clone()).or_default();
        waiting.push(leased);
        if waiting.len() > 1 {
            return;
        }
        let (destinations, me) = (Arc::clone(&self.tools.destinations), context.handle());
        actix::spawn(async move {
            let answer = destinations.find(&domain).await;
            report(&me, SchedulerMessage::Resolved(domain, answer)).await;
        });
    }

    fn resolved(
        &mut self,
        domain: &str,
        answer: Result<Arc<Destination>, DnsFailure>,
        context: &PartContext<'_, Self>,
    ) {
        let waiting = self.awaiting.remove(domain).unwrap_or_default();
        for leased in &waiting {
            let count = &mut self.awaiting_count[leased.delivery.class.index()];
            *count = count.saturating_sub(1);
        }
        match answer {
            Ok(_) => self.dispatch(waiting, Origin::Line, context),
            Err(failure) => waiting
                .into_iter()
                .for_each(|leased| returns::settle(&self.crew, SettlerMessage::Unresolved(leased, failure))),
        }
    }

    fn change_credit(&mut self, lane: &Lane, change: Credit, context: &PartContext<'_, Self>) {
        if let Some(credit) = self.lanes.get_mut(lane) {
            credit.change(change);
        }
        self.lease_parked(lane, context);
    }

    fn drain(&mut self) {
        let waiting: Vec<LeaseRef> = std::mem::take(&mut self.awaiting)
            .into_values()
            .flatten()
            .map(|leased| leased.lease())
            .collect();
        returns::give_back(&self.tools, waiting, self.tools.surroundings.clock.now());
        for isp in self.isps.all() {
            if isp.try_send(IspMessage::Drain).is_err() {
                tracing::debug!("an ISP actor could not be told to drain; its leases will end instead");
            }
        }
    }
}

/// Sends a result back; when the scheduler panics over it, its leases end and the work comes again.
async fn report(me: &Handle<Scheduler>, message: SchedulerMessage) {
    if let Err(error) = me.send(message).await {
        tracing::debug!(%error, "the scheduler did not take a result");
    }
}

impl Part for Scheduler {
    type Message = SchedulerMessage;
    const KIND: &'static str = "scheduler";

    fn started(&mut self, context: &mut PartContext<'_, Self>) {
        let (wake, me) = (self.tools.queue.wake(), context.handle());
        self.waker = Some(Waker(actix::spawn(async move {
            loop {
                wake.notified().await;
                report(&me, SchedulerMessage::Wake).await;
            }
        })));
        self.look_for_parked(context);
        context.after(self.tools.settings.tick, SchedulerMessage::Tick);
        self.lease_due(context);
    }

    fn handle(&mut self, message: SchedulerMessage, context: &mut PartContext<'_, Self>) {
        fail::fail_point!("scheduler");
        match message {
            SchedulerMessage::Tick => {
                self.ticks += 1;
                if self.ticks.is_multiple_of(TICKS_BETWEEN_PARKED_LOOKS) {
                    self.look_for_parked(context);
                    self.leave_blocked_lanes(context);
                }
                self.look_at_tenants(context);
                context.after(self.tools.settings.tick, SchedulerMessage::Tick);
                self.lease_due(context);
            }
            SchedulerMessage::Wake => self.lease_due(context),
            SchedulerMessage::Leased(class, asked, answer) => {
                self.leasing[class.index()] = false;
                let batch = self.taken(answer);
                let more = batch.len() >= asked;
                self.dispatch(batch, Origin::Line, context);
                if more {
                    self.lease_due(context);
                }
            }
            SchedulerMessage::Unparked(turn, purpose, answer) => self.unparked(&turn, purpose, answer, context),
            SchedulerMessage::Released(stream, asked, answer) => self.released(stream, asked, answer, context),
            SchedulerMessage::Parked(names) => self.found_parked(&names, context),
            SchedulerMessage::WereParked(shelves) => self.were_parked(shelves, context),
            SchedulerMessage::Resolved(domain, answer) => self.resolved(&domain, answer, context),
            SchedulerMessage::Credit(lane, change) => self.change_credit(&lane, change, context),
            SchedulerMessage::IspStarted(provider) => self.forget_lanes(&provider, context),
            SchedulerMessage::IspIdle(provider) => {
                // What was offered before stands before this in its mailbox. A mailbox that is full is not idle.
                let retired = |isp: Handle<Isp>| isp.try_send(IspMessage::Retire).is_ok();
                if self.isps.of(&provider).is_some_and(retired) {
                    self.isps.forget(&provider);
                    self.lanes.retain(|lane, _| lane.provider != provider);
                }
            }
            SchedulerMessage::Sources => self.sources_changed(context),
            SchedulerMessage::Drain => self.drain(),
        }
    }
}

impl Scheduler {
    fn taken(&self, answer: Result<Vec<Leased>, QueueError>) -> Vec<Leased> {
        answer.unwrap_or_else(|error| {
            self.tools.surroundings.observer.store_error(&error);
            Vec::new()
        })
    }

    /// An ISP actor began anew with empty rooms: all its lanes have their whole credit again.
    fn forget_lanes(&mut self, provider: &ProviderId, context: &PartContext<'_, Self>) {
        let lanes: Vec<Lane> = self
            .lanes
            .keys()
            .filter(|lane| lane.provider == *provider)
            .cloned()
            .collect();
        for lane in lanes {
            self.change_credit(&lane, Credit::Full, context);
        }
    }
}
