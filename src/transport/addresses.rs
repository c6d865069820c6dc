//! Which addresses are this machine's.

use std::io::ErrorKind;
use std::net::{IpAddr, UdpSocket};

/// Whether a socket can be bound to this address. Anything but a clear "not here" counts as yes: whoever then dials from
/// it hears what is wrong.
#[must_use]
pub fn is_local(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).map_or_else(|error| error.kind() != ErrorKind::AddrNotAvailable, |_| true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_this_machine_are_local() {
        let check = |ip: &str, expect: bool| assert_eq!(is_local(ip.parse().expect("an address")), expect, "{ip}");
        check("127.0.0.1", true);
        check("127.0.0.9", true);
        // TEST-NET-3, RFC 5737: nobody has it.
        check("203.0.113.5", false);
    }
}
