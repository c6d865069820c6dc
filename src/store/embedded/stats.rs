//! What the writer did: counters for whoever publishes metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Upper bounds of the buckets of commit times, in microseconds; one more bucket holds everything above.
pub const COMMIT_BUCKETS_MICROS: [u64; 12] = [
    250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 512_000, 2_000_000,
];

/// Counters since the store was opened. They only grow.
#[derive(Debug, Default)]
pub struct WriterStats {
    /// Transactions committed.
    pub commits: AtomicU64,
    /// Transactions in which there was nothing to commit.
    pub idle_turns: AtomicU64,
    /// Operations in committed transactions.
    pub operations: AtomicU64,
    /// The largest number of operations in one transaction.
    pub batch_max: AtomicU64,
    /// Time in which the writer carried out operations, in microseconds.
    pub busy_micros: AtomicU64,
    /// Time in which the writer waited for commits, sync included, in microseconds.
    pub commit_micros: AtomicU64,
    /// Commits by how long they took: [`COMMIT_BUCKETS_MICROS`].
    pub commit_buckets: [AtomicU64; COMMIT_BUCKETS_MICROS.len() + 1],
    /// How often the disk was full.
    pub full: AtomicU64,
}

impl WriterStats {
    pub(super) fn count_commit(&self, operations: usize, busy: Duration, commit: Duration) {
        let operations = operations as u64;
        let micros = whole_micros(commit);
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.operations.fetch_add(operations, Ordering::Relaxed);
        self.batch_max.fetch_max(operations, Ordering::Relaxed);
        self.busy_micros.fetch_add(whole_micros(busy), Ordering::Relaxed);
        self.commit_micros.fetch_add(micros, Ordering::Relaxed);
        let bucket = COMMIT_BUCKETS_MICROS.partition_point(|bound| *bound < micros);
        self.commit_buckets[bucket].fetch_add(1, Ordering::Relaxed);
    }
}

fn whole_micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The monotonic clock, for measuring how long things take and for pauses; decides nothing about mail.
#[expect(
    clippy::disallowed_methods,
    reason = "measures the writer; no decision about mail depends on it"
)]
pub(super) fn stopwatch() -> Instant {
    Instant::now()
}
