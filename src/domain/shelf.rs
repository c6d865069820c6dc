//! Where mail waits that cannot go to its lane yet.
//!
//! Stores park under a [`Lane`] and know nothing else. So that tenants share a lane by weight, each has shelves of its own
//! beside the lane, one a class and one more for newsletters to engaged recipients, which go first; mail of a stream that is paused or slowed waits on a shelf that belongs to no lane. This file
//! alone knows how the names of shelves look: takes a shelf, gives the name that stores park under, and back.

use std::collections::BTreeMap;
use std::fmt::Display;

use super::{Class, Lane, ProviderId, SourceId, Stream, TenantId};

/// Stands in no name of a Source or Provider.
const MARK: char = '\u{1f}';
/// In place of a Source, for mail that waits for no lane.
const HELD: &str = "\u{1f}held";
/// Where a class stands in other names, for [`Shelf::Engaged`].
const ENGAGED: &str = "engaged";

/// Where a Delivery waits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shelf {
    /// Under the lane itself: what a lane gave back, of any tenant and class. It gives the most urgent first.
    Common(Lane),
    /// Beside the lane: one class of one tenant.
    Own(Lane, Class, TenantId),
    /// Beside the lane: broadcast of one tenant to recipients who are engaged.
    Engaged(Lane, TenantId),
    /// Under no lane: the stream of this tenant is paused, or slowed down.
    Held(TenantId, Stream),
}

impl Shelf {
    /// The shelf for mail of this class and tenant that has to wait for the lane; only newsletters look at the recipient.
    #[must_use]
    pub fn beside(lane: &Lane, class: Class, tenant: TenantId, is_engaged: bool) -> Self {
        match class {
            Class::Broadcast if is_engaged => Self::Engaged(lane.clone(), tenant),
            _ => Self::Own(lane.clone(), class, tenant),
        }
    }

    /// The lane that its mail waits for; none where it waits for no lane.
    #[must_use]
    pub fn lane(&self) -> Option<&Lane> {
        match self {
            Self::Common(lane) | Self::Own(lane, ..) | Self::Engaged(lane, _) => Some(lane),
            Self::Held(..) => None,
        }
    }

    /// Whose mail it holds; none where there may be some of several tenants.
    #[must_use]
    pub fn tenant(&self) -> Option<TenantId> {
        match self {
            Self::Common(_) => None,
            Self::Own(_, _, tenant) | Self::Engaged(_, tenant) | Self::Held(tenant, _) => Some(*tenant),
        }
    }

    /// What stores park under.
    #[must_use]
    pub fn name(&self) -> Lane {
        match self {
            Self::Common(lane) => lane.clone(),
            Self::Own(lane, class, tenant) => beside(lane, *tenant, class),
            Self::Engaged(lane, tenant) => beside(lane, *tenant, ENGAGED),
            Self::Held(tenant, stream) => Lane {
                source: SourceId::from(HELD),
                provider: ProviderId::from(&*format!("{MARK}{tenant}{MARK}{}", stream.name())),
            },
        }
    }

    /// The shelf that is parked under as `name`.
    #[must_use]
    pub fn of(name: &Lane) -> Self {
        Self::read(name).unwrap_or_else(|| Self::Common(name.clone()))
    }

    /// Lanes with all that waits for them on any shelf, in order, of what stores say is parked.
    #[must_use]
    pub fn by_lane(parked: &[(Lane, u64)]) -> BTreeMap<Lane, u64> {
        let mut lanes = BTreeMap::new();
        for (name, deliveries) in parked {
            if let Some(lane) = Self::of(name).lane() {
                *lanes.entry(lane.clone()).or_default() += deliveries;
            }
        }
        lanes
    }

    fn read(name: &Lane) -> Option<Self> {
        let mut parts = name.provider.as_str().split(MARK);
        let (provider, tenant, last) = (parts.next()?, parts.next()?, parts.next()?);
        let tenant = TenantId(tenant.parse().ok().filter(|_| parts.next().is_none())?);
        if name.source.as_str() == HELD {
            let stream = [Stream::Transactional, Stream::Broadcast]
                .into_iter()
                .find(|stream| stream.name() == last)?;
            return Some(Self::Held(tenant, stream));
        }
        let lane = Lane {
            source: name.source.clone(),
            provider: ProviderId::from(provider),
        };
        if last == ENGAGED {
            return Some(Self::Engaged(lane, tenant));
        }
        Some(Self::Own(lane, last.parse().ok()?, tenant))
    }
}

/// The name of a shelf of a tenant.
fn beside(lane: &Lane, tenant: TenantId, which: impl Display) -> Lane {
    Lane {
        source: lane.source.clone(),
        provider: ProviderId::from(&*format!("{}{MARK}{tenant}{MARK}{which}", lane.provider)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane() -> Lane {
        Lane {
            source: SourceId::from("a"),
            provider: ProviderId::from("google"),
        }
    }

    #[test]
    fn every_shelf_comes_back_from_its_name_and_no_two_have_the_same() {
        let mut names = std::collections::BTreeSet::new();
        let mut shelves = vec![Shelf::Common(lane())];
        for tenant in [TenantId(0), TenantId(2), TenantId(22), TenantId(u32::MAX)] {
            shelves.extend(Class::ALL.map(|class| Shelf::Own(lane(), class, tenant)));
            shelves.push(Shelf::Engaged(lane(), tenant));
            shelves.extend([Stream::Transactional, Stream::Broadcast].map(|stream| Shelf::Held(tenant, stream)));
        }
        for shelf in shelves {
            assert_eq!(Shelf::of(&shelf.name()), shelf);
            assert!(names.insert(shelf.name()), "{shelf:?}");
        }
    }

    #[test]
    fn a_name_that_is_no_shelf_of_ours_is_a_lane() {
        for provider in [
            "google",
            "",
            "a\u{1f}b",
            "a\u{1f}1\u{1f}urgent",
            "a\u{1f}1\u{1f}broadcast\u{1f}",
        ] {
            let name = Lane {
                source: SourceId::from("a"),
                provider: ProviderId::from(provider),
            };
            assert_eq!(Shelf::of(&name), Shelf::Common(name.clone()), "{provider:?}");
        }
    }

    #[test]
    fn all_shelves_of_a_lane_are_counted_together_and_those_of_none_are_not() {
        let shelves = [
            (Shelf::Common(lane()), 3),
            (Shelf::Own(lane(), Class::Broadcast, TenantId(2)), 4),
            (Shelf::Engaged(lane(), TenantId(2)), 2),
            (Shelf::Held(TenantId(2), Stream::Broadcast), 5),
        ];
        let parked: Vec<(Lane, u64)> = shelves.iter().map(|(shelf, count)| (shelf.name(), *count)).collect();
        assert_eq!(Shelf::by_lane(&parked), BTreeMap::from([(lane(), 9)]));
    }
}
