//! Whose turn it is: tenants share what there is by weight.
//!
//! Takes pieces of work of tenants and their weights; gives the next piece. Deficit round robin (Shreedhar and Varghese) with
//! pieces that all cost the same: each tenant that has work gets as many pieces in a row as its weight, then the next one has
//! its turn. A tenant without work gets nothing and saves nothing, so nobody comes back with a claim to all that it did not use.
//! Within a tenant, first come is first served. Never looks at classes: there is one of these for each.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::domain::TenantId;

/// The largest weight.
pub const WEIGHT_MAX: u32 = 1_000;

/// Work that belongs to a tenant.
pub trait OfTenant {
    /// Whose it is.
    fn tenant(&self) -> TenantId;
}

/// The weights of tenants: 1, but for those that are named. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Weights(Arc<BTreeMap<TenantId, u32>>);

impl Weights {
    /// These weights, each brought between 1 and [`WEIGHT_MAX`].
    #[must_use]
    pub fn new(weights: impl IntoIterator<Item = (TenantId, u32)>) -> Self {
        let bounded = weights
            .into_iter()
            .map(|(tenant, weight)| (tenant, weight.clamp(1, WEIGHT_MAX)));
        Self(Arc::new(bounded.collect()))
    }

    /// The weight of a tenant.
    #[must_use]
    pub fn of(&self, tenant: TenantId) -> u32 {
        self.0.get(&tenant).copied().unwrap_or(1)
    }
}

/// Work of many tenants.
#[derive(Debug)]
pub struct Shares<T> {
    /// No empty ones.
    queues: BTreeMap<TenantId, VecDeque<T>>,
    /// Those with work, in the order of their turns, with the pieces that are left of the turn.
    turns: VecDeque<(TenantId, u32)>,
    len: usize,
}

impl<T> Default for Shares<T> {
    fn default() -> Self {
        Self {
            queues: BTreeMap::new(),
            turns: VecDeque::new(),
            len: 0,
        }
    }
}

impl<T> Shares<T> {
    /// How much there is.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All of it, tenant by tenant.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.queues.values().flatten()
    }

    /// The same, to change what is known of it; not whose it is.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.queues.values_mut().flatten()
    }

    /// Takes everything out.
    pub fn drain(&mut self) -> impl Iterator<Item = T> + use<T> {
        self.turns.clear();
        self.len = 0;
        std::mem::take(&mut self.queues).into_values().flatten()
    }

    /// Takes out what this holds for; the rest keeps its order.
    pub fn take_where(&mut self, holds: impl Fn(&T) -> bool) -> Vec<T> {
        if !self.iter().any(&holds) {
            return Vec::new();
        }
        let mut taken = Vec::new();
        for queue in self.queues.values_mut() {
            let mut kept = VecDeque::with_capacity(queue.len());
            for piece in queue.drain(..) {
                match holds(&piece) {
                    true => taken.push(piece),
                    false => kept.push_back(piece),
                }
            }
            *queue = kept;
        }
        self.queues.retain(|_, queue| !queue.is_empty());
        let queues = &self.queues;
        self.turns.retain(|(tenant, _)| queues.contains_key(tenant));
        self.len -= taken.len();
        taken
    }

    /// The next piece.
    pub fn pop_front(&mut self, weights: &Weights) -> Option<T> {
        let (tenant, left) = self.turns.front_mut()?;
        let tenant = *tenant;
        if *left == 0 {
            *left = weights.of(tenant);
        }
        *left -= 1;
        let turn_is_over = *left == 0;
        let queue = self.queues.get_mut(&tenant)?;
        let piece = queue.pop_front();
        self.len -= usize::from(piece.is_some());
        if queue.is_empty() {
            self.queues.remove(&tenant);
            self.turns.pop_front();
        } else if turn_is_over {
            self.turns.rotate_left(1);
        }
        piece
    }
}

impl<T: OfTenant> Shares<T> {
    /// New work, behind the other work of its tenant.
    pub fn push_back(&mut self, piece: T) {
        let tenant = piece.tenant();
        self.queue(tenant).push_back(piece);
    }

    /// Work that was taken and could not be done: it comes first again, and its tenant gets its turn back.
    pub fn push_front(&mut self, piece: T) {
        let tenant = piece.tenant();
        self.queue(tenant).push_front(piece);
        if let Some(place) = self.turns.iter().position(|(other, _)| *other == tenant)
            && let Some((_, left)) = self.turns.remove(place)
        {
            self.turns.push_front((tenant, left.saturating_add(1)));
        }
    }

    fn queue(&mut self, tenant: TenantId) -> &mut VecDeque<T> {
        self.len += 1;
        self.queues.entry(tenant).or_insert_with(|| {
            self.turns.push_back((tenant, 0));
            VecDeque::new()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Piece(u32, usize);

    impl OfTenant for Piece {
        fn tenant(&self) -> TenantId {
            TenantId(self.0)
        }
    }

    fn shares(work: &[(u32, usize)]) -> Shares<Piece> {
        let mut shares = Shares::default();
        for &(tenant, count) in work {
            (0..count).for_each(|number| shares.push_back(Piece(tenant, number)));
        }
        shares
    }

    fn weights(of: &[(u32, u32)]) -> Weights {
        Weights::new(of.iter().map(|&(tenant, weight)| (TenantId(tenant), weight)))
    }

    #[test]
    fn a_tenant_with_a_million_waits_its_turn_like_one_with_ten() {
        let mut shares = shares(&[(1, 100_000), (2, 10), (3, 10)]);
        let first: Vec<Piece> = (0..30).filter_map(|_| shares.pop_front(&Weights::default())).collect();
        for tenant in 1..=3 {
            assert_eq!(first.iter().filter(|piece| piece.0 == tenant).count(), 10, "{first:?}");
        }
        assert_eq!(shares.len(), 99_990);
    }

    #[test]
    fn tenants_with_a_backlog_share_by_weight() {
        let weights = weights(&[(1, 1), (2, 3), (3, 6)]);
        let mut shares = shares(&[(1, 5_000), (2, 5_000), (3, 5_000)]);
        let mut given = [0_u32; 4];
        for _ in 0..2_000 {
            given[shares.pop_front(&weights).map_or(0, |piece| piece.0) as usize] += 1;
        }
        assert_eq!(given, [0, 200, 600, 1_200]);
    }

    #[test]
    fn work_that_comes_back_is_first_and_costs_its_tenant_no_turn() {
        let mut shares = shares(&[(1, 2), (2, 2)]);
        let first = shares.pop_front(&Weights::default()).unwrap();
        shares.push_front(first);
        let order: Vec<Piece> = std::iter::from_fn(|| shares.pop_front(&Weights::default())).collect();
        assert_eq!(order, [Piece(1, 0), Piece(2, 0), Piece(1, 1), Piece(2, 1)]);
    }

    #[test]
    fn what_is_taken_out_leaves_no_turn_behind() {
        let mut shares = shares(&[(1, 3), (2, 2)]);
        assert_eq!(shares.take_where(|piece| piece.0 == 1 || piece.1 == 0).len(), 4);
        assert_eq!(shares.len(), 1);
        assert_eq!(shares.pop_front(&Weights::default()), Some(Piece(2, 1)));
        assert_eq!(shares.pop_front(&Weights::default()), None);
        shares.push_back(Piece(1, 9));
        assert_eq!(shares.drain().collect::<Vec<_>>(), [Piece(1, 9)]);
        assert!(shares.is_empty() && shares.pop_front(&Weights::default()).is_none());
    }

    #[test]
    fn a_weight_of_nothing_or_of_everything_is_brought_within_bounds() {
        let weights = weights(&[(1, 0), (2, u32::MAX)]);
        assert_eq!([1, 2, 3].map(|tenant| weights.of(TenantId(tenant))), [1, WEIGHT_MAX, 1]);
    }

    proptest! {
        /// Whatever is pushed and popped: each tenant's work stays in order, nothing is lost and nothing counted twice.
        #[test]
        fn nothing_is_lost_and_each_tenant_keeps_its_order(
            steps in proptest::collection::vec((0_u32..4, any::<bool>()), 1..200),
            of in proptest::collection::vec(1_u32..5, 4),
        ) {
            let weights = Weights::new((0..4).map(TenantId).zip(of));
            let mut shares = Shares::default();
            let (mut pushed, mut popped) = ([0_usize; 4], [0_usize; 4]);
            let mut take = |shares: &mut Shares<Piece>| {
                let piece = shares.pop_front(&weights)?;
                let next = &mut popped[piece.0 as usize];
                let in_order = piece.1 == *next;
                *next += 1;
                Some(in_order)
            };
            for (tenant, push) in steps {
                if push {
                    shares.push_back(Piece(tenant, pushed[tenant as usize]));
                    pushed[tenant as usize] += 1;
                } else {
                    prop_assert_ne!(take(&mut shares), Some(false));
                }
            }
            while let Some(in_order) = take(&mut shares) {
                prop_assert!(in_order);
            }
            prop_assert!(shares.is_empty());
            prop_assert_eq!(pushed, popped);
        }
    }
}
