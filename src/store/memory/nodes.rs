//! The book of nodes behind the seam.

use std::sync::MutexGuard;

use async_trait::async_trait;

use super::super::claims::ClaimBook;
use super::queue::Memory;
use crate::domain::{Board, Node, Timestamp};
use crate::queue::{Claim, Claims, QueueError};

impl Memory {
    fn book(&self) -> MutexGuard<'_, ClaimBook> {
        self.claims.lock().expect("nothing panics while it holds the book")
    }
}

#[async_trait]
impl Claims for Memory {
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
