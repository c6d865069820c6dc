//! Chance as an argument: numbers that look random and follow from a seed alone.
//!
//! Takes a seed (a hash of ids and counters), gives numbers, jitter and shuffles. The same seed gives the same answer on
//! every machine and in every version, so that a failing run can be replayed. Never for secrets.

use std::time::Duration;

/// A stream of numbers from a seed (SplitMix64).
#[derive(Debug, Clone)]
pub struct Seeded {
    state: u64,
}

impl Seeded {
    /// The stream of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; zero for a bound of zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        // Multiply and keep the upper half: no modulo, and the bias is below 2^-32 for any bound used here.
        let wide = u128::from(self.next_u64()) * u128::from(bound);
        u64::try_from(wide >> 64).expect("the upper half of 128 bits fits 64")
    }

    /// Puts `items` in a chance order (Fisher-Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let bound = u64::try_from(last + 1).unwrap_or(u64::MAX);
            let other = usize::try_from(self.below(bound)).unwrap_or(0);
            items.swap(last, other);
        }
    }

    /// `nominal`, up to `percent` per cent longer or shorter, in whole milliseconds.
    pub fn jitter(&mut self, nominal: Duration, percent: u32) -> Duration {
        let millis = u64::try_from(nominal.as_millis()).unwrap_or(u64::MAX);
        let reach = millis / 100 * u64::from(percent) + millis % 100 * u64::from(percent) / 100;
        let low = millis.saturating_sub(reach);
        let width = reach.saturating_mul(2).saturating_add(1);
        Duration::from_millis(low.saturating_add(self.below(width)))
    }
}

/// One seed out of several numbers: ids, counters.
#[must_use]
pub fn seed_of(parts: &[u64]) -> u64 {
    parts
        .iter()
        .fold(0, |seed, part| Seeded::new(seed ^ part.rotate_left(17)).next_u64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers_in_every_version() {
        let mut seeded = Seeded::new(0);
        assert_eq!(
            seeded.next_u64(),
            0xe220_a839_7b1d_cdaf,
            "SplitMix64's published first number"
        );
        assert_ne!(seed_of(&[1, 2]), seed_of(&[2, 1]), "the order counts");
        assert_ne!(seed_of(&[1]), seed_of(&[1, 0]), "the length counts");
    }

    #[test]
    fn a_shuffle_gives_each_place_to_each_item_equally_often() {
        let mut counts = [[0u32; 4]; 4];
        for seed in 0..10_000 {
            let mut items = [0usize, 1, 2, 3];
            Seeded::new(seed).shuffle(&mut items);
            for (place, item) in items.iter().enumerate() {
                counts[place][*item] += 1;
            }
        }
        // Chi-square per place, 3 degrees of freedom: 16.27 is passed by chance once in a thousand.
        for place in counts {
            let chi: f64 = place
                .iter()
                .map(|count| (f64::from(*count) - 2500.0).powi(2) / 2500.0)
                .sum();
            assert!(chi < 16.27, "{place:?} gives {chi}");
        }
    }

    proptest! {
        #[test]
        fn jitter_stays_within_its_reach(seed: u64, millis in 0u64..1 << 40, percent in 0u32..=100) {
            let got = u64::try_from(Seeded::new(seed).jitter(Duration::from_millis(millis), percent).as_millis()).unwrap();
            let reach = u128::from(millis) * u128::from(percent) / 100;
            prop_assert!(u128::from(got.abs_diff(millis)) <= reach, "{got} for {millis} ± {percent} %");
        }

        #[test]
        fn below_stays_below(seed: u64, bound in 1u64..) {
            prop_assert!(Seeded::new(seed).below(bound) < bound);
        }
    }
}
