//! What the embedded store can be told, and why it could not be opened.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

/// Called when going on would break a promise: a sync failed, or the storage broke. Does not come back in production.
#[derive(Clone)]
pub struct OnFatal(pub Arc<dyn Fn(&str) + Send + Sync>);

impl OnFatal {
    /// Says why in the log and ends the process at once. What was acknowledged is on the disk; the next start reads it.
    #[must_use]
    pub fn abort() -> Self {
        Self(Arc::new(|reason| {
            tracing::error!("the store failed and the process stops, because nothing more can be promised: {reason}");
            std::process::abort()
        }))
    }
}

impl fmt::Debug for OnFatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnFatal")
    }
}

/// Called by the writer after each durable commit, before its callers are answered: with the number of operations in it
/// and how long the commit took. Must be quick and must not wait: all writing waits for it.
#[derive(Clone)]
pub struct OnCommit(pub Arc<dyn Fn(usize, Duration) + Send + Sync>);

impl Default for OnCommit {
    /// Does nothing.
    fn default() -> Self {
        Self(Arc::new(|_, _| {}))
    }
}

impl fmt::Debug for OnCommit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnCommit")
    }
}

/// Settings of the embedded store.
#[derive(Debug, Clone)]
pub struct EmbeddedSettings {
    /// The data directory. Made if missing; one process at a time.
    pub path: PathBuf,
    /// Memory for pages of the database, in bytes.
    pub cache_bytes: usize,
    /// Memory for messages that were accepted and not delivered yet, in bytes.
    pub message_cache_bytes: usize,
    /// Operations in one transaction.
    pub batch_ops_max: usize,
    /// Operations that wait for the writer; callers beyond it wait before they hand theirs over.
    pub queue_ops_max: usize,
    /// After the disk was full: how long until the store is opened again, at the least.
    pub reopen_after: Duration,
    /// Room on the disk that is kept for the OUTCOMEs of dots that left before it was full, in bytes; 0: none.
    pub reserve_bytes: u64,
    /// Make the file as small as it can be before starting. Takes as long as copying it.
    pub compact_at_start: bool,
    /// Read the whole file at a start after a clean end, and refuse it when a page is not what was written. Takes about 3 s
    /// per GiB.
    pub check_at_start: bool,
    /// Start at once after a crash instead of reading the whole file (3 s per GiB), at about half the write speed.
    pub quick_repair: bool,
    /// What happens when the storage breaks.
    pub on_fatal: OnFatal,
    /// Who is told of each commit.
    pub on_commit: OnCommit,
}

impl EmbeddedSettings {
    /// The defaults, in this directory.
    #[must_use]
    pub fn in_directory(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            cache_bytes: 256 << 20,
            message_cache_bytes: 64 << 20,
            batch_ops_max: 2_000,
            queue_ops_max: 8_000,
            reopen_after: Duration::from_secs(1),
            reserve_bytes: 64 << 20,
            compact_at_start: false,
            check_at_start: true,
            quick_repair: false,
            on_fatal: OnFatal::abort(),
            on_commit: OnCommit::default(),
        }
    }
}

/// Why the store could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the data directory {0} is in use by another process")]
    InUse(PathBuf),
    /// The directory or a file in it cannot be used.
    #[error("the data directory {path} cannot be used: {error}")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The database cannot be read.
    #[error("the database cannot be opened: {0}")]
    Database(String),
    /// A page is not what was written. Nothing was changed.
    #[error(
        "the database is damaged and was left as it is: {0}. Put a copy in its place, or open what can be read of it with \
         store.check_at_start: false"
    )]
    Damaged(String),
    /// Made by a later version of the program.
    #[error("the database has layout {found}; this program knows layout {known}")]
    Layout {
        /// What the file says.
        found: u32,
        /// What this program knows.
        known: u32,
    },
}
