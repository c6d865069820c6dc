//! From which Source a Delivery goes.
//!
//! Takes the Sources as configured, whose they are, how their lanes to the provider stand, what the tenant has chosen, and the
//! Delivery; gives one Source of ours.
//!
//! A tenant or a class has a pool, and its mail leaves the pool never: a dedicated address stays dedicated. Within it a retry
//! keeps the Source of the first attempt (greylisting passes only from the same address) and waits for it when it is another
//! node's. Other mail goes by preference: past lanes that are blocked for our address, that have no room left in their
//! warm-up, whose name is bad, that are in another region; among equals by rendezvous hashing, so that adding a Source moves
//! only its share. A part of new mail goes to Sources with a bad name all the same: without mail no name gets better.
//!
//! A Delivery leaves a Source that it began at where the provider blocks that Source's address and another one of the pool is
//! not blocked, whatever was said to it last: a block lasts from ten minutes to hours, in which not even greylisting passes
//! there, and elsewhere that begins anew and ends in minutes. It leaves one whose warm-up has no room for long where
//! another has room now. A block of a netblock is a block of each Source in it. Blocks of a tenant, its domain or a message
//! move nothing.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use super::netblock::Netblock;
use super::ownership::Standing;
use crate::domain::{Class, Delivery, SourceId};

/// The pool of Sources and classes for which none is named.
pub const SHARED_POOL: &str = "shared";
/// A retry waits so long for room in the warm-up of its Source; that is: for the next hour, and not for tomorrow.
pub const ROOM_AWAITED_LONGEST: Duration = Duration::from_secs(3_600);
/// One Delivery in this many goes to a Source with a bad name as if it had a good one.
const TRIES_OF_A_BAD_NAME: u64 = 50;

/// What routing knows of a Source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceRoom {
    /// Which.
    pub id: SourceId,
    /// Classes it carries.
    pub classes: Vec<Class>,
    /// Whether it is in use; a bad source is taken out.
    pub enabled: bool,
    /// The pool that it belongs to.
    pub pool: String,
    /// Where it is, in the operator's words.
    pub region: Option<String>,
    /// Its neighbourhood, if its address is known.
    pub netblock: Option<Netblock>,
}

impl SourceRoom {
    /// A Source of the shared pool that carries everything.
    #[must_use]
    pub fn shared(id: SourceId) -> Self {
        Self {
            id,
            classes: Class::ALL.to_vec(),
            enabled: true,
            pool: SHARED_POOL.to_owned(),
            region: None,
            netblock: None,
        }
    }
}

/// From where the mail should go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish<'w> {
    /// From this pool and no other.
    pub pool: &'w str,
    /// Rather from this region.
    pub region: Option<&'w str>,
}

/// How the lane of a Source to the Delivery's provider stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outlook {
    /// The provider blocks the address, or the netblock that it is in.
    pub blocked: bool,
    /// Its warm-up leaves no room now.
    pub no_room: bool,
    /// Nor will it for longer than [`ROOM_AWAITED_LONGEST`].
    pub full_for_long: bool,
    /// It has a bad name there.
    pub avoided: bool,
}

/// Where a Delivery goes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice<'a> {
    /// From this Source, which is ours.
    Send(&'a SourceId),
    /// It waits for this Source, which is another node's.
    Leave(&'a SourceId),
    /// Nowhere: no Source of ours in its pool carries its class.
    Nowhere,
}

/// Picks the Source of a Delivery among those that are ours; one that began at another node's Source is left to it.
#[must_use]
pub fn choose<'a>(
    sources: &'a [SourceRoom],
    delivery: &'a Delivery,
    wish: Wish<'_>,
    standing: impl Fn(&SourceId) -> Standing,
    outlook: impl Fn(&SourceRoom) -> Outlook,
) -> Choice<'a> {
    let can = |room: &&SourceRoom| {
        room.enabled && room.classes.contains(&delivery.class) && standing(&room.id) == Standing::Ours
    };
    let fits = |room: &&SourceRoom| can(room) && room.pool == wish.pool;
    if let Some(kept) = delivery.source.as_ref() {
        if let Some(room) = sources.iter().find(|room| room.id == *kept).filter(can) {
            let here = outlook(room);
            let is_better = |other: &SourceRoom| {
                let there = outlook(other);
                !there.blocked && (here.blocked || !there.no_room)
            };
            let leaves = (here.blocked || here.full_for_long) && sources.iter().filter(fits).any(is_better);
            if !leaves {
                return Choice::Send(&room.id);
            }
        } else if standing(kept) == Standing::Others {
            return Choice::Leave(kept);
        }
    }
    let tries_a_bad_name = hash(&delivery.id).is_multiple_of(TRIES_OF_A_BAD_NAME);
    let rank = |room: &&SourceRoom| {
        let outlook = outlook(room);
        let far = wish.region.is_some_and(|region| room.region.as_deref() != Some(region));
        (
            outlook.blocked,
            outlook.no_room,
            outlook.avoided && !tries_a_bad_name,
            far,
            std::cmp::Reverse(hash(&(&room.id, delivery.id))),
        )
    };
    let best = sources.iter().filter(fits).min_by_key(rank);
    best.map_or(Choice::Nowhere, |room| Choice::Send(&room.id))
}

fn hash(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
