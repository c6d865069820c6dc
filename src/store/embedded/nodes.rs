//! The book of nodes behind the seam. One process has the data directory, so it is kept in memory and asks nobody.

use std::sync::{MutexGuard, PoisonError};

use async_trait::async_trait;

use super::super::claims::ClaimBook;
use super::handle::Embedded;
use crate::domain::{Board, Node, Timestamp};
use crate::queue::{Claim, Claims, QueueError};

impl Embedded {
    fn book(&self) -> MutexGuard<'_, ClaimBook> {
        self.shared.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Claims for Embedded {
    async fn claim(&self, claim: Claim) -> Result<Board, QueueError> {
        Ok(self.book().claim(claim))
    }

    async fn leave(&self, node: &Node) -> Result<(), QueueError> {
        self.book().leave(node);
        Ok(())
    }

    async fn board(&self, now: Timestamp) -> Result<Board, QueueError> {
        Ok(self.book().board(now))
    }
}
