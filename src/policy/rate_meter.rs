//! How many things happened a second of late.
//!
//! Takes events with `now`; gives events a second over the last sixteen slices of time, so that its memory does not grow.
//! Never looks further back.

use crate::domain::Timestamp;

const SLICES: usize = 16;

/// Counts of the last sixteen slices.
#[derive(Debug, Clone, Copy)]
pub struct RateMeter {
    slice_ms: u64,
    counts: [u32; SLICES],
    newest: u64,
    first: Option<u64>,
}

impl RateMeter {
    /// Nothing happened yet; a slice is so long, in milliseconds.
    #[must_use]
    pub fn new(slice_ms: u64) -> Self {
        Self {
            slice_ms: slice_ms.max(1),
            counts: [0; SLICES],
            newest: 0,
            first: None,
        }
    }

    /// One event.
    pub fn count(&mut self, now: Timestamp) {
        self.turn(now);
        self.first.get_or_insert(now.0);
        self.counts[index(self.newest)] += 1;
    }

    /// Events a second; over less than all slices, but at least half of them, when the first event was later.
    #[must_use]
    pub fn per_second(&mut self, now: Timestamp) -> f64 {
        self.turn(now);
        let whole = self.slice_ms * SLICES as u64;
        let span_ms = self
            .first
            .map_or(whole, |first| now.0.saturating_sub(first))
            .clamp(whole / 2, whole);
        #[expect(clippy::cast_precision_loss, reason = "minutes")]
        let seconds = span_ms as f64 / 1000.0;
        f64::from(self.counts.iter().sum::<u32>()) / seconds
    }

    fn turn(&mut self, now: Timestamp) {
        let slice = now.0 / self.slice_ms;
        if slice >= self.newest + SLICES as u64 {
            self.counts = [0; SLICES];
            self.newest = slice;
        }
        while self.newest < slice {
            self.newest += 1;
            self.counts[index(self.newest)] = 0;
        }
    }
}

fn index(slice: u64) -> usize {
    usize::try_from(slice % SLICES as u64).unwrap_or(0)
}
