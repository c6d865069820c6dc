//! What operators fix for lanes: the least and the most of connections and of messages a second.
//!
//! Takes pins of providers and of single lanes, and the limits of the rules; gives the range that a lane's controller learns
//! in. A pin of a lane wins over one of its provider, and that over the rules. Pins on trial are kept beside them: what range
//! they would leave is told, and nobody goes by it. An exact value is a range of one. Checks
//! nothing: `config` does.

use std::collections::BTreeMap;

use crate::domain::{Lane, LaneLimits, ProviderId};

/// A least and a most of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin<T> {
    /// Never less, whatever is refused.
    pub least: Option<T>,
    /// Never more, whatever is allowed.
    pub most: Option<T>,
}

impl<T> Default for Pin<T> {
    fn default() -> Self {
        Self {
            least: None,
            most: None,
        }
    }
}

/// What is fixed for a provider or a lane.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LanePins {
    /// Connections at the same time.
    pub connections: Pin<u32>,
    /// Messages a second.
    pub messages_per_second: Pin<f64>,
    /// Messages on one connection at most.
    pub messages_per_connection: Option<u32>,
}

/// All pins. Changes as a whole.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pins {
    /// By provider: for each of its lanes.
    pub by_provider: BTreeMap<ProviderId, LanePins>,
    /// By lane.
    pub by_lane: BTreeMap<Lane, LanePins>,
    /// On trial, by provider.
    pub shadow_by_provider: BTreeMap<ProviderId, LanePins>,
    /// On trial, by lane.
    pub shadow_by_lane: BTreeMap<Lane, LanePins>,
}

/// What a lane's controller may choose from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LaneRange {
    /// Fewest and most connections.
    pub connections: (u32, u32),
    /// Slowest and fastest rate, in messages a second; none: no such limit.
    pub messages_per_second: (Option<f64>, Option<f64>),
    /// Messages on one connection at most.
    pub messages_per_connection: u32,
}

impl From<LaneLimits> for LaneRange {
    fn from(limits: LaneLimits) -> Self {
        Self {
            connections: (1, limits.connections.max(1)),
            messages_per_second: (None, limits.messages_per_second),
            messages_per_connection: limits.messages_per_connection.max(1),
        }
    }
}

impl LaneRange {
    /// The range within these pins. A least above the most is the most.
    #[must_use]
    pub fn pinned(self, pins: &LanePins) -> Self {
        let most = pins.connections.most.unwrap_or(self.connections.1).max(1);
        let least = pins.connections.least.unwrap_or(self.connections.0).clamp(1, most);
        let fastest = pins.messages_per_second.most.or(self.messages_per_second.1);
        let slowest = pins.messages_per_second.least.or(self.messages_per_second.0);
        Self {
            connections: (least, most),
            messages_per_second: (
                slowest.map(|slowest| slowest.min(fastest.unwrap_or(f64::INFINITY))),
                fastest,
            ),
            messages_per_connection: pins
                .messages_per_connection
                .unwrap_or(self.messages_per_connection)
                .max(1),
        }
    }
}

impl Pins {
    /// The range of a lane whose provider has these limits.
    #[must_use]
    pub fn range(&self, lane: &Lane, limits: LaneLimits) -> LaneRange {
        let pins = [self.by_provider.get(&lane.provider), self.by_lane.get(lane)];
        pins.into_iter()
            .flatten()
            .fold(LaneRange::from(limits), LaneRange::pinned)
    }

    /// The range that the same lane would have with the pins on trial, if there are any for it.
    #[must_use]
    pub fn shadow(&self, lane: &Lane, limits: LaneLimits) -> Option<LaneRange> {
        let (provider, own) = (
            self.shadow_by_provider.get(&lane.provider),
            self.shadow_by_lane.get(lane),
        );
        provider.or(own)?;
        let pins = [
            self.by_provider.get(&lane.provider),
            provider,
            self.by_lane.get(lane),
            own,
        ];
        let pins = pins.into_iter().flatten();
        Some(pins.fold(LaneRange::from(limits), LaneRange::pinned))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SourceId;

    const LIMITS: LaneLimits = LaneLimits {
        connections: 10,
        messages_per_connection: 100,
        messages_per_second: None,
    };

    fn lane(source: &str) -> Lane {
        Lane {
            source: SourceId::from(source),
            provider: ProviderId::from("google"),
        }
    }

    fn connections(least: Option<u32>, most: Option<u32>) -> LanePins {
        LanePins {
            connections: Pin { least, most },
            ..LanePins::default()
        }
    }

    #[test]
    fn a_lane_wins_over_its_provider_and_that_over_the_rules() {
        let pins = Pins {
            by_provider: BTreeMap::from([(ProviderId::from("google"), connections(Some(3), None))]),
            by_lane: BTreeMap::from([
                (lane("exact"), connections(Some(5), Some(5))),
                (lane("low"), connections(None, Some(2))),
            ]),
            ..Pins::default()
        };
        let check = |source: &str, expect: (u32, u32)| {
            assert_eq!(pins.range(&lane(source), LIMITS).connections, expect, "{source}");
        };
        check("other", (3, 10));
        check("exact", (5, 5));
        check("low", (2, 2));
        assert_eq!(Pins::default().range(&lane("other"), LIMITS), LaneRange::from(LIMITS));
    }

    #[test]
    fn pins_on_trial_are_told_and_not_applied() {
        let pins = Pins {
            by_lane: BTreeMap::from([(lane("pinned"), connections(None, Some(4)))]),
            shadow_by_provider: BTreeMap::from([(ProviderId::from("google"), connections(None, Some(6)))]),
            shadow_by_lane: BTreeMap::from([(lane("trial"), connections(Some(2), Some(3)))]),
            ..Pins::default()
        };
        let check = |source: &str, range: (u32, u32), shadow: (u32, u32)| {
            let lane = lane(source);
            assert_eq!(pins.range(&lane, LIMITS).connections, range, "{source}");
            let found = pins.shadow(&lane, LIMITS).map(|range| range.connections);
            assert_eq!(found, Some(shadow), "{source}");
        };
        check("other", (1, 10), (1, 6));
        check("trial", (1, 10), (2, 3));
        // A lane's own pin wins over one on trial for its provider.
        check("pinned", (1, 4), (1, 4));
        assert_eq!(Pins::default().shadow(&lane("other"), LIMITS), None);
    }

    #[test]
    fn rates_are_pinned_from_both_sides() {
        let check = |least, most, expect| {
            let pins = LanePins {
                messages_per_second: Pin { least, most },
                ..LanePins::default()
            };
            let limits = LaneLimits {
                messages_per_second: Some(50.0),
                ..LIMITS
            };
            assert_eq!(LaneRange::from(limits).pinned(&pins).messages_per_second, expect);
        };
        check(None, None, (None, Some(50.0)));
        check(Some(2.0), None, (Some(2.0), Some(50.0)));
        check(Some(9.0), Some(4.0), (Some(4.0), Some(4.0)));
    }
}
