//! How much of each class is taken from the queue at once, and how much of it a lane can take.
//!
//! Takes how many deliveries of each class are on their way to lanes; gives how many more may be leased. Every class has
//! its own share of the look-ahead, so that a flood of broadcast never stands in front of a code. Never looks at tenants:
//! `shelves` shares what waits in the store between them, `shares` what waits in a lane.

use super::shelves::order_of_classes;
use crate::domain::{Class, Timestamp};

/// The look-ahead of the scheduler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LookAhead {
    /// Leased deliveries of one class between queue and lane at most.
    pub per_class: usize,
    /// Deliveries in one lease call at most.
    pub batch: usize,
}

impl Default for LookAhead {
    fn default() -> Self {
        Self {
            per_class: 2_000,
            batch: 256,
        }
    }
}

impl LookAhead {
    /// How many more of `class` may be leased while `in_hand[class.index()]` are on their way.
    #[must_use]
    pub fn room(&self, class: Class, in_hand: [usize; 3]) -> usize {
        self.per_class.saturating_sub(in_hand[class.index()]).min(self.batch)
    }
}

/// Deliveries that may wait in memory for one lane with this many connections.
#[must_use]
pub fn lane_credit(connections: u32) -> usize {
    usize::try_from(connections)
        .unwrap_or(50)
        .saturating_mul(20)
        .clamp(50, 1_000)
}

/// Whether a Delivery of `class` may use one of the `credit` places left of `full`. The last fifth is for codes alone.
#[must_use]
pub fn may_offer(class: Class, credit: usize, full: usize) -> bool {
    match class {
        Class::Critical => credit > 0,
        Class::Transactional | Class::Broadcast => credit > full / 5,
    }
}

/// How a lane's credit changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credit {
    /// So many places became free.
    Add(usize),
    /// Exactly so many are free.
    Exactly(usize),
    /// None: the lane is shut until then.
    ShutUntil(Timestamp),
    /// As many as the lane has when it is empty.
    Full,
    /// From now on it has so many when it is empty.
    Size(usize),
}

/// Free places of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneCredit {
    /// Free now.
    pub left: usize,
    /// Free when the lane is empty.
    pub full: usize,
    /// The lane takes nothing before this.
    pub shut_until: Option<Timestamp>,
    /// Of those left, asked for by work that is on its way out of the store.
    pub asked: usize,
    /// The lane was shut and takes one Delivery to see whether it works again.
    pub trial: bool,
    /// Nobody has said yet how large the lane is.
    pub guessed: bool,
}

impl LaneCredit {
    /// How many Deliveries were handed to the lane and wait there for a session, as far as that is known.
    #[must_use]
    pub fn in_hand(&self) -> usize {
        match self.shut_until {
            Some(_) => 0,
            None => self.full.saturating_sub(self.left),
        }
    }

    /// An open lane with so many places, all free.
    #[must_use]
    pub fn of(full: usize) -> Self {
        Self {
            left: full,
            full,
            shut_until: None,
            asked: 0,
            trial: false,
            guessed: false,
        }
    }

    /// A lane that nobody has said anything of: its first deliveries tell its real size.
    #[must_use]
    pub fn guess() -> Self {
        Self {
            guessed: true,
            ..Self::of(lane_credit(1))
        }
    }

    /// Places for work that comes from the line.
    #[must_use]
    pub fn free(&self) -> usize {
        self.left.saturating_sub(self.asked)
    }

    /// Places for work of `class` that waits in the store. The last fifth is for codes, but for a few places in a turn for
    /// the sake of what would starve, and in a lane on trial.
    #[must_use]
    pub fn places(&self, class: Class, turn: u64) -> usize {
        let turn_of_its_own = order_of_classes(turn)[0] == class;
        match class {
            Class::Critical => self.free(),
            Class::Transactional | Class::Broadcast if self.trial => self.free(),
            Class::Transactional | Class::Broadcast if turn_of_its_own => {
                // In a lane full of codes one turn in twelve gets these; with a few less, newsletters would have no twentieth.
                let few = (self.full / 20).max(1).min(self.free());
                few.max(self.free().saturating_sub(self.full / 5))
            }
            Class::Transactional | Class::Broadcast => self.free().saturating_sub(self.full / 5),
        }
    }

    /// A lane whose size was a guess turns out to be of this one.
    pub fn turns_out(&mut self, full: usize) {
        if !std::mem::take(&mut self.guessed) {
            return;
        }
        if self.shut_until.is_none() && !self.trial {
            self.left = self.left.saturating_add(full.saturating_sub(self.full)).min(full);
        }
        self.full = full;
    }

    /// Applies a change. Places that become free while the lane is shut are counted and leave it shut.
    pub fn change(&mut self, change: Credit) {
        self.shut_until = match change {
            Credit::ShutUntil(until) => Some(until),
            Credit::Add(_) | Credit::Size(_) => self.shut_until,
            Credit::Exactly(_) | Credit::Full => None,
        };
        self.trial = match change {
            Credit::Exactly(places) => places == 1,
            Credit::Add(_) | Credit::Size(_) => self.trial,
            Credit::ShutUntil(_) | Credit::Full => false,
        };
        self.left = match change {
            Credit::ShutUntil(_) => 0,
            Credit::Add(places) => (self.left + places).min(self.full),
            Credit::Exactly(places) => places.min(self.full),
            Credit::Full => self.full,
            Credit::Size(_) if self.shut_until.is_some() => 0,
            Credit::Size(full) => (self.left + full.saturating_sub(self.full)).min(full),
        };
        if let Credit::Size(full) = change {
            self.full = full;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_never_exceeds_what_the_lane_has_and_a_shut_lane_has_none() {
        let mut credit = LaneCredit::of(50);
        let mut after = |change| {
            credit.change(change);
            (credit.left, credit.shut_until)
        };
        assert_eq!(after(Credit::Add(7)), (50, None));
        assert_eq!(after(Credit::ShutUntil(Timestamp(9))), (0, Some(Timestamp(9))));
        assert_eq!(after(Credit::Add(2)), (2, Some(Timestamp(9))), "still shut");
        assert_eq!(after(Credit::Exactly(1)), (1, None));
        assert_eq!(after(Credit::Exactly(90)), (50, None));
        assert_eq!(after(Credit::Size(80)), (80, None), "a larger lane has more places");
        assert_eq!(after(Credit::Exactly(60)), (60, None));
        assert_eq!(after(Credit::Size(40)), (40, None), "a smaller one has fewer");
        assert_eq!(after(Credit::Full), (40, None));
        after(Credit::ShutUntil(Timestamp(9)));
        assert_eq!(after(Credit::Size(50)), (0, Some(Timestamp(9))), "still shut");
        after(Credit::Exactly(50));
        assert_eq!(after(Credit::ShutUntil(Timestamp(9))), (0, Some(Timestamp(9))));
        assert_eq!(after(Credit::Full), (50, None));
    }

    #[test]
    fn what_waits_in_the_store_leaves_the_last_fifth_to_codes() {
        let mut credit = LaneCredit::of(50);
        credit.asked = 5;
        assert_eq!(Class::ALL.map(|class| credit.places(class, 1)), [45, 35, 35]);
        assert_eq!(credit.free(), 45);
        credit.left = 3;
        credit.asked = 0;
        assert_eq!(Class::ALL.map(|class| credit.places(class, 1)), [3, 0, 0]);
        // Its own turn: it must not starve.
        assert_eq!(credit.places(Class::Broadcast, 12), 2);
        assert_eq!(credit.places(Class::Transactional, 6), 2);
    }

    #[test]
    fn a_lane_on_trial_takes_one_of_any_class() {
        let mut credit = LaneCredit::of(50);
        credit.change(Credit::ShutUntil(Timestamp(9)));
        assert_eq!(credit.places(Class::Broadcast, 1), 0);
        credit.change(Credit::Exactly(1));
        assert_eq!(Class::ALL.map(|class| credit.places(class, 1)), [1, 1, 1]);
        credit.guessed = true;
        credit.turns_out(200);
        assert_eq!(credit.left, 1, "its size makes no more places");
        credit.change(Credit::Exactly(150));
        assert!(!credit.trial);
    }

    #[test]
    fn a_lane_whose_size_was_guessed_gets_the_rest() {
        let mut credit = LaneCredit::guess();
        credit.left = 20;
        credit.turns_out(200);
        assert_eq!((credit.left, credit.full), (170, 200));
        credit.turns_out(50);
        assert_eq!((credit.left, credit.full), (170, 200), "it is no guess any more");
    }

    #[test]
    fn the_last_fifth_of_a_lane_is_for_codes() {
        let full = lane_credit(10);
        assert_eq!(full, 200);
        assert!(may_offer(Class::Broadcast, 41, full) && !may_offer(Class::Broadcast, 40, full));
        assert!(may_offer(Class::Critical, 1, full) && !may_offer(Class::Critical, 0, full));
    }

    #[test]
    fn a_flood_of_one_class_leaves_the_room_of_the_others() {
        let look_ahead = LookAhead {
            per_class: 100,
            batch: 30,
        };
        assert_eq!(look_ahead.room(Class::Critical, [0, 100, 5_000]), 30);
        assert_eq!(look_ahead.room(Class::Broadcast, [0, 100, 5_000]), 0);
        assert_eq!(look_ahead.room(Class::Transactional, [0, 90, 0]), 10);
    }
}
