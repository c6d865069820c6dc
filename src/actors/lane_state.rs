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
use crate::domain::{Destination, Lane, Timestamp};
use crate::policy::lane_room::LaneRoom;
use crate::queue::{LeaseRef, Leased};

/// A leased Delivery that waits for a session of its site.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) leased: Leased,
    pub(super) site: Arc<str>,
}

#[derive(Debug)]
pub(super) struct LaneState {
    pub(super) lane: Lane,
    pub(super) room: LaneRoom<Held>,
    pub(super) sites: HashMap<Arc<str>, Arc<Destination>>,
    pub(super) full_credit: usize,
    /// Places that are free again and that the scheduler does not know of yet.
    pub(super) owed: usize,
    pub(super) pump_at: Option<Timestamp>,
    pub(super) shut_until: Option<Timestamp>,
}

/// A part of its credit that a lane with work left tells of at once: a message for each place costs more than it brings.
const CREDIT_PARTS: usize = 16;

impl LaneState {
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
