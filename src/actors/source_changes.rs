//! What is to be known before mail goes from a Source that came to this node, and to be written down before one is given up.
//!
//! Takes the board before and after a claim; reads what other nodes learnt of what is new, writes what we learnt of what
//! goes. The keeper waits for it, for a part of a beat at most, before anybody sees that the Source is ours: lanes that begin
//! then know what the store knows. What the store does not answer in time is begun as if nothing were known. Decides nothing.

use std::time::Duration;

use super::tools::Tools;
use super::{bookkeeper, scribe};
use crate::domain::{Board, NodeId, SourceId};
use crate::policy::ownership::beat;
use crate::store::StoreError;

/// The Sources that are `me`'s on `new` and were not on `old`, or were another's between the two.
#[must_use]
pub(super) fn gained(me: &NodeId, old: &Board, new: &Board) -> Vec<SourceId> {
    let held = |claim: &&crate::domain::SourceClaim| {
        let mut before = old.claims.iter();
        before.any(|old| old.source == claim.source && old.node == claim.node && old.fence == claim.fence)
    };
    let ours = new.claims.iter().filter(|claim| claim.node == *me);
    ours.filter(|claim| !held(claim))
        .map(|claim| claim.source.clone())
        .collect()
}

/// These Sources came to us: whoever needs to know what was learnt of them elsewhere reads it here.
pub(super) async fn on_gained(tools: &Tools, sources: &[SourceId]) {
    let read = async {
        report(tools, tools.lanes.memories.on_gained(&*tools.store, sources).await);
        report(tools, bookkeeper::on_gained(tools, sources).await);
    };
    if tokio::time::timeout(longest(tools), read).await.is_err() {
        tracing::warn!("the store did not say in time what was learnt of sources that came to us");
    }
}

/// These Sources are about to be given up: what we learnt of them is for whoever gets them.
pub(super) async fn on_leaving(tools: &Tools, sources: &[SourceId]) {
    let write = async {
        scribe::write(tools, sources).await;
        let now = tools.surroundings.clock.now();
        report(tools, bookkeeper::keep(tools, sources, now).await);
    };
    if tokio::time::timeout(longest(tools), write).await.is_err() {
        tracing::warn!("the store did not take in time what was learnt of sources that are given up");
    }
}

/// So long the keeper may be kept from its next word to the store: two of them may be lost.
fn longest(tools: &Tools) -> Duration {
    beat(tools.settings.lease)
}

fn report(tools: &Tools, done: Result<(), StoreError>) {
    if let Err(error) = done {
        tools.surroundings.observer.store_error(&error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Fence, SourceClaim, Timestamp};

    fn board(claims: &[(&str, &str, u64)]) -> Board {
        let claim = |(source, node, fence): &(&str, &str, u64)| SourceClaim {
            source: SourceId::from(*source),
            node: NodeId::from(*node),
            fence: Fence(*fence),
            until: Timestamp(9),
        };
        Board {
            nodes: Vec::new(),
            claims: claims.iter().map(claim).collect(),
        }
    }

    #[test]
    fn what_is_new_to_us_is_gained_and_what_was_ours_all_the_time_is_not() {
        let check = |old: &[(&str, &str, u64)], new: &[(&str, &str, u64)], expect: &[&str]| {
            let found = gained(&NodeId::from("me"), &board(old), &board(new));
            let expect: Vec<SourceId> = expect.iter().map(|source| SourceId::from(*source)).collect();
            assert_eq!(found, expect, "{old:?} {new:?}");
        };
        check(&[], &[("a", "me", 1), ("b", "other", 2)], &["a"]);
        check(&[("a", "me", 1)], &[("a", "me", 1)], &[]);
        check(&[("a", "other", 1)], &[("a", "me", 2)], &["a"]);
        // It was somebody else's while we were frozen.
        check(&[("a", "me", 1)], &[("a", "me", 3)], &["a"]);
        check(&[("a", "me", 1)], &[("a", "other", 2)], &[]);
    }
}
