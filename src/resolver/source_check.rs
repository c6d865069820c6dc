//! What name servers say of a Source: whether its names lead to its address and back, and whether it is on a list.
//!
//! Takes the EHLO name, the address, and lists; gives findings. What they mean for the Source is decided in
//! `policy::source_health`. Never caches: a corrected record is to be seen at once.

use std::net::IpAddr;

use futures_util::future::join_all;

use super::{Answer, Resolver};
use crate::policy::source_health::{Check, Finding, Seen, dnsbl, dnsbl_name, ehlo, pointer};

/// Names of one address that are followed back.
const NAMES_MAX: usize = 10;

impl<T> From<Answer<T>> for Seen<T> {
    fn from(answer: Answer<T>) -> Self {
        match answer {
            Answer::Found(records, _) => Self::Found(records),
            Answer::Empty(_) | Answer::NoDomain(_) => Self::None,
            Answer::Loop | Answer::Failed => Self::Unknown,
        }
    }
}

/// Looks at the names and listings of a Source. An address that nobody outside can see has neither.
pub async fn check_source(
    ehlo_name: &str,
    address: IpAddr,
    lists: &[String],
    resolver: &dyn Resolver,
) -> Vec<(Check, Finding)> {
    if is_inside(address) {
        return Vec::new();
    }
    let names = async {
        let mut names: Seen<String> = resolver.names(address).await.into();
        let mut back = Vec::new();
        if let Seen::Found(names) = &mut names {
            names.truncate(NAMES_MAX);
            back = join_all(names.iter().map(|name| resolver.addresses(name))).await;
        }
        let back: Vec<Seen<IpAddr>> = back.into_iter().map(Seen::from).collect();
        pointer(address, &names, &back)
    };
    let listed = async {
        let queries: Vec<String> = lists.iter().map(|zone| dnsbl_name(address, zone)).collect();
        let answers = join_all(queries.iter().map(|query| resolver.addresses(query))).await;
        let seen: Vec<Seen<IpAddr>> = answers.into_iter().map(Seen::from).collect();
        dnsbl(lists.iter().map(String::as_str).zip(&seen))
    };
    let (forward, pointer, listed) = tokio::join!(resolver.addresses(ehlo_name), names, listed);
    vec![
        (Check::Ehlo, ehlo(ehlo_name, address, &forward.into())),
        (Check::Pointer, pointer),
        (Check::Dnsbl, listed),
    ]
}

/// Whether an address is of a private or local network: providers never see it.
fn is_inside(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => four.is_loopback() || four.is_private() || four.is_link_local() || four.is_unspecified(),
        IpAddr::V6(six) => {
            six.is_loopback() || six.is_unique_local() || six.is_unicast_link_local() || six.is_unspecified()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolver::Fixed;

    const OWN: &str = "203.0.113.5";

    fn good() -> Fixed {
        Fixed::new()
            .with_addresses("mta.example.test", &["192.0.2.1", OWN])
            .with_names(OWN, &["other.example.test", "mta.example.test"])
    }

    async fn check(resolver: Fixed, address: &str) -> Vec<(Check, bool)> {
        let lists = ["zen.example.test".to_owned()];
        let address = address.parse().expect("an address");
        let findings = check_source("mta.example.test", address, &lists, &resolver).await;
        let seen = findings.into_iter();
        seen.map(|(check, finding)| (check, finding == Finding::Good)).collect()
    }

    #[tokio::test]
    async fn a_source_whose_names_lead_to_it_and_that_is_on_no_list_is_good() {
        let all = [(Check::Ehlo, true), (Check::Pointer, true), (Check::Dnsbl, true)];
        assert_eq!(check(good(), OWN).await, all);
    }

    #[tokio::test]
    async fn what_is_wrong_is_found() {
        let listed = good().with_addresses("5.113.0.203.zen.example.test", &["127.0.0.2"]);
        assert_eq!(check(listed, OWN).await[2], (Check::Dnsbl, false));
        let elsewhere = Fixed::new()
            .with_addresses("mta.example.test", &["192.0.2.1"])
            .with_names(OWN, &["mta.example.test"]);
        assert_eq!(
            check(elsewhere, OWN).await,
            [(Check::Ehlo, false), (Check::Pointer, false), (Check::Dnsbl, true)]
        );
    }

    #[tokio::test]
    async fn nobody_is_asked_about_an_address_inside() {
        for inside in ["127.0.0.2", "10.1.2.3", "192.168.0.9", "::1", "fd00::1"] {
            assert_eq!(check(good().otherwise_failing(), inside).await, [], "{inside}");
        }
    }
}
