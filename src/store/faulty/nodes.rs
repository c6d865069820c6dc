//! The faults before the nodes' part of the queue seam.

use async_trait::async_trait;

use super::queue::{Faulty, pass};
use crate::domain::{Board, Node, Timestamp};
use crate::queue::{Claim, Claims, QueueError};

#[async_trait]
impl Claims for Faulty {
    async fn claim(&self, claim: Claim) -> Result<Board, QueueError> {
        pass!(self.queue.claim(claim) as Claim)
    }

    async fn leave(&self, node: &Node) -> Result<(), QueueError> {
        pass!(self.queue.leave(node) as Leave)
    }

    async fn board(&self, now: Timestamp) -> Result<Board, QueueError> {
        pass!(self.queue.board(now) as Board)
    }
}
