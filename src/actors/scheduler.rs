//! Takes due work from the queue and brings it to its lane.
//!
//! Takes wake-ups, answers of the queue and of MX lookups, and credit from lanes; gives offers to ISP actors, parkings to
//! the queue, and settlements of what needs no attempt. Holds leased work only while its domain is being looked up.
//! Never waits inside a handler: each call to a seam is a task that reports by message. What it goes through is in order, so
//! that a run on made-up time can be replayed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::isp::{Isp, IspMessage};
use super::isps::Isps;
use super::returns;
use super::settler::SettlerMessage;
use super::supervisor::{Handle, Part, PartContext, SendError, start};
use super::tools::{Crew, Tools};
use crate::domain::{Class, Destination, DnsFailure, Lane, ProviderId, SourceId, Timestamp, Why};
pub use crate::policy::fairness::Credit;
use crate::policy::fairness::{LaneCredit, lane_credit, may_offer};
use crate::policy::ownership::Standing;
use crate::policy::routing::{self, Choice};
use crate::policy::settlement::{self, Waiting};
use crate::queue::{LeaseRef, Leased, Parking, QueueError};

/// The scheduler. One for each engine.
#[derive(Debug)]
pub struct Scheduler {
    tools: Tools,
    crew: Crew,
    rooms: Vec<routing::SourceRoom>,
    leasing: [bool; 3],
    isps: Isps,
    lanes: BTreeMap<Lane, LaneCredit>,
    parked: BTreeSet<Lane>,
    unparking: BTreeSet<Lane>,
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
    /// The queue answered for a lane.
    Unparked(Lane, usize, Result<Vec<Leased>, QueueError>),
    /// Lanes that hold parked work.
    Parked(Vec<Lane>),
    /// Work waits under these lanes now. Whoever looked for it before has found nothing.
    WereParked(BTreeSet<Lane>),
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
        Self {
            tools,
            crew,
            rooms,
            leasing: [false; 3],
            isps,
            lanes: BTreeMap::new(),
            parked: BTreeSet::new(),
            unparking: BTreeSet::new(),
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

    fn lease_parked(&mut self, lane: &Lane, context: &PartContext<'_, Self>) {
        let (credit, now) = (self.credit(lane), self.tools.surroundings.clock.now());
        let most = self.tools.warmups.most(lane, credit.in_hand(), now);
        let room = credit.left.min(self.tools.settings.look_ahead.batch).min(most);
        if self.tools.draining.has_begun()
            || room == 0
            || !self.may_unpark(lane)
            || !self.parked.contains(lane)
            || !self.unparking.insert(lane.clone())
        {
            return;
        }
        let (tools, me, lane) = (self.tools.clone(), context.handle(), lane.clone());
        actix::spawn(async move {
            let now = tools.surroundings.clock.now();
            let until = now.plus(tools.settings.lease);
            let answer = tools.queue.lease_parked(&lane, room, now, until).await;
            report(&me, SchedulerMessage::Unparked(lane, room, answer)).await;
        });
    }

    /// Our own lanes, and those whose Source has no owner: what waits there goes another way.
    fn may_unpark(&self, lane: &Lane) -> bool {
        let now = self.tools.surroundings.clock.now();
        self.tools.ownership.standing(&lane.source, now) != Standing::Others
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

    fn look_for_parked(&self, context: &PartContext<'_, Self>) {
        let (queue, me) = (Arc::clone(&self.tools.queue), context.handle());
        actix::spawn(async move {
            if let Ok(lanes) = queue.parked_lanes(PARKED_LANES_MAX).await
                && !lanes.is_empty()
            {
                let lanes = lanes.into_iter().map(|(lane, _)| lane).collect();
                report(&me, SchedulerMessage::Parked(lanes)).await;
            }
        });
    }

    /// Brings leased work on its way. `unparked` is the lane it was parked under.
    fn dispatch(&mut self, batch: Vec<Leased>, unparked: Option<&Lane>, context: &PartContext<'_, Self>) {
        let mut offers: BTreeMap<Lane, Vec<(Leased, Arc<Destination>)>> = BTreeMap::new();
        let mut parkings = Vec::new();
        let now = self.tools.surroundings.clock.now();
        for leased in batch {
            match settlement::waiting(
                &leased.delivery,
                leased.fence,
                leased.open_intent.as_ref().map(|open| &*open.host),
                &self.tools.settings.settlement,
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
            match self.route(&leased, &destination, unparked) {
                Route::Offer(lane) => offers.entry(lane).or_default().push((leased, destination)),
                Route::Park(lane) => parkings.push(self.parking(leased.lease(), &lane)),
                Route::Warmup(lane, until) => parkings.push(returns::over_cap(leased.lease(), &lane, until)),
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

    fn route(&mut self, leased: &Leased, destination: &Destination, unparked: Option<&Lane>) -> Route {
        let (now, ownership) = (self.tools.surroundings.clock.now(), &self.tools.ownership);
        let lane_of = |source: &SourceId| Lane {
            source: source.clone(),
            provider: destination.provider.clone(),
        };
        let standing = |source: &SourceId| ownership.standing(source, now);
        let in_hand = |lane: &Lane| self.lanes.get(lane).map_or(0, LaneCredit::in_hand);
        let full_until = |lane: &Lane| self.tools.warmups.full_until(lane, in_hand(lane), now);
        let has_room = |source: &SourceId| full_until(&lane_of(source)).is_none();
        let lane = match routing::choose(&self.rooms, &leased.delivery, standing, has_room) {
            Choice::Send(source) => lane_of(source),
            Choice::Leave(source) => return Route::Park(lane_of(source)),
            Choice::Nowhere => return Route::Nowhere,
        };
        if let Some(until) = full_until(&lane) {
            return Route::Warmup(lane, until);
        }
        let full = lane_credit(destination.limits.connections);
        let credit = self.lanes.entry(lane.clone()).or_insert(LaneCredit::of(full));
        // Work that comes out of the park was counted when it was asked for.
        let may = if unparked == Some(&lane) {
            credit.left > 0
        } else {
            may_offer(leased.delivery.class, credit.left, credit.full)
        };
        if may {
            credit.left -= 1;
            return Route::Offer(lane);
        }
        Route::Park(lane)
    }

    fn offer(
        &mut self,
        lane: &Lane,
        work: Vec<(Leased, Arc<Destination>)>,
        parkings: &mut Vec<Parking>,
        context: &PartContext<'_, Self>,
    ) {
        let leases: Vec<LeaseRef> = work.iter().map(|(leased, _)| leased.lease()).collect();
        let Some(isp) = self.isp(&lane.provider, context) else {
            parkings.extend(leases.into_iter().map(|lease| self.parking(lease, lane)));
            return;
        };
        if let Err(error) = isp.try_send(IspMessage::Offer(lane.source.clone(), work)) {
            if error == SendError::Gone {
                self.isps.forget(&lane.provider);
            }
            if let Some(credit) = self.lanes.get_mut(lane) {
                credit.left += leases.len();
            }
            parkings.extend(leases.into_iter().map(|lease| self.parking(lease, lane)));
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
            Ok(_) => self.dispatch(waiting, None, context),
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

    fn parking(&self, lease: LeaseRef, lane: &Lane) -> Parking {
        returns::parking(lease, lane, self.lanes.get(lane).and_then(|credit| credit.shut_until))
    }

    fn credit(&self, lane: &Lane) -> LaneCredit {
        // A lane not seen since the start: its first parked deliveries tell its real size.
        self.lanes.get(lane).copied().unwrap_or(LaneCredit::of(lane_credit(1)))
    }

    fn park(&mut self, parkings: Vec<Parking>, context: &PartContext<'_, Self>) {
        if parkings.is_empty() {
            return;
        }
        let lanes: BTreeSet<Lane> = parkings.iter().map(|parking| parking.lane.clone()).collect();
        let (tools, me) = (self.tools.clone(), context.handle());
        actix::spawn(async move {
            returns::park_now(&tools, parkings).await;
            report(&me, SchedulerMessage::WereParked(lanes)).await;
        });
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

enum Route {
    Offer(Lane),
    Park(Lane),
    Warmup(Lane, Timestamp),
    Nowhere,
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
                }
                context.after(self.tools.settings.tick, SchedulerMessage::Tick);
                self.lease_due(context);
            }
            SchedulerMessage::Wake => self.lease_due(context),
            SchedulerMessage::Leased(class, asked, answer) => {
                self.leasing[class.index()] = false;
                let batch = self.taken(answer);
                let more = batch.len() >= asked;
                self.dispatch(batch, None, context);
                if more {
                    self.lease_due(context);
                }
            }
            SchedulerMessage::Unparked(lane, asked, answer) => {
                self.unparking.remove(&lane);
                let batch = self.taken(answer);
                if batch.len() < asked {
                    self.parked.remove(&lane);
                }
                self.dispatch(batch, Some(&lane), context);
                self.lease_parked(&lane, context);
            }
            SchedulerMessage::Parked(lanes) => {
                self.parked.extend(lanes.iter().cloned());
                lanes.iter().for_each(|lane| self.lease_parked(lane, context));
            }
            SchedulerMessage::WereParked(lanes) => {
                self.parked.extend(lanes.iter().cloned());
                // Places may have become free meanwhile; what is kept for codes stays free.
                let has_room = |credit: LaneCredit| may_offer(Class::Broadcast, credit.left, credit.full);
                for lane in lanes
                    .into_iter()
                    .filter(|lane| has_room(self.credit(lane)))
                    .collect::<Vec<_>>()
                {
                    self.lease_parked(&lane, context);
                }
            }
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
