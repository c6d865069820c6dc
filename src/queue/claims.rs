//! The part of the queue seam by which nodes share out the Sources.
//!
//! Takes who is there and what it wants to send from; gives the [`Board`]. What every implementation promises is in
//! `tests/it/contract/claims.rs`. Which Source a node asks for is decided in `policy::ownership`, never here.

use async_trait::async_trait;

use super::QueueError;
use crate::domain::{Board, Node, SourceId, Timestamp};

/// What a node says about itself and asks for, at least at each third of the time that it asks for.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Who.
    pub node: Node,
    /// Sources that it can send from.
    pub wants: Vec<SourceId>,
    /// Sources to be had or kept until then: free ones become its own, its own are kept, others' stay theirs.
    pub claim: Vec<SourceId>,
    /// Sources of its own to be given up.
    pub release: Vec<SourceId>,
    /// Now: presences and claims that ended by then are gone.
    pub now: Timestamp,
    /// Presence and claims last until then.
    pub until: Timestamp,
}

/// Who sends from where. A Source belongs to at most one node at a time.
///
/// Times are those of the callers, so the clocks of nodes must agree within the margin that `policy::ownership` keeps.
#[async_trait]
pub trait Claims: Send + Sync + std::fmt::Debug {
    /// One step: the node is there until `until`, gets what of `claim` is free, keeps what of it is its own, loses
    /// `release`. An earlier run of the node loses everything; nothing changes when a later one is there already.
    /// Gives the board after that.
    async fn claim(&self, claim: Claim) -> Result<Board, QueueError>;

    /// The node goes: it is not there any more and owns nothing. Changes nothing when a later run of it is there.
    async fn leave(&self, node: &Node) -> Result<(), QueueError>;

    /// Who is there and who owns what at `now`.
    async fn board(&self, now: Timestamp) -> Result<Board, QueueError>;
}
