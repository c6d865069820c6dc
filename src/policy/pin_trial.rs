//! What pins on trial would have done to a lane: they are not applied, only looked at.
//!
//! Takes the range that they would leave and the lane's own values, as often as somebody looks; gives each value that they
//! would cut or raise from now on, once until it is within the range again. So a lane that stays beyond a pin for hours tells
//! it once, not with each message. Changes nothing.

use crate::policy::decision::Decided;
use crate::policy::pins::LaneRange;

/// What a lane uses by itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OwnValues {
    /// Connections.
    pub connections: u32,
    /// Messages a second; none: no limit is known.
    pub messages_per_second: Option<f64>,
    /// Messages on one connection.
    pub messages_per_connection: u32,
}

/// A value that pins on trial would have changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WouldHave {
    /// Which.
    pub what: Decided,
    /// The lane's own; infinite: no limit is known.
    pub from: f64,
    /// What it would be.
    pub to: f64,
}

/// What pins on trial have come to, for people.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TrialView {
    /// What they would change now.
    pub now: Vec<WouldHave>,
    /// How often they would have begun to change something.
    pub count: u64,
}

/// The trial at one lane.
#[derive(Debug, Clone)]
pub struct PinTrial {
    range: LaneRange,
    now: Vec<WouldHave>,
    count: u64,
}

impl PinTrial {
    /// Of pins that would leave this range.
    #[must_use]
    pub fn new(range: LaneRange) -> Self {
        Self {
            range,
            now: Vec::new(),
            count: 0,
        }
    }

    /// They would leave another range now. What was counted stays.
    pub fn set_range(&mut self, range: LaneRange) {
        self.range = range;
    }

    /// Looks at the lane's own values. Gives those that would be changed from now on and were not, or the other way round.
    pub fn look(&mut self, own: OwnValues) -> Vec<WouldHave> {
        let would_have = self.changes(own);
        let is_known = |one: &WouldHave| {
            let mut known = self.now.iter();
            known.any(|known| known.what == one.what && (known.to < known.from) == (one.to < one.from))
        };
        let new: Vec<WouldHave> = would_have.iter().filter(|one| !is_known(one)).copied().collect();
        self.count += new.len() as u64;
        self.now = would_have;
        new
    }

    /// What it has come to.
    #[must_use]
    pub fn view(&self) -> TrialView {
        TrialView {
            now: self.now.clone(),
            count: self.count,
        }
    }

    fn changes(&self, own: OwnValues) -> Vec<WouldHave> {
        let range = &self.range;
        let (fewest, most) = (f64::from(range.connections.0), f64::from(range.connections.1));
        let (slowest, fastest) = range.messages_per_second;
        let per_connection = f64::from(range.messages_per_connection);
        let within = |what, from: f64, least: f64, most: f64| WouldHave {
            what,
            from,
            to: from.min(most).max(least.min(most)),
        };
        let all = [
            within(Decided::Connections, f64::from(own.connections), fewest, most),
            within(
                Decided::Rate,
                own.messages_per_second.unwrap_or(f64::INFINITY),
                slowest.unwrap_or(0.0),
                fastest.unwrap_or(f64::INFINITY),
            ),
            within(
                Decided::MessagesPerConnection,
                f64::from(own.messages_per_connection),
                0.0,
                per_connection,
            ),
        ];
        // No pin leaves a value exactly as it is.
        all.into_iter()
            .filter(|one| one.from.total_cmp(&one.to).is_ne())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial() -> PinTrial {
        PinTrial::new(LaneRange {
            connections: (2, 5),
            messages_per_second: (Some(1.0), Some(10.0)),
            messages_per_connection: 20,
        })
    }

    fn own(connections: u32, rate: Option<f64>, messages: u32) -> OwnValues {
        OwnValues {
            connections,
            messages_per_second: rate,
            messages_per_connection: messages,
        }
    }

    #[test]
    fn each_value_that_would_be_changed_is_told_with_what_it_would_be() {
        let check = |own: OwnValues, expect: &[(Decided, f64, f64)]| {
            let found = trial().look(own).into_iter();
            let found: Vec<_> = found.map(|one| (one.what, one.from, one.to)).collect();
            assert_eq!(found, expect, "{own:?}");
        };
        check(own(5, Some(10.0), 20), &[]);
        check(own(2, Some(1.0), 1), &[]);
        check(own(9, Some(5.0), 20), &[(Decided::Connections, 9.0, 5.0)]);
        check(
            own(1, Some(0.5), 20),
            &[(Decided::Connections, 1.0, 2.0), (Decided::Rate, 0.5, 1.0)],
        );
        check(own(3, None, 20), &[(Decided::Rate, f64::INFINITY, 10.0)]);
        check(own(3, Some(5.0), 100), &[(Decided::MessagesPerConnection, 100.0, 20.0)]);
    }

    #[test]
    fn what_stays_beyond_a_pin_is_told_once_until_it_comes_back() {
        let mut trial = trial();
        let mut count = |connections| trial.look(own(connections, Some(5.0), 20)).len();
        assert_eq!([count(6), count(7), count(6), count(5), count(6)], [1, 0, 0, 0, 1]);
        assert_eq!(count(1), 1, "the other way round is told");
        assert_eq!(trial.view().count, 3);
        assert_eq!(trial.view().now.len(), 1);
        trial.set_range(LaneRange {
            connections: (1, 9),
            messages_per_second: (None, None),
            messages_per_connection: 20,
        });
        assert_eq!(trial.look(own(1, None, 20)), []);
        assert_eq!((trial.view().count, trial.view().now.len()), (3, 0));
    }
}
