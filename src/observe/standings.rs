//! What lanes last said of themselves, and how long a message takes there: for those who ask why something waits.
//!
//! Takes the word of each ISP actor, once a second, and the time of each message; gives what is known of a lane. A word that
//! is older than [`HOLDS`] is not believed any more. Bounded: beyond [`LANES_MAX`] lanes the old ones are forgotten, and of
//! what is beyond even then nothing is known. Decides nothing.

use std::time::Duration;

use dashmap::DashMap;

use crate::domain::{Lane, Timestamp};
use crate::policy::projection::LaneStanding;

/// For how long a lane's word holds: its actor speaks each second.
const HOLDS: Duration = Duration::from_secs(30);
/// Lanes that are remembered.
const LANES_MAX: usize = 20_000;
/// A new time counts for this part of the mean.
const WEIGHT: f64 = 1.0 / 16.0;

/// What lanes said.
#[derive(Debug, Default)]
pub struct LaneStandings {
    told: DashMap<Lane, (LaneStanding, Timestamp)>,
    /// Mean seconds of a message.
    service: DashMap<Lane, f64>,
}

impl LaneStandings {
    /// A lane speaks at `now`.
    pub fn told(&self, lane: &Lane, standing: LaneStanding, now: Timestamp) {
        if self.told.len() >= LANES_MAX && !self.told.contains_key(lane) {
            self.told.retain(|_, (_, at)| now.since(*at) < HOLDS);
            if self.told.len() >= LANES_MAX {
                return;
            }
        }
        self.told.insert(lane.clone(), (standing, now));
    }

    /// A message took this long.
    pub fn took(&self, lane: &Lane, time: Duration) {
        let seconds = time.as_secs_f64();
        if let Some(mut mean) = self.service.get_mut(lane) {
            *mean += (seconds - *mean) * WEIGHT;
        } else if self.service.len() < LANES_MAX {
            self.service.insert(lane.clone(), seconds);
        }
    }

    /// How long a message takes on average, where that was seen.
    #[must_use]
    pub fn service(&self, lane: &Lane) -> Option<Duration> {
        let mean = self.service.get(lane).map(|mean| *mean);
        mean.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
    }

    /// What is known of a lane at `now`.
    #[must_use]
    pub fn of(&self, lane: &Lane, now: Timestamp) -> Option<LaneStanding> {
        let told = self.told.get(lane)?;
        let (standing, at) = told.value();
        (now.since(*at) < HOLDS).then(|| standing.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ProviderId, SourceId, Why};

    fn lane(source: usize) -> Lane {
        Lane {
            source: SourceId::from(source.to_string().as_str()),
            provider: ProviderId::from("google"),
        }
    }

    fn standing() -> LaneStanding {
        LaneStanding {
            why: Why::Rate,
            until: None,
            connections: 3,
            rate: Some(2.0),
            service: None,
            share: None,
        }
    }

    #[test]
    fn a_lane_is_believed_for_as_long_as_it_speaks() {
        let standings = LaneStandings::default();
        standings.told(&lane(1), standing(), Timestamp(1_000));
        assert_eq!(standings.of(&lane(1), Timestamp(30_999)), Some(standing()));
        assert_eq!(standings.of(&lane(1), Timestamp(31_000)), None);
        assert_eq!(standings.of(&lane(2), Timestamp(1_000)), None);
    }

    #[test]
    fn the_time_of_a_message_is_a_mean_over_the_last_ones() {
        let standings = LaneStandings::default();
        assert_eq!(standings.service(&lane(1)), None);
        standings.took(&lane(1), Duration::from_secs(4));
        assert_eq!(standings.service(&lane(1)), Some(Duration::from_secs(4)));
        for _ in 0..100 {
            standings.took(&lane(1), Duration::from_secs(1));
        }
        let mean = standings.service(&lane(1)).expect("it was seen");
        assert!((1_000..1_020).contains(&mean.as_millis()), "{mean:?}");
    }

    #[test]
    fn no_more_lanes_are_remembered_than_may_be() {
        let standings = LaneStandings::default();
        for source in 0..LANES_MAX {
            standings.told(&lane(source), standing(), Timestamp(0));
        }
        standings.told(&lane(LANES_MAX), standing(), Timestamp(1));
        assert_eq!(
            standings.of(&lane(LANES_MAX), Timestamp(1)),
            None,
            "all others still speak"
        );
        standings.told(&lane(LANES_MAX), standing(), Timestamp(40_000));
        assert!(standings.of(&lane(LANES_MAX), Timestamp(40_000)).is_some());
        assert_eq!(standings.told.len(), 1);
    }
}
