//! Which hosts take mail for a domain, from what its name servers said (RFC 5321 section 5.1, RFC 7505).
//!
//! Takes MX records and a seed, gives hosts in the order in which to try them. Never asks a name server and never looks
//! at addresses: `resolver/` does the first, `transport/` the second.
//!
//! Failure semantics: records that name no possible host (an address literal, an underscore, an empty label) are passed
//! over. A domain all of whose records are such has MX records and no usable host; the implicit MX does not apply then,
//! so it counts as a host without an address, which is temporary for a day.

use super::seed::Seeded;
use crate::domain::DnsFailure;

/// Records that are looked at, in order of preference; an answer may hold a thousand.
pub const RECORDS_MAX: usize = 20;

/// Longest host name (RFC 1035 section 2.3.4), without the trailing dot.
const NAME_BYTES_MAX: usize = 253;
/// Longest label of a host name.
const LABEL_BYTES_MAX: usize = 63;

/// Where mail for a domain goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MxPlan {
    /// These hosts, in this order: lower case, no trailing dot, no host twice, at most [`RECORDS_MAX`].
    Hosts(Vec<String>),
    /// There are no MX records: to the domain itself, if it has an address.
    Implicit(String),
    /// To nobody.
    Failed(DnsFailure),
}

/// The plan for a domain whose name servers gave MX `records`, as pairs of preference and host.
///
/// The order is by ascending preference; hosts of equal preference are shuffled by `seed`, which RFC 5321 demands so that
/// load is shared. Which hosts are in the plan does not depend on the seed.
#[must_use]
pub fn plan(domain: &str, records: &[(u16, String)], seed: u64) -> MxPlan {
    if records.is_empty() {
        return no_records(domain);
    }
    let mut named: Vec<(u16, String)> = records
        .iter()
        .map(|(preference, host)| (*preference, normal_name(host)))
        .collect();
    if named.iter().all(|(_, host)| host.is_empty()) {
        return MxPlan::Failed(DnsFailure::NullMx);
    }
    named.retain(|(_, host)| is_host_name(host));
    named.sort_unstable();
    let mut best: Vec<(u16, String)> = Vec::with_capacity(RECORDS_MAX.min(named.len()));
    for record in named {
        if best.len() == RECORDS_MAX {
            break;
        }
        if best.iter().all(|(_, host)| *host != record.1) {
            best.push(record);
        }
    }
    if best.is_empty() {
        return MxPlan::Failed(DnsFailure::NoAddress);
    }
    let mut seeded = Seeded::new(seed);
    for equals in best.chunk_by_mut(|left, right| left.0 == right.0) {
        seeded.shuffle(equals);
    }
    MxPlan::Hosts(best.into_iter().map(|(_, host)| host).collect())
}

/// The plan for a domain that exists and has no MX records: the domain itself is the host (RFC 5321 section 5.1).
#[must_use]
pub fn no_records(domain: &str) -> MxPlan {
    MxPlan::Implicit(normal_name(domain))
}

/// Lower case, without the trailing dot.
fn normal_name(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// Whether this can be the name of a host: letters, digits and hyphens in labels, and not the text of an address.
fn is_host_name(host: &str) -> bool {
    let label_fits = |label: &str| {
        !label.is_empty()
            && label.len() <= LABEL_BYTES_MAX
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    // No top-level domain is numeric (RFC 3696 section 2), so a numeric last label means an IPv4 address.
    let last_is_number = host
        .rsplit('.')
        .next()
        .is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
    host.len() <= NAME_BYTES_MAX && host.split('.').all(label_fits) && !last_is_number
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn records(list: &[(u16, &str)]) -> Vec<(u16, String)> {
        list.iter()
            .map(|(preference, host)| (*preference, (*host).to_owned()))
            .collect()
    }

    fn check(list: &[(u16, &str)], expected: MxPlan) {
        assert_eq!(plan("example.com", &records(list), 7), expected, "{list:?}");
    }

    fn hosts(list: &[&str]) -> MxPlan {
        MxPlan::Hosts(list.iter().map(|host| (*host).to_owned()).collect())
    }

    #[test]
    fn records_become_a_plan() {
        check(
            &[(20, "b.example."), (10, "A.Example.")],
            hosts(&["a.example", "b.example"]),
        );
        check(&[], MxPlan::Implicit("example.com".to_owned()));
        // RFC 7505, with and without the dot; a second one does not change what it says.
        check(&[(0, ".")], MxPlan::Failed(DnsFailure::NullMx));
        check(&[(0, "")], MxPlan::Failed(DnsFailure::NullMx));
        check(&[(0, ""), (10, ".")], MxPlan::Failed(DnsFailure::NullMx));
        // A null MX among others is ignored.
        check(&[(0, "."), (10, "mx.example")], hosts(&["mx.example"]));
        // What cannot be a host is passed over, and does not make the domain itself the host.
        check(&[(5, "192.0.2.1"), (10, "mx.example")], hosts(&["mx.example"]));
        check(&[(5, "192.0.2.1")], MxPlan::Failed(DnsFailure::NoAddress));
        check(&[(0, "."), (5, "[192.0.2.1]")], MxPlan::Failed(DnsFailure::NoAddress));
        for bad in [
            "2001:db8::1",
            "mail_1.example",
            "-mx.example",
            "mx-.example",
            "mx..example",
            "mx.example..",
            "mx example",
            "mx.example\r\n",
            "müller.example",
        ] {
            check(&[(10, bad)], MxPlan::Failed(DnsFailure::NoAddress));
        }
        // A host named twice is tried once, at its better place.
        check(
            &[(10, "mx.example"), (20, "b.example"), (30, "MX.example.")],
            hosts(&["mx.example", "b.example"]),
        );
        // One label is a host too: operators use such names in private networks.
        check(&[(10, "mailhost")], hosts(&["mailhost"]));
    }

    #[test]
    fn no_records_means_the_domain_itself() {
        assert_eq!(no_records("Example.COM."), MxPlan::Implicit("example.com".to_owned()));
    }

    #[test]
    fn equal_preference_is_shared_equally() {
        let list = records(&[
            (10, "a.example"),
            (10, "b.example"),
            (10, "c.example"),
            (20, "d.example"),
        ]);
        let mut first = std::collections::BTreeMap::<String, u32>::new();
        for seed in 0..10_000 {
            let MxPlan::Hosts(order) = plan("example.com", &list, seed) else {
                panic!("there are hosts");
            };
            assert_eq!(
                order[3], "d.example",
                "a worse preference never comes before a better one"
            );
            *first.entry(order[0].clone()).or_default() += 1;
        }
        // Chi-square, 2 degrees of freedom: 13.8 is passed by chance once in a thousand.
        let expected = 10_000.0 / 3.0;
        let chi: f64 = first
            .values()
            .map(|count| (f64::from(*count) - expected).powi(2) / expected)
            .sum();
        assert!(first.len() == 3 && chi < 13.8, "{first:?} gives {chi}");
    }

    #[test]
    fn of_a_thousand_records_the_best_twenty_are_used() {
        let list: Vec<(u16, String)> = (0..1000u16).rev().map(|n| (n, format!("mx{n}.example"))).collect();
        let MxPlan::Hosts(order) = plan("example.com", &list, 1) else {
            panic!("there are hosts");
        };
        let best: Vec<String> = (0..20).map(|n| format!("mx{n}.example")).collect();
        assert_eq!(order, best);
    }

    proptest! {
        #[test]
        fn any_records_give_a_plan_of_possible_hosts_that_the_seed_only_reorders(
            list in prop::collection::vec((0u16..4, "([a-z0-9_.-]{0,12}|\\PC{0,8})"), 0..40),
            seed: u64,
        ) {
            let one = plan("example.com", &list, seed);
            let other = plan("example.com", &list, !seed);
            match (one, other) {
                (MxPlan::Hosts(mut one), MxPlan::Hosts(mut other)) => {
                    prop_assert!(!one.is_empty() && one.len() <= RECORDS_MAX);
                    prop_assert!(one.iter().all(|host| is_host_name(host)));
                    one.sort();
                    other.sort();
                    prop_assert_eq!(&one, &other);
                    one.dedup();
                    prop_assert_eq!(one.len(), other.len());
                }
                (one, other) => prop_assert_eq!(one, other),
            }
        }
    }
}
