//! Whether a lane may open a connection or send a message right now.
//!
//! Takes limits, the number of live sessions, answers of the provider and `now`; gives permits or the time to ask again.
//! This version keeps the fixed limits of `rules/` and config and yields for a while when told to: a `slow` pauses the
//! lane for `slow_pause`, doubling up to `slow_pause_longest` while they keep coming; `fewer_connections` lowers the ceiling
//! to what is up, and it grows back by one every `ceiling_step`; `stop` opens the breaker. A learning controller
//! takes this place later. Never exceeds any of its limits, whatever it is told.

use std::time::Duration;

use crate::domain::{LaneAction, LaneLimits, Timestamp};
use crate::policy::breaker::{Breaker, BreakerSettings, Circuit};
use crate::policy::token_bucket::TokenBucket;

/// How a lane yields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneGateSettings {
    /// Breaker for failures in a row and named stops.
    pub breaker: BreakerSettings,
    /// The first pause after a `slow`.
    pub slow_pause: Duration,
    /// No such pause is longer.
    pub slow_pause_longest: Duration,
    /// Time after which a lowered ceiling grows by one connection.
    pub ceiling_step: Duration,
    /// No named stop is longer than this (demo shortens it).
    pub stop_longest: Duration,
}

impl Default for LaneGateSettings {
    fn default() -> Self {
        Self {
            breaker: BreakerSettings::default(),
            slow_pause: Duration::from_secs(5),
            slow_pause_longest: Duration::from_secs(300),
            ceiling_step: Duration::from_secs(30),
            stop_longest: Duration::from_secs(4 * 3600),
        }
    }
}

/// Connections of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Live {
    /// Past EHLO.
    pub up: u32,
    /// Not there yet.
    pub opening: u32,
}

/// The answer to "may I".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    /// Yes; it is counted.
    Go,
    /// Not before this time.
    Wait(Timestamp),
    /// Not until a session ends.
    Full,
}

/// The gate of one lane.
#[derive(Debug, Clone)]
pub struct LaneGate {
    limits: LaneLimits,
    settings: LaneGateSettings,
    bucket: Option<TokenBucket>,
    breaker: Breaker,
    ceiling: u32,
    ceiling_at: Timestamp,
    paused_until: Timestamp,
    pause: Duration,
}

impl LaneGate {
    /// A gate that has seen nothing yet.
    #[must_use]
    pub fn new(limits: LaneLimits, settings: LaneGateSettings, now: Timestamp) -> Self {
        let connections = limits.connections.max(1);
        Self {
            limits: LaneLimits { connections, ..limits },
            settings,
            bucket: limits.messages_per_second.map(|rate| TokenBucket::new(rate, now)),
            breaker: Breaker::new(settings.breaker),
            ceiling: connections,
            ceiling_at: now,
            paused_until: Timestamp(0),
            pause: settings.slow_pause,
        }
    }

    /// Asks to open a connection while `live` are up or being opened.
    pub fn open(&mut self, live: Live, now: Timestamp) -> Permit {
        match self.breaker.circuit(now) {
            Circuit::OpenUntil(until) => return Permit::Wait(until),
            Circuit::CanaryOut => return Permit::Full,
            Circuit::Canary if live.opening > 0 => return Permit::Full,
            Circuit::Canary => {
                self.breaker.on_canary_sent();
                return Permit::Go;
            }
            Circuit::Closed => {}
        }
        if now < self.paused_until {
            return Permit::Wait(self.paused_until);
        }
        // At most as many at once as are up already: a dead host is knocked at by one, a live one fills up in a few turns.
        let crowded = live.opening >= live.up.max(1);
        if crowded || live.up + live.opening >= self.ceiling(now) {
            Permit::Full
        } else {
            Permit::Go
        }
    }

    /// Asks to send one message on a session that is up.
    pub fn send(&mut self, now: Timestamp) -> Permit {
        if now < self.paused_until {
            return Permit::Wait(self.paused_until);
        }
        match self.bucket.as_mut().map(|bucket| bucket.take(now)) {
            Some(Err(until)) => Permit::Wait(until),
            Some(Ok(())) | None => Permit::Go,
        }
    }

    /// A message for which a permit was given was not sent after all.
    pub fn on_unused(&mut self) {
        if let Some(bucket) = self.bucket.as_mut() {
            bucket.put_back();
        }
    }

    /// A connection came up.
    pub fn on_opened(&mut self) {
        self.breaker.on_success();
    }

    /// A connection could not be opened while `up` others were up. Says whether the lane is shut by it.
    pub fn on_open_failed(&mut self, action: LaneAction, up: u32, now: Timestamp) -> bool {
        self.on_action(action, up, now);
        if up == 0 {
            self.breaker.on_failure(now);
        }
        self.shut_until(now).is_some()
    }

    /// A connection for which a permit was given will never be heard of.
    pub fn on_open_lost(&mut self) {
        self.breaker.on_canary_lost();
    }

    /// A message was delivered: earlier pauses are forgiven. After a stop it is as good a proof as a canary: a session that
    /// outlived the stop opens no new connection.
    pub fn on_delivered(&mut self, now: Timestamp) {
        self.pause = self.settings.slow_pause;
        if !matches!(self.breaker.circuit(now), Circuit::OpenUntil(_)) {
            self.breaker.on_success();
        }
    }

    /// The provider asked for something while `up` sessions were up.
    pub fn on_action(&mut self, action: LaneAction, up: u32, now: Timestamp) {
        match action {
            LaneAction::None | LaneAction::Reconnect => {}
            LaneAction::Slow if now < self.paused_until => {}
            LaneAction::Slow => {
                self.paused_until = now.plus(self.pause);
                self.pause = (self.pause * 2).min(self.settings.slow_pause_longest);
            }
            LaneAction::FewerConnections => {
                self.ceiling = up.clamp(1, self.limits.connections);
                self.ceiling_at = now;
            }
            LaneAction::Stop(pause) => self.breaker.on_stop(pause.min(self.settings.stop_longest), now),
        }
    }

    /// Until when the lane takes no connection at all, if that is so.
    #[must_use]
    pub fn shut_until(&self, now: Timestamp) -> Option<Timestamp> {
        match self.breaker.circuit(now) {
            Circuit::OpenUntil(until) => Some(until),
            Circuit::Closed | Circuit::Canary | Circuit::CanaryOut => None,
        }
    }

    /// Messages that one connection may carry.
    #[must_use]
    pub fn messages_per_connection(&self) -> u32 {
        self.limits.messages_per_connection.max(1)
    }

    fn ceiling(&self, now: Timestamp) -> u32 {
        let step_ms = self.settings.ceiling_step.as_millis().max(1);
        let steps = now.since(self.ceiling_at).as_millis() / step_ms;
        let grown = u128::from(self.ceiling) + steps;
        u32::try_from(grown).unwrap_or(u32::MAX).min(self.limits.connections)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000;

    fn gate(connections: u32, rate: Option<f64>) -> LaneGate {
        let limits = LaneLimits {
            connections,
            messages_per_connection: 20,
            messages_per_second: rate,
        };
        LaneGate::new(limits, LaneGateSettings::default(), Timestamp(0))
    }

    fn up(up: u32) -> Live {
        Live { up, opening: 0 }
    }

    #[test]
    fn one_knocks_at_a_dead_host_and_a_live_one_fills_up_in_a_few_turns() {
        let mut gate = gate(50, None);
        assert_eq!(gate.open(Live { up: 0, opening: 1 }, Timestamp(0)), Permit::Full);
        assert_eq!(gate.open(Live { up: 4, opening: 3 }, Timestamp(0)), Permit::Go);
        assert_eq!(gate.open(Live { up: 4, opening: 4 }, Timestamp(0)), Permit::Full);
    }

    #[test]
    fn never_more_connections_than_the_limit() {
        let mut gate = gate(2, None);
        assert_eq!(gate.open(up(0), Timestamp(0)), Permit::Go);
        assert_eq!(gate.open(up(1), Timestamp(0)), Permit::Go);
        assert_eq!(gate.open(up(2), Timestamp(0)), Permit::Full);
        assert_eq!(gate.open(up(2), Timestamp(u64::MAX / 2)), Permit::Full);
    }

    #[test]
    fn fewer_connections_lowers_the_ceiling_and_it_grows_back_by_one_a_step() {
        let mut gate = gate(5, None);
        gate.on_action(LaneAction::FewerConnections, 2, Timestamp(0));
        assert_eq!(gate.open(up(2), Timestamp(29 * SECOND)), Permit::Full);
        assert_eq!(gate.open(up(2), Timestamp(30 * SECOND)), Permit::Go);
        assert_eq!(gate.open(up(3), Timestamp(30 * SECOND)), Permit::Full);
        assert_eq!(gate.open(up(4), Timestamp(90 * SECOND)), Permit::Go);
        assert_eq!(gate.open(up(5), Timestamp(900 * SECOND)), Permit::Full);
        gate.on_action(LaneAction::FewerConnections, 0, Timestamp(0));
        assert_eq!(gate.open(up(0), Timestamp(0)), Permit::Go, "one is always allowed");
    }

    #[test]
    fn slow_pauses_longer_and_longer_until_something_is_delivered() {
        let mut gate = gate(5, None);
        gate.on_action(LaneAction::Slow, 3, Timestamp(0));
        gate.on_action(LaneAction::Slow, 3, Timestamp(1));
        assert_eq!(
            gate.send(Timestamp(2)),
            Permit::Wait(Timestamp(5 * SECOND)),
            "one burst of refusals is one pause"
        );
        gate.on_action(LaneAction::Slow, 3, Timestamp(5 * SECOND));
        assert_eq!(gate.send(Timestamp(6 * SECOND)), Permit::Wait(Timestamp(15 * SECOND)));
        gate.on_delivered(Timestamp(16 * SECOND));
        gate.on_action(LaneAction::Slow, 3, Timestamp(20 * SECOND));
        assert_eq!(
            gate.open(up(0), Timestamp(20 * SECOND)),
            Permit::Wait(Timestamp(25 * SECOND))
        );
    }

    #[test]
    fn stop_shuts_the_lane_and_then_lets_one_connection_try() {
        let mut gate = gate(5, None);
        gate.on_action(LaneAction::Stop(Duration::from_secs(600)), 3, Timestamp(0));
        assert_eq!(gate.shut_until(Timestamp(SECOND)), Some(Timestamp(600 * SECOND)));
        assert_eq!(
            gate.open(up(0), Timestamp(SECOND)),
            Permit::Wait(Timestamp(600 * SECOND))
        );
        assert_eq!(gate.open(up(0), Timestamp(600 * SECOND)), Permit::Go);
        assert_eq!(
            gate.open(up(1), Timestamp(600 * SECOND)),
            Permit::Full,
            "one canary at a time"
        );
        gate.on_opened();
        assert_eq!(gate.open(up(1), Timestamp(601 * SECOND)), Permit::Go);
    }

    #[test]
    fn a_delivery_over_a_session_that_outlived_a_stop_ends_it_but_not_before_its_time() {
        let mut gate = gate(5, None);
        gate.on_action(LaneAction::Stop(Duration::from_secs(60)), 3, Timestamp(0));
        gate.on_delivered(Timestamp(SECOND));
        assert_eq!(gate.shut_until(Timestamp(SECOND)), Some(Timestamp(60 * SECOND)));
        gate.on_delivered(Timestamp(61 * SECOND));
        assert_eq!(gate.open(up(2), Timestamp(61 * SECOND)), Permit::Go);
        assert_eq!(
            gate.open(up(3), Timestamp(61 * SECOND)),
            Permit::Go,
            "no longer one canary at a time"
        );
    }

    #[test]
    fn a_failed_connection_shuts_the_lane_only_when_no_other_is_up() {
        let mut gate = gate(5, None);
        for _ in 0..10 {
            assert!(!gate.on_open_failed(LaneAction::None, 1, Timestamp(0)));
        }
        assert!(!gate.on_open_failed(LaneAction::None, 0, Timestamp(0)));
        assert!(!gate.on_open_failed(LaneAction::None, 0, Timestamp(0)));
        assert!(gate.on_open_failed(LaneAction::None, 0, Timestamp(0)));
    }

    #[test]
    fn the_rate_holds_and_an_unused_permit_is_given_back() {
        let mut gate = gate(5, Some(2.0));
        assert_eq!(gate.send(Timestamp(0)), Permit::Go);
        assert!(matches!(gate.send(Timestamp(0)), Permit::Wait(_)));
        gate.on_unused();
        assert_eq!(gate.send(Timestamp(0)), Permit::Go);
    }
}
