//! Where session tasks run: on this thread, or spread over arbiters.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix::ArbiterHandle;

/// Starts tasks. Tests on virtual time use [`Spawner::Local`]; engines spread sessions over their threads.
#[derive(Debug, Clone)]
pub enum Spawner {
    /// On the thread that calls.
    Local,
    /// In turn on each of these.
    Arbiters(Arc<Vec<ArbiterHandle>>, Arc<AtomicUsize>),
}

impl Spawner {
    /// Spreads tasks over `arbiters`; local when there are none.
    #[must_use]
    pub fn over(arbiters: Vec<ArbiterHandle>) -> Self {
        if arbiters.is_empty() {
            Self::Local
        } else {
            Self::Arbiters(Arc::new(arbiters), Arc::default())
        }
    }

    /// Starts a task. One that cannot be started because its arbiter is gone is dropped: the engine is ending.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        match self {
            Self::Local => drop(actix::spawn(task)),
            Self::Arbiters(arbiters, turn) => {
                let index = turn.fetch_add(1, Ordering::Relaxed) % arbiters.len();
                if !arbiters[index].spawn(task) {
                    tracing::debug!("a session was not started: the engine is ending");
                }
            }
        }
    }
}
