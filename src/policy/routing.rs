//! From which Source a Delivery goes.
//!
//! Takes the Sources as configured, whose they are, and the Delivery; gives one Source of ours. A retry keeps the Source of
//! the first attempt (greylisting passes only from the same address) and waits for it when it is another node's; a first
//! attempt is spread by rendezvous hashing, so that adding a Source moves only its
//! share, among those with room in their warm-up if there are any. Never looks at the state of lanes.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::ownership::Standing;
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

/// Where a Delivery goes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice<'a> {
    /// From this Source, which is ours.
    Send(&'a SourceId),
    /// It waits for this Source, which is another node's.
    Leave(&'a SourceId),
    /// Nowhere: no Source of ours carries its class.
    Nowhere,
}

/// Picks the Source of a Delivery among those that are ours; one that began at another node's Source is left to it.
#[must_use]
pub fn choose<'a>(
    sources: &'a [SourceRoom],
    delivery: &'a Delivery,
    standing: impl Fn(&SourceId) -> Standing,
    has_room: impl Fn(&SourceId) -> bool,
) -> Choice<'a> {
    let fits = |room: &&SourceRoom| {
        room.enabled && room.classes.contains(&delivery.class) && standing(&room.id) == Standing::Ours
    };
    if let Some(kept) = delivery.source.as_ref() {
        if let Some(room) = sources.iter().find(|room| room.id == *kept).filter(fits) {
            return Choice::Send(&room.id);
        }
        if standing(kept) == Standing::Others {
            return Choice::Leave(kept);
        }
    }
    let score = |room: &SourceRoom| {
        let mut hasher = DefaultHasher::new();
        (&room.id, delivery.id).hash(&mut hasher);
        hasher.finish()
    };
    // What a Source in warm-up has no room for goes from a warm one; where none has room, it waits where it would have gone.
    let open = sources.iter().filter(fits).filter(|room| has_room(&room.id));
    let best = open.max_by_key(|room| score(room));
    let best = best.or_else(|| sources.iter().filter(fits).max_by_key(|room| score(room)));
    best.map_or(Choice::Nowhere, |room| Choice::Send(&room.id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{DeliveryId, MessageId, State, TenantId, Timestamp};

    fn rooms() -> Vec<SourceRoom> {
        let room = |id: &str, classes: &[Class]| SourceRoom {
            id: SourceId::from(id),
            classes: classes.to_vec(),
            enabled: true,
        };
        vec![
            room("ours", &Class::ALL),
            room("codes", &[Class::Critical]),
            room("theirs", &Class::ALL),
            room("nobodys", &Class::ALL),
        ]
    }

    fn delivery(kept: Option<&str>) -> Delivery {
        let message = MessageId(uuid::Uuid::from_u128(7));
        Delivery {
            id: DeliveryId { message, recipient: 0 },
            tenant: TenantId(1),
            class: Class::Transactional,
            address: "a@b.example".to_owned(),
            state: State::Queued,
            created_at: Timestamp(0),
            due_at: Timestamp(0),
            expires_at: Timestamp::NEVER,
            attempts: 0,
            ambiguous: 0,
            panics: 0,
            source: kept.map(SourceId::from),
            why: None,
            last_reply: None,
            bounce: None,
            updated_at: Timestamp(0),
        }
    }

    fn standing(source: &SourceId) -> Standing {
        match source.as_str() {
            "ours" | "codes" => Standing::Ours,
            "theirs" | "elsewhere" => Standing::Others,
            _ => Standing::Nobodys,
        }
    }

    #[test]
    fn mail_goes_from_our_sources_and_waits_for_those_of_others() {
        let rooms = rooms();
        let check = |kept: Option<&str>, expect: &str| {
            let delivery = delivery(kept);
            let chosen = match choose(&rooms, &delivery, standing, |_| true) {
                Choice::Send(source) => format!("send {source}"),
                Choice::Leave(source) => format!("leave {source}"),
                Choice::Nowhere => "nowhere".to_owned(),
            };
            assert_eq!(chosen, expect, "{kept:?}");
        };
        check(None, "send ours");
        check(Some("ours"), "send ours");
        check(Some("theirs"), "leave theirs");
        check(Some("elsewhere"), "leave elsewhere");
        check(Some("nobodys"), "send ours");
        check(Some("gone from the config"), "send ours");
        // It carries no mail of this class any more.
        check(Some("codes"), "send ours");
    }

    #[test]
    fn without_a_source_of_ours_it_goes_nowhere() {
        let delivery = delivery(None);
        assert_eq!(
            choose(&rooms(), &delivery, |_| Standing::Others, |_| true),
            Choice::Nowhere
        );
        assert_eq!(choose(&[], &delivery, standing, |_| true), Choice::Nowhere);
    }

    #[test]
    fn what_a_new_source_has_no_room_for_goes_from_a_warm_one_and_a_retry_waits_for_its_own() {
        let mut rooms = rooms();
        rooms[1].classes = Class::ALL.to_vec();
        let check = |kept: Option<&str>, open: &[&str], expect: &str| {
            let delivery = delivery(kept);
            let has_room = |source: &SourceId| open.contains(&source.as_str());
            let chosen = choose(&rooms, &delivery, standing, has_room);
            assert_eq!(
                chosen,
                Choice::Send(&SourceId::from(expect)),
                "{kept:?} with room at {open:?}"
            );
        };
        check(None, &["ours"], "ours");
        check(None, &["codes"], "codes");
        check(Some("ours"), &["codes"], "ours");
        let anywhere =
            choose(&rooms, &delivery(None), standing, |_| true) == choose(&rooms, &delivery(None), standing, |_| false);
        assert!(anywhere, "where none has room, it waits where it would have gone");
    }
}
