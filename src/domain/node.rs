//! Several nodes on one store: who is there, and who sends from which Source.

use super::{Fence, NodeId, SourceId, Timestamp};

/// A process that delivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub id: NodeId,
    /// Grows with each of its starts. A later run has taken the place of an earlier one, which is dead: whoever gives out
    /// an id sees to it that only one process has it at a time.
    pub run: u64,
}

/// A node that said it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    /// Which.
    pub node: Node,
    /// Sources that it is set up to send from and can bind.
    pub wants: Vec<SourceId>,
    /// Thought dead after this, unless it says so again.
    pub until: Timestamp,
}

/// A Source that belongs to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceClaim {
    /// Which.
    pub source: SourceId,
    /// To whom.
    pub node: NodeId,
    /// Grows with each owner.
    pub fence: Fence,
    /// Until then, unless renewed.
    pub until: Timestamp,
}

/// All nodes that are there and all Sources that have an owner.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Board {
    /// In the order of their names.
    pub nodes: Vec<Presence>,
    /// In the order of the Sources' names.
    pub claims: Vec<SourceClaim>,
}
