//! The one thread that writes: takes what waits, puts it into one transaction, commits, and then answers all.
//!
//! That is group commit: a sync costs the same for one operation as for a thousand. Operations that write nothing, leases
//! above all, come first in their batch and are answered before its commit: they saw only what earlier commits made
//! durable, and what they changed is in memory only. When a commit fails, nobody is told
//! that it worked: the memory goes back to what it was, and either the database is opened again (the disk was full; what
//! has left already is recorded in the reserve, everything else waits for room) or
//! the process stops (anything else; a sync that failed is never repeated).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use redb::Durability;
use tokio::sync::mpsc::Receiver;
use tokio::sync::mpsc::error::TryRecvError;

use super::super::records::encode_ledger;
use super::backend::{Failure, Watch};
use super::database::{Access, MakeBackend, open_database, reload};
use super::fault::Fault;
use super::layout::{ABOUT_LEDGER, Tables};
use super::reserve::Reserve;
use super::settings::EmbeddedSettings;
use super::state::State;
use super::stats::stopwatch;
use super::turn::Turn;
use crate::queue::QueueError;

/// Between two looks for work and for room, while there is none.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What an operation needs of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    /// It writes nothing: it is carried out before those that do, and answered without a commit.
    Nothing,
    /// It may use the reserve.
    Reserve,
    /// Room beyond the reserve.
    Room,
}

/// One operation that waits for the writer.
pub(super) trait Job: Send {
    /// What it needs of the disk.
    fn need(&self) -> Need;
    /// Carries it out in the turn's transaction and keeps the result.
    fn run(&mut self, turn: &mut Turn<'_, '_>) -> Result<(), Fault>;
    /// Gives its caller the result, now that it is durable, or says what went wrong.
    fn answer(self: Box<Self>, outcome: Result<(), QueueError>);
}

/// The writer's side of the store.
pub(super) struct Writer {
    pub(super) settings: EmbeddedSettings,
    pub(super) access: Arc<Access>,
    pub(super) make: MakeBackend,
    pub(super) reserve: Reserve,
    pub(super) state: State,
    pub(super) condition: Condition,
    pub(super) jobs: Receiver<Box<dyn Job>>,
}

/// Whether there is a database to write to.
pub(super) enum Condition {
    /// Yes.
    Open(Watch),
    /// Yes, but the disk was full: only what may use the reserve is written. After this instant there may be room again.
    Tight(Watch, Instant),
    /// The disk was full; it is opened again after this instant.
    Full(Instant),
    /// The storage broke. For this reason nothing works any more.
    Broken(String),
}

impl Condition {
    /// A database that was just opened, with room for the reserve or not.
    pub(super) fn at_start(watch: Watch, has_room: bool) -> Self {
        if has_room {
            return Self::Open(watch);
        }
        tracing::error!("the disk is full: nothing is accepted until there is space");
        Self::Tight(watch, stopwatch())
    }
}

/// Why a batch did not become durable.
enum Trouble {
    /// No room.
    Full,
    /// The storage broke.
    Broken(String),
}

impl Writer {
    /// Works until nobody can send anything any more; then closes the database.
    pub(super) fn run(mut self) {
        let mut batch = Vec::with_capacity(self.settings.batch_ops_max);
        while self.receive(&mut batch) {
            let jobs = std::mem::take(&mut batch);
            batch = self.work(jobs);
        }
        self.access.close();
    }

    /// Waits for work, and meanwhile for room if there is none. Says whether more can come.
    fn receive(&mut self, batch: &mut Vec<Box<dyn Job>>) -> bool {
        let most = self.settings.batch_ops_max;
        while matches!(self.condition, Condition::Tight(..) | Condition::Full(_)) {
            self.look_for_room();
            while batch.len() < most {
                match self.jobs.try_recv() {
                    Ok(job) => batch.push(job),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return !batch.is_empty(),
                }
            }
            if !batch.is_empty() {
                return true;
            }
            std::thread::park_timeout(LOOK_AGAIN);
        }
        self.jobs.blocking_recv_many(batch, most) > 0
    }

    /// Carries out a batch and answers it. Gives the empty batch back.
    fn work(&mut self, mut jobs: Vec<Box<dyn Job>>) -> Vec<Box<dyn Job>> {
        let failure = match &self.condition {
            Condition::Full(_) => Some(QueueError::Full),
            Condition::Broken(reason) => Some(QueueError::Unavailable(reason.clone())),
            Condition::Open(_) | Condition::Tight(..) => None,
        };
        if let Some(error) = failure {
            jobs.drain(..).for_each(|job| job.answer(Err(error.clone())));
            return jobs;
        }
        if matches!(self.condition, Condition::Tight(..)) {
            let (refused, carried_out): (Vec<_>, Vec<_>) = jobs.drain(..).partition(|job| job.need() == Need::Room);
            refused.into_iter().for_each(|job| job.answer(Err(QueueError::Full)));
            jobs = carried_out;
        }
        if jobs.is_empty() {
            return jobs;
        }
        match self.transact(&mut jobs) {
            Ok(outcomes) => {
                self.state.leases.confirm();
                jobs.drain(..)
                    .zip(outcomes)
                    .for_each(|(job, outcome)| job.answer(outcome));
            }
            Err(fault) => {
                self.state.leases.undo();
                let error = self.fail(&fault);
                jobs.drain(..).for_each(|job| job.answer(Err(error.clone())));
            }
        }
        jobs
    }

    /// Runs all jobs in one transaction and commits it if there is something to commit. Those that write nothing are
    /// answered and gone from `jobs` before that; the outcomes are those of the others.
    fn transact(&mut self, jobs: &mut Vec<Box<dyn Job>>) -> Result<Vec<Result<(), QueueError>>, redb::Error> {
        let began = stopwatch();
        let mut transaction = self.access.begin_write()?;
        transaction
            .set_durability(Durability::Immediate)
            .map_err(redb::Error::from)?;
        transaction.set_quick_repair(self.settings.quick_repair);
        let mut outcomes = Vec::with_capacity(jobs.len());
        let (dirty, wake) = {
            let mut tables = Tables::open(&transaction)?;
            let mut turn = Turn {
                tables: &mut tables,
                state: &mut self.state,
                dirty: false,
                wake: false,
            };
            run_readers(jobs, &mut turn)?;
            for job in jobs.iter_mut() {
                outcomes.push(run(job, &mut turn)?);
            }
            let (dirty, wake) = (turn.dirty, turn.wake);
            if dirty {
                let ledger = encode_ledger(&self.state.ledger);
                tables.about.insert(ABOUT_LEDGER, ledger.as_slice())?;
            }
            (dirty, wake)
        };
        let stats = &self.access.stats;
        if dirty {
            fail::fail_point!("store-before-commit");
            let ran = stopwatch();
            transaction.commit()?;
            let took = ran.elapsed();
            stats.count_commit(jobs.len(), ran - began, took);
            (self.settings.on_commit.0)(jobs.len(), took);
            fail::fail_point!("store-after-commit");
        } else {
            transaction.abort()?;
            stats.idle_turns.fetch_add(1, Ordering::Relaxed);
        }
        if wake {
            self.access.wake.notify_one();
        }
        Ok(outcomes)
    }

    /// Takes the database away and decides what follows. Gives what the callers are told.
    fn fail(&mut self, error: &redb::Error) -> QueueError {
        let seen = match &self.condition {
            Condition::Open(watch) | Condition::Tight(watch, _) => watch.failure(),
            Condition::Full(_) | Condition::Broken(_) => None,
        };
        let trouble = trouble(seen, error);
        if matches!(trouble, Trouble::Full) {
            // Before the database is gone: no reader is to be told less.
            self.access.is_full();
        }
        self.access.close();
        match trouble {
            Trouble::Full => {
                self.access.stats.full.fetch_add(1, Ordering::Relaxed);
                tracing::error!("the disk is full: nothing is accepted until there is space ({error})");
                self.condition = Condition::Full(stopwatch() + self.settings.reopen_after);
                if self.reserve.release() {
                    self.open_again();
                }
                QueueError::Full
            }
            Trouble::Broken(reason) => self.break_down(reason),
        }
    }

    fn break_down(&mut self, reason: String) -> QueueError {
        (self.settings.on_fatal.0)(&reason);
        self.condition = Condition::Broken(reason.clone());
        QueueError::Unavailable(reason)
    }

    /// After a full disk: opens the database again, or makes the reserve again, if it is time.
    fn look_for_room(&mut self) {
        if matches!(self.condition, Condition::Full(after) if stopwatch() >= after) {
            self.open_again();
        }
        let Condition::Tight(watch, after) = &self.condition else {
            return;
        };
        if stopwatch() < *after {
            return;
        }
        let watch = watch.clone();
        let made = self.reserve.make_again().unwrap_or_else(|error| {
            tracing::error!("the reserve for a full disk cannot be made: {error}");
            false
        });
        if made {
            tracing::info!("there is room again: the store takes everything");
            self.condition = Condition::Open(watch);
            self.access.wake.notify_one();
        } else {
            self.condition = Condition::Tight(watch, stopwatch() + self.settings.reopen_after);
        }
    }

    /// Every committed row is there.
    fn open_again(&mut self) {
        match self.reopen() {
            Ok(watch) => {
                tracing::info!("the store is open again, for what has left already");
                self.condition = Condition::Tight(watch, stopwatch());
            }
            Err((error, watch)) => match trouble(watch.failure(), &error) {
                Trouble::Full => self.condition = Condition::Full(stopwatch() + self.settings.reopen_after),
                Trouble::Broken(reason) => {
                    self.break_down(reason);
                }
            },
        }
    }

    fn reopen(&mut self) -> Result<Watch, (redb::Error, Watch)> {
        let (database, watch) = open_database(&self.make, &self.settings)?;
        match reload(&database, &mut self.state) {
            Ok(()) => {
                self.access.put(database);
                Ok(watch)
            }
            Err(error) => Err((error, watch)),
        }
    }
}

/// Carries out and answers the jobs that write nothing, while the transaction shows only what is committed. What they
/// did to leases holds, whatever becomes of the commit.
fn run_readers(jobs: &mut Vec<Box<dyn Job>>, turn: &mut Turn<'_, '_>) -> Result<(), redb::Error> {
    jobs.sort_by_key(|job| job.need() != Need::Nothing);
    let readers = jobs.partition_point(|job| job.need() == Need::Nothing);
    let mut outcomes = Vec::with_capacity(readers);
    for job in &mut jobs[..readers] {
        outcomes.push(run(job, turn)?);
    }
    debug_assert!(!turn.dirty, "a reader wrote");
    turn.state.leases.confirm();
    jobs.drain(..readers)
        .zip(outcomes)
        .for_each(|(job, outcome)| job.answer(outcome));
    Ok(())
}

/// Carries out one job. The outer error is the whole batch's.
fn run(job: &mut Box<dyn Job>, turn: &mut Turn<'_, '_>) -> Result<Result<(), QueueError>, redb::Error> {
    match job.run(turn) {
        Ok(()) => Ok(Ok(())),
        Err(Fault::Damaged(what)) => {
            tracing::error!("a stored record cannot be read: {what}");
            Ok(Err(QueueError::Damaged(what)))
        }
        Err(Fault::Storage(error)) => Err(*error),
    }
}

fn trouble(seen: Option<Failure>, error: &redb::Error) -> Trouble {
    match seen {
        Some(failure) if failure.is_full => Trouble::Full,
        Some(failure) => Trouble::Broken(failure.text),
        None => Trouble::Broken(error.to_string()),
    }
}
