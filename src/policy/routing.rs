//! From which Source a Delivery goes.
//!
//! Takes the Sources as configured and the Delivery; gives one Source. A retry keeps the Source of the first attempt
//! (greylisting passes only from the same address); a first attempt is spread by rendezvous hashing, so that adding a Source
//! moves only its share. Never looks at the state of lanes: warm-up room and reputation join here later.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::domain::{Class, Delivery, SourceId};

/// What routing knows of a Source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceRoom {
    /// Which.
    pub id: SourceId,
    /// Classes it carries.
    pub classes: Vec<Class>,
    /// Whether it is in use; a bad source is taken out.
    pub enabled: bool,
}

/// Picks the Source of a Delivery; none when no enabled one carries its class.
#[must_use]
pub fn choose<'a>(sources: &'a [SourceRoom], delivery: &Delivery) -> Option<&'a SourceId> {
    let fits = |room: &&SourceRoom| room.enabled && room.classes.contains(&delivery.class);
    if let Some(kept) = delivery.source.as_ref()
        && let Some(room) = sources.iter().find(|room| room.id == *kept).filter(fits)
    {
        return Some(&room.id);
    }
    let score = |room: &SourceRoom| {
        let mut hasher = DefaultHasher::new();
        (&room.id, delivery.id).hash(&mut hasher);
        hasher.finish()
    };
    sources
        .iter()
        .filter(fits)
        .max_by_key(|room| score(room))
        .map(|room| &room.id)
}
