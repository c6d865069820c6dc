//! The loop that takes entries while the API takes calls.
//!
//! Takes entries in bounded batches, decides on several at once, waits when there are none. What could not be decided is taken
//! again after a pause that grows. A panic makes a dead letter of its entry and stops nothing. Ends when the engine drains.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _, stream};

use super::deciding::{Refused, decide, refuse};
use crate::api::problem::ApiError;
use crate::api::state::ApiState;
use crate::domain::TenantId;
use crate::store::{Entries, Entry, EntryContent, EntryLimits, TakenEntries};

/// Entries of one partition that are taken at once.
const BATCH: usize = 128;
/// Of these, how many are decided on at once.
const AT_ONCE: usize = 32;
/// What an entry may have beside its body, in bytes.
const FRAME_BYTES: usize = 4096;
/// The first pause after a failure, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// Takes entries until the engine drains.
pub async fn run(state: Arc<ApiState>, mut entries: Entries) {
    let mut failures = 0_u32;
    loop {
        let limits = match state.open() {
            Ok(()) => EntryLimits {
                entries: BATCH,
                entry_bytes: state.settings.body_bytes_max + FRAME_BYTES,
                bytes: state.settings.body_bytes_max,
            },
            Err(ApiError::Draining(_)) => return,
            Err(_) => EntryLimits {
                entries: 0,
                entry_bytes: 0,
                bytes: 0,
            },
        };
        match take(&state, &entries, limits).await {
            Ok(0) if limits.entries > 0 => {
                failures = 0;
                entries.wait().await;
            }
            Ok(0) => tokio::time::sleep(PAUSE_MIN).await,
            Ok(_) => failures = 0,
            Err(()) => {
                failures = failures.saturating_add(1);
                tokio::time::sleep(pause(failures)).await;
            }
        }
    }
}

/// Takes a batch and decides on it. Gives how many there were; an error when one has to be taken again.
async fn take(state: &Arc<ApiState>, entries: &Entries, limits: EntryLimits) -> Result<usize, ()> {
    let taken = entries.take(limits).await;
    let TakenEntries {
        entries: batch,
        waiting,
        dead,
    } = taken.map_err(|error| {
        tracing::debug!("entries of the intake stream cannot be taken: {error}");
    })?;
    state.observer.entries_waiting(waiting, dead);
    let number = batch.len();
    if number == 0 {
        return Ok(0);
    }
    let tenants = state.store.tenants().await.map_err(|_| ())?;
    let tenants: Vec<TenantId> = tenants.iter().map(|tenant| tenant.id).collect();
    let is_left = AtomicBool::new(false);
    let decisions = stream::iter(batch).for_each_concurrent(AT_ONCE, |entry| async {
        if let Err(error) = guarded(state, entries, entry, &tenants).await {
            tracing::debug!("an entry of the intake stream waits: {error}");
            is_left.store(true, Ordering::Relaxed);
        }
    });
    decisions.await;
    if is_left.into_inner() { Err(()) } else { Ok(number) }
}

/// Decides on an entry, whatever happens.
async fn guarded(state: &Arc<ApiState>, entries: &Entries, entry: Entry, tenants: &[TenantId]) -> Result<(), ApiError> {
    let named = Entry {
        partition: entry.partition,
        id: entry.id.clone(),
        content: EntryContent::Fields(Vec::new()),
    };
    let decided = AssertUnwindSafe(decide(state, entries, entry, tenants));
    match decided.catch_unwind().await {
        Ok(decided) => decided,
        Err(_) => {
            // If it was accepted before the panic, it is no longer there to be refused.
            let refused = Refused::new("internal_error", "The log has the details.".to_owned());
            refuse(state, entries, &named, refused).await
        }
    }
}

/// How long to wait after so many failures.
fn pause(failures: u32) -> Duration {
    let doubled = PAUSE_MIN.saturating_mul(1_u32 << failures.saturating_sub(1).min(16));
    doubled.min(PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        for (failures, millis) in [(1, 500), (2, 1000), (5, 8000), (6, 15_000), (u32::MAX, 15_000)] {
            assert_eq!(pause(failures), Duration::from_millis(millis), "{failures}");
        }
    }
}
