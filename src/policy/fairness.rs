//! How much of each class is taken from the queue at once.
//!
//! Takes how many deliveries of each class are on their way to lanes; gives how many more may be leased. Every class has
//! its own share of the look-ahead, so that a flood of broadcast never stands in front of a code. Never looks at tenants:
//! sharing between them comes with the closed loop.

use crate::domain::Class;

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

#[cfg(test)]
mod tests {
    use super::*;

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
