//! What an ISP actor keeps of one lane: its room, the sites it serves, and what the scheduler knows of its places.
//!
//! Takes what happened to the lane; tells the scheduler of places that are free again. Decides nothing about mail: the room
//! in `policy::lane_room` does.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::isp::Isp;
use super::scheduler::{Credit, Scheduler, SchedulerMessage};
use super::sender::{OpenOrder, SenderMessage};
use super::supervisor::Handle;
use super::tools::{Crew, Tools};
use crate::domain::{Destination, Lane, LaneLimits, TenantId, Timestamp};
use crate::observe::LaneView;
use crate::policy::fairness::lane_credit;
use crate::policy::lane_room::LaneRoom;
use crate::policy::pin_trial::{OwnValues, PinTrial};
use crate::policy::shares::OfTenant;
use crate::queue::{LeaseRef, Leased};

/// A leased Delivery that waits for a session of its site.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) leased: Leased,
    pub(super) site: Arc<str>,
}

impl OfTenant for Held {
    fn tenant(&self) -> TenantId {
        self.leased.delivery.tenant
    }
}

#[derive(Debug)]
pub(super) struct LaneState {
    pub(super) lane: Lane,
    pub(super) room: LaneRoom<Held>,
    pub(super) sites: HashMap<Arc<str>, Arc<Destination>>,
    /// What the rules and the config say of its provider; pins are in the lane book.
    pub(super) limits: LaneLimits,
    pub(super) full_credit: usize,
    /// Places that are free again and that the scheduler does not know of yet.
    pub(super) owed: usize,
    pub(super) pump_at: Option<Timestamp>,
    pub(super) shut_until: Option<Timestamp>,
    /// What pins on trial would have done, if there are any.
    trial: Option<PinTrial>,
    /// What people were shown last.
    shown: Option<LaneView>,
}

/// Sites remembered for one lane; a lane with more forgets those it does not use.
const SITES_MAX: usize = 1_000;

/// A part of its credit that a lane with work left tells of at once: a message for each place costs more than it brings.
const CREDIT_PARTS: usize = 16;

impl LaneState {
    /// A lane that has seen nothing yet.
    pub(super) fn new(lane: Lane, room: LaneRoom<Held>, limits: LaneLimits) -> Self {
        Self {
            lane,
            room,
            sites: HashMap::new(),
            limits,
            full_credit: lane_credit(limits.connections),
            owed: 0,
            pump_at: None,
            shut_until: None,
            trial: None,
            shown: None,
        }
    }

    /// Work for a site. A site that comes with other limits than before brings those of a new config.
    pub(super) fn add(&mut self, leased: Leased, destination: Arc<Destination>, tools: &Tools, now: Timestamp) {
        if self.sites.len() >= SITES_MAX {
            let room = &self.room;
            self.sites.retain(|site, _| room.uses(site));
        }
        let (class, site) = (leased.delivery.class, Arc::clone(&destination.site));
        let limits = destination.limits;
        let known = self.sites.insert(Arc::clone(&site), destination);
        if known.is_some_and(|known| known.limits != limits) {
            self.set_limits(limits, tools, now);
        }
        self.room.offer(&Arc::clone(&site), class, Held { leased, site });
    }

    /// The limits that the destinations have now, which may have been read again.
    pub(super) fn renewed_limits(&mut self, tools: &Tools) -> LaneLimits {
        let mut limits = self.limits;
        for destination in self.sites.values_mut() {
            let renewed = tools.destinations.renewed(destination);
            if destination.limits == self.limits {
                limits = renewed.limits;
            }
            *destination = Arc::new(renewed);
        }
        limits
    }

    /// Its provider has these limits now, and its pins and pauses may have moved. What it learnt stays, within them.
    pub(super) fn set_limits(&mut self, limits: LaneLimits, tools: &Tools, now: Timestamp) {
        self.limits = limits;
        self.full_credit = lane_credit(limits.connections);
        let range = tools.lanes.range(&self.lane, limits);
        let gate = self.room.gate_mut();
        gate.set_range(range, now);
        gate.set_settings(&tools.figures.get().gate, now);
    }

    /// Goes on at half of what another node has learnt, if the lane was that node's meanwhile; then it is remembered as it
    /// is now.
    pub(super) fn remember(&mut self, tools: &Tools, now: Timestamp) {
        let memories = &tools.lanes.memories;
        let controller = self.room.gate_mut().controller_mut();
        if let Some(memory) = memories.take_gained(&self.lane) {
            controller.restore(memory, now);
        }
        memories.remember(&self.lane, controller.memory());
    }

    /// Shows people how it stands, when that has changed, or always.
    pub(super) fn publish(&mut self, tools: &Tools, always: bool, now: Timestamp) {
        self.look_at_trial(tools, now);
        let gate = self.room.gate();
        let controller = gate.controller();
        let (live, range) = (tools.live.of(&self.lane), gate.range());
        let (standing, until) = gate.standing(now);
        let mut view = LaneView {
            standing,
            until,
            live,
            waiting: self.room.queued(),
            range,
            connections: controller.connections(),
            ceiling: controller.ceiling(),
            rate: controller.rate(now),
            messages_per_connection: gate.messages_per_connection(),
            trial: self.trial.as_ref().map(PinTrial::view),
            decided: controller.decided(),
            changes: controller.changes(),
            decisions: Arc::from([]),
        };
        let shown = self.shown.as_ref();
        match shown.filter(|shown| shown.changes == view.changes) {
            Some(shown) => view.decisions = Arc::clone(&shown.decisions),
            None => view.decisions = controller.decisions().cloned().collect(),
        }
        if always || shown != Some(&view) {
            tools.surroundings.observer.lane(&self.lane, view.clone());
            self.shown = Some(view);
        }
    }

    /// What pins on trial would do to the lane as it stands goes into its log.
    fn look_at_trial(&mut self, tools: &Tools, now: Timestamp) {
        let Some(range) = tools.lanes.shadow(&self.lane, self.limits) else {
            self.trial = None;
            return;
        };
        let trial = self.trial.get_or_insert_with(|| PinTrial::new(range));
        trial.set_range(range);
        let gate = self.room.gate();
        let own = OwnValues {
            connections: gate.controller().connections(),
            messages_per_second: gate.controller().rate(now),
            messages_per_connection: gate.messages_per_connection(),
        };
        for would in trial.look(own) {
            self.room.gate_mut().controller_mut().note_would_have(&would, now);
        }
    }

    pub(super) fn owes_enough(&self) -> bool {
        let enough = self.room.queued() == 0 || self.owed >= self.full_credit / CREDIT_PARTS;
        self.owed > 0 && enough && self.shut_until.is_none()
    }

    /// Orders a session for a site.
    pub(super) fn open(&mut self, site: &Arc<str>, tools: &Tools, crew: &Crew, isp: Handle<Isp>) {
        let ordered = self.sites.get(site).cloned().zip(crew.senders.get(&self.lane.source));
        let sent = ordered.map(|(destination, sender)| {
            let order = OpenOrder {
                lane: self.lane.clone(),
                destination,
                messages_max: self.room.messages_per_connection(),
                isp,
                ordered: tools.surroundings.clock.now(),
                live: tools.live.opening(&self.lane),
            };
            sender.try_send(SenderMessage::Open(Box::new(order)))
        });
        if sent.is_none_or(|sent| sent.is_err()) {
            self.room.open_withdrawn(site);
        }
    }

    /// A renewal moved the end of leases: sessions withhold the dot when it is near. What is `lost` is not ours to give.
    pub(super) fn renewed(&mut self, until: Timestamp, lost: &HashSet<LeaseRef>) {
        self.owed += self.room.take_where(|held| lost.contains(&held.leased.lease())).len();
        // What came in since the question has its own end, which is later.
        let known = self.room.work_mut();
        known.for_each(|held| held.leased.until = held.leased.until.max(until));
    }

    /// The lane was shut and has proved that it works: it gets its whole credit back.
    pub(super) fn works_again(&mut self, scheduler: &Handle<Scheduler>) {
        if self.shut_until.take().is_some() {
            let free = self.full_credit.saturating_sub(self.room.queued());
            self.owed = 0;
            // A lost message delays: an empty room tells its credit anew.
            let _ = scheduler.try_send(SchedulerMessage::Credit(self.lane.clone(), Credit::Exactly(free)));
        }
    }
}

pub(super) fn tell(scheduler: &Handle<Scheduler>, message: SchedulerMessage) {
    // A lost credit message delays: the scheduler looks at parked lanes again by itself, and the next one adds up.
    if scheduler.try_send(message).is_err() {
        tracing::warn!("the scheduler's mailbox is full");
    }
}
