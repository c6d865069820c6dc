//! Where the book of nodes is.

use std::sync::MutexGuard;

use super::super::claims::{ClaimBook, KeepsBook};
use super::queue::Memory;

impl KeepsBook for Memory {
    fn book(&self) -> MutexGuard<'_, ClaimBook> {
        self.claims.lock().expect("nothing panics while it holds the book")
    }
}
