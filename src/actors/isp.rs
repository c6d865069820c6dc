//! One for each Provider: owns what its lanes share and hands work to sessions that are up.
//!
//! Takes offers from the scheduler, questions and reports from sessions, signals from the settler; gives orders to open
//! sessions, work to those that ask, credit to the scheduler, and what a shut lane holds back to the queue. Decides nothing:
//! `policy::lane_room` does. Renews the leases of what waits in its rooms.

mod signals;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::oneshot;

use super::inquiries;
use super::lane_state::{Held, LaneState, tell};
use super::returns;
use super::scheduler::{Credit, Scheduler, SchedulerMessage};
use super::settler::SettlerMessage;
use super::supervisor::{Handle, Part, PartContext};
use super::told::Told;
use super::tools::{Crew, Tools};
use crate::domain::{Attempt, DeliveryId, Destination, Lane, LaneLimits, ProviderId, SourceId, Timestamp};
use crate::policy::lane_gate::{LaneGate, Live};
use crate::policy::lane_room::{LaneRoom, Step};
use crate::policy::netblock::Netblock;
use crate::policy::settlement;
use crate::queue::{LeaseRef, Leased};

/// What a session that asked for work gets.
#[derive(Debug)]
pub enum Work {
    /// Deliver this.
    Deliver(Box<Leased>),
    /// Quit.
    Close,
}

/// What an ISP actor can be told.
#[derive(Debug)]
pub enum IspMessage {
    /// Work for the lane of this Source.
    Offer(SourceId, Vec<(Leased, Arc<Destination>)>),
    /// A session is up and asks for work.
    Next(SourceId, Arc<str>, oneshot::Sender<Work>),
    /// A session came up.
    Opened(SourceId, Arc<str>, Timestamp),
    /// A session did not come up; the last thing that was tried.
    OpenFailed(SourceId, Arc<str>, Box<Attempt>),
    /// A session could not begin the work it got.
    PutBack(SourceId, Arc<str>, Box<Leased>),
    /// A session ended.
    Ended(SourceId),
    /// The provider answered a message of this Source.
    Signal(SourceId, Box<Told>),
    /// A message that this Source was given at this time will not be answered: its dot was withheld, or its session died.
    Unanswered(SourceId, Timestamp),
    /// A message was given and not begun: it went back to the queue.
    Unbegun(SourceId),
    /// The rules or an operator say otherwise: limits of the provider, if they are other ones; pins are in the lane book.
    Limits(Option<LaneLimits>),
    /// Look again at the lane of this Source.
    Pump(SourceId, Timestamp),
    /// A shut lane may try again.
    Reopen(SourceId),
    /// Time passed.
    Tick,
    /// The scheduler has forgotten this actor: end once there is nothing left to do.
    Retire,
    /// Whose the Sources are has changed.
    Sources,
    /// In which lane's room is this Delivery?
    Where(DeliveryId, oneshot::Sender<Option<Lane>>),
    /// A renewal was answered: leases last until then, but for these, which are lost.
    Renewed(Timestamp, HashSet<LeaseRef>),
    /// Give everything back and let sessions end.
    Drain,
}

/// The actor of one Provider.
#[derive(Debug)]
pub struct Isp {
    provider: ProviderId,
    tools: Tools,
    crew: Crew,
    scheduler: Handle<Scheduler>,
    lanes: BTreeMap<SourceId, LaneState>,
    waiting: HashMap<u64, oneshot::Sender<Work>>,
    /// Netblocks that the provider blocked, until when.
    blocks: BTreeMap<Netblock, Timestamp>,
    tickets: u64,
    ticks: u64,
    unused_ticks: u64,
    retired: bool,
}

/// Seconds without work after which the actor offers to stop.
const UNUSED_TICKS_MAX: u64 = 300;
/// Ticks between two times that an empty room tells its credit anew.
const TICKS_BETWEEN_CREDITS: u64 = 30;
const TICK: std::time::Duration = std::time::Duration::from_secs(1);

impl Isp {
    /// An actor with empty rooms.
    #[must_use]
    pub fn new(provider: ProviderId, tools: Tools, crew: Crew, scheduler: Handle<Scheduler>) -> Self {
        Self {
            provider,
            tools,
            crew,
            scheduler,
            lanes: BTreeMap::new(),
            waiting: HashMap::new(),
            blocks: BTreeMap::new(),
            tickets: 0,
            ticks: 0,
            unused_ticks: 0,
            retired: false,
        }
    }

    fn now(&self) -> Timestamp {
        self.tools.surroundings.clock.now()
    }

    fn sources(&self) -> Vec<SourceId> {
        self.lanes.keys().cloned().collect()
    }

    fn begin(&self, source: &SourceId, limits: LaneLimits) -> LaneState {
        let (now, settings, figures) = (self.now(), &self.tools.settings, self.tools.figures.get());
        let lane = Lane {
            source: source.clone(),
            provider: self.provider.clone(),
        };
        let gate = LaneGate::new(self.tools.lanes.range(&lane, limits), figures.gate, now);
        let mut state = LaneState::new(lane, LaneRoom::new(gate, settings.session_idle_longest), limits);
        let memories = &self.tools.lanes.memories;
        if let Some(memory) = memories.take_gained(&state.lane).or_else(|| memories.of(&state.lane)) {
            state.room.gate_mut().controller_mut().restore(memory, now);
        }
        self.stopped_by_neighbours(&mut state, now);
        state
    }

    fn offer(&mut self, source: &SourceId, work: Vec<(Leased, Arc<Destination>)>) {
        let now = self.now();
        for (leased, destination) in work {
            if !self.lanes.contains_key(source) {
                let state = self.begin(source, destination.limits);
                self.lanes.insert(source.clone(), state);
            }
            let Some(state) = self.lanes.get_mut(source) else {
                continue;
            };
            state.add(leased, destination, &self.tools, now);
        }
    }

    fn new_limits(&mut self, limits: Option<LaneLimits>) {
        let now = self.now();
        for state in self.lanes.values_mut() {
            let limits = match limits {
                Some(limits) => limits,
                None => state.renewed_limits(&self.tools),
            };
            state.set_limits(limits, &self.tools, now);
            let size = Credit::Size(state.full_credit);
            tell(&self.scheduler, SchedulerMessage::Credit(state.lane.clone(), size));
        }
    }

    /// Asks the room what to do and does it.
    fn pump(&mut self, source: &SourceId, context: &mut PartContext<'_, Self>) {
        let now = self.now();
        if self.tools.draining.has_begun() {
            return self.empty(source);
        }
        if !self.tools.ownership.is_ours(source, now) {
            return self.hand_over(source);
        }
        let Some(state) = self.lanes.get_mut(source) else {
            return;
        };
        let live = self.tools.live.of(&state.lane);
        let shut_until = state.room.shut_until(now);
        for step in state.room.steps(live, now) {
            match step {
                Step::Give {
                    ticket,
                    work: Held { leased, site },
                } => {
                    let class = leased.delivery.class;
                    // A session that died while it waited does not take the work: it goes first again.
                    let refused = match self.waiting.remove(&ticket) {
                        Some(session) => session.send(Work::Deliver(Box::new(leased))).err(),
                        None => Some(Work::Deliver(Box::new(leased))),
                    };
                    match refused {
                        None => state.owed += 1,
                        Some(Work::Deliver(leased)) => {
                            state
                                .room
                                .put_back(&Arc::clone(&site), class, Held { leased: *leased, site });
                        }
                        Some(Work::Close) => {}
                    }
                }
                Step::Open { site } => state.open(&site, &self.tools, &self.crew, context.handle()),
                Step::Close { ticket } => {
                    if let Some(session) = self.waiting.remove(&ticket) {
                        let _ = session.send(Work::Close);
                    }
                }
                Step::HandBack { work } => {
                    let back = work.iter().map(|held| held.leased.lease());
                    let parkings = back.map(|lease| returns::parking(lease, &state.lane, shut_until));
                    returns::park(&self.tools, parkings.collect());
                }
                Step::AskAgainAt(at) => {
                    if state.pump_at.is_none_or(|known| known <= now || at < known) {
                        state.pump_at = Some(at);
                        context.after(at.since(now), IspMessage::Pump(source.clone(), at));
                    }
                }
            }
        }
        if let Some(until) = state.room.shut_until(now) {
            if state.shut_until != Some(until) {
                state.shut_until = Some(until);
                self.tools.surroundings.observer.lane_shut(&state.lane, until);
                context.after(until.since(now), IspMessage::Reopen(source.clone()));
            }
            tell(
                &self.scheduler,
                SchedulerMessage::Credit(state.lane.clone(), Credit::ShutUntil(until)),
            );
            state.owed = 0;
        } else if state.owes_enough() {
            let places = std::mem::take(&mut state.owed);
            tell(
                &self.scheduler,
                SchedulerMessage::Credit(state.lane.clone(), Credit::Add(places)),
            );
        }
    }

    fn next(
        &mut self,
        source: &SourceId,
        site: &Arc<str>,
        session: oneshot::Sender<Work>,
        context: &mut PartContext<'_, Self>,
    ) {
        self.tickets += 1;
        let (ticket, now) = (self.tickets, self.now());
        if let Some(state) = self.lanes.get_mut(source).filter(|_| !self.tools.draining.has_begun()) {
            self.waiting.insert(ticket, session);
            state.room.ask(site, ticket, now);
            self.pump(source, context);
        }
    }

    fn opened(&mut self, source: &SourceId, site: &Arc<str>, ordered: Timestamp) {
        let now = self.now();
        if let Some(state) = self.lanes.get_mut(source) {
            let up = self.tools.live.of(&state.lane).up;
            state.room.opened(site, ordered, up, now);
            state.works_again(&self.scheduler);
        }
    }

    /// While draining: everything goes back, everybody goes home.
    fn empty(&mut self, source: &SourceId) {
        let Some(state) = self.lanes.get_mut(source) else {
            return;
        };
        let leases: Vec<LeaseRef> = state.room.drain().iter().map(|held| held.leased.lease()).collect();
        returns::give_back(&self.tools, leases, self.tools.surroundings.clock.now());
        self.dismiss(source);
    }

    /// The Source is not ours any more: its work waits for its owner under the lane, and everybody goes home.
    fn hand_over(&mut self, source: &SourceId) {
        let Some(state) = self.lanes.get_mut(source) else {
            return;
        };
        let work = state.room.drain();
        let parkings = work
            .iter()
            .map(|held| returns::parking(held.leased.lease(), &state.lane, None));
        returns::park(&self.tools, parkings.collect());
        state.owed = 0;
        self.dismiss(source);
    }

    /// Everybody who waits goes home.
    fn dismiss(&mut self, source: &SourceId) {
        let tickets = self.lanes.get_mut(source).map(|state| state.room.dismiss());
        for ticket in tickets.into_iter().flatten() {
            if let Some(session) = self.waiting.remove(&ticket) {
                let _ = session.send(Work::Close);
            }
        }
    }

    /// A lane that was shut and may try again gets one Delivery a tick until one of them proves that it works.
    fn ask_for_canaries(&self) {
        let now = self.now();
        let trying = |state: &&LaneState| state.shut_until.is_some() && state.room.shut_until(now).is_none();
        let empty = |state: &&LaneState| state.room.queued() == 0;
        for state in self.lanes.values().filter(trying).filter(empty) {
            tell(
                &self.scheduler,
                SchedulerMessage::Credit(state.lane.clone(), Credit::Exactly(1)),
            );
        }
    }

    fn tick(&mut self, context: &mut PartContext<'_, Self>) {
        self.ticks += 1;
        let renew_every = (self.tools.settings.lease.as_secs() / 3).max(1);
        if self.ticks.is_multiple_of(renew_every) {
            self.renew(context);
        }
        self.end_expired();
        super::tenants_in_lanes::look(self.lanes.values_mut(), &self.tools);
        let sources = self.sources();
        sources.iter().for_each(|source| self.check(source));
        self.ask_for_canaries();
        sources.iter().for_each(|source| self.pump(source, context));
        self.publish();
        let unused = self.lanes.values().all(|state| {
            state.room.is_unused() && state.shut_until.is_none() && self.tools.live.of(&state.lane) == Live::default()
        });
        self.unused_ticks = if unused { self.unused_ticks + 1 } else { 0 };
        if self.unused_ticks >= UNUSED_TICKS_MAX && !self.retired {
            self.unused_ticks = 0;
            tell(&self.scheduler, SchedulerMessage::IspIdle(self.provider.clone()));
        }
        // One that is retired and has nothing left ends when nobody holds its address: a timer would keep it alive.
        if !(self.retired && unused) {
            context.after(TICK, IspMessage::Tick);
        }
    }

    /// What ran out of time while it waited for a session is ended here: nobody else can see it.
    fn end_expired(&mut self) {
        let now = self.now();
        for state in self.lanes.values_mut() {
            let expired = state.room.take_where(|held| now >= held.leased.delivery.expires_at);
            let count = expired.len();
            for Held { leased, .. } in expired {
                let settlement = settlement::expired(&leased.delivery, leased.fence, now);
                let told = SettlerMessage::Settle(settlement, leased.delivery);
                returns::settle(&self.crew, told);
            }
            if count > 0 && state.shut_until.is_none() {
                tell(
                    &self.scheduler,
                    SchedulerMessage::Credit(state.lane.clone(), Credit::Add(count)),
                );
            }
        }
    }

    /// Mends what lost messages leave behind: sessions that nobody opens any more, credit that never came back.
    fn check(&mut self, source: &SourceId) {
        let look = self.ticks.is_multiple_of(TICKS_BETWEEN_CREDITS);
        let Some(state) = self.lanes.get_mut(source) else {
            return;
        };
        if self.tools.live.of(&state.lane) == Live::default() {
            state.room.nobody_is_coming();
        }
        inquiries::tell_standing(&self.tools, state, self.tools.surroundings.clock.now());
        if look && state.shut_until.is_none() && state.room.queued() == 0 {
            tell(
                &self.scheduler,
                SchedulerMessage::Credit(state.lane.clone(), Credit::Full),
            );
        }
    }

    /// Shows people how the lanes stand.
    fn publish(&mut self) {
        let (now, all) = (self.now(), self.ticks.is_multiple_of(TICKS_BETWEEN_CREDITS));
        for state in self.lanes.values_mut() {
            state.room.gate_mut().controller_mut().on_time(now);
            // What was learnt of a Source that is another node's by now is old, however new it is to us.
            if self.tools.ownership.is_ours(&state.lane.source, now) {
                state.remember(&self.tools, now);
            }
            if !self.retired {
                state.publish(&self.tools, all, now);
            }
        }
    }

    fn renew(&self, context: &PartContext<'_, Self>) {
        let leases: Vec<LeaseRef> = self
            .lanes
            .values()
            .flat_map(|state| state.room.work().map(|held| held.leased.lease()))
            .collect();
        if leases.is_empty() {
            return;
        }
        let (tools, me) = (self.tools.clone(), context.handle());
        actix::spawn(async move {
            let until = tools.surroundings.clock.now().plus(tools.settings.lease);
            match tools.queue.renew(leases, until).await {
                // An actor that does not hear of it lets its work go a little early.
                Ok(lost) => drop(me.send(IspMessage::Renewed(until, lost.into_iter().collect())).await),
                Err(error) => tools.surroundings.observer.store_error(&error),
            }
        });
    }
}

impl Part for Isp {
    type Message = IspMessage;
    const KIND: &'static str = "isp";

    fn started(&mut self, context: &mut PartContext<'_, Self>) {
        tell(&self.scheduler, SchedulerMessage::IspStarted(self.provider.clone()));
        context.after(TICK, IspMessage::Tick);
    }

    fn handle(&mut self, message: IspMessage, context: &mut PartContext<'_, Self>) {
        fail::fail_point!("isp");
        match message {
            IspMessage::Offer(source, work) => {
                self.offer(&source, work);
                self.pump(&source, context);
            }
            IspMessage::Next(source, site, session) => self.next(&source, &site, session, context),
            IspMessage::Opened(source, site, ordered) => self.opened(&source, &site, ordered),
            IspMessage::OpenFailed(source, site, attempt) => {
                self.open_failed(&source, &site, &attempt);
                self.pump(&source, context);
            }
            IspMessage::PutBack(source, site, leased) => {
                if let Some(state) = self.lanes.get_mut(&source) {
                    let class = leased.delivery.class;
                    state
                        .room
                        .put_back(&Arc::clone(&site), class, Held { leased: *leased, site });
                }
                self.pump(&source, context);
            }
            IspMessage::Ended(source) => self.pump(&source, context),
            IspMessage::Signal(source, told) => self.signal(&source, &told, context),
            IspMessage::Unanswered(source, started) => {
                if let Some(state) = self.lanes.get_mut(&source) {
                    state.room.unanswered(started);
                }
                self.pump(&source, context);
            }
            IspMessage::Unbegun(source) => {
                if let Some(state) = self.lanes.get_mut(&source) {
                    state.room.gate_mut().on_unused();
                }
                self.pump(&source, context);
            }
            IspMessage::Limits(limits) => self.new_limits(limits),
            IspMessage::Pump(source, at) => {
                if let Some(state) = self.lanes.get_mut(&source).filter(|state| state.pump_at == Some(at)) {
                    state.pump_at = None;
                    self.pump(&source, context);
                }
            }
            IspMessage::Reopen(source) => {
                // One Delivery is the canary; the lane gets its whole credit back when a session comes up.
                if let Some(state) = self.lanes.get(&source) {
                    tell(
                        &self.scheduler,
                        SchedulerMessage::Credit(state.lane.clone(), Credit::Exactly(1)),
                    );
                }
            }
            IspMessage::Tick => self.tick(context),
            IspMessage::Retire => {
                self.retired = true;
                let lanes = self.lanes.values().map(|state| &state.lane);
                lanes.for_each(|lane| self.tools.surroundings.observer.lane_gone(lane));
            }
            // Whoever asked may have given up.
            IspMessage::Where(delivery, asked) => drop(asked.send(inquiries::find(self.lanes.values(), delivery))),
            IspMessage::Renewed(until, lost) => {
                self.lanes.values_mut().for_each(|state| state.renewed(until, &lost));
            }
            IspMessage::Sources => {
                self.take_over();
                self.sources().iter().for_each(|source| self.pump(source, context));
            }
            IspMessage::Drain => self.sources().iter().for_each(|source| self.empty(source)),
        }
    }
}
