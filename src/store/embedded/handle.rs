//! What callers hold: opens the store, hands operations to the writer and waits for their answers.

use std::fs::{File, TryLockError};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use redb::backends::FileBackend;
use redb::{Database, StorageBackend};
use tokio::sync::{mpsc, oneshot};

use super::backend::Watch;
use super::check::check;
use super::database::{Access, MakeBackend, begin, open_database};
use super::fault::Fault;
use super::reserve::{Reserve, ReserveFile, ReserveSpace};
use super::settings::{EmbeddedSettings, OpenError};
use super::state::State;
use super::stats::WriterStats;
use super::turn::Turn;
use super::writer::{Condition, Job, Need, Writer};
use crate::queue::QueueError;
use crate::store::claims::ClaimBook;
use crate::store::message_cache::MessageCache;
use crate::store::seal::Seal;

/// The database, in the data directory.
const DATABASE_FILE: &str = "posthaste.redb";
/// Room for a full disk.
const RESERVE_FILE: &str = "posthaste.reserve";
/// Held locked by the process that has the directory.
const LOCK_FILE: &str = "posthaste.lock";

/// The embedded backend: implements `Queue` and `Store`. Cheap to clone; the last one to go closes the database.
#[derive(Debug, Clone)]
pub struct Embedded {
    pub(super) shared: Arc<Shared>,
}

/// What all clones share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) access: Arc<Access>,
    pub(super) cache: MessageCache,
    pub(super) seal: Seal,
    /// Nodes and their Sources: of this process, so they end with it.
    pub(super) claims: Mutex<ClaimBook>,
    jobs: Option<mpsc::Sender<Box<dyn Job>>>,
    writer: Option<JoinHandle<()>>,
    /// Locked for as long as the store is open.
    _lock: Option<File>,
}

impl Embedded {
    /// Opens the store in `settings.path`, makes it if there is none. Blocks: after a crash it reads the whole file.
    pub fn open(settings: EmbeddedSettings, seal: Seal) -> Result<Self, OpenError> {
        let directory = settings.path.clone();
        let unusable = |error| OpenError::Directory {
            path: directory.clone(),
            error,
        };
        make_directory(&directory).map_err(unusable)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(directory.join(LOCK_FILE));
        let lock = lock.map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse(directory)),
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        let file = directory.join(DATABASE_FILE);
        let make = move || -> io::Result<Box<dyn StorageBackend>> {
            let file = File::options()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .open(&file)?;
            Ok(Box::new(FileBackend::new(file).map_err(io::Error::other)?))
        };
        let reserve = ReserveFile(directory.join(RESERVE_FILE));
        let reserve = Reserve::of(Box::new(reserve), settings.reserve_bytes);
        let store = Self::start(settings, seal, (Box::new(make), reserve), Some(lock))?;
        // The names of new files are durable before anything in them is promised.
        File::open(&directory)
            .and_then(|directory| directory.sync_all())
            .map_err(unusable)?;
        Ok(store)
    }

    /// Opens the store over storage that `make` makes, each time anew: for tests of what storage can do to us.
    /// `settings.path` is not used.
    pub fn open_with_backend<B: StorageBackend>(
        settings: EmbeddedSettings,
        seal: Seal,
        make: impl Fn() -> io::Result<B> + Send + 'static,
    ) -> Result<Self, OpenError> {
        let make = move || -> io::Result<Box<dyn StorageBackend>> { Ok(Box::new(make()?)) };
        Self::start(settings, seal, (Box::new(make), Reserve::none()), None)
    }

    /// The same, with a reserve there.
    pub fn open_with_reserve<B: StorageBackend>(
        settings: EmbeddedSettings,
        seal: Seal,
        make: impl Fn() -> io::Result<B> + Send + 'static,
        reserve: impl ReserveSpace + 'static,
    ) -> Result<Self, OpenError> {
        let make = move || -> io::Result<Box<dyn StorageBackend>> { Ok(Box::new(make()?)) };
        let reserve = Reserve::of(Box::new(reserve), settings.reserve_bytes);
        Self::start(settings, seal, (Box::new(make), reserve), None)
    }

    fn start(
        settings: EmbeddedSettings,
        seal: Seal,
        (make, reserve): (MakeBackend, Reserve),
        lock: Option<File>,
    ) -> Result<Self, OpenError> {
        let (database, watch, state) = opened(&make, &settings)?;
        let has_room = reserve.make().map_err(|error| OpenError::Directory {
            path: settings.path.clone(),
            error,
        })?;
        let first_fence = state.leases.last_fence();
        let access = Arc::new(Access::default());
        access.put(database);
        let cache = MessageCache::new(settings.message_cache_bytes);
        let (sender, receiver) = mpsc::channel(settings.queue_ops_max);
        let writer = Writer {
            settings,
            access: Arc::clone(&access),
            make,
            reserve,
            state,
            condition: Condition::at_start(watch, has_room),
            jobs: receiver,
        };
        let thread = std::thread::Builder::new().name("store-writer".to_owned());
        let on_fatal = writer.settings.on_fatal.clone();
        let thread = thread.spawn(move || {
            // A writer that is gone would leave a store that refuses everything and says nothing.
            if catch_unwind(AssertUnwindSafe(|| writer.run())).is_err() {
                (on_fatal.0)("the writer panicked");
            }
        });
        let thread = thread.map_err(|error| OpenError::Database(format!("no thread for the writer: {error}")))?;
        let shared = Shared {
            access,
            cache,
            seal,
            claims: Mutex::new(ClaimBook::above(first_fence)),
            jobs: Some(sender),
            writer: Some(thread),
            _lock: lock,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// What the writer did since the store was opened.
    #[must_use]
    pub fn stats(&self) -> &WriterStats {
        &self.shared.access.stats
    }

    /// Has the writer carry out `run` in its next transaction, and waits until that is durable.
    pub(super) async fn submit<T, F>(&self, run: F) -> Result<T, QueueError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Turn<'_, '_>) -> Result<T, Fault> + Send + 'static,
    {
        self.hand_over(Need::Room, run).await
    }

    /// The same for the OUTCOME of what has left already, which a full disk does not stop for as long as the reserve lasts.
    pub(super) async fn submit_outcome<T, F>(&self, run: F) -> Result<T, QueueError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Turn<'_, '_>) -> Result<T, Fault> + Send + 'static,
    {
        self.hand_over(Need::Reserve, run).await
    }

    /// Has the writer carry out `run`, which changes no table, before the writes of its next transaction, and waits for
    /// nothing more.
    pub(super) async fn ask<T, F>(&self, run: F) -> Result<T, QueueError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Turn<'_, '_>) -> Result<T, Fault> + Send + 'static,
    {
        self.hand_over(Need::Nothing, run).await
    }

    async fn hand_over<T, F>(&self, need: Need, run: F) -> Result<T, QueueError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Turn<'_, '_>) -> Result<T, Fault> + Send + 'static,
    {
        let closed = || QueueError::Unavailable("the store is shutting down".to_owned());
        let (sender, receiver) = oneshot::channel();
        let task = Task {
            need,
            run: Some(run),
            result: None,
            sender,
        };
        let jobs = self.shared.jobs.as_ref().ok_or_else(closed)?;
        jobs.send(Box::new(task)).await.map_err(|_| closed())?;
        receiver.await.map_err(|_| closed())?
    }
}

/// The database, ready for the writer. What is damaged may make redb panic: that is a refusal like any other.
fn opened(make: &MakeBackend, settings: &EmbeddedSettings) -> Result<(Database, Watch, State), OpenError> {
    let open = || {
        if settings.check_at_start {
            check(make, settings)?;
        }
        let (mut database, watch) =
            open_database(make, settings).map_err(|(error, _)| OpenError::Database(error.to_string()))?;
        if settings.compact_at_start {
            let compacted = database.compact();
            compacted.map_err(|error| OpenError::Database(error.to_string()))?;
        }
        let state = begin(&database)?;
        Ok((database, watch, state))
    };
    catch_unwind(AssertUnwindSafe(open))
        .unwrap_or_else(|_| Err(OpenError::Damaged("it could not be read to its end".to_owned())))
}

impl Drop for Shared {
    /// Waits until the writer has done what it was given and has closed the database.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the store's writer panicked");
        }
    }
}

/// A caller's closure on its way to the writer, and the result on its way back.
struct Task<T, F> {
    need: Need,
    run: Option<F>,
    result: Option<T>,
    sender: oneshot::Sender<Result<T, QueueError>>,
}

impl<T, F> Job for Task<T, F>
where
    T: Send,
    F: FnOnce(&mut Turn<'_, '_>) -> Result<T, Fault> + Send,
{
    fn need(&self) -> Need {
        self.need
    }

    fn run(&mut self, turn: &mut Turn<'_, '_>) -> Result<(), Fault> {
        if let Some(run) = self.run.take() {
            self.result = Some(run(turn)?);
        }
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), QueueError>) {
        let result = match (outcome, self.result) {
            (Ok(()), Some(result)) => Ok(result),
            (Ok(()), None) => Err(QueueError::Unavailable("the operation was not carried out".to_owned())),
            (Err(error), _) => Err(error),
        };
        // A caller that has gone away does not want to know.
        let _gone = self.sender.send(result);
    }
}

/// The data directory is for its owner only: it holds mail.
fn make_directory(path: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}
