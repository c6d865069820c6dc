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

#[cfg(test)]
mod tests {
    use super::*;

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
