//! From which shelf a lane gets its next work: the mail that waits in the store, shared by class and tenant.
//!
//! Takes which shelves of a lane hold mail, and how many places the lane has; gives a shelf and how many to lease from it.
//! More urgent classes go first; every twelfth turn begins with the least urgent one and another one with the middle one,
//! so that nothing starves. Within a class the tenants' shelves have their turns by weight (deficit round robin, a quantum of
//! some deliveries at a time, since each turn is a call of the store). The common shelf of a lane has turns beside the
//! tenants' with the weight of the first one; what classes it holds is not known until it is asked. A shelf that gave less
//! than was asked for is empty.

use std::collections::{BTreeMap, VecDeque};

use super::shares::Weights;
use crate::domain::{Class, Lane, Shelf, TenantId};

/// One turn in this many begins with the least urgent class.
pub const TURNS_FOR_THE_LEAST_URGENT: u64 = 12;
/// Deliveries of a tenant of weight 1 in one turn.
const QUANTUM: usize = 16;

/// In which order classes are served at this turn.
#[must_use]
pub fn order_of_classes(turn: u64) -> [Class; 3] {
    match turn % TURNS_FOR_THE_LEAST_URGENT {
        0 => [Class::Broadcast, Class::Transactional, Class::Critical],
        6 => [Class::Transactional, Class::Critical, Class::Broadcast],
        _ => [Class::Critical, Class::Transactional, Class::Broadcast],
    }
}

/// What to lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// From here.
    pub shelf: Shelf,
    /// At most so many.
    pub most: usize,
    /// For the sake of this class. The common shelf may give others too.
    pub class: Class,
}

/// The shelves of all lanes that are known to hold mail.
#[derive(Debug, Default)]
pub struct Shelves {
    lanes: BTreeMap<Lane, OfLane>,
}

#[derive(Debug, Default)]
struct OfLane {
    /// Whose shelf may hold mail of a class, in the order of their turns, with what is left of the turn.
    rings: [VecDeque<(Whose, usize)>; 3],
    turns: u64,
}

/// A tenant's shelf, or the common one.
type Whose = Option<TenantId>;

impl OfLane {
    fn add(&mut self, class: Class, whose: Whose) {
        let ring = &mut self.rings[class.index()];
        if !ring.iter().any(|(other, _)| *other == whose) {
            ring.push_back((whose, 0));
        }
    }

    fn remove(&mut self, class: Class, whose: Whose) {
        self.rings[class.index()].retain(|(other, _)| *other != whose);
    }

    fn is_empty(&self) -> bool {
        self.rings.iter().all(VecDeque::is_empty)
    }
}

impl Shelves {
    /// A shelf may hold mail: of this class, or of any where that is not known.
    pub fn add(&mut self, shelf: &Shelf, class: Option<Class>) {
        match shelf {
            Shelf::Common(lane) => {
                let of_lane = self.lanes.entry(lane.clone()).or_default();
                let classes = Class::ALL
                    .into_iter()
                    .filter(|one| class.is_none_or(|class| class == *one));
                classes.for_each(|class| of_lane.add(class, None));
            }
            Shelf::Own(lane, class, tenant) => {
                self.lanes.entry(lane.clone()).or_default().add(*class, Some(*tenant));
            }
            Shelf::Held(..) => {}
        }
    }

    /// Whether a lane may have mail on one of its shelves.
    #[must_use]
    pub fn hold_any(&self, lane: &Lane) -> bool {
        self.lanes.contains_key(lane)
    }

    /// Where the next work of a lane comes from: `places(class)` says how many deliveries it has room for.
    pub fn turn(&mut self, lane: &Lane, places: impl Fn(Class, u64) -> usize, weights: &Weights) -> Option<Turn> {
        let of_lane = self.lanes.get_mut(lane)?;
        let number = of_lane.turns + 1;
        let classes = order_of_classes(number).into_iter();
        let mut open = classes.filter(|class| !of_lane.rings[class.index()].is_empty());
        let class = open.find(|class| places(*class, number) > 0)?;
        let room = places(class, number);
        // A lane without places uses up no turn.
        of_lane.turns = number;
        let ring = &mut of_lane.rings[class.index()];
        let alone = ring.len() == 1;
        let (whose, left) = ring.front_mut()?;
        let whose = *whose;
        if *left == 0 {
            let weight = weights.of(whose.unwrap_or(TenantId::FIRST));
            *left = QUANTUM * usize::try_from(weight).unwrap_or(1);
        }
        let most = if alone { room } else { room.min(*left) };
        *left = left.saturating_sub(most);
        if *left == 0 {
            ring.rotate_left(1);
        }
        Some(Turn {
            shelf: match whose {
                Some(tenant) => Shelf::beside(lane, class, tenant),
                None => Shelf::Common(lane.clone()),
            },
            most,
            class,
        })
    }

    /// What a turn brought: the deliveries of each class, by [`Class::index`].
    pub fn took(&mut self, turn: &Turn, by_class: [usize; 3]) {
        let Some(lane) = turn.shelf.lane() else { return };
        let Some(of_lane) = self.lanes.get_mut(lane) else {
            return;
        };
        let is_empty = by_class.iter().sum::<usize>() < turn.most;
        match &turn.shelf {
            Shelf::Own(_, class, tenant) if is_empty => of_lane.remove(*class, Some(*tenant)),
            Shelf::Common(_) => {
                // It gives the most urgent first: all before the last class that it gave is gone.
                let last = Class::ALL.into_iter().rev().find(|class| by_class[class.index()] > 0);
                let gone = |class: &Class| is_empty || last.is_some_and(|last| *class < last);
                for class in Class::ALL.into_iter().filter(gone) {
                    of_lane.remove(class, None);
                }
            }
            Shelf::Own(..) | Shelf::Held(..) => {}
        }
        if of_lane.is_empty() {
            self.lanes.remove(lane);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ProviderId, SourceId};

    fn lane() -> Lane {
        Lane {
            source: SourceId::from("a"),
            provider: ProviderId::from("google"),
        }
    }

    fn own(class: Class, tenant: u32) -> Shelf {
        Shelf::Own(lane(), class, TenantId(tenant))
    }

    /// Runs turns with five places each against shelves that hold so many, until `total` were given.
    fn given(shelves: &mut Shelves, held: &mut BTreeMap<Shelf, [usize; 3]>, weights: &Weights, total: usize) {
        let mut count = 0;
        while count < total {
            let turn = shelves.turn(&lane(), |_, _| 5, weights).expect("there is work");
            let store = held.get_mut(&turn.shelf).expect("a shelf that was added");
            let mut got = [0; 3];
            for class in Class::ALL {
                let taken = store[class.index()].min(turn.most - got.iter().sum::<usize>());
                store[class.index()] -= taken;
                got[class.index()] = taken;
            }
            count += got.iter().sum::<usize>();
            shelves.took(&turn, got);
        }
    }

    #[test]
    fn what_waits_in_the_store_is_shared_by_weight_whoever_came_first() {
        let mut shelves = Shelves::default();
        let weights = Weights::new([(TenantId(3), 2)]);
        let all = [
            Shelf::Common(lane()),
            own(Class::Broadcast, 2),
            own(Class::Broadcast, 3),
        ];
        let mut held: BTreeMap<Shelf, [usize; 3]> = all.iter().map(|shelf| (shelf.clone(), [0, 0, 10_000])).collect();
        all.iter().for_each(|shelf| shelves.add(shelf, Some(Class::Broadcast)));
        given(&mut shelves, &mut held, &weights, 4_000);
        let taken = |shelf: &Shelf| 10_000 - held[shelf][2];
        let shares = all.each_ref().map(taken);
        for (share, expect) in shares.into_iter().zip([1_000_usize, 1_000, 2_000]) {
            assert!(share.abs_diff(expect) * 20 <= expect, "within 5 %: {shares:?}");
        }
    }

    #[test]
    fn codes_come_first_and_newsletters_do_not_starve() {
        let mut shelves = Shelves::default();
        let all = [
            own(Class::Critical, 2),
            own(Class::Transactional, 3),
            own(Class::Broadcast, 4),
        ];
        let mut held: BTreeMap<Shelf, [usize; 3]> = BTreeMap::new();
        for (shelf, class) in all.iter().zip(Class::ALL) {
            let mut amount = [0; 3];
            amount[class.index()] = 10_000;
            held.insert(shelf.clone(), amount);
            shelves.add(shelf, None);
        }
        given(&mut shelves, &mut held, &Weights::default(), 1_200);
        let taken: Vec<usize> = all
            .iter()
            .map(|shelf| 10_000 - held[shelf].iter().sum::<usize>())
            .collect();
        assert_eq!(taken, [1_000, 100, 100]);
    }

    #[test]
    fn the_common_shelf_shows_what_it_holds_when_it_is_asked() {
        let mut shelves = Shelves::default();
        shelves.add(&Shelf::Common(lane()), None);
        shelves.add(&own(Class::Transactional, 2), None);
        let weights = Weights::default();
        let first = shelves.turn(&lane(), |_, _| 5, &weights).unwrap();
        assert_eq!(
            (&first.shelf, first.class, first.most),
            (&Shelf::Common(lane()), Class::Critical, 5)
        );
        // It had broadcast alone, so it stands behind the transactional mail of the other tenant from now on.
        shelves.took(&first, [0, 0, 5]);
        let second = shelves.turn(&lane(), |_, _| 5, &weights).unwrap();
        assert_eq!(second.shelf, own(Class::Transactional, 2));
        shelves.took(&second, [0, 2, 0]);
        let third = shelves.turn(&lane(), |_, _| 5, &weights).unwrap();
        assert_eq!((&third.shelf, third.class), (&Shelf::Common(lane()), Class::Broadcast));
        shelves.took(&third, [0; 3]);
        assert!(!shelves.hold_any(&lane()));
        assert_eq!(shelves.turn(&lane(), |_, _| 5, &weights), None);
    }

    #[test]
    fn a_class_without_room_is_passed_over() {
        let mut shelves = Shelves::default();
        shelves.add(&own(Class::Broadcast, 2), None);
        assert_eq!(shelves.turn(&lane(), |_, _| 0, &Weights::default()), None);
        shelves.add(&own(Class::Critical, 2), None);
        let places = |class: Class, _| usize::from(class == Class::Critical);
        let turn = shelves.turn(&lane(), places, &Weights::default()).unwrap();
        assert_eq!((turn.class, turn.most), (Class::Critical, 1));
    }
}
