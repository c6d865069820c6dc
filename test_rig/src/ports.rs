//! Ports for servers that cannot choose one themselves.

use std::net::TcpListener;

/// A port of loopback that nobody listens on. It is not one of those that the system gives out, so nobody gets it by
/// chance before the server takes it.
///
/// # Panics
/// When a hundred ports in a row are taken.
#[must_use]
pub fn free_port() -> u16 {
    let some = std::iter::repeat_with(|| fastrand::u16(20_000..30_000));
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    some.take(100).find(free).expect("a free port among a hundred")
}
