//! What waits in the store for a lane: put on shelves, and taken off them when the lane has places.
//!
//! `policy::shelves` says which shelf is next; this asks the queue. One question a lane is on its way at a time, and the
//! places that it asks for are kept until the answer is there.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Origin, PARKED_LANES_MAX, Purpose, Scheduler, SchedulerMessage, report, returns};
use crate::actors::supervisor::PartContext;
use crate::domain::{Class, Lane, Shelf, Timestamp, Why};
use crate::policy::fairness::LaneCredit;
use crate::policy::ownership::Standing;
use crate::policy::shelves::Turn;
use crate::queue::{Leased, Parking, QueueError};

/// A Delivery on its way to a shelf.
#[derive(Debug)]
pub(super) struct Shelved {
    pub(super) parking: Parking,
    pub(super) shelf: Shelf,
    pub(super) class: Class,
}

impl Scheduler {
    /// Asks for work of a lane's shelves, if it has places for it.
    pub(super) fn lease_parked(&mut self, lane: &Lane, context: &PartContext<'_, Self>) {
        if self.tools.draining.has_begun()
            || !self.shelves.hold_any(lane)
            || self.unparking.contains(lane)
            || !self.may_unpark(lane)
        {
            return;
        }
        let batch = self.tools.settings.look_ahead.batch;
        let credit = self.lanes.entry(lane.clone()).or_insert_with(LaneCredit::guess);
        let now = self.tools.surroundings.clock.now();
        let most = self
            .tools
            .warmups
            .most(lane, credit.in_hand() + credit.asked, now)
            .min(batch);
        let places = |class, turn| credit.places(class, turn).min(most);
        if let Some(turn) = self.shelves.turn(lane, places, &self.weights) {
            credit.asked += turn.most;
            self.take_off(turn, Purpose::Lane, context);
        }
    }

    fn take_off(&mut self, turn: Turn, purpose: Purpose, context: &PartContext<'_, Self>) {
        self.unparking.extend(turn.shelf.lane().cloned());
        let (tools, me) = (self.tools.clone(), context.handle());
        actix::spawn(async move {
            let now = tools.surroundings.clock.now();
            let until = now.plus(tools.settings.lease);
            let answer = tools
                .queue
                .lease_parked(&turn.shelf.name(), turn.most, now, until)
                .await;
            report(&me, SchedulerMessage::Unparked(turn, purpose, answer)).await;
        });
    }

    /// The queue answered for a shelf.
    pub(super) fn unparked(
        &mut self,
        turn: &Turn,
        purpose: Purpose,
        answer: Result<Vec<Leased>, QueueError>,
        context: &PartContext<'_, Self>,
    ) {
        let Some(lane) = turn.shelf.lane() else { return };
        self.unparking.remove(lane);
        let batch = self.taken(answer);
        let mut by_class = [0; 3];
        batch
            .iter()
            .for_each(|leased| by_class[leased.delivery.class.index()] += 1);
        self.shelves.took(turn, by_class);
        match purpose {
            Purpose::Lane => {
                if let Some(credit) = self.lanes.get_mut(lane) {
                    credit.asked = credit.asked.saturating_sub(turn.most);
                }
                self.dispatch(batch, Origin::Lane(lane), context);
                self.lease_parked(lane, context);
            }
            Purpose::Elsewhere => {
                self.stayed = 0;
                let taken = batch.len();
                self.dispatch(batch, Origin::Blocked(lane), context);
                if taken > 0 && self.stayed == 0 {
                    self.leave(lane, context);
                }
            }
        }
    }

    /// Mail for lanes that are blocked for our address, or whose warm-up has no room for long, goes another way where there
    /// is one.
    pub(super) fn leave_blocked_lanes(&mut self, context: &PartContext<'_, Self>) {
        for lane in self.tools.reputation.blocked_lanes() {
            self.leave(&lane, context);
        }
        for lane in self.tools.warmups.lanes() {
            if self.is_full_for_long(&lane) {
                self.leave(&lane, context);
            }
        }
    }

    fn leave(&mut self, lane: &Lane, context: &PartContext<'_, Self>) {
        let is_shut = self.lanes.get(lane).is_some_and(|credit| credit.shut_until.is_some());
        if self.tools.draining.has_begun()
            || !(is_shut || self.is_full_for_long(lane))
            || !self.shelves.hold_any(lane)
            || self.unparking.contains(lane)
            || !self.may_unpark(lane)
            || !self.has_another_way(lane, is_shut)
        {
            return;
        }
        let batch = self.tools.settings.look_ahead.batch;
        if let Some(turn) = self.shelves.turn(lane, |_, _| batch, &self.weights) {
            self.take_off(turn, Purpose::Elsewhere, context);
        }
    }

    /// Our own lanes, and those whose Source has no owner: what waits there goes another way.
    fn may_unpark(&self, lane: &Lane) -> bool {
        let now = self.tools.surroundings.clock.now();
        self.tools.ownership.standing(&lane.source, now) != Standing::Others
    }

    /// Looks which shelves hold mail, in case word of it was lost, or another node put it there.
    pub(super) fn look_for_parked(&self, context: &PartContext<'_, Self>) {
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

    pub(super) fn found_parked(&mut self, names: &[Lane], context: &PartContext<'_, Self>) {
        let mut lanes = BTreeSet::new();
        for shelf in names.iter().map(Shelf::of) {
            self.shelves.add(&shelf, None);
            match shelf {
                Shelf::Common(lane) | Shelf::Own(lane, ..) | Shelf::Engaged(lane, _) => {
                    lanes.insert(lane);
                }
                Shelf::Held(tenant, stream) => self.held.add(tenant, stream),
            }
        }
        lanes.iter().for_each(|lane| self.lease_parked(lane, context));
    }

    /// Work waits on these shelves now. Places may have become free meanwhile; what is kept for codes stays free.
    pub(super) fn were_parked(&mut self, shelves: BTreeSet<(Shelf, Class)>, context: &PartContext<'_, Self>) {
        let mut lanes = BTreeSet::new();
        for (shelf, class) in shelves {
            self.shelves.add(&shelf, Some(class));
            let Some(lane) = shelf.lane() else { continue };
            let credit = self.lanes.get(lane).copied();
            if credit.is_none_or(|credit| credit.places(class, 1) > 0) {
                lanes.insert(lane.clone());
            }
        }
        lanes.iter().for_each(|lane| self.lease_parked(lane, context));
    }

    /// A Delivery that has to wait for the warm-up of its lane.
    pub(super) fn over_cap(&self, leased: &Leased, lane: &Lane, until: Timestamp) -> Shelved {
        let mut shelved = self.shelved(leased, lane);
        shelved.parking.why = Why::WarmupCap;
        shelved.parking.until = Some(until);
        shelved
    }

    /// A Delivery that has to wait for its lane.
    pub(super) fn shelved(&self, leased: &Leased, lane: &Lane) -> Shelved {
        let shut_until = self.lanes.get(lane).and_then(|credit| credit.shut_until);
        let (class, tenant) = (leased.delivery.class, leased.delivery.tenant);
        let is_engaged = class == Class::Broadcast && self.tools.reputation.is_engaged(&leased.delivery);
        let shelf = Shelf::beside(lane, class, tenant, is_engaged);
        let mut parking = returns::parking(leased.lease(), lane, shut_until);
        parking.lane = shelf.name();
        Shelved { parking, shelf, class }
    }

    pub(super) fn park(&mut self, shelved: Vec<Shelved>, context: &PartContext<'_, Self>) {
        if shelved.is_empty() {
            return;
        }
        let mut shelves = BTreeSet::new();
        let mut parkings = Vec::with_capacity(shelved.len());
        for one in shelved {
            match one.shelf {
                Shelf::Held(tenant, stream) => self.held.add(tenant, stream),
                Shelf::Common(_) | Shelf::Own(..) | Shelf::Engaged(..) => {
                    shelves.insert((one.shelf, one.class));
                }
            }
            parkings.push(one.parking);
        }
        let (tools, me) = (self.tools.clone(), context.handle());
        actix::spawn(async move {
            returns::park_now(&tools, parkings).await;
            report(&me, SchedulerMessage::WereParked(shelves)).await;
        });
    }
}
