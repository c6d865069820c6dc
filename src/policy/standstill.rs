//! When a lane stops altogether because its reputation is blocked, and how it comes back: one canary per stop.
//!
//! Takes stops that the provider asked for, answers to the canary, and `now`; gives where it stands. The first stop lasts at
//! least `least`, as Google publishes for its 421 4.7.28, each further one twice as long up to `longest`. After a stop one
//! message goes out; its delivery ends the stop and forgives one doubling. Messages that began before the stop tell nothing
//! new. Knows nothing of rates or of connections that fail.

use std::time::Duration;

use crate::domain::Timestamp;

/// How long stops last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StandstillSettings {
    /// The first, unless the provider named a longer one.
    pub least: Duration,
    /// No stop is longer.
    pub longest: Duration,
    /// A canary that is not heard of for so long is lost.
    pub canary_lost: Duration,
}

impl Default for StandstillSettings {
    fn default() -> Self {
        Self {
            least: Duration::from_secs(600),
            longest: Duration::from_secs(4 * 3600),
            canary_lost: Duration::from_secs(660),
        }
    }
}

/// Doublings that are remembered.
const DOUBLINGS_MAX: u32 = 16;

/// Where a lane stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Free.
    Clear,
    /// Stopped until then.
    Until(Timestamp),
    /// One message may go out.
    Canary,
    /// It is on its way; nothing besides it, and no second one before this time.
    CanaryOut(Timestamp),
}

/// The stops of one lane.
#[derive(Debug, Clone)]
pub struct Standstill {
    settings: StandstillSettings,
    doublings: u32,
    stopped_at: Timestamp,
    until: Option<Timestamp>,
    canary: Option<Timestamp>,
}

impl Standstill {
    /// Free.
    #[must_use]
    pub fn new(settings: StandstillSettings) -> Self {
        Self {
            settings,
            doublings: 0,
            stopped_at: Timestamp(0),
            until: None,
            canary: None,
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn standing(&self, now: Timestamp) -> Standing {
        match (self.until, self.canary) {
            (None, _) => Standing::Clear,
            (Some(until), _) if now < until => Standing::Until(until),
            (Some(_), Some(sent)) if now < sent.plus(self.settings.canary_lost) => {
                Standing::CanaryOut(sent.plus(self.settings.canary_lost))
            }
            (Some(_), _) => Standing::Canary,
        }
    }

    /// Stops that doubled, and until when it stands: to be remembered over a restart.
    #[must_use]
    pub fn memory(&self) -> (u32, Option<Timestamp>) {
        (self.doublings, self.until)
    }

    /// As it was before a restart.
    pub fn restore(&mut self, doublings: u32, until: Option<Timestamp>) {
        self.doublings = doublings.min(DOUBLINGS_MAX);
        self.until = until;
    }

    /// Other lengths from now on. A stop that holds ends sooner if it would be too long by them.
    pub fn set_lengths(&mut self, least: Duration, longest: Duration, now: Timestamp) {
        self.settings = StandstillSettings {
            least,
            longest,
            ..self.settings
        };
        self.until = self.until.map(|until| until.min(now.plus(longest)));
    }

    /// The canary goes out.
    pub fn on_canary_sent(&mut self, now: Timestamp) {
        debug_assert!(
            self.standing(now) == Standing::Canary,
            "a canary needs a stop that is over"
        );
        self.canary = Some(now);
    }

    /// The canary was not sent after all, or told nothing.
    pub fn on_canary_lost(&mut self) {
        self.canary = None;
    }

    /// Something that began at `started` met an answer about something else. If that was the canary, it told nothing.
    pub fn on_other(&mut self, started: Timestamp) {
        if self.canary.is_some_and(|sent| started >= sent) {
            self.canary = None;
        }
    }

    /// Somebody else's stop holds here too, until then. Gives the end of a new stop.
    pub fn on_stop_until(&mut self, until: Timestamp, now: Timestamp) -> Option<Timestamp> {
        if let Some(known) = self.until.filter(|known| now < *known) {
            self.until = Some(known.max(until));
            return None;
        }
        self.doublings = (self.doublings + 1).min(DOUBLINGS_MAX);
        self.stopped_at = now;
        self.canary = None;
        self.until = Some(until);
        self.until
    }

    /// The provider asked for a stop of this length, in answer to something that began at `started`. Gives the end of a new
    /// stop.
    pub fn on_stop(&mut self, asked: Duration, started: Timestamp, now: Timestamp) -> Option<Timestamp> {
        if let Some(until) = self.until.filter(|until| now < *until || started <= self.stopped_at) {
            self.until = Some(until.max(started.plus(asked).min(now.plus(self.settings.longest))));
            return None;
        }
        let base = asked.max(self.settings.least);
        let pause = base
            .saturating_mul(1 << self.doublings.min(DOUBLINGS_MAX))
            .min(self.settings.longest);
        self.doublings = (self.doublings + 1).min(DOUBLINGS_MAX);
        self.stopped_at = now;
        self.canary = None;
        self.until = Some(now.plus(pause));
        self.until
    }

    /// Something that began at `started` was delivered. Says whether it ended the stop.
    pub fn on_delivered(&mut self, started: Timestamp, now: Timestamp) -> bool {
        let proves = started > self.stopped_at && self.until.is_some_and(|until| now >= until);
        if proves {
            self.until = None;
            self.canary = None;
            self.doublings = self.doublings.saturating_sub(1);
        }
        proves
    }
}
