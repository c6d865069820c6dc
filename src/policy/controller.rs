//! The learning controller of a lane: connections and message rate, from what the provider says.
//!
//! Takes every answer of the provider with the time its message began, connections that came up or did not, and `now`;
//! gives permits, and a record of each decision: when, what, from which signal, old → new. Puts together
//! `congestion` (connections), `pace` (message rate), `standstill` (blocks for reputation) and what was learnt of messages
//! per connection. A signal about one of them never moves another, but for a block, which resets all. Operators' pins are
//! in the settings and always hold. Never looks at the text of a reply and never counts failures of hosts: `breaker` does.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::{LaneAction, Timestamp};
use crate::policy::congestion::{Congestion, CongestionMemory, CongestionSettings, Opening};
use crate::policy::decision::DecisionLog;
pub use crate::policy::decision::{DECISIONS_MAX, Decided, Decision, Evidence, Signal};
use crate::policy::pace::{Pace, PaceChange, PaceSettings};
use crate::policy::pin_trial::WouldHave;
use crate::policy::pins::LaneRange;
use crate::policy::session_limit::SessionLimit;
use crate::policy::standstill::{Standing, Standstill, StandstillSettings};

/// Pins and pauses of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ControllerSettings {
    /// Connections.
    pub connections: CongestionSettings,
    /// Messages a second.
    pub pace: PaceSettings,
    /// Blocks for reputation.
    pub standstill: StandstillSettings,
}

/// What the provider answered to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Its wish for the lane.
    pub action: LaneAction,
    /// Whether that was a delivery.
    pub delivered: bool,
    /// When the message was given to its session.
    pub started: Timestamp,
    /// Sessions that had a message in hand, this one's included, or were being opened.
    pub busy: u32,
    /// Messages that its connection had carried before it.
    pub before: Option<u32>,
}

/// What is remembered over a restart: the lane goes on at half of it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ControllerMemory {
    /// Connections.
    pub connections: CongestionMemory,
    /// Messages a second, if a limit was learnt.
    pub rate: Option<f64>,
    /// Messages on one connection, if a limit was learnt.
    pub messages_per_connection: Option<u32>,
    /// How often stops have doubled.
    pub doublings: u32,
    /// The end of a stop that may not be over.
    pub stopped_until: Option<Timestamp>,
}

/// The controller of one lane.
#[derive(Debug, Clone)]
pub struct Controller {
    connections: Congestion,
    pace: Pace,
    standstill: Standstill,
    session_limit: SessionLimit,
    log: DecisionLog,
}

impl Controller {
    /// Knows nothing but its pins.
    #[must_use]
    pub fn new(settings: ControllerSettings, now: Timestamp) -> Self {
        Self {
            connections: Congestion::new(settings.connections, now),
            pace: Pace::new(settings.pace, now),
            standstill: Standstill::new(settings.standstill),
            session_limit: SessionLimit::default(),
            log: DecisionLog::default(),
        }
    }

    /// Begins with half of what was known before a restart.
    pub fn restore(&mut self, memory: ControllerMemory, now: Timestamp) {
        self.connections.restore(memory.connections);
        self.pace.restore(memory.rate, now);
        self.session_limit.restore(memory.messages_per_connection, now);
        self.standstill.restore(memory.doublings, memory.stopped_until);
    }

    /// What to remember over a restart.
    #[must_use]
    pub fn memory(&self) -> ControllerMemory {
        let (doublings, stopped_until) = self.standstill.memory();
        ControllerMemory {
            connections: self.connections.memory(),
            rate: self.pace.cruise(),
            messages_per_connection: self.session_limit.limit(),
            doublings,
            stopped_until,
        }
    }

    /// Where it stands after a block for reputation.
    #[must_use]
    pub fn standing(&self, now: Timestamp) -> Standing {
        self.standstill.standing(now)
    }

    /// Connections that are used while there is work.
    #[must_use]
    pub fn connections(&self) -> u32 {
        self.connections.target()
    }

    /// The highest number of connections that is known to be allowed while more was refused.
    #[must_use]
    pub fn ceiling(&self) -> Option<u32> {
        self.connections.ceiling()
    }

    /// Failures in a row to open a connection that are no outage here.
    #[must_use]
    pub fn failures_expected(&self) -> u32 {
        self.connections.failures_expected()
    }

    /// Messages a second that are allowed now; none: no limit is known.
    #[must_use]
    pub fn rate(&self, now: Timestamp) -> Option<f64> {
        self.pace.rate(now)
    }

    /// Messages that one connection carries, as far as the provider has said.
    #[must_use]
    pub fn messages_per_connection(&self) -> Option<u32> {
        self.session_limit.limit()
    }

    /// Whether nothing but a canary goes out, because the provider closed the door on the rate.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.pace.is_held()
    }

    /// The latest decisions, oldest first.
    pub fn decisions(&self) -> impl ExactSizeIterator<Item = &Decision> {
        self.log.latest()
    }

    /// How many decisions there have been.
    #[must_use]
    pub fn decided(&self) -> u64 {
        self.log.count()
    }

    /// Moves with each decision, and with each step of a growth.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.log.changes()
    }

    /// Whatever was decided after the first `decided` decisions was decided because of this.
    pub fn explain(&mut self, decided: u64, evidence: &Arc<Evidence>) {
        self.log.explain(decided, evidence);
    }

    /// An operator moved the pins: what was learnt stays, within them.
    pub fn set_range(&mut self, range: LaneRange, now: Timestamp) {
        let old = self.connections.target();
        self.connections.set_pins(range.connections.0, range.connections.1);
        self.log_connections(
            Some(old).filter(|old| *old != self.connections.target()),
            Signal::Pinned,
            now,
        );
        let old = self.pace.rate(now);
        let (slowest, fastest) = range.messages_per_second;
        self.pace.set_pins(slowest, fastest);
        let new = self.pace.rate(now);
        self.log_rate(Some((old, new)).filter(|(old, new)| old != new), Signal::Pinned, now);
    }

    /// Other pauses after "too fast" (the first and the longest), other lengths of stops. What was learnt stays.
    pub fn set_pauses(&mut self, (first, longest): (Duration, Duration), stops: StandstillSettings, now: Timestamp) {
        self.pace.set_pauses(first, longest);
        self.standstill.set_lengths(stops.least, stops.longest, now);
    }

    /// A pin on trial would have changed something: it stands in the log, and changes nothing.
    pub fn note_would_have(&mut self, would: &WouldHave, now: Timestamp) {
        self.log.add(would.what, Signal::WouldHave, (would.from, would.to), now);
    }

    /// Time passed.
    pub fn on_time(&mut self, now: Timestamp) {
        let old = self.session_limit.limit();
        if self.session_limit.on_time(now) {
            self.log_messages(old, Signal::Forgotten, now);
        }
    }

    /// Never more connections than this.
    #[must_use]
    pub fn connections_most(&self) -> u32 {
        self.connections.most()
    }

    /// Whether one more connection may be opened while so many are `up` and `opening`. A canary has the lane for itself.
    pub fn open(&mut self, up: u32, opening: u32, now: Timestamp) -> Opening {
        match self.standstill.standing(now) {
            Standing::Until(until) => Opening::At(until),
            Standing::CanaryOut(_) => Opening::Full,
            Standing::Canary if up + opening > 0 => Opening::Full,
            Standing::Canary => Opening::Go,
            Standing::Clear => self.connections.open(up, opening, now),
        }
    }

    /// Takes the permit for one message, or tells when to ask again.
    ///
    /// # Errors
    /// Not before this time.
    pub fn send(&mut self, now: Timestamp) -> Result<(), Timestamp> {
        match self.standstill.standing(now) {
            Standing::Until(until) | Standing::CanaryOut(until) => Err(until),
            Standing::Canary => {
                self.standstill.on_canary_sent(now);
                Ok(())
            }
            Standing::Clear => {
                let taken = self.pace.take(now);
                let change = self.pace.take_change();
                self.log_rate(change, Signal::Delivered, now);
                taken
            }
        }
    }

    /// A message for which a permit was given was not sent after all.
    pub fn on_unused(&mut self) {
        self.pace.put_back();
        self.standstill.on_canary_lost();
    }

    /// Canaries that are out will never be heard of: others may be sent.
    pub fn on_canary_lost(&mut self) {
        self.pace.on_canary_lost();
        self.standstill.on_canary_lost();
    }

    /// A connection came up; `up` counts it, `opening` others are under way.
    pub fn on_opened(&mut self, up: u32, opening: u32, now: Timestamp) {
        let old = self.connections.on_opened(up, opening, now);
        self.log_connections(old, Signal::Opened, now);
    }

    /// A connection could not be opened, while `up` were up and `opening` others under way.
    pub fn on_open_failed(&mut self, action: LaneAction, up: u32, opening: u32, now: Timestamp) {
        match action {
            LaneAction::FewerConnections => {
                let old = self.connections.on_refused(true, up, opening, now);
                self.log_connections(old, Signal::TooManyConnections, now);
            }
            LaneAction::None | LaneAction::Reconnect => {
                let old = self.connections.on_refused(false, up, opening, now);
                self.log_connections(old, Signal::OpenFailed, now);
            }
            LaneAction::Slow => {
                let change = self.pace.on_refused(now, now);
                self.log_rate(change, Signal::TooFast, now);
            }
            LaneAction::Stop(asked) => self.stop(asked, now, now),
        }
    }

    /// A connection hung until it was given up: it held no place, so that it says nothing of how many there are.
    pub fn on_open_hung(&mut self) {
        self.connections.on_hung();
    }

    /// The provider answered a message while so many connections were up and opening.
    pub fn on_answer(&mut self, answer: Answer, up: u32, opening: u32, now: Timestamp) {
        if answer.delivered {
            self.delivered(&answer, now);
        }
        match answer.action {
            LaneAction::None if answer.delivered => {}
            LaneAction::None => self.on_unanswered(answer.started),
            LaneAction::Reconnect => {
                self.on_unanswered(answer.started);
                self.learn_messages(answer.before, now);
            }
            LaneAction::FewerConnections => {
                let old = self.connections.on_refused(true, up.saturating_sub(1), opening, now);
                self.log_connections(old, Signal::TooManyConnections, now);
            }
            LaneAction::Slow => {
                let change = self.pace.on_refused(answer.started, now);
                self.log_rate(change, Signal::TooFast, now);
            }
            LaneAction::Stop(asked) => self.stop(asked, answer.started, now),
        }
    }

    /// What was begun at `started` was not answered, or the answer was about something else: a canary may be sent again.
    pub fn on_unanswered(&mut self, started: Timestamp) {
        self.pace.on_other(started);
        self.standstill.on_other(started);
    }

    fn delivered(&mut self, answer: &Answer, now: Timestamp) {
        if self.standstill.on_delivered(answer.started, now) {
            self.connections.on_block_over(now);
            self.log.add(Decided::Stop, Signal::Delivered, (1.0, 0.0), now);
        }
        let change = self.pace.on_delivered(answer.started, now);
        self.log_rate(change, Signal::Delivered, now);
        let old = self
            .connections
            .on_delivered(now.since(answer.started), answer.busy, now);
        self.log_connections(old, Signal::Delivered, now);
    }

    fn stop(&mut self, asked: Duration, started: Timestamp, now: Timestamp) {
        if let Some(until) = self.standstill.on_stop(asked, started, now) {
            self.stopped(until, Signal::Blocked, now);
        }
    }

    /// The provider blocked the addresses around this lane's: it stands still until then.
    pub fn on_neighbour_blocked(&mut self, until: Timestamp, now: Timestamp) {
        if let Some(until) = self.standstill.on_stop_until(until, now) {
            self.stopped(until, Signal::NeighbourBlocked, now);
        }
    }

    fn stopped(&mut self, until: Timestamp, signal: Signal, now: Timestamp) {
        self.log
            .add(Decided::Stop, signal, (0.0, until.since(now).as_secs_f64()), now);
        let old = self.connections.target();
        self.connections.on_block(now);
        self.log_connections(Some(old), signal, now);
        let change = self.pace.on_block(now);
        self.log_rate(change, signal, now);
    }

    fn learn_messages(&mut self, before: Option<u32>, now: Timestamp) {
        let old = self.session_limit.limit();
        if before.is_some_and(|before| self.session_limit.on_enough(before, now)) {
            self.log_messages(old, Signal::Reconnect, now);
        }
    }

    fn log_messages(&mut self, old: Option<u32>, signal: Signal, now: Timestamp) {
        let value = |limit: Option<u32>| limit.map_or(f64::INFINITY, f64::from);
        let change = (value(old), value(self.session_limit.limit()));
        self.log.add(Decided::MessagesPerConnection, signal, change, now);
    }

    fn log_connections(&mut self, old: Option<u32>, signal: Signal, now: Timestamp) {
        if let Some(old) = old {
            let new = self.connections.target();
            self.log
                .add(Decided::Connections, signal, (f64::from(old), f64::from(new)), now);
        }
    }

    fn log_rate(&mut self, change: Option<PaceChange>, signal: Signal, now: Timestamp) {
        if let Some((old, new)) = change {
            let value = |rate: Option<f64>| rate.unwrap_or(f64::INFINITY);
            self.log.add(Decided::Rate, signal, (value(old), value(new)), now);
        }
    }
}

#[cfg(test)]
mod tests;
