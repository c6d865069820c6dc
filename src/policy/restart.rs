//! How soon a panicked actor comes back, and when it must not.
//!
//! Takes the times of its restarts; gives a pause or "escalate". Never restarts anything itself.

use std::collections::VecDeque;
use std::time::Duration;

use crate::domain::Timestamp;

/// Bounds of restarting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartSettings {
    /// More restarts than this within `window` escalate.
    pub restarts_max: usize,
    /// The window.
    pub window: Duration,
    /// Pause before the first restart; doubles with each further one in the window.
    pub first_pause: Duration,
    /// No pause is longer.
    pub longest_pause: Duration,
}

impl Default for RestartSettings {
    fn default() -> Self {
        Self {
            restarts_max: 20,
            window: Duration::from_secs(60),
            first_pause: Duration::from_millis(10),
            longest_pause: Duration::from_secs(2),
        }
    }
}

/// What follows a panic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterPanic {
    /// Come back after this pause.
    RestartAfter(Duration),
    /// Something is wrong beyond this actor.
    Escalate,
}

/// The memory of one actor's restarts.
#[derive(Debug, Clone)]
pub struct Restarts {
    settings: RestartSettings,
    times: VecDeque<Timestamp>,
}

impl Restarts {
    /// None so far.
    #[must_use]
    pub fn new(settings: RestartSettings) -> Self {
        Self {
            settings,
            times: VecDeque::new(),
        }
    }

    /// It panicked.
    pub fn on_panic(&mut self, now: Timestamp) -> AfterPanic {
        while self
            .times
            .front()
            .is_some_and(|&first| now.since(first) > self.settings.window)
        {
            self.times.pop_front();
        }
        if self.times.len() >= self.settings.restarts_max {
            return AfterPanic::Escalate;
        }
        let doublings = u32::try_from(self.times.len()).unwrap_or(16).min(16);
        self.times.push_back(now);
        AfterPanic::RestartAfter(
            self.settings
                .first_pause
                .saturating_mul(1 << doublings)
                .min(self.settings.longest_pause),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_too_many_in_the_window_escalate() {
        let settings = RestartSettings {
            restarts_max: 4,
            ..RestartSettings::default()
        };
        let mut restarts = Restarts::new(settings);
        let millis = |millis| AfterPanic::RestartAfter(Duration::from_millis(millis));
        for expected in [millis(10), millis(20), millis(40), millis(80), AfterPanic::Escalate] {
            assert_eq!(restarts.on_panic(Timestamp(1_000)), expected);
        }
        assert_eq!(
            restarts.on_panic(Timestamp(62_000)),
            millis(10),
            "an old window is forgotten"
        );
    }
}
