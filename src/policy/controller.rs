//! The learning controller of a lane: connections and message rate, from what the provider says.
//!
//! Takes every answer of the provider with the time its message began, connections that came up or did not, and `now`;
//! gives permits, and a record of each decision: when, what, from which signal, old → new. Puts together
//! `congestion` (connections), `pace` (message rate), `standstill` (blocks for reputation) and what was learnt of messages
//! per connection. A signal about one of them never moves another, but for a block, which resets all. Operators' pins are
//! in the settings and always hold. Never looks at the text of a reply and never counts failures of hosts: `breaker` does.

use std::collections::VecDeque;
use std::time::Duration;

use crate::domain::{LaneAction, Timestamp};
use crate::policy::congestion::{Congestion, CongestionMemory, CongestionSettings, Opening};
use crate::policy::pace::{Pace, PaceChange, PaceSettings};
use crate::policy::standstill::{Standing, Standstill, StandstillSettings};

/// Decisions that are kept for a lane.
pub const DECISIONS_MAX: usize = 100;

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

/// What a decision is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decided {
    /// Connections of the lane.
    Connections,
    /// Messages a second; infinite: no limit is known.
    Rate,
    /// Messages on one connection.
    MessagesPerConnection,
    /// Seconds that the lane stands still; 0: it goes on.
    Stop,
}

/// What it was decided from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// A message was delivered.
    Delivered,
    /// A connection came up.
    Opened,
    /// The provider said: too many connections.
    TooManyConnections,
    /// A connection failed without a word.
    OpenFailed,
    /// The provider said: too fast.
    TooFast,
    /// The provider blocked the lane for its reputation.
    Blocked,
    /// The provider said: enough messages on this connection.
    Reconnect,
}

/// One decision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decision {
    /// When.
    pub at: Timestamp,
    /// About what.
    pub what: Decided,
    /// From which signal.
    pub signal: Signal,
    /// The value before.
    pub from: f64,
    /// The value from now on.
    pub to: f64,
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
    messages_per_connection: Option<u32>,
    decisions: VecDeque<Decision>,
}

impl Controller {
    /// Knows nothing but its pins.
    #[must_use]
    pub fn new(settings: ControllerSettings, now: Timestamp) -> Self {
        Self {
            connections: Congestion::new(settings.connections, now),
            pace: Pace::new(settings.pace, now),
            standstill: Standstill::new(settings.standstill),
            messages_per_connection: None,
            decisions: VecDeque::new(),
        }
    }

    /// Begins with half of what was known before a restart.
    pub fn restore(&mut self, memory: ControllerMemory, now: Timestamp) {
        self.connections.restore(memory.connections);
        self.pace.restore(memory.rate, now);
        self.messages_per_connection = memory.messages_per_connection.map(|most| most.max(1));
        self.standstill.restore(memory.doublings, memory.stopped_until);
    }

    /// What to remember over a restart.
    #[must_use]
    pub fn memory(&self) -> ControllerMemory {
        let (doublings, stopped_until) = self.standstill.memory();
        ControllerMemory {
            connections: self.connections.memory(),
            rate: self.pace.cruise(),
            messages_per_connection: self.messages_per_connection,
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
        self.messages_per_connection
    }

    /// The latest decisions, oldest first.
    pub fn decisions(&self) -> impl Iterator<Item = &Decision> {
        self.decisions.iter()
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

    /// A connection came up; `up` counts it.
    pub fn on_opened(&mut self, up: u32, now: Timestamp) {
        let old = self.connections.on_opened(up, now);
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

    /// The provider answered a message while so many connections were up and opening.
    pub fn on_answer(&mut self, answer: Answer, up: u32, opening: u32, now: Timestamp) {
        if answer.delivered {
            self.delivered(&answer, now);
        }
        match answer.action {
            LaneAction::None if answer.delivered => {}
            LaneAction::None => self.told_nothing(answer.started),
            LaneAction::Reconnect => {
                self.told_nothing(answer.started);
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

    /// An answer about something else: a canary that met it may be sent again.
    fn told_nothing(&mut self, started: Timestamp) {
        self.pace.on_other(started);
        self.standstill.on_canary_lost();
    }

    fn delivered(&mut self, answer: &Answer, now: Timestamp) {
        if self.standstill.on_delivered(answer.started, now) {
            self.connections.on_block_over(now);
            self.log(Decided::Stop, Signal::Delivered, (1.0, 0.0), now);
        }
        let change = self.pace.on_delivered(answer.started, now);
        self.log_rate(change, Signal::Delivered, now);
        let old = self
            .connections
            .on_delivered(now.since(answer.started), answer.busy, now);
        self.log_connections(old, Signal::Delivered, now);
    }

    fn stop(&mut self, asked: Duration, started: Timestamp, now: Timestamp) {
        let Some(until) = self.standstill.on_stop(asked, started, now) else {
            return;
        };
        self.log(
            Decided::Stop,
            Signal::Blocked,
            (0.0, until.since(now).as_secs_f64()),
            now,
        );
        let old = self.connections.target();
        self.connections.on_block(now);
        self.log_connections(Some(old), Signal::Blocked, now);
        let change = self.pace.on_block(now);
        self.log_rate(change, Signal::Blocked, now);
    }

    fn learn_messages(&mut self, before: Option<u32>, now: Timestamp) {
        let Some(before) = before.map(|before| before.max(1)) else {
            return;
        };
        let old = self.messages_per_connection;
        if old.is_none_or(|known| before < known) {
            self.messages_per_connection = Some(before);
            let from = old.map_or(f64::INFINITY, f64::from);
            self.log(
                Decided::MessagesPerConnection,
                Signal::Reconnect,
                (from, f64::from(before)),
                now,
            );
        }
    }

    fn log_connections(&mut self, old: Option<u32>, signal: Signal, now: Timestamp) {
        if let Some(old) = old {
            let new = self.connections.target();
            self.log(Decided::Connections, signal, (f64::from(old), f64::from(new)), now);
        }
    }

    fn log_rate(&mut self, change: Option<PaceChange>, signal: Signal, now: Timestamp) {
        if let Some((old, new)) = change {
            let value = |rate: Option<f64>| rate.unwrap_or(f64::INFINITY);
            self.log(Decided::Rate, signal, (value(old), value(new)), now);
        }
    }

    fn log(&mut self, what: Decided, signal: Signal, (from, to): (f64, f64), at: Timestamp) {
        // Steps of one growth are one decision.
        let grows = matches!(signal, Signal::Delivered | Signal::Opened) && what == Decided::Connections;
        if let Some(last) = self
            .decisions
            .back_mut()
            .filter(|last| grows && last.what == what && last.signal == signal)
        {
            last.to = to;
            return;
        }
        if self.decisions.len() >= DECISIONS_MAX {
            self.decisions.pop_front();
        }
        self.decisions.push_back(Decision {
            at,
            what,
            signal,
            from,
            to,
        });
    }
}

#[cfg(test)]
mod tests;
