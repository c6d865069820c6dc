//! Which addresses are never dialled.
//!
//! Takes an address that was resolved and the networks an operator allows, gives the reason against it. MX records are
//! written by strangers: one that points at our loopback, our private network or a cloud's metadata service would make us
//! their tool. What counts is the address that is dialled, not the name, and in whatever form it is wrapped: IPv4 inside
//! IPv6 is unwrapped first. Never looks anything up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Why `address` must not be dialled; none when it may. An address in one of the `allowed` networks always may.
#[must_use]
pub fn forbidden(address: IpAddr, allowed: &[IpNet]) -> Option<&'static str> {
    let inner = match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => embedded_v4(v6).map_or(address, IpAddr::V4),
    };
    let reason = match inner {
        IpAddr::V4(v4) => forbidden_v4(v4),
        IpAddr::V6(v6) => forbidden_v6(v6),
    }?;
    let is_allowed = allowed.iter().any(|net| net.contains(&address) || net.contains(&inner));
    (!is_allowed).then_some(reason)
}

fn forbidden_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [0, ..] => Some("this network (0.0.0.0/8)"),
        [10, ..] | [192, 168, ..] => Some("private"),
        [172, second, ..] if second & 0xf0 == 16 => Some("private"),
        [100, second, ..] if second & 0xc0 == 64 => Some("carrier-grade NAT (100.64.0.0/10)"),
        [127, ..] => Some("loopback"),
        [169, 254, ..] => Some("link-local"),
        [192, 0, 0, _] => Some("protocol assignment (192.0.0.0/24)"),
        [198, 18 | 19, ..] => Some("benchmarking (198.18.0.0/15)"),
        [first, ..] if first & 0xf0 == 224 => Some("multicast"),
        [first, ..] if first & 0xf0 == 240 => Some("reserved or broadcast (240.0.0.0/4)"),
        _ => None,
    }
}

fn forbidden_v6(address: Ipv6Addr) -> Option<&'static str> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("unspecified"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("loopback"),
        [0x64, 0xff9b, 1, ..] => Some("local NAT64 (64:ff9b:1::/48)"),
        [0x100, 0, 0, 0, ..] => Some("discard (100::/64)"),
        [0x2001, 0, ..] => Some("Teredo (2001::/32)"),
        [first, ..] if first & 0xfe00 == 0xfc00 => Some("unique local"),
        [first, ..] if first & 0xffc0 == 0xfe80 => Some("link-local"),
        [first, ..] if first & 0xffc0 == 0xfec0 => Some("site-local"),
        [first, ..] if first & 0xff00 == 0xff00 => Some("multicast"),
        _ => None,
    }
}

/// The IPv4 address that packets to this one end up at: mapped, compatible, NAT64 (RFC 6052) and 6to4 (RFC 3056).
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let from = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => Some(from(high, low)),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => Some(from(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(addresses: &[&str], expect: bool) {
        for address in addresses {
            let found = forbidden(address.parse().expect("an address"), &[]);
            assert_eq!(found.is_some(), expect, "{address}: {found:?}");
        }
    }

    #[test]
    fn addresses_that_lead_home_are_forbidden() {
        check(
            &[
                "0.0.0.0",
                "0.1.2.3",
                "10.0.0.1",
                "100.64.0.1",
                "100.127.255.255",
                "127.0.0.1",
                "127.8.8.8",
                "169.254.169.254",
                "172.16.0.1",
                "172.31.255.255",
                "192.0.0.8",
                "192.168.1.1",
                "198.19.0.1",
                "224.0.0.1",
                "239.255.255.255",
                "240.0.0.1",
                "255.255.255.255",
            ],
            true,
        );
        check(
            &[
                "::",
                "::1",
                "::127.0.0.1",
                "::ffff:127.0.0.1",
                "::ffff:10.1.2.3",
                "::ffff:0:192.168.0.1",
                "64:ff9b::10.0.0.1",
                "64:ff9b::a9fe:a9fe",
                "64:ff9b:1::1",
                "100::1",
                "2001::1",
                "2002:7f00:1::",
                "2002:a00:1::1",
                "2002:c0a8:101:1::1",
                "fc00::1",
                "fdff::1",
                "fe80::1",
                "febf::1",
                "fec0::1",
                "ff02::1",
            ],
            true,
        );
    }

    #[test]
    fn addresses_of_the_internet_may_be_dialled() {
        check(
            &[
                "1.1.1.1",
                "9.255.255.255",
                "11.0.0.0",
                "100.63.255.255",
                "100.128.0.0",
                "126.255.255.255",
                "128.0.0.1",
                "169.253.255.255",
                "172.15.255.255",
                "172.32.0.0",
                "192.167.255.255",
                "192.169.0.0",
                "198.17.255.255",
                "198.20.0.0",
                "223.255.255.255",
                "203.0.113.7",
            ],
            false,
        );
        check(
            &[
                "2001:4860:4802:32::a",
                "2a00:1450:400c:c07::1b",
                "2606:4700::1",
                "::ffff:8.8.8.8",
                "64:ff9b::8.8.8.8",
                "2002:808:808::1",
                "fbff::1",
                "2001:db8::1",
            ],
            false,
        );
    }

    #[test]
    fn what_an_operator_allows_may_be_dialled_in_any_form() {
        let allowed = [
            "127.0.0.0/8".parse().expect("a network"),
            "fd00::/16".parse().expect("a network"),
        ];
        for (address, expect) in [
            ("127.0.0.2", false),
            ("::ffff:127.0.0.2", false),
            ("fd00::5", false),
            ("fd01::5", true),
            ("10.0.0.1", true),
            ("::1", true),
        ] {
            let found = forbidden(address.parse().expect("an address"), &allowed);
            assert_eq!(found.is_some(), expect, "{address}: {found:?}");
        }
    }

    proptest! {
        #[test]
        fn an_ipv4_address_is_judged_alike_in_every_wrapping(bits in any::<u32>(), tail in any::<u64>()) {
            let bare = Ipv4Addr::from_bits(bits);
            let (high, low) = ((bits >> 16) as u16, bits as u16);
            let expect = forbidden(bare.into(), &[]);
            let mut wrapped = vec![
                bare.to_ipv6_mapped(),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::from_bits((0x2002_u128 << 112) | (u128::from(bits) << 80) | u128::from(tail)),
            ];
            if bits > 1 {
                wrapped.push(bare.to_ipv6_compatible());
            }
            for address in wrapped {
                prop_assert_eq!(forbidden(address.into(), &[]), expect, "{}", address);
            }
        }

        #[test]
        fn the_guard_agrees_with_the_standard_library_where_it_has_a_word(bits in any::<u32>(), wide in any::<u128>()) {
            let v4 = Ipv4Addr::from_bits(bits);
            if v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_multicast()
                || v4.is_broadcast() || v4.is_unspecified()
            {
                prop_assert!(forbidden(v4.into(), &[]).is_some());
            }
            for v6 in [Ipv6Addr::from_bits(wide), Ipv6Addr::from_bits(wide | (0xfc_u128 << 120))] {
                if v6.is_loopback() || v6.is_multicast() || v6.is_unique_local() || v6.is_unicast_link_local() {
                    prop_assert!(forbidden(v6.into(), &[]).is_some());
                }
            }
        }
    }
}
