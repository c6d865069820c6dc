//! The book of nodes and their Sources, for backends of one process.
//!
//! Takes what the seam takes; gives the board. In memory only: it ends with the process, and so do the nodes in it.

use std::collections::BTreeMap;
use std::sync::MutexGuard;

use async_trait::async_trait;

use crate::domain::{Board, Fence, Node, NodeId, Presence, SourceClaim, SourceId, Timestamp};
use crate::queue::{Claim, Claims, QueueError};

/// A backend of one process: it keeps its book in memory and asks nobody.
pub(super) trait KeepsBook: Send + Sync + std::fmt::Debug {
    /// The book, as long as the guard is held.
    fn book(&self) -> MutexGuard<'_, ClaimBook>;
}

#[async_trait]
impl<T: KeepsBook> Claims for T {
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

/// Who is there and who owns what.
#[derive(Debug, Default)]
pub(super) struct ClaimBook {
    nodes: BTreeMap<NodeId, Presence>,
    claims: BTreeMap<SourceId, SourceClaim>,
    last_fence: u64,
}

impl ClaimBook {
    /// An empty one, whose fences are above this.
    pub(super) fn above(last_fence: u64) -> Self {
        Self {
            last_fence,
            ..Self::default()
        }
    }

    /// What [`crate::queue::Claims::claim`] promises.
    pub(super) fn claim(&mut self, claim: Claim) -> Board {
        self.lapse(claim.now);
        let id = claim.node.id.clone();
        match self.nodes.get(&id).map(|known| known.node.run) {
            Some(run) if run > claim.node.run => return self.all(),
            Some(run) if run < claim.node.run => self.claims.retain(|_, held| held.node != id),
            _ => {}
        }
        let presence = Presence {
            node: claim.node,
            wants: claim.wants,
            until: claim.until,
        };
        self.nodes.insert(id.clone(), presence);
        for source in &claim.release {
            if self.claims.get(source).is_some_and(|held| held.node == id) {
                self.claims.remove(source);
            }
        }
        for source in claim.claim {
            let last_fence = &mut self.last_fence;
            let held = self.claims.entry(source).or_insert_with_key(|source| {
                *last_fence += 1;
                SourceClaim {
                    source: source.clone(),
                    node: id.clone(),
                    fence: Fence(*last_fence),
                    until: claim.until,
                }
            });
            if held.node == id {
                held.until = claim.until;
            }
        }
        self.all()
    }

    /// What [`crate::queue::Claims::leave`] promises.
    pub(super) fn leave(&mut self, node: &Node) {
        if self.nodes.get(&node.id).is_some_and(|known| known.node.run <= node.run) {
            self.nodes.remove(&node.id);
            self.claims.retain(|_, held| held.node != node.id);
        }
    }

    /// What [`crate::queue::Claims::board`] promises.
    pub(super) fn board(&mut self, now: Timestamp) -> Board {
        self.lapse(now);
        self.all()
    }

    fn lapse(&mut self, now: Timestamp) {
        self.nodes.retain(|_, presence| presence.until > now);
        self.claims.retain(|_, claim| claim.until > now);
    }

    fn all(&self) -> Board {
        Board {
            nodes: self.nodes.values().cloned().collect(),
            claims: self.claims.values().cloned().collect(),
        }
    }
}
