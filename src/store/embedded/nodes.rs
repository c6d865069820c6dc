//! Where the book of nodes is. One process has the data directory, so it is kept in memory.

use std::sync::{MutexGuard, PoisonError};

use super::super::claims::{ClaimBook, KeepsBook};
use super::handle::Embedded;

impl KeepsBook for Embedded {
    fn book(&self) -> MutexGuard<'_, ClaimBook> {
        self.shared.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
