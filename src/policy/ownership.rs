//! Which Sources a node sends from, among several nodes on one store.
//!
//! Takes the [`Board`] that the store gave, what this node wants and the time; gives what to ask for next, and where each
//! Source stands. Every node decides for itself from the same board, and the store lets only one have a Source, so a board
//! that is out of date costs a moment, never two owners.
//!
//! Failure semantics. A node stops before its claim ends, by a margin: whoever was frozen finds its time over before it
//! can do anything, without asking anybody. Clocks of nodes may differ by as much. A Source that is doubtful (ours, but its
//! margin is gone) counts as another's: its mail waits. A Source of a node that is gone has no owner, and its waiting mail
//! goes another way.

use std::collections::BTreeMap;
use std::time::Duration;

use super::routing::SourceRoom;
use crate::domain::{Board, Class, Node, NodeId, SourceId, Timestamp};

/// Part of a lease, or of a claim, in which nothing new is begun: it covers a late look at the clock, the time between that
/// look and the wire, and clocks that differ.
const MARGIN_PART: u32 = 4;
/// Claims in the time that one lasts: two may be lost.
const BEATS: u32 = 6;

/// The margin of a lease or claim that lasts this long.
#[must_use]
pub fn margin(lease: Duration) -> Duration {
    lease / MARGIN_PART
}

/// Between two claims.
#[must_use]
pub fn beat(lease: Duration) -> Duration {
    lease / BEATS
}

/// Whether something that is ours until `until` may still be used at `now`.
#[must_use]
pub fn still_ours(until: Timestamp, margin: Duration, now: Timestamp) -> bool {
    now.plus(margin) < until
}

/// What to ask the store for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// To be had or kept.
    pub claim: Vec<SourceId>,
    /// Our own, for another node: to be given up when nothing is under way there any more.
    pub hand_over: Vec<SourceId>,
}

/// What node `me`, which can send from `wants`, asks for next. Shares are even: a free Source goes to the node that has
/// the fewest of those that want it, and who has two more than another gives one up.
#[must_use]
pub fn plan(me: &NodeId, wants: &[SourceId], board: &Board) -> Plan {
    let mut counts: BTreeMap<&NodeId, usize> = board.nodes.iter().map(|presence| (&presence.node.id, 0)).collect();
    counts.entry(me).or_default();
    for claim in &board.claims {
        *counts.entry(&claim.node).or_default() += 1;
    }
    let wanted_by = |source: &SourceId, node: &NodeId| {
        let mut others = board.nodes.iter();
        (node == me && wants.contains(source))
            || (node != me && others.any(|other| other.node.id == *node && other.wants.contains(source)))
    };
    let poorest = |source: &SourceId, counts: &BTreeMap<&NodeId, usize>| {
        let takers = counts.iter().filter(|(node, _)| wanted_by(source, node));
        takers
            .min_by_key(|(_, count)| **count)
            .map(|(node, count)| ((*node).clone(), *count))
    };
    let mut plan = Plan::default();
    let mut sources: Vec<&SourceId> = wants.iter().collect();
    sources.extend(board.nodes.iter().flat_map(|presence| &presence.wants));
    sources.sort();
    sources.dedup();
    for source in &sources {
        let owner = board.claims.iter().find(|claim| claim.source == **source);
        if owner.is_none()
            && let Some((taker, _)) = poorest(source, &counts)
        {
            if taker == *me {
                plan.claim.push((*source).clone());
            }
            let known = counts.iter_mut().find(|(node, _)| ***node == taker);
            known.into_iter().for_each(|(_, count)| *count += 1);
        }
    }
    for claim in board.claims.iter().filter(|claim| claim.node == *me) {
        let mine = counts[me];
        match poorest(&claim.source, &counts) {
            // Not wanted by us any more: the address is gone, or the config has changed.
            _ if !wants.contains(&claim.source) => plan.hand_over.push(claim.source.clone()),
            Some((taker, count)) if taker != *me && count + 1 < mine => {
                plan.hand_over.push(claim.source.clone());
                let moved = counts.iter_mut();
                moved.for_each(|(node, count)| match () {
                    () if **node == *me => *count -= 1,
                    () if **node == taker => *count += 1,
                    () => {}
                });
            }
            _ => plan.claim.push(claim.source.clone()),
        }
    }
    plan
}

/// To whom a Source belongs, as this node sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// To us: send from it.
    Ours,
    /// To another node, or perhaps to one: leave it alone.
    Others,
    /// To nobody: whoever is there may take its mail another way.
    Nobodys,
}

/// Where all Sources stand, from one board.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standings {
    ours: BTreeMap<SourceId, Timestamp>,
    others: BTreeMap<SourceId, Timestamp>,
    /// Other nodes that are there, by the end of their presence.
    company: Vec<Timestamp>,
    margin: Duration,
    known: bool,
}

impl Standings {
    /// What `board` says to node `me`, but for `giving_up`: those are ours in the store and not used any more. To a run
    /// that a later one has replaced, everything is another's.
    #[must_use]
    pub fn new(me: &Node, board: &Board, giving_up: &[SourceId], lease: Duration) -> Self {
        let replaced = board
            .nodes
            .iter()
            .any(|other| other.node.id == me.id && other.node.run != me.run);
        let mut standings = Self {
            margin: margin(lease),
            known: true,
            ..Self::default()
        };
        for claim in &board.claims {
            let ours = claim.node == me.id && !replaced && !giving_up.contains(&claim.source);
            let side = if ours {
                &mut standings.ours
            } else {
                &mut standings.others
            };
            side.insert(claim.source.clone(), claim.until);
        }
        let others = board.nodes.iter().filter(|presence| presence.node != *me);
        standings.company = others.map(|presence| presence.until).collect();
        standings
    }

    /// Where a Source stands at `now`. Before the first board, nothing is anybody's to take.
    #[must_use]
    pub fn of(&self, source: &SourceId, now: Timestamp) -> Standing {
        match (self.ours.get(source), self.others.get(source)) {
            (Some(until), _) if still_ours(*until, self.margin, now) => Standing::Ours,
            (Some(_), _) => Standing::Others,
            // Another's clock may be behind ours by a margin.
            (None, Some(until)) if now < until.plus(self.margin) => Standing::Others,
            (None, _) if self.known => Standing::Nobodys,
            (None, _) => Standing::Others,
        }
    }

    /// Whether work of `class` is to be taken: we can send it, or we are alone and nobody ever will (it then waits for
    /// its end).
    #[must_use]
    pub fn may_take(&self, class: Class, rooms: &[SourceRoom], now: Timestamp) -> bool {
        let carries = |room: &&SourceRoom| room.enabled && room.classes.contains(&class);
        let mut carriers = rooms.iter().filter(carries);
        let alone = self.known && self.company.iter().all(|until| *until <= now);
        carriers.clone().any(|room| self.of(&room.id, now) == Standing::Ours)
            || (alone && carriers.all(|room| self.of(&room.id, now) == Standing::Nobodys))
    }

    /// The Sources that are ours at `now`.
    pub fn ours(&self, now: Timestamp) -> impl Iterator<Item = &SourceId> + '_ {
        self.ours
            .keys()
            .filter(move |source| self.of(source, now) == Standing::Ours)
    }
}

#[cfg(test)]
mod tests;
