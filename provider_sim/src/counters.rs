//! What a provider answered, counted by reason.
//!
//! Takes one call per decision, gives a snapshot that serialises. Scripted answers are counted as scripted, nothing else.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Why a provider did not accept something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Too many connections from one IP.
    ConnectionLimit,
    /// Too many messages on one connection.
    MessagesPerConnection,
    /// Too many messages from one IP.
    Rate,
    /// First contact.
    Greylisted,
    /// No such user.
    UnknownUser,
    /// Mailbox full.
    MailboxFull,
    /// Content refused.
    Content,
    /// Message too big.
    TooBig,
    /// The receiver could not write its journal.
    Storage,
    /// Blocked for reputation.
    Reputation,
}

impl Reason {
    /// Whether the receiver closes after saying so, whatever the code.
    pub(crate) fn ends_connection(self) -> bool {
        matches!(
            self,
            Self::ConnectionLimit | Self::MessagesPerConnection | Self::Reputation
        )
    }
}

const REASONS: [Reason; 10] = [
    Reason::ConnectionLimit,
    Reason::MessagesPerConnection,
    Reason::Rate,
    Reason::Greylisted,
    Reason::UnknownUser,
    Reason::MailboxFull,
    Reason::Content,
    Reason::TooBig,
    Reason::Storage,
    Reason::Reputation,
];

/// The counts, as they were at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Connections taken, refused ones included.
    pub connections: u64,
    /// The most connections at once.
    pub connections_peak: u64,
    /// MAIL commands.
    pub transactions: u64,
    /// Messages accepted: each is one or several copies.
    pub messages_accepted: u64,
    /// Copies accepted: one per recipient.
    pub accepted: u64,
    /// Answers with 4xx, by reason.
    pub deferred: BTreeMap<Reason, u64>,
    /// Answers with 5xx, by reason.
    pub rejected: BTreeMap<Reason, u64>,
    /// Stages at which the script, not the behaviour, answered.
    pub scripted: u64,
    /// Connections that were closed without a word, as a scenario has it.
    pub silent: u64,
}

impl Counters {
    /// All deferrals.
    #[must_use]
    pub fn deferred_total(&self) -> u64 {
        self.deferred.values().sum()
    }

    /// All rejections.
    #[must_use]
    pub fn rejected_total(&self) -> u64 {
        self.rejected.values().sum()
    }

    /// Deferrals for this reason.
    #[must_use]
    pub fn deferred_for(&self, reason: Reason) -> u64 {
        self.deferred.get(&reason).copied().unwrap_or(0)
    }

    /// Rejections for this reason.
    #[must_use]
    pub fn rejected_for(&self, reason: Reason) -> u64 {
        self.rejected.get(&reason).copied().unwrap_or(0)
    }
}

/// The live counts.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) connections: AtomicU64,
    open: AtomicU64,
    peak: AtomicU64,
    pub(crate) transactions: AtomicU64,
    pub(crate) messages_accepted: AtomicU64,
    pub(crate) accepted: AtomicU64,
    pub(crate) scripted: AtomicU64,
    pub(crate) silent: AtomicU64,
    deferred: [AtomicU64; REASONS.len()],
    rejected: [AtomicU64; REASONS.len()],
}

pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

impl Counts {
    pub(crate) fn opened(&self) {
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.peak.fetch_max(open, Ordering::Relaxed);
    }

    pub(crate) fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Connections open now.
    pub(crate) fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Counts a refusal whose code begins with `digit`.
    pub(crate) fn refused(&self, reason: Reason, digit: u8) {
        let counts = if digit == 4 { &self.deferred } else { &self.rejected };
        add(&counts[reason as usize], 1);
    }

    pub(crate) fn snapshot(&self) -> Counters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let by_reason = |counts: &[AtomicU64]| {
            let filled = |reason: &Reason| (*reason, read(&counts[*reason as usize]));
            REASONS.iter().map(filled).filter(|(_, count)| *count > 0).collect()
        };
        Counters {
            connections: read(&self.connections),
            connections_peak: read(&self.peak),
            transactions: read(&self.transactions),
            messages_accepted: read(&self.messages_accepted),
            accepted: read(&self.accepted),
            deferred: by_reason(&self.deferred),
            rejected: by_reason(&self.rejected),
            scripted: read(&self.scripted),
            silent: read(&self.silent),
        }
    }
}
