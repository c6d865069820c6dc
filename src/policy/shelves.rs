//! From which shelf a lane gets its next work: the mail that waits in the store, shared by class and tenant.
//!
//! Takes which shelves of a lane hold mail, and how many places the lane has; gives a shelf and how many to lease from it.
//! More urgent classes go first; every twelfth turn begins with the least urgent one and another one with the middle one,
//! so that nothing starves. Within a class the tenants' shelves have their turns by weight (deficit round robin, a quantum of
//! some deliveries at a time, since each turn is a call of the store). The common shelf of a lane has turns beside the
//! tenants' with the weight of the first one; what classes it holds is not known until it is asked. A shelf that gave less
//! than was asked for is empty. While newsletters of a tenant to engaged recipients wait, three of four that it
//! gives are such.

use std::collections::{BTreeMap, VecDeque};

use super::shares::Weights;
use crate::domain::{Class, Lane, Shelf, TenantId};

/// One turn in this many begins with the least urgent class.
pub const TURNS_FOR_THE_LEAST_URGENT: u64 = 12;
/// For so many newsletters to engaged recipients one goes to another one, so that those do not starve.
const ENGAGED_TO_ONE: i64 = 3;
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
    /// Whose shelves may hold mail of a class, in the order of their turns.
    rings: [VecDeque<Place>; 3],
    turns: u64,
}

/// A tenant's shelf, or the common one.
type Whose = Option<TenantId>;

/// The place of a tenant, or of the common shelf, in a ring.
#[derive(Debug)]
struct Place {
    whose: Whose,
    /// Of its turn.
    left: usize,
    /// Asked for engaged recipients, and not made good to the others yet.
    owed: i64,
    /// Whether its shelf for engaged recipients may hold mail.
    engaged: bool,
    /// Whether its shelf for all others may.
    strangers: bool,
}

impl Place {
    fn new(whose: Whose) -> Self {
        Self {
            whose,
            left: 0,
            owed: 0,
            engaged: false,
            strangers: false,
        }
    }

    fn half(&mut self, engaged: bool) -> &mut bool {
        if engaged {
            &mut self.engaged
        } else {
            &mut self.strangers
        }
    }

    /// Whether the engaged ones go next.
    fn is_for_engaged(&self) -> bool {
        let quantum = i64::try_from(QUANTUM).unwrap_or(i64::MAX);
        self.engaged && !(self.strangers && self.owed >= ENGAGED_TO_ONE * quantum)
    }

    /// Chooses which of its two shelves gives `most` now. Gives whether it is the one for engaged recipients.
    fn choose(&mut self, most: usize) -> bool {
        let for_engaged = self.is_for_engaged();
        let most = i64::try_from(most).unwrap_or(0);
        self.owed = match (self.engaged && self.strangers, for_engaged) {
            (true, true) => self.owed + most,
            (true, false) => self.owed - ENGAGED_TO_ONE * most,
            (false, _) => 0,
        };
        for_engaged
    }
}

impl OfLane {
    fn add(&mut self, class: Class, whose: Whose, engaged: bool) {
        let ring = &mut self.rings[class.index()];
        if let Some(place) = ring.iter_mut().find(|place| place.whose == whose) {
            *place.half(engaged) = true;
            return;
        }
        let mut place = Place::new(whose);
        *place.half(engaged) = true;
        ring.push_back(place);
    }

    fn remove(&mut self, class: Class, whose: Whose, engaged: bool) {
        let ring = &mut self.rings[class.index()];
        ring.retain_mut(|place| {
            if place.whose == whose {
                *place.half(engaged) = false;
            }
            place.engaged || place.strangers
        });
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
                classes.for_each(|class| of_lane.add(class, None, false));
            }
            Shelf::Own(lane, class, tenant) => {
                let of_lane = self.lanes.entry(lane.clone()).or_default();
                of_lane.add(*class, Some(*tenant), false);
            }
            Shelf::Engaged(lane, tenant) => {
                let of_lane = self.lanes.entry(lane.clone()).or_default();
                of_lane.add(Class::Broadcast, Some(*tenant), true);
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
        let place = ring.front_mut()?;
        if place.left == 0 {
            let weight = weights.of(place.whose.unwrap_or(TenantId::FIRST));
            place.left = QUANTUM * usize::try_from(weight).unwrap_or(1);
        }
        let most = if alone { room } else { room.min(place.left) };
        place.left = place.left.saturating_sub(most);
        let shelf = match place.whose {
            Some(tenant) => Shelf::beside(lane, class, tenant, place.choose(most)),
            None => Shelf::Common(lane.clone()),
        };
        if place.left == 0 {
            ring.rotate_left(1);
        }
        Some(Turn { shelf, most, class })
    }

    /// What a turn brought: the deliveries of each class, by [`Class::index`].
    pub fn took(&mut self, turn: &Turn, by_class: [usize; 3]) {
        let Some(lane) = turn.shelf.lane() else { return };
        let Some(of_lane) = self.lanes.get_mut(lane) else {
            return;
        };
        let is_empty = by_class.iter().sum::<usize>() < turn.most;
        match &turn.shelf {
            Shelf::Own(_, class, tenant) if is_empty => of_lane.remove(*class, Some(*tenant), false),
            Shelf::Engaged(_, tenant) if is_empty => of_lane.remove(Class::Broadcast, Some(*tenant), true),
            Shelf::Common(_) => {
                // It gives the most urgent first: all before the last class that it gave is gone.
                let last = Class::ALL.into_iter().rev().find(|class| by_class[class.index()] > 0);
                let gone = |class: &Class| is_empty || last.is_some_and(|last| *class < last);
                for class in Class::ALL.into_iter().filter(gone) {
                    of_lane.remove(class, None, false);
                }
            }
            Shelf::Own(..) | Shelf::Engaged(..) | Shelf::Held(..) => {}
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
    fn engaged_recipients_go_first_but_for_one_in_four_and_cost_their_tenant_its_own_share() {
        let mut shelves = Shelves::default();
        let engaged = Shelf::Engaged(lane(), TenantId(2));
        let all = [engaged.clone(), own(Class::Broadcast, 2), own(Class::Broadcast, 3)];
        let mut held: BTreeMap<Shelf, [usize; 3]> = all.iter().map(|shelf| (shelf.clone(), [0, 0, 10_000])).collect();
        all.iter().for_each(|shelf| shelves.add(shelf, None));
        given(&mut shelves, &mut held, &Weights::default(), 4_000);
        let taken = |shelf: &Shelf| 10_000 - held[shelf][2];
        let shares = all.each_ref().map(taken);
        assert!(shares[2].abs_diff(2_000) <= 50, "two tenants, two halves: {shares:?}");
        assert!(shares[0].abs_diff(1_500) <= 50, "three of four: {shares:?}");
        // No engaged ones are left: the others have every turn.
        held.insert(engaged, [0; 3]);
        let left = held.values().map(|left| left[2]).sum();
        given(&mut shelves, &mut held, &Weights::default(), left);
        assert!(held.values().all(|left| left[2] == 0), "{held:?}");
        while let Some(turn) = shelves.turn(&lane(), |_, _| 5, &Weights::default()) {
            shelves.took(&turn, [0; 3]);
        }
        assert!(!shelves.hold_any(&lane()));
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
