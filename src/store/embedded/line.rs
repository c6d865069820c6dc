//! Where to look for the next one who is due.
//!
//! A leased delivery keeps its place in the table `due`. So that a lease does not have to go past all those who are out
//! already, the cursor of each class remembers up to where everybody is out or gone. It moves forward with each lease and
//! back when somebody joins, or comes back, before it. It is a hint about memory: with no cursor the search begins at
//! the front and finds the same.

use std::ops::Bound;

use super::keys::{DueKey, due_range};
use crate::domain::{Class, Timestamp};

/// One cursor per class: up to and with this key, everybody is out.
#[derive(Debug, Default)]
pub(super) struct Cursors {
    passed: [Option<DueKey>; Class::ALL.len()],
}

impl Cursors {
    /// The part of the line in which somebody of `class` may be due by `now`; none when there is nobody.
    pub(super) fn range(&self, class: Class, now: Timestamp) -> Option<(Bound<DueKey>, Bound<DueKey>)> {
        let (low, high) = due_range(class, now);
        let from = match self.passed[class.index()] {
            Some(passed) if passed >= high => return None,
            Some(passed) if passed >= low => Bound::Excluded(passed),
            _ => Bound::Included(low),
        };
        Some((from, Bound::Included(high)))
    }

    /// Everybody up to and with `key` is out.
    pub(super) fn pass(&mut self, class: Class, key: DueKey) {
        let passed = &mut self.passed[class.index()];
        *passed = (*passed).max(Some(key));
    }

    /// Somebody stands at `key` again.
    pub(super) fn back_to(&mut self, class: Class, key: DueKey) {
        let passed = &mut self.passed[class.index()];
        if passed.is_some_and(|passed| key <= passed) {
            *passed = Some(before(key));
        }
    }

    /// Nothing is known any more.
    pub(super) fn reset(&mut self) {
        self.passed = Default::default();
    }
}

/// The greatest key below `key`.
fn before(mut key: DueKey) -> DueKey {
    for byte in key.iter_mut().rev() {
        let (less, borrowed) = byte.overflowing_sub(1);
        *byte = less;
        if !borrowed {
            break;
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::super::keys::due_key;
    use super::*;
    use crate::domain::{DeliveryId, MessageId};
    use uuid::Uuid;

    fn key(at: u64) -> DueKey {
        let message = MessageId(Uuid::nil());
        due_key(Class::Broadcast, Timestamp(at), DeliveryId { message, recipient: 0 })
    }

    fn sees(cursors: &Cursors, now: u64, at: u64) -> bool {
        let range = cursors.range(Class::Broadcast, Timestamp(now));
        range.is_some_and(|range| std::ops::RangeBounds::contains(&range, &key(at)))
    }

    #[test]
    fn those_who_are_out_are_passed_over_until_one_comes_back() {
        let mut cursors = Cursors::default();
        assert!(sees(&cursors, 9, 5));
        cursors.pass(Class::Broadcast, key(5));
        assert!(!sees(&cursors, 9, 5) && !sees(&cursors, 9, 4) && sees(&cursors, 9, 6));
        cursors.back_to(Class::Broadcast, key(7));
        assert!(!sees(&cursors, 9, 5));
        cursors.back_to(Class::Broadcast, key(4));
        assert!(sees(&cursors, 9, 4) && sees(&cursors, 9, 5) && !sees(&cursors, 9, 3));
    }

    #[test]
    fn nobody_is_due_before_the_cursor() {
        let mut cursors = Cursors::default();
        cursors.pass(Class::Broadcast, key(5));
        assert!(!sees(&cursors, 4, 5));
        assert!(!sees(&cursors, 4, 3));
    }
}
