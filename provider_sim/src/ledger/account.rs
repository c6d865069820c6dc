//! The ledger itself: copies counted and recorded under one lock, with a wait for a condition.
//!
//! Takes accepted copies, gives sums and records. With a journal a copy is on stable storage before it is counted. Never
//! sleeps and never holds the lock while waiting.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::journal::{self, Journal, JournalLine};
use super::received::{Keep, Received, TimedOut, Totals, identity};

/// The account of what receivers hold. Cheap to clone; several receivers may share one.
#[derive(Debug, Clone)]
pub struct Ledger {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    keep: Keep,
    state: Mutex<State>,
    changed: Notify,
    journal: Option<Arc<Journal>>,
}

#[derive(Debug, Default)]
struct State {
    total: u64,
    copies: HashMap<u64, u32>,
    records: Vec<Arc<Received>>,
    bytes_kept: usize,
}

impl Default for Ledger {
    fn default() -> Self {
        Self::new(Keep::default())
    }
}

impl Ledger {
    /// An empty ledger in memory.
    #[must_use]
    pub fn new(keep: Keep) -> Self {
        Self::build(keep, State::default(), None)
    }

    /// A ledger that also appends every copy to the file at `path` and syncs it before the client hears 250. What the
    /// file holds already counts: a restarted receiver goes on where it was killed.
    ///
    /// # Errors
    /// When the file cannot be opened, read or understood.
    pub fn with_journal(keep: Keep, path: &Path) -> io::Result<Self> {
        let (journal, lines) = Journal::open(path)?;
        let mut state = State::default();
        for line in &lines {
            state.count(identity(&line.recipient, line.message_id.as_deref(), line.content_hash));
        }
        Ok(Self::build(keep, state, Some(Arc::new(journal))))
    }

    /// Reads a journal written by [`Ledger::with_journal`], also while or after its writer was killed: an unfinished
    /// last line is left out.
    ///
    /// # Errors
    /// When the file cannot be read or a finished line cannot be understood.
    pub fn read_journal(path: &Path) -> io::Result<Vec<JournalLine>> {
        journal::read(path)
    }

    fn build(keep: Keep, state: State, journal: Option<Arc<Journal>>) -> Self {
        Self {
            inner: Arc::new(Inner {
                keep,
                state: Mutex::new(state),
                changed: Notify::new(),
                journal,
            }),
        }
    }

    /// Whether `bytes` of copies are worth handing over.
    pub(crate) fn wants_bytes(&self) -> bool {
        matches!(self.inner.keep, Keep::Everything { .. })
    }

    /// Puts copies of one message on stable storage, when there is a journal.
    pub(crate) async fn make_durable(&self, copies: &[Received], content_hash: u64) -> io::Result<()> {
        let Some(journal) = &self.inner.journal else {
            return Ok(());
        };
        let lines = copies.iter().map(|copy| JournalLine::of(copy, content_hash)).collect();
        Journal::append(journal, lines).await
    }

    /// Counts copies of one message, after [`Ledger::make_durable`].
    pub(crate) fn enter(&self, copies: Vec<Received>, content_hash: u64) {
        {
            let mut state = self.state();
            for copy in copies {
                state.count(identity(&copy.recipient, copy.message_id.as_deref(), content_hash));
                state.remember(copy, self.inner.keep);
            }
        }
        self.inner.changed.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sums now.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.state().totals()
    }

    /// Copies accepted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.totals().total
    }

    /// Different (recipient, Message-ID) pairs.
    #[must_use]
    pub fn unique(&self) -> u64 {
        self.totals().unique
    }

    /// Copies beyond the first of each pair.
    #[must_use]
    pub fn duplicates(&self) -> u64 {
        self.totals().duplicates
    }

    /// How many copies `recipient` holds of the message with this Message-ID (angle brackets included).
    #[must_use]
    pub fn copies(&self, recipient: &str, message_id: &str) -> u64 {
        let key = identity(recipient, Some(message_id), 0);
        self.state().copies.get(&key).copied().map_or(0, u64::from)
    }

    /// The records kept, in the order of acceptance.
    #[must_use]
    pub fn records(&self) -> Vec<Arc<Received>> {
        self.state().records.clone()
    }

    /// The records kept for one recipient.
    #[must_use]
    pub fn records_for(&self, recipient: &str) -> Vec<Arc<Received>> {
        let state = self.state();
        let for_them = |copy: &&Arc<Received>| copy.recipient.eq_ignore_ascii_case(recipient);
        state.records.iter().filter(for_them).cloned().collect()
    }

    /// Waits until `condition` holds. It is looked at once now and again after every accepted message.
    ///
    /// # Errors
    /// [`TimedOut`] when it does not hold within the time.
    pub async fn wait_until(&self, condition: impl Fn(&Ledger) -> bool, within: Duration) -> Result<(), TimedOut> {
        let wait = async {
            loop {
                let changed = self.inner.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if condition(self) {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(within, wait).await.map_err(|_| TimedOut {
            within,
            totals: self.totals(),
        })
    }

    /// Waits until at least `total` copies have been accepted.
    ///
    /// # Errors
    /// [`TimedOut`] when they have not within the time.
    pub async fn wait_for_total(&self, total: u64, within: Duration) -> Result<(), TimedOut> {
        self.wait_until(|ledger| ledger.total() >= total, within).await
    }
}

impl State {
    fn count(&mut self, key: u64) {
        self.total += 1;
        *self.copies.entry(key).or_insert(0) += 1;
    }

    fn totals(&self) -> Totals {
        let unique = self.copies.len() as u64;
        Totals {
            total: self.total,
            unique,
            duplicates: self.total - unique,
        }
    }

    fn remember(&mut self, mut copy: Received, keep: Keep) {
        let (records_max, bytes_max) = match keep {
            Keep::Counts => return,
            Keep::Records { records_max } => (records_max, 0),
            Keep::Everything { records_max, bytes_max } => (records_max, bytes_max),
        };
        if self.records.len() >= records_max {
            return;
        }
        let size = copy.bytes.as_ref().map_or(0, |bytes| bytes.len());
        if self.bytes_kept + size > bytes_max {
            copy.bytes = None;
        } else {
            self.bytes_kept += size;
        }
        self.records.push(Arc::new(copy));
    }
}

#[cfg(test)]
mod tests;
