//! The file under the database, watched.
//!
//! Passes everything on to another storage backend and remembers the first thing that failed. redb reports one error
//! and then `PreviousIo` for ever; what to do about it (wait for space, or stop at once) depends on which call failed,
//! and only this layer sees that. A failed sync is never repeated: the kernel may have dropped what it could not write.

use std::fmt;
use std::io;
use std::ops::Bound;
use std::sync::{Arc, OnceLock};

use redb::{BackendError, StorageBackend};

use super::reserve::is_no_room;
use crate::sabotage::{self, Bug};

/// What failed first.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    /// There was no room: for what was written, not for what was synced.
    pub(super) is_full: bool,
    /// In words.
    pub(super) text: String,
}

/// What a watched backend saw. Shared with the writer.
#[derive(Debug, Default, Clone)]
pub(super) struct Watch(Arc<OnceLock<Failure>>);

impl Watch {
    /// The first failure, if there was one.
    pub(super) fn failure(&self) -> Option<Failure> {
        self.0.get().cloned()
    }

    fn note<T>(&self, what: &str, may_be_full: bool, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result {
            let no_room = is_no_room(error);
            let failure = Failure {
                is_full: (may_be_full && no_room) || sabotage::is(Bug::SyncErrorSurvived),
                text: format!("{what}: {error}"),
            };
            // Only the first counts: the others follow from it.
            let _first = self.0.set(failure);
        }
        result
    }
}

/// A backend and its watch.
pub(super) struct Watched {
    backend: Box<dyn StorageBackend>,
    watch: Watch,
}

impl Watched {
    /// Watches `backend`.
    pub(super) fn new(backend: Box<dyn StorageBackend>, watch: Watch) -> Self {
        Self { backend, watch }
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").finish_non_exhaustive()
    }
}

impl StorageBackend for Watched {
    fn len(&self) -> io::Result<u64> {
        self.watch
            .note("asking for the file's length", false, self.backend.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.watch.note("reading", false, self.backend.read(offset, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.watch.note("growing the file", true, self.backend.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        if sabotage::is(Bug::SyncSkipped) {
            return Ok(());
        }
        self.watch.note("syncing", false, self.backend.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.watch.note("writing", true, self.backend.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.backend.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.backend.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.backend.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.backend.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.backend.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.backend.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.backend.query_lock_range(start, end)
    }
}
