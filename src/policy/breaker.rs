//! When a lane takes no connections at all: after failures in a row. (`standstill` holds what the provider asks for.)
//!
//! Takes successes and failures with `now`; gives "closed", "open until" or "one canary". A lane with live sessions
//! is not dead: failures to open more of them are a signal for its gate, not for this. After `failures_to_open` failures in
//! a row the breaker opens for `first_pause`, doubling with each failed canary up to `longest_pause`. A canary that succeeds
//! closes it. A cold start is closed. Never counts refusals of single messages.

use std::time::Duration;

use crate::domain::Timestamp;

/// When it opens and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Failures in a row that open it.
    pub failures_to_open: u32,
    /// The first pause.
    pub first_pause: Duration,
    /// No pause is longer.
    pub longest_pause: Duration,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self {
            failures_to_open: 3,
            first_pause: Duration::from_secs(10),
            longest_pause: Duration::from_secs(30 * 60),
        }
    }
}

/// Whether a connection may be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Circuit {
    /// As many as the other limits allow.
    Closed,
    /// None before this time.
    OpenUntil(Timestamp),
    /// Exactly one, to see whether it works again.
    Canary,
    /// That one is on its way; none besides it.
    CanaryOut,
}

/// The breaker of one lane.
#[derive(Debug, Clone)]
pub struct Breaker {
    settings: BreakerSettings,
    failures: u32,
    pauses: u32,
    open_until: Option<Timestamp>,
    canary_out: bool,
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub fn new(settings: BreakerSettings) -> Self {
        Self {
            settings,
            failures: 0,
            pauses: 0,
            open_until: None,
            canary_out: false,
        }
    }

    /// Other settings from now on. Failures and pauses that were counted stay; a pause that runs ends sooner if it would be
    /// too long by them.
    pub fn set_settings(&mut self, settings: BreakerSettings, now: Timestamp) {
        self.settings = settings;
        self.open_until = self.open_until.map(|until| until.min(now.plus(settings.longest_pause)));
    }

    /// Where it stands.
    #[must_use]
    pub fn circuit(&self, now: Timestamp) -> Circuit {
        match self.open_until {
            None => Circuit::Closed,
            Some(_) if self.canary_out => Circuit::CanaryOut,
            Some(until) if now < until => Circuit::OpenUntil(until),
            Some(_) => Circuit::Canary,
        }
    }

    /// The one connection that [`Circuit::Canary`] allows is being opened.
    pub fn on_canary_sent(&mut self) {
        debug_assert!(self.open_until.is_some(), "a canary needs an open breaker");
        self.canary_out = true;
    }

    /// That connection will never be heard of: another may be sent.
    pub fn on_canary_lost(&mut self) {
        self.canary_out = false;
    }

    /// A connection came up to the end of EHLO.
    pub fn on_success(&mut self) {
        *self = Self::new(self.settings);
    }

    /// A connection failed while no other was up, where so many failures in a row are usual. Says whether the breaker opened
    /// by it.
    pub fn on_failure(&mut self, usual: u32, now: Timestamp) -> bool {
        self.failures = self.failures.saturating_add(1);
        let was_canary = std::mem::take(&mut self.canary_out);
        if !was_canary && self.failures < self.settings.failures_to_open.max(usual) {
            return false;
        }
        if !was_canary && self.open_until.is_some_and(|until| now < until) {
            return false;
        }
        let pause = self
            .settings
            .first_pause
            .saturating_mul(1 << self.pauses.min(16))
            .min(self.settings.longest_pause);
        self.pauses = self.pauses.saturating_add(1);
        self.open_until = Some(now.plus(pause));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000;

    fn breaker() -> Breaker {
        Breaker::new(BreakerSettings::default())
    }

    #[test]
    fn opens_at_the_third_failure_and_lets_one_canary_out_afterwards() {
        let mut breaker = breaker();
        assert!(!breaker.on_failure(0, Timestamp(0)));
        assert!(!breaker.on_failure(0, Timestamp(0)));
        assert_eq!(breaker.circuit(Timestamp(0)), Circuit::Closed);
        assert!(breaker.on_failure(0, Timestamp(0)));
        assert_eq!(
            breaker.circuit(Timestamp(9 * SECOND)),
            Circuit::OpenUntil(Timestamp(10 * SECOND))
        );
        assert_eq!(breaker.circuit(Timestamp(30 * SECOND)), Circuit::Canary);
        breaker.on_canary_sent();
        assert_eq!(breaker.circuit(Timestamp(31 * SECOND)), Circuit::CanaryOut);
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_success_forgets_them() {
        let mut breaker = breaker();
        let mut now = Timestamp(0);
        let mut pauses = Vec::new();
        for _ in 0..2 {
            breaker.on_failure(0, now);
        }
        for _ in 0..8 {
            assert!(breaker.on_failure(0, now));
            let Circuit::OpenUntil(until) = breaker.circuit(now) else {
                panic!("open")
            };
            pauses.push(until.since(now).as_secs());
            now = until;
            breaker.on_canary_sent();
        }
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1280]);
        breaker.on_success();
        assert_eq!(breaker.circuit(now), Circuit::Closed);
        assert!(!breaker.on_failure(0, now));
    }

    #[test]
    fn other_settings_keep_what_was_counted_and_cut_a_pause_that_is_too_long() {
        let mut breaker = breaker();
        let shorter = BreakerSettings {
            failures_to_open: 2,
            longest_pause: Duration::from_secs(4),
            ..BreakerSettings::default()
        };
        breaker.on_failure(0, Timestamp(0));
        breaker.set_settings(shorter, Timestamp(0));
        assert!(
            breaker.on_failure(0, Timestamp(0)),
            "the second one counts with the first"
        );
        assert_eq!(breaker.circuit(Timestamp(0)), Circuit::OpenUntil(Timestamp(4 * SECOND)));
        breaker.set_settings(BreakerSettings::default(), Timestamp(SECOND));
        assert_eq!(
            breaker.circuit(Timestamp(SECOND)),
            Circuit::OpenUntil(Timestamp(4 * SECOND))
        );
        breaker.set_settings(
            BreakerSettings {
                longest_pause: Duration::from_secs(1),
                ..shorter
            },
            Timestamp(SECOND),
        );
        assert_eq!(breaker.circuit(Timestamp(2 * SECOND)), Circuit::Canary);
    }

    #[test]
    fn where_failures_are_usual_more_of_them_open_it() {
        let mut breaker = breaker();
        assert!((0..9).all(|_| !breaker.on_failure(10, Timestamp(0))));
        assert!(breaker.on_failure(10, Timestamp(0)));
    }
}
