//! In which order hosts and addresses are tried, and what it means when none is left. Pure.
//!
//! Takes hosts, addresses and a seed (one per session), gives orders. Never asks and never dials.

use std::net::IpAddr;

use crate::domain::{DnsFailure, Host};
use crate::policy::seed::Seeded;

/// Hosts by ascending preference, those of equal preference in a chance order, as RFC 5321 section 5.1 demands so that
/// load is shared.
#[must_use]
pub fn order(hosts: &[Host], seed: u64) -> Vec<&Host> {
    let mut ordered: Vec<&Host> = hosts.iter().collect();
    ordered.sort_by_key(|host| host.preference);
    let mut seeded = Seeded::new(seed);
    for equals in ordered.chunk_by_mut(|left, right| left.preference == right.preference) {
        seeded.shuffle(equals);
    }
    ordered
}

/// Addresses in a chance order, IPv4 and IPv6 in turn as far as both last, so that a family that does not work costs one
/// try. Which family comes first is chance too.
#[must_use]
pub fn interleave(addresses: &[IpAddr], seed: u64) -> Vec<IpAddr> {
    let (mut first, mut second): (Vec<IpAddr>, Vec<IpAddr>) = addresses.iter().partition(|address| address.is_ipv4());
    let mut seeded = Seeded::new(seed);
    seeded.shuffle(&mut first);
    seeded.shuffle(&mut second);
    if seeded.below(2) == 0 {
        std::mem::swap(&mut first, &mut second);
    }
    let mut mixed = Vec::with_capacity(addresses.len());
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    loop {
        match (first.next(), second.next()) {
            (None, None) => return mixed,
            (one, other) => mixed.extend(one.into_iter().chain(other)),
        }
    }
}

/// What it means when every host of a domain failed before a connection was tried.
///
/// Permanent only when all of them are forbidden; one that gave no answer may well answer later.
#[must_use]
pub fn no_host_left(failures: &[DnsFailure]) -> DnsFailure {
    let all = |failure| !failures.is_empty() && failures.iter().all(|one| *one == failure);
    if failures.contains(&DnsFailure::NoAnswer) {
        DnsFailure::NoAnswer
    } else if all(DnsFailure::Forbidden) {
        DnsFailure::Forbidden
    } else if all(DnsFailure::CnameLoop) {
        DnsFailure::CnameLoop
    } else {
        DnsFailure::NoAddress
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn hosts(list: &[(u16, &str)]) -> Vec<Host> {
        list.iter()
            .map(|(preference, name)| Host {
                name: (*name).to_owned(),
                addresses: Vec::new(),
                preference: *preference,
            })
            .collect()
    }

    fn names(hosts: &[Host], seed: u64) -> Vec<&str> {
        order(hosts, seed).into_iter().map(|host| host.name.as_str()).collect()
    }

    fn addresses(list: &[&str]) -> Vec<IpAddr> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    /// How far counts are from being equal; passed by chance once in a thousand: 13.8 for 3 of them, 20.5 for 6.
    fn chi_square(counts: &BTreeMap<String, u32>) -> f64 {
        let total: u32 = counts.values().sum();
        let expected = f64::from(total) / f64::from(u32::try_from(counts.len()).unwrap());
        counts
            .values()
            .map(|count| (f64::from(*count) - expected).powi(2) / expected)
            .sum()
    }

    #[test]
    fn equal_preferences_are_shuffled_evenly_and_others_never() {
        let list = hosts(&[(20, "z"), (10, "a"), (10, "b"), (10, "c"), (5, "first")]);
        let mut orders = BTreeMap::<String, u32>::new();
        for seed in 0..10_000 {
            let order = names(&list, seed);
            assert_eq!((order[0], order[4]), ("first", "z"));
            *orders.entry(order[1..4].concat()).or_default() += 1;
        }
        assert_eq!(orders.len(), 6, "{orders:?}");
        assert!(chi_square(&orders) < 20.5, "{orders:?}");
    }

    #[test]
    fn the_same_seed_gives_the_same_order() {
        let list = hosts(&[(10, "a"), (10, "b"), (10, "c"), (10, "d")]);
        assert!((0..100).all(|seed| names(&list, seed) == names(&list, seed)));
        assert!((0..100).any(|seed| names(&list, seed) != names(&list, seed + 1)));
    }

    #[test]
    fn families_take_turns_and_either_may_be_first() {
        let list = addresses(&["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1", "2001:db8::2"]);
        let mut first = BTreeMap::<String, u32>::new();
        for seed in 0..10_000 {
            let mixed = interleave(&list, seed);
            assert!(
                (0..3).all(|at| mixed[at].is_ipv4() != mixed[at + 1].is_ipv4()),
                "{mixed:?}"
            );
            *first.entry(mixed[0].is_ipv4().to_string()).or_default() += 1;
        }
        // One degree of freedom: 10.8 is passed by chance once in a thousand.
        assert!(first.len() == 2 && chi_square(&first) < 10.8, "{first:?}");
    }

    #[test]
    fn each_address_of_a_family_is_first_equally_often() {
        let list = addresses(&["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
        let mut first = BTreeMap::<String, u32>::new();
        for seed in 0..10_000 {
            *first.entry(interleave(&list, seed)[0].to_string()).or_default() += 1;
        }
        assert!(first.len() == 3 && chi_square(&first) < 13.8, "{first:?}");
    }

    #[test]
    fn a_domain_without_a_usable_host_fails_for_the_mildest_reason() {
        use DnsFailure::{CnameLoop, Forbidden, NoAddress, NoAnswer};
        for (failures, expected) in [
            (&[][..], NoAddress),
            (&[NoAddress, NoAddress], NoAddress),
            (&[NoAddress, NoAnswer, Forbidden], NoAnswer),
            (&[Forbidden, Forbidden], Forbidden),
            (&[Forbidden, NoAddress], NoAddress),
            (&[CnameLoop], CnameLoop),
            (&[CnameLoop, NoAddress], NoAddress),
        ] {
            assert_eq!(no_host_left(failures), expected, "{failures:?}");
        }
    }

    proptest! {
        #[test]
        fn interleaving_loses_and_invents_nothing(four in 0u8..20, six in 0u16..20, seed: u64) {
            let list: Vec<IpAddr> = (0..four)
                .map(|n| IpAddr::from([192, 0, 2, n]))
                .chain((0..six).map(|n| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n])))
                .collect();
            let mut mixed = interleave(&list, seed);
            mixed.sort();
            prop_assert_eq!(mixed, list);
        }
    }
}
