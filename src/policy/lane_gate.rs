//! Whether a lane may open a connection or send a message right now.
//!
//! Takes limits, the number of live sessions, answers of the provider and `now`; gives permits or the time to ask again.
//! The limits of `rules/` and config are pins: `controller` learns below them. What this adds is the breaker for hosts that
//! do not answer at all, and that a host which nobody has reached yet is knocked at by one connection only. Never exceeds
//! any of its limits, whatever it is told.

use std::time::Duration;

use crate::domain::{LaneAction, Timestamp};
use crate::policy::breaker::{Breaker, BreakerSettings, Circuit};
use crate::policy::congestion::{CongestionSettings, Opening};
use crate::policy::controller::{Answer, Controller, ControllerSettings};
use crate::policy::knock::Knock;
use crate::policy::pace::PaceSettings;
use crate::policy::pins::LaneRange;
use crate::policy::standstill::{Standing, StandstillSettings};

/// How a lane yields.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LaneGateSettings {
    /// Breaker for failures in a row.
    pub breaker: BreakerSettings,
    /// Connections that a lane begins with, within its limit.
    pub connections_start: u32,
    /// The first pause before a canary when a rate was refused.
    pub slow_pause: Duration,
    /// No such pause is longer.
    pub slow_pause_longest: Duration,
    /// A block for reputation lasts at least this long, whatever a rule says.
    pub stop_least: Duration,
    /// No stop is longer than this (demo shortens it).
    pub stop_longest: Duration,
}

impl Default for LaneGateSettings {
    fn default() -> Self {
        Self {
            breaker: BreakerSettings::default(),
            connections_start: 2,
            slow_pause: Duration::from_millis(300),
            slow_pause_longest: Duration::from_secs(600),
            stop_least: Duration::from_secs(600),
            stop_longest: Duration::from_secs(4 * 3600),
        }
    }
}

impl LaneGateSettings {
    fn stops(&self) -> StandstillSettings {
        StandstillSettings {
            least: self.stop_least.min(self.stop_longest),
            longest: self.stop_longest,
            ..StandstillSettings::default()
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

/// How a lane stands, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LaneStanding {
    /// It sends.
    Open,
    /// The provider closed the door on its rate: one message at a time tries it.
    Slow,
    /// It is blocked for its reputation.
    Stopped,
    /// The block is over; one message tries.
    Canary,
    /// Its hosts do not answer.
    Unreachable,
}

impl LaneStanding {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Open, Self::Slow, Self::Stopped, Self::Canary, Self::Unreachable];

    /// The name that API and metrics use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Slow => "slow",
            Self::Stopped => "stopped",
            Self::Canary => "canary",
            Self::Unreachable => "unreachable",
        }
    }
}

/// The gate of one lane.
#[derive(Debug, Clone)]
pub struct LaneGate {
    range: LaneRange,
    breaker: Breaker,
    knock: Knock,
    controller: Controller,
}

impl LaneGate {
    /// A gate that has seen nothing yet.
    #[must_use]
    pub fn new(range: impl Into<LaneRange>, settings: LaneGateSettings, now: Timestamp) -> Self {
        let range = range.into();
        let (slowest, fastest) = range.messages_per_second;
        let controller = ControllerSettings {
            connections: CongestionSettings {
                least: range.connections.0,
                most: range.connections.1,
                start: settings.connections_start,
                ..CongestionSettings::default()
            },
            pace: PaceSettings {
                least: slowest.unwrap_or(PaceSettings::default().least),
                most: fastest,
                hold_first: settings.slow_pause,
                hold_longest: settings.slow_pause_longest,
            },
            standstill: settings.stops(),
        };
        Self {
            range,
            breaker: Breaker::new(settings.breaker),
            knock: Knock::default(),
            controller: Controller::new(controller, now),
        }
    }

    /// What it may choose from.
    #[must_use]
    pub fn range(&self) -> LaneRange {
        self.range
    }

    /// An operator or the rules say otherwise now. What was learnt stays, within it.
    pub fn set_range(&mut self, range: LaneRange, now: Timestamp) {
        if range != self.range {
            self.range = range;
            self.controller.set_range(range, now);
        }
    }

    /// How the lane yields has changed. What it learnt, counts and stands by stays; pauses get no longer than they may be.
    pub fn set_settings(&mut self, settings: &LaneGateSettings, now: Timestamp) {
        self.breaker.set_settings(settings.breaker, now);
        let holds = (settings.slow_pause, settings.slow_pause_longest);
        self.controller.set_pauses(holds, settings.stops(), now);
    }

    /// What it has learnt and decided.
    #[must_use]
    pub fn controller(&self) -> &Controller {
        &self.controller
    }

    /// The same, to begin with what was known before a restart.
    pub fn controller_mut(&mut self) -> &mut Controller {
        &mut self.controller
    }

    /// Asks to open a connection while `live` are up or being opened.
    pub fn open(&mut self, live: Live, now: Timestamp) -> Permit {
        match self.breaker.circuit(now) {
            Circuit::OpenUntil(until) => return Permit::Wait(until),
            Circuit::CanaryOut => return Permit::Full,
            Circuit::Canary if live.opening > 0 => return Permit::Full,
            Circuit::Canary | Circuit::Closed => {}
        }
        match self.knock.allowed(live, now) {
            Ok(()) => {}
            Err(Some(at)) => return Permit::Wait(at),
            Err(None) => return Permit::Full,
        }
        match self.controller.open(live.up, live.opening, now) {
            Opening::Go => {
                if self.breaker.circuit(now) == Circuit::Canary {
                    self.breaker.on_canary_sent();
                }
                self.knock.on_open(now);
                Permit::Go
            }
            Opening::At(until) => Permit::Wait(until),
            Opening::Full => Permit::Full,
        }
    }

    /// Asks to send one message on a session that is up.
    pub fn send(&mut self, now: Timestamp) -> Permit {
        match self.controller.send(now) {
            Ok(()) => Permit::Go,
            Err(until) => Permit::Wait(until),
        }
    }

    /// A message for which a permit was given was not sent after all.
    pub fn on_unused(&mut self) {
        self.controller.on_unused();
    }

    /// A connection came up; `live` counts it as up.
    pub fn on_opened(&mut self, live: Live, now: Timestamp) {
        self.breaker.on_success();
        self.knock.on_up(now);
        self.controller.on_opened(live.up, live.opening, now);
    }

    /// A connection could not be opened; `live` no longer counts it. Says whether the lane is shut by it.
    pub fn on_open_failed(&mut self, action: LaneAction, live: Live, now: Timestamp) -> bool {
        self.knock.on_failed();
        self.controller.on_open_failed(action, live.up, live.opening, now);
        if live.up == 0 {
            self.breaker.on_failure(self.controller.failures_expected(), now);
        }
        self.shut_until(now).is_some()
    }

    /// Connections that the lane never has more of.
    #[must_use]
    pub fn connections_most(&self) -> u32 {
        self.controller.connections_most()
    }

    /// A connection hung until it was given up, beside others that are up: some host never answers.
    pub fn on_open_hung(&mut self) {
        self.controller.on_open_hung();
    }

    /// A connection for which a permit was given will never be heard of.
    pub fn on_open_lost(&mut self) {
        self.breaker.on_canary_lost();
    }

    /// No connection is left, so whatever was on its way, canaries too, will never be heard of.
    pub fn on_nobody_left(&mut self) {
        self.breaker.on_canary_lost();
        self.controller.on_canary_lost();
    }

    /// The provider answered a message while `live` were up or being opened. A delivery is as good a proof as a canary.
    pub fn on_answer(&mut self, answer: Answer, live: Live, now: Timestamp) {
        if answer.delivered && !matches!(self.breaker.circuit(now), Circuit::OpenUntil(_)) {
            self.breaker.on_success();
        }
        self.controller.on_answer(answer, live.up, live.opening, now);
    }

    /// How the lane stands, and until when, where that is known.
    #[must_use]
    pub fn standing(&self, now: Timestamp) -> (LaneStanding, Option<Timestamp>) {
        match (self.controller.standing(now), self.breaker.circuit(now)) {
            (Standing::Until(until), _) => (LaneStanding::Stopped, Some(until)),
            (Standing::Canary, _) => (LaneStanding::Canary, None),
            (Standing::CanaryOut(until), _) => (LaneStanding::Canary, Some(until)),
            (Standing::Clear, Circuit::OpenUntil(until)) => (LaneStanding::Unreachable, Some(until)),
            (Standing::Clear, Circuit::Canary | Circuit::CanaryOut) => (LaneStanding::Unreachable, None),
            (Standing::Clear, Circuit::Closed) if self.controller.is_held() => (LaneStanding::Slow, None),
            (Standing::Clear, Circuit::Closed) => (LaneStanding::Open, None),
        }
    }

    /// Until when the lane takes no connection at all, if that is so.
    #[must_use]
    pub fn shut_until(&self, now: Timestamp) -> Option<Timestamp> {
        let stopped = match self.controller.standing(now) {
            Standing::Until(until) => Some(until),
            Standing::Clear | Standing::Canary | Standing::CanaryOut(_) => None,
        };
        match self.breaker.circuit(now) {
            Circuit::OpenUntil(until) => Some(stopped.map_or(until, |stopped| stopped.max(until))),
            Circuit::Closed | Circuit::Canary | Circuit::CanaryOut => stopped,
        }
    }

    /// Messages that one connection may carry.
    #[must_use]
    pub fn messages_per_connection(&self) -> u32 {
        let learnt = self.controller.messages_per_connection().unwrap_or(u32::MAX);
        self.range.messages_per_connection.min(learnt).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::LaneLimits;

    const SECOND: u64 = 1_000;

    fn gate(connections: u32, rate: Option<f64>) -> LaneGate {
        let limits = LaneLimits {
            connections,
            messages_per_connection: 20,
            messages_per_second: rate,
        };
        let settings = LaneGateSettings {
            connections_start: connections,
            ..LaneGateSettings::default()
        };
        LaneGate::new(limits, settings, Timestamp(0))
    }

    fn up(up: u32) -> Live {
        Live { up, opening: 0 }
    }

    fn answer(action: LaneAction, delivered: bool, started: u64) -> Answer {
        Answer {
            action,
            delivered,
            started: Timestamp(started),
            busy: 1,
            before: None,
        }
    }

    #[test]
    fn one_knocks_at_a_dead_host_and_a_live_one_fills_up_in_a_few_turns() {
        let mut gate = gate(50, None);
        assert_eq!(gate.open(Live { up: 0, opening: 1 }, Timestamp(0)), Permit::Full);
        assert_eq!(gate.open(Live { up: 4, opening: 3 }, Timestamp(0)), Permit::Go);
        assert_eq!(
            gate.open(Live { up: 4, opening: 4 }, Timestamp(0)),
            Permit::Wait(Timestamp(SECOND))
        );
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
    fn a_refused_connection_lowers_the_ceiling_to_what_is_up_and_one_more_is_tried_after_a_while() {
        let mut gate = gate(5, None);
        gate.on_open_failed(LaneAction::FewerConnections, up(2), Timestamp(0));
        assert_eq!(
            gate.open(up(1), Timestamp(1)),
            Permit::Go,
            "what is known to be allowed"
        );
        assert!(matches!(gate.open(up(2), Timestamp(1)), Permit::Wait(_)));
        assert_eq!(gate.open(up(2), Timestamp(60 * SECOND)), Permit::Go, "the probe");
        assert_eq!(
            gate.open(Live { up: 2, opening: 1 }, Timestamp(60 * SECOND)),
            Permit::Full,
            "one at a time"
        );
    }

    #[test]
    fn too_fast_holds_the_lane_for_a_canary_and_its_delivery_opens_it() {
        let mut gate = gate(5, None);
        assert_eq!(gate.send(Timestamp(0)), Permit::Go);
        gate.on_answer(answer(LaneAction::Slow, false, 0), up(3), Timestamp(100));
        let Permit::Wait(until) = gate.send(Timestamp(101)) else {
            panic!("it must wait")
        };
        assert_eq!(gate.send(until), Permit::Go, "the canary");
        assert!(matches!(gate.send(until), Permit::Wait(_)), "nothing besides it");
        gate.on_answer(
            answer(LaneAction::None, true, until.0),
            up(3),
            until.plus(Duration::from_secs(1)),
        );
        assert_eq!(gate.send(until.plus(Duration::from_secs(3))), Permit::Go);
    }

    #[test]
    fn stop_shuts_the_lane_and_then_lets_one_message_try() {
        let mut gate = gate(5, None);
        gate.on_answer(
            answer(LaneAction::Stop(Duration::from_secs(60)), false, 0),
            up(3),
            Timestamp(0),
        );
        let over = Timestamp(600 * SECOND);
        assert_eq!(gate.shut_until(Timestamp(SECOND)), Some(over), "ten minutes at least");
        assert_eq!(gate.open(up(0), Timestamp(SECOND)), Permit::Wait(over));
        assert_eq!(gate.open(up(0), over), Permit::Go);
        assert_eq!(
            gate.open(Live { up: 0, opening: 1 }, over),
            Permit::Full,
            "one canary at a time"
        );
        gate.on_opened(up(1), over);
        assert_eq!(gate.send(over), Permit::Go);
        assert!(matches!(gate.send(over), Permit::Wait(_)), "one message");
        assert_eq!(gate.open(up(1), over), Permit::Full);
        gate.on_answer(
            answer(LaneAction::None, true, over.0 + 1),
            up(1),
            Timestamp(601 * SECOND),
        );
        assert_eq!(gate.open(up(0), Timestamp(602 * SECOND)), Permit::Go);
        assert_eq!(
            gate.open(up(1), Timestamp(602 * SECOND)),
            Permit::Full,
            "from one connection up"
        );
    }

    #[test]
    fn a_delivery_that_began_before_a_stop_does_not_end_it() {
        let mut gate = gate(5, None);
        let stop = LaneAction::Stop(Duration::from_secs(600));
        gate.on_answer(answer(stop, false, 0), up(3), Timestamp(SECOND));
        gate.on_answer(answer(LaneAction::None, true, 500), up(3), Timestamp(700 * SECOND));
        assert_eq!(gate.send(Timestamp(700 * SECOND)), Permit::Go, "the canary");
        assert!(matches!(gate.send(Timestamp(700 * SECOND)), Permit::Wait(_)));
    }

    #[test]
    fn a_failed_connection_shuts_the_lane_only_when_no_other_is_up() {
        let mut gate = gate(5, None);
        for _ in 0..10 {
            assert!(!gate.on_open_failed(LaneAction::None, up(1), Timestamp(0)));
        }
        assert!(!gate.on_open_failed(LaneAction::None, up(0), Timestamp(0)));
        assert!(!gate.on_open_failed(LaneAction::None, up(0), Timestamp(0)));
        assert!(gate.on_open_failed(LaneAction::None, up(0), Timestamp(0)));
    }

    #[test]
    fn other_settings_count_for_what_comes_and_cut_a_stop_that_is_too_long() {
        let mut gate = gate(5, None);
        let stop = LaneAction::Stop(Duration::from_secs(60));
        gate.on_answer(answer(stop, false, 0), up(3), Timestamp(0));
        gate.set_settings(&LaneGateSettings::default(), Timestamp(SECOND));
        assert_eq!(
            gate.shut_until(Timestamp(SECOND)),
            Some(Timestamp(600 * SECOND)),
            "as it was"
        );
        let short = LaneGateSettings {
            stop_longest: Duration::from_secs(30),
            ..LaneGateSettings::default()
        };
        gate.set_settings(&short, Timestamp(SECOND));
        assert_eq!(gate.shut_until(Timestamp(SECOND)), Some(Timestamp(31 * SECOND)));
        let (canary, back) = (Timestamp(31 * SECOND), Timestamp(32 * SECOND));
        assert_eq!(gate.send(canary), Permit::Go);
        gate.on_answer(answer(LaneAction::None, true, canary.0), up(1), back);
        assert_eq!(gate.shut_until(back), None);
    }

    #[test]
    fn other_pauses_count_from_the_next_refusal_on() {
        let mut gate = gate(5, None);
        let pauses = LaneGateSettings {
            slow_pause: Duration::from_secs(7),
            ..LaneGateSettings::default()
        };
        gate.set_settings(&pauses, Timestamp(0));
        assert_eq!(gate.send(Timestamp(SECOND)), Permit::Go);
        gate.on_answer(answer(LaneAction::Slow, false, SECOND), up(1), Timestamp(SECOND));
        assert_eq!(gate.send(Timestamp(SECOND)), Permit::Wait(Timestamp(8 * SECOND)));
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
