//! Who goes first where not all can go: the order of recipients while a lane has less room than work.
//!
//! Takes what is known of two deliveries; gives their order. A hook: nothing measures engagement yet, so that a score is not
//! known and the rest decides. Receivers judge a new address by how its first mail is received: whoever opened, clicked or
//! only took mail before is the best to begin with. What is urgent stays before all of that.
//!
//! Known scores go before unknown ones only when they are good: somebody nobody knows is a better guess than somebody who
//! never opens.

use std::cmp::{Ordering, Reverse};

use crate::domain::{Class, Timestamp};

/// The score of somebody of whom nothing is known, in thousandths.
const UNKNOWN: u16 = 300;

/// What is known of a Delivery's recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acquaintance {
    /// How urgent the Delivery is.
    pub class: Class,
    /// How much the recipient cares for the tenant's mail, in thousandths, 1000 at most; none when nobody measured it.
    pub engagement: Option<u16>,
    /// Deliveries that the recipient took from the tenant before.
    pub delivered_before: u64,
    /// Since when the Delivery waits.
    pub since: Timestamp,
}

/// Which of two goes first: the more urgent, then the more engaged, then who took more mail before, then who waits longer.
#[must_use]
pub fn first_to_go(one: &Acquaintance, other: &Acquaintance) -> Ordering {
    let key = |known: &Acquaintance| {
        let engagement = known.engagement.unwrap_or(UNKNOWN);
        (
            known.class.index(),
            Reverse(engagement),
            Reverse(known.delivered_before),
            known.since,
        )
    };
    key(one).cmp(&key(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urgent_ones_go_first_then_the_engaged_then_those_who_took_mail_before_then_the_oldest() {
        let known = |class, engagement, delivered_before, since| Acquaintance {
            class,
            engagement,
            delivered_before,
            since: Timestamp(since),
        };
        let in_order = [
            known(Class::Critical, Some(0), 0, 9),
            known(Class::Transactional, None, 0, 8),
            known(Class::Broadcast, Some(900), 0, 9),
            known(Class::Broadcast, None, 12, 9),
            known(Class::Broadcast, None, 3, 7),
            known(Class::Broadcast, None, 3, 8),
            known(Class::Broadcast, None, 0, 1),
            known(Class::Broadcast, Some(0), 50, 0),
        ];
        let mut shuffled = in_order;
        shuffled.reverse();
        shuffled.sort_by(first_to_go);
        assert_eq!(shuffled, in_order);
    }
}
