//! Decisions of a lane's controller, as people read them: when, about what, from which reply, old → new value.
//!
//! Takes decisions one by one, and what the other side said when they were made; gives the latest ones. Steps of one growth
//! are one decision. Decides nothing. Bounded: the oldest go first, and a reply is cut.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::domain::{Attempt, AttemptOutcome, Cause, Timestamp};

/// Decisions that are kept for a lane.
pub const DECISIONS_MAX: usize = 100;
/// Bytes of a reply that are kept.
pub const SAID_BYTES_MAX: usize = 200;

/// What a decision is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decided {
    /// Connections of the lane.
    Connections,
    /// Messages a second; infinite: no limit is known.
    Rate,
    /// Messages on one connection; infinite: no limit is known.
    MessagesPerConnection,
    /// Seconds that the lane stands still; 0: it goes on.
    Stop,
}

impl Decided {
    /// The name that API and metrics use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Rate => "rate",
            Self::MessagesPerConnection => "messages_per_connection",
            Self::Stop => "stop",
        }
    }
}

/// What it was decided from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
    /// The provider blocked the addresses around this one.
    NeighbourBlocked,
    /// The provider said: enough messages on this connection.
    Reconnect,
    /// An operator moved a pin.
    Pinned,
    /// What was learnt long ago is tried again.
    Forgotten,
    /// Nothing: a pin on trial would have changed it.
    WouldHave,
}

impl Signal {
    /// The name that API and metrics use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Opened => "opened",
            Self::TooManyConnections => "too_many_connections",
            Self::OpenFailed => "open_failed",
            Self::TooFast => "too_fast",
            Self::Blocked => "blocked",
            Self::NeighbourBlocked => "neighbour_blocked",
            Self::Reconnect => "reconnect",
            Self::Pinned => "pinned",
            Self::Forgotten => "forgotten",
            Self::WouldHave => "would_have",
        }
    }
}

/// What the other side said, and how we read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// SMTP code; none: there was no reply.
    pub code: Option<u16>,
    /// The reply, or what went wrong instead; at most [`SAID_BYTES_MAX`] bytes.
    pub said: String,
    /// The rule that judged it.
    pub rule: Arc<str>,
}

impl Evidence {
    /// What came of an attempt, judged as `cause`.
    #[must_use]
    pub fn of(attempt: &Attempt, cause: &Cause) -> Self {
        let (code, said) = match &attempt.outcome {
            AttemptOutcome::Accepted(reply) | AttemptOutcome::Refused(reply) => {
                let enhanced = reply.enhanced.map_or_else(String::new, |code| format!("{code} "));
                (Some(reply.code), format!("{enhanced}{}", cut(&reply.text)))
            }
            AttemptOutcome::Failed(failure) => (None, failure.to_string()),
        };
        Self {
            code,
            said: cut(&said).to_owned(),
            rule: Arc::clone(&cause.rule),
        }
    }
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(SAID_BYTES_MAX)]
}

/// One decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Counts from 1 over all decisions of the lane.
    pub number: u64,
    /// When it was made; of a growth, when it began.
    pub at: Timestamp,
    /// About what.
    pub what: Decided,
    /// From which signal.
    pub signal: Signal,
    /// The value before.
    pub from: f64,
    /// The value from now on.
    pub to: f64,
    /// What the other side said, if it said something.
    pub evidence: Option<Arc<Evidence>>,
}

/// The latest decisions of a lane.
#[derive(Debug, Clone, Default)]
pub struct DecisionLog {
    latest: VecDeque<Decision>,
    count: u64,
    changes: u64,
}

impl DecisionLog {
    /// The latest, oldest first.
    pub fn latest(&self) -> impl ExactSizeIterator<Item = &Decision> {
        self.latest.iter()
    }

    /// How many there have been.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Moves with each decision, and with each step of a growth.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// One more decision.
    pub fn add(&mut self, what: Decided, signal: Signal, (from, to): (f64, f64), at: Timestamp) {
        self.changes += 1;
        let grows = matches!(signal, Signal::Delivered | Signal::Opened) && what == Decided::Connections;
        if let Some(last) = self
            .latest
            .back_mut()
            .filter(|last| grows && last.what == what && last.signal == signal)
        {
            last.to = to;
            return;
        }
        if self.latest.len() >= DECISIONS_MAX {
            self.latest.pop_front();
        }
        self.count += 1;
        self.latest.push_back(Decision {
            number: self.count,
            at,
            what,
            signal,
            from,
            to,
            evidence: None,
        });
    }

    /// Whatever was decided after the first `count` decisions was decided because of this.
    pub fn explain(&mut self, count: u64, evidence: &Arc<Evidence>) {
        let later = self.latest.iter_mut().rev().take_while(|one| one.number > count);
        later.for_each(|one| one.evidence = Some(Arc::clone(evidence)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Arc<Evidence> {
        Arc::new(Evidence {
            code: Some(421),
            said: text.to_owned(),
            rule: Arc::from("rule"),
        })
    }

    #[test]
    fn steps_of_one_growth_are_one_decision_and_the_oldest_go_first() {
        let mut log = DecisionLog::default();
        for step in 0..10_u32 {
            let step = f64::from(step);
            log.add(
                Decided::Connections,
                Signal::Delivered,
                (step, step + 1.0),
                Timestamp(1),
            );
        }
        assert_eq!((log.count(), log.changes()), (1, 10));
        assert_eq!(log.latest().next().map(|one| (one.from, one.to)), Some((0.0, 10.0)));
        for _ in 0..DECISIONS_MAX {
            log.add(Decided::Rate, Signal::TooFast, (2.0, 1.0), Timestamp(2));
        }
        assert_eq!(log.latest().len(), DECISIONS_MAX);
        assert_eq!(log.latest().next().map(|one| one.number), Some(2));
    }

    #[test]
    fn what_was_said_explains_what_was_decided_then_and_nothing_older() {
        let mut log = DecisionLog::default();
        log.add(Decided::Rate, Signal::TooFast, (2.0, 1.0), Timestamp(1));
        let before = log.count();
        log.add(Decided::Stop, Signal::Blocked, (0.0, 600.0), Timestamp(2));
        log.add(Decided::Connections, Signal::Blocked, (9.0, 1.0), Timestamp(2));
        log.explain(before, &said("no"));
        let explained: Vec<bool> = log.latest().map(|one| one.evidence.is_some()).collect();
        assert_eq!(explained, [false, true, true]);
    }

    #[test]
    fn a_long_reply_is_cut_between_characters() {
        let long = "é".repeat(SAID_BYTES_MAX);
        assert_eq!(cut(&long).len(), SAID_BYTES_MAX);
        assert_eq!(cut(&long[2..].replacen('é', "a", 1)).len(), SAID_BYTES_MAX - 1);
    }
}
