//! The database itself: opened, shared with readers, taken away.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use redb::{Builder, Database, ReadTransaction, ReadableDatabase, ReadableTable, StorageBackend, WriteTransaction};
use tokio::sync::Notify;

use super::backend::{Watch, Watched};
use super::fault::Fault;
use super::layout::{ABOUT_EPOCH, ABOUT_LAYOUT, LAYOUT, Tables};
use super::settings::{EmbeddedSettings, OpenError};
use super::state::State;
use super::stats::WriterStats;
use crate::queue::QueueError;
use crate::sabotage::{self, Bug};

/// What readers and the writer share.
#[derive(Debug, Default)]
pub(super) struct Access {
    database: RwLock<Option<Database>>,
    /// Whether there is none because the disk is full.
    full: AtomicBool,
    /// Notified when something may have become due.
    pub(super) wake: Arc<Notify>,
    /// What the writer did.
    pub(super) stats: WriterStats,
}

impl Access {
    /// A snapshot of what is committed.
    pub(super) fn begin_read(&self) -> Result<ReadTransaction, QueueError> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let Some(database) = database.as_ref() else {
            if self.full.load(Ordering::Relaxed) {
                return Err(QueueError::Full);
            }
            return Err(QueueError::Unavailable(
                "the store is closed or being opened again".to_owned(),
            ));
        };
        database
            .begin_read()
            .map_err(|error| QueueError::Unavailable(error.to_string()))
    }

    /// A transaction of the writer.
    pub(super) fn begin_write(&self) -> Result<WriteTransaction, redb::Error> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = database.as_ref().ok_or(redb::Error::DatabaseClosed)?;
        Ok(database.begin_write()?)
    }

    /// Takes the database away from everybody and closes it.
    pub(super) fn close(&self) {
        let database = self.database.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(error)) = database.map(Database::close) {
            tracing::warn!("the store was not closed cleanly, the next start will check it: {error}");
        }
    }

    /// The disk is full: until there is a database again, readers are told so.
    pub(super) fn is_full(&self) {
        self.full.store(true, Ordering::Relaxed);
    }

    /// Gives everybody a database.
    pub(super) fn put(&self, database: Database) {
        self.full.store(false, Ordering::Relaxed);
        *self.database.write().unwrap_or_else(PoisonError::into_inner) = Some(database);
    }
}

/// Makes the storage under a database, each time it is opened.
pub(super) type MakeBackend = Box<dyn Fn() -> io::Result<Box<dyn StorageBackend>> + Send>;

/// A database that could not be opened, and what its storage saw.
pub(super) type Refused = (redb::Error, Watch);

/// Opens the database over storage that `make` makes.
pub(super) fn open_database(make: &MakeBackend, settings: &EmbeddedSettings) -> Result<(Database, Watch), Refused> {
    let watch = Watch::default();
    let backend = make().map_err(|error| (redb::Error::Io(error), watch.clone()))?;
    let opened = Builder::new()
        .set_cache_size(settings.cache_bytes)
        .set_repair_callback(|session| {
            tracing::info!(
                "the store was not closed cleanly; checking it: {:.0} %",
                session.progress() * 100.0
            );
        })
        .create_with_backend(Watched::new(backend, watch.clone()));
    match opened {
        Ok(database) => Ok((database, watch)),
        Err(error) => Err((error.into(), watch)),
    }
}

/// The first transaction after the start: checks the layout, makes missing tables, counts the opening, reads the memory.
pub(super) fn begin(database: &Database) -> Result<State, OpenError> {
    let failed = |error: redb::Error| OpenError::Database(error.to_string());
    let transaction = database.begin_write().map_err(|error| failed(error.into()))?;
    let state = {
        let mut tables = Tables::open(&transaction).map_err(|error| failed(error.into()))?;
        prepare(&mut tables).map_err(|fault| match fault {
            Refusal::Layout(found) => OpenError::Layout { found, known: LAYOUT },
            Refusal::Fault(Fault::Damaged(what)) => OpenError::Database(what),
            Refusal::Fault(Fault::Storage(error)) => failed(*error),
        })?
    };
    transaction.commit().map_err(|error| failed(error.into()))?;
    Ok(state)
}

enum Refusal {
    Layout(u32),
    Fault(Fault),
}

impl<T: Into<Fault>> From<T> for Refusal {
    fn from(fault: T) -> Self {
        Self::Fault(fault.into())
    }
}

fn prepare(tables: &mut Tables<'_>) -> Result<State, Refusal> {
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0_u64, |number, byte| (number << 8) | u64::from(*byte))
    };
    let layout = tables.about.get(ABOUT_LAYOUT)?.map(|bytes| number(bytes.value()));
    match layout {
        None => {
            tables.about.insert(ABOUT_LAYOUT, LAYOUT.to_be_bytes().as_slice())?;
        }
        Some(layout) if layout == u64::from(LAYOUT) => {}
        Some(layout) => return Err(Refusal::Layout(u32::try_from(layout).unwrap_or(u32::MAX))),
    }
    let epoch = tables.about.get(ABOUT_EPOCH)?.map_or(0, |bytes| number(bytes.value())) + 1;
    tables.about.insert(ABOUT_EPOCH, epoch.to_be_bytes().as_slice())?;
    let epoch = if sabotage::is(Bug::FenceRepeats) { 1 } else { epoch };
    Ok(State::load(tables, epoch)?)
}

/// Reads the memory again after the database was opened again. Leases are kept.
pub(super) fn reload(database: &Database, state: &mut State) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    let reloaded = {
        let tables = Tables::open(&transaction)?;
        state.reload(&tables)
    };
    transaction.abort()?;
    match reloaded {
        Ok(()) => Ok(()),
        Err(Fault::Storage(error)) => Err(*error),
        Err(Fault::Damaged(what)) => Err(redb::Error::Corrupted(what)),
    }
}
