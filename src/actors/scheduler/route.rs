//! Which lane a Delivery takes, and whether it has a place there now.
//!
//! `policy::routing` chooses; this gathers what it goes by: whose the Sources are, which lanes are blocked or avoided, what
//! pool and region the tenant has.

use super::{Origin, Scheduler};
use crate::domain::{Delivery, Destination, Lane, ProviderId, SourceId, Timestamp};
use crate::policy::fairness::{LaneCredit, lane_credit, may_offer};
use crate::policy::ownership::Standing;
use crate::policy::routing::{self, Choice, Outlook, SourceRoom, Wish};
use crate::queue::Leased;

/// Where a Delivery goes.
#[derive(Debug)]
pub(super) enum Route {
    /// To this lane, which has a place for it.
    Offer(Lane),
    /// Onto a shelf of this lane.
    Park(Lane),
    /// Onto a shelf of this lane, whose warm-up has no room before this.
    Warmup(Lane, Timestamp),
    /// Nowhere for now.
    Nowhere,
}

impl Scheduler {
    pub(super) fn route(&mut self, leased: &Leased, destination: &Destination, origin: Origin<'_>) -> Route {
        let (now, ownership) = (self.tools.surroundings.clock.now(), &self.tools.ownership);
        let lane_of = |source: &SourceId| lane_of(source, &destination.provider);
        let standing = |source: &SourceId| ownership.standing(source, now);
        let outlook = |room: &SourceRoom| self.outlook(room, &destination.provider);
        let wish = self.wish(&leased.delivery);
        let lane = match routing::choose(&self.rooms, &leased.delivery, wish, standing, outlook) {
            Choice::Send(source) => lane_of(source),
            Choice::Leave(source) => return Route::Park(lane_of(source)),
            Choice::Nowhere => return Route::Nowhere,
        };
        if let Origin::Blocked(left) = origin {
            self.stayed += usize::from(*left == lane);
        }
        if let Some(until) = self.full_until(&lane) {
            return Route::Warmup(lane, until);
        }
        let full = lane_credit(destination.limits.connections);
        let credit = self.lanes.entry(lane.clone()).or_insert(LaneCredit::of(full));
        credit.turns_out(full);
        // Work that comes off a shelf was counted when it was asked for.
        let may = match origin {
            Origin::Lane(asked) if *asked == lane => credit.left > 0,
            _ => may_offer(leased.delivery.class, credit.free(), credit.full),
        };
        if may {
            credit.left -= 1;
            return Route::Offer(lane);
        }
        Route::Park(lane)
    }

    /// From where its tenant and class want a Delivery to go.
    fn wish(&self, delivery: &Delivery) -> Wish<'_> {
        let tenant = self.tenants.each.get(&delivery.tenant);
        let of_class = &self.tools.settings.pools[delivery.class.index()];
        Wish {
            pool: tenant.and_then(|tenant| tenant.pool.as_deref()).unwrap_or(of_class),
            region: tenant.and_then(|tenant| tenant.region.as_deref()),
        }
    }

    fn outlook(&self, room: &SourceRoom, provider: &ProviderId) -> Outlook {
        let lane = lane_of(&room.id, provider);
        // A lane that is on trial needs one Delivery to prove that it works again.
        let on_trial = || {
            let credit = self.lanes.get(&lane);
            credit.is_some_and(|credit| credit.trial && credit.left > 0)
        };
        let reputation = &self.tools.reputation;
        let full_until = self.full_until(&lane);
        Outlook {
            blocked: self.is_blocked(room, &lane) && !on_trial(),
            no_room: full_until.is_some(),
            full_for_long: full_until.is_some_and(|until| self.is_long(until)),
            avoided: reputation.avoids(&lane),
        }
    }

    /// Until when the warm-up of a lane has no room, what is on its way there counted.
    fn full_until(&self, lane: &Lane) -> Option<Timestamp> {
        let in_hand = self.lanes.get(lane).map_or(0, LaneCredit::in_hand);
        let now = self.tools.surroundings.clock.now();
        self.tools.warmups.full_until(lane, in_hand, now)
    }

    /// Whether the warm-up of a lane has no room for so long that its mail should go another way.
    pub(super) fn is_full_for_long(&self, lane: &Lane) -> bool {
        self.full_until(lane).is_some_and(|until| self.is_long(until))
    }

    fn is_long(&self, until: Timestamp) -> bool {
        until.since(self.tools.surroundings.clock.now()) > routing::ROOM_AWAITED_LONGEST
    }

    /// Whether the provider blocks the address of a Source, or one of its neighbours together with its netblock.
    fn is_blocked(&self, room: &SourceRoom, lane: &Lane) -> bool {
        let reputation = &self.tools.reputation;
        let neighbours = |other: &&SourceRoom| room.netblock.is_some() && other.netblock == room.netblock;
        reputation.blocked(lane).is_some()
            || self.rooms.iter().filter(neighbours).any(|other| {
                let blocked = reputation.blocked(&lane_of(&other.id, &lane.provider));
                blocked.is_some_and(|blocked| blocked.netblock)
            })
    }

    /// Whether some Source of ours could take mail of a lane that is blocked, or full for long.
    pub(super) fn has_another_way(&self, lane: &Lane, is_shut: bool) -> bool {
        let now = self.tools.surroundings.clock.now();
        let pool = self
            .rooms
            .iter()
            .find(|room| room.id == lane.source)
            .map(|room| &room.pool);
        self.rooms.iter().any(|room| {
            room.enabled
                && room.id != lane.source
                && Some(&room.pool) == pool
                && self.tools.ownership.standing(&room.id, now) == Standing::Ours
                && !self.is_blocked(room, &lane_of(&room.id, &lane.provider))
                && (is_shut || self.full_until(&lane_of(&room.id, &lane.provider)).is_none())
        })
    }
}

fn lane_of(source: &SourceId, provider: &ProviderId) -> Lane {
    Lane {
        source: source.clone(),
        provider: provider.clone(),
    }
}
