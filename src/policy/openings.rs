//! Connections that are on their way, and which of them hang: hosts that never answer must not cost the others their places.
//!
//! Takes when each was begun, when it came up or ended, and `now`; says how many are fresh and how many hang. One hangs when it
//! has taken several times as long as those that came up: what holds a place at the provider has mostly answered by then.
//! Never decides whether one more may be opened.

use std::time::Duration;

use crate::domain::Timestamp;

/// Nothing hangs that took no longer.
const LEAST: Duration = Duration::from_secs(1);
/// Until one came up: what takes longer hangs.
const UNKNOWN: Duration = Duration::from_secs(5);
/// So many times the usual time.
const TIMES_USUAL: f64 = 4.0;
/// Weight of one that came up.
const WEIGHT: f64 = 0.1;

/// How long a connection of the lane usually takes to come up.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConnectTime {
    seconds: Option<f64>,
}

impl ConnectTime {
    /// One came up after so long.
    pub fn on_up(&mut self, took: Duration) {
        let took = took.as_secs_f64();
        let usual = self.seconds.unwrap_or(took);
        self.seconds = Some(usual + WEIGHT * (took - usual));
    }

    /// What takes longer hangs.
    #[must_use]
    pub fn patience(&self) -> Duration {
        let longest = self.seconds.map(|usual| Duration::from_secs_f64(usual * TIMES_USUAL));
        longest.map_or(UNKNOWN, |longest| longest.max(LEAST))
    }
}

/// Connections on their way, in the order of their beginning.
#[derive(Debug, Clone, Default)]
pub struct Openings {
    begun: Vec<Timestamp>,
}

impl Openings {
    /// One more.
    pub fn begin(&mut self, now: Timestamp) {
        self.begun.push(now);
    }

    /// The one that was begun then, as far as that can be told, came up or failed.
    pub fn end(&mut self, begun: Timestamp) {
        let not_later = self.begun.iter().rposition(|at| *at <= begun);
        self.remove(not_later.unwrap_or(0));
    }

    /// The last one was not begun after all.
    pub fn withdraw(&mut self) {
        self.begun.pop();
    }

    /// None is on its way.
    pub fn clear(&mut self) {
        self.begun.clear();
    }

    /// All on their way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.begun.len()
    }

    /// Whether none is on its way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.begun.is_empty()
    }

    /// How many hang.
    #[must_use]
    pub fn hanging(&self, patience: Duration, now: Timestamp) -> usize {
        self.begun.partition_point(|at| now.since(*at) > patience)
    }

    /// When the first that is fresh yet will hang.
    #[must_use]
    pub fn next_hangs_at(&self, patience: Duration, now: Timestamp) -> Option<Timestamp> {
        let fresh = self.begun.get(self.hanging(patience, now))?;
        Some(fresh.plus(patience + Duration::from_millis(1)))
    }

    fn remove(&mut self, index: usize) {
        if index < self.begun.len() {
            self.begun.remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_several_times_the_usual_time_hangs() {
        let mut usual = ConnectTime::default();
        assert_eq!(usual.patience(), Duration::from_secs(5), "nothing is known");
        usual.on_up(Duration::from_millis(100));
        assert_eq!(
            usual.patience(),
            Duration::from_secs(1),
            "a busy network is no dead host"
        );
        (0..100).for_each(|_| usual.on_up(Duration::from_secs(6)));
        assert!(
            usual.patience() > Duration::from_secs(23),
            "a banner that comes late is usual"
        );
    }

    #[test]
    fn those_that_hang_are_told_from_fresh_ones_and_the_right_one_ends() {
        let patience = Duration::from_secs(1);
        let mut openings = Openings::default();
        for at in [0, 500, 2_000] {
            openings.begin(Timestamp(at));
        }
        let hanging = |openings: &Openings, at| openings.hanging(patience, Timestamp(at));
        assert_eq!(hanging(&openings, 1_000), 0);
        assert_eq!(hanging(&openings, 1_001), 1);
        assert_eq!(
            openings.next_hangs_at(patience, Timestamp(1_001)),
            Some(Timestamp(1_501))
        );
        assert_eq!(hanging(&openings, 2_100), 2);
        // The last one comes up, seen a little after it was ordered.
        openings.end(Timestamp(2_005));
        assert_eq!((openings.len(), hanging(&openings, 2_100)), (2, 2));
        assert_eq!(openings.next_hangs_at(patience, Timestamp(2_100)), None);
        openings.end(Timestamp(0));
        assert_eq!(openings.begun, [Timestamp(500)]);
        openings.withdraw();
        openings.end(Timestamp(7));
        assert!(openings.is_empty(), "one that nobody knew of changes nothing");
    }
}
