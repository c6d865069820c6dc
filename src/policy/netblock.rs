//! Which addresses a provider counts as one block: the same /24 of IPv4, the same /48 of IPv6.
//!
//! Takes addresses, gives blocks that can be compared. An IPv4 address in IPv6 clothes is the IPv4 address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A block of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Netblock(IpAddr);

impl Netblock {
    /// The block of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => {
                let [a, b, c, _] = address.octets();
                IpAddr::V4(Ipv4Addr::new(a, b, c, 0))
            }
            IpAddr::V6(address) => {
                let [a, b, c, ..] = address.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_in_one_block_and_others_are_not() {
        let check = |one: &str, other: &str, expect: bool| {
            let block = |text: &str| Netblock::of(text.parse().unwrap());
            assert_eq!(block(one) == block(other), expect, "{one} {other}");
        };
        check("192.0.2.1", "192.0.2.254", true);
        check("192.0.2.1", "192.0.3.1", false);
        check("192.0.2.1", "::ffff:192.0.2.9", true);
        check("2001:db8:1::1", "2001:db8:1:ffff::2", true);
        check("2001:db8:1::1", "2001:db8:2::1", false);
        check("192.0.2.1", "2001:db8:1::1", false);
    }
}
