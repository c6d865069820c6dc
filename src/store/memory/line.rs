//! Who stands where: in line for a due time, parked under a lane, or out under a lease.
//!
//! Takes ids and times, gives ids in the order in which they are to be served. Knows nothing of what a Delivery says.
//! A Delivery keeps its place while it is leased and is back in it when the lease ends, so a lease costs no write.
//! A lease is lost when another one is taken (or all are forgotten), not by the passing of its time alone: until
//! then its holder may still settle. Nobody stands in two places.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::domain::{Class, DeliveryId, Fence, Lane, Timestamp};
use crate::queue::{LeaseRef, newest_of};

/// Everybody who waits.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// Each non-final Delivery, wherever it stands.
    waiters: BTreeMap<DeliveryId, Waiter>,
    /// In line by due time and order of acceptance; one line per class.
    due: [BTreeSet<(Timestamp, u64, DeliveryId)>; 3],
    /// Parked by class and expiry; no empty lanes.
    parked: BTreeMap<Lane, BTreeSet<(Class, Timestamp, DeliveryId)>>,
    /// The same, over all lanes, by expiry.
    parked_ends: BTreeSet<(Timestamp, DeliveryId)>,
    /// Those who are out, by the end of their lease.
    out: BTreeSet<(Timestamp, DeliveryId)>,
    /// The order given to the last who joined.
    last_order: u64,
    /// The last fence given; they grow over all deliveries and survive [`Line::forget_leases`].
    last_fence: u64,
}

/// Where one waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// In line for this time.
    Due(Timestamp),
    /// Under a lane.
    Parked(Lane),
}

#[derive(Debug)]
struct Waiter {
    class: Class,
    order: u64,
    expires_at: Timestamp,
    place: Place,
    lease: Option<Lease>,
}

#[derive(Debug, Clone, Copy)]
struct Lease {
    fence: Fence,
    until: Timestamp,
    /// Its time has passed: the Delivery is back in its place, for the first who asks.
    lapsed: bool,
}

impl Line {
    /// A new one joins, behind all others who are due at the same time.
    pub(super) fn join(&mut self, id: DeliveryId, class: Class, expires_at: Timestamp, due_at: Timestamp) {
        self.last_order += 1;
        let waiter = Waiter {
            class,
            order: self.last_order,
            expires_at,
            place: Place::Due(due_at),
            lease: None,
        };
        self.waiters.insert(id, waiter);
        self.step_in(id);
    }

    /// One leaves for good.
    pub(super) fn leave(&mut self, id: DeliveryId) {
        self.step_out(id);
        self.waiters.remove(&id);
    }

    /// Ends the lease of one who is out and puts it into `place`.
    pub(super) fn give_back(&mut self, id: DeliveryId, place: Place) {
        self.step_out(id);
        if let Some(waiter) = self.waiters.get_mut(&id) {
            waiter.lease = None;
            waiter.place = place;
            self.step_in(id);
        }
    }

    /// Takes one out until `until`.
    pub(super) fn take(&mut self, id: DeliveryId, until: Timestamp) -> Fence {
        self.step_out(id);
        self.last_fence += 1;
        let fence = Fence(self.last_fence);
        if let Some(waiter) = self.waiters.get_mut(&id) {
            waiter.lease = Some(Lease {
                fence,
                until,
                lapsed: false,
            });
            self.out.insert((until, id));
        }
        fence
    }

    /// Moves the end of a lease; `false` when it was lost.
    pub(super) fn renew(&mut self, lease: LeaseRef, until: Timestamp) -> bool {
        if !self.holds(lease) {
            return false;
        }
        self.step_out(lease.delivery);
        if let Some(held) = self.lease_mut(lease.delivery) {
            held.until = until;
            held.lapsed = false;
            self.out.insert((until, lease.delivery));
        }
        true
    }

    /// Puts those whose lease has ended by `now` back into their places.
    pub(super) fn lapse(&mut self, now: Timestamp) {
        while let Some(&(until, id)) = self.out.first()
            && until <= now
        {
            self.out.remove(&(until, id));
            if let Some(lease) = self.lease_mut(id) {
                lease.lapsed = true;
            }
            self.step_in(id);
        }
    }

    /// Forgets all leases: what the death of the process does.
    pub(super) fn forget_leases(&mut self) {
        for (_, id) in std::mem::take(&mut self.out) {
            self.step_in(id);
        }
        for waiter in self.waiters.values_mut() {
            waiter.lease = None;
        }
    }

    /// Moves the end of all leases; for a deliberate bug.
    pub(super) fn renew_all(&mut self, until: Timestamp) {
        for (_, id) in std::mem::take(&mut self.out) {
            if let Some(lease) = self.lease_mut(id) {
                lease.until = until;
            }
            self.out.insert((until, id));
        }
    }

    /// Forgets who is due when; for a deliberate bug.
    pub(super) fn make_all_due(&mut self) {
        let ids: Vec<DeliveryId> = self.waiters.keys().copied().collect();
        for id in ids {
            if self
                .waiters
                .get(&id)
                .is_some_and(|waiter| matches!(waiter.place, Place::Due(_)))
            {
                self.give_back(id, Place::Due(Timestamp(0)));
            }
        }
    }

    /// Whether nobody has taken this lease away.
    pub(super) fn holds(&self, lease: LeaseRef) -> bool {
        let held = self.waiters.get(&lease.delivery).and_then(|waiter| waiter.lease);
        held.is_some_and(|held| held.fence == lease.fence)
    }

    /// Where one waits, or comes back to.
    pub(super) fn place(&self, id: DeliveryId) -> Option<Place> {
        self.waiters.get(&id).map(|waiter| waiter.place.clone())
    }

    /// How many stand before one under a lane, in their places.
    pub(super) fn ahead(&self, lane: &Lane, id: DeliveryId) -> u64 {
        let (Some(under_lane), Some(waiter)) = (self.parked.get(lane), self.waiters.get(&id)) else {
            return 0;
        };
        let before = under_lane.range(..(waiter.class, waiter.expires_at, id));
        before.count() as u64
    }

    /// Up to `max` of those who are not final, wherever they stand, in the order of their ids.
    pub(super) fn waiters_after(&self, from: Bound<DeliveryId>, max: usize) -> Vec<DeliveryId> {
        let rest = self.waiters.range((from, Bound::Unbounded));
        rest.take(max).map(|(id, _)| *id).collect()
    }

    /// When the lease of a Delivery ends, if it has one.
    pub(super) fn leased_until(&self, id: DeliveryId) -> Option<Timestamp> {
        self.waiters.get(&id)?.lease.map(|lease| lease.until)
    }

    /// Those of a class who are due by `now`, at most `max`: the oldest, and of a longer line the newest too.
    pub(super) fn first_due(&self, class: Class, max: usize, now: Timestamp) -> Vec<DeliveryId> {
        let line = &self.due[class.index()];
        let due = line.iter().take_while(|(due_at, _, _)| *due_at <= now);
        let oldest: Vec<_> = due.take(max - newest_of(max)).collect();
        let is_longer = oldest.len() == max - newest_of(max);
        let newest = oldest.last().filter(|_| is_longer).map(|last| {
            let behind = line.range((Bound::Excluded(*last), Bound::Unbounded)).rev();
            behind.skip_while(|(due_at, _, _)| *due_at > now).take(newest_of(max))
        });
        let both = oldest.iter().copied().chain(newest.into_iter().flatten());
        both.map(|(_, _, id)| *id).collect()
    }

    /// The first `max` under a lane.
    pub(super) fn first_parked(&self, lane: &Lane, max: usize) -> Vec<DeliveryId> {
        let under_lane = self.parked.get(lane).into_iter().flatten();
        under_lane.take(max).map(|(_, _, id)| *id).collect()
    }

    /// The first `max` under any lane who have expired by `now`.
    pub(super) fn first_expired(&self, max: usize, now: Timestamp) -> Vec<DeliveryId> {
        let ends = self.parked_ends.iter();
        ends.take_while(|(expires_at, _)| *expires_at <= now)
            .take(max)
            .map(|(_, id)| *id)
            .collect()
    }

    /// The earliest due time in the line of a class.
    pub(super) fn next_due(&self, class: Class) -> Option<Timestamp> {
        self.due[class.index()].first().map(|(due_at, _, _)| *due_at)
    }

    /// Lanes with how many are parked under them, in the order of their names.
    pub(super) fn lanes(&self) -> impl Iterator<Item = (&Lane, u64)> + '_ {
        self.parked.iter().map(|(lane, under)| (lane, under.len() as u64))
    }

    /// How many are out.
    pub(super) fn leased(&self) -> u64 {
        self.out.len() as u64
    }

    /// Panics unless everybody stands in exactly one place.
    pub(super) fn check(&self) {
        let in_line: usize = self.due.iter().map(BTreeSet::len).sum();
        let parked: usize = self.parked.values().map(BTreeSet::len).sum();
        assert_eq!(
            parked,
            self.parked_ends.len(),
            "both orders of the parked hold the same"
        );
        assert_eq!(in_line + parked + self.out.len(), self.waiters.len(), "one place each");
        assert!(self.parked.values().all(|under| !under.is_empty()), "no empty lanes");
        for (id, waiter) in &self.waiters {
            let is_out = waiter.lease.is_some_and(|lease| !lease.lapsed);
            let due_at = match &waiter.place {
                Place::Due(due_at) => *due_at,
                Place::Parked(_) => Timestamp::NEVER,
            };
            let lane = match &waiter.place {
                Place::Due(_) => None,
                Place::Parked(lane) => self.parked.get(lane),
            };
            let place = (
                self.due[waiter.class.index()].contains(&(due_at, waiter.order, *id)),
                lane.is_some_and(|under| under.contains(&(waiter.class, waiter.expires_at, *id))),
                waiter.lease.is_some_and(|lease| self.out.contains(&(lease.until, *id))),
            );
            let expected = match &waiter.place {
                _ if is_out => (false, false, true),
                Place::Due(_) => (true, false, false),
                Place::Parked(_) => (false, true, false),
            };
            assert_eq!(place, expected, "{id} stands where it says: {waiter:?}");
        }
    }

    fn lease_mut(&mut self, id: DeliveryId) -> Option<&mut Lease> {
        self.waiters.get_mut(&id)?.lease.as_mut()
    }

    /// Into its place, for all to see.
    fn step_in(&mut self, id: DeliveryId) {
        let Some(waiter) = self.waiters.get(&id) else { return };
        match &waiter.place {
            Place::Due(due_at) => {
                self.due[waiter.class.index()].insert((*due_at, waiter.order, id));
            }
            Place::Parked(lane) => {
                let under_lane = self.parked.entry(lane.clone()).or_default();
                under_lane.insert((waiter.class, waiter.expires_at, id));
                self.parked_ends.insert((waiter.expires_at, id));
            }
        }
    }

    /// Out of wherever it stands.
    fn step_out(&mut self, id: DeliveryId) {
        let Some(waiter) = self.waiters.get(&id) else { return };
        if let Some(lease) = waiter.lease {
            self.out.remove(&(lease.until, id));
        }
        match &waiter.place {
            Place::Due(due_at) => {
                self.due[waiter.class.index()].remove(&(*due_at, waiter.order, id));
            }
            Place::Parked(lane) => {
                self.parked_ends.remove(&(waiter.expires_at, id));
                if let Some(under_lane) = self.parked.get_mut(lane) {
                    under_lane.remove(&(waiter.class, waiter.expires_at, id));
                    if under_lane.is_empty() {
                        self.parked.remove(lane);
                    }
                }
            }
        }
    }
}
